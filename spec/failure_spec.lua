-- What a user sees when something goes wrong, as one table: what happens, where it happens, in which context. The rows
-- of docs/failures.md are proved here and in crash_spec.lua and host_spec.lua.
local contexts = require "spec.contexts"
local core = require "minigun.core"
local lfs = require "lfs"
local minigun = require "minigun"
local programs = require "spec.programs.build"
local support = require "spec.support"

local unruly = programs.unruly()

local SIGUSR1 <const>, SIGKILL <const>, SIGSEGV <const> = 10, 9, 11
local N <const> = 9

local FORKED <const> = { "processes", "process_per_batch" }
local EVERYWHERE <const> = { "processes", "process_per_batch", "inline" }

-- The options that put a stage into a context.
local function placed(context, options)
  local all = {}
  for key, value in pairs(options or {}) do all[key] = value end
  if context ~= "inline" then all[context] = 2 end
  return all
end

local function numbers(emit)
  for i = 1, N do emit(i) end
end

-- A pipeline of one stage over 1 ... N whose handler calls act(ctx, emit) for the item `at`, then emits the item.
local function pipeline(context, at, act, options)
  local p = minigun.pipeline "failing"
  p:producer("numbers", numbers)
  p:processor("work", placed(context, options), function(item, emit, ctx)
    if item == at then act(ctx, emit) end
    emit(item)
  end)
  return p
end

