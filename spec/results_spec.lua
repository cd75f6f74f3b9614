local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local support = require "spec.support"

local range, sorted, options, counts = contexts.range, contexts.sorted, contexts.options, contexts.counts

local function new(given)
  return minigun.pipeline("results", given)
end

local function pass(item, emit) emit(item) end

local function each(list, f)
  for _, context in ipairs(list) do f(context, " [" .. context.name .. "]") end
end

-- What a run with much more to pass on may have, and what it may use for it: its memory, and little beside it.
local little, allowed = support.short_or_long("1M", "4M"), support.short_or_long(3 << 19, 6 << 20)

describe("results", function()
  each(contexts.all, function(context, where)
    it("R41 collected and counted values of all processes arrive once" .. where, function()
      local size = context.size
      local result = new():producer(range(1, size)):each(options(context), function() end)
        :processor("work", options(context), pass):run()
      assert.equal(0, #result.items)
      result = new():producer(range(1, size)):consumer(options(context), function(n, _, ctx)
        ctx:collect("numbers", n)
        if n % 2 == 0 then ctx:collect("even", n) end
        ctx:count("sum", n)
        ctx:count("calls")
        ctx:count("half", 0.5)
      end):run()
      assert.same(range(1, size), sorted(result.collected.numbers))
      assert.equal(size // 2, #result.collected.even)
      assert.same({ sum = size * (size + 1) // 2, calls = size, half = size / 2 }, result.counters)
      assert.equal("integer", math.type(result.counters.sum))
    end)

    it("R41 what a failed attempt has emitted and collected is forgotten" .. where, function()
      local result = new():producer(range(1, 10)):processor(options(context, { retries = 2 }), function(n, emit, ctx)
        ctx:collect("attempt", ctx.attempt)
        ctx:count("attempts")
        emit { n, ctx.attempt }
        if ctx.attempt <= n % 3 then error "again" end
      end):run()
      local attempts, numbers = 0, {}
      for i, item in ipairs(result.items) do
        numbers[i] = item[1]
        attempts = attempts + item[2]
        assert.equal(item[1] % 3 + 1, item[2])
      end
      assert.same(range(1, 10), sorted(numbers))
      assert.equal(10, #result.collected.attempt)
      assert.equal(10, result.counters.attempts)
    end)

    it("R42 collected values keep their types" .. where, function()
      local result = new():producer { 1 }:consumer(options(context), function(_, _, ctx)
        for _, value in ipairs { 1, 1.0, "a\0b", false, {}, { 1, { x = true } } } do ctx:collect("values", value) end
      end):run()
      local values = result.collected.values
      assert.same({ 1, 1.0, "a\0b", false, {}, { 1, { x = true } } }, values)
      assert.same({ "integer", "float" }, { math.type(values[1]), math.type(values[2]) })
    end)

    local largest = (context.inline or context.n ~= 2) and 4
      or support.short_or_long(8, 64)
    it(("items from 1 byte to %d MiB pass"):format(largest) .. where, function()
      local sizes = { 1, 2, 100, 65520, 65535, 65536, 65537, 1 << 20, largest << 20 }
      local result = new():producer(function(emit)
        for _, size in ipairs(sizes) do emit(("a"):rep(size - 1) .. "z") end
      end):processor(options(context), pass):run()
      for i, item in ipairs(result.items) do
        assert(item:find "z" == #item and (#item == 1 or item:byte(1) == 97))
        result.items[i] = #item
      end
      assert.same(sizes, sorted(result.items))
    end)

    it("one item that emits very many does not fill the memory" .. where, function()
      local many, text = support.short_or_long(4000, 100000), ("x"):rep(500) -- twice the memory
      local function spread(_, emit)
        for i = 1, many do emit { i, text } end
      end
      local last, n = 0, 0
      local result = new { memory = little }:producer { 1 }:processor(options(context), spread)
        :each({ inline = true }, function(item)
          assert(item[1] == last + 1)
          last, n = item[1], n + 1
        end):run()
      assert.equal(many, n)
      assert.is_true(result.stats.memory_most <= allowed, result.stats.memory_most .. " bytes")
      result = new { memory = little }:producer { 1 }:processor(options(context), spread):run() -- terminal
      assert.equal(many, #result.items)
      assert.equal(many, result.items[many][1])
      assert.is_true(result.stats.memory_most <= allowed, result.stats.memory_most .. " bytes")
    end)

    it("one item that emits very many into a pool does not fill the memory" .. where, function()
      -- What a handler of the coordinator has emitted waits there until it returns, so it has to be little.
      local many, text = support.short_or_long(4000, 100000), ("x"):rep(context.inline and 5 or 500)
      local result = new { memory = little }:producer { 1 }:processor(options(context), function(_, emit)
        for i = 1, many do emit { i, text } end
      end):processor("next", { processes = 2 }, function(item, _, ctx)
        ctx:count("n")
        ctx:count("sum", item[1])
      end):run()
      assert.same({ n = many, sum = many * (many + 1) // 2 }, result.counters)
      assert.is_true(result.stats.memory_most <= allowed, result.stats.memory_most .. " bytes")
    end)

    it("R60 every pipeline finishes with little memory" .. where, function()
      local text = ("x"):rep(100000)
      for _, memory in ipairs { "1M", "4M" } do
        local n = context.per_item and 12 or support.short_or_long(memory == "1M" and 12 or 24, 60)
        local result = new { memory = memory }:producer(function(emit)
          for i = 1, n do emit { i, text } end
        end):processor("one", options(context), function(item, emit)
          emit(item)
          emit { -item[1], item[2] }
        end):processor("two", { processes = 2 }, pass):processor("three", options(context), function(item, emit)
          assert(#item[2] == 100000)
          emit(item[1])
        end):run()
        local expected = range(1, n)
        for i = 1, n do expected[#expected + 1] = -i end
        assert.same(sorted(expected), sorted(result.items))
      end
    end)

    it("R60 what is tried again inside a group does not wait for the room that it takes itself" .. where, function()
      local p, text = new(), ("x"):rep(100000)
      p:context("own", context.options)
      p:producer { 1, 2, 3, 4, 5, 6 }
      p:processor({ context = "own" }, function(item, emit) emit(item) end)
      p:processor({ context = "own", queue = 1, retries = 1 }, function(item, emit, ctx)
        if ctx.attempt == 1 then error "no" end
        emit { item, text }
      end)
      p:map({ inline = true }, function(item) return item[1] end)
      assert.same(range(1, 6), sorted(p:run({ memory = "1M" }).items))
    end)

    it("R59 a slow stage slows its producer" .. where, function()
      local n, emitted = 24, {}
      local result = new():producer(function(emit)
        for i = 1, n do
          emit(i)
          emitted[i] = core.now()
        end
      end):consumer(options(context, { queue = 1 }), function(i, _, ctx)
        ctx:collect("begun", { i, core.now() })
        core.sleep(0.002)
      end):run()
      table.sort(result.collected.begun, function(a, b) return a[2] < b[2] end)
      local most = 0
      for done, begun in ipairs(result.collected.begun) do
        local before = 0
        for i = 1, n do
          if emitted[i] < begun[2] then before = before + 1 end
        end
        most = math.max(most, before - done)
      end
      assert.equal(n, #result.collected.begun)
      assert.is_true(most <= context.n + 3, most .. " items between producer and stage")
    end)
  end)

  it("R60 a worker that waits for those after it does not keep them from the last of the memory", function()
    for _, queue in ipairs { 1, 3 } do
      local result = new():producer({ 1, 2, 3 }):processor({ processes = 1 }, function(item, emit)
        for i = 1, 20 do emit { item * 100 + i, ("x"):rep(40000) } end -- let through as a stream
      end):processor({ processes = 2, queue = queue }, function(item, emit)
        emit(item)
        emit(item)
      end):map({ inline = true }, function(item) return item[1] end):run { memory = "256K" }
      assert.equal(120, #result.items)
    end
  end)

  it("R60 R59 a stage of the coordinator that has to wait does not hold up another one after it", function()
    local result = new():producer({ processes = 1 }, function(emit)
      for i = 1, 200 do emit(i) end
    end):processor({ inline = true }, pass):processor({ processes = 1, queue = 1 }, function(item, emit)
      emit { item, ("x"):rep(20000) }
    end):processor({ inline = true, queue = 3 }, function(item, emit) emit(item[1]) end):run()
    assert.same(range(1, 200), sorted(result.items))
  end)

  each(contexts.pools, function(context, where)
    it("workers that write 4 MB each before any of it is read do not block for ever" .. where, function()
      local result = new():producer(function(emit)
        for i = 1, context.n do emit(i) end
        core.sleep(0.05) -- the coordinator reads nothing meanwhile
      end):processor(options(context), function(_, emit)
        local text = ("y"):rep(10000)
        for _ = 1, 400 do emit(text) end
      end):run()
      assert.equal(400 * context.n, #result.items)
      for _, item in ipairs(result.items) do assert(#item == 10000) end
    end)

    it("memory is given back through the run: much more passes than there is" .. where, function()
      local text, many = ("z"):rep(1000), support.short_or_long(6000, 20000)
      local result = new { memory = "2M" }:producer(function(emit)
        for _ = 1, many do emit(text) end
      end):processor(options(context), pass):processor(options(context), function(s, _, ctx)
        ctx:count("bytes", #s)
      end):run()
      assert.equal(1000 * many, result.counters.bytes)
      assert.is_true(result.stats.memory_most <= 4 << 20, result.stats.memory_most .. " bytes")
    end)
  end)

  it("very many items from one go into a pool", function()
    local many = support.short_or_long(300000, 1000000)
    local result = new { memory = "16M" }:producer { 1 }:processor({ processes = 1 }, function(_, emit)
      for i = 1, many do emit(i) end
    end):processor({ processes = 1 }, function(i, emit) if i % 1000 == 0 then emit(i) end end):run()
    assert.equal(many // 1000, #result.items)
    assert.is_true(result.stats.memory_most <= 20 << 20, result.stats.memory_most .. " bytes")
  end)

  it("tostring is one line that tells what happened", function()
    local p = new { failures = "collect" }:producer { 1, 2, 3 }:processor({ processes = 1 }, function(n, emit, ctx)
      if n == 2 then error "two\nlines" end
      ctx:collect("rows", n)
      emit(n)
    end)
    local text = tostring(p:run())
    assert.is_nil(text:find "\n")
    for _, part in ipairs { "results", "2 items", "1 failed", "2 rows" } do
      assert.is_truthy(text:find(part, 1, true), text)
    end
    p:after_run(function() error "a\nb" end)
    pcall(p.run, p)
    assert.is_nil(tostring(p.last):find "\n")
    assert.is_truthy(tostring(new():producer { 1 }:run()):find("1 item ", 1, true))
  end)

  it("p.last is the result of the last run, also of one that failed", function()
    local bad
    local p = new():producer { 1, 2 }:map(function(n)
      if bad then error "bad" end
      return n
    end)
    assert.is_nil(p.last)
    assert.equal(p:run(), p.last)
    bad = true
    assert.has_error(function() p:run() end)
    assert.is_false(p.last.ok)
    assert.equal(2, #p.last.failures)
    assert.is_true(p.last.elapsed >= 0)
  end)

  it("ctx:collect and ctx:count refuse what they cannot keep, at the caller's line", function()
    for _, given in ipairs { {}, { processes = 1 } } do
      local result = new { failures = "collect" }:producer(range(1, 4)):each("work", given, function() end)
        :consumer("refused", { from = "producer 1", table.unpack {}, processes = given.processes }, function(n, _, ctx)
          if n == 1 then ctx:collect("nothing", nil) end
          if n == 2 then ctx:collect(7, 1) end
          if n == 3 then ctx:count("n", "many") end
          if n == 4 then ctx:count(nil) end
        end):run()
      assert.equal(4, #result.failures)
      for _, failure in ipairs(result.failures) do
        assert.is_truthy(failure.message:find "^spec/results_spec.lua:%d+: ", failure.message)
      end
      assert.same({}, result.counters)
      assert.same({}, result.collected)
    end
  end)

  it("a value that cannot be collected fails its item", function()
    local result = new { failures = "collect" }:producer { 1, 2, 3 }:consumer({ processes = 1 }, function(n, emit, ctx)
      ctx:collect("values", n == 2 and { f = print } or n)
      emit(n)
    end):run()
    assert.same({ 1, 3 }, result.items)
    assert.same({ 1, 3 }, result.collected.values)
    assert.same({ 1, 2 }, { #result.failures, result.failures[1].item })
  end)

  it("results of a later run do not change those of an earlier one", function()
    local p = new():producer { 1, 2 }:map({ processes = 1 }, function(n) return n end)
    local first = p:run()
    local second = p:run()
    assert.not_equal(first, second)
    first.items[3] = "mine"
    assert.equal(2, #second.items)
    local _, different = counts { first.items, second.items, first.stats, second.stats }
    assert.equal(4, different)
  end)
end)
