local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local support = require "spec.support"

local range, sorted, options, counts = contexts.range, contexts.sorted, contexts.options, contexts.counts

local function new(given)
  return minigun.pipeline("contexts", given)
end

local function pass(item, emit) emit(item) end

local function each(list, f)
  for _, context in ipairs(list) do f(context, " [" .. context.name .. "]") end
end

local function pairs_of(list, f)
  for _, a in ipairs(list) do
    for _, b in ipairs(list) do f(a, b, (" [%s -> %s]"):format(a.name, b.name)) end
  end
end

describe("contexts", function()
  each(contexts.pools, function(context, where)
    it("R25 there are exactly n workers, which live through the run" .. where, function()
      local exits = {}
      local result = new():producer(range(1, 40)):processor("work", options(context), function(n, emit, ctx)
        assert(ctx.pid == core.pid())
        core.sleep(0.0005)
        emit { n, ctx.pid, ctx.worker }
      end):on_worker_exit(function(exit) exits[#exits + 1] = exit end):run()
      local workers = {}
      for _, item in ipairs(result.items) do
        assert.not_equal(core.pid(), item[2])
        assert.is_true(item[3] >= 1 and item[3] <= context.n)
        assert.is_true(workers[item[3]] == nil or workers[item[3]] == item[2])
        workers[item[3]] = item[2]
      end
      assert.equal(40, #result.items)
      assert.equal(context.n, #workers)
      assert.equal(context.n, select(2, counts(workers)))
      assert.equal(context.n, #exits)
      for _, exit in ipairs(exits) do
        assert.same({ pid = workers[exit.worker], stage = "work", worker = exit.worker, code = 0, expected = true,
          signal = exit.signal }, exit)
        assert.is_true(exit.signal == nil)
      end
    end)

    it("R25 the workers are there also when there is nothing to do" .. where, function()
      local result = new():producer {}:processor(options(context), pass)
        :after_fork(function(ctx) ctx:collect("pids", ctx.pid) end):run()
      assert.equal(context.n, select(2, counts(result.collected.pids)))
    end)

    it("R63 work goes to idle workers" .. where, function()
      local slow, items, most, overtaken = 0.02, {}, 0, 0
      for i = 1, 8 * context.n do
        items[2 * i - 1], items[2 * i] = slow, 0
      end
      local p = new():producer(items):consumer(options(context), function(seconds, _, ctx)
        local from = core.now()
        core.sleep(seconds)
        if seconds > 0 then ctx:collect("slept", { ctx.worker, from, core.now() }) end
      end)
      -- Counted, not timed, as a busy machine keeps all of them waiting: how many slow items one worker has had, and
      -- how many others have begun and finished while one that had worked already had nothing to do.
      local ratio = contexts.least(1.15, function()
        local slept, own = p:run().collected.slept, {}
        most, overtaken = 0, 0
        table.sort(slept, function(a, b) return a[2] < b[2] end)
        for _, row in ipairs(slept) do
          own[row[1]] = own[row[1]] or {}
          table.insert(own[row[1]], row)
        end
        for _, mine in pairs(own) do
          most = math.max(most, #mine)
          for i, row in ipairs(mine) do
            local idle_from, idle_to = row[3], mine[i + 1] and mine[i + 1][2] or math.huge
            for _, other in ipairs(slept) do
              if other[2] > idle_from and other[3] < idle_to then overtaken = overtaken + 1 end
            end
          end
        end
        return math.max(1 + overtaken / #items * 2, most / 8 - 0.1)
      end)
      assert.is_true(ratio < (support.under and 3 or 1.2), ("%d overtaken, %d of 8"):format(overtaken, most))
    end)

    it("R63 one slow item in front does not hold up those after it" .. where, function()
      if context.n == 1 then return end
      local size = context.per_item and 60 or 400
      local result = new():producer(range(1, size)):processor(options(context), function(n, emit, ctx)
        if n == size // 2 then core.sleep(0.1) end
        emit { n, core.now(), ctx.worker }
      end):run()
      local late, slow_at = 0, nil
      for _, item in ipairs(result.items) do
        if item[1] == size // 2 then slow_at = item[2] end
      end
      for _, item in ipairs(result.items) do
        if item[2] > slow_at then late = late + 1 end
      end
      assert.equal(size, #result.items)
      assert.is_true(late < size // 2, late .. " items waited for the slow one")
    end)

    it("the workers' random numbers differ" .. where, function()
      math.randomseed(42)
      local result = new():producer {}:each(options(context), pass)
        :after_fork(function(ctx) ctx:collect("random", math.random(0)) end):run()
      local _, different = counts(result.collected.random)
      assert.equal(context.n, different)
    end)

    it("ctx.state is private to worker and stage, and lasts from hook to hook" .. where, function()
      local result = new():producer(range(1, 60)):processes(context.n, function(p)
        for _, name in ipairs { "a", "b" } do
          p:processor(name, {
            before = function(ctx)
              assert(next(ctx.state) == nil)
              ctx.state.n = 0
            end,
            after = function(ctx) ctx:collect(name, { ctx.pid, ctx.state.n }) end,
          }, function(item, emit, ctx)
            ctx.state.n = ctx.state.n + 1
            emit(item)
            if name == "a" then emit(item) end
          end)
        end
      end):run()
      local sums = { a = 0, b = 0 }
      for name in pairs(sums) do
        assert.equal(context.n, #result.collected[name])
        for _, pair in ipairs(result.collected[name]) do sums[name] = sums[name] + pair[2] end
      end
      assert.same({ a = 60, b = 120 }, sums)
    end)
  end)

  each(contexts.all, function(context, where)
    it("R33 results, failures, collected values and counters are the same everywhere" .. where, function()
      local result = new { failures = "collect" }:producer(range(1, 12))
        :processor("work", options(context, { retries = 1 }), function(n, emit, ctx)
          ctx:count("attempts")
          ctx:collect("seen", n)
          emit(n)
          if n % 4 == 0 then error({ code = n }) end
          if (n % 3 == 0 or n == 1) and ctx.attempt == 1 then error("once " .. n) end
          emit(-n)
        end):run()
      assert.same({ -11, -10, -9, -7, -6, -5, -3, -2, -1, 1, 2, 3, 5, 6, 7, 9, 10, 11 }, sorted(result.items))
      assert.same({ 1, 2, 3, 5, 6, 7, 9, 10, 11 }, sorted(result.collected.seen))
      assert.same({ attempts = 9 }, result.counters)
      local failed = {}
      for _, failure in ipairs(result.failures) do
        failed[#failed + 1] = failure.item
        assert.same({ "error", "work", 2 }, { failure.kind, failure.stage, failure.attempts })
        assert.is_string(failure.message)
      end
      assert.same({ 4, 8, 12 }, sorted(failed))
      local s = result.stats.stages.work
      assert.same({ 12, 18, 3, 7 }, { s.items_in, s.items_out, s.failed, s.retried })
    end)

    it("ctx tells where a handler runs" .. where, function()
      local result = new():producer(range(1, 6)):processor("work", options(context), function(_, emit, ctx)
        emit { ctx.stage, ctx.pipeline, ctx.pid == core.pid(), ctx.attempt, ctx.worker or 0, type(ctx.state) }
      end):run()
      assert.equal(6, #result.items)
      for _, item in ipairs(result.items) do
        local worker = item[5]
        assert.same({ "work", "contexts", true, 1, worker, "table" }, item)
        if context.inline and not context.threads then assert.equal(0, worker)
        else assert.is_true(worker >= 1 and worker <= (context.workers or context.n)) end
      end
    end)

    it("R52 nil cannot be emitted: the error names the user's line" .. where, function()
      local result = new { failures = "collect" }:producer { 1 }:processor(options(context), function(_, emit)
        emit(nil)
      end):run()
      local line = debug.getinfo(1, "l").currentline - 2
      assert.equal(("spec/contexts_spec.lua:%d: "):format(line), result.failures[1].message:match("^%S+ "))
    end)

    it("R52 emit takes one item: the error of a further value names the user's line" .. where, function()
      local p = new { failures = "collect" }:producer { 1, 2, 3 }
      local result = p:processor("s", options(context), function(n, emit)
        if n == 1 then emit(n, 2) elseif n == 2 then emit:to("t", n, n) else emit(n, nil) end
      end):consumer("t", function(n, emit) emit(n) end):run()
      local line = debug.getinfo(1, "l").currentline - 2
      assert.same({ 3 }, result.items)
      assert.equal(2, #result.failures)
      for _, failure in ipairs(result.failures) do
        assert.matches(("spec/contexts_spec.lua:%d: emit takes one item, and was given more"):format(line),
          failure.message, 1, true)
      end
    end)

    it("R52 so it is in a producer" .. where, function()
      for _, receiver in ipairs { {}, { processes = 1 } } do
        local result = new { failures = "collect" }:producer("p", context.per_item and {} or options(context),
          function(emit)
            emit(1)
            emit(2, 3)
          end):map(receiver, function(n) return n end):run()
        local line = debug.getinfo(1, "l").currentline - 2
        assert.same({ 1 }, result.items)
        assert.matches(("^spec/contexts_spec.lua:%d: emit takes one item"):format(line), result.failures[1].message)
      end
    end)

    it("R52 a handler cannot change the pipeline that runs it; other pipelines it can" .. where, function()
      local p = new { failures = "collect" }
      local inner = new():map("one", function(n) return n end)
      p:producer { 1, 2, 3 }:pipeline("inner", inner):processor("s", options(context), function(n, emit)
        if n == 1 then p:map(print) elseif n == 2 then inner:before("one", print) end
        emit(#new():producer { n }:map(math.abs):run().items)
      end)
      local result = p:run()
      local line = debug.getinfo(1, "l").currentline - 4
      assert.same({ 1 }, result.items)
      assert.equal(2, #result.failures)
      for _, failure in ipairs(result.failures) do
        assert.matches(("^spec/contexts_spec.lua:%d: p:%%l+: a run of pipeline"):format(line), failure.message)
      end
      assert.equal(3, #p:replace("s", function(n, emit) emit(n) end):run().items)
    end)

    it("R52 an emit that is kept and called after its handler has returned is an error" .. where, function()
      local kept
      local result = new { failures = "collect" }:producer { 1, 2 }:processor("a", options(context), function(n, emit)
        if kept then pcall(kept, "late") end
        kept = emit
        emit(n)
      end):run()
      if kept then assert.has_error(function() kept("later") end) end
      local found = {}
      for i, item in ipairs(result.items) do found[i] = tostring(item) end
      -- Within the stage's next item the same emit is in use again; nothing may come of it but that item's own.
      for i = #found, 1, -1 do
        if found[i] == "late" then table.remove(found, i) end
      end
      assert.same({ "1", "2" }, sorted(found))
    end)

    it("R52 an emit called from another stage's handler or from a hook is an error" .. where, function()
      local kept = {}
      local result = new():producer { 1, 2, 3 }:processor("a", options(context, {
        after = function(ctx)
          if kept.emit then ctx:collect("in hook", (pcall(kept.emit, "stray"))) end
        end,
      }), function(n, emit)
        kept.emit = emit
        emit(n)
      end):run()
      assert.same({ 1, 2, 3 }, sorted(result.items))
      for _, ok in ipairs(result.collected["in hook"]) do assert.is_false(ok) end
      assert.is_true(#result.collected["in hook"] > 0)
    end)

    it("a handler may emit from a coroutine of its own" .. where, function()
      local text = ("c"):rep(20000)
      local result = new { failures = "collect" }:producer(range(1, 6)):processor(options(context), function(n, emit)
        local thread = coroutine.wrap(function()
          for i = 1, 10 do
            emit { n, i, text }
            coroutine.yield(true)
          end
          if n == 3 then error "in the coroutine" end
        end)
        while thread() do emit { n, 0 } end
      end):run()
      assert.same({ 1, 3 }, { #result.failures, result.failures[1].item })
      assert.equal(5 * 20, #result.items)
      local sum = 0
      for _, item in ipairs(result.items) do sum = sum + item[2] end
      assert.equal(5 * 55, sum)
    end)

    it("R52 the emit of an outer run serves an inner one in the same process, and no other" .. where, function()
      local result = new():producer(range(1, 3)):processor(options(context), function(n, emit, ctx)
        new():producer(range(1, n)):each(function(m) emit(10 * n + m) end):run()
        local inner = new { failures = "collect" }:producer { 1, 2 }:each({ processes = 1 }, function()
          emit "stray"
        end):run()
        ctx:count("refused", #inner.failures)
      end):run()
      assert.same({ 11, 21, 22, 31, 32, 33 }, sorted(result.items))
      assert.same({ refused = 6 }, result.counters)
    end)

    it("R32 a handler may run a pipeline of its own" .. where, function()
      local result = new():producer(range(1, 4)):processor(options(context), function(n, emit, ctx)
        for _, inner in ipairs { {}, { processes = 2 }, { fork = 1 } } do
          local r = new():producer(range(1, n)):processor(inner, function(m, out, c)
            c:collect("inner", m)
            out(m * 10)
          end):run()
          local sum = 0
          for _, m in ipairs(r.items) do sum = sum + m end
          ctx:collect("outer", #r.collected.inner)
          emit(sum)
        end
      end):run()
      assert.same({ 10, 10, 10, 30, 30, 30, 60, 60, 60, 100, 100, 100 }, sorted(result.items))
      assert.same({ 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4 }, sorted(result.collected.outer))
    end)
  end)

  it("R26 each item is handled by a new process, never more than n at once", function()
    for _, n in ipairs { 1, 3 } do
      local lives = {}
      local result = new():producer(range(1, 12)):process_per_batch({ max = n }, function(p)
        p:consumer("work", function(item, emit, ctx)
          local start = core.now()
          core.sleep(item <= 2 and 0.3 or 0.01 * contexts.patience) -- the first two longer than a fork ever takes
          emit { item, ctx.pid, start, core.now() }
        end)
      end):run()
      local pids = {}
      for i, item in ipairs(result.items) do
        pids[i], lives[i] = item[2], { item[3], item[4] }
        assert.not_equal(core.pid(), item[2])
      end
      assert.equal(12, #pids)
      assert.equal(12, select(2, counts(pids)))
      local most = contexts.most_at_once(lives)
      assert.is_true(most <= n and most >= math.min(n, 2), most .. " at once") -- all n, where forks are quick
      local items = 0
      for _, worker in ipairs(result.stats.workers) do items = items + worker.items end
      assert.same({ 12, 12 }, { contexts.forks(result), items })
    end
  end)

  it("R26 a child sees the coordinator's values as at the fork, and changes its own only", function()
    local value, seen = 0, {}
    local result = new():producer(range(1, 5)):before_fork(function()
      value = value + 10
      seen[#seen + 1] = value
    end):consumer({ process_per_batch = 1 }, function(n, emit)
      emit(value)
      value = value + 1000 * n
    end):run()
    assert.same({ 10, 20, 30, 40, 50 }, seen)
    assert.same(seen, sorted(result.items))
    assert.equal(50, value)
  end)

  it("R27 an item of the coordinator need not be serialisable in a fork per batch", function()
    local file = assert(io.open("spec/contexts_spec.lua"))
    local thread = coroutine.create(function() end)
    local result = new():producer(function(emit)
      emit { f = function() return 42 end }
      emit { file = file }
      emit { thread = thread }
      emit(setmetatable({ n = 7 }, { __index = function(_, key) return key end }))
      emit(math.floor)
    end):consumer({ fork = 2 }, function(item, emit)
      if item == math.floor then emit "a function"
      elseif item.n == 7 then emit(item.anything)
      elseif item.f ~= "f" and item.f then emit("f " .. item.f())
      elseif item.file then emit("file " .. io.type(item.file))
      else emit(coroutine.status(item.thread)) end
    end):run()
    file:close()
    assert.same({ "a function", "anything", "f 42", "file file", "suspended" }, sorted(result.items))
  end)

  it("R27 R24 a batch of such items too, also after an inline stage", function()
    local result = new():producer(range(1, 7)):map(function(n) return function() return n end end):batch(3)
      :consumer({ fork = 2 }, function(batch, emit, ctx)
        local sum = 0
        for _, f in ipairs(batch) do sum = sum + f() end
        emit { sum, ctx.pid }
      end):run()
    local sums, pids = {}, {}
    for i, item in ipairs(result.items) do sums[i], pids[i] = item[1], item[2] end
    assert.same({ 6, 7, 15 }, sorted(sums))
    assert.equal(3, select(2, counts(pids)))
  end)

  it("R29 a stage's option overrides its block, and the innermost block wins", function()
    local result = new():producer { 1 }:processes(2, function(p)
      p:processor("pool", function(_, emit, ctx) emit { ctx.pid } end)
      p:processor("own", { inline = true }, function(item, emit, ctx) emit { item[1], ctx.pid } end)
      p:inline(function()
        p:processor("inner", function(item, emit, ctx) emit { item[1], item[2], ctx.pid } end)
        p:process_per_batch(1, function()
          p:processor("innermost", function(item, emit, ctx) emit { item[1], item[2], item[3], ctx.pid } end)
        end)
      end)
    end):run()
    local me, pids = core.pid(), result.items[1]
    assert.same({ false, true, true, false }, { pids[1] == me, pids[2] == me, pids[3] == me, pids[4] == me })
    assert.not_equal(pids[1], pids[4])
  end)

  it("R29 the stages of a named context share its workers", function()
    local function tell(_, emit, ctx) emit { ctx.pid, ctx.worker } end
    local result = new():context("db", { processes = 2 }):producer("gen", { to = { "a", "b" } }, range(1, 20))
      :processor("a", { context = "db", to = {} }, tell):processor("b", { context = "db" }, tell):run()
    local pids = {}
    for i, item in ipairs(result.items) do pids[i] = item[1] end
    assert.equal(40, #pids)
    assert.equal(2, #result.stats.workers)
    local _, different = counts(pids)
    assert.is_true(different <= 2)
  end)

  it("R30 neighbours in a group are called in one worker", function()
    for _, context in ipairs { { "processes", 3 }, { "process_per_batch", 2 } } do
      local p = new():producer(range(1, 12))
      p[context[1]](p, context[2], function()
        for i = 1, 3 do
          p:processor("stage " .. i, function(item, emit, ctx)
            if i == 1 then item = { item } end
            item[#item + 1] = ctx.pid
            emit(item)
          end)
        end
      end)
      local numbers = {}
      for i, item in ipairs(p:run().items) do
        numbers[i] = item[1]
        assert.same({ item[2], item[2], item[2] }, { table.unpack(item, 2) })
        assert.not_equal(core.pid(), item[2])
      end
      assert.same(range(1, 12), sorted(numbers))
    end
  end)

  it("R30 what is called directly need not be serialisable", function()
    local result = new():producer(range(1, 4)):processes(2, function(p)
      p:map(function(n) return function() return n end end)
      p:map(function(f) return f() end)
    end):run()
    assert.same({ 1, 2, 3, 4 }, sorted(result.items))
  end)

  it("R30 items leave a group in its middle and come back to it", function()
    local result = new():processes(2, function(p)
      p:producer("gen", range(1, 300))
      p:processor("first", { to = { "outside", "last" } }, pass)
      p:processor("outside", { inline = true, to = "last" }, function(n, emit) emit(-n) end)
      p:processor("last", pass)
    end):run()
    local expected = range(1, 300)
    for n = 1, 300 do expected[#expected + 1] = -n end
    assert.same(sorted(expected), sorted(result.items))
  end)

  pairs_of(contexts.kinds, function(a, b, where)
    it("R31 everything is delivered, as pass-through and as terminal" .. where, function()
      local size = math.min(a.size, b.size)
      local result = new():producer(range(1, size)):processor(options(a), function(n, emit)
        emit(n)
        emit(-n)
      end):processor(options(b), function(n, emit) emit(2 * n) end):map(function(n) return n end):run()
      local expected = {}
      for n = 1, size do
        expected[#expected + 1] = 2 * n
        expected[#expected + 1] = -2 * n
      end
      assert.same(sorted(expected), sorted(result.items))
      result = new():producer(range(1, size)):processor(options(a), pass):consumer(options(b), pass):run()
      assert.same(range(1, size), sorted(result.items))
    end)
  end)

  pairs_of({ contexts.numbered[2], contexts.numbered[3], contexts.numbered[5] }, function(a, b, where)
    it("R62 chains of two, three and four process stages end, however often they are run" .. where, function()
      -- In an interpreter of its own, whose heap is small: forks are quick.
      local result = support.run_lua([[
        local minigun, contexts = require "minigun", require "spec.contexts"
        local a, b = contexts.numbered[tonumber(arg[1])], contexts.numbered[tonumber(arg[2])]
        for length = 2, 4 do
          local p = minigun.pipeline():producer { 1, 2, 3 }
          for i = 1, length do
            p:processor((i % 2 == 1 and a or b).options, function(item, emit) emit(item) end)
          end
          for _ = 1, arg[3] do assert(table.concat(contexts.sorted(p:run().items)) == "123") end
        end
        io.write "ended"
      ]], { args = { a.number, b.number, support.short_or_long(2, 70) }, timeout = 55 })
      assert.equal("ended", result.stdout, result.stderr)
    end)
  end)

  it("each kind is an option that stands alone, and is replaced by another", function()
    local given = { inline = true, threads = 3, processes = 3, process_per_batch = 3, fork = 3,
      cluster = "redis://host" }
    local drawn = { inline = "inline", cluster = "cluster", fork = "process_per_batch(3)" }
    for name, value in pairs(given) do
      local text = drawn[name] or name .. "(3)"
      assert.matches("  " .. text, tostring(new():map("a", { [name] = value }, tostring)), 1, true)
      for other, more in pairs(given) do
        local both = { [name] = value, [other] = more }
        local ok, message = pcall(function() new():map("b", both, tostring) end)
        assert.equal(name == other or both.threads and not both.inline or false, ok, message)
        if not ok then assert.matches("stage 'b': options '[%l_]+' and '[%l_]+' both say where", message) end
        assert.matches("  " .. text, tostring(new():map("a", { [other] = more }, tostring)
          :replace("a", { [name] = value }, tostring)), 1, true)
      end
    end
  end)

  each(contexts.all, function(context, where)
    it("a handler may be userdata that can be called" .. where, function()
      local files = getmetatable(io.stdout)
      files.__call = function(_, n, emit) emit(2 * n) end
      finally(function() files.__call = nil end)
      local result = new():producer { 1, 2, 3 }:processor("double", options(context), io.stdout):run()
      assert.same({ 2, 4, 6 }, sorted(result.items))
    end)
  end)

  it("many runs in one process leave nothing behind", function()
    local result = support.run_lua([[
      local minigun, support = require "minigun", require "spec.support"
      local function pass(n, emit) emit(n) end
      local pipelines = {}
      for i, given in ipairs { { processes = 1 }, { processes = 2 }, { fork = 1 }, { inline = true } } do
        pipelines[i] = minigun.pipeline():producer { 1, 2, 3 }:processor(given, pass)
      end
      local function runs(n)
        for i = 1, n do assert(#pipelines[i % #pipelines + 1]:run().items == 3) end
      end
      local function state()
        collectgarbage()
        collectgarbage()
        local resident = support.read_file("/proc/self/statm"):match "^%d+ (%d+)" * 4
        return support.descriptor_count(), support.shared_mappings(), #support.children(), resident,
          collectgarbage "count"
      end
      runs(40)
      local fds, mappings, children, kib, lua = state()
      runs(tonumber(arg[2]))
      local fds_now, mappings_now, children_now, kib_now, lua_now = state()
      assert(fds == fds_now, fds_now)
      assert(mappings == mappings_now, mappings_now)
      assert(children == 0 and children_now == 0, children_now)
      assert(kib_now < kib + 4096 * arg[1] ^ 2, kib_now) -- it goes up and down by 3 MiB, and under a sanitizer by more
      assert(lua_now < lua + 64, lua_now)
      io.write "flat"
    ]], { timeout = 50, args = { contexts.patience, support.short_or_long(80, 900) } })
    assert.equal("", result.stderr)
    assert.equal("flat", result.stdout)
  end)
end)
