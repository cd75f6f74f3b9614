-- What those who write their first server do wrong, and what they are told.
local servers = require "spec.servers"
local support = require "spec.support"

local function test(title, f)
  it(title, function()
    local path = os.tmpname()
    local _ <close> = setmetatable({}, { __close = function() os.remove(path) end })
    servers.in_test(pending, finally, function(start, add)
      f(start, path, function(command) return add(servers.launch(command)) end)
    end)
  end)
end

local LOOPS <const> = { "none", "epoll", "select", "copas", "cqueues", "luv", "event" }

local function is_missing(loop) return require("minigun.supervisor.kinds").missing(loop) end

describe("a server without an address", function()
  for _, loop in ipairs(LOOPS) do
    test(("gives up at once, with the line of w:accept, loop %s"):format(loop), function(_, path, launch)
      if is_missing(loop) then return pending(loop .. " is not installed") end
      support.write_file(path, ("return { name = 'hello', loop = %s, worker = function(w)\n  w:accept(print)\nend }")
        :format(loop == "none" and "nil" or ("%q"):format(loop)))
      local server = launch(support.command_path() .. " serve " .. path)
      assert.equal(1, (server:wait()))
      assert.matches(path .. ":2: worker:accept: the server 'hello' listens nowhere: say listen = ", server:log(), 1,
        true)
      assert.matches("giving up: worker %d+ %(pid %d+%) says that it cannot be configured", server:log())
    end)
  end

  test("says so of w:socket, too, and serves what needs none", function(_, path, launch)
    support.write_file(path, [[
      return { workers = 1, worker = function(w)
        print(select(2, pcall(w.socket, w)))
        io.stdout:flush()
        w:ready()
        while not w:stopping() do require "minigun.core".sleep(0.01) end
      end }
    ]])
    local server = launch(support.command_path() .. " serve " .. path)
    assert(server:said "minigun: server: 1 worker\n", server:log())
    assert.matches("worker:socket: the server 'server' listens nowhere", server:output())
    assert.equal(0, (server:stop()))
  end)
end)

