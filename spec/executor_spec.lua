-- Executors, the rules F1 to F8: what comes of items that are submitted one by one. F8, inside event loops, is in
-- spec/executor_loops_spec.lua; deaths at random moments and drawn histories in spec/executor_property_spec.lua.
local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local support = require "spec.support"

local options, where_of = contexts.options, function(context) return " [" .. context.name .. "]" end
local patience = 20 * contexts.patience

-- An executor that is closed by a test which fails, and by one that ends.
local function executor(f, given) return minigun.executor(f, given) end

-- What came of a future: "done" and the value, or the failure's kind and the failure.
local function outcome(future)
  local settled = minigun.wait_all({ future }, { timeout = patience })
  assert.equal(1, #settled, "a future hangs")
  if future:failure() then return future:failure().kind, future:failure() end
  return "done", future:result()
end

local function double(n) return 2 * n end

for _, context in ipairs(contexts.all) do
  describe("F1: an executor" .. where_of(context), function()
    it("gives each future its own result, whatever the order", function()
      local pool <close> = executor(function(n)
        if n % 7 == 0 then core.sleep(0.001 * (n % 3)) end
        return { n, tostring(n) }
      end, options(context, { backlog = 50 }))
      local futures = {}
      for i = 1, context.size do futures[i] = pool:submit(i) end
      for i = context.size, 1, -1 do assert.same({ i, tostring(i) }, futures[i]:result(patience)) end
      for i = 1, 3 do assert.same({ i, tostring(i) }, pool:call(i)) end
    end)

    it("gives it through further attempts", function()
      local tried = os.tmpname()
      local pool <close> = executor(function(n)
        if n % 5 ~= 0 then return -n end
        local file = assert(io.open(tried .. n, "a+"))
        local attempts = #file:read "a"
        file:write("x"):close()
        if attempts == 0 then error("once more", 0) end
        return -n
      end, options(context, { retries = 1 }))
      local list, expected = contexts.range(1, 10), {}
      for i in ipairs(list) do expected[i] = -i end
      assert.same(expected, pool:map(list))
      for i = 5, 10, 5 do os.remove(tried .. i) end
      os.remove(tried)
    end)

    it("gives false, nil and values that are changed after submit as they were", function()
      local pool <close> = executor(function(item) return item.value end, options(context))
      local item = { value = 1 }
      local first = pool:submit(item)
      item.value = 2
      local second = pool:submit(item)
      item.value = 3
      assert.same({ 1, 2 }, { first:result(patience), second:result(patience) })
      assert.is_false(pool:submit({ value = false }):result(patience))
      local none = pool:submit {}
      assert.same({ n = 1 }, table.pack(none:result(patience)))
      assert.is_true(none:done())
    end)

    it("in a pipeline of several contexts gives each what has come of it alone", function()
      for _, second in ipairs(contexts.kinds) do
        local n = (context.per_item or second.per_item) and 6 or 30
        local p = minigun.pipeline "pair"
        p:flat_map("one", options(context), function(i) return { i, -i } end)
        p:map("two", options(second), function(i) return i end)
        local pool <close> = p:open()
        local futures = {}
        for i = 1, n do futures[i] = pool:submit(i) end
        for i = 1, n do
          local got = futures[i]:result(patience)
          table.sort(got)
          assert.same({ -i, i }, got)
        end
      end
    end)

    it("in a pipeline gives all that has come of an item, through fan-out, batches and filters", function()
      local p = minigun.pipeline "fan"
      p:processor("out", options(context), function(n, emit)
        for i = 1, n do emit(n * 10 + i) end
      end)
      p:batch("two", 2, { max_wait = 0.01 })
      p:flat_map("in", options(context), function(batch) return batch end)
      p:filter("odd", function(n) return n % 2 == 1 end)
      local pool <close> = p:open()
      local alone = pool:submit(4)
      local got = alone:result(patience)
      table.sort(got)
      assert.same({ 41, 43 }, got)
      assert.same({}, pool:submit(0):result(patience) or {})
    end)
  end)

  describe("F2: in an executor" .. where_of(context), function()
    local function fail(item)
      if item == "error" then error("as asked", 0) end
      if item == "table" then error { code = 7 } end
      if item == "exit" then os.exit(3) end
      if item == "long" then core.sleep(60) end
      if item == "function" then return print end
      return item
    end

    local kinds = { error = "error", table = "error" }
    if not context.inline then
      kinds.exit, kinds.long, kinds["function"] = "crash", "timeout", "unserialisable"
    end
    for item, kind in pairs(kinds) do
      it(("'%s' fails its own future with kind %s, and no other"):format(item, kind), function()
        local pool <close> = executor(fail, options(context, item == "long" and { timeout = 0.2 } or nil))
        local futures = {}
        for i = 1, 6 do futures[i] = pool:submit(i == 3 and item or i) end
        for i = 1, 6 do
          local got, record = outcome(futures[i])
          assert.equal(i == 3 and kind or "done", got)
          if i == 3 then
            assert.equal(item, record.item)
            assert.equal("call", record.stage)
          end
        end
        assert.equal(1, pool:close().failed)
      end)
    end

    it("one that a stage of the coordinator before it waits too long for fails alone, at its time", function()
      local never = assert(core.poller()) -- its timer is for tomorrow
      assert(never:wake(86400))
      local p = minigun.pipeline "waits"
      p:map("first", { inline = true, timeout = 0.1 }, function(item)
        if item == "sleeps" then minigun.sleep(60) end
        if item == "waits" then minigun.wait(never:timer()) end
        return item
      end)
      p:map("call", options(context), function(item) return item end)
      local pool <close> = p:open()
      local futures, wanted = {}, { "done", "timeout", "done", "timeout", "done" }
      for i, item in ipairs { 1, "sleeps", 2, "waits", 3 } do futures[i] = pool:submit(item) end
      local got = {}
      for i = 1, 5 do got[i] = outcome(futures[i]) end
      assert.same(wanted, got)
      never:close()
    end)

    it("an item that cannot be sent fails alone, or arrives where nothing is sent", function()
      local pool <close> = executor(type, options(context))
      local before, bad, after = pool:submit(1), pool:submit(print), pool:submit(2)
      assert.equal("number", before:result(patience))
      assert.equal("number", after:result(patience))
      local kind, value = outcome(bad)
      if kind == "done" then assert.equal("function", value) else assert.equal("unserialisable", kind) end
    end)

    it("a hook that raises fails all futures, and none hangs", function()
      local pool = minigun.pipeline("hooked"):map("stage", options(context, { before = function()
        error("no start", 0)
      end }), double)
      local ok, opened = pcall(pool.open, pool)
      if not ok then return assert.matches("no start", opened) end
      local ok_submit, future = pcall(opened.submit, opened, 1)
      if ok_submit then
        local kind, record = outcome(future)
        assert.equal("lost", kind)
        assert.matches("no start", record.message)
      end
      assert.has_error(function() opened:close() end)
    end)

    it("a failure of a handler in a thread or a worker is raised where its result is asked for", function()
      local pool <close> = executor(fail, options(context))
      local ok, record = pcall(pool.call, pool, "error")
      assert.is_false(ok)
      assert.equal("as asked", record.message)
      assert.matches("executor_spec%.lua:%d+", tostring(record))
    end)
  end)

  describe("F3: cancel" .. where_of(context), function()
    local function slow(n)
      minigun.sleep(0.02)
      return n
    end

    it("of an item that is not begun takes it out; of a settled one it does nothing", function()
      local pool <close> = executor(slow, options(context))
      local futures, n, gone = {}, 30, 0
      for i = 1, n do futures[i] = pool:submit(i) end
      for i = n, 1, -1 do
        if futures[i]:cancel() then
          gone = gone + 1
          assert.equal("cancelled", futures[i]:failure().kind)
          assert.is_false(futures[i]:cancel())
        end
      end
      assert.is_true(gone >= n - 2 * (context.workers or context.n) - 1, gone .. " were cancelled")
      for i = 1, n do
        local kind, value = outcome(futures[i])
        if kind == "done" then assert.equal(i, value) else assert.equal("cancelled", kind) end
      end
      local status = pool:status()
      assert.same({ 0, 0, 0 }, { status.waiting, status.begun, status.failed })
      assert.equal(7, pool:call(7))
      assert.has_error(function() futures[1].owner:cancel(futures[1], { force = true }) end)
    end)

    it("of one that is begun says false; with kill its worker is killed and replaced", function()
      if context.inline and not context.threads then return end -- it runs while nobody else does
      local pool <close> = executor(function(n)
        if n < 0 then minigun.sleep(60) end
        return n
      end, options(context))
      local stuck, others = pool:submit(-1), {}
      for i = 1, 20 do others[i] = pool:submit(i) end
      pool:step(0.05)
      assert.is_false(stuck:cancel())
      assert.is_true(stuck:cancel { kill = true })
      assert.equal("cancelled", stuck:failure().kind)
      for i = 1, 20 do assert.equal(i, others[i]:result(patience)) end
      local status
      assert.is_true(support.wait_until(function() -- until the end of the killed worker has been seen
        pool:step()
        status = pool:status()
        return status.begun == 0
      end, patience))
      assert.same({ 0, 0 }, { status.waiting, status.failed })
      assert.equal(0, pool:close().failed)
    end)

    it("with kill of one that a worker has just been given, or is at: it is not processed after that", function()
      if context.inline and not context.threads then return end
      for _, wait in ipairs { 0, 0, 0, 0.001, 0.003, 0.01 } do
        local pool <close> = executor(function() minigun.sleep(60) end, options(context))
        local stuck = pool:submit(1)
        minigun.sleep(wait)
        assert.is_true(stuck:cancel() or stuck:cancel { kill = true })
        assert.equal(0, pool:close().failed)
      end
    end)
  end)

  describe("F4: the end of an executor" .. where_of(context), function()
    it("close finishes what is inside, and submit after it raises at the caller's line", function()
      local pool = executor(double, options(context))
      local futures = {}
      for i = 1, 40 do futures[i] = pool:submit(i) end
      local result = pool:close()
      for i = 1, 40 do
        assert.is_true(futures[i]:done())
        assert.equal(2 * i, futures[i]:result())
      end
      assert.equal(40, result.stats.stages.call.items_in)
      local ok, message = pcall(function() pool:submit(1) end)
      assert.is_false(ok)
      assert.matches("executor_spec%.lua:%d+: executor:submit: the executor is closed", message)
      assert.equal(result, pool:close())
      assert.same({}, support.children())
    end)

    it("kill does not wait: what is not finished is lost, with its item", function()
      local pool = executor(function(n)
        if not (context.inline and not context.threads) then minigun.sleep(60) end
        return n
      end, options(context))
      local futures = {}
      for i = 1, 20 do futures[i] = pool:submit(i) end
      assert.is_true(pool:kill().killed)
      for i = 1, 20 do
        assert.is_true(futures[i]:done())
        local record = futures[i]:failure()
        if record then assert.same({ "lost", i, "call" }, { record.kind, record.item, record.stage }) end
      end
      assert.same({}, support.children())
      assert.equal("closed", pool:status().state)
    end)

    it("a to-be-closed variable closes it; one that is forgotten is closed by the collector", function()
      local future
      do
        local pool <close> = executor(double, options(context))
        future = pool:submit(4)
      end
      assert.equal(8, future:result())
      pcall(function()
        local pool <close> = executor(function(n)
          if not (context.inline and not context.threads) then minigun.sleep(60) end
          return n
        end, options(context))
        future = pool:submit(4)
        error "out"
      end)
      assert.is_true(future:done())
      do
        local forgotten = executor(double, options(context))
        forgotten:submit(1)
        future, forgotten = nil, nil -- luacheck: ignore
      end
      assert.is_true(support.wait_until(function()
        collectgarbage()
        return #support.children() == 0
      end, patience))
    end)
  end)

  describe("F5: a full executor" .. where_of(context), function()
    it("makes submit wait, says full where it is not to wait, and never grows", function()
      local pool <close> = executor(function(n)
        core.sleep(0.0005)
        return n
      end, options(context, { backlog = 5 }))
      local futures, full, most = {}, 0, 0
      for i = 1, math.min(60, context.size) do
        local future, message = pool:submit(i, { wait = false })
        if not future then
          assert.equal("full", message)
          full, future = full + 1, pool:submit(i)
        end
        futures[i] = future
        most = math.max(most, pool:status().waiting)
      end
      assert.is_true(full > 0 or context.inline or context.per_item) -- there submit moves what it waits for
      assert.is_true(most <= 5, most .. " waited")
      for i, future in ipairs(futures) do assert.equal(i, future:result(patience)) end
    end)
  end)

  describe("F7: resize" .. where_of(context), function()
    it("up and down under load loses nothing", function()
      if context.inline and not context.threads then
        local pool <close> = executor(double, options(context))
        return assert.has_error(function() pool:resize(2) end)
      end
      local pool <close> = executor(double, options(context))
      local futures, n = {}, context.per_item and 40 or 300
      for i = 1, n do
        futures[i] = pool:submit(i)
        if i % 20 == 0 then pool:resize(1 + i // 20 % 5) end
      end
      for i = 1, n do assert.equal(2 * i, futures[i]:result(patience)) end
      pool:resize(2)
      assert.same({ 2, 4 }, pool:map { 1, 2 })
      if context.inline or context.per_item then return end
      assert.is_true(support.wait_until(function()
        pool:step()
        return #support.children() <= 2
      end, patience))
    end)

    it("up and down loses nothing that loops keep", function()
      if context.per_item or context.inline and not context.threads then return end
      local p = minigun.pipeline "sums"
      p:stage("sum", contexts.options(context), function(input, emit)
        local sum = 0
        for n in input do
          minigun.sleep(0.001)
          sum = sum + n
        end
        emit(sum)
      end)
      local pool = p:open()
      for round, n in ipairs { 1, 6, 2, 3 } do
        local futures = {}
        for i = 1, 30 do futures[i] = pool:submit(i) end
        futures[5 * round]:result(patience)
        pool:resize(n)
        for i = 1, 30 do futures[i]:result(patience) end
      end
      local sum = 0
      for _, part in ipairs(pool:close().items) do sum = sum + part end
      assert.equal(4 * 465, sum)
    end)

    it("is refused where items of a key are one worker's", function()
      if context.per_item or context.inline and not context.threads then return end
      local pool <close> = minigun.pipeline "keyed"
        :map("keys", contexts.options(context, { partition = function(n) return n % 4 end }), double):open()
      local futures = {}
      for i = 1, 30 do futures[i] = pool:submit(i) end
      assert.matches("%(partition%)", select(2, pcall(pool.resize, pool, 1)))
      for i = 1, 30 do assert.same({ 2 * i }, futures[i]:result(patience)) end
    end)
  end)
end

describe("F5: executors that submit into each other's threads", function()
  for backlog = 1, 2 do
    it(("do not stand still, with a backlog of %d"):format(backlog), function()
      local a, b
      a = executor(function(n)
        if n <= 0 then return 0 end
        return 1 + b:call(n - 1)
      end, { threads = 128, backlog = backlog })
      b = executor(function(n)
        if n <= 0 then return 0 end
        return 1 + a:call(n - 1)
      end, { threads = 128, backlog = backlog })
      local futures = {}
      for i = 1, 30 do futures[i] = a:submit(i % 7) end
      for i = 1, 30 do assert.equal(i % 7, futures[i]:result(patience)) end
      a:close()
      b:close()
    end)
  end

  it("fill each other's backlog, and go on", function()
    local a, b
    local counts = { 0, 0 }
    a = executor(function(n)
      counts[1] = counts[1] + 1
      for _ = 1, n do b:submit(n - 1) end
      return n
    end, { threads = 2, backlog = 2 })
    b = executor(function(n)
      counts[2] = counts[2] + 1
      for _ = 1, n do a:submit(n - 1) end
      return n
    end, { threads = 2, backlog = 2 })
    assert.equal(4, a:call(4, patience))
    assert.is_true(support.wait_until(function()
      a:step()
      b:step()
      local one, two = a:status(), b:status()
      return one.waiting + one.begun + two.waiting + two.begun == 0
    end, patience))
    assert.same({ 1 + 12 + 24, 4 + 24 }, counts)
    a:close()
    b:close()
  end)

  it("one that waits for itself is told so, though it has waited for another one before", function()
    local other <close> = executor(double, { threads = 1 })
    local pool
    pool = executor(function(n) return n > 0 and pool:call(n - other:call(1) // 2) end, { threads = 1 })
    local ok, record = pcall(pool.call, pool, 1, patience)
    assert.is_false(ok)
    assert.matches("would wait for ever", record.message)
    pool:close()
  end)

  it("where each thread waits for another one's item an error says so, and nothing hangs", function()
    local a, b
    a = executor(function(n) return b:call(n) end, { threads = 1 })
    b = executor(function(n) return a:call(n) end, { threads = 1 })
    local ok, record = pcall(a.call, a, 1, patience)
    assert.is_false(ok)
    assert.matches("would wait for ever", record.message)
    a:close()
    b:close()
  end)

  it("a handler that waits for its own item, or for one that waits for that, is told so while others go on", function()
    for length = 1, 3 do
      local first <close> = executor(function(wait) return wait() end, { threads = 3 })
      local second <close> = executor(function(wait) return wait() end, { threads = 3 })
      local circle = {}
      for i = 1, length do
        circle[i] = (i % 2 == 1 and first or second):submit(function()
          minigun.sleep(0.02) -- all of them are begun
          return circle[i % length + 1]:result()
        end)
      end
      local other = first:submit(function()
        minigun.sleep(0.1)
        return "other"
      end)
      local record = select(2, pcall(circle[1].result, circle[1], patience))
      assert.matches("executor_spec.lua:%d+: this would wait for ever: for the item that calls it", record.message)
      assert.equal("other", other:result(patience))
      assert.equal(2, first:call(function() return second:call(function() return 2 end) end, patience))
    end
  end)

  it("wait for several futures of several executors there", function()
    local b <close> = executor(function(n)
      minigun.sleep(0.002)
      return n
    end, { threads = 4 })
    local c <close> = executor(double, { processes = 1 })
    local a <close> = executor(function(n)
      local sum = 0
      local settled = minigun.wait_all { b:submit(n), c:submit(n), b:submit(n) }
      for _, future in ipairs(settled) do sum = sum + future:result() end
      for future in minigun.as_completed { c:submit(1), b:submit(1) } do sum = sum + future:result() end
      return sum
    end, { threads = 4 })
    local futures = {}
    for i = 1, 20 do futures[i] = a:submit(i) end
    for i = 1, 20 do assert.equal(4 * i + 3, futures[i]:result(patience)) end
    local before = os.clock()
    local long = b:submit(1) -- nothing that was rung goes on ringing
    assert.equal(1, long:result(patience))
    a:step(0.2)
    assert.is_true(os.clock() - before < 0.1, os.clock() - before .. " s")
  end)

  it("in threads of a run: the others go on", function()
    local pool <close> = executor(function(n)
      core.sleep(0.01)
      return n
    end, { processes = 2 })
    local most, now = 0, 0
    local result = minigun.pipeline("asks"):producer(contexts.range(1, 12)):map({ threads = 6 }, function(n)
      now = now + 1
      most = math.max(most, now)
      local value = pool:call(n)
      now = now - 1
      return value
    end):run()
    assert.same(contexts.range(1, 12), contexts.sorted(result.items))
    assert.is_true(most > 2, most .. " at once")
  end)

  it("a handler of the executor's own cannot wait for it where nothing else could go on", function()
    local pool
    pool = executor(function(n) return n > 0 and pool:call(n - 1) end, { inline = true })
    local ok, record = pcall(pool.call, pool, 1, patience)
    assert.is_false(ok)
    assert.matches("would wait for ever", record.message)
    pool:close()
  end)

  it("a worker may not use it", function()
    local first <close> = executor(double, { processes = 1 })
    local pool <close> = executor(function(n) return first:call(n) end, { processes = 1 })
    local ok, record = pcall(pool.call, pool, 1, patience)
    assert.is_false(ok)
    assert.matches("belongs to another process", record.message)
  end)
end)

describe("F6: futures of an executor", function()
  it("as_completed gives them as they are settled, wait_all the first failure", function()
    local pool <close> = executor(function(seconds)
      if seconds < 0 then error("early", 0) end
      minigun.sleep(seconds)
      return seconds
    end, { threads = 4 })
    local order = {}
    for future in minigun.as_completed({ pool:submit(0.15), pool:submit(0.01), pool:submit(0.08) }, patience) do
      order[#order + 1] = future:result()
    end
    assert.same({ 0.01, 0.08, 0.15 }, order)
    local long = pool:submit(60)
    local settled, others = minigun.wait_all({ long, pool:submit(-1) }, { first = "failure", timeout = patience })
    assert.same({ 1, 1 }, { #settled, #others })
    assert.equal("early", settled[1]:failure().message)
    assert.same({ n = 2, nil, "timeout" }, table.pack(long:result(0.01)))
    assert.is_true(long:cancel { kill = true })
  end)

  it("of several executors are waited for together", function()
    local one <close> = executor(double, { processes = 1 })
    local two <close> = executor(double, { threads = 2 })
    local three <close> = executor(double, { inline = true })
    local futures, sum = {}, 0
    for i = 1, 30 do futures[i] = ({ one, two, three })[i % 3 + 1]:submit(i) end
    for future in minigun.as_completed(futures, patience) do sum = sum + future:result() end
    assert.equal(2 * 15 * 31, sum)
  end)

  it("on_done is called once, in this process, outside of a round: it may submit, and cancel", function()
    local pool <close> = executor(double, { processes = 2 })
    local got, pid = {}, support.pid()
    local function again(future)
      assert.equal(pid, support.pid())
      got[#got + 1] = future:result()
      if #got < 10 then pool:submit(future:result()):on_done(again) end
    end
    pool:submit(1):on_done(again)
    assert.is_true(support.wait_until(function()
      pool:step(0.1)
      return #got == 10
    end, patience))
    assert.same({ 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024 }, got)
  end)

  it("on_done may wait for futures that are settled in the same moment", function()
    for _, context in ipairs(contexts.kinds) do
      local pool <close> = executor(double, options(context))
      local futures, seen = {}, {}
      for i = 1, 20 do futures[i] = pool:submit(i) end
      support.sleep(0.02) -- several of them are finished by now
      for i = 1, 20 do futures[i]:on_done(function() seen[i] = futures[21 - i]:result(patience) end) end
      assert.equal(0, #select(2, minigun.wait_all(futures, { timeout = patience })))
      for i = 1, 20 do assert.equal(2 * (21 - i), seen[i]) end
    end
  end)

  it("on_done of what a killed executor has lost cancels nothing: all of it is lost", function()
    local pool = executor(function() minigun.sleep(60) end, { processes = 1 })
    local futures, cancelled = {}, {}
    for i = 1, 3 do
      futures[i] = pool:submit(i):on_done(function()
        for k = 1, 3 do cancelled[#cancelled + 1] = futures[k]:cancel() end
      end)
    end
    pool:kill()
    assert.same({ [false] = 9 }, contexts.counts(cancelled))
    for i = 1, 3 do assert.same({ "lost", i }, { futures[i]:failure().kind, futures[i]:failure().item }) end
  end)

  it("an error in on_done fails step with the user's line, and the executor goes on", function()
    local pool <close> = executor(double, { processes = 1 })
    local line
    local future = pool:submit(1):on_done(function()
      line = debug.getinfo(1, "l").currentline + 1
      error "mine"
    end)
    local ok, message
    assert.is_true(support.wait_until(function()
      ok, message = pcall(pool.step, pool, 0.1)
      return not ok
    end, patience))
    assert.equal(("spec/executor_spec.lua:%d: mine"):format(line), (message:gsub("^%./", "")))
    assert.equal(2, future:result())
    assert.equal(6, pool:call(3))
  end)
end)

describe("an executor", function()
  it("of a pipeline gives an empty list for an item of which nothing comes", function()
    local p = minigun.pipeline("even"):filter("even", { processes = 1 }, function(n) return n % 2 == 0 end)
    local pool <close> = p:open()
    for _ = 1, 20 do -- the first waits for a process; most of the others are answered at once
      assert.same({ {}, { 2 } }, { pool:call(1, patience), (pool:call(2, patience)) })
    end
  end)

  it("ends where memory was short in the middle of an update, also if a call needs no round", function()
    local pool = executor(double, { processes = 1 })
    for i = 1, 20 do assert.equal(2 * i, pool:call(i)) end
    pool.run.ledger:torn(true) -- as such an error leaves it
    local ok, problem = pcall(pool.call, pool, 21)
    assert.is_false(ok)
    assert.matches("not enough memory for the run itself", tostring(problem), 1, true)
    assert.is_false((pcall(pool.submit, pool, 22)))
    pool:kill()
  end)

  it("begins items of a higher priority first, equals in their order", function()
    local pool <close> = executor(function(n)
      if n == 0 then minigun.sleep(0.05) end
      return core.now()
    end, { processes = 1 })
    local futures, order = { pool:submit(0) }, {}
    for i = 1, 12 do futures[#futures + 1] = pool:submit(i, { priority = i % 3 }) end
    for i, future in ipairs(futures) do order[i] = { future:result(patience), i - 1 } end
    table.sort(order, function(a, b) return a[1] < b[1] end)
    for i, pair in ipairs(order) do order[i] = pair[2] end
    assert.same({ 0, 2, 5, 8, 11, 1, 4, 7, 10, 3, 6, 9, 12 }, order)
  end)

  it("hands an item over at once, whatever the program does next", function()
    local pool <close> = executor(core.now, { processes = 1 })
    pool:call(1)
    local start = core.now()
    local future = pool:submit(1)
    support.sleep(0.1)
    assert.is_true(future:result() - start < 0.09)
  end)

  it("leaves SIGTERM to the program: it ends it at once, and its workers with it", function()
    local done = support.run_lua([[
      local minigun, core = require "minigun", require "minigun.core"
      local pool = minigun.executor(function(n) return n end, { processes = 2 })
      pool:call(1)
      core.kill(core.pid(), core.signal_numbers.TERM)
      minigun.sleep(20)
      print "still there"
    ]])
    assert.equal("", done.stdout)
    assert.equal(128 + 15, done.code)
  end)

  it("that is idle uses no processor, and an idle prompt does not move it", function()
    local pool <close> = executor(double, { processes = 2 })
    pool:call(1)
    local before, later = os.clock(), pool:submit(2)
    support.sleep(0.3)
    assert.is_false(later:done())
    assert.equal(4, later:result(patience))
    assert.is_true(pool:step(0.3))
    assert.is_true(os.clock() - before < 0.03, ("%.3f s"):format(os.clock() - before))
  end)

  it("keeps very many futures in less than 400 bytes each, and no more after them", function()
    local pool <close> = executor(function(n) return n == 0 and minigun.sleep(60) or 2 * n end,
      { processes = 1, backlog = 200000 })
    local busy = pool:submit(0)
    collectgarbage()
    local futures, before, n = {}, collectgarbage "count", support.short_or_long(6000, 100000)
    for i = 1, n do futures[i] = pool:submit(i) end
    collectgarbage()
    local each = (collectgarbage "count" - before) * 1024 / n
    assert.is_true(each < 400, ("%.0f bytes each"):format(each))
    for i = 10, n do assert.is_true(futures[i]:cancel()) end
    assert.is_true(busy:cancel { kill = true })
    futures = { table.unpack(futures, 1, 9) }
    minigun.wait_all(futures)
    futures = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    local left = collectgarbage "count" - before
    assert.is_true(left < n * 0.01, ("%.0f KiB are left"):format(left))
  end)

  it("uses no more memory after very many calls", function()
    if support.under then return pending "a sanitizer keeps what was freed" end
    local total = support.short_or_long(9000, 10000000)
    support.deadline(support.short_or_long(60, 900))
    local result = support.run_lua([[
      local minigun, support = require "minigun", require "spec.support"
      local total = tonumber(arg[1])
      local pool <close> = minigun.executor(function(n) return { n } end, { processes = 2, backlog = 100 })
      local function resident()
        collectgarbage()
        return collectgarbage "count", tonumber((support.read_file("/proc/self/statm"):match "^%d+ (%d+)")) * 4
      end
      local function go(n)
        for i = 1, n // 2 do assert(pool:call(i)[1] == i) end
        for i = 1, n // 100 do
          local list = {}
          for k = 1, 50 do list[k] = i + k end
          for k, got in ipairs(pool:map(list)) do assert(got[1] == i + k) end
        end
      end
      go(total // 3)
      local lua, all = resident()
      go(total)
      local lua_after, all_after = resident()
      assert(lua_after < lua + 64 and all_after < all + 2048,
        ("from %.0f and %.0f to %.0f and %.0f KiB"):format(lua, all, lua_after, all_after))
      io.write "flat"
    ]], { args = { total }, timeout = support.short_or_long(55, 850) * support.patience })
    assert.equal("", result.stderr)
    assert.equal("flat", result.stdout)
  end)

  it("needs few descriptors, and says where there are too few", function()
    local function with(descriptors, workers)
      return support.run(("exec prlimit --nofile=%d lua5.4 -e %s"):format(descriptors, support.quote(([[
        local minigun = require "minigun"
        local ok, pool = pcall(minigun.executor, function(n) return n end, { processes = %d })
        print(ok and pool:call(1) or pool)
        if ok then print(#pool:map { 1, 2, 3 }, (pcall(pool.close, pool))) end
      ]]):format(workers))), { env = support.lua_env(), timeout = 20 })
    end
    assert.equal("1\n3\ttrue\n", with(64, 8).stdout)
    local done = with(64, 64)
    assert.same({ 0, "" }, { done.code, done.stderr })
    assert.matches("cannot start a worker process: .*the limit of descriptors %(ulimit %-n%) too low", done.stdout)
  end)

  it("may be a worker's own, inside a handler of a run or of another executor", function()
    for _, context in ipairs(contexts.kinds) do
      local outer <close> = executor(function(n)
        local inner <close> = minigun.executor(function(m) return m + 1 end, { processes = 1 })
        return inner:call(n) + inner:call(n)
      end, options(context))
      assert.equal(8, outer:call(3, patience), context.name)
    end
    assert.same({}, support.children())
  end)

  it("goes on while single workers die, and gives up with all its futures where too many do", function()
    local pool = executor(function(n)
      if n == 0 then os.exit(1) end
      return n
    end, { processes = 2, max_restarts = 3 })
    assert.equal("crash", (outcome(pool:submit(0))))
    assert.equal(1, pool:call(1))
    local futures = {}
    for i = 1, 30 do futures[i] = pool:submit(0) end
    for i = 1, 30 do
      local kind, record = outcome(futures[i])
      assert.is_true(kind == "crash" or kind == "lost", kind)
      if kind == "lost" then assert.matches("died within", record.message) end
    end
    assert.has_error(function() pool:close() end)
  end)

  it("collects, counts, calls hooks and keeps statistics as a run does", function()
    local p, failed = minigun.pipeline "kept", {}
    p:processor("work", { processes = 2 }, function(n, emit, ctx)
      ctx:count("items", 1)
      if n == 3 then error("three", 0) end
      ctx:collect("seen", n)
      emit(n)
    end)
    p:on_failure(function(record) failed[#failed + 1] = record.item end)
    local pool = p:open()
    for i = 1, 5 do pool:submit(i) end
    local result = pool:close()
    assert.same({ 3 }, failed)
    assert.equal(1, result.failed)
    assert.equal(4, result.counters.items)
    assert.same({ 1, 2, 4, 5 }, contexts.sorted(result.collected.seen))
  end)
end)

describe("p:open", function()
  it("refuses what it cannot open, at the caller's line", function()
    for message, make in pairs {
      ["it has a producer, 'numbers'"] = function()
        return minigun.pipeline("x"):producer("numbers", { 1 }):map(double)
      end,
      ["no stage takes what would be submitted"] = function() return minigun.pipeline "x" end,
      ["option 'journal' is for runs"] = function()
        return minigun.pipeline("x", { journal = "/nowhere/journal" }):map(double)
      end,
    } do
      local p = make()
      local ok, text = pcall(function() p:open() end)
      assert.is_false(ok)
      assert.matches("^[^\n]*executor_spec%.lua:%d+: ", text)
      assert.is_truthy(text:find(message, 1, true), text)
    end
    assert.has_error(function() minigun.pipeline("x"):map(double):open { backlog = 0 } end)
    assert.has_error(function() minigun.pipeline("x"):map(double):open { bakclog = 1 } end)
    assert.has_error(function() minigun.executor(1) end)
  end)

  it("sends an item to every entry stage, and leaves the pipeline as it is", function()
    local p = minigun.pipeline "two"
    p:map("a", { to = {} }, function(n) return "a" .. n end)
    p:map("b", { processes = 1, to = {} }, function(n) return "b" .. n end)
    local stages = #p.stages
    for _ = 1, 2 do
      local pool <close> = p:open()
      local got = pool:submit(1):result(patience)
      table.sort(got)
      assert.same({ "a1", "b1" }, got)
    end
    assert.equal(stages, #p.stages)
  end)

  it("a loop stage has finished an item when it asks for the next one", function()
    for _, context in ipairs(contexts.kinds) do
      local p = minigun.pipeline "loop"
      p:stage("sum", options(context), function(input, emit)
        local sum = 0
        for n in input do
          sum = sum + n
          emit(n)
        end
        emit("sum " .. sum)
      end)
      local pool = p:open()
      for n = 3, 4 do -- in a process of its own the end belongs to the item
        assert.same(context.per_item and { n, "sum " .. n } or { n }, pool:call(n, patience))
      end
      pool:close()
    end
  end)

  it("an item that went into a reduction is finished with that, at the end", function()
    for _, context in ipairs(contexts.kinds) do
      local p = minigun.pipeline "sum"
      p:reduce("sum", 0, function(a, b) return a + b end, options(context))
      local pool = p:open()
      local futures = { pool:submit(1), pool:submit(2), pool:submit(3) }
      pool:step(0.05)
      for _, future in ipairs(futures) do assert.is_false(future:done()) end
      pool:close()
      for _, future in ipairs(futures) do assert.same({ 6 }, future:result()) end
    end
  end)

  it("an executor in which all waits for more items waits too, as long as it is told", function()
    local p = minigun.pipeline "sum"
    p:reduce("sum", 0, function(a, b) return a + b end, { processes = 1 })
    local pool <close> = p:open()
    local future = pool:submit(1)
    local _, message = future:result(0.6)
    assert.equal("timeout", message)
    for _ = 1, 50 do pool:step() end
    local second = pool:submit(2)
    pool:close()
    assert.same({ 3 }, future:result())
    assert.same({ 3 }, second:result())
  end)

  it("an item that waits in a reduction or a batch is not waited for without end: that says so, and goes on", function()
    for _, worker in ipairs { false, { processes = 1 }, { threads = 1 } } do
      for _, gathers in ipairs { "reduce", "batch" } do
        local p = minigun.pipeline "gathers"
        if worker then p:map("before", worker, function(n) return n end) end
        if gathers == "batch" then p:batch(2) else p:reduce("sum", 0, function(a, b) return a + b end) end
        local pool <close> = p:open()
        local future = pool:submit(1)
        local ok, message = pcall(function() return future:result() end)
        assert.is_false(ok)
        assert.matches("executor_spec.lua:%d+: this would wait for ever: .* a reduction, or in batches", message)
        pool:submit(2)
        pool:close()
        assert.same(gathers == "batch" and { { 1, 2 } } or { 3 }, future:result())
      end
    end
  end)

  it("what is part of the executor cannot close it, and leaves it open", function()
    for _, context in ipairs { { inline = true }, { threads = 2 } } do
      local pool, closed
      pool = minigun.executor(function(n)
        if n == 1 then closed = table.pack(pcall(function() pool:close() end)) end
        return n
      end, context)
      assert.equal(1, pool:call(1))
      assert.is_false(closed[1])
      assert.matches("executor_spec.lua:%d+: this would wait for ever", closed[2])
      assert.equal(2, pool:call(2))
      pool:close()
    end
    local again
    local p = minigun.pipeline("again"):map("same", { processes = 1 }, function(n) return n end)
    local pool
    p:after_run(function() again = pool:close() end)
    pool = p:open()
    pool:call(1)
    assert.equal(pool:close(), again)
  end)
end)
