-- Event loops and processes: signals and exit status of children, forks by other code, and systems that
-- refuse what is used (rules L3 to L5 of docs/loops.md), for each adapter.

local loop = require "minigun.loop"
local core = require "minigun.core"
local programs = require "spec.programs.build"
local loops = require "spec.loops"
local support = require "spec.support"

local unruly, confined = programs.unruly(), programs.confined()

-- In a child that other code has forked: leaves it with 0, or with 1 and what is wrong on its standard error.
local function child(f)
  local pid = unruly.fork()
  if pid > 0 then return pid end
  collectgarbage "stop" -- before loop.new a finalizer of luv's would touch what the parent has too
  local ok, message = pcall(f)
  if not ok then io.stderr:write("child: ", tostring(message), "\n") end
  unruly.leave(ok and 0 or 1)
end

local run_until, send = loops.run_until, loops.send

for _, adapter in ipairs(loops.list) do
  local name = adapter.name
  describe(("the loop '%s'"):format(name), function()
    local l

    local function test(title, f)
      it(title, function()
        loops.in_test(adapter, pending, function(made)
          l = made
          f()
          made, l = l, nil
          return made
        end)
      end)
    end

    test("L3: in a child that other code has forked it raises, and nothing of it happens there", function()
      local r, w = unruly.pipe()
      local log, parent = {}, core.pid()
      l:after(0.01, function() log[#log + 1] = core.pid() end)
      local watch = l:watch_io(r, "r", function()
        unruly.read(r)
        log[#log + 1] = core.pid()
      end)
      local pid = child(function()
        for method, arguments in pairs { after = { 1, print }, every = { 1, print }, watch_io = { 0, "r", print },
          watch_signal = { "USR1", print }, watch_process = { 1, print }, fork = { print }, run = {}, stop = {},
          step = {}, fd = {} } do
          local ok, message = pcall(l[method], l, table.unpack(arguments))
          assert(not ok and message:find(("loop:%s: this loop belongs to process %d; make one with loop.new()"):format(
            method, parent), 1, true), message)
        end
        local ok, message = pcall(watch.stop, watch)
        assert(not ok and message:find("belongs to process " .. parent, 1, true), message)
        l:close() -- of a parent's: nothing
        core.sleep(0.02)
        local own, fired = loop.new(name), 0
        own:after(0.01, function() fired = fired + 1 end)
        own:run()
        assert(fired == 1 and #log == 0)
        own:close()
      end)
      assert.equal(0, unruly.wait(pid))
      unruly.write(w, "x")
      run_until(l, function() return #log >= 2 end)
      watch:stop()
      assert.same({ parent, parent }, log)
      unruly.close(r)
      unruly.close(w)
    end)

    test("L4: a signal goes to the process that it is sent to, however that was forked", function()
      local got = {}
      local watch = l:watch_signal("USR1", function(which) got[#got + 1] = which end)
      local second = l:watch_signal("HUP", function(which) got[#got + 1] = which end)
      local code, signal = unruly.wait(child(function()
        send "USR1"
        core.sleep(5)
      end))
      assert.same({ nil, 10 }, { code, signal }) -- by what it did before it was watched
      local own = child(function()
        local mine, count = loop.new(name), 0
        mine:watch_signal("USR1", function() count = count + 1 end)
        send "USR1"
        mine:after(5, function() mine:stop() end)
        while count == 0 do mine:step(1) end
        mine:close()
      end)
      assert.equal(0, unruly.wait(own))
      l:step(0.01)
      assert.same({}, got)
      send "USR1"
      send "HUP"
      run_until(l, function() return #got == 2 end)
      watch:stop()
      second:stop()
    end)

    test("L4: each of two signals that come shortly after one another is reported, also while it does not run",
      function()
        local told = 0
        local watch = l:watch_signal("USR2", function() told = told + 1 end)
        for i = 1, 5 do
          send "USR2"
          if i == 3 then l:step() end
        end
        run_until(l, function() return told == 5 end)
        l:step(0.01)
        assert.equal(5, told)
        watch:stop()
      end)

    test("L5: programs keep their exit status, before, during and after", function()
      local function statuses()
        local _, how, code = os.execute "exit 3"
        assert.same({ "exit", 3 }, { how, code })
        local pipe = io.popen "exit 4"
        _, how, code = pipe:close()
        assert.same({ "exit", 4 }, { how, code })
        _, how, code = os.execute "kill -9 $$"
        assert.same({ "signal", 9 }, { how, code })
      end
      statuses()
      local told, spawned = 0, nil
      if name == "luv" then
        adapter.loaded.spawn("/bin/sh", { args = { "-c", "exit 5" } }, function(code) spawned = code end)
      end
      local watch = l:watch_signal("TERM", function() end)
      for i = 1, 5 do
        l:fork(function() return i end, { on_exit = function(ended)
          assert.equal(i, ended.code)
          told = told + 1
        end })
      end
      local ticks = 0
      local ticker = l:every(0.002, function()
        ticks = ticks + 1
        if ticks < 6 then statuses() end
      end)
      run_until(l, function() return told == 5 and ticks > 6 and (name ~= "luv" or spawned) end)
      if name == "luv" then assert.equal(5, spawned) end
      ticker:stop()
      watch:stop()
      statuses()
    end)
  end)
end

describe("a process that is watched", function()
  local l

  local function test(title, f)
    it(title, function()
      loops.in_test(loops.by_name.epoll, pending, function(made)
        l = made
        f()
        l = nil
        return made
      end)
    end)
  end

  test("may be no child of this one", function()
    local pipe = io.popen "sleep 60 >/dev/null 2>&1 & echo $!"
    local pid = math.tointeger(tonumber(pipe:read "l"))
    pipe:close()
    local told
    l:watch_process(pid, function(ended) told = ended end)
    assert.is_true(l:step(0.02))
    assert.is_nil(told)
    send("KILL", pid)
    l:run()
    assert.equal(pid, told.pid)
    assert.is_true(told.unknown or told.signal == 9)
  end)

  test("that is not there is an error to handle", function()
    local watch, message, errno = l:watch_process(0x7ffffffe, print)
    assert.same({ nil, "cannot watch a process: No such process", 3 }, { watch, message, errno })
  end)

  test("is not waited for when its watch ends before", function()
    local pid = unruly.fork()
    if pid == 0 then unruly.leave(7) end
    l:watch_process(pid, function() error "it is not to be told" end):stop()
    l:run()
    assert.equal(7, unruly.wait(pid))
  end)

  test("is told of with what it has used, and with a core dump where there is one", function()
    local ended
    l:fork(function()
      local list = {}
      for i = 1, 200000 do list[i] = i .. "" end
      return #list == 200000
    end, { on_exit = function(how) ended = how end })
    l:run()
    assert.equal(0, ended.code)
    assert.is_true(ended.max_rss > 8e6 and ended.cpu > 0.001, ended.max_rss .. " " .. ended.cpu)
  end)

  test("is told of by the loop that waits, not by those around it", function()
    local log = {}
    local inner = loop.new()
    l:fork(function() return 1 end, { on_exit = function() log[#log + 1] = "outer" end })
    inner:fork(function() return 2 end, { on_exit = function() log[#log + 1] = "inner" end })
    inner:run()
    assert.same({ "inner" }, log)
    l:run()
    assert.same({ "inner", "outer" }, log)
    inner:close()
  end)
end)

describe("the child of loop:fork", function()
  local function outcome(body)
    local result = support.run_lua(([[
      local loop = require "minigun.loop"
      local core = require "minigun.core"
      local l = loop.new()
      l:fork(function(own) %s end, { on_exit = function(ended) print(ended.code, ended.signal) end })
      l:run()
      io.write("parent ends\n")]]):format(body))
    assert.equal(0, result.code, result.stderr)
    return result.stdout, result.stderr
  end

  it("ends with what its function returns", function()
    for returned, code in pairs { [""] = 0, ["return true"] = 0, ["return false"] = 1, ["return 7"] = 7,
      ["os.exit(9)"] = 9, ["os.exit(8, true)"] = 8, ["os.exit(false)"] = 1, ["error 'x'"] = 1, ["return 256"] = 1,
      ["return {}"] = 1 } do
      assert.equal(code .. "\tnil\nparent ends\n", (outcome(returned)), returned)
    end
  end)

  it("says what went wrong, with the line", function()
    local _, said = outcome "local t = nil; t.x = 1"
    assert.matches("minigun: process %d+: [^\n]*:4: attempt to index a nil value %(local 't'%)\nstack traceback:", said)
    assert.matches("an exit code from 0 to 255, got 1000", select(2, outcome "return 1000"))
  end)

  it("writes what was buffered once, and has its own random numbers", function()
    local result = support.run_lua [[
      local loop = require "minigun.loop"
      io.stdout:setvbuf("full")
      math.randomseed(1)
      io.write("before ")
      local l = loop.new()
      for i = 1, 3 do l:fork(function() io.write(math.random(1 << 60), " ") end) end
      l:run()
      io.write("after\n")]]
    local a, b, c = result.stdout:match "^before (%d+) (%d+) (%d+) after\n$"
    assert.is_truthy(a, result.stdout)
    assert.is_true(a ~= b and b ~= c and a ~= c)
  end)

  it("can run a pipeline, a loop of another kind, and a child of its own", function()
    assert.equal("6\n0\tnil\nparent ends\n", (outcome [[
      local minigun = require "minigun"
      local sum = minigun.reduce({ 1, 2, 3 }, 0, function(a, b) return a + b end, { processes = 2 })
      local pid = own:fork(function() print(sum) end)
      own:run()]]))
  end)
end)

describe("where the system refuses what a loop uses", function()
  local script = [[
    local loop = require "minigun.loop"
    local core = require "minigun.core"
    local l, told = loop.new(), {}
    for i = 1, 4 do
      l:fork(function() core.sleep(0.03 * i) return i end,
        { on_exit = function(ended) told[#told + 1] = ended.code or ended.unknown and "unknown" end })
    end
    local pipe = io.popen "sleep 0.1 > /dev/null & echo $!"
    local pid = math.tointeger(tonumber(pipe:read "l"))
    pipe:close()
    local watch, message = l:watch_process(pid, function(ended) told[#told + 1] = "other" end)
    if not watch then told[#told + 1] = "other" end
    l:watch_process(0x7ffffffe, print)
    l:run()
    table.sort(told, function(a, b) return tostring(a) < tostring(b) end)
    print(table.concat(told, " "))]]

  for _, words in ipairs { "", "deny=1:pidfd_open", "deny=38:pidfd_open,pidfd_send_signal", "deny=1:waitid:3",
    "deny=1:waitid", "deny=38:madvise:18", "proc=none", "chld=ignore", "chld=ignore deny=1:pidfd_open" } do
    it(("it tells of every end all the same: %s"):format(words), function()
      if not confined then return pending "there is no C compiler" end
      if words == "proc=none" and support.under then return pending "a sanitizer needs /proc" end
      local path = support.write_file(os.tmpname(), script)
      local result = support.run(("%s %s -- lua5.4 %s"):format(confined, words, path),
        { env = support.lua_env(), timeout = 30 })
      os.remove(path)
      if result.code == 77 then return pending "the kernel does not let us" end
      assert.equal(0, result.code, result.stderr)
      if words:find "chld" then -- what the kernel does not keep is not known
        assert.matches("^1? ?2? ?3? ?4? ?other[ unknow]*\n$", result.stdout)
        assert.equal(5, select(2, result.stdout:gsub("%w+", "")))
      else
        assert.equal("1 2 3 4 other\n", result.stdout)
      end
    end)
  end
end)

describe("whichever system call fails", function()
  for _, adapter in ipairs(loops.list) do
    it(("the loop '%s' tells of what it watches, or a call has said why not"):format(adapter.name), function()
      if adapter.missing or not unruly then return pending(adapter.missing or "there is no C compiler") end
      support.deadline(120)
      local env = support.lua_env()
      env.LUA_CPATH = "./build-faults/?.so;;"
      local done = support.run("lua5.4 spec/programs/fail_loop.lua " .. adapter.name, { env = env,
        timeout = 100 * support.patience })
      local context = done.stdout:sub(-1500) .. done.stderr:sub(-1500)
      assert.equal(0, done.code, context)
      assert.is_nil(done.stdout:match "WRONG[^\n]*", context)
      local runs, refused = done.stdout:match "(%d+) runs, (%d+) refused"
      assert.is_true(tonumber(runs) > 50 and tonumber(refused) > 10, context)
    end)
  end
end)
