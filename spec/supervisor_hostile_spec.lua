-- Servers and what means no good: clients in thousands (spec/programs/hostile.lua), and limits that are reached.
local servers = require "spec.servers"
local support = require "spec.support"

local function test(title, f) it(title, function() servers.in_test(pending, finally, f) end) end

local ALL_ALLOWED <const> = "sh -c 'ulimit -n $(ulimit -Hn); exec \"$@\"' sh" -- as many descriptors as may be
local ANSWER <const> = [["HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"]]

-- Workers that have no time-out of their own for a client: what it may hold for ever.
local WORKERS <const> = {
  epoll = "keep_alive", event = "keep_alive", select = "keep_alive",
  cqueues = ([[function(w) w:accept(function(c)
    c:onerror(function(_, _, code) return code end)
    for line in c:lines "*L" do
      if line == "\r\n" then c:write(%s) c:flush() return w:done() end
    end
  end) end]]):format(ANSWER),
  copas = ([[function(w) w:accept(function(c)
    local copas = require "copas"
    repeat
      local line = copas.receive(c, "*l")
      if line == "" then copas.send(c, %s) return w:done() end
    until not line
  end) end]]):format(ANSWER),
  luv = ([[function(w) w:accept(function(c)
    local head = ""
    c:read_start(function(err, bytes)
      if err or not bytes then return w:close(c) end
      head = (head .. bytes):sub(-4)
      if head == "\r\n\r\n" then c:write(%s, function() w:close(c) end) w:done() end
    end)
  end) end]]):format(ANSWER),
}

-- Clients in processes of their own. Returns a function that says whether all their connections are there at once.
local function begin_clients(add, server, processes, each)
  local list = {}
  for i = 1, processes do
    list[i] = add(servers.launch(("spec/programs/hostile.lua %d %d"):format(server.port, each)))
  end
  return function()
    for _, client in ipairs(list) do
      if client:output() == "" then return false end
    end
    return true
  end
end

describe("a server of which thousands of clients want half a request, a byte a second, nothing, to be gone:", function()
  for _, loop in ipairs { "none", "epoll", "select", "copas", "cqueues", "luv", "event" } do
    test(("loop %s: no worker dies, others are served, and a drain ends"):format(loop), function(start, add)
      if servers.missing_loop(loop) then return pending(servers.missing_loop(loop)) end
      support.deadline(support.short_or_long(60, 120))
      local held = loop ~= "none" -- a worker without a loop has one at a time
      local processes, each = support.short_or_long(1, 10), support.short_or_long(200, 1000)
      local server = start(("workers = 2, stop_timeout = 1, heartbeat_timeout = 1, max_restarts = 0, %s"):format(
        held and ("loop = %q, worker = %s"):format(loop, WORKERS[loop]) or ""), nil, { prefix = ALL_ALLOWED })
      local workers = server:children()
      local all_there = begin_clients(add, server, processes, each)
      -- The kernel keeps thousands for a while where the workers cannot: those of select have a thousand each.
      local many = processes * each
      local room = held and (many < 1000 or loop ~= "select" and loop ~= "copas")
      if room then assert(server:wait_for(all_there, 30), server:log()) end
      support.sleep(1.5)
      if room then assert.equal("hello", server:get "/", server:log()) end
      assert.same(workers, server:children(), server:log())
      local began = support.now()
      local code, log = server:stop()
      assert.equal(124, code, log) -- half requests were never finished
      assert.is_true(support.now() - began < 5 * support.patience)
      assert.is_nil(log:find "is stuck", log)
    end)
  end
end)

describe("a server", function()
  test("goes on where a worker is out of descriptors", function(_, add)
    local server = add(servers.launch("spec/programs/serve.lua " .. support.quote
      "workers = 1, loop = 'epoll', worker = keep_alive", { prefix = "sh -c 'ulimit -n 64; exec \"$@\"' sh" }))
    assert(server:wait_for(function() return #server:ready() == 1 end), server:log())
    local clients = {}
    for i = 1, 100 do clients[i] = server:connect() end
    assert(server:said("cannot accept a connection: Too many open files", 10), server:log())
    for i = 1, 100 do clients[i]:close() end
    assert.equal("hello", server:get "/")
    assert.equal(1, #server:ready(), server:log())
    assert.equal(0, (server:stop()))
  end)

  test("S8: USR1 for a worker that never looks does not stop the master", function()
    local minigun = require "minigun"
    local server = minigun.supervisor { workers = 1, log = function() end, stop_timeout = 0.05,
      worker = function(w)
        w:ready()
        require("minigun.core").sleep(60)
      end }
    local running <close> = assert(server:start())
    assert.is_truthy(support.wait_until(function()
      running:step(0.05)
      return running:status().state == "serving"
    end))
    support.deadline(20)
    for _ = 1, 70000 do running:signal "USR1" end -- more than a pipe holds
    assert.equal("serving", running:status().state)
    assert.equal(124, running:stop())
  end)
end)
