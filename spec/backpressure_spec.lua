-- Back-pressure: which stage waits for which, and that none waits for ever.
local minigun = require "minigun"
local contexts = require "spec.contexts"

local range, sorted = contexts.range, contexts.sorted

local function new(given)
  return minigun.pipeline("backpressure", given)
end

local function pass(item, emit) emit(item) end

describe("back-pressure", function()
  for _, context in ipairs(contexts.all) do
    local where = (" [%s]"):format(context.name)

    it("R60 items that wait for their next attempt are not kept from it by those that wait for the same room" .. where,
      function()
        local result = new { failures = "collect" }:producer("gen", function(emit)
          for n = 1, 40 do emit:to("first", n) end
        end):consumer("nothing", { to = {} }, pass)
          :processor("first", { inline = true, await = true }, pass)
          :processor("second", contexts.options(context, { queue = 2, retries = 1 }), function(n, emit, ctx)
            if n % 2 == 0 or ctx.attempt == 2 then error "no" end
            emit(n)
          end):processor("third", { inline = true, queue = 1, from = "second" }, pass):run()
        assert.same({ 20, 20 }, { #result.items, #result.failures })
        for _, failure in ipairs(result.failures) do assert.equal(2, failure.attempts) end
      end)
  end

  it("R60 a stage does not wait for room in its own group", function()
    for _, size in ipairs { 10, 100000 } do
      local result = new():producer("gen", { to = { "a", "b" } }, range(1, 20)):processes(1, function(p)
        p:processor("a", { to = "b" }, function(n, emit) emit(n) end)
        p:processor("b", { queue = 1 }, function(_, emit) emit(("x"):rep(size)) end)
      end):run()
      assert.equal(40, #result.items)
    end
  end)

  it("R60 a stage of the coordinator that emits very much in one call is held back", function()
    local text, n = ("x"):rep(1000), 20000
    for _, limit in ipairs { 1, 1000000 } do -- 1: the pool soon waits for the stage after it, and nothing for the pool
      local result = new { memory = "4M" }:producer { 1 }:processor("gen", { inline = true }, function(_, emit)
        for _ = 1, n do emit(text) end
      end):processor("pool", { processes = 2 }, function(item, emit) emit(#item) end)
        :processor("last", { inline = true, queue = limit }, pass):run()
      assert.equal(n, #result.items)
      if limit > 1 then
        assert.is_true(result.stats.memory_most < 4 << 20, result.stats.memory_most) -- of 20 MB
      end
    end
  end)

  it("R60 two contexts that send to each other do not wait for each other", function()
    local text = ("x"):rep(30000)
    for _, limit in ipairs { 1, 1000 } do
      local result = new { memory = "1M" }:context("one", { processes = 2 }):context("other", { processes = 2 })
        :producer("gen", function(emit) for i = 1, 100 do emit { i, text } end end)
        :processor("a", { context = "one", queue = limit }, pass)
        :processor("b", { context = "other", queue = limit }, pass)
        :processor("c", { inline = true, queue = limit }, pass)
        :processor("d", { context = "one", queue = limit }, pass)
        :processor("e", { context = "other", queue = limit }, pass):run()
      local numbers = {}
      for i, item in ipairs(result.items) do numbers[i] = item[1] end
      assert.same(range(1, 100), sorted(numbers))
    end
  end)
end)
