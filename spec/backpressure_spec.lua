-- Back-pressure: which stage waits for which, and that none waits for ever.
local minigun = require "minigun"
local contexts = require "spec.contexts"
local support = require "spec.support"

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
    local text = ("x"):rep(1000)
    for _, limit in ipairs { 1, 1000000 } do -- 1: the pool soon waits for the stage after it, and nothing for the pool
      -- More than are kept until the call returns; with a limit of 1 each item is a hand-over.
      local n = limit > 1 and 10000 or support.short_or_long(4000, 20000)
      local result = new { memory = "4M" }:producer { 1 }:processor("gen", { inline = true }, function(_, emit)
        for _ = 1, n do emit(text) end
      end):processor("pool", { processes = 2 }, function(item, emit) emit(#item) end)
        :processor("last", { inline = true, queue = limit }, pass):run()
      assert.equal(n, #result.items)
      if limit > 1 then
        assert.is_true(result.stats.memory_most < 4 << 20, result.stats.memory_most) -- of 10 MB
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

describe("a producer that emits for ever what never comes into its open block", function()
  local function bad(emit) while true do emit(print) end end
  local function sent(emit) while true do emit:to("work", 1) end end
  local function bad_sent(emit) while true do emit:to("work", print) end end

  local function define(where, body, receiver)
    local p = new { failures = "collect", keep_failures = 3 }
    if where == "group" then p:processes(1, function(q) q:producer("gen", body):filter(function() return true end) end)
    else p:producer("gen", where, body) end
    return receiver(p)
  end

  local RECEIVERS <const> = {
    pool = function(p) return p:map("work", { processes = 1 }, tostring) end,
    limited = function(p) return p:map("work", { processes = 1, queue = 1 }, tostring) end,
    fork = function(p) return p:map("work", { process_per_batch = 2 }, tostring) end,
    threads = function(p) return p:map("work", { processes = 1, threads = 2 }, tostring) end,
    batch = function(p) return p:batch(5):each("work", { processes = 1 }, function() end) end,
    reduce = function(p) return p:reduce("work", 0, function(n) return n + 1 end, { processes = 1 }) end,
  }
  local PLACES <const> = { coordinator = {}, threads = { threads = 1 }, process = { processes = 1 }, group = "group" }

  local function check(where, body, receiver)
    support.deadline(30)
    local run <close> = define(where, body, receiver):start()
    for _ = 1, 20 do run:step() end -- each comes back
    run:stop()
    local result = run:wait()
    assert.is_true(result.stopped)
    assert.is_true(#result.failures <= 3)
  end

  for name, receiver in pairs(RECEIVERS) do
    for place, where in pairs(PLACES) do
      it(("R60 gives up its turn, and stops: %s before %s"):format(place, name), function()
        check(where, bad, receiver)
      end)
    end
  end

  for place, where in pairs(PLACES) do
    it("R60 gives up its turn, and stops, where it calls emit:to: " .. place, function()
      check(where, sent, RECEIVERS.pool)
      check(where, bad_sent, RECEIVERS.pool)
    end)
  end

  it("R60 waits for the stage that its dead letters go to", function()
    support.deadline(30)
    local p = new { failures = "collect", memory = "8M" }:producer("gen", { dead_letter = "letters" }, bad)
      :map("work", { processes = 1 }, tostring)
      :each("letters", { processes = 1, await = true }, function() minigun.sleep(0.01) end)
    local run <close> = p:start()
    for _ = 1, 10 do run:step(0.05) end
    local waiting = support.stage_of(run, "letters").pending
    assert.is_true(waiting > 0 and waiting < 10000, waiting)
    run:kill()
  end)

  it("R60 is ended where it is an iterator of functions, and the message says what it should be", function()
    support.deadline(30)
    for _, options in ipairs { {}, { threads = 1 }, { processes = 1 } } do
      local p = new { failures = "collect", keep_failures = 100000 }
        :producer("gen", options, function() return print end):map({ processes = 1 }, tostring)
      local result = p:run()
      local ended = 0
      for _, failure in ipairs(result.failures) do
        if failure.message:find("it is ended", 1, true) then ended = ended + 1 end
      end
      assert.equal(1, ended)
      assert.is_true(result.failed == 101 or options.processes and result.failed > 101, result.failed)
      assert.matches("io.lines(path)", result.failures[1].message, 1, true)
    end
    local ok, message = pcall(function() new():producer(io.lines) end)
    assert.is_false(ok)
    assert.matches("io.lines without a call", message, 1, true)
  end)

  it("R60 goes on with what can be sent, where an iterator gives functions beside that", function()
    for _, options in ipairs { {}, { processes = 1 } } do
      local n = 0
      local result = new { failures = "collect" }:producer("gen", options, function()
        n = n + 1
        if n <= 400 then return n % 2 == 1 and n or print end
      end):map({ processes = 1 }, function(i) return i end):run()
      assert.same({ 200, 200 }, { #result.items, result.failed })
    end
  end)
end)
