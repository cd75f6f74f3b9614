-- A run inside any program: Ctrl-C, signals, children, descriptors, standard streams and open files.
local minigun = require "minigun"
local programs = require "spec.programs.build"
local support = require "spec.support"
local terminal = require "spec.terminal"

local unruly = programs.unruly()

local function temporary(text) return support.write_file(os.tmpname(), text or "") end

-- A script that tells the pids of its workers in the file arg[1] and on the error output, with `busy` and `p` at hand.
local HEAD <const> = [[
  local minigun, core = require "minigun", require "minigun.core"
  local function tell(text)
    local file = io.open(arg[1], "a")
    file:write(text, "\n")
    file:close()
    io.stderr:write("told " .. text .. "\n")
    if text == "busy" then io.open(arg[1] .. ".busy", "w"):write(text, "\n"):close() end
  end
  local function busy() tell "busy" while true do end end
  local p = minigun.pipeline "interrupted"
  p:after_fork(function(ctx) tell("pid " .. ctx.pid) end)
]]

-- Starts a command in the background and sends it SIGINT once its script says that it is busy; `more`: what the shell
-- does then; `words`: more arguments.
local function interrupted(command, body, more, words)
  local path, told = temporary(HEAD .. body), temporary()
  local result = support.run(([[
    mkfifo %s.busy
    exec 3<>%s.busy
    %s %s %s %s 3<&- & pid=$!
    read -r told <&3
    sleep 0.005
    read -r from rest </proc/uptime
    kill -INT $pid
    %s
    wait $pid
    status=$?
    read -r now rest </proc/uptime
    echo "status $status $from $now"
  ]]):format(told, told, command, path, told, words or "", more or ""), { timeout = 10, env = support.lua_env() })
  local status, from, now = result.stdout:match "status (%d+) (%S+) (%S+)"
  local left = {}
  for pid in support.read_file(told):gmatch "pid (%d+)" do
    if support.alive(pid) then left[#left + 1] = pid end
  end
  os.remove(path)
  os.remove(told)
  os.remove(told .. ".busy")
  return { status = tonumber(status), ms = (now - from) * 1000, left = left, stdout = result.stdout,
    stderr = result.stderr }
end

local WAITS <const> = "p:producer('n', function(emit) for i = 1, 1e9 do emit(i) end end) "
  .. "p:processor('x', { processes = 1 }, function(i, emit) emit(i) end) "
  .. "p:each('w', function(i) if i == 5000 then busy() end end)"

local BUSY <const> = {
  { "in after_run", "p:after_run(busy) p:producer('n', { 1 })" },
  { "in a handler of a pool", "p:producer('n', { 1, 2 }) p:processor('w', { processes = 2 }, busy)" },
  { "in a fork per batch", "p:producer('n', { 1, 2 }) p:processor('w', { process_per_batch = 2 }, busy)" },
  { "in an inline handler", "p:producer('n', { 1, 2 }) "
    .. "p:processor('x', { processes = 1 }, function(i, emit) emit(i) end) p:processor('w', busy)" },
  { "in a producer, which computes in its coroutine",
    "p:producer('n', busy) p:processor('w', { processes = 2 }, function() end)" },
  { "in a producer that sleeps",
    "p:producer('n', function() tell 'busy' core.sleep(20) end) p:processor('w', { processes = 2 }, function() end)" },
  { "in a thread, which computes", "p:producer('n', { 1, 2 }) p:processor('w', { threads = 2 }, busy)" },
  { "in a thread that sleeps", "p:producer('n', { 1 }) "
    .. "p:processor('w', { threads = 2 }, function() tell 'busy' minigun.sleep(20) end)" },
  { "in a producer in a thread", "p:producer('n', { threads = 1 }, busy) p:processor('w', { processes = 1 }, print)" },
  { "in a producer's process", "p:producer('n', { processes = 1 }, busy)" },
  { "in a hook", "p:before_run(busy) p:producer('n', { 1 })" },
  { "in an inline handler that catches it",
    "p:producer('n', { 1, 2, 3 }) p:processor('w', function() pcall(busy) end)" },
  { "in an inline handler that catches it, after a pool", "p:producer('n', { 1, 2, 3 }) "
    .. "p:processor('x', { processes = 1 }, function(i, emit) emit(i) end) p:each('w', function() pcall(busy) end)" },
  { "in an inline handler while a producer waits for room", WAITS },
  { "in a producer that catches it", "p:producer('n', function(emit) for i = 1, 1e9 do emit(i) pcall(busy) end end) "
    .. "p:processor('w', { processes = 1 }, function() end)" },
  { "in a thread that catches it", "p:producer('n', { 1, 2, 3 }) "
    .. "p:processor('w', { threads = 2 }, function() pcall(busy) end)" },
  { "in a hook that catches it", "p:before_run(function() pcall(busy) end) p:producer('n', { 1 })" },
  { "in a loop stage that catches it", "p:producer('n', { 1, 2 }) "
    .. "p:stage('w', function(input) for _ in input do pcall(busy) end end)" },
  { "in on_failure", "p:producer('n', { 1 }) p:processor('w', { processes = 1 }, error) p:on_failure(busy)" },
  { "in a loop stage, which computes",
    "p:producer('n', { 1, 2 }) p:stage('w', function(input) for _ in input do busy() end end)" },
  { "in a loop stage of a thread",
    "p:producer('n', { 1, 2 }) p:stage('w', { threads = 2 }, function(input) for _ in input do busy() end end)" },
  { "with full queues", "p:producer('n', function(emit) while true do emit(('x'):rep(1000)) end end) "
    .. "p:processor('w', { processes = 2 }, busy)" },
}

describe("Ctrl-C in a script", function()
  for _, row in ipairs(BUSY) do
    it(row[1] .. ": ends it by SIGINT, with nothing left", function()
      local ended = interrupted("lua5.4", row[2] .. " p:run()")
      assert.equal(130, ended.status, ended.stderr)
      assert.same({}, ended.left)
      assert.is_true(ended.ms < 1000)
      assert.matches("interrupted!", ended.stderr, 1, true)
    end)
  end

  it("in an inline handler of a run in a coroutine, while a producer waits: its caller gets the error", function()
    local ended = interrupted("lua5.4", WAITS .. " coroutine.wrap(function() p:run() end)()")
    assert.matches("told [^\n]*\ntold busy\nlua5.4: interrupted!\n", ended.stderr)
    assert.same({ {}, true }, { ended.left, ended.ms < 1000 }, ended.ms .. " ms")
  end)

  it("is no failure of what was interrupted", function()
    for _, body in ipairs { "p:producer('n', busy)", "p:producer('n', { 1 }) p:each('w', busy)",
      "p:producer('n', { 1 }) p:each('w', { threads = 2 }, busy)", "p:producer('n', { threads = 1 }, busy)" } do
      local ended = interrupted("lua5.4", body .. [[
        p:on_failure(function() tell "a failure" end)
        local ok, message = pcall(p.run, p)
        assert(not ok and message:find "interrupted!$", message)
        assert(#p.last.failures == 0, "a failure was kept")
        os.exit(45)
      ]])
      assert.equal(45, ended.status, body .. ": " .. ended.stderr)
      assert.is_nil(ended.stderr:find("a failure", 1, true), body)
    end
  end)

  it("that has an argument -i of its own: dies of SIGINT all the same", function()
    local ended = interrupted("lua5.4", "p:producer('n', { 1 }) p:each(busy) p:run()", "", "-i")
    assert.equal(130, ended.status)
    assert.matches("interrupted!\n", ended.stderr, 1, true)
    assert.is_nil(ended.stderr:find("traceback", 1, true), ended.stderr)
  end)

  it("that catches the error: the error is interrupted!, p.last tells what there was, the program goes on", function()
    for i = 1, #BUSY, support.short_or_long(3, 1) do
      local row = BUSY[i]
      local ended = interrupted("lua5.4", row[2] .. [[
        local closed = false
        p:after_run(function() closed = true end)
        local ok, message = pcall(p.run, p)
        assert(not ok and message:find "interrupted!$", message)
        assert(closed and p.last and not p.last.ok and p.last.error == "interrupted!")
        local q = minigun.pipeline "next"
        q:producer("n", { 1, 2, 3 })
        q:processor("w", { processes = 2 }, function(item, emit) emit(item) end)
        os.exit(40 + #q:run().items)
      ]])
      assert.equal(43, ended.status, i .. ended.stderr)
      assert.same({}, ended.left)
    end
  end)

  it("a second one shortly after, and a third: the same, and nothing is left", function()
    for i = 1, #BUSY, support.short_or_long(3, 1) do
      local ended = interrupted("lua5.4", BUSY[i][2] .. [[
        local closed = false
        p:after_run(function() closed = true minigun.sleep(0.1) end)
        local ok, message = pcall(p.run, p)
        assert(not ok and message:find "interrupted!$", message)
        assert(closed and p.last.error == "interrupted!")
        os.exit(44)
      ]], "sleep 0.02; kill -INT $pid; sleep 0.03; kill -INT $pid")
      assert.equal(44, ended.status, BUSY[i][1] .. ended.stderr)
      assert.same({}, ended.left)
    end
  end)

  it("while iterate streams: the same", function()
    local ended = interrupted("lua5.4", [[
      p:producer("n", function(emit) for i = 1, 1e9 do emit(i) end end)
      p:processor("w", { processes = 2 }, function(item, emit) emit(item) end)
      for item in p:iterate() do if item > 2000 then busy() end end
    ]])
    assert.same({}, ended.left)
    assert.is_true(ended.status == 130 or ended.status == 1)
  end)

  it("a second one under minigun run: status 130", function()
    local ended = interrupted("bin/minigun run", BUSY[4][2] .. " return p", "sleep 0.3; kill -INT $pid")
    assert.equal(130, ended.status, ended.stderr)
    assert.matches("minigun: interrupted\n$", ended.stderr)
    assert.same({}, ended.left)
  end)
end)

describe("Ctrl-C at the prompt", function()
  for _, row in ipairs(BUSY) do
    it(row[1] .. ": the prompt is back at once, and the next run works", function()
      if not terminal.available() then return pending "there is no C compiler, or no pseudo-terminal" end
      local told = os.tmpname()
      local path = temporary((HEAD .. row[2] .. "\n_G.p = p"):gsub("arg%[1%]", "'" .. told .. "'"))
      local result, times = terminal.play("lua5.4 -i", ([[
? >
> dofile "%s"
> p:run()
? told busy
. 0.02
^C
? interrupted!
? > %s
> q = require("minigun").pipeline "next" q:producer("n", {1, 2, 3})
> q:processor("w", { processes = 2 }, function(i, emit) emit(i) end)
> print("there are " .. #q:run().items + 40)
? there are 43
> print(p.last)
? FAILED 'interrupted'
> os.exit(7)
]]):format(path, ""))
      assert.equal(7, result.code, result.stderr)
      assert.is_true(times[4].ms < 500, "the prompt took " .. times[4].ms .. " ms")
      for pid in support.read_file(told):gmatch "pid (%d+)" do assert.is_false(support.alive(pid)) end
      os.remove(path)
      os.remove(told)
      os.remove(told .. ".busy")
    end)
  end
end)

describe("a second Ctrl-C at the prompt", function()
  for _, between in ipairs { 0.02, 0.1 } do
    it(("%g s after the first keeps the session"):format(between), function()
      if not terminal.available() then return pending "there is no C compiler, or no pseudo-terminal" end
      local told = os.tmpname()
      local path = temporary((HEAD .. BUSY[1][2] .. "\n_G.p = p"):gsub("arg%[1%]", "'" .. told .. "'"))
      local result = terminal.play("lua5.4 -i", ([[
? >
> dofile "%s"
> p:run()
? told busy
. 0.02
^C
. %g
^C
? interrupted!
? >
> print("there are " .. 40 + 3)
? there are 43
> os.exit(7)
]]):format(path, between))
      assert.equal(7, result.code, result.stderr)
      for pid in support.read_file(told):gmatch "pid (%d+)" do assert.is_false(support.alive(pid)) end
      os.remove(path)
      os.remove(told)
      os.remove(told .. ".busy")
    end)
  end
end)

-- What the kernel says of this process's signals.
local function dispositions()
  local status = support.read_file "/proc/self/status"
  local words = { status:match "SigBlk:%s*%x+\nSigIgn:%s*%x+\nSigCgt:%s*%x+" }
  for signal = 1, unruly and 31 or 0 do words[#words + 1] = unruly.handler(signal) end
  return table.concat(words, " ")
end

describe("the program's signals", function()
  local function run(options, act, context)
    local p = minigun.pipeline "host"
    p:producer("numbers", { 1, 2, 3 })
    p:processor("work", { [context] = 2 }, function(item, emit)
      act(item)
      emit(item)
    end)
    return pcall(p.run, p, options)
  end

  it("are the same after a run that is well, one that fails, and one that loses workers", function()
    local before = dispositions()
    for _, context in ipairs { "processes", "process_per_batch" } do
      assert.is_true(run(nil, function() end, context))
      assert.equal(before, dispositions())
      assert.is_false(run(nil, error, context))
      assert.equal(before, dispositions())
      assert.is_false(run({ max_restarts = 0 }, function() os.exit(1) end, context))
      assert.equal(before, dispositions())
    end
  end)

  it("are the same after an interrupted run but for what the interpreter does itself", function()
    local source = [[
      local function own()
        local file = io.open "/proc/self/status"
        return file:read("a"):match "SigBlk:%s*%x+\nSigIgn:%s*%x+\nSigCgt:%s*%x+"
      end
      p:producer("n", busy)
      p:processor("w", { processes = 1 }, function() end)
      pcall(p.run, p)
      print(own())
    ]]
    -- The interpreter alone, interrupted in the same way.
    local plain = [[
      local file = nil
      pcall(function() tell "busy" while true do end end)
      file = io.open "/proc/self/status"
      print((file:read("a"):match "SigBlk:%s*%x+\nSigIgn:%s*%x+\nSigCgt:%s*%x+"))
    ]]
    local function mask(body) return interrupted("lua5.4", body).stdout:match "SigBlk.-SigCgt:%s*%x+" end
    assert.is_truthy(mask(plain))
    assert.equal(mask(plain), mask(source))
  end)

  it("a Ctrl-C after a run reaches the program as it did before", function()
    local ended = interrupted("lua5.4", [[
      p:producer("n", { 1 })
      p:processor("w", { processes = 1 }, function() end)
      p:run()
      local ok, message = pcall(busy)
      os.exit(not ok and message:find "interrupted!" and 44 or 1)
    ]])
    assert.equal(44, ended.status, ended.stderr)
  end)

  it("programs that a handler starts have the usual ones", function()
    local p = minigun.pipeline "host"
    p:producer("one", { 1 })
    p:processor("work", { processes = 1 }, function(_, emit)
      local pipe = io.popen "cat /proc/self/status"
      local status = pipe:read "a"
      pipe:close()
      emit(status:match "SigBlk:%s*(%x+)")
    end)
    assert.equal(0, tonumber(p:run().items[1], 16))
  end)
end)

describe("the program's own children", function()
  it("from before the run and within it keep their exit status", function()
    local before = io.popen "sleep 0.05; exit 7"
    local quick, within = io.popen "exit 8", nil
    local p, codes = minigun.pipeline "host", {}
    p:producer("numbers", function(emit)
      within = io.popen "sleep 0.05; exit 9"
      for i = 1, 20 do
        codes[#codes + 1] = select(3, os.execute("exit " .. i))
        emit(i)
      end
    end)
    p:processor("work", { process_per_batch = 2 }, function(item, emit)
      if item == 3 then os.exit(1) end
      emit(select(3, os.execute("exit " .. item)))
    end)
    p:processor("inline", function(item, emit)
      assert(item == select(3, os.execute("exit " .. item)))
      emit(item)
    end)
    local result = p:run { failures = "collect" }
    assert.equal(19, #result.items)
    assert.equal(1, #result.failures)
    for i = 1, 20 do assert.equal(i, codes[i]) end
    assert.same({ 7, 8, 9 }, { select(3, before:close()), select(3, quick:close()), (select(3, within:close())) })
  end)
end)

describe("descriptors", function()
  local function listing()
    local pipe = io.popen "ls /proc/self/fd"
    local text = pipe:read "a"
    pipe:close()
    return text
  end

  it("of the library do not leak into programs that are started by handlers or beside them", function()
    if support.under == "valgrind" then return pending "valgrind has descriptors of its own" end
    local usual = listing()
    local p = minigun.pipeline "host"
    p:producer("numbers", { 1, 2, 3, 4 })
    p:processor("pool", { processes = 2 }, function(_, emit) emit(listing()) end)
    p:processor("fork", { process_per_batch = 2 }, function(item, emit) emit(item) emit(listing()) end)
    p:processor("inline", function(item, emit) emit(item) emit(listing()) end)
    local items = p:run().items
    assert.equal(16, #items)
    for _, item in ipairs(items) do assert.equal(usual, item) end
  end)

  it("that a producer has open are closed when the run ends early", function()
    local path = temporary(("line\n"):rep(1000))
    local before = support.descriptor_count()
    for _ = 1, 3 do
      local p = minigun.pipeline "host"
      p:producer("lines", function(emit)
        for line in io.lines(path) do emit(line) end
      end)
      p:processor("work", error)
      assert.is_false(pcall(p.run, p, { failures = "stop" }))
    end
    assert.equal(before, support.descriptor_count())
    os.remove(path)
  end)
end)

describe("files that are open in the coordinator", function()
  it("keep their place when workers leave by os.exit, crash, or end", function()
    local path, n = os.tmpname(), support.short_or_long(5000, 20000)
    local file = io.open(path, "w")
    for i = 1, n do file:write(i, "\n") end
    file:close()
    for _, context in ipairs { "processes", "process_per_batch" } do
      local p = minigun.pipeline "lines"
      p:producer("lines", io.lines(path))
      p:batch(100)
      p:processor("work", { [context] = 2, retries = 1 }, function(batch, emit, ctx)
        if ctx.attempt == 1 and tonumber(batch[1]) % 1000 == 1 then os.exit(3, true) end
        for _, line in ipairs(batch) do emit(tonumber(line)) end
      end)
      local seen, count = {}, 0
      for _, item in ipairs(p:run({ max_restarts = 100 }).items) do
        assert.is_nil(seen[item])
        seen[item], count = true, count + 1
      end
      assert.equal(n, count)
    end
    os.remove(path)
  end)

  it("for writing are not written twice; those of workers are complete, closed or not", function()
    local shared, own = os.tmpname(), os.tmpname()
    local file = io.open(shared, "w")
    file:write "unflushed\n"
    local p = minigun.pipeline "writers"
    p:producer("numbers", { 1, 2, 3, 4, 5, 6 })
    p:after_fork("work", function(ctx) ctx.state.file = io.open(own, "a") end)
    p:processor("work", { process_per_batch = 2 }, function(item, _, ctx)
      ctx.state.file:write(item, "\n")
      if item == 6 then os.exit(0) end
    end)
    p:run { failures = "collect" }
    file:close()
    local lines = {}
    for line in io.lines(own) do lines[#lines + 1] = line end
    table.sort(lines)
    assert.same({ "1", "2", "3", "4", "5", "6" }, lines)
    assert.equal("unflushed\n", support.read_file(shared))
    os.remove(shared)
    os.remove(own)
  end)
end)

describe("standard streams", function()
  it("input: workers see its end at once, what the program reads of it is the program's", function()
    local ran = support.run_lua([[
      local minigun = require "minigun"
      local first = io.read "l"
      for _, context in ipairs { "processes", "process_per_batch" } do
        local p = minigun.pipeline "input"
        p:producer("one", { 1 })
        p:processor("work", { [context] = 1 }, function(_, emit) emit(tostring(io.read "l")) end)
        print(p:run().items[1])
      end
      print(first, io.read "l", io.read "l")
    ]], { stdin = "one\ntwo\nthree\n" })
    assert.equal("nil\nnil\none\ttwo\tthree\n", ran.stdout, ran.stderr)
  end)

  it("output: megabytes of it from many workers arrive whole, and nothing twice", function()
    local ran = support.run_lua([[
      local minigun = require "minigun"
      io.stdout:setvbuf "full"
      io.write "begin\n"
      for _, context in ipairs { "processes", "process_per_batch" } do
        local p = minigun.pipeline "output"
        p:producer("four", { 1, 2, 3, 4 })
        p:processor("work", { [context] = 2 }, function()
          io.stdout:write(("x"):rep(300000))
          io.stderr:write(("y"):rep(300000))
        end)
        p:run()
      end
      io.write "end\n"
    ]])
    assert.equal(0, ran.code)
    assert.equal(2400000, select(2, ran.stdout:gsub("x", "")))
    assert.equal(2400000, select(2, ran.stderr:gsub("y", "")))
    assert.equal(#"begin\nend\n" + 2400000, #ran.stdout)
  end)
end)

describe("a handler that allocates until there is no memory", function()
  for _, context in ipairs { "processes", "process_per_batch", "inline" } do
    it(context .. ": costs its item, and the worker goes on", function()
      if support.under then return pending "a sanitizer needs more address space" end
      local ran = support.run(("ulimit -v %d; exec lua5.4 %s"):format(
        context == "inline" and 100000 or 300000, temporary(([[
        local minigun = require "minigun"
        local p = minigun.pipeline "memory"
        p:producer("numbers", { 1, 2, 3, 4, 5 })
        p:processor("work", %s, function(item, emit)
          if item == 3 then
            local hoard = {}
            for i = 1, math.huge do hoard[i] = ("x"):rep(1000000) .. i end
          end
          emit(item)
        end)
        local result = p:run { failures = "collect" }
        local failure = result.failures[1]
        print(#result.items, #result.failures, failure.kind, failure.item, failure.message)
      ]]):format(context == "inline" and "{}" or "{ " .. context .. " = 2 }"))), { env = support.lua_env() })
      assert.equal(0, ran.code, ran.stderr)
      assert.equal("4\t1\terror\t3\tnot enough memory\n", ran.stdout)
    end)
  end
end)