describe("a server that serves", function()
  test("says once how many workers are where", function(start)
    local server = start "name = 'hello', workers = 2, listen = { '127.0.0.1:0', 'unix:@minigun-says' }"
    local line = ("minigun: hello: 2 workers at 127.0.0.1:%d, unix:@minigun-says\n"):format(server.port)
    assert(server:wait_for(function() return server:log():find(line, 1, true) end), server:log())
    server:signal("KILL", server:ready()[1].pid)
    assert(server:wait_for(function() return #server:ready() == 3 end))
    local _, log = server:stop()
    local _, times = log:gsub("workers at", "")
    assert.equal(1, times, log)
  end)

  test("says it to the function log, where there is one", function(start)
    local server = start "workers = 1, log = function(text) say('log: ' .. text) end"
    assert(server:wait_for(function() return server:output():find("log: 1 worker at 127.0.0.1:", 1, true) end))
    assert.equal("", server:log())
    server:stop()
  end)
end)

describe("a dot for a colon", function()
  local methods = { "ready", "done", "beat", "stopping", "on_stop", "socket", "addresses", "accept", "close" }

  test("on a worker names the caller's line and the call", function(_, path, launch)
    support.write_file(path, ([[
      local names = { "%s" }
      return { workers = 1, listen = "127.0.0.1:0", worker = function(w)
        for _, name in ipairs(names) do
          for _, first in ipairs { print, w.line, false } do
            local _, message = pcall(function()
              w[name](first or nil)
            end)
            print(message)
          end
        end
        print "over"
        io.stdout:flush()
        os.exit(78)
      end }
    ]]):format(table.concat(methods, '", "')))
    local server = launch(support.command_path() .. " serve " .. path)
    server:wait()
    assert.matches("over", server:output(), server:log())
    for _, name in ipairs(methods) do
      local _, times = server:output():gsub((path .. ":6: call %s with a colon, on a worker: w:%s("):format(name, name)
        :gsub("%p", "%%%0"), "")
      assert.equal(3, times, server:output())
    end
    local public = {}
    for name in support.read_file "lua/minigun/supervisor/worker.lua":gmatch "\nfunction Worker:([%w_]+)" do
      public[#public + 1] = name
    end
    table.sort(public)
    table.sort(methods)
    assert.same(public, methods)
  end)

  test("on a connection, too", function(start)
    local server = start [[workers = 1, worker = function(w)
      w:accept(function(c)
        local _, message = pcall(function() c.receive "*l" end)
        say(message)
        c.send(c)
      end)
    end]]
    server:get "/"
    assert(server:wait_for(function()
      return server:output():find(":3: call receive with a colon, on a connection: connection:receive(...)", 1, true)
    end), server:output())
    server:stop()
  end)

  it("on a server", function()
    if servers.missing then return pending(servers.missing) end
    local made = require("minigun").supervisor { listen = "127.0.0.1:0", workers = 1, log = function() end,
      worker = function(w) w:accept(print) end }
    local running <close> = assert(made:start())
    local function refused(object, name)
      local _, message = pcall(function() object[name]() end)
      assert.matches(("spec.lua:%%d+: call %s with a colon, on a server: server:%s"):format(name, name), message)
    end
    for _, name in ipairs { "run", "start", "status", "signal" } do refused(made, name) end
    for _, name in ipairs { "step", "fd", "stop", "close", "status", "signal" } do refused(running, name) end
  end)
end)

describe("connection:close() in the place of w:close(connection)", function()
  local callbacks = { epoll = true, event = true, select = true, luv = true } -- elsewhere f's return ends a connection
  for _, loop in ipairs(LOOPS) do
    if callbacks[loop] then
      test(("counts as closed, loop %s"):format(loop), function(start)
        if is_missing(loop) then return pending(loop .. " is not installed") end
        local server = start(([[workers = 1, loop = %q, stop_timeout = 5, heartbeat_timeout = 0.4,
          worker = function(w) w:accept(function(c) c:close() end) end, on_ready = function(it)
            say("ready", it.number, it.pid, it.generation, current():status().listen[1])
            current().master.loop:every(0.05, function()
              local now = current():status().workers[1]
              if now then say("in hand", now.accepted, now.in_hand) end
            end)
          end]]):format(loop))
        for _ = 1, 3 do server:get "/" end
        assert(server:wait_for(function() return server:output():find "in hand\t3\t0\n" end), server:output())
        assert.equal(0, (server:stop()), server:log())
      end)

      test(("while the worker ends, too, loop %s"):format(loop), function(start)
        if is_missing(loop) then return pending(loop .. " is not installed") end
        local server = start(([[workers = 1, loop = %q, stop_timeout = 20, worker = function(w)
          w:accept(function(c) w:on_stop(function() w.loop:after(0.2, function() c:close() end) end) say "taken" end)
        end]]):format(loop))
        local client = server:connect()
        assert(server:wait_for(function() return server:output():find "taken" end), server:log())
        assert.equal(0, (server:stop()), server:log())
        assert.equal("closed", select(2, client:receive()))
        client:close()
      end)
    end
  end
end)

describe("the command minigun", function()
  local OPTIONS <const> = "name = 'mine', workers = 3, listen = 'unix:/nowhere/x', " ..
    "worker = function(w) w:accept(print) end"
  local forms = {
    ["a table"] = "return { %s }", ["a supervisor"] = "return require 'minigun'.supervisor { %s }",
    ["a file that calls run"] = "os.exit(require 'minigun'.supervisor { %s }:run())",
    ["a file that calls run and returns nothing"] = "require 'minigun'.supervisor { %s }:run()",
    ["a file that calls run and returns the supervisor"] =
      "local s = require 'minigun'.supervisor { %s } s:run() return s",
  }
  for name, form in pairs(forms) do
    test("serve serves, with its options over those of the file, " .. name, function(_, path, launch)
      local pid_file = path .. ".pid"
      support.write_file(path, form:format(OPTIONS))
      local server = launch(("%s serve %s --listen 127.0.0.1:0 --workers 1 --pid-file %s"):format(
        support.command_path(), path, pid_file))
      assert(server:said "minigun: mine: 1 worker at 127%.0%.0%.1:%d+\n", server:log())
      assert.equal(server.pid, tonumber(support.read_file(pid_file)))
      assert.equal(0, (server:stop()))
      assert.same({ "", 1 }, { server:output(), select(2, server:log():gsub("ended, status 0", "")) })
    end)

    if name ~= "a table" then
      test("run serves once, prints nothing and ends with the status, " .. name, function(_, path, launch)
        support.write_file(path, form:format(OPTIONS:gsub("unix:/nowhere/x", "127.0.0.1:0")))
        local server = launch(support.command_path() .. " run " .. path)
        assert(server:said "minigun: mine: 3 workers at ", server:log())
        assert.equal(0, (server:stop()))
        assert.same({ "", 1 }, { server:output(), select(2, server:log():gsub("ended, status 0", "")) })
        support.write_file(path, form:format(OPTIONS))
        local result = support.run(support.command() .. " run " .. path)
        assert.same({ 1, "" }, { result.code, result.stdout })
        assert.matches("^minigun: mine: cannot listen at unix:/nowhere/x[^\n]*\n$", result.stderr)
      end)
    end
  end

  test("serve lets its options hold for the servers of its own process only", function(_, path, launch)
    support.write_file(path, [[
      local minigun = require "minigun"
      return { workers = 1, worker = function(w)
        local inner = minigun.supervisor { listen = "unix:@minigun-inner-" .. require "minigun.core".pid(), workers = 1,
          log = function() end, worker = function(v) v:accept(print) end }
        local running <close> = assert(inner:start())
        print("inner", running:status().listen[1])
        io.stdout:flush()
        w:accept(print)
      end }
    ]])
    local server = launch(support.command_path() .. " serve " .. path .. " --listen 127.0.0.1:0")
    assert(server:wait_for(function() return server:output():find("inner\tunix:@minigun-inner", 1, true) end),
      server:log())
    assert.equal(0, (server:stop()))
  end)

  test("says which command a file is for", function(_, path)
    local pipeline = "local p = require 'minigun'.pipeline() p:producer('a', function(emit) emit(1) end) " ..
      "p:consumer('b', function() end) "
    for _, case in ipairs {
      { "serve", pipeline .. "return p", "returns a pipeline: use minigun run " .. path },
      { "serve", pipeline .. "return p:run()", "no table for minigun.supervisor, but a minigun.result" },
      { "serve", "return nil", "no table for minigun.supervisor, but a nil" },
      { "serve", "return {}", "option 'worker' is missing" },
      { "run", "return { worker = print }", "returns the table of a server: use minigun serve " .. path },
    } do
      support.write_file(path, case[2])
      local result = support.run(("%s %s %s"):format(support.command(), case[1], path))
      assert.equal(2, result.code, result.stderr)
      assert.matches(case[3], result.stderr, 1, true)
    end
    support.write_file(path, "return { worker = print }")
    for _, option in ipairs { "--workers 0", "--listen nowhere" } do
      local result = support.run(("%s serve %s %s"):format(support.command(), path, option))
      assert.equal(2, result.code)
      assert.matches("^minigun: serve: option [^\n]+, got [^\n]*'minigun help serve' shows the usage\n$",
        result.stderr)
    end
  end)
end)

describe("a watch that reads one line each time", function()
  for _, loop in ipairs { "epoll", "event", "select" } do
    test(("gets all lines of a packet, loop %s"):format(loop), function(start)
      if is_missing(loop) then return pending(loop .. " is not installed") end
      local server = start(([[workers = 1, loop = %q, worker = function(w)
        w:accept(function(c)
          local watch
          watch = assert(w.loop:watch_io(c, "r", function()
            local line, reason = c:receive "*l"
            if line == "" then answer(c, "hello") end
            if line == "" or not line and reason ~= "timeout" then
              watch:stop()
              w:close(c)
            end
          end))
        end)
      end]]):format(loop))
      for _ = 1, 3 do assert.equal("hello", server:get "/") end
      assert.equal(0, (server:stop()), server:log())
    end)
  end
end)
