-- Servers under load: rolling restarts, kills and scaling while wrk asks, and each example of examples/servers. What
-- needs wrk is left out without it.
local servers = require "spec.servers"
local support = require "spec.support"

local wrk = support.has "wrk"

-- Begins to ask a server for a page, with `connections` at once, for so many seconds. What it returns waits for the
-- end, or ends it `now`, and gives the counts of wrk. Its table of descriptors is 10 + 3 * connections long: it gets
-- none of this process.
local function ask(server, page, connections, seconds)
  local path = os.tmpname()
  local pid = servers.unruly.launch(("exec wrk -t 1 -c %d -d %d --timeout 20 http://127.0.0.1:%d%s >%s 2>&1"):format(
    connections, seconds, server.port, page, path), true)
  return function(now)
    if now then servers.unruly.kill(pid, 2) end
    servers.unruly.wait(pid)
    local text = support.read_file(path)
    os.remove(path)
    local counts = { text = text, requests = tonumber(text:match "(%d+) requests in"), failed = 0,
      other = tonumber(text:match "Non%-2xx or 3xx responses: (%d+)") or 0 }
    for n in (text:match "Socket errors:[^\n]*" or ""):gmatch "%d+" do counts.failed = counts.failed + tonumber(n) end
    return counts
  end
end

local function killed_in_hand(server)
  local sum = 0
  for n in server:output():gmatch "died%s+9%s+(%d+)" do sum = sum + tonumber(n) end
  return sum
end

local KINDS <const> = {
  { "without a loop", "worker = web" }, { "over an event loop", "loop = 'epoll', worker = keep_alive" },
}

describe("a server under load", function()
  for _, kind in ipairs(KINDS) do
    it(kind[1] .. ", S6: fails no request in rolling restarts and scaling; S12: a kill fails only what was in the " ..
      "killed worker's hands", function()
      if servers.missing or not wrk then return pending(servers.missing or "wrk is not installed") end
      support.deadline(support.short_or_long(60, 200))
      local seed = tonumber(os.getenv "SEED") or os.time()
      math.randomseed(seed)
      local server = servers.start([[workers = 4, max_restarts = 1000, max_requests = 150,
        on_exit = function(w, cause) say("died", cause.signal, w.in_hand) end, ]] .. kind[2])
      finally(function() server:close() end)
      local seconds = support.short_or_long(2, 30)
      local finish, began = ask(server, "/nap", support.short_or_long(6, 16), seconds), support.now()
      local acts = {}
      local restarts, kills, scalings = support.short_or_long(4, 10), support.short_or_long(6, 20),
        support.short_or_long(3, 5)
      for _ = 1, restarts do acts[#acts + 1] = function() server:signal "HUP" end end
      for i = 1, scalings do acts[#acts + 1] = function() server:signal(i % 2 == 1 and "TTIN" or "TTOU") end end
      for _ = 1, kills do
        acts[#acts + 1] = function()
          local children = server:children()
          if #children > 0 then server:signal("KILL", children[math.random(#children)]) end
        end
      end
      for i = #acts, 2, -1 do
        local k = math.random(i)
        acts[i], acts[k] = acts[k], acts[i]
      end
      for i, act in ipairs(acts) do
        support.sleep(math.max(0, began + (seconds - 0.5) * i / #acts - support.now()))
        act()
      end
      local counts = finish()
      local code, log = server:stop()
      local context = ("SEED=%d\n%s\n%s"):format(seed, counts.text, log)
      assert.equal(0, code, context)
      assert.equal(0, counts.other, context)
      assert.is_true(counts.requests > 100, context)
      assert.is_true(counts.failed <= killed_in_hand(server), ("%d failed, %d were in hand\n%s"):format(counts.failed,
        killed_in_hand(server), context))
    end)
  end
end)

describe("a server whose connections stay", function()
  local function shares_of(loop, gap)
    local server = require("minigun").supervisor { workers = 2, listen = "127.0.0.1:0", log = function() end,
      loop = loop, stop_timeout = 0.05, worker = function(w)
        w:accept(function(c) return loop == "cqueues" and c:read "*l" end)
      end }
    local running <close> = assert(server:start())
    local function wait_for(f)
      return support.wait_until(function()
        running:step(0.01)
        return f(running:status())
      end, 10 * support.patience)
    end
    assert(wait_for(function(status) return status.state == "serving" end))
    local port = tonumber(running:status().listen[1]:match ":(%d+)$")
    local clients, shares = {}, nil
    for i = 1, 32 do
      clients[i] = require("socket").connect("127.0.0.1", port)
      support.sleep(gap)
    end
    assert(wait_for(function(status)
      shares = { status.workers[1].in_hand, status.workers[2].in_hand }
      return shares[1] + shares[2] == 32
    end))
    for _, client in ipairs(clients) do client:close() end
    running:stop()
    return shares
  end

  for _, loop in ipairs { "epoll", "select", "cqueues", "luv", "event" } do
    for gap, how in pairs { [0] = "at once", [0.005] = "one after the other" } do
      it(("shares those that come %s among its workers, loop %s"):format(how, loop), function()
        local missing = servers.missing or servers.missing_loop(loop)
        if missing then return pending(missing) end
        local shares = shares_of(loop, gap)
        assert.is_true(math.min(shares[1], shares[2]) >= 8, table.concat(shares, " and "))
      end)
    end
  end
end)

-- --- the examples ---------------------------------------------------------------------------------------------------

local NEEDS <const> = { blocking = false, cqueues = "cqueues", luv = "luv", copas = "copas", pipeline = false }

describe("the example", function()
  for name, library in pairs(NEEDS) do
    it(("examples/servers/server_%s.lua serves, under load too, restarts and ends"):format(name), function()
      local missing = servers.missing or library and servers.missing_loop(library)
      if missing then return pending(missing) end
      support.deadline(60)
      local port = servers.free_port()
      local server = servers.launch(("examples/servers/server_%s.lua 127.0.0.1:%d"):format(name, port), {
        env = { WORKERS = "2" } })
      finally(function() server:close() end)
      server.port = port
      local page = name == "pipeline" and "/primes/1000" or "/"
      local expected = name == "pipeline" and "^168 primes\n$" or "^hello from worker %d\n$"
      assert(server:wait_for(function() return server:get(page) end), server:log())
      for _ = 1, 20 do assert.matches(expected, server:get(page)) end
      assert.matches("404", select(2, server:get "/nothing"))
      if wrk and name ~= "pipeline" then
        local finish = ask(server, page, support.short_or_long(4, 16), 20)
        support.sleep(0.05)
        server:signal "HUP"
        assert(server:said("rolling restart done", 20), server:log())
        local counts = finish(true)
        assert.same({ 0, 0 }, { counts.failed, counts.other }, counts.text .. server:log())
        assert.is_true(counts.requests > 100, counts.text)
      end
      assert.matches(expected, server:get(page))
      assert.equal(0, (server:stop()))
    end)
  end
end)