local function sorted(items)
  local copy = table.move(items, 1, #items, 1, {})
  table.sort(copy)
  return copy
end

local function all_but(...)
  local without, list = {}, {}
  for _, item in ipairs { ... } do without[item] = true end
  for i = 1, N do
    if not without[i] then list[#list + 1] = i end
  end
  return list
end

-- Each call has all arguments of the one before and one more, so the stack is full soon.
local function deep(...) return 1 + deep(1, ...) end

local function endless()
  local n = 0
  while true do n = n + 1 end
end

-- What a handler does; what its item's failure then is. `text`: pattern at the begin of the failure's text.
local OWN_LINE <const> = "^spec/failure_spec%.lua:%d+: "
local ACTS <const> = {
  { name = "raises a string", act = function() error "boom" end, kind = "error", text = OWN_LINE .. "boom" },
  { name = "raises a string without a place", act = function() error("boom", 0) end, kind = "error", text = "^boom" },
  { name = "raises a table", act = function() error { code = 7 } end, kind = "error",
    text = "^{code = 7}\n" },
  { name = "raises nil", act = function() error(nil) end, kind = "error",
    text = support.raised_nil or "^%(error object is a nil" },
  { name = "raises an object with __tostring", kind = "error", text = "^I am an object\n",
    act = function() error(setmetatable({}, { __tostring = function() return "I am an object" end })) end },
  { name = "raises an object whose __tostring raises", kind = "error", text = "",
    act = function() error(setmetatable({}, { __tostring = function() error "again" end })) end },
  { name = "calls what is nil", act = function(ctx) ctx.nothing() end, kind = "error",
    text = OWN_LINE .. "attempt to call" },
  { name = "recurses without end", act = function() deep() end, kind = "error",
    text = OWN_LINE .. "stack overflow", at = { 2 } },
  { name = "emits nil", act = function(_, emit) emit(nil) end, kind = "error",
    text = OWN_LINE .. "nil cannot be emitted" },
  { name = "calls os.exit(0)", act = function() os.exit(0) end, kind = "crash", code = 0, where = FORKED },
  { name = "calls os.exit(3)", act = function() os.exit(3) end, kind = "crash", code = 3, where = FORKED },
  { name = "calls os.exit(false)", act = function() os.exit(false) end, kind = "crash", code = 1, where = FORKED },
  { name = "calls os.exit(true, true)", act = function() os.exit(true, true) end, kind = "crash",
    code = 0, where = FORKED },
  { name = "is killed by kill -9", act = function(ctx) os.execute("kill -KILL " .. ctx.pid) end, kind = "crash",
    signal = SIGKILL, where = FORKED },
  { name = "is killed by SIGUSR1", act = function(ctx) os.execute("kill -USR1 " .. ctx.pid) end, kind = "crash",
    signal = SIGUSR1, where = FORKED },
  { name = "has a segmentation fault", act = function() unruly.fault() end, kind = "crash", signal = SIGSEGV,
    where = FORKED, native = true },
  { name = "emits a function", act = function(_, emit) emit(print) end, kind = "unserialisable",
    text = OWN_LINE .. "item is a function", where = FORKED },
  { name = "emits a coroutine inside a table", kind = "unserialisable", where = FORKED,
    act = function(_, emit) emit { deep = { coroutine.create(print) } } end,
    text = OWN_LINE .. "item%.deep%[1%] is a coroutine" },
  { name = "emits a library's object", act = function(_, emit) emit { (select(2, lfs.dir ".")) } end,
    kind = "unserialisable",
    text = OWN_LINE .. "item%[1%] is a userdata", where = FORKED },
  { name = "collects a function", act = function(ctx) ctx:collect("bad", print) end, kind = "unserialisable",
    where = FORKED },
  { name = "sleeps past its timeout", act = function() core.sleep(20) end, kind = "timeout", signal = SIGKILL,
    options = { timeout = 0.15 * support.patience }, where = FORKED },
  { name = "computes past its timeout", act = endless, kind = "timeout", signal = SIGKILL,
    options = { timeout = 0.15 * support.patience }, where = FORKED },
  { name = "waits past its timeout for a program that it has started", kind = "timeout",
    act = function() os.execute("sleep " .. 0.4 * support.patience) end,
    signal = SIGKILL, options = { timeout = 0.15 * support.patience }, where = FORKED },
  { name = "returns a function", act = function() return print end },
  { name = "reads standard input", act = function() assert(io.read("a") == "") end, where = FORKED },
  { name = "forks by itself and lets its child return", native = true, where = FORKED, act = function()
    local pid = unruly.fork()
    if pid > 0 then unruly.wait(pid) end
  end },
  { name = "closes all its descriptors", act = function() unruly.close_from(3) end, native = true, where = FORKED },
}

local function check_failure(failure, expected, context, item)
  assert.equal(expected.kind, failure.kind)
  assert.equal("work", failure.stage)
  assert.equal(item, failure.item)
  assert.equal(1, failure.attempts)
  assert.equal(expected.signal, failure.signal)
  assert.equal(expected.code, failure.code)
  local text = tostring(failure)
  if expected.text then assert.matches(expected.text, text) end
  if expected.kind == "error" and expected.text ~= "" then assert.is_truthy(failure.traceback) end
  assert.matches("in stage 'work'", text, 1, true)
  assert.matches(", value " .. item, text, 1, true)
  if context ~= "inline" then
    assert.is_true(failure.worker == 1 or failure.worker == 2)
    assert.is_true(failure.pid ~= support.pid())
    assert.matches(("worker %d of 2 (pid %d)"):format(failure.worker, failure.pid), text, 1, true)
  end
end

describe("R45 R47 R48 R49 R66 R72 a handler that", function()
  for number, row in ipairs(ACTS) do
    for turn, context in ipairs(row.where or EVERYWHERE) do
      it(("%s, %s: costs its item, whichever it is"):format(row.name, context), function()
        if row.native and not unruly then return pending "there is no C compiler" end
        for _, at in ipairs(row.at or support.short_or_long({ (number + turn) % 2 == 0 and 1 or N },
          { 1, N // 2, N })) do
          local result = pipeline(context, at, row.act, row.options):run { failures = "collect" }
          if not row.kind then
            assert.same(all_but(), sorted(result.items))
            assert.same({}, result.failures)
          else
            assert.same(all_but(at), sorted(result.items))
            assert.equal(1, #result.failures)
            check_failure(result.failures[1], row, context, at)
            assert.is_false(result.ok)
          end
        end
      end)
    end
  end
end)

describe("R72 a failure", function()
  for _, context in ipairs(contexts.all) do
    it(context.name .. ": names the item's number, also of a further attempt", function()
      local p = minigun.pipeline "numbered"
      p:producer("letters", { "a", "b", "c", "d", "e" })
      p:processor("work", contexts.options(context, { retries = 1 }), function(item, emit, ctx)
        if item == "c" or item == "d" and ctx.attempt == 1 then error "no" end
        emit(item)
      end)
      local result = p:run { failures = "collect" }
      assert.same({ 3, "c", 2 }, { result.failures[1].number, result.failures[1].item, result.failures[1].attempts })
      assert.matches('in stage \'work\',.* item number 3, value "c", after 2 attempts', tostring(result.failures[1]))
    end)
  end

  it("of a worker that was killed says what else it held, and which workers got that", function()
    local p = minigun.pipeline "flight"
    p:producer("numbers", function(emit)
      for i = 1, 3000 do emit(i) end
    end)
    p:processor("work", { processes = 2 }, function(item, emit, ctx)
      if item == 1500 then os.execute("kill -9 " .. ctx.pid) end
      emit(item)
    end)
    local result = p:run { failures = "collect" }
    local failure = result.failures[1]
    assert.same({ "crash", 1500, 1500, 9 }, { failure.kind, failure.item, failure.number, failure.signal })
    assert.equal(2999, #result.items)
    if failure.in_flight > 1 then
      assert.matches("^spec/failure_spec.lua:%d+: the worker was killed by signal 9 %(SIGKILL%) with %d+ items in " ..
        "flight; the .-other.- went to worker", failure.message)
      assert.is_true(#failure.went_to >= 1)
    else
      assert.matches("with 1 item in flight$", failure.message)
    end
  end)
end)

describe("R50 items that have failed", function()
  it("make run raise the first in full and count the rest, when everything else is done", function()
    local p = pipeline("processes", nil, nil)
    p:processor("odd", { processes = 2 }, function(item, emit)
      if item % 3 == 0 then error "divisible" end
      emit(item)
    end)
    local ok, message = pcall(p.run, p)
    assert.is_false(ok)
    assert.matches(OWN_LINE .. "divisible\nin stage 'odd', worker %d of 2 %(pid %d+%), item number %d, value [369]\n",
      message)
    assert.matches("stack traceback:", message, 1, true)
    assert.matches("and 2 more failures: 2 of kind error in stage 'odd'", message, 1, true)
    assert.same(all_but(3, 6, 9), sorted(p.last.items))
    assert.equal(3, #p.last.failures)
  end)

  for _, context in ipairs(EVERYWHERE) do
    it(context .. ': failures = "stop" ends the run early, and so does "stop" from on_failure', function()
      local function endless_pipeline()
        local p = minigun.pipeline "stops"
        p:producer("numbers", function(emit)
          local i = 0
          while true do i = i + 1; emit(i) end
        end)
        p:processor("work", placed(context), function(item)
          if item == 5 then error "five" end
        end)
        return p
      end
      local ok, message = pcall(endless_pipeline().run, endless_pipeline(), { failures = "stop" })
      assert.is_false(ok)
      assert.matches("five", message, 1, true)
      local p, seen = endless_pipeline(), {}
      p:on_failure(function(failure)
        seen[#seen + 1] = failure.item
        return "stop"
      end)
      local result = p:run()
      assert.same({ 5 }, seen)
      assert.is_false(result.ok)
    end)
  end
end)

describe("R46 retries", function()
  for _, context in ipairs(EVERYWHERE) do
    it(context .. ": what failed attempts emit and collect does not arrive; attempts count; back-off lies between",
      function()
        local p = minigun.pipeline "retries"
        p:producer("numbers", numbers)
        p:processor("work", placed(context, { retries = 2, backoff = 0.03 }), function(item, emit, ctx)
          emit(item)
          ctx:collect("at", { item, ctx.attempt, core.now() })
          ctx:count "calls"
          if item == 4 and ctx.attempt < 3 then error("again at " .. core.now()) end
          if item == 6 then error("never " .. ctx.attempt) end
        end)
        local began = core.now()
        local result = p:run { failures = "collect" }
        assert.is_true(core.now() - began >= 0.06)
        assert.same(all_but(6), sorted(result.items))
        assert.equal(N - 1, #result.collected.at)
        assert.equal(N - 1, result.counters.calls)
        for _, row in ipairs(result.collected.at) do
          assert.equal(row[1] == 4 and 3 or 1, row[2])
          if row[1] == 4 then assert.is_true(row[3] - began >= 0.06) end
        end
        assert.equal(1, #result.failures)
        assert.equal(3, result.failures[1].attempts)
        assert.matches("never 3", result.failures[1].message, 1, true)
        assert.matches("after 3 attempts", tostring(result.failures[1]), 1, true)
        assert.equal(4, result.stats.stages.work.retried)
      end)
  end

  for _, context in ipairs(FORKED) do
    it(context .. ": a crash is retried, a poison item kills every worker that takes it and fails alone", function()
      local p = minigun.pipeline "poison"
      p:producer("numbers", numbers)
      p:processor("work", placed(context, { retries = 3 }), function(item, emit, ctx)
        emit(item)
        ctx:count "calls"
        if item == 4 and ctx.attempt < 3 then os.exit(9) end
        if item == 6 then os.execute("kill -KILL " .. ctx.pid) end
      end)
      local told = {}
      p:on_failure(function(failure) told[#told + 1] = failure end)
      local result = p:run()
      assert.same(all_but(6), sorted(result.items))
      assert.equal(N - 1, result.counters.calls)
      assert.equal(1, #told)
      assert.same({ "crash", 6, 4, SIGKILL }, { told[1].kind, told[1].item, told[1].attempts, told[1].signal })
    end)

    it(context .. ": a time-out is retried, and does not count as a restart", function()
      local p = minigun.pipeline "late"
      p:producer("numbers", numbers)
      p:processor("work", placed(context, { retries = 1, timeout = 0.03 * support.patience }), function(item, emit, ctx)
        emit(item)
        if item == 4 and ctx.attempt == 1 or item == 6 then endless() end
      end)
      local result = p:run { failures = "collect", max_restarts = 0 }
      assert.same(all_but(6), sorted(result.items))
      assert.equal(1, #result.failures)
      local failure = result.failures[1]
      assert.same({ "timeout", 6, 2 }, { failure.kind, failure.item, failure.attempts })
    end)
  end

  it("are not made of an item that was let through as a stream: its failure is partial", function()
    for _, how in ipairs { "error", "crash", "timeout" } do
      local p = minigun.pipeline "stream"
      p:producer("one", { 1 })
      p:processor("work", { processes = 1, retries = 5, timeout = support.patience }, function(_, emit, ctx)
        for i = 1, 100 do emit { ctx.attempt, i, ("x"):rep(20000) } end
        if how == "error" then error "late" elseif how == "crash" then os.exit(1) else core.sleep(60) end
      end)
      p:processor("thin", { processes = 1 }, function(item, emit) emit { item[1], item[2] } end)
      local result = p:run { failures = "collect", memory = "1 MB" }
      assert.equal(1, #result.failures)
      local failure = result.failures[1]
      assert.same({ how, true, 1 }, { failure.kind, failure.partial, failure.attempts })
      assert.matches("already delivered", tostring(failure), 1, true)
      local seen = {}
      for _, item in ipairs(result.items) do
        assert.is_nil(seen[item[2]])
        seen[item[2]] = true
      end
    end
  end)
end)

describe("an item that takes long", function()
  it("does not keep back what the same worker has finished before it", function()
    local p, late = minigun.pipeline "slow item", {}
    p:producer("numbers", function(emit)
      for i = 1, 2000 do emit(i) end
    end)
    p:processor("work", { processes = 1 }, function(item, emit)
      if item == 1000 then core.sleep(0.5) end
      emit { item, core.now() }
    end)
    p:processor("look", function(item) late[item[1]] = core.now() - item[2] end)
    p:run()
    for i = 1, 999 do assert.is_true(late[i] < 0.4) end
  end)
end)

describe("R48 a timeout", function()
  it("does not count the time in which the worker waits for those after it", function()
    local p = minigun.pipeline "pressed"
    p:producer("numbers", { 1, 2, 3 })
    p:processor("quick", { processes = 1, timeout = 0.25 * support.patience }, function(item, emit)
      for _ = 1, 40 do emit { item, ("x"):rep(30000) } end
    end)
    p:processor("slow", { processes = 1 }, function(item, emit)
      core.sleep(0.015 * support.patience)
      emit(item[1])
    end)
    local result = p:run { memory = "1 MB" }
    assert.equal(40 * 3, #result.items)
  end)
end)

describe("a worker that finds its descriptors closed between two items", function()
  it("is replaced, and no item pays for it", function()
    if not unruly then return pending "there is no C compiler" end
    local n, exits = 20000, {}
    local p = minigun.pipeline "closed"
    p:producer("numbers", function(emit)
      for i = 1, n do emit(i) end
    end)
    p:processor("work", { processes = 1 }, function(item, emit)
      if item == n // 2 then
        unruly.close_from(3)
        core.sleep(0.002)
      end
      emit(item)
    end)
    p:on_worker_exit(function(exit) exits[#exits + 1] = exit.expected end)
    local result = p:run { failures = "collect" }
    assert.same({}, result.failures)
    assert.equal(n, #result.items)
    assert.same({ false, true }, exits)
  end)
end)

describe("a worker that dies again and again", function()
  it("fails the run with a clear message when max_restarts is passed", function()
    local p = minigun.pipeline "mortal"
    p:producer("numbers", function(emit)
      for i = 1, 100 do emit(i) end
    end)
    p:processor("work", { processes = 2 }, function() os.exit(5) end)
    local ok, message = pcall(p.run, p, { max_restarts = 3 })
    assert.is_false(ok)
    assert.equal("stage 'work': 4 workers died within 5 s, the last by exit code 5; see the failures, or raise " ..
      "max_restarts", message)
    assert.is_true(#p.last.failures >= 4 and #p.last.failures <= 5)
    assert.is_false(p.last.ok)
  end)

  it("is forgiven when its deaths are far apart", function()
    local p = pipeline("processes", nil)
    p:processor("mortal", { processes = 1, retries = 1 }, function(item, emit, ctx)
      core.sleep(0.01)
      if ctx.attempt == 1 then os.exit(5) end
      emit(item)
    end)
    assert.same(all_but(), sorted(p:run { max_restarts = 3, restart_window = 0.02 }.items))
  end)

  for _, context in ipairs(FORKED) do
    for _, hook in ipairs { "after_fork", "before" } do
      it(("%s: in its hook %s, before any item, fails the run"):format(context, hook), function()
        local p = pipeline(context, nil)
        p[hook](p, "work", function() os.exit(4) end)
        local ok, message = pcall(p.run, p, { max_restarts = 4 })
        assert.is_false(ok)
        assert.equal("stage 'work': 5 workers died within 5 s, the last by exit code 4; no item had failed yet: see " ..
          "what after_fork, before and the first items do, or raise max_restarts", message)
        assert.same({}, p.last.failures)
      end)
    end
  end
end)

describe("an error in a worker outside of all handlers", function()
  for _, row in ipairs { { "a string", "'replaced'", "/[^\n:]+:4: replaced" },
    { "no string", "{ 1 }", "%(an error that is no string%)" } } do
    it("that is " .. row[1] .. " is told on the error output, in one line, and counts as a death", function()
      local path = support.write_file(os.tmpname(), ([[
        local minigun = require "minigun"
        local p = minigun.pipeline "broken":producer { 1 }:each({ processes = 1 }, function() end)
        p:before_fork(function()
          math.randomseed = function() error(%s) end
        end)
        print(pcall(p.run, p, { max_restarts = 0 }))
      ]]):format(row[2]))
      local done = support.run("lua5.4 " .. path, { env = support.lua_env() })
      os.remove(path)
      assert.matches("^minigun: a worker failed: " .. row[3] .. "\n$", done.stderr)
      assert.equal("false\tstage 'each 1': 1 worker died within 5 s, the last by exit code 70; no item had failed " ..
        "yet: see what after_fork, before and the first items do, or raise max_restarts\n", done.stdout)
    end)
  end
end)

describe("R39 a hook that raises", function()
  local function boom() error "hook boom" end
  local everywhere = { "before_run", "after_run", "after_producer", "before_fork", "after_fork", "before", "after",
    "before_exit" }
  for _, context in ipairs(FORKED) do
    for _, hook in ipairs(everywhere) do
      it(("%s: %s fails the run with its name and place"):format(context, hook), function()
        local p, concluded = pipeline(context, nil), false
        if hook == "before" or hook == "after" then p[hook](p, "work", boom) else p[hook](p, boom) end
        if hook ~= "after_run" then p:after_run(function() concluded = true end) end
        local ok, message = pcall(p.run, p)
        assert.is_false(ok)
        assert.matches(("%shook boom\nin hook %s (defined at "):format("", hook), message, 1, true)
        assert.matches(OWN_LINE, message)
        assert.equal(hook ~= "after_run", concluded)
      end)
    end

    for _, hook in ipairs { "on_failure", "on_worker_exit" } do
      it(("%s: %s fails the run with its name and place"):format(context, hook), function()
        local p = pipeline(context, 3, function() os.exit(1) end)
        p[hook](p, boom)
        local ok, message = pcall(p.run, p)
        assert.is_false(ok)
        assert.matches(OWN_LINE .. "hook boom\nin hook " .. hook, message)
      end)
    end
  end
end)

describe("a worker that dies in its last hooks", function()
  for _, context in ipairs(FORKED) do
    for _, hook in ipairs { "after", "before_exit" } do
      it(("%s: %s: loses no item and is a failure without one"):format(context, hook), function()
        local p = pipeline(context, nil)
        p[hook](p, "work", function(ctx)
          ctx:collect("begun", ctx.pid)
          os.execute("kill -KILL " .. ctx.pid)
        end)
        local result = p:run { failures = "collect" }
        assert.same(all_but(), sorted(result.items))
        assert.equal(context == "processes" and 2 or N, #result.failures)
        assert.equal(#result.failures, #result.collected.begun)
        for _, failure in ipairs(result.failures) do
          assert.same({ "crash", "work", SIGKILL }, { failure.kind, failure.stage, failure.signal })
          assert.is_nil(failure.item)
          assert.matches("after its last item", failure.message, 1, true)
        end
      end)
    end
  end

  it("without such hooks it costs nothing but a warning", function()
    local p = pipeline("processes", nil)
    local pids = {}
    p:after_fork("work", function(ctx) ctx:collect("pids", ctx.pid) end)
    p:processor("last", function(item, emit) emit(item) end)
    p:on_worker_exit(function(exit) pids[#pids + 1] = exit.pid end)
    local result = p:run()
    assert.same(all_but(), sorted(result.items))
    assert.same(sorted(result.collected.pids), sorted(pids))
  end)
end)

describe("R5 R64 a producer that fails", function()
  local ends <const> = {
    { name = "raises", act = function() error "dry" end, kind = "error" },
    { name = "exits", act = function() os.exit(3) end, kind = "crash", forked = true },
    { name = "is killed", act = function(ctx) os.execute("kill -KILL " .. ctx.pid) end, kind = "crash", forked = true },
  }
  for _, row in ipairs(ends) do
    for _, forked in ipairs { true, not row.forked and false or nil } do
      it(("%s, %s: what it has emitted arrives, others go on"):format(row.name,
        forked and "in a process of its own" or "in the coordinator"), function()
        local p = minigun.pipeline "sources"
        p:producer("bad", { to = "work", processes = forked and 1 or nil }, function(emit, ctx)
          for i = 1, 5 do emit(i) end
          row.act(ctx)
        end)
        p:producer("good", { to = "work" }, function(emit)
          for i = 6, N do emit(i) end
        end)
        p:processor("work", { processes = 2 }, function(item, emit) emit(item) end)
        local result = p:run { failures = "collect" }
        assert.same(all_but(), sorted(result.items))
        assert.equal(1, #result.failures)
        assert.same({ row.kind, "bad", true }, { result.failures[1].kind, result.failures[1].stage,
          result.failures[1].partial })
      end)
    end
  end

  it("sends on what it emits while it goes on", function()
    local p = minigun.pipeline "slow source"
    p:producer("slow", { processes = 1 }, function(emit)
      for _ = 1, 3 do
        emit(core.now())
        emit(core.now())
        core.sleep(0.3)
      end
    end)
    p:processor("work", { processes = 1 }, function(sent, emit) emit(core.now() - sent) end)
    for _, late in ipairs(p:run().items) do assert.is_true(late < 0.25) end
  end)
end)

describe("a failure of what a handler has returned", function()
  for _, context in ipairs(contexts.all) do
    for name, give in pairs { ["nil"] = function() end, ["what cannot be sent"] = function() return io.stdout end } do
      it(("has no traceback, as no line of the handler's was at work: %s [%s]"):format(name, context.name), function()
        local p = minigun.pipeline "returns":producer { 1 }:map("work", contexts.options(context), give)
          :map("last", { processes = 1 }, tostring)
        local failure = p:run { failures = "collect" }.failures[1]
        assert.is_nil(failure.traceback)
        assert.is_nil(tostring(failure):find("traceback", 1, true))
        local _, message = pcall(p.run, p)
        assert.is_nil(message:find("traceback", 1, true))
      end)
    end

    it(("has that of the handler, and nothing of the program's: an error [%s]"):format(context.name), function()
      local p = minigun.pipeline "raises":producer { 1 }
      p:map("work", contexts.options(context), function() error "no" end)
      local line = debug.getinfo(1, "l").currentline
      local traceback = p:run { failures = "collect" }.failures[1].traceback
      assert.matches("failure_spec.lua:" .. line - 1 .. ":", traceback, 1, true)
      assert.is_nil(traceback:find("failure_spec.lua:" .. line + 1 .. ":", 1, true))
    end)
  end
end)
