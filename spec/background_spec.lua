-- Background runs: p:start() and its handle.
local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local support = require "spec.support"

local range, sorted, options = contexts.range, contexts.sorted, contexts.options

local function new(given) return minigun.pipeline("background", given) end

local function endless(emit)
  for i = 1, math.huge do emit(i) end
end

-- Numbers, and the context's stage that doubles them.
local function doubling(context, n)
  return new():producer(range(1, n or context.size)):map("double", options(context), function(i) return 2 * i end)
end

local function doubles(n)
  local list = {}
  for i = 1, n do list[i] = 2 * i end
  return list
end

-- Steps with a limit of time, so that a run which hangs fails its test.
local function finish(run, seconds)
  local result, message = run:wait((seconds or 20) * contexts.patience)
  assert.is_not_nil(result, message)
  return result
end

for _, context in ipairs(contexts.all) do
  local where = " [" .. context.name .. "]"

  describe("a background run" .. where, function()
    it("wait gives the result of run, again and again", function()
      local p = doubling(context)
      local run = p:start()
      local result = finish(run)
      assert.same(doubles(context.size), sorted(result.items))
      assert.is_true(result.ok)
      assert.is_nil(result.stopped)
      assert.equal(result, p.last)
      assert.equal(result, run:wait())
      assert.is_false(run:step())
      assert.equal("done", run:status().state)
      assert.same({}, support.children())
    end)

    it("nothing moves in this process unless it is stepped", function()
      local produced = 0
      local p = new():producer(function(emit)
        for i = 1, 5 do
          produced = produced + 1
          emit(i)
        end
      end):map(options(context), function(i) return i end)
      local run = p:start()
      support.sleep(0.02)
      assert.equal(0, produced)
      assert.equal(0, run:status().items)
      while run:step() do end
      assert.equal(5, produced)
      assert.same(range(1, 5), sorted(run:wait().items))
    end)

    it("a loop of step(), or of step(seconds), comes to the end", function()
      for _, seconds in ipairs { 0, 0.001, 10 } do
        local run = doubling(context):start()
        while run:step(seconds) do end
        assert.same(doubles(context.size), sorted(run:wait().items))
      end
    end)

    it("wait(timeout) comes back in time, and the run goes on", function()
      local limit = 0.2 * contexts.patience
      assert.is_true(contexts.least(limit, function()
        local run = new():producer(range(1, 4)):map(options(context), function(i)
          core.sleep(0.05)
          return i
        end):start()
        local start = core.now()
        local result, message = run:wait(0.01)
        local took = core.now() - start
        if not result then -- or the machine had so much to do that all was over
          assert.equal("timeout", message)
          assert.equal("running", run:status().state)
        end
        assert.same(range(1, 4), sorted(finish(run).items))
        return result and math.huge or took
      end) < limit)
    end)

    it("R53 stop finishes what is inside", function()
      local emitted = 0
      local p = new():producer(function(emit)
        for i = 1, math.huge do
          emitted = i
          emit(i)
        end
      end):map(options(context), function(i) return i end)
      local run = p:start { memory = "1M" }
      repeat assert.is_true(run:step(0.005)) until run:status().items > 3
      local result = finish(run:stop())
      assert.is_true(result.stopped)
      assert.is_true(result.ok)
      assert.same({}, result.stats.warnings)
      assert.is_true(#result.items == emitted or #result.items == emitted - 1) -- the last emit may not have returned
      assert.same(range(1, #result.items), sorted(result.items))
      assert.same({}, support.children())
    end)

    it("R71 stop ends a producer in a child of its own", function()
      local p = new():producer("gen", { processes = 1 }, endless)
        :map("pass", options(context), function(i) return i end)
        :after("gen", function(ctx) ctx:collect("closed", true) end)
      local run = p:start { memory = "1M" }
      repeat assert.is_true(run:step(0.005)) until run:status().items > 3
      run:stop()
      assert.equal("stopping", run:status().state)
      if context.per_item then -- a fork for each of thousands of items takes long
        run:step(0.05)
        run:kill()
        assert.equal(#p.last.items, select(2, contexts.counts(p.last.items)))
        assert.is_false(p.last.ok)
        return
      end
      local result = finish(run, 60)
      assert.is_true(result.stopped)
      assert.is_true(result.ok)
      assert.same(range(1, #result.items), sorted(result.items))
      assert.equal(#result.items, result.stats.stages.gen.items_out)
      local late = result.stats.warnings[1] -- where everything is slow its next emit may take a second
      if late and contexts.patience > 1 then return assert.matches("did not end when the run was stopped", late) end
      assert.same({ true }, result.collected.closed)
      assert.same({}, result.stats.warnings)
    end)

    it("stop waits for a retry", function()
      local p = new():producer(function(emit)
        emit "once"
        emit "more"
        while true do emit "other" end
      end):processor("flaky", options(context, { queue = 100, retries = 1, backoff = 0.2 }), function(item, emit, ctx)
        if item == "once" and ctx.attempt == 1 then error "not yet" end
        emit(item)
      end)
      local run = p:start()
      repeat run:step(0.005) until run:status().items > 0
      local result = finish(run:stop())
      assert.equal(1, contexts.counts(result.items).once)
      assert.equal(1, result.stats.stages.flaky.retried)
      assert.is_true(result.elapsed >= 0.19)
    end)

    it("kill ends it at once and tells what was inside", function()
      local ran, p, run, result
      local limit = 0.5 * contexts.patience
      assert.is_true(contexts.least(limit, function()
        ran = 0
        p = new():producer(range(1, 40)):consumer("slow", options(context), function() core.sleep(0.02) end)
          :after_run(function() ran = ran + 1 end)
        run = p:start()
        run:step()
        local start = core.now()
        result = run:kill()
        return core.now() - start
      end) < limit)
      assert.is_false(result.ok)
      assert.is_true(result.killed)
      assert.equal("failed", run:status().state)
      assert.equal(result, run:wait())
      assert.equal(result, run:kill())
      assert.equal(result, p.last)
      assert.equal(1, ran)
      local warnings = table.concat(result.stats.warnings, "\n")
      if not context.inline then assert.matches("killed: %d+ items? inside stage 'slow'", warnings) end
      assert.same({}, support.children())
    end)

    it("close, the end of a scope, and forgetting it clean up", function()
      local function doubling_for_ever()
        return new():producer(endless):map("double", options(context), function(i) return 2 * i end)
      end
      local before, mapped = support.descriptor_count(), support.shared_mappings()
      local run = doubling_for_ever():start()
      run:step()
      run:close()
      run:close()
      assert.same({}, support.children())
      do
        local scoped <close> = doubling_for_ever():start()
        scoped:step()
      end
      assert.same({}, support.children())
      run = doubling_for_ever():start()
      run:step()
      assert.is_number(run:fd())
      run = nil -- luacheck: ignore 311
      collectgarbage()
      collectgarbage()
      assert.same({}, support.children())
      assert.equal(before, support.descriptor_count())
      assert.equal(mapped, support.shared_mappings())
    end)

    it("fd is readable whenever step has something to do", function()
      local p = new():producer(range(1, 30))
        :processor("work", options(context, { retries = 1, backoff = 0.03 }), function(i, emit, ctx)
          if i == 3 and ctx.attempt == 1 then error "again" end
          if i % 10 == 0 then core.sleep(0.01) end
          emit(i)
        end):accumulator("batch", { max_size = 7, max_wait = 0.02 })
      local run = p:start()
      local fd, start = run:fd(), core.now()
      local steps = 0
      repeat
        assert.is_true(core.wait(fd, "r", 5), "the descriptor stays silent")
        steps = steps + 1
      until not run:step()
      assert.is_true(steps < 1000, steps .. " steps")
      assert.is_true(core.now() - start < 10 * contexts.patience)
      local got = {}
      for _, batch in ipairs(run:wait().items) do table.move(batch, 1, #batch, #got + 1, got) end
      assert.same(range(1, 30), sorted(got))
      assert.is_nil((run:fd()))
    end)

    it("fd wakes for stop", function()
      local run = new():producer(endless):consumer(options(context), function() end):start { memory = "1M" }
      local fd = run:fd()
      for _ = 1, 20 do
        assert.is_true(core.wait(fd, "r", 5))
        run:step()
      end
      run:stop()
      repeat assert.is_true(core.wait(fd, "r", 5)) until not run:step()
      assert.is_not_nil(support.descriptors()[fd], "closed before the loop can take it out")
      assert.is_true(run:wait().stopped)
      assert.is_nil(support.descriptors()[fd])
    end)

    it("status counts", function()
      local n = context.per_item and 8 or 40
      local run = new():producer("gen", range(1, n)):map("odd", options(context), function(i)
        if i % 4 == 0 then error "no fours" end
        return i
      end):start { failures = "collect" }
      assert.matches("^running 'background': 0 items, ", tostring(run))
      local last = 0
      while run:step(0.001) do
        local status = run:status()
        local stage = support.stage_of(run, "odd")
        assert.is_true(status.items >= last and status.elapsed > 0 and status.alive <= context.n)
        assert.is_true(stage.items_in - stage.items_out - status.failed - stage.pending >= 0)
        last = status.items
      end
      local status = run:status()
      assert.same({ "failed", n - n // 4, n // 4, 0 },
        { status.state, status.items, status.failed, status.alive })
      local odd = support.stage_of(run, "odd")
      assert.same({ 0, n, n - n // 4 }, { odd.pending, odd.items_in, odd.items_out })
      assert.equal(n, support.stage_of(run, "gen").items_out)
      assert.matches("^FAILED 'background': ", tostring(run))
    end)

    it("R54 two at once do not mix, of the same pipeline too", function()
      local p = doubling(context, 20)
      local q = new():producer(range(1, 20)):map(options(context), function(i) return -i end)
      local a, b, c = p:start(), q:start(), p:start()
      local more = true
      while more do
        more = a:step()
        more = b:step() or more
        more = c:step() or more
      end
      assert.same(doubles(20), sorted(a:wait().items))
      assert.same(doubles(20), sorted(c:wait().items))
      assert.same(range(-20, -1), sorted(b:wait().items))
    end)

    it("wait raises what run would raise, step does not", function()
      local p = new():producer { 1, 2 }:map("bad", options(context), function(i)
        if i == 2 then error "two is bad" end
        return i
      end)
      local run = p:start()
      while run:step(0.01) do end
      assert.has_error(function() run:wait() end)
      assert.equal(1, #p.last.items)
      local ok, message = pcall(run.wait, run)
      assert.is_false(ok)
      assert.matches("two is bad", message, 1, true)
      local _, expected = pcall(p.run, p)
      assert.equal(expected:match "^[^\n]*", message:match "^[^\n]*")
    end)
  end)
end

describe("a background run", function()
  it("closes the files of a stopped producer", function()
    local closed
    local run = new():producer(function(emit)
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      endless(emit)
    end):consumer(function() end):start()
    run:step()
    finish(run:stop())
    assert.is_true(closed)
  end)

  it("kills a stopped producer that does not emit, and keeps what it has emitted", function()
    local run = new():producer({ processes = 1 }, function(emit)
      for i = 1, 3 do emit(i) end
      core.sleep(60)
    end):map(function(i) return i end):start()
    repeat run:step(0.01) until run:status().items == 3
    local result = finish(run:stop())
    assert.same({ 1, 2, 3 }, sorted(result.items))
    assert.same({}, result.failures)
    assert.matches("did not end when the run was stopped", result.stats.warnings[1], 1, true)
  end)

  it("is not stepped from inside itself, but stopped and killed", function()
    local message
    local run
    run = new():producer(endless):consumer(function(i)
      if i == 1 then message = select(2, pcall(run.step, run)) end
      if i == 10 then run:stop() end
    end):start()
    assert.is_true(finish(run).stopped)
    assert.matches("background_spec.lua:%d+: .*stepped already", message)
    run = new():producer(endless):consumer(function(i)
      if i == 10 then run:kill() end
    end):start()
    assert.is_true(finish(run).killed)
  end)

  it("a step is short, whatever the handlers' number", function()
    for _, options_of_producer in ipairs { { inline = true }, { processes = 1 } } do
      local run = new():producer(options_of_producer, range(1, 500)):consumer(function() core.sleep(0.002) end):start()
      local least = contexts.least(0.05 * contexts.patience, function()
        local longest = 0
        for _ = 1, 10 do
          local start = core.now()
          run:step()
          longest = math.max(longest, core.now() - start)
        end
        return longest
      end)
      run:kill()
      assert.is_true(least < 0.05 * contexts.patience, least .. " s")
    end
  end)

  it("a hook that raises in start is an error of start", function()
    local p = new():producer { 1 }:before_run(function() error "not today" end)
    local ok, message = pcall(p.start, p)
    assert.is_false(ok)
    assert.matches("not today", message, 1, true)
    assert.is_false(p.last.ok)
  end)

  it("mistakes are errors at the caller's line", function()
    local run <close> = new():producer { 1 }:start()
    local calls = {
      function() run:step(-1) end, function() run:wait "soon" end, function() run.status() end,
      function() run:step(0 / 0) end, function() new():producer { 1 }:start { memroy = 1 } end,
    }
    for _, call in ipairs(calls) do
      local ok, message = pcall(call)
      assert.is_false(ok)
      assert.matches("^spec/background_spec.lua:%d+: ", message)
    end
  end)

  it("is not for a child that was forked from its process", function()
    local run <close> = doubling(contexts.numbered[2], 5):start()
    local other = new():producer { 1 }:map({ processes = 1 }, function()
      local ok, message = pcall(run.step, run)
      run:close()
      return { ok, message }
    end):run()
    assert.is_false(other.items[1][1])
    assert.matches("another process", other.items[1][2], 1, true)
    assert.same(doubles(5), sorted(finish(run).items))
  end)

  it("a worker that dies between steps costs its item only", function()
    local p = new():producer(range(1, 20)):processor({ processes = 2, retries = 1 }, function(i, emit, ctx)
      if i == 7 and ctx.attempt == 1 then os.exit(3) end
      emit(i)
    end)
    local run = p:start()
    local fd = run:fd()
    repeat assert.is_true(core.wait(fd, "r", 5)) until not run:step()
    assert.same(range(1, 20), sorted(run:wait().items))
  end)

  it("Ctrl-C during wait ends it, with nothing left", function()
    for _, inside in ipairs { "p:consumer({ processes = 1 }, poke)", "p:consumer(poke)" } do
      local result = support.run_lua([[
        local minigun, core, support = require "minigun", require "minigun.core", require "spec.support"
        local pid = core.pid()
        local function poke()
          os.execute("(sleep 0.1; kill -INT " .. pid .. ") &")
          for _ = 1, 100 do core.sleep(0.1) end
        end
        local p = minigun.pipeline "interrupted":producer { 1 }
        ]] .. inside .. [[

        local run = p:start()
        local start = core.now()
        print(pcall(run.wait, run))
        print(run:status().state, p.last.ok, #support.children(), core.now() - start < 2)
      ]], { timeout = 15 })
      assert.equal("false\tinterrupted!\nfailed\tfalse\t0\ttrue\n", result.stdout, result.stderr)
    end
  end)

  it("sleeps while nothing is to be done", function()
    local run = new():producer { 1, 2 }:processor({ processes = 2, retries = 1, backoff = 0.4 }, function(i, emit, ctx)
      if ctx.attempt == 1 then error "not yet" end
      emit(i)
    end):start()
    local steps = contexts.step_to_end(run)
    assert.same({ 1, 2 }, sorted(run:wait().items))
    assert.is_true(steps < 100, steps .. " steps")
  end)

  it("luv's loop moves it", function()
    if not package.searchpath("luv", package.cpath) then return pending "luv is not installed" end
    local result = support.run_lua [[
      local uv, p = require "luv", require "minigun".pipeline "in_a_loop"
      local run = p:producer({ 1, 2, 3, 4 }):map({ processes = 2 }, function(i) return 2 * i end):start()
      local poll = uv.new_poll(run:fd())
      poll:start("r", function()
        if not run:step() then
          poll:stop()
          poll:close()
        end
      end)
      uv.run()
      table.sort(run:wait().items)
      print(table.concat(p.last.items, " "))
    ]]
    assert.equal("2 4 6 8\n", result.stdout, result.stderr)
  end)

  it("cqueues' loop moves it", function()
    local there, cqueues = pcall(require, "cqueues")
    if not there then return pending "cqueues is not installed" end
    local run = doubling(contexts.numbered[3]):start()
    local ticks, loop = 0, cqueues.new()
    loop:wrap(function()
      local source = { pollfd = run:fd(), events = "r" }
      repeat cqueues.poll(source) until not run:step()
      cqueues.cancel(source.pollfd)
    end)
    loop:wrap(function()
      for _ = 1, 5 do
        cqueues.sleep(0.001)
        ticks = ticks + 1
      end
    end)
    assert(loop:loop())
    assert.equal(5, ticks)
    assert.same(doubles(contexts.numbered[3].size), sorted(run:wait().items))
    loop:close()
  end)
end)
