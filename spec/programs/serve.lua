-- serve.lua OPTIONS: a small server for specs. OPTIONS is the inside of a table for minigun.supervisor, in which `web`
-- is the usual worker, `say(...)` prints a line and `current()` is the server. Prints "ready NUMBER PID GENERATION
-- ADDRESS" for each worker.
local core = require "minigun.core"
local minigun = require "minigun"

io.stdout:setvbuf "line"
local server
local function say(...) print(...) end

local function answer(c, text, status)
  c:send(("HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"):format(status or "200 OK", #text, text))
end

-- Keeps the worker, at little cost.
local function spin(seconds, beat)
  local till = core.now() + seconds
  while core.now() < till do
    core.sleep(0.002)
    if beat then beat() end
  end
end

local paths = {
  ["/"] = function() return "hello" end,
  ["/nap"] = function() core.sleep(0.004) return "hello" end,
  ["/pid"] = function() return tostring(core.pid()) end,
  ["/number"] = function(w) return w.number .. " " .. w.generation end,
  ["/slow"] = function() core.sleep(0.5) return "slow" end,
  ["/short"] = function() core.sleep(0.15) return "short" end,
  ["/wait"] = function() core.sleep(60) return "waited" end,
  ["/stuck"] = function(w)
    w:beat "GET /stuck"
    local till = core.now() + 60
    while core.now() < till do
      for _ = 1, 10000 do end
      core.sleep(0.001)
    end
  end,
  ["/busy"] = function(w)
    spin(1.5, function() w:beat "GET /busy" end)
    return "busy"
  end,
  ["/error"] = function() error "an error of the handler" end,
  ["/die"] = function()
    io.stderr:write "the last words\n"
    os.exit(7)
  end,
  ["/grow"] = function()
    Kept = ("x"):rep(60 << 20) -- luacheck: ignore 111
    return "grown"
  end,
}

local function serve(c, w)
  c:settimeout(5)
  local line = c:receive()
  if not line then return end
  repeat local header = c:receive() until not header or header == ""
  local path = line:match "^GET (%S+)"
  local body = paths[path] and paths[path](w)
  if body then answer(c, body) else answer(c, "no such page", "404 Not Found") end
  w:done()
end

local function web(w) w:accept(serve) end

-- For `loop = "epoll"`: connections stay open, and each request is answered as it comes.
local function keep_alive(w)
  w:accept(function(c)
    local watch
    local function over()
      watch:stop()
      w:close(c)
    end
    watch = w.loop:watch_io(c, "r", function()
      while true do
        local line, reason = c:receive()
        if not line then return reason ~= "timeout" and over() end
        if line:find "^GET /nap " then core.sleep(0.004) end
        if line == "" then
          local last = w:stopping()
          c:send(("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: %s\r\n\r\nhello"):format(last and "close"
            or "keep-alive"))
          w:done()
          if last then return over() end
        end
      end
    end)
  end)
end

local function on_ready(it) say("ready", it.number, it.pid, it.generation, server:status().listen[1]) end

local environment = setmetatable({ web = web, keep_alive = keep_alive, say = say, serve = serve, core = core,
  minigun = minigun, spin = spin, answer = answer, current = function() return server end },
  { __index = _G })
local options = assert(load("return {" .. (arg[1] or "") .. "}", "=options", "t", environment))()
options.worker = options.worker or web
options.listen = options.listen or "127.0.0.1:0"
options.on_ready = options.on_ready or on_ready
options.workers = options.workers or 2
server = minigun.supervisor(options)
local status = server:run()
say("status", status)
os.exit(status)
