-- Threads in workers: coroutines over an event loop in each process of a pool, or in a fork per batch.
local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local support = require "spec.support"

local range, sorted = contexts.range, contexts.sorted
local patience = contexts.patience

local function new(given)
  return minigun.pipeline("threads", given)
end

local KILL <const> = 9

-- Every number from 1 to n is in the items or in the failures, exactly once.
local function assert_exactly_once(n, result)
  local seen, count = {}, 0
  local function take(item)
    assert.is_nil(seen[item], tostring(item) .. " twice")
    seen[item], count = true, count + 1
  end
  for _, item in ipairs(result.items) do take(item) end
  for _, failure in ipairs(result.failures) do take(failure.item) end
  assert.equal(n, count)
end

contexts.each_loop(function(loop)
  describe("threads(n) in workers", function()
    it("R28 have their worker's pid; a group's stages run in the same workers, n handlers at once in each", function()
      local result = new():producer(range(1, 120)):processes(2, function(p)
        p:processor("a", function(n, emit, ctx) emit { n, ctx.pid } end)
        p:threads(10, function()
          p:processor("b", function(item, emit, ctx)
            assert(ctx.pid == item[2])
            ctx.state.inside = ctx.state.inside or {} -- the thread's own
            local from = minigun.now()
            minigun.sleep(0.02)
            emit { item[1], ctx.pid, ctx.worker, from, minigun.now() }
          end)
          p:processor("c", function(item, emit, ctx)
            assert(ctx.worker == item[3] and ctx.pid == item[2])
            emit(item)
          end)
        end)
      end):run()
      local numbers, workers, lives = {}, {}, {}
      local of = {} -- by pid
      for i, item in ipairs(result.items) do
        numbers[i] = item[1]
        workers[item[3]] = workers[item[3]] or item[2]
        assert.equal(workers[item[3]], item[2])
        lives[i] = { item[4], item[5] }
        of[item[2]] = of[item[2]] or {}
        table.insert(of[item[2]], lives[i])
      end
      local fullest = 0
      for _, list in pairs(of) do fullest = math.max(fullest, contexts.most_at_once(list)) end
      assert.same(range(1, 120), sorted(numbers))
      assert.equal(10, fullest)
      assert.equal(2, contexts.forks(result))
      local _, pids = contexts.counts(workers)
      assert.equal(2, pids)
      local s = result.stats.stages
      assert.same({ 120, 120, 120, 120 }, { s.a.items_in, s.a.items_out, s.b.items_in, s.c.items_out })
    end)

    it("wait for child processes and descriptors", function()
      local waits, numbers = {}, {}
      local result = new():producer(range(1, 40)):processor({ processes = 2, threads = 10 }, function(n, emit)
        local pipe, from = assert(io.popen("sleep 0.1; echo " .. n)), core.now()
        assert(minigun.wait(pipe))
        emit { pipe:read "n", from, core.now() }
        pipe:close()
      end):run()
      for i, item in ipairs(result.items) do numbers[i], waits[i] = item[1], { item[2], item[3] } end
      assert.same(range(1, 40), sorted(numbers))
      local most = contexts.most_at_once(waits)
      assert.is_true(most > 2 and most <= 20, most) -- more than there are workers
    end)

    it("a handler that blocks one worker does not keep the other stages from being fed", function()
      local path, fed = os.tmpname(), 0
      os.remove(path)
      local result = new():producer("gen", { to = { "blocked", "free" } }, range(1, 60))
        :processor("blocked", { processes = 1, threads = 4, to = "see" }, function(n, emit)
          if n > 1 then return end
          emit(support.wait_until(function() -- without letting other threads go on
            local file = io.open(path)
            return file and file:close()
          end, 20))
        end)
        :processor("free", { processes = 1, threads = 4, to = "note" }, function(n, emit) emit(n) end)
        :each("note", function()
          fed = fed + 1
          if fed == 60 then support.write_file(path, "") end
        end)
        :processor("see", { inline = true, from = "blocked" }, function(came, emit) emit(came) end):run()
      os.remove(path)
      assert.same({ 60, { true } }, { fed, result.items })
    end)

    it("R47 kill -9 charges an attempt to each item in hand, and to no other; nothing is lost or doubled", function()
      local path = os.tmpname()
      for _, retries in ipairs { 0, 1 } do
        local p = new():producer(range(1, 60)):processor("work", { processes = 1, threads = 20, retries = retries },
          function(n, emit, ctx)
            emit(n)
            ctx:count "done"
            minigun.sleep(0.005)
            if n <= 20 then
              local file = io.open(path, "a")
              file:write "x"
              local size = file:seek "end"
              file:close()
              if ctx.attempt == 1 and size == 20 then os.execute("kill -KILL " .. ctx.pid) end
              minigun.sleep(ctx.attempt == 1 and 60 or 0.001)
            end
          end)
        local result = p:run { failures = "collect" }
        assert_exactly_once(60, result)
        if retries == 1 then
          assert.same({}, result.failures)
          assert.equal(20, result.stats.stages.work.retried)
          assert.same({ done = 60 }, result.counters)
        else
          local failed = {}
          for i, failure in ipairs(result.failures) do
            failed[i] = failure.item
            assert.same({ "crash", KILL, 1, "work" },
              { failure.kind, failure.signal, failure.attempts, failure.stage })
          end
          assert.same(range(1, 20), sorted(failed))
          assert.same({ done = 40 }, result.counters)
        end
        assert.equal(2, contexts.forks(result))
        support.write_file(path, "")
      end
      os.remove(path)
    end)

    it("R48 a handler that waits too long is ended, the worker and its other items live on", function()
      local result = new():producer(range(1, 40)):processor("work", { processes = 1, threads = 8,
        timeout = 1 * patience }, function(n, emit)
        minigun.sleep(n % 10 == 0 and 60 or 0.01)
        emit(n)
      end):run { failures = "collect" }
      assert_exactly_once(40, result)
      assert.equal(4, #result.failures)
      for _, failure in ipairs(result.failures) do
        assert.same({ "timeout", 0 }, { failure.kind, failure.item % 10 })
      end
      assert.equal(1, contexts.forks(result))
    end)

    it("R48 one that computes too long costs its worker; the items beside it are not charged", function()
      local result = new():producer(range(1, 30)):processor("work",
        { processes = 1, threads = 10, timeout = 0.4 * contexts.patience }, function(n, emit)
          minigun.sleep(0.001 * n)
          if n == 7 then contexts.work(60) end
          emit(n)
        end):run { failures = "collect" }
      assert_exactly_once(30, result)
      assert.same({ 1, 7, "timeout" }, { #result.failures, result.failures[1].item, result.failures[1].kind })
      assert.equal(2, contexts.forks(result))
    end)

    it("R46 R49 errors, retries and values that cannot be sent are those of any worker", function()
      local result = new():producer(range(1, 40)):processes(2, function(p)
        p:processor("first", function(n, emit)
          emit(n)
          if n % 8 == 0 then emit(-n) end
        end)
        p:threads(5, function()
          p:processor("second", { retries = 1 }, function(n, emit, ctx)
            ctx:collect("tried", n)
            emit(n)
            minigun.sleep(0.001)
            if n < 0 or n == 7 and ctx.attempt == 1 then error("no " .. n) end
            if n == 9 then emit { f = print } end
          end)
        end)
      end):run { failures = "collect" }
      local failed, unsent = {}, {}
      assert.same(range(1, 40), sorted(result.items))
      assert.same(range(1, 40), sorted(result.collected.tried))
      for _, failure in ipairs(result.failures) do
        if failure.kind == "unserialisable" then
          unsent[#unsent + 1] = failure.message
          assert.equal("second", failure.stage)
        else
          failed[#failed + 1] = failure.item
          assert.same({ "error", "second", 2 }, { failure.kind, failure.stage, failure.attempts })
        end
      end
      assert.same({ "item.f is a function" }, { unsent[1]:match "item%.f is a function", unsent[2] })
      assert.same({ -40, -32, -24, -16, -8 }, sorted(failed))

      result = new():producer { 1, 2, 3 }:processor("alone", { processes = 1, threads = 3 }, function(n, emit)
        minigun.sleep(0.001)
        emit(n)
        if n == 2 then emit(print) end
      end):run { failures = "collect" }
      assert.same({ 1, 3 }, sorted(result.items))
      assert.same({ "unserialisable", 2 }, { result.failures[1].kind, result.failures[1].item })
    end)

    it("R33 keep the order where the group of workers is ordered", function()
      local p = new():producer(range(1, 100)):processes({ n = 2, ordered = true }, function(p)
        p:processor("a", function(n, emit) emit(n) end)
        p:processor("b", { threads = 6, retries = 1 }, function(n, emit, ctx)
          emit(n)
          minigun.sleep(0.0005 * (n * 7 % 11))
          if n % 9 == 0 and ctx.attempt == 1 then error "once" end
          emit(n + 0.5)
        end)
      end)
      local expected = {}
      for n = 1, 100 do expected[2 * n - 1], expected[2 * n] = n, n + 0.5 end
      assert.same(expected, p:run().items)
    end)

    it("R7 items with equal keys go to one thread of one worker, in their order", function()
      local result = new():producer(range(1, 120)):processor({ processes = 2, threads = 3,
        partition = function(n) return n % 11 end }, function(n, emit, ctx)
        minigun.sleep(0.0005 * (n % 3))
        emit { n % 11, n, ctx.worker }
      end):run()
      local last, worker = {}, {}
      assert.equal(120, #result.items)
      for _, item in ipairs(result.items) do
        assert.is_true((last[item[1]] or 0) < item[2])
        last[item[1]], worker[item[1]] = item[2], worker[item[1]] or item[3]
        assert.equal(worker[item[1]], item[3])
      end
    end)

    it("R60 items of several blocks end with little memory, also beside others", function()
      local text = ("x"):rep(30000)
      local result = new { memory = "2M" }:producer(range(1, 30)):processor({ processes = 2, threads = 4, retries = 1 },
        function(n, emit, ctx)
          for i = 1, 5 do emit { n, i, text } end
          minigun.sleep(0.001)
          if n % 5 == 0 and ctx.attempt == 1 then error "once" end
          for i = 6, 10 do emit { n, i, text } end
        end):processor({ processes = 1 }, function(item, emit) emit(item[1] * 100 + item[2]) end):run()
      assert.equal(300, #result.items)
      assert.equal(300, select(2, contexts.counts(result.items)))
    end)

    it("R26 run beside each other in a fork per batch", function()
      local result = new():producer { 1, 2, 3 }:process_per_batch(2, function(p)
        p:processor("many", function(n, emit, ctx)
          for i = 1, 10 do emit { n * 100 + i, ctx.pid } end
        end)
        p:threads(10, function()
          p:processor("wait", function(item, emit, ctx)
            assert(item[2] == ctx.pid)
            local from = core.now()
            minigun.sleep(0.05)
            emit { item[1], ctx.pid, from, core.now() }
          end)
        end)
      end):run()
      local numbers, waits = {}, {}
      for i, item in ipairs(result.items) do
        numbers[i] = item[1]
        waits[item[2]] = waits[item[2]] or {}
        table.insert(waits[item[2]], { item[3], item[4] })
      end
      assert.equal(30, select(2, contexts.counts(numbers)))
      for _, of_one in pairs(waits) do assert.is_true(contexts.most_at_once(of_one) > 1) end
    end)

    it("R70 as many as fit into a worker's slot, and no more", function()
      local function define(n)
        return new():producer(range(1, 2500)):processes(1, function(p)
          for i = 1, 2 do
            p:processor("wait " .. i, { threads = n }, function(item, emit)
              minigun.sleep(0.001)
              emit(item)
            end)
          end
        end)
      end
      assert.equal(2500, #define(1024):run().items)
      local ok, message = pcall(function()
        local p = define(1024)
        p:replace("wait 2", { threads = 1024 }):insert_after("wait 2", "more", { threads = 1 }, print):run()
      end)
      assert.is_false(ok)
      assert.matches("a worker of processes%(1%) would have 2049; 2048 are possible", message)
    end)

    if loop.own then return end

    it("fetch 200 pages with 20 threads in each of 2 processes", function()
      local port_file = os.tmpname()
      local server = assert(io.popen(("lua5.4 spec/programs/http_server.lua 0.05 >%s"):format(port_file), "w"))
      local port
      assert.is_truthy(support.wait_until(function()
        port = (support.read_file(port_file) or ""):match "^(%d+)\n"
        return port
      end, 10))
      os.remove(port_file)
      local function fetch(n, emit)
        local socket = require "cqueues.socket"
        local from = core.now()
        local connection = socket.connect("127.0.0.1", tonumber(port))
        connection:write(("GET /%d HTTP/1.0\r\n\r\n"):format(n))
        connection:flush()
        local body = connection:read "*a"
        connection:close()
        emit { n, body:match "\r\n\r\n/(%d+)$", from, core.now() }
      end
      local result = new():producer(range(1, 200)):processes(2, function(p)
        p:threads(20, function() p:processor("fetch", { timeout = 30 }, fetch) end)
      end):run()
      server:close()
      assert.equal(200, #result.items)
      local waits = {}
      for i, item in ipairs(result.items) do
        assert.equal(item[1], tonumber(item[2]))
        waits[i] = { item[3], item[4] }
      end
      local most = contexts.most_at_once(waits)
      assert.is_true(most > 2 and most <= 40, most) -- more than there are workers
    end)
  end)
end)
