-- Servers that fork, as processes: the rules S1 to S15 of docs/server.md, each in tests that name it.
local servers = require "spec.servers"
local support = require "spec.support"

local function test(title, f) it(title, function() servers.in_test(pending, finally, f) end) end

describe("a server", function()
  test("serves, and ends without a trace", function(start)
    local server = start()
    assert.equal("hello", server:get "/")
    assert.matches("404", select(2, server:get "/nothing"))
    local code, log = server:stop()
    assert.equal(0, code, log)
    assert.matches("ended, status 0", log)
  end)

  for _, loop in ipairs { "none", "epoll", "select", "copas", "cqueues", "luv", "event" } do
    test(("counts the connections in hand of a worker, loop %s"):format(loop), function(_, add)
      if servers.missing_loop(loop) then return pending(servers.missing_loop(loop)) end
      local server = add(servers.launch("-e " .. support.quote(([[
        local minigun = require "minigun"
        local server = minigun.supervisor { workers = 1, listen = "127.0.0.1:0", loop = %s, worker = function(w)
          w:accept(function(c)
            if w.loop then w:close(c) end
            w:done()
          end)
        end }
        local running <close> = assert(server:start())
        while running:status().state == "starting" do running:step(0.1) end
        io.stdout:write("ready 1 1 1 ", running:status().listen[1], "\n")
        io.stdout:flush()
        local last
        while true do
          running:step(0.01)
          local w = running:status().workers[1]
          local now = ("requests %%d, in hand %%d\n"):format(w.requests, w.in_hand)
          if now ~= last then io.stdout:write(now):flush() end
          last = now
        end
      ]]):format(loop == "none" and "nil" or ("%q"):format(loop)))))
      assert(server:wait_for(function() return #server:ready() == 1 end), server:log())
      for i = 1, 3 do
        local client = server:connect()
        local counted = ("requests %d, in hand 0"):format(i)
        assert(server:wait_for(function() return server:output():find(counted, 1, true) end),
          server:output() .. server:log())
        client:close()
      end
      assert.is_nil(server:output():match "in hand [^01][^\n]*", server:output())
      server:signal "KILL"
    end)
  end

  test("S1: is sent TERM at random moments of its start: no process is left", function(_, add)
    support.deadline(support.short_or_long(60, 300))
    local seed = os.time()
    math.randomseed(seed)
    local batch, rounds = support.short_or_long(6, 10), support.short_or_long(2, 20)
    for round = 1, rounds do
      local list = {}
      for i = 1, batch do list[i] = add(servers.start("workers = 8", 0)) end
      local order, begin = {}, support.now()
      for i = 1, batch do order[i] = { at = begin + math.random() * 0.05 * (1 + round % 3), server = list[i] } end
      table.sort(order, function(a, b) return a.at < b.at end)
      for _, each in ipairs(order) do
        support.sleep(math.max(0, each.at - support.now()))
        each.server:signal "TERM"
      end
      for _, server in ipairs(list) do
        local code, signal = server:wait()
        assert.is_true(code == 0 or signal == 15, ("SEED=%d: %s %s\n%s"):format(seed, code, signal, server:log()))
        assert(server:wait_for(function() return #server:left() == 0 end, 2), ("SEED=%d: left"):format(seed))
      end
    end
  end)

  test("S3: replaces a worker under its number", function(start)
    local server = start()
    local first = server:ready()[2]
    server:signal("KILL", first.pid)
    assert(server:wait_for(function() return #server:ready() == 3 end), server:log())
    assert.equal(first.number, server:ready()[3].number)
    assert.matches("was killed by signal 9 %(SIGKILL%); started again in 0%.0", server:log())
    assert.equal("hello", server:get "/")
    assert.equal(0, (server:stop()))
  end)

  test("S3: forks what crashes while it starts at most 8 times in 5 s", function(start)
    support.deadline(60)
    local server = start("workers = 1, before_fork = function() say 'fork' end, worker = function() os.exit(3) end", 0)
    support.sleep(support.short_or_long(1.2, 5))
    local _, forks = server:output():gsub("fork", "")
    assert.is_true(forks >= (support.under and 2 or 4) and forks <= 8, forks .. " forks")
    local code = server:stop()
    assert.equal(0, code, server:log())
  end)

  test("S3: kills what is not ready in time", function(start)
    local server = start([[workers = 1, start_timeout = 0.2, max_restarts = 1,
      worker = function() core.sleep(60) end]], 0)
    assert.equal(1, (server:wait()))
    assert.matches("was not ready within start_timeout = 0.2 s", server:log())
  end)

  test("S4: gives up where workers become ready and die at once, with their last words", function(start)
    local server = start([[workers = 2, max_restarts = 3, on_giving_up = function(text) say("gave up", text) end,
      worker = function(w)
        w:ready()
        io.stderr:write "no database\n"
        os.exit(9)
      end]], 0)
    assert.equal(1, (server:wait()))
    assert.matches("gave up\t4 workers died within 60 s, more than max_restarts = 3", server:output())
    assert.matches("ended with exit code 9", server:log())
    assert.matches("it wrote last:\n    no database", server:log())
    assert.equal(0, #server:left())
  end)

  test("S4: ends at once where a worker leaves with 78, and drains the others first", function(start)
    local server = start [[workers = 2, worker = function(w)
      if w.number == 2 then
        w:ready()
        core.sleep(0.5)
        os.exit(78)
      end
      web(w)
    end]]
    local client = server:connect()
    client:send "GET /slow HTTP/1.1\r\n\r\n"
    assert.equal(1, (server:wait()))
    assert.matches("says that it cannot be configured", server:log())
    assert.matches("slow", client:receive "*a", nil, true)
    client:close()
  end)

  test("S4: an error in the worker's function is told with its line", function(start)
    local server = start("max_restarts = 0, worker = function(w) local x = nil; x() end", 0)
    assert.equal(1, (server:wait()))
    assert.matches("attempt to call a nil value", server:log())
    for _, call in ipairs { "w:accept(42)", "w:on_stop(nil)", "w:accept 'web'" } do
      server = start(("max_restarts = 0, worker = function(w) %s end"):format(call), 0)
      assert.equal(1, (server:wait()))
      assert.matches("options:1: worker:[%a_]+: a function expected, got ", server:log())
    end
  end)

  test("S5: TERM and INT finish what is in hand, and what has connected already", function(start)
    for _, name in ipairs { "TERM", "INT" } do
      local server = start "workers = 1"
      local clients = {}
      for i = 1, 3 do
        clients[i] = server:connect()
        clients[i]:send "GET /short HTTP/1.1\r\n\r\n"
      end
      support.sleep(0.1)
      server:signal(name)
      for i = 1, 3 do
        assert.matches("short", clients[i]:receive "*a", nil, true)
        clients[i]:close()
      end
      assert.equal(0, (server:wait()))
      assert.is_nil(server:get "/")
    end
  end)

  test("S5: kills after stop_timeout, status 124", function(start)
    local server = start "workers = 1, stop_timeout = 0.3"
    local client = server:connect()
    client:send "GET /wait HTTP/1.1\r\n\r\n"
    support.sleep(0.1)
    assert.equal(124, (server:stop()))
    client:close()
  end)

  test("S5: ends at once at a second TERM, and at QUIT", function(start)
    for name, status in pairs { TERM = 143, QUIT = 131 } do
      local server = start "workers = 1"
      local client = server:connect()
      client:send "GET /wait HTTP/1.1\r\n\r\n"
      support.sleep(0.1)
      if name == "TERM" then
        server:signal "TERM"
        support.sleep(0.4)
      end
      assert.equal(status, (server:stop(name)))
      client:close()
    end
  end)

  test("S6: HUP replaces all workers, each new one ready before the old one goes", function(start)
    local server = start "workers = 3, before_fork = function() end"
    assert(server:wait_for(function() return #server:ready() == 3 end))
    server:signal "HUP"
    assert(server:said "rolling restart done", server:log())
    assert(server:wait_for(function() return #server:children() == 3 end))
    assert.equal(6, #server:ready())
    for i = 4, 6 do assert.equal(2, server:ready()[i].generation) end
    assert.matches(" 2$", server:get "/number")
    assert.equal(0, (server:stop()))
  end)

  test("S5: a worker with a library's own accept ends after it, and is ready when it says so", function(start)
    if not pcall(require, "cqueues") then return pending "lua-cqueues is not installed" end
    local server = start [[workers = 2, loop = "cqueues", worker = function(w)
      local listening = w:socket(1)
      listening:onerror(function(_, _, code) return code end)
      w.native:wrap(function()
        require("cqueues").sleep(0.1)
        w:ready()
        while not w:stopping() do
          local c = listening:accept(nil, 0.02)
          if c then w.native:wrap(function()
            c:read "*l"
            c:write "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
            require("cqueues").sleep(0.2)
            c:write "hello"
            c:flush()
            c:close()
          end) end
        end
      end)
      w:on_stop(function() say("stops", w.number) end)
    end]]
    assert.equal("hello", server:get "/")
    local client = server:connect()
    client:send "GET / HTTP/1.1\r\n\r\n"
    support.sleep(0.05)
    server:signal "TERM"
    local answer = client:receive "*a"
    assert.equal(0, (server:stop()))
    assert.matches("hello", answer, nil, true, server:log())
    assert.matches("stops", server:output())
    client:close()
  end)

  test("S6: where the new one does not become ready the old ones stay", function(start)
    local server = start "worker = function(w) if w.generation == 2 then error 'a broken deploy' end web(w) end"
    local old = server:children()
    server:signal "HUP"
    assert(server:said "the rolling restart is given up", server:log())
    assert(server:said "a broken deploy", server:log())
    assert.same(old, server:children())
    assert.equal("hello", server:get "/")
    server:signal "HUP"
    assert(server:said "rolling restart done", server:log())
    assert.equal(0, (server:stop()))
  end)

  test("S8: TTIN and TTOU add and take away workers; the last one stays", function(start)
    local server = start()
    server:signal "TTIN"
    assert(server:wait_for(function() return #server:ready() == 3 end))
    assert.equal(3, server:ready()[3].number)
    for _ = 1, 4 do
      server:signal "TTOU"
      support.sleep(0.02)
    end
    assert(server:wait_for(function() return #server:children() == 1 end), server:log())
    assert.equal("hello", server:get "/")
    assert.equal(0, (server:stop()))
  end)

  test("S8: USR1 opens log files anew, in master and workers", function(start)
    local server = start "reopen = function(w) say('reopen', w and w.number or 'master') end"
    server:signal "USR1"
    assert(server:wait_for(function() return select(2, server:output():gsub("reopen", "")) == 3 end), server:output())
    assert.equal("hello", server:get "/")
    assert.equal(0, (server:stop()))
  end)

  test("S9: a stuck worker's traceback is written, then it is killed and replaced", function(start)
    local server = start "heartbeat_timeout = 0.4"
    local client = server:connect()
    client:send "GET /stuck HTTP/1.1\r\n\r\n"
    assert(server:said("this worker is stuck here", 5), server:log())
    assert(server:wait_for(function() return #server:ready() == 3 end), server:log())
    assert.matches("has not beaten for 0.4 s, at 'GET /stuck': it is stuck", server:log())
    assert(server:said "serve.lua:%d+: in", server:log())
    client:close()
    assert.equal(0, (server:stop()))
  end)

  test("S9: the traceback is that of the coroutine that is stuck, of many", function(start)
    if not pcall(require, "cqueues") then return pending "lua-cqueues is not installed" end
    local server = start [[workers = 1, loop = "cqueues", heartbeat_timeout = 0.4, worker = function(w)
      w:accept(function(c)
        local line = c:read "*l"
        w:beat(line)
        if line == "wait" then c:read "*l" else spin(60) end
      end)
    end]]
    local clients = {}
    for i, line in ipairs { "wait", "wait", "stick", "wait" } do
      clients[i] = server:connect()
      if line == "wait" then clients[i]:send "wait\n" end
    end
    support.sleep(0.1)
    clients[3]:send "stick\n"
    assert(server:said "this worker is stuck here.-serve.lua:%d+: in.-options:5: in", server:log())
    assert(server:wait_for(function() return #server:ready() == 2 end), server:log())
    for i = 1, 4 do clients[i]:close() end
    assert.equal(0, (server:stop()))
  end)

  test("S9: one that beats, or waits for its client, is left alone", function(start)
    local server = start "workers = 2, heartbeat_timeout = 0.4"
    local idle = server:connect()
    assert.equal("busy", server:get "/busy")
    assert.equal(2, #server:ready(), server:log())
    idle:close()
    assert.equal(0, (server:stop()))
  end)

  test("S9: a stop of the master, or of all processes, kills no worker", function(start)
    local server = start "heartbeat_timeout = 0.3, start_timeout = 0.5"
    local function stop_for(pids)
      for _, pid in ipairs(pids) do server:signal("STOP", pid) end
      support.sleep(1)
      for i = #pids, 1, -1 do server:signal("CONT", pids[i]) end
      support.sleep(0.3)
    end
    stop_for { server.pid }
    local all = server:children()
    table.insert(all, 1, server.pid)
    stop_for(all)
    assert.equal("hello", server:get "/")
    assert.equal(2, #server:ready(), server:log())
    assert.equal(0, (server:stop()))
  end)

  test("S10: max_requests replaces workers one at a time", function(start)
    local server = start "max_requests = 5, recycle_jitter = 0"
    for _ = 1, 30 do assert.equal("hello", server:get "/") end
    assert(server:wait_for(function() return #server:ready() >= 3 end), server:log())
    assert.matches("has answered %d+ requests and is replaced", server:log())
    assert.equal(0, (server:stop()))
  end)

  test("S10: max_memory and max_age", function(start)
    local server = start "workers = 1, max_memory = '40M'"
    assert.equal("grown", server:get "/grow")
    assert(server:said "MiB of memory and is replaced", server:log())
    assert.equal(0, (server:stop()))
    server = start "workers = 1, max_age = 0.3"
    assert(server:wait_for(function() return #server:ready() >= 3 end), server:log())
    assert.equal(0, (server:stop()))
  end)

  test("S11: the master's kill -9 ends all workers within a second, and the port is free", function(start)
    local server = start "workers = 4"
    local client = server:connect()
    client:send "GET /stuck HTTP/1.1\r\n\r\n"
    support.sleep(0.05)
    server:signal "KILL"
    server:wait()
    assert(server:wait_for(function() return #server:left() == 0 end, 1), "workers are left")
    assert.is_nil(server:get "/")
    local again = start(("listen = '127.0.0.1:%d'"):format(server.port))
    assert.equal("hello", again:get "/")
    assert.equal(0, (again:stop()))
    client:close()
  end)

  test("S13: the socket file of another live server is left alone, a dead one's is replaced", function(start)
    local path = os.tmpname()
    os.remove(path)
    local first = start(("listen = { '127.0.0.1:0', 'unix:%s' }"):format(path))
    local second = start(("listen = 'unix:%s'"):format(path), 0)
    assert.equal(1, (second:wait()))
    assert.matches("cannot listen at unix:.*: Address already in use", second:log())
    first:signal "KILL"
    first:wait()
    assert(first:wait_for(function() return #first:left() == 0 end, 1))
    assert(first:wait_for(function() return not support.read_file("/proc/net/unix"):find(path, 1, true) end, 1))
    local third = start(("listen = 'unix:%s'"):format(path), 2)
    assert.equal(0, (third:stop()))
    assert.is_nil(require("lfs").attributes(path), "the socket's file is left")
    support.write_file(path, "a file")
    local fourth = start(("listen = 'unix:%s'"):format(path), 0)
    assert.equal(1, (fourth:wait()))
    assert.equal("a file", support.read_file(path))
    os.remove(path)
  end)

  test("S13: a port that is taken is told of, status 1", function(start)
    local server = start()
    local other = start(("listen = '127.0.0.1:%d'"):format(server.port), 0)
    assert.equal(1, (other:wait()))
    assert.matches("minigun: server: cannot listen at 127.0.0.1:%d+: Address already in use; [^\n]*\n", other:log())
    assert.equal(0, (server:stop()))
  end)

  test("a handler's error closes its connection, is written, and ends nothing else", function(start)
    local server = start "workers = 1"
    assert.is_nil((server:get "/error"))
    assert.equal("hello", server:get "/")
    assert(server:said "worker 1 %(pid %d+%): .*an error of the handler", server:log())
    assert.equal(1, #server:ready())
    assert.equal(0, (server:stop()))
  end)
end)
