-- Loop stages: `p:stage(name, function(input, emit, ctx) for item in input do ... end end)`.
local contexts = require "spec.contexts"
local core = require "minigun.core"
local loop = require "minigun.handlers.loop_stage"
local minigun = require "minigun"
local refusals = require "spec.refusals"
local support = require "spec.support"

local source = contexts.source

-- Passes its items on; at the end, how many they were and their sum.
local function totals(input, emit)
  local count, sum = 0, 0
  for item in input do
    count, sum = count + 1, sum + (type(item) == "table" and item.sum or item)
    emit(item)
  end
  emit { count = count, sum = sum }
end

-- The numbers, sorted; how many totals there are, and what they say together.
local function sort_out(items)
  local numbers, all = {}, { totals = 0, count = 0, sum = 0 }
  for _, item in ipairs(items) do
    if type(item) == "table" then
      all.totals, all.count, all.sum = all.totals + 1, all.count + item.count, all.sum + item.sum
    else
      numbers[#numbers + 1] = item
    end
  end
  return contexts.sorted(numbers), all
end

describe("a loop", function()
  it("gives items one by one, and nil once at the end", function()
    local got = {}
    local l = loop.new(function(input, emit)
      repeat
        local item = input()
        got[#got + 1] = tostring(item)
        emit(item)
      until item == nil
    end, {})
    local emitted = {}
    local function emit(item) emitted[#emitted + 1] = item end
    l:take(1, emit, {})
    assert.same({ { "1" }, { 1 } }, { got, emitted })
    l:take(false, emit, {})
    assert.is_true(l:open())
    l:take(nil, emit, {})
    assert.is_false(l:open())
    l:take(nil, emit, {})
    assert.same({ { "1", "false", "nil" }, { 1, false } }, { got, emitted })
    l:take(3, emit, {})
    assert.is_true(l:open())
  end)

  it("passes on what the handler waits for", function()
    local l = loop.new(function(input, emit)
      for item in input do emit(item + coroutine.yield(item, "please")) end
    end, { wait = function(...)
      assert.same({ 5, "please" }, { ... })
      return 100
    end })
    local sum
    l:take(5, function(x) sum = x end, {})
    assert.equal(105, sum)
  end)

  it("refuses a handler that yields where no code resumes it", function()
    local l = loop.new(function(input)
      for _ in input do coroutine.yield() end
    end, {})
    local ok, message = pcall(l.take, l, 1, print, {})
    assert.is_false(ok)
    assert.matches("it waits in input%(%) only", message)
    assert.is_true(pcall(l.take, l, nil, print, {}))
  end)
end)

for _, context in ipairs(contexts.all) do
  describe("a loop stage, " .. context.name, function()
    local n = context.per_item and 12 or 200
    local workers = context.per_item and n or context.workers or context.n
    local sum = n * (n + 1) // 2

    it("R64 runs once in each worker, sees every item, and what it emits at its end arrives", function()
      local p = source(minigun.pipeline "p", n)
      p:stage("sum", context.options, totals)
      p:processor("pass", { processes = 1 }, function(item, emit) emit(item) end)
      local numbers, all = sort_out(p:run().items)
      assert.same(contexts.range(1, n), numbers)
      assert.same({ totals = workers, count = n, sum = sum }, all)
    end)

    it("R64 works in a block, between other stages and before another loop", function()
      local p = source(minigun.pipeline "p", n)
      p:context("own", context.options)
      p:processor("before", { context = "own" }, function(item, emit) emit(item) end)
      p:stage("first", { context = "own" }, function(input, emit)
        local seen = 0
        for item in input do
          seen = seen + 1
          emit(item)
        end
        emit(1000000 * (seen + 1))
      end)
      p:processor("between", { context = "own" }, function(item, emit) emit(item) end)
      p:stage("second", { context = "own" }, totals)
      local numbers, all = sort_out(p:run().items)
      assert.same(contexts.range(1, n), table.move(numbers, #numbers - n - workers + 1, #numbers - workers, 1, {}))
      assert.same({ totals = workers, count = n + workers, sum = sum + 1000000 * (n + workers) }, all)
    end)

    it("R45 R46 fails with the item in hand, and begins anew with the next, or that one's next attempt", function()
      local p = source(minigun.pipeline "p", n)
      p:stage("work", contexts.options(context, { retries = 1 }), function(input, emit, ctx)
        for item in input do
          emit(item)
          ctx:count "seen"
          if item % 5 == 0 and ctx.attempt == 1 or item == 7 then error("no " .. item) end
        end
      end)
      local result = p:run { failures = "collect" }
      local expected = contexts.range(1, n)
      table.remove(expected, 7)
      assert.same(expected, contexts.sorted(result.items))
      assert.equal(n - 1, result.counters.seen)
      assert.equal(1, #result.failures)
      local failure = result.failures[1]
      assert.same({ "error", 7, "work", 2 }, { failure.kind, failure.item, failure.stage, failure.attempts })
      assert.matches("^spec/loop_spec.lua:%d+: no 7$", failure.message)
      assert.matches("spec/loop_spec.lua:%d+: in function", failure.traceback)
      assert.not_matches("minigun/loop.lua", failure.traceback, 1, true)
    end)

    it("R64 that returns early is called again, and loses nothing", function()
      local p = source(minigun.pipeline "p", n)
      p:stage("three", context.options, function(input, emit)
        for _ = 1, 3 do
          local item = input()
          if item == nil then return end
          emit(item)
        end
      end)
      assert.same(contexts.range(1, n), contexts.sorted(p:run().items))
    end)

    it("R45 that takes nothing fails the item", function()
      local p = source(minigun.pipeline "p", 3)
      p:stage("none", context.options, function() end)
      local result = p:run { failures = "collect" }
      assert.equal(3, #result.failures)
      assert.equal("the handler of a loop stage has returned before it has called input(), so " ..
        "the item was not taken", result.failures[1].message:match "^[^\n]*")
    end)

    it("R45 that raises at its end leaves a failure without an item, and nothing of what it emitted there", function()
      local p = source(minigun.pipeline "p", n)
      p:stage("work", contexts.options(context, { retries = 5 }), function(input, emit)
        local seen_last = false
        for item in input do
          seen_last = seen_last or item == n
          emit(item)
        end
        emit "rest"
        if seen_last then error "at the end" end
      end)
      local result = p:run { failures = "collect" }
      local seen, rest = {}, 0
      for _, item in ipairs(result.items) do
        if item == "rest" then rest = rest + 1 else seen[#seen + 1] = item end
      end
      assert.equal(1, #result.failures)
      local failure = result.failures[1]
      assert.matches("loop_spec.lua:%d+: at the end$", failure.message)
      assert.equal(workers - 1, rest)
      if context.per_item then -- there the end belongs to the item
        assert.same({ n, 6 }, { failure.item, failure.attempts })
        assert.same(contexts.range(1, n - 1), contexts.sorted(seen))
      else
        assert.is_nil(failure.item)
        assert.same({ true, 1 }, { failure.at_end, failure.attempts })
        assert.matches("at the end of its input", tostring(failure))
        assert.same(contexts.range(1, n), contexts.sorted(seen))
      end
    end)

    it("R41 R52 counts, collects and refuses as other stages do", function()
      local p = source(minigun.pipeline "p", n)
      p:stage("work", context.options, function(input, emit, ctx)
        local kept
        for item in input do
          ctx:collect("items", item)
          if item == 3 then
            coroutine.wrap(input)()
          elseif item == 4 then
            kept = emit
            emit(nil)
          end
        end
        ctx:count "ends"
        return kept
      end)
      local result = p:run { failures = "collect" }
      local messages = {}
      for _, failure in ipairs(result.failures) do messages[failure.item] = failure.message end
      assert.equal(2, #result.failures)
      assert.matches("^spec/loop_spec.lua:%d+: input is called by its own handler only", messages[3])
      assert.matches("^spec/loop_spec.lua:%d+: nil cannot be emitted", messages[4])
      assert.equal(n - 2, #result.collected.items)
    end)

    if not context.per_item then
      it("R10 R67 begins again for what arrives after its end, and ends again", function()
        local p = source(minigun.pipeline "p", 10)
        p:stage("sum", context.options, totals)
        local sent = 0
        p:processor("late", { inline = true }, function(item, emit)
          if type(item) == "table" and sent < 3 then
            sent = sent + 1
            emit:to("sum", 100)
          end
          emit(item)
        end)
        local numbers, all = sort_out(p:run().items)
        assert.same({ 100, 100, 100 }, table.move(numbers, 11, 13, 1, {}))
        assert.equal(13, #numbers)
        assert.same({ 13, 355 }, { all.count, all.sum })
      end)
    end
  end)
end

describe("a loop stage", function()
  it("R10 R31 hands what it emits at its end through every further stage, in all pairs of contexts", function()
    for _, first in ipairs(contexts.kinds) do
      for _, second in ipairs(contexts.kinds) do
        local n = (first.per_item or second.per_item) and 3 or 50
        local p = source(minigun.pipeline "p", n)
        p:stage("first", first.options, function(input, emit)
          local list = {}
          for item in input do list[#list + 1] = item end
          for _, item in ipairs(list) do emit(item) end
        end)
        p:stage("second", second.options, function(input, emit)
          local list = {}
          for item in input do list[#list + 1] = item end
          if #list > 0 then emit(list) end
        end)
        p:batch(100)
        p:flat_map("open", { processes = 1 }, function(lists)
          local all = {}
          for _, list in ipairs(lists) do table.move(list, 1, #list, #all + 1, all) end
          return all
        end)
        assert.same(contexts.range(1, n), contexts.sorted(p:run().items))
      end
    end
  end)

  it("R34 ends before the hooks of its worker's end, which run once", function()
    for _, context in ipairs(contexts.kinds) do
      local p = source(minigun.pipeline "p", 2)
      p:stage("work", context.options, function(input, _, ctx)
        for item in input do ctx:collect("order", "item " .. item) end
        ctx:collect("order", "end")
      end)
      p:after("work", function(ctx) ctx:collect("order", "after") end)
      local order = table.concat(p:run().collected.order, " ")
      assert.matches("item %d.- end.- after", order)
      local hooks = context.per_item and 2 or context.threads and 1 or context.n
      assert.equal(hooks, select(2, order:gsub("after", "")))
      assert.equal(context.per_item and 2 or context.workers or context.n, select(2, order:gsub("end", "")))
    end
  end)

  it("R60 emits more at its end than a block or the memory holds", function()
    for _, context in ipairs(contexts.kinds) do
      local p = source(minigun.pipeline "p", 1)
      p:stage("work", context.options, function(input, emit)
        local any = false
        for _ in input do any = true end
        for i = 1, any and 300 or 0 do emit { i, ("x"):rep(20000) } end
      end)
      p:processor("strip", { processes = 1 }, function(item, emit) emit(item[1]) end)
      assert.same(contexts.range(1, 300), contexts.sorted(p:run({ memory = "2M" }).items))
    end
  end)

  it("R7 keeps what it needs for the keys of its worker", function()
    local p = source(minigun.pipeline "p", 100)
    p:stage("dedup", { processes = 3, partition = function(item) return item % 20 end }, function(input, emit)
      local seen = {}
      for item in input do
        if not seen[item % 20] then emit(item % 20) end
        seen[item % 20] = true
      end
    end)
    assert.same(contexts.range(0, 19), contexts.sorted(p:run().items))
  end)

  it("gives what it emits at its ends after all items where its context is ordered", function()
    local p = source(minigun.pipeline "p", 200)
    p:stage("work", { processes = 3, ordered = true, retries = 1 }, function(input, emit, ctx)
      for item in input do
        if item % 30 == 0 and ctx.attempt == 1 then error "no" end
        emit(item)
      end
      emit(1000 + ctx.worker)
    end)
    local items = p:run().items
    assert.same(contexts.range(1, 200), table.move(items, 1, 200, 1, {}))
    -- A worker whose last item has failed has no loop left to end.
    local ends = contexts.counts(table.move(items, 201, #items, 1, {}))
    assert.is_true(#items > 200 and #items <= 203)
    for i = 201, #items do assert.is_true(items[i] > 1000 and items[i] < 1004 and ends[items[i]] == 1) end
  end)

  it("R47 that dies with its worker is named in a warning, and costs one attempt of the item in hand", function()
    local p = source(minigun.pipeline "p", 60)
    p:stage("work", { processes = 2, retries = 1 }, function(input, emit, ctx)
      local count = 0
      for item in input do
        count = count + 1
        emit(item)
        if item == 40 and ctx.attempt == 1 then os.execute("kill -9 " .. ctx.pid) end
      end
      ctx:count("counted", count)
    end)
    local result = p:run()
    assert.same(contexts.range(1, 60), contexts.sorted(result.items))
    local lost = 60 - result.counters.counted
    local warning = table.concat(result.stats.warnings)
    if lost > 0 then
      assert.matches(("was killed by signal 9 in the middle of the loop of stage 'work', after %d item"):format(lost),
        warning, 1, true)
    else
      assert.equal("", warning)
    end
  end)

  it("R47 that dies at its end is a failure, and nothing of what it emitted there arrives", function()
    local p = source(minigun.pipeline "p", 60)
    p:stage("work", { processes = 2, retries = 3 }, function(input, emit, ctx)
      for item in input do emit(item) end
      emit "some"
      if ctx.worker == 2 then os.execute("kill -9 " .. ctx.pid) end
    end)
    local result = p:run { failures = "collect" }
    assert.equal(61, #result.items)
    assert.equal(1, #result.failures)
    local failure = result.failures[1]
    assert.same({ "crash", 9, "work" }, { failure.kind, failure.signal, failure.stage })
    assert.matches("at the end of its input: what its loop emitted there is lost", tostring(failure))
  end)

  it("R48 is killed where it stays too long with an item, or at its end", function()
    local p = source(minigun.pipeline "p", 9)
    p:stage("work", { processes = 2, timeout = 0.2 * support.patience }, function(input, emit, ctx)
      for item in input do
        if item == 5 then core.sleep(60) end
        emit(item)
      end
      if ctx.worker == 1 then core.sleep(60) end
    end)
    local result = p:run { failures = "collect" }
    assert.equal(8, #result.items)
    table.sort(result.failures, function(a) return a.item ~= nil end)
    assert.same({ "timeout", 5, "timeout" },
      { result.failures[1].kind, result.failures[1].item, result.failures[2].kind })
    assert.matches("^spec/loop_spec.lua:%d+: its end took longer than", result.failures[2].message)
  end)

  it("R12 R15 R55 has a row in the table form, a place in the drawing, and can be replaced", function()
    local p = minigun.pipeline {
      source = { 1, 2, 3 },
      { "sum", loop = function(input, emit)
        local sum = 0
        for item in input do sum = sum + item end
        emit(sum)
      end },
    }
    assert.same({ 6 }, p:run().items)
    assert.matches("sum +stage +inline", tostring(p))
    local copy = p:extend()
    copy:replace("sum", function(input, emit)
      for item in input do emit(-item) end
    end)
    assert.same({ -1, -2, -3 }, copy:run().items)
    assert.same({ 6 }, p:run().items)
  end)

  it("R70 is refused where it cannot be one", function()
    local p = minigun.pipeline "p"
    refusals.check {
      { function() p:stage("a", 5) end, "stage 'a'", "must be a function(input, emit, ctx)", "got 5" },
      { function() p:stage("a") end, "stage 'a'", "got nil" },
      { function() p:stage("a", { max_size = 4 }, print) end, "unknown option 'max_size'" },
      { function() minigun.pipeline { source = { 1 }, { "a", loop = print, map = print } } end, "both say" },
    }
  end)

  it("R71 closes what it has open when a run ends early", function()
    for _, context in ipairs { contexts.numbered[1], contexts.numbered[6] } do
      local open = 0
      local p = source(minigun.pipeline "p", 100000)
      p:stage("work", context.options, function(input, emit)
        open = open + 1
        local _ <close> = setmetatable({}, { __close = function() open = open - 1 end })
        for item in input do emit(item) end
      end)
      p:each("fail", { inline = true }, function(item) assert(item ~= 5) end)
      assert.is_false(pcall(p.run, p, { failures = "stop" }))
      assert.equal(0, open, context.name)
    end
  end)

  it("R54 begins anew in each run", function()
    local p = source(minigun.pipeline "p", 10):stage("sum", totals)
    for _ = 1, 2 do
      local _, all = sort_out(p:run().items)
      assert.same({ totals = 1, count = 10, sum = 55 }, all)
    end
  end)

  it("R53 ends with its totals when a run is stopped", function()
    local p = minigun.pipeline "p"
    p:producer("endless", function(emit)
      local i = 0
      while true do
        i = i + 1
        emit(i)
      end
    end)
    p:stage("sum", { processes = 2 }, function(input, emit)
      local count = 0
      for _ in input do count = count + 1 end
      emit(count)
    end)
    local run = p:start { memory = "1M" }
    run:step(0.05)
    run:stop()
    local result = run:wait()
    assert.equal(2, #result.items)
    assert.equal(result.stats.stages.sum.items_in, result.items[1] + result.items[2])
  end)
end)
