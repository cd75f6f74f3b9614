local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"

local range, sorted, options = contexts.range, contexts.sorted, contexts.options

local function new(given)
  return minigun.pipeline("flow", given)
end

local function pass(item, emit) emit(item) end

local function each(list, f)
  for _, context in ipairs(list) do f(context, " [" .. context.name .. "]") end
end

describe("flow", function()
  each(contexts.all, function(context, where)
    it("R1 a chain of any length delivers every item" .. where, function()
      for length = 1, 4 do
        local p = new():producer(range(1, context.size))
        for _ = 1, length do p:processor(options(context), function(n, emit) emit(n + 1) end) end
        assert.same(range(1 + length, context.size + length), sorted(p:run().items))
      end
    end)

    it("R1 a stage emits none, one or many items for each it receives" .. where, function()
      local result = new():producer(range(0, 7)):processor("spread", options(context), function(n, emit)
        for i = 1, n do emit(n * 100 + i) end
      end):filter(options(context), function(n) return n % 2 == 0 end):run()
      local expected = {}
      for n = 0, 7 do
        for i = 2, n, 2 do expected[#expected + 1] = n * 100 + i end
      end
      assert.same(expected, sorted(result.items))
    end)

    it("R1 a producer without items ends the run" .. where, function()
      local result = new():producer({}):processor(options(context), pass):batch(2)
        :consumer(options(context), pass):run()
      assert.same({}, result.items)
      assert.is_true(result.ok)
    end)

    it("R3 `to` and `from` broadcast and collect, and an edge drawn twice counts once" .. where, function()
      local result = new():producer("gen", { to = { "a", "b" } }, range(1, 10))
        :processor("a", options(context, { from = "gen", to = "join" }), function(n, emit) emit("a" .. n) end)
        :processor("b", options(context, { to = { "join", "join" } }), function(n, emit) emit("b" .. n) end)
        :processor("join", options(context, { from = { "a", "b" } }), pass):run()
      local expected = {}
      for n = 1, 10 do
        expected[#expected + 1] = "a" .. n
        expected[#expected + 1] = "b" .. n
      end
      assert.same(sorted(expected), sorted(result.items))
    end)

    it("R4 both arms of a diamond receive every item, the join those of both" .. where, function()
      local result = new():producer("gen", range(1, 12))
        :processor("top", options(context, { to = { "left", "right" } }), pass)
        :processor("left", options(context, { to = "join" }), function(n, emit) emit { "left", n } end)
        :processor("right", options(context, { to = "join" }), function(n, emit) emit { "right", n } end)
        :processor("join", options(context), function(pair, emit) emit(pair[1] .. pair[2]) end):run()
      local expected = {}
      for n = 1, 12 do
        expected[#expected + 1] = "left" .. n
        expected[#expected + 1] = "right" .. n
      end
      assert.same(sorted(expected), sorted(result.items))
    end)

    it("R5 several producers feed the stage after them, each with its own statistics" .. where, function()
      local result = new():producer("one", range(1, 10)):producer("two", range(11, 40))
        :producer("three", { to = "last" }, range(41, 42))
        :processor("work", options(context), pass)
        :processor("last", options(context), function(n, emit) emit(n) end):run()
      assert.same(range(1, 42), sorted(result.items))
      local stages = result.stats.stages
      assert.same({ 10, 30, 2 }, { stages.one.items_out, stages.two.items_out, stages.three.items_out })
      assert.same({ 40, 42 }, { stages.work.items_in, stages.last.items_in })
    end)

    it("R5 a producer that fails does not stop the others" .. where, function()
      local result = new { failures = "collect" }:producer("bad", function(emit)
        emit(-1)
        error "no more"
      end):producer("good", range(1, 10)):processor(options(context), pass):run()
      assert.same({ -1, table.unpack(range(1, 10)) }, sorted(result.items))
      assert.equal(1, #result.failures)
      assert.equal("bad", result.failures[1].stage)
      assert.is_false(result.ok)
    end)

    it("R11 several terminal stages are kept apart by result:of" .. where, function()
      local result = new():producer("gen", { to = { "even", "odd" } }, range(1, 12))
        :filter("even", options(context, { to = {} }), function(n) return n % 2 == 0 end)
        :filter("odd", options(context), function(n) return n % 2 == 1 end):run()
      assert.same({ 2, 4, 6, 8, 10, 12 }, sorted(result:of "even"))
      assert.same({ 1, 3, 5, 7, 9, 11 }, sorted(result:of "odd"))
      assert.same(range(1, 12), sorted(result.items))
      assert.has_error(function() result:of "gen" end)
    end)

    it("R54 a pipeline runs again and gives the same result" .. where, function()
      local p = new():producer(range(1, 10)):processor(options(context), function(n, emit, ctx)
        ctx:count("seen")
        emit(n * n)
      end):batch(4)
      for _ = 1, 3 do
        local result = p:run()
        local all = {}
        for _, batch in ipairs(result.items) do table.move(batch, 1, #batch, #all + 1, all) end
        assert.same({ 1, 4, 9, 16, 25, 36, 49, 64, 81, 100 }, sorted(all))
        assert.equal(3, #result.items)
        assert.same({ seen = 10 }, result.counters)
      end
    end)

    it("R54 R12 two runs at once do not mix" .. where, function()
      local n = context.per_item and 6 or 40
      local function make(base)
        return new():producer(range(base + 1, base + n)):processor(options(context), function(item, emit, ctx)
          ctx:count("from " .. base)
          emit(item)
        end)
      end
      local p, q = make(0), make(1000)
      local next_p, _, _, close_p = p:iterate()
      local next_q, _, _, close_q = q:iterate()
      local next_again, _, _, close_again = p:iterate()
      local got = { {}, {}, {} }
      repeat
        local a, b, c = next_p(), next_q(), next_again()
        table.insert(got[1], a)
        table.insert(got[2], b)
        table.insert(got[3], c)
      until not (a or b or c)
      for _, closing in ipairs { close_p, close_q, close_again } do getmetatable(closing).__close(closing) end
      assert.same(range(1, n), sorted(got[1]))
      assert.same(range(1001, 1000 + n), sorted(got[2]))
      assert.same(range(1, n), sorted(got[3]))
      assert.same({ ["from 0"] = n }, p.last.counters)
      assert.same({ ["from 1000"] = n }, q.last.counters)
    end)

    it("R61 every value passes unchanged" .. where, function()
      local shared = { 1 }
      local cycle = { name = "cycle" }
      cycle.self = cycle
      local values = {
        false, true, 0, -1, 1.0, 0.5, math.maxinteger, math.mininteger, math.huge, -math.huge, "", "\0a\0",
        ("x"):rep(1000), {}, { {} }, { { {}, {} }, {} }, { 1, { 2, { 3 } } }, { false, false }, { [2] = "hole" },
        { [1.5] = 1, [true] = 2 },
        { a = { b = { c = {} } }, 1 },
        { x = shared, y = shared }, cycle,
      }
      local result = new():producer(function(emit)
        for i, value in ipairs(values) do emit { i, value } end
        emit { 100, 0 / 0, -0.0 }
      end):processor(options(context), pass):processor(options(context), function(item, emit) emit(item) end):run()
      assert.equal(#values + 1, #result.items)
      local seen = 0
      for _, item in ipairs(result.items) do
        local expected, got = values[item[1]], item[2]
        if item[1] == 100 then
          assert.is_true(got ~= got)
          assert.equal(-math.huge, 1 / item[3])
        elseif expected == cycle then
          assert.equal("cycle", got.name)
          assert.is_true(rawequal(got, got.self))
        else
          assert.same(expected, got)
          assert.equal(math.type(expected), math.type(got))
          if type(expected) == "table" and expected.x then assert.is_true(rawequal(got.x, got.y)) end
        end
        seen = seen + item[1]
      end
      assert.equal(#values * (#values + 1) // 2 + 100, seen)
    end)

    it("R61 the items themselves may be false, empty tables and nested arrays" .. where, function()
      local result = new():producer(function(emit)
        emit(false)
        emit {}
        emit { { 1, 2 }, { 3 } }
        emit ""
      end):processor(options(context), pass):run()
      local found = {}
      for _, item in ipairs(result.items) do
        found[item == false and "false" or item == "" and "empty" or next(item) == nil and "table" or "nested"] = item
      end
      assert.same({ ["false"] = false, empty = "", table = {}, nested = { { 1, 2 }, { 3 } } }, found)
    end)

    it("R66 an item that fails does not stop what comes after it" .. where, function()
      local result = new { failures = "collect" }:producer(range(1, 12))
        :processor("even", options(context), function(n, emit)
          emit(-n)
          if n % 2 == 1 then error("odd: " .. n) end
          emit(n)
        end):run()
      assert.same({ -12, -10, -8, -6, -4, -2, 2, 4, 6, 8, 10, 12 }, sorted(result.items))
      local failed = {}
      for i, f in ipairs(result.failures) do failed[i] = f.item end
      assert.same({ 1, 3, 5, 7, 9, 11 }, sorted(failed))
    end)

    it("R69 siblings of a fan-out are not wired to each other" .. where, function()
      local result = new():producer("gen", { to = { "a", "b", "c" } }, { 1 })
        :processor("a", options(context), pass):processor("b", options(context), pass)
        :processor("c", options(context), pass):run()
      assert.same({ { 1 }, { 1 }, { 1 } }, { result:of "a", result:of "b", result:of "c" })
    end)

    it("iterate streams every item to the end" .. where, function()
      local p = new():producer(range(1, context.size)):processor(options(context), pass)
      local got = {}
      for item in p:iterate() do got[#got + 1] = item end
      assert.same(range(1, context.size), sorted(got))
      assert.is_true(p.last.ok)
    end)

    it("iterate does not end at an item that is false" .. where, function()
      local n = 0
      for _ in new():producer { 1, 2, 3 }:map(options(context), function() return false end):iterate() do n = n + 1 end
      assert.equal(3, n)
    end)

    it("R53 leaving iterate early stops the run, and nothing is left over" .. where, function()
      local emitted, after = 0, 0
      local p = new { memory = "4M" }:producer(function(emit)
        for i = 1, 1000000 do
          emit(("x"):rep(1000))
          emitted = i
        end
      end):processor(options(context), pass):after_run(function() after = after + 1 end)
      local n = 0
      for item in p:iterate() do
        assert.equal(1000, #item)
        n = n + 1
        if n == 5 then break end
      end
      assert.equal(5, n)
      assert.equal(1, after)
      assert.is_true(emitted < 200000, "the producer went on: " .. emitted)
    end)

    it("R53 an error in the loop over iterate stops the run" .. where, function()
      local p = new():producer(range(1, 1000)):processor(options(context), pass)
      assert.has_error(function()
        for item in p:iterate() do error("enough: " .. type(item), 0) end
      end, "enough: number")
      assert.is_not_nil(p.last)
    end)
  end)

  it("R2 explicit edges replace one link only, the gaps are filled in order", function()
    local result = new():producer("gen", range(1, 3))
      :processor("a", { to = "c" }, function(n, emit) emit("a" .. n) end)
      :processor("b", { from = "gen" }, function(n, emit) emit("b" .. n) end)
      :processor("c", function(s, emit) emit("c" .. s) end)
      :processor("d", function(s, emit) emit("d" .. s) end):run()
    assert.same({ "dca1", "dca2", "dca3", "dcb1", "dcb2", "dcb3" }, sorted(result.items))
  end)

  it("R5 producers run concurrently", function()
    local order = {}
    local function source(name)
      return function(emit)
        for _ = 1, 3000 do
          emit(name)
          if order[#order] ~= name then order[#order + 1] = name end
        end
      end
    end
    new():producer("a", source "a"):producer("b", source "b"):consumer(function() end):run()
    assert.is_true(#order > 4, "they ran one after the other")
  end)

  it("R54 an inline run is the same after a run that failed", function()
    local bad = true
    local p = new():producer(range(1, 3)):processor(function(n, emit)
      if bad and n == 2 then error "bad" end
      emit(n)
    end)
    assert.has_error(function() p:run() end)
    bad = false
    assert.same({ 1, 2, 3 }, p:run().items)
  end)

  it("R57 limits and options may be computed before the run", function()
    local configuration = { workers = { parse = 2, store = false }, batch = 3 }
    local result = new():producer(range(1, 7))
      :processor("parse", { processes = configuration.workers.parse }, function(n, emit, ctx) emit { n, ctx.pid } end)
      :processor("store", { processes = configuration.workers.store }, function(pair, emit, ctx)
        emit { pair[1], pair[2], ctx.pid }
      end):batch(configuration.batch):run()
    assert.equal(3, #result.items)
    for _, batch in ipairs(result.items) do
      for _, item in ipairs(batch) do
        assert.not_equal(core.pid(), item[2])
        assert.equal(core.pid(), item[3])
      end
    end
  end)

  it("R58 the options of run override the pipeline's, and those the defaults", function()
    local function failing(given)
      return new(given):producer { 1 }:each(function() error "bad" end)
    end
    assert.has_error(function() failing():run() end)
    assert.equal(1, #failing { failures = "collect" }:run().failures)
    assert.has_error(function() failing { failures = "collect" }:run { failures = "raise" } end)
    assert.equal(1, #failing { failures = "raise" }:run { failures = "collect" }.failures)
    local p = failing { failures = "collect" }
    assert.has_error(function() p:run { failures = "raise" } end)
    assert.equal(1, #p:run().failures) -- of one run only
  end)

  it("R64 a producer in a group of processes runs in a child of its own and feeds the pipeline from there", function()
    local result = new():processes(2, function(p)
      p:producer("gen", function(emit, ctx)
        assert(ctx.stage == "gen")
        for i = 1, 2000 do emit { i, core.pid() } end
        ctx:collect("producer", ctx.pid)
      end)
      p:processor("work", function(item, emit, ctx) emit { item[1], item[2], ctx.pid } end)
    end):run()
    local numbers, producers, workers = {}, {}, {}
    for i, item in ipairs(result.items) do
      numbers[i], producers[item[2]], workers[item[3]] = item[1], true, true
    end
    assert.same(range(1, 2000), sorted(numbers))
    assert.same({ next(producers) }, { result.collected.producer[1], true })
    assert.is_nil(next(producers, (next(producers))))
    assert.is_nil(producers[core.pid()])
    assert.is_nil(workers[next(producers)])
    assert.equal(2000, result.stats.stages.gen.items_out)
  end)

  it("R64 several producers in groups and outside feed one stage", function()
    for _, context in ipairs(contexts.all) do
      local result = new():producer("a", { processes = 1 }, range(1, 20)):producer("b", range(21, 40))
        :producer("c", { fork = 1 }, range(41, 60)):processor("work", options(context), pass):run()
      assert.same(range(1, 60), sorted(result.items))
    end
  end)

  it("R70 everything is checked before the first hook runs", function()
    local ran = 0
    local function count() ran = ran + 1 end
    local function hooked() return new():before_run(count):before_fork(count):after_run(count) end
    local cases = {
      function() hooked():producer { 1 }:processor({ to = "nowhere" }, pass):run() end,
      function() hooked():processor(pass):run() end,
      function() hooked():producer { 1 }:processor({ context = "none" }, pass):run() end,
      function() hooked():producer { 1 }:processor(pass):before_fork("nobody", count):run() end,
      function() hooked():producer { 1 }:processor(pass):run { memroy = "1M" } end,
      function() hooked():producer { 1 }:processor(pass):run { memory = "1K" } end,
      function() hooked():producer { 1 }:processor({ processes = 0 }, pass):run() end,
      function() hooked():producer { 1 }:processor({ processes = 1, fork = 1 }, pass):run() end,
    }
    for i, case in ipairs(cases) do
      assert.has_error(case)
      assert.equal(0, ran, "case " .. i)
    end
  end)

  it("the handler of an inline stage after workers may yield to the coroutine that has called the run", function()
    for _, given in ipairs { { processes = 2 }, { process_per_batch = 2 } } do
      local co = coroutine.wrap(function()
        local taken = 0
        local result = new():producer(range(1, 3)):processor("work", given, pass):consumer("take", function(i)
          coroutine.yield(i)
          taken = taken + 1
        end):run()
        return "end", taken, result.failed
      end)
      local seen = {}
      for i = 1, 3 do seen[i] = co() end
      assert.same({ 1, 2, 3 }, sorted(seen))
      assert.same({ "end", 3, 0 }, { co() })
    end
  end)
end)
