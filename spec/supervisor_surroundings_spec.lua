-- Servers and what is around them: a program that is executed anew (S7), systemd, users and files (S14), pipelines
-- (S15), options (S2).
local servers = require "spec.servers"
local support = require "spec.support"

local function test(title, f) it(title, function() servers.in_test(pending, finally, f) end) end

-- What becomes another user under valgrind cannot start a program any more.
local function is_root() return support.under ~= "valgrind" and support.run("id -u").stdout == "0\n" end

-- How many descriptors a process has. Without io.popen: its child may look before this process has closed its end.
local function fds_of(pid)
  local core, n = require "minigun.core", 0
  for fd = 0, 1023 do
    if core.link(("/proc/%d/fd/%d"):format(pid, fd)) then n = n + 1 end
  end
  return n
end

describe("a server", function()
  test("S7: USR2 executes the program anew; a broken one changes nothing, a good one takes over", function(start)
    local flag, pid_file = os.tmpname(), os.tmpname()
    os.remove(flag)
    local server = start(([[pid_file = %q, worker = function(w)
      if io.open %q then error "a broken deploy" end
      web(w)
    end, max_restarts = 0]]):format(pid_file, flag))
    assert(server:wait_for(function() return tonumber(support.read_file(pid_file)) == server.pid end))
    support.write_file(flag, "")
    server:signal "USR2"
    assert(server:said "before it was ready; nothing has changed", server:log())
    assert.equal("hello", server:get "/")
    assert.equal(2, #server:children())
    os.remove(flag)
    server:signal "USR2"
    assert(server:said "is ready; this one drains", server:log())
    assert.equal(0, (server:wait()))
    assert.equal("hello", server:get "/")
    local left = server:left()
    assert.equal(3, #left, table.concat(left, " "))
    local new
    assert(server:wait_for(function()
      new = tonumber(support.read_file(pid_file))
      return new and new ~= server.pid
    end))
    assert.is_true(support.alive(new))
    servers.unruly.kill(new, servers.signals.TERM)
    assert(server:wait_for(function() return #server:left() == 0 end, 5), server:log())
    assert.is_nil(support.read_file(pid_file))
  end)

  test("S7: a broken new program takes no Unix socket's file, and says nothing to the service manager", function(start)
    local path, flag, said = os.tmpname(), os.tmpname(), os.tmpname()
    os.remove(path)
    local unix = require "socket.unix"
    local manager = type(unix) == "table" and unix.dgram and unix.dgram()
    if manager then
      os.remove(said)
      assert(manager:bind(said))
      manager:settimeout(0)
    end
    local server = start(([[listen = "unix:%s", max_restarts = 0, worker = function(w)
      if io.open(%q):read "a" ~= "" then error "a broken deploy" end
      web(w)
    end]]):format(path, flag), nil, { env = manager and { NOTIFY_SOCKET = said } })
    support.write_file(flag, "broken")
    server:signal "USR2"
    assert(server:said "before it was ready; nothing has changed", server:log())
    assert.is_truthy(require("lfs").attributes(path), "the socket's file is gone")
    local function has_stopped()
      for text in manager and function() return manager:receive() end or function() end do
        if text:find "STOPPING" then return true end
      end
      return false
    end
    assert.is_false(has_stopped())
    support.write_file(flag, "")
    server:signal "USR2"
    assert(server:said "is ready; this one drains", server:log())
    assert.equal(0, (server:wait()))
    assert.is_false(has_stopped())
    assert.is_truthy(require("lfs").attributes(path), "the socket's file is gone")
    for _, pid in ipairs(server:left()) do
      if support.children(pid)[1] then servers.unruly.kill(pid, servers.signals.TERM) end
    end
    assert(server:wait_for(function() return #server:left() == 0 end, 5))
    assert.is_nil(require("lfs").attributes(path))
    assert.equal(manager and true or false, has_stopped())
    if manager then manager:close() end
    for _, each in ipairs { flag, said } do os.remove(each) end
  end)

  test("S7: where execve fails nothing has changed, and the next USR2 works", function(start)
    local flag = os.tmpname()
    os.remove(flag)
    local server = start(([[before_fork = function()
      if io.open %q then core.faults.reset() else core.faults.call("execute", 1, 12) end
    end]]):format(flag), nil, { env = { LUA_CPATH = "./build-faults/?.so;;" } })
    local children = server:children()
    server:signal "USR2"
    assert(server:said "ended with exit code 127 before it was ready; nothing has changed", server:log())
    assert.matches("minigun: cannot execute the program: Cannot allocate memory", server:log())
    assert.same(children, server:children())
    assert.equal("hello", server:get "/")
    support.write_file(flag, "")
    server:signal "TTIN"
    assert(server:wait_for(function() return #server:ready() == 3 end), server:log())
    server:signal "USR2"
    assert(server:said "is ready; this one drains", server:log())
    assert.equal(0, (server:wait()))
    for _, pid in ipairs(server:left()) do
      if support.children(pid)[1] then servers.unruly.kill(pid, servers.signals.TERM) end
    end
    assert(server:wait_for(function() return #server:left() == 0 end, 5))
    os.remove(flag)
  end)

  test("S14: where a worker cannot become its user the server says so, and no worker runs as another", function(start)
    if not is_root() then return pending "only root can become another user" end
    local server = start([[user = "nobody", max_restarts = 0, before_fork = function()
      core.faults.call("become_user", 1, 1)
    end, worker = function(w) say("runs as", io.popen "id -un":read()) web(w) end]], 0,
      { env = { LUA_CPATH = "./build-faults/?.so;;" } })
    assert.equal(1, (server:wait()))
    assert.matches("cannot become that user: Operation not permitted", server:log())
    assert.is_nil(server:output():find "runs as")
  end)

  test("a socket's file is removed where the server cannot listen at another address", function(_, add)
    local path = os.tmpname()
    os.remove(path)
    local server = add(servers.launch("spec/programs/serve.lua " .. support.quote(
      ("listen = { 'unix:%s', 'unix:/nonexistent/socket' }"):format(path))))
    assert.equal(1, (server:wait()))
    assert.matches("cannot listen at unix:/nonexistent/socket", server:log())
    assert.is_nil(require("lfs").attributes(path))
  end)

  test("S7: what a former master says is not for programs that its successor starts", function()
    local program = [[
      local core = require "minigun.core"
      local fd = assert(core.listen("127.0.0.1", "0", 10))
      assert(fd <= 6)
      print(require("minigun.supervisor.upgrade").is_awaited(), #require("minigun.supervisor.sockets").inherited())
    ]]
    local result = support.run(("%s MINIGUN_PID=1 MINIGUN_UPGRADE=0 MINIGUN_SOCKETS=3,4,5,6 lua5.4 -e %s"):format(
      support.env_words(support.lua_env()), support.quote(program)))
    assert.equal("false\t0\n", result.stdout, result.stderr)
  end)

  test("S7: no request fails, and a Unix socket's file stays, while the program is executed anew", function(start)
    local path = os.tmpname()
    os.remove(path)
    local server = start(("listen = { '127.0.0.1:0', 'unix:%s' }"):format(path))
    server:signal "USR2"
    local asked, failed = 0, 0
    assert(server:wait_for(function()
      asked = asked + 1
      if server:get "/" ~= "hello" then failed = failed + 1 end
      return server:log():find "ended, status 0"
    end), server:log())
    assert.equal(0, failed)
    assert.is_true(asked > 0)
    assert.is_truthy(require("lfs").attributes(path), "the socket's file is gone")
    server:wait()
    for _, pid in ipairs(server:left()) do
      if support.children(pid)[1] then servers.unruly.kill(pid, servers.signals.TERM) end
    end
    assert(server:wait_for(function() return #server:left() == 0 end, 5))
    assert.is_nil(require("lfs").attributes(path))
  end)

  test("S14: tells the service manager what it does", function(start)
    local path = os.tmpname()
    os.remove(path)
    local socket = require "socket.unix"
    if type(socket) ~= "table" or not socket.dgram then return pending "this luasocket has no datagrams" end
    local manager = socket.dgram()
    assert(manager:bind(path))
    manager:settimeout(10 * support.patience)
    local server = start(nil, nil, { env = { NOTIFY_SOCKET = path, WATCHDOG_USEC = "400000" } })
    local seen = {}
    local function wait_for(text)
      while not seen[text] do
        local got = assert(manager:receive())
        for line in got:gmatch "[^\n]+" do seen[line] = true end
      end
    end
    wait_for "READY=1"
    assert.is_true(seen["MAINPID=" .. server.pid])
    wait_for "WATCHDOG=1"
    seen = {}
    server:signal "HUP"
    wait_for "RELOADING=1"
    wait_for "READY=1"
    server:signal "TERM"
    wait_for "STOPPING=1"
    assert.equal(0, (server:stop()))
    manager:close()
    os.remove(path)
  end)

  test("S14: listens at sockets that it has inherited", function(_, add)
    -- A shell cannot open a socket that listens: this Lua program does, and becomes the server.
    local program = [[
      local core = require "minigun.core"
      local fd = assert(core.listen("127.0.0.1", "0", 10))
      print("port", select(2, core.socket_name(fd)))
      io.stdout:flush()
      core.execute("/usr/bin/env", { "env", "LISTEN_FDS=" .. fd - 2, "LISTEN_PID=" .. core.pid(), "lua5.4",
        "spec/programs/serve.lua", "listen = {}" }, core.environment(), { fd })
    ]]
    local server = add(servers.launch("-e " .. support.quote(program)))
    assert(server:wait_for(function() return #server:ready() >= 2 end), server:log())
    assert.equal(server:output():match "port%s+(%d+)", tostring(server.port))
    assert.equal("hello", server:get "/")
    assert.equal(0, (server:stop()))
  end)

  test("S14: leaves the service manager's Unix socket its file, also when executed anew", function(_, add)
    local path = os.tmpname()
    os.remove(path)
    local program = ([[
      local core = require "minigun.core"
      local fd = assert(core.listen(%q, nil, 10))
      core.execute("/usr/bin/env", { "env", "LISTEN_FDS=" .. fd - 2, "LISTEN_PID=" .. core.pid(), "lua5.4",
        "spec/programs/serve.lua", "listen = {}" }, core.environment(), { fd })
    ]]):format(path)
    local server = add(servers.launch("-e " .. support.quote(program)))
    assert(server:wait_for(function() return #server:ready() >= 2 end), server:log())
    server:signal "USR2"
    assert(server:said "is ready; this one drains", server:log())
    assert.equal(0, (server:wait()))
    for _, pid in ipairs(server:left()) do
      if support.children(pid)[1] then servers.unruly.kill(pid, servers.signals.TERM) end
    end
    assert(server:wait_for(function() return #server:left() == 0 end, 5))
    assert.is_truthy(require("lfs").attributes(path), "the socket's file is gone")
    os.remove(path)
  end)

  test("S14: workers become another user after the sockets are open; the master's death ends them", function(start)
    if not is_root() then return pending "only root can become another user" end
    local server = start [[listen = "127.0.0.1:997", user = "nobody", group = "nogroup", worker = function(w)
      w:accept(function(c)
        local id = io.popen "id -un; id -gn; id -Gn"
        answer(c, id:read "a")
        id:close()
      end)
    end]]
    assert.equal("nobody\nnogroup\nnogroup\n", server:get "/")
    server:signal "KILL"
    server:wait()
    assert(server:wait_for(function() return #server:left() == 0 end, 1))
    local other = start("user = 'nobody-of-that-name'", 0)
    assert.equal(1, (other:wait()))
    assert.matches("there is no user 'nobody%-of%-that%-name'", other:log())
  end)

  test("S14: the pid_file of another server is left alone", function(start)
    local path = os.tmpname()
    local first = start(("pid_file = %q"):format(path))
    local second = start(("pid_file = %q"):format(path))
    assert(second:wait_for(function() return tonumber(support.read_file(path)) == second.pid end))
    assert.equal(0, (first:stop()))
    assert.equal(second.pid, tonumber(support.read_file(path)))
    assert.equal(0, (second:stop()))
    assert.is_nil(support.read_file(path))
  end)

  test("S15: a pipeline runs inside a worker, and ends with the master", function(start)
    local server = start [[workers = 1, worker = function(w)
      w:accept(function(c)
        c:receive()
        local list = {}
        for i = 1, 200 do list[i] = i end
        local squares = minigun.map(list, function(x) return x * x end, { processes = 2 })
        answer(c, tostring(squares[200]))
      end)
    end]]
    for _ = 1, 3 do assert.equal("40000", server:get "/") end
    assert.equal(1, #support.children(server:children()[1]) + 1)
    assert.equal(0, (server:stop()))
    server = start [[workers = 1, worker = function(w)
      w:ready()
      local p = minigun.pipeline "long"
      p:producer { 1, 2, 3, 4 }
      p:each({ processes = 2 }, function() spin(60) end)
      p:run { progress = false }
    end]]
    assert(server:wait_for(function() return #server:left() == 4 end))
    server:signal "KILL"
    server:wait()
    assert(server:wait_for(function() return #server:left() == 0 end, 2), "left: " .. #server:left())
  end)

  test("S15: the specs of pipelines pass inside a worker", function()
    support.deadline(support.short_or_long(60, 600))
    local names = support.short_or_long({ "pipeline" }, { "pipeline", "routing", "contexts", "results",
      "order", "reduce", "hooks", "spool", "journal", "dead_letter", "nested", "nested_runs", "background", "threads",
      "crash", "stops", "terminate", "signals", "queue", "batcher", "backpressure" })
    local passed = 0
    for _, name in ipairs(names) do
      local result
      for _ = 1, 2 do -- a test of it may be late on a machine that others use, too
        result = support.run(("exec env -u MINIGUN_HEARTBEAT -u MINIGUN_LONG lua5.4 spec/programs/in_worker.lua " ..
          "spec/%s_spec.lua"):format(name), { timeout = 200, env = support.lua_env() })
        if result.code == 0 then break end
      end
      assert.equal(0, result.code, name .. ": " .. result.stdout:sub(-2000) .. result.stderr:sub(-1000))
      assert.matches("worker of", result.stdout)
      passed = passed + tonumber(result.stdout:match "(%d+) passed")
    end
    assert.is_true(passed >= support.short_or_long(10, 500), passed .. " tests")
  end)

  test("S15: serves beside a pipeline, moved by its step", function(_, add)
    local program = [[
      local minigun = require "minigun"
      local port
      local server = minigun.supervisor { workers = 2, listen = "127.0.0.1:0", log = function() end,
        worker = function(w) w:accept(function(c) c:receive() c:send "beside\n" w:done() end) end }
      local running <close> = assert(server:start())
      while running:status().state == "starting" do running:step(0.1) end
      io.stdout:write("ready 1 1 1 ", running:status().listen[1], "\n")
      io.stdout:flush()
      local sum = 0
      local p = minigun.pipeline "beside"
      p:producer(function(emit)
        for i = 1, 2000 do
          if i % 10 == 0 then running:step() minigun.sleep(0.002) end
          emit(i)
        end
      end)
      p:map({ processes = 2 }, function(x) return x * 2 end)
      p:each(function(x) sum = sum + x end)
      p:run { progress = false }
      print("sum", sum, running:stop())
    ]]
    local server = add(servers.launch("-e " .. support.quote(program)))
    assert(server:wait_for(function() return #server:ready() == 1 end), server:log())
    local client = server:connect()
    client:send "x\n"
    assert.equal("beside", (client:receive()))
    client:close()
    assert.equal(0, (server:wait()), server:log())
    assert.matches("sum\t4002000\t0", server:output())
  end)

  test("S13: leaves no descriptor in the master after restarts, and none of siblings in workers", function(start)
    local server = start "workers = 3, max_restarts = 100"
    local before
    server:wait_for(function() -- its page of figures is opened a little later
      local was = before
      before = fds_of(server.pid)
      support.sleep(1.2)
      return before == was
    end)
    for _ = 1, 3 do
      server:signal("KILL", server:children()[1])
      assert(server:wait_for(function() return #server:children() == 3 end))
    end
    server:signal "HUP"
    assert(server:said "rolling restart done", server:log())
    assert(server:wait_for(function() return #server:children() == 3 end))
    assert(server:wait_for(function() return fds_of(server.pid) == before end),
      ("%d descriptors before, %d after"):format(before, fds_of(server.pid)))
    local counts = {}
    for i, pid in ipairs(server:children()) do counts[i] = fds_of(pid) end
    assert.same({ counts[1], counts[1], counts[1] }, counts)
    assert.equal(0, (server:stop()))
  end)

  test("S13: start and close in the same process leave signals, masks and descriptors as they were", function()
    local minigun = require "minigun"
    local blocked, handler = servers.unruly.blocked(), servers.unruly.handler(15)
    local server = minigun.supervisor { workers = 2, listen = "127.0.0.1:0", log = function() end,
      worker = function(w) w:accept(function() end) end }
    local running = assert(server:start())
    assert.is_truthy(support.wait_until(function()
      running:step(0.05)
      return running:status().state == "serving"
    end))
    assert.equal(0, running:stop())
    assert.same({ blocked, handler }, { servers.unruly.blocked(), servers.unruly.handler(15) })
    assert.has_error(function() running:status() end)
    local again <close> = assert(server:start())
    again:step(0.01)
  end)

  test("S13: a server whose loop has failed leaves no process and no descriptor", function()
    local core, minigun = require "minigun.core", require "minigun"
    local server = minigun.supervisor { workers = 3, listen = "127.0.0.1:0", log = function() end,
      worker = function(w) w:accept(function() end) end }
    collectgarbage() -- what tests before this one have dropped
    local before = fds_of(core.pid())
    local running = assert(server:start())
    assert.is_truthy(support.wait_until(function()
      running:step(0.05)
      return running:status().state == "serving"
    end))
    core.shut(running:fd()) -- as a program does that closes all descriptors which it does not know
    running:close()
    assert.equal(before, fds_of(core.pid()))
    assert.same({}, support.children(core.pid()))
  end)
end)

describe("docs/server.md", function()
  test("has a first server that serves", function(_, add)
    local path = os.tmpname()
    local program = support.read_file "docs/server.md":match "```lua\n(.-)```"
    local port = require("socket").bind("127.0.0.1", 0)
    local _, number = port:getsockname()
    port:close()
    support.write_file(path, (program:gsub("127%.0%.0%.1:8080", "127.0.0.1:" .. number)))
    local server = add(servers.launch(path))
    server.port = tonumber(number)
    assert(server:wait_for(function() return server:get "/" end), server:log())
    assert.matches("^hello from worker %d\n$", server:get "/")
    assert.equal(0, (server:stop()))
    os.remove(path)
  end)

  test("names each option's and signal's table as they are", function()
    local text = support.read_file "docs/server.md"
    for _, name in ipairs(require("minigun.supervisor.master").signals) do
      if name ~= "WINCH" then assert.matches(name, text, 1, true) end
    end
  end)
end)

describe("minigun serve FILE", function()
  test("serves what the table in FILE says; options on the command line win", function(_, add)
    local path, pid_file = os.tmpname(), os.tmpname()
    support.write_file(path, [[
      local page = ...
      io.stdout:setvbuf "no"
      local function say(...) io.stdout:write(table.concat({ ... }, "\t") .. "\n") end -- a line whole
      return { listen = "unix:/nowhere/x", workers = 9, log = say, worker = function(w)
        w:ready()
        say("ready", w.number, 1, 1, w:addresses()[1])
        w:accept(function(c)
          c:receive()
          c:send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n" .. page)
        end)
      end }
    ]])
    local server = add(servers.launch(("%s serve %s --listen 127.0.0.1:0 --workers=2 --pid-file %s page")
      :format(support.command_path(), path, pid_file)))
    assert(server:wait_for(function() return #server:ready() >= 2 end), server:log())
    assert.equal("page", server:get "/")
    assert.equal(2, #server:children())
    assert(server:wait_for(function() return tonumber(support.read_file(pid_file)) == server.pid end))
    assert.equal(0, (server:stop()))
    support.write_file(path, "return { wrokers = 2, worker = print }")
    local result = support.run(support.command() .. " serve " .. path)
    assert.equal(2, result.code)
    assert.matches("supervisor 'server': unknown option 'wrokers' (did you mean 'workers'?)", result.stderr, 1, true)
    support.write_file(path, "return 7")
    assert.matches("returns no table for minigun.supervisor, but a number",
      support.run(support.command() .. " serve " .. path).stderr, 1, true)
    os.remove(path)
    os.remove(pid_file)
  end)

  test("refuses a wrong call", function()
    for _, case in ipairs { { "", "serve: the FILE is missing" }, { "--lisen 1 x", "did you mean '--listen'?" },
      { "x --workers many", "needs a whole number above 0, got 'many'" }, { "x --listen", "needs a value" } } do
      local result = support.run(support.command() .. " serve " .. case[1])
      assert.equal(2, result.code)
      assert.matches(case[2], result.stderr, 1, true)
    end
  end)
end)

-- --- S2 -------------------------------------------------------------------------------------------------------------

-- For each option what shows, in a worker or of it, that it has come there: options as text, and what is asked.
local SEEN <const> = {
  name = { "name = 'shop', worker = function(w) say('called', w.name) web(w) end", "called\tshop" },
  listen = { "listen = { '127.0.0.1:0', 'unix:@minigun-s2' }, worker = function(w) say(#w:addresses()) web(w) end",
    "\n2\n" },
  backlog = { "backlog = 7, worker = function(w) say('backlog', w.options.backlog) web(w) end", "backlog\t7" },
  workers = { "workers = 3, worker = function(w) say('number', w.number) web(w) end", "number\t3" },
  loop = { "loop = 'epoll', worker = function(w) say(w.loop.name) w:accept(print) end", "epoll" },
  worker = { "worker = function(w) say 'mine' web(w) end", "mine" },
  before_fork = { "before_fork = function(n) Number = n end, worker = function(w) say('forked', Number) web(w) end",
    "forked\t1" },
  after_fork = { "after_fork = function(w) say('after', w.number) end", "after\t1" },
  on_ready = { "on_ready = function(w) say('ready', w.number, w.pid, w.generation, 'x:1', w.state) end", "ready$" },
  start_timeout = { "workers = 1, start_timeout = 0.1, max_restarts = 0, worker = function() core.sleep(9) end",
    "was not ready within" },
  stop_timeout = { "workers = 1, stop_timeout = 0.1, worker = function(w) w:ready() core.sleep(9) end",
    "did not finish within", signal = "TERM" },
  heartbeat_timeout = { "workers = 1, heartbeat_timeout = 0.2, worker = function(w) w:ready() spin(9) end",
    "this worker is stuck here" },
  back_off = { "workers = 1, back_off = { first = 0.4, jitter = 0 }, worker = function() os.exit(1) end",
    "started again in 0.40 s" },
  healthy_after = { [[workers = 1, healthy_after = 0.01, back_off = { first = 0.1, jitter = 0 },
    worker = function(w) w:ready() core.sleep(0.1) os.exit(1) end]],
    "started again in 0.10 s.*started again in 0.10 s" },
  max_restarts = { "workers = 1, max_restarts = 1, worker = function() os.exit(1) end", "max_restarts = 1" },
  restart_window = { "workers = 1, max_restarts = 0, restart_window = 3, worker = function() os.exit(1) end",
    "within 3 s" },
  max_requests = { "workers = 1, max_requests = 1, worker = function(w) w:ready() w:done() web(w) end",
    "has answered %d+ request" },
  max_age = { "workers = 1, max_age = 0.1", "s old and is replaced" },
  max_memory = { "workers = 1, max_memory = '1M'", "MiB of memory and is replaced" },
  recycle_jitter = { "workers = 1, max_requests = 100, recycle_jitter = 1, worker = function(w) " ..
    "say('most', w.most_requests <= 100) web(w) end", "most\ttrue" },
  user = { "user = 'nobody', worker = function(w) say(io.popen('id -un'):read()) web(w) end", "nobody", root = true },
  group = { "group = 'nogroup', worker = function(w) say(io.popen('id -gn'):read()) web(w) end", "nogroup",
    root = true },
  pid_file = { "pid_file = os.getenv 'PID_FILE', worker = function(w) w:ready() " ..
    "while not io.open(os.getenv 'PID_FILE') do core.sleep(0.01) end say 'written' web(w) end", "written" },
  log = { "log = function(text) say('log: ' .. text) end, workers = 1, max_restarts = 0, " ..
    "worker = function() os.exit(1) end", "log: giving up" },
  on_exit = { "workers = 1, max_restarts = 0, on_exit = function(w, cause) say('exit', cause.code) end, " ..
    "worker = function() os.exit(5) end", "exit\t5" },
  on_giving_up = { "workers = 1, max_restarts = 0, on_giving_up = function() say 'gave up' end, " ..
    "worker = function() os.exit(1) end", "gave up" },
  reopen = { "workers = 1, reopen = function(w) say('reopen', w and w.number) end", "reopen\t1", signal = "USR1" },
}

describe("S2: the option", function()
  local names = {}
  for _, field in ipairs(require("minigun.supervisor.options").schemas.supervisor) do names[#names + 1] = field.name end
  it("of each row of the schema has a test here", function()
    local seen = {}
    for name in pairs(SEEN) do seen[#seen + 1] = name end
    table.sort(seen)
    local all = { table.unpack(names) }
    table.sort(all)
    assert.same(all, seen)
  end)

  for _, name in ipairs(names) do
    test(("'%s' has its effect in a worker"):format(name), function(start)
      local case = SEEN[name]
      if case.root and not is_root() then return pending "only root can become another user" end
      local pid_file = os.tmpname()
      os.remove(pid_file)
      local server = start(case[1], 0, { env = { PID_FILE = pid_file } })
      if case.signal then
        assert(server:wait_for(function() return #server:ready() >= 1 end), server:log())
        server:signal(case.signal)
      end
      local pattern = case[2]:gsub("%$$", "")
      assert(server:wait_for(function() return (server:output() .. "\n" .. server:log()):find(pattern) end),
        server:output() .. server:log())
      server:signal "QUIT"
      server:wait()
      os.remove(pid_file)
    end)
  end
end)
