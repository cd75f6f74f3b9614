-- minigun.command: what a program is given, what comes back, and what is said of it.
local contexts = require "spec.contexts"
local minigun = require "minigun"
local programs = require "spec.programs.build"
local support = require "spec.support"

local bytes = ("\0\1\r\n\255"):rep(400000) -- 2 MB: more than both pipes hold together

describe("minigun.command", function()
  it("runs a list without a shell, and a text in one", function()
    local r = assert(minigun.command { "printf", "%s|", "a b", "$HOME", "*", 7 })
    assert.same({ true, 0, "a b|$HOME|*|7|", "" }, { r.ok, r.code, r.out, r.err })
    assert.is_nil(r.signal or r.timed_out or r.exceeded or r.unknown)
    assert.equal("12\n", assert(minigun.command "echo $((3 * 4))").out)
  end)

  it("runs a script without #! by the shell, with as many arguments as there are", function()
    local path = support.write_file(os.tmpname(), "echo $#\n")
    os.execute("chmod 700 " .. path)
    local words = { path }
    for i = 1, 20000 do words[i + 1] = "x" end
    local r = assert(minigun.command(words))
    os.remove(path)
    assert.same({ true, "20000\n" }, { r.ok, r.out })
  end)

  it("gives it bytes and takes bytes, in both directions at once", function()
    assert.is_true(bytes == assert(minigun.command({ "cat" }, { stdin = bytes })).out)
    local r = assert(minigun.command("tee /dev/stderr", { stdin = bytes }))
    assert.is_true(r.out == bytes and r.err == bytes)
    assert.equal("", assert(minigun.command { "cat" }).out, "without stdin it reads /dev/null")
    assert.is_true(assert(minigun.command({ "true" }, { stdin = bytes })).ok, "it need not read it")
    assert.equal("\0\1", assert(minigun.command({ "head", "-c2" }, { stdin = bytes })).out)
  end)

  it("says how it ended, in one line with the first of its complaint", function()
    local r = assert(minigun.command "echo broken >&2; echo more >&2; exit 3")
    assert.same({ false, 3, "broken\nmore\n" }, { r.ok, r.code, r.err })
    assert.matches("^echo broken >&2; .*: exited with code 3 after %d+%.%d+ s: broken$", tostring(r))
    r = assert(minigun.command "kill -USR1 $$")
    assert.is_nil(r.code)
    assert.same({ false, 10 }, { r.ok, r.signal })
    assert.matches("was ended by signal 10", tostring(r))
    r = minigun.command { "sh", "-c", ("x"):rep(1000) }
    assert.is_true(#tostring(r) < 250)
  end)

  it("returns nil, a message and an errno where it cannot be started", function()
    local result, message, errno = minigun.command { "minigun-no-such-program", "x" }
    assert.is_nil(result)
    assert.same({ "cannot start 'minigun-no-such-program x': its program 'minigun-no-such-program': " ..
      "No such file or directory", 2 }, { message, errno })
    result, message, errno = minigun.command({ "true" }, { cwd = "/no/such" })
    assert.is_nil(result)
    assert.same({ "cannot start 'true' in '/no/such': No such file or directory", 2 }, { message, errno })
    result, message = minigun.command({ "true" }, { stdout = "/no/such/file" })
    assert.is_nil(result)
    assert.equal("cannot start 'true': its stdout '/no/such/file': No such file or directory", message)
    result, message, errno = minigun.command { "/" }
    assert.is_nil(result)
    assert.same({ "cannot start '/': Permission denied", 13 }, { message, errno })
  end)

  it("leaves the program's own standard files as they are, where it cannot be started too", function()
    local result = support.run_lua([[
      local minigun = require "minigun"
      assert(not minigun.command { "minigun-no-such-program" })
      assert(not minigun.command({ "true" }, { stdout = "/no/such/file" }))
      assert(minigun.command({ "true" }, { stderr = "/dev/null" }))
      print(io.read "a")
    ]], { stdin = "still there" })
    assert.same({ "still there\n", "" }, { result.stdout, result.stderr })
  end)

  it("ends it after its time-out, by SIGTERM and, where that is ignored, by SIGKILL", function()
    local r = assert(minigun.command({ "sleep", 60 }, { timeout = 0.2 }))
    assert.same({ false, true, 15 }, { r.ok, r.timed_out, r.signal })
    assert.is_true(r.seconds >= 0.2 and r.seconds < 20)
    r = assert(minigun.command("trap 'echo bye; exit 0' TERM; sleep 60 & wait", { timeout = 0.3 }))
    assert.same({ false, true, 0, "bye\n" }, { r.ok, r.timed_out, r.code, r.out })
    r = assert(minigun.command("trap '' TERM; while :; do sleep 1; done", { timeout = 0.1 }))
    assert.same({ true, 9 }, { r.timed_out, r.signal })
  end)

  it("does not wait for what it leaves in the background, and ends that", function()
    local start = minigun.now()
    local r = assert(minigun.command "sleep 61.5 & echo $!")
    assert.is_true(r.ok and minigun.now() - start < 30)
    local pid = tonumber(r.out)
    assert.is_true(support.wait_until(function() return not support.alive(pid) end))
  end)

  it("kills one that writes more than `limit` bytes", function()
    local r = assert(minigun.command({ "yes", "no" }, { limit = 10000 }))
    assert.same({ false, "stdout", 9, 10000 }, { r.ok, r.exceeded, r.signal, #r.out })
    r = assert(minigun.command("echo ok; yes >&2", { limit = "1K" }))
    assert.same({ "stderr", "ok\n", 1024 }, { r.exceeded, r.out, #r.err })
    r = assert(minigun.command("printf 123", { limit = 3 }))
    assert.same({ true, "123" }, { r.ok, r.out })
  end)

  it("changes its environment and directory, and leaves this process's", function()
    local r = assert(minigun.command("echo $MG_A,$MG_B,${HOME-none},${PATH:+path}; pwd",
      { env = { MG_A = "a=1", MG_B = 2, HOME = false }, cwd = "/usr" }))
    assert.equal("a=1,2,none,path\n/usr\n", r.out)
    assert.equal(os.getenv "HOME", os.getenv "HOME")
    assert.is_nil(os.getenv "MG_A")
  end)

  it("sends its output into files, or to where this process's goes", function()
    local path = os.tmpname()
    local r = assert(minigun.command("echo out; echo err >&2", { stdout = path }))
    assert.same({ "", "err\n", "out\n" }, { r.out, r.err, support.read_file(path) })
    r = assert(minigun.command("echo again; echo err >&2", { stderr = path }))
    assert.same({ "again\n", "", "err\n" }, { r.out, r.err, support.read_file(path) })
    os.remove(path)
    local ran = support.run_lua [[
      local r = require "minigun".command("echo out; echo err >&2", { stdout = true, stderr = true })
      print(r.ok, #r.out + #r.err)
    ]]
    assert.same({ "out\ntrue\t0\n", "err\n" }, { ran.stdout, ran.stderr })
  end)

  it("starts it with no descriptor of ours, default signals, in a group of its own", function()
    local file <close> = assert(io.open "Makefile") -- Lua's files are inherited by programs otherwise
    local r = assert(minigun.command [[
      ls /proc/self/fd | wc -l; grep -E 'Sig(Blk|Ign)' /proc/self/status
      cut -d' ' -f5 /proc/$$/stat; echo $$]])
    local lines = {}
    for line in r.out:gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.equal(4, tonumber(lines[1])) -- 0, 1, 2 and that of the directory
    assert.matches("SigBlk:%s+0000000000000000", lines[2])
    assert.matches("SigIgn:%s+%x+0300000$", lines[3]) -- SIGTTIN, SIGTTOU; 32 and 33 are libc's
    assert.equal(tonumber(lines[5]), tonumber(lines[4]))
    assert.equal("file", io.type(file))
  end)

  it("blames the caller's line for what it cannot take", function()
    for _, case in ipairs {
      { {}, nil, "an array of words" }, { 7, nil, "an array of words" }, { { "" }, nil, "an array of words" },
      { { "ls", {} }, nil, "word 2 is {}" }, { { "a\0b" }, nil, "word 1" }, { "a\0b", nil, "an array of words" },
      { { "ls" }, { timout = 1 }, "did you mean 'timeout'" }, { { "ls" }, { timeout = 0 }, "seconds above 0" },
      { { "ls" }, { env = { ["A=B"] = "x" } }, "a table from names" }, { { "ls" }, { env = { A = true } }, "a table" },
      { { "ls" }, { stdin = 3 }, "a string" }, { { "ls" }, { limit = -1 }, "bytes" },
      { { "ls" }, { stdout = false }, "a file's path, or true" },
    } do
      local ok, err = pcall(minigun.command, case[1], case[2])
      assert.is_false(ok)
      assert.matches("spec/command_spec.lua:%d+: minigun.command", err)
      assert.matches(case[3], err, 1, true)
    end
  end)

  -- A kernel of 6.15 or later knows it all the same, by the pidfd; without that it is not known. A quick one has often
  -- ended before its start returns.
  it("says so where SIGCHLD is ignored and it is not known how it ended", function()
    local confined = programs.confined()
    if not confined then return pending "there is no C compiler" end
    local ROUNDS <const> = 20
    local script = support.quote(([[
      local minigun = require "minigun"
      for i = 1, 2 * %d do
        local r = assert(minigun.command { i %% 2 == 1 and "true" or "false" })
        print(r.ok, r.code, r.signal, r.unknown, (tostring(r):gsub("%%d+%%.%%d+", "N")))
      end]]):format(ROUNDS))
    local known = { "true\t0\tnil\tnil\ttrue: exited with code 0 after N s",
      "false\t1\tnil\tnil\tfalse: exited with code 1 after N s" }
    local unknown = { "false\tnil\tnil\ttrue\ttrue: ended, and it is not known how after N s",
      "false\tnil\tnil\ttrue\tfalse: ended, and it is not known how after N s" }
    local function run(words)
      return support.run(("%s chld=ignore %s -- lua5.4 -e %s"):format(confined, words, script),
        { env = support.lua_env() })
    end
    -- Which of the two it is depends on when the kernel reaps the child: each end may be known or not, none is wrong.
    for words, never_known in pairs { [""] = false, ["deny=38:pidfd_open"] = false, ["deny=1:ioctl"] = true } do
      local ran, i = run(words), 0
      if ran.code == 77 then return pending(ran.stderr) end
      for line in ran.stdout:gmatch "[^\n]+" do
        i = i + 1
        local which = 2 - i % 2
        assert.is_true(line == unknown[which] or not never_known and line == known[which], words .. ": " .. line)
      end
      assert.equal(2 * ROUNDS, i, words .. ran.stderr)
    end
  end)

  for _, context in ipairs(contexts.all) do
    it("works in " .. context.name .. ", and its result can be emitted", function()
      local p = minigun.pipeline "commands"
      contexts.source(p, 6)
      p:map("run", contexts.options(context, { retries = 1 }), function(i)
        local r = assert(minigun.command({ "sh", "-c", "cat; exit $0", i }, { stdin = "item " .. i, timeout = 60 }))
        if i == 4 then error(tostring(r)) end
        return r
      end)
      local result = p:run { failures = "collect" }
      local seen = {}
      for _, r in ipairs(result.items) do
        seen[#seen + 1] = r.out .. ":" .. r.code
        assert.matches("^sh %-c cat; exit $0 %d: exited with code %d", tostring(r))
      end
      table.sort(seen)
      assert.same({ "item 1:1", "item 2:2", "item 3:3", "item 5:5", "item 6:6" }, seen)
      assert.equal(1, #result.failures)
      assert.matches("sh -c cat; exit $0 4: exited with code 4", result.failures[1].message, 1, true)
    end)
  end

  contexts.each_loop(function()
    for _, options in ipairs { { threads = 8 }, { processes = 1, threads = 8 } } do
      it("lets other threads go on " .. (options.processes and "in a worker" or "in the coordinator"), function()
        local p = minigun.pipeline "at_once"
        contexts.source(p, 8)
        p:map("sleep", options, function()
          local from = minigun.now()
          assert(minigun.command({ "sleep", 1 })).out = nil
          return { from, minigun.now() }
        end)
        assert.is_true(contexts.most_at_once(p:run().items) >= 4)
      end)
    end
  end)

  it("works in hooks, after the run, and in a producer", function()
    local said = {}
    local function say(where)
      return function(ctx)
        local r = assert(minigun.command { "echo", where })
        if ctx.collect then ctx:collect("said", r.out) else said[#said + 1] = r.out end
      end
    end
    local p = minigun.pipeline "hooks"
    p:producer("words", function(emit) emit(minigun.command({ "echo", "item" }).out) end)
    p:each("work", { processes = 1, before = say "before", after_fork = say "after_fork" }, function() end)
    p:before_run(say "before_run")
    p:after_run(function(result) say "after_run" { result = result } end)
    local r = p:run()
    table.sort(r.collected.said)
    assert.same({ "after_fork\n", "before\n", "before_run\n" }, r.collected.said)
    assert.same({ "after_run\n" }, said)
  end)
end)
