-- Threads of the coordinator: coroutines over an event loop, with cqueues and with the library's own.
local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local support = require "spec.support"

local range, sorted = contexts.range, contexts.sorted
local patience = contexts.patience
local _, cqueues = pcall(require, "cqueues")

local function new(given)
  return minigun.pipeline("threads", given)
end

-- How many are inside at once.
local function gauge()
  local self = { now = 0, most = 0 }
  function self.enter()
    self.now = self.now + 1
    self.most = math.max(self.most, self.now)
  end
  function self.leave() self.now = self.now - 1 end
  return self
end

contexts.each_loop(function(loop)
  describe("threads(n)", function()
    it("R28 50 handlers that wait 0.1 s each end in 0.2 to 0.3 s with 25 threads; all in the coordinator", function()
      local inside = gauge()
      local p = new():producer(range(1, 50)):processor("wait", { threads = 25 }, function(n, emit, ctx)
        inside.enter()
        minigun.sleep(0.1)
        inside.leave()
        emit { n, ctx.pid, ctx.worker }
      end)
      local elapsed = contexts.least(0.3, function() return p:run().elapsed end)
      assert.equal(25, inside.most)
      assert.is_true(elapsed >= 0.2 and elapsed < 0.3 * patience, elapsed .. " s")
      local workers = {}
      for i, item in ipairs(p.last.items) do
        assert.equal(core.pid(), item[2])
        workers[i] = item[3]
      end
      assert.equal(50, #workers)
      local counts, different = contexts.counts(workers)
      assert.equal(25, different)
      for worker in pairs(counts) do assert.is_true(worker >= 1 and worker <= 25) end
    end)

    it("R28 never more than n handlers at once, whatever waits in front", function()
      for _, n in ipairs { 1, 3, 16 } do
        local inside = gauge()
        new():producer(range(1, 60)):each({ threads = n }, function()
          inside.enter()
          minigun.sleep(0.001)
          inside.leave()
        end):run()
        assert.equal(n, inside.most)
      end
    end)

    it("are 16 where nothing says how many", function()
      local inside = gauge()
      local function wait()
        inside.enter()
        minigun.sleep(0.005)
        inside.leave()
      end
      new():producer(range(1, 50)):threads(function(p) p:each(wait) end):run()
      assert.equal(16, inside.most)
      new():producer(range(1, 50)):each({ threads = true }, wait):run()
      assert.equal(16, inside.most)
    end)

    it("child processes run at the same time: io.popen and minigun.wait", function()
      local elapsed = contexts.least(0.6, function()
        local result = new():producer(range(1, 20)):processor({ threads = 10 }, function(n, emit)
          local pipe = assert(io.popen("sleep 0.1; echo " .. n))
          assert(minigun.wait(pipe, "r"))
          emit(pipe:read "n")
          pipe:close()
        end):run()
        assert.same(range(1, 20), sorted(result.items))
        return result.elapsed
      end)
      assert.is_true(elapsed >= 0.2 and elapsed < 1.5 * patience, elapsed .. " s") -- 2 s one after the other
    end)

    it("minigun.wait tells of time-outs, of room to write, and of what cannot be waited for", function()
      local function try()
        local pipe = io.popen("cat >/dev/null", "w")
        local quiet = io.popen "sleep 0.3"
        local results = {
          { minigun.wait(pipe, "w") }, { minigun.wait(quiet, "r", 0.02) }, { minigun.wait(12345) },
          { minigun.wait({ getfd = function() return core.fileno(quiet) end }, "r", 0) },
          { minigun.wait({ pollfd = core.fileno(pipe) }, "w") },
        }
        pipe:close()
        results[6] = { minigun.wait(quiet, "r", 10) } -- its end
        quiet:close()
        return results
      end
      local expected = { { true }, { nil, "timeout" }, { nil, "cannot wait for a descriptor: Bad file descriptor", 9 },
        { nil, "timeout" }, { true }, { true } }
      assert.same(expected, try())
      local result = new():producer { 1 }:each({ threads = 2 }, function(_, _) assert.same(expected, try()) end):run()
      assert.is_true(result.ok)
    end)

    it("two threads may wait for one descriptor, and its number may be used again", function()
      local result = new():producer(range(1, 10)):processor({ threads = 2 }, function(n, emit)
        local pipe = io.popen("sleep 0.005; echo " .. n)
        assert(minigun.wait(pipe))
        emit(pipe:read "n")
        pipe:close()
      end):run()
      assert.same(range(1, 10), sorted(result.items))
      local pipe = io.popen "sleep 0.05; echo ready"
      result = new():producer(range(1, 4)):processor({ threads = 4 }, function(n, emit)
        assert(minigun.wait(pipe))
        emit(n)
      end):run()
      pipe:close()
      assert.same(range(1, 4), sorted(result.items))
    end)

    it("neighbours of a group are called in one thread, which keeps its ctx.state to itself", function()
      local result = new():producer(range(1, 40)):threads(8, function(p)
        p:before("first", function(ctx) ctx.state.handle = "opened once" end)
        p:processor("first", function(n, emit, ctx)
          assert(ctx.state.handle == "opened once")
          ctx.state.mine = n
          minigun.sleep(0.001)
          assert(ctx.state.mine == n)
          emit { n, ctx.worker }
        end)
        p:processor("second", function(item, emit, ctx)
          assert(ctx.worker == item[2])
          emit(item[1])
        end)
        p:after("first", function(ctx) ctx:collect("after", ctx.state.handle) end)
      end):run()
      assert.same(range(1, 40), sorted(result.items))
      assert.same({ "opened once" }, result.collected.after)
    end)

    it("producers in a group wait side by side", function()
      local inside, p = gauge(), new()
      p:threads(function()
        for _, name in ipairs { "a", "b", "c" } do
          p:producer(name, function(emit)
            inside.enter()
            for i = 1, 5 do
              minigun.sleep(0.01)
              emit(name .. i)
            end
            inside.leave()
          end)
        end
        p:processor("pass", function(item, emit) emit(item) end)
      end)
      local result = p:run()
      assert.equal(15, #result.items)
      assert.equal(3, inside.most)
      assert.equal(5, result.stats.stages.b.items_out)
    end)

    it("R59 a producer in a thread waits for those after it", function()
      local emitted, handled, ahead = 0, 0, 0
      local p = new():producer("gen", { threads = true }, function(emit)
        for i = 1, 300 do
          emit(i)
          emitted = i
          ahead = math.max(ahead, emitted - handled)
        end
      end):processor("slow", { threads = 2, queue = 1 }, function()
        minigun.sleep(0.0005)
        handled = handled + 1
      end)
      p:run()
      assert.equal(300, handled)
      assert.is_true(ahead <= 8, ahead)
    end)

    it("R31 between threads and pools everything arrives, in both directions", function()
      local result = new():producer(range(1, 400)):processor("a", { processes = 2 }, function(n, emit)
        emit(n)
        emit(-n)
      end):threads(5, function(p)
        p:processor("b", function(n, emit)
          if n % 40 == 0 then minigun.sleep(0.001) end
          emit(n)
        end)
      end):processor("c", { processes = 2 }, function(n, emit) emit(n) end)
        :processor("d", { threads = 3 }, function(n, emit, ctx)
          ctx:count "d"
          emit(n)
        end):batch(50):flat_map({ fork = 2 }, function(batch) return batch end):run()
      local expected = range(-400, 400)
      table.remove(expected, 401)
      assert.same(expected, sorted(result.items))
      assert.same({ d = 800 }, result.counters)
    end)

    it("R7 items with equal keys go to one thread, in their order", function()
      local result = new():producer(range(1, 60)):processor({ threads = 4, partition = function(n) return n % 7 end },
        function(n, emit, ctx)
          minigun.sleep(0.0005 * (n % 3))
          emit { n % 7, n, ctx.worker }
        end):run()
      local last, worker = {}, {}
      assert.equal(60, #result.items)
      for _, item in ipairs(result.items) do
        assert.is_true((last[item[1]] or 0) < item[2])
        last[item[1]], worker[item[1]] = item[2], worker[item[1]] or item[3]
        assert.equal(worker[item[1]], item[3])
      end
      assert.is_true(select(2, contexts.counts(worker)) > 1)
    end)

    it("R48 a handler that waits past its time-out is ended, and what it has open is closed", function()
      local closed, limit = 0, 0.1 * patience
      local result = new():producer(range(1, 12)):processor("wait", { threads = 4, timeout = limit }, function(n, emit)
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        emit(-n)
        minigun.sleep(n % 4 == 0 and 60 or 0.001)
        emit(n)
      end):run { failures = "collect" }
      assert.equal(12, closed)
      assert.equal(18, #result.items)
      local failed = {}
      for i, failure in ipairs(result.failures) do
        failed[i] = failure.item
        assert.same({ "timeout", "wait", 1 }, { failure.kind, failure.stage, failure.attempts })
        assert.equal(core.pid(), failure.pid)
        assert.matches("the item took longer than .* s; its thread was ended", failure.message)
      end
      assert.same({ 4, 8, 12 }, sorted(failed))
    end)

    it("R46 R48 and may succeed with its next attempt", function()
      local result = new():producer { 1, 2, 3 }:processor({ threads = 2, timeout = 0.03, retries = 1 },
        function(n, emit, ctx)
          if ctx.attempt == 1 then minigun.sleep(60) end
          emit(n)
        end):run()
      assert.same({ 1, 2, 3 }, sorted(result.items))
    end)

    it("R48 the items that a handler has emitted before go on, each with a time of its own", function()
      local limit = 0.8 * patience
      local result = new():producer { 0 }:threads(1, function(p)
        p:processor("many", { timeout = limit }, function(_, emit)
          for i = 1, 3 do emit(i) end
        end)
        p:processor("each", { timeout = limit }, function(n, emit)
          minigun.sleep(n == 2 and 60 or 0.45 * patience)
          emit(n)
        end)
      end):run { failures = "collect" }
      assert.same({ 1, 3 }, result.items)
      assert.same({ 1, "each", 2 }, { #result.failures, result.failures[1].stage, result.failures[1].item })
    end)

    it("R48 a handler that emits so much that it goes on as a stream has its time all the same", function()
      local options = { threads = 1, timeout = 0.15 * patience }
      local result = new():producer { 0 }:processor("much", options, function(_, emit)
        for i = 1, 10000 do emit(i) end
        local till = core.now() + 5 * patience
        while core.now() < till do end
      end):run { failures = "collect" }
      assert.is_true(#result.items >= 8000, #result.items) -- what had gone on before
      local first = result.failures[1]
      assert.same({ "timeout", true }, { first and first.kind, result.elapsed < 4 * patience })
    end)

    it("R45 an error after a wait fails its item, with the user's line and traceback", function()
      local line
      local result = new():producer(range(1, 4)):processor("work", { threads = 3, timeout = 60 }, function(n)
        minigun.sleep(0.001)
        line = debug.getinfo(1, "l").currentline + 1
        if n == 2 then error "wrong" end
      end):run { failures = "collect" }
      local failure = result.failures[1]
      assert.equal(("spec/threads_spec.lua:%d: wrong"):format(line), failure.message)
      assert.matches("^stack traceback:\n%s*%[C%]: in function 'error'\n%s*spec/threads_spec.lua:%d", failure.traceback)
      assert.is_nil(failure.traceback:find("minigun/", 1, true))
      assert.same({ 1, 2, core.pid(), 3 }, { #result.failures, failure.item, failure.pid, failure.workers })
    end)

    it("R39 a hook that raises in a thread fails the run, and what threads have open is closed", function()
      local closed = 0
      local p = new():producer(range(1, 3)):each({ threads = 3 }, function(n)
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        minigun.sleep(n == 1 and 0.005 or 60)
        error "fails"
      end):on_failure(function() error "in the hook" end)
      local ok, message = pcall(p.run, p)
      assert.is_false(ok)
      assert.matches("in hook on_failure", message)
      assert.equal(3, closed)
    end)

    it("the time for which handlers blocked the coordinator is in the statistics", function()
      local result = new():producer { 1, 2 }:threads(2, function(p)
        p:processor("good", function(n, emit)
          minigun.sleep(0.05)
          emit(n)
        end)
        p:each("bad", function() core.sleep(0.03) end)
      end):run()
      local good, bad = result.stats.stages.good, result.stats.stages.bad
      assert.is_true(bad.blocked >= 0.06 and bad.blocked <= result.elapsed, bad.blocked)
      assert.is_true(bad.blocked_most >= 0.03 and bad.blocked_most <= bad.blocked)
      assert.is_true(good.blocked < bad.blocked, good.blocked) -- much less, on a processor that is not shared
      assert.is_true(good.busy >= 0.1, good.busy) -- of the item, from its first stage to its last
    end)

    it("R32 a handler may run a pipeline, whose stages do not wait in its thread", function()
      local result = new():producer(range(1, 4)):processor({ threads = 2 }, function(n, emit)
        minigun.sleep(0.001)
        for _, given in ipairs { { inline = true }, { threads = 2 }, { processes = 1 } } do
          local inner = new():producer(range(1, n)):processor(given, function(m, out)
            minigun.sleep(0.001)
            out(m)
          end):run()
          assert(#inner.items == n)
        end
        minigun.sleep(0.001)
        emit(n)
      end):run()
      assert.same(range(1, 4), sorted(result.items))
    end)

    it("children that are forked meanwhile do not disturb the waits, and inherit nothing of them", function()
      local function event_polls()
        local n = 0
        for _, target in pairs(support.descriptors()) do n = n + (target:find "eventpoll" and 1 or 0) end
        return n
      end
      -- What a child has of its own, for the bells.
      local own = new():producer { 1 }:map({ fork = 1 }, event_polls):run().items[1]
      local here = support.descriptor_count()
      local result = new():producer(range(1, 12)):processor({ threads = 4 }, function(n, emit)
        local pipe = io.popen("sleep 0.01; echo " .. n)
        assert(minigun.wait(pipe))
        emit(pipe:read "n")
        pipe:close()
      end):processor({ fork = 2 }, function(n, emit)
        minigun.sleep(0.001)
        assert.equal(own, event_polls())
        emit(n)
      end):run()
      assert.same(range(1, 12), sorted(result.items))
      assert.equal(here, support.descriptor_count())
    end)

    it("a background run's descriptor tells when a thread can go on", function()
      for _, wait in ipairs {
        function() minigun.sleep(0.02) end,
        function()
          local pipe = io.popen "sleep 0.02; echo x"
          assert(minigun.wait(pipe))
          pipe:close()
        end,
      } do
        local run = new():producer(range(1, 6)):processor({ threads = 3 }, function(n, emit)
          wait()
          emit(n)
        end):start()
        local steps = contexts.step_to_end(run)
        assert.same(range(1, 6), sorted(run:wait().items))
        assert.is_true(steps < 100 * patience, steps)
      end
    end)

    it("R53 stop finishes what threads have in hand; R71 kill closes what they have open", function()
      local opened, closed = 0, 0
      local function open()
        opened = opened + 1
        return setmetatable({}, { __close = function() closed = closed + 1 end })
      end
      local function define()
        return new():producer("gen", { threads = true }, function(emit)
          local _ <close> = open()
          for i = 1, math.huge do
            emit(i)
            minigun.sleep(0.001)
          end
        end):processor("work", { threads = 4 }, function(n, emit)
          local _ <close> = open()
          minigun.sleep(0.01)
          emit(n)
        end)
      end
      local run = define():start()
      repeat assert.is_true(run:step(0.005)) until run:status().items > 3
      local result = run:stop():wait()
      assert.is_true(result.stopped and result.ok)
      assert.same(range(1, #result.items), sorted(result.items))
      assert.equal(#result.items + 1, closed)
      opened, closed = 0, 0
      run = define():start()
      repeat assert.is_true(run:step(0.005)) until run:status().items > 3
      result = run:kill()
      assert.is_true(result.killed)
      assert.equal(opened, closed)
      assert.is_true(closed > #result.items)
    end)

    it("R33 gives items in the order of arrival where it is ordered, and loop stages wait like others", function()
      local result = new():producer(range(1, 40)):threads({ n = 8, ordered = true }, function(p)
        p:processor("work", { retries = 1 }, function(n, emit, ctx)
          emit(n)
          minigun.sleep(0.0005 * (n % 5))
          if n % 7 == 0 and ctx.attempt == 1 then error "once" end
          emit(n + 0.5)
        end)
      end):run()
      assert.equal(80, #result.items)
      for i = 1, 40 do assert.same({ i, i + 0.5 }, { result.items[2 * i - 1], result.items[2 * i] }) end

      local inside = gauge()
      result = new():producer(range(1, 30)):stage("loop", { threads = 5, timeout = 0.5 * patience },
        function(input, emit)
          local sum = 0
          for n in input do
            inside.enter()
            minigun.sleep(n == 13 and 60 or 0.002)
            inside.leave()
            sum = sum + n
          end
          emit(sum)
        end):run { failures = "collect" }
      local total = 0
      for _, sum in ipairs(result.items) do total = total + sum end
      assert.equal(5, inside.most)
      assert.same({ 1, 13, "timeout" }, { #result.failures, result.failures[1].item, result.failures[1].kind })
      assert.is_true(#result.items >= 4) -- what the loop that was closed had summed up is lost with it
      assert.is_true(total <= 465 - 13 and total >= 200, total)
    end)

    it("minigun.map runs in threads too", function()
      local squares = minigun.map(range(1, 20), function(n)
        minigun.sleep(0.001)
        return n * n
      end, { threads = 8 })
      for i = 1, 20 do assert.equal(i * i, squares[i]) end
    end)

    if loop.own then return end

    it("what waits by means of cqueues lets others run: sleep, conditions, sockets", function()
      local socket, condition = require "cqueues.socket", require "cqueues.condition"
      local elapsed = contexts.least(0.25, function()
        return new():producer(range(1, 40)):each({ threads = 20 }, function() cqueues.sleep(0.05) end):run().elapsed
      end)
      assert.is_true(elapsed >= 0.1 and elapsed < 0.6 * patience, elapsed)
      local told, a, b = condition.new(), socket.pair()
      local result = new():producer { "waits", "reads", "writes", "tells" }:processor({ threads = 4, timeout = 30 },
        function(what, emit)
          if what == "waits" then assert(told:wait())
          elseif what == "reads" then assert(a:read "*l" == "hello")
          elseif what == "writes" then
            minigun.sleep(0.01)
            assert(b:write "hello\n" and b:flush())
          else
            cqueues.sleep(0.02)
            told:signal()
          end
          emit(what)
        end):run()
      a:close()
      b:close()
      assert.same({ "reads", "tells", "waits", "writes" }, sorted(result.items))
    end)

    it("R48 a time-out ends also a wait of cqueues", function()
      local result = new():producer { 1, 2 }:processor({ threads = 2, timeout = 0.03 }, function(n, emit)
        if n == 1 then cqueues.sleep(60) end
        emit(n)
      end):run { failures = "collect" }
      assert.same({ 2, "timeout" }, { result.items[1], result.failures[1].kind })
    end)
  end)
end)

describe("threads in the language", function()
  local function pass(item, emit) emit(item) end

  it("R29 R15 block, option and named context; print shows them", function()
    local p = new():context("web", { threads = 20 }):producer("gen", { 1 })
    p:threads(3, function()
      p:processor("block", pass)
      p:processor("own", { threads = 5 }, pass)
      p:processor("pool", { processes = 2 }, pass)
    end)
    p:processor("named", { context = "web" }, pass)
    p:threads(false, function() p:processor("none", pass) end)
    local text = tostring(p)
    for name, context in pairs { block = "threads(3)", own = "threads(5)", pool = "processes(2)",
      named = "web: threads(20)", none = "inline" } do
      assert.is_truthy(text:find(("\n  %s +processor +%s "):format(name, (context:gsub("%p", "%%%0")))), text)
    end
    assert.same({ 1 }, p:run().items)
  end)

  it("threads stand in the group of workers around them, by group or by option; or say so themselves", function()
    local p = new():context("both", { processes = 3, threads = 4 }):producer("gen", { 1 })
    p:processes(2, function()
      p:processor("a", pass)
      p:threads(20, function()
        p:processor("b", pass)
        p:processor("c", { threads = 5 }, pass)
        p:processor("d", { processes = 4 }, pass)
      end)
      p:processor("e", { threads = 6 }, pass)
      p:inline(function() p:processor("f", { threads = 7 }, pass) end)
    end)
    p:processor("g", { fork = 1, threads = 8 }, pass)
    p:processor("h", { context = "both" }, pass)
    local text, copy = tostring(p), tostring(p:extend())
    for name, context in pairs { a = "processes(2)", b = "threads(20) in processes(2)",
      c = "threads(5) in processes(2)", d = "processes(4)", e = "threads(6) in processes(2)", f = "threads(7)",
      g = "threads(8) in process_per_batch(1)",
      h = "both: threads(4) in processes(3)" } do
      assert.is_truthy(text:find(("\n  %s +processor +%s +%%->"):format(name, (context:gsub("%p", "%%%0")))), text)
    end
    assert.equal(text, copy)
    for _, each in ipairs { p, p:extend() } do
      local result = each:run()
      assert.same({ 1 }, result.items)
      assert.equal(2 + 4 + 1 + 3, contexts.forks(result))
    end
  end)

  it("R70 wrong sizes and arguments are refused at the user's line", function()
    local refusals = require "spec.refusals"
    local p = new()
    refusals.check {
      { function() p:threads(0, function() end) end, "threads: the number of threads must be an integer from 1" },
      { function() p:threads(4) end, "threads: the group needs a function" },
      { function() p:map({ threads = "many" }, pass) end, "option 'threads' must be an integer from 1 to 1024" },
      { function() p:map({ threads = 4, inline = true }, pass) end, "both say where it runs" },
      { function() p:processes(2, function() p:threads({ ordered = true }, function() end) end) end, "to that group" },
      { function() minigun.sleep(-1) end, "minigun.sleep: seconds, a number of at least 0, expected, got -1" },
      { function() minigun.wait("x") end, "minigun.wait: a descriptor, an open file" },
      { function() minigun.wait(0, "x") end, "the mode is" },
      { function() minigun.wait(0, "r", -1) end, "minigun.wait: seconds" },
    }
  end)

  it("rows of the table form stand side by side: threads are not in the workers of the row before", function()
    local p = minigun.pipeline { source = { 1 }, { "a", map = function(n) return n end, processes = 2 },
      { "b", map = function(n) return n end, threads = 3 }, { "c", map = function(n) return n end } }
    assert.matches("\n  b +map +threads%(3%) +%-> c\n  c +map +threads%(3%) ", tostring(p))
    assert.same({ 1 }, p:run().items)
  end)
end)
