--- What specs of servers share: a server in a process of its own (spec/programs/serve.lua), requests to it, and a look
--- at what it has left behind.
local programs = require "spec.programs.build"
local support = require "spec.support"

local M = {}

local found, socket = pcall(require, "socket")
-- Debian has copas for older versions of Lua only; it runs on 5.4.
local LUA <const> = os.getenv "MINIGUN_LUA" or "lua5.4" -- make valgrind looks at servers, too
local OLDER <const> = ";/usr/share/lua/5.3/?.lua;/usr/share/lua/5.2/?.lua"
local unruly = programs.unruly()

--- Why these specs cannot run here; nil: they can.
M.missing = not found and "lua-socket is not installed" or not unruly and "there is no C compiler" or nil

--- The module of unruly.c.
M.unruly = unruly

--- Numbers of signals.
M.signals = { HUP = 1, INT = 2, QUIT = 3, KILL = 9, USR1 = 10, USR2 = 12, TERM = 15, CONT = 18, STOP = 19, TTIN = 21,
  TTOU = 22 }

--- Why a server that is launched here cannot have an event loop; nil: it can.
function M.missing_loop(name)
  local path = package.path
  package.path = path .. OLDER
  local message = require("minigun.supervisor.kinds").missing(name)
  package.path = path
  return message
end

--- A port that is free now.
function M.free_port()
  local server = socket.bind("127.0.0.1", 0)
  local _, port = server:getsockname()
  server:close()
  return math.tointeger(port)
end

local Server = {}
Server.__index = Server

local count = 0

--- A test of servers, called inside of one: what it starts is closed after it. Pending where servers cannot be tested.
-- @param pending function and finally, function: busted's, which only the test itself sees
-- @param f function(start, add): start takes what M.start does; add(server) has one of M.launch closed too
function M.in_test(pending, finally, f)
  if M.missing then return pending(M.missing) end
  local started = {}
  finally(function()
    for _, server in ipairs(started) do server:close() end
  end)
  local function add(server)
    started[#started + 1] = server
    return server
  end
  f(function(...) return add(M.start(...)) end, add)
end

--- Starts a program in the background.
-- @param command string, what follows "lua5.4"
-- @param options table: env (table of strings), prefix (words before lua5.4)
-- @return server
function M.launch(command, options)
  options = options or {}
  count = count + 1
  local self = setmetatable({ tag = ("MG_SERVER=%d_%d"):format(support.pid(), count), out = os.tmpname(),
    err = os.tmpname() }, Server)
  local env = support.lua_env()
  env.LUA_PATH = env.LUA_PATH .. OLDER
  for name, value in pairs(options.env or {}) do env[name] = value end
  self.pid = unruly.launch(("%s %s exec %s %s %s >%s 2>%s"):format(self.tag, support.env_words(env),
    options.prefix or "", LUA, command, self.out, self.err))
  return self
end

--- Starts spec/programs/serve.lua, and waits until its workers are ready.
-- @param text string, its options; or a table: text, and what `launch` takes
-- @param workers integer to wait for, by default all; 0: none
-- @return server
function M.start(text, workers, options)
  local self = M.launch("spec/programs/serve.lua " .. support.quote(text or ""), options)
  if workers ~= 0 then
    workers = workers or tonumber((text or ""):match "workers = (%d+)") or 2
    if not self:wait_for(function() return #self:ready() >= workers end) then
      local log = self:log()
      self:close()
      error("the server's workers are not ready: " .. log, 2)
    end
  end
  return self
end

--- What it has printed, and its messages.
function Server:output() return support.read_file(self.out) or "" end
function Server:log() return support.read_file(self.err) or "" end

--- Waits for a condition.
-- @return what the predicate has returned, false when the time is over
function Server:wait_for(predicate, seconds)
  return support.wait_until(predicate, (seconds or 10) * support.patience)
end

--- Waits until a message is there.
function Server:said(pattern, seconds)
  return self:wait_for(function() return self:log():find(pattern) end, seconds)
end

--- Waits until it has printed a text, or raises with its messages.
function Server:prints(text, seconds)
  assert(self:wait_for(function() return self:output():find(text, 1, true) end, seconds), self:log())
end

--- The workers that have become ready so far.
-- @return array of { number, pid, generation, port }
function Server:ready()
  local list = {}
  for number, pid, generation, address in self:output():gmatch "ready%s+(%d+)%s+(%d+)%s+(%d+)%s+(%S+)" do
    list[#list + 1] = { number = tonumber(number), pid = math.tointeger(pid), generation = tonumber(generation) }
    self.address = address
    self.port = tonumber(address:match ":(%d+)$")
  end
  return list
end

--- The pids of its children.
function Server:children() return support.children(self.pid) end

--- Connects.
-- @return a luasocket client
function Server:connect()
  local client = socket.tcp()
  client:settimeout(10 * support.patience)
  assert(client:connect("127.0.0.1", self.port))
  return client
end

--- One request.
-- @param path string
-- @return body | nil, message; status line
function Server:get(path)
  local client = socket.tcp()
  client:settimeout(10 * support.patience)
  local ok, message = client:connect("127.0.0.1", self.port)
  if not ok then return nil, message end
  client:send(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n"):format(path or "/"))
  local line, length = client:receive "*l", 0
  if not line then
    client:close()
    return nil, "no answer"
  end
  for header in function() return client:receive "*l" end do
    if header == "" then break end
    length = tonumber(header:match "^[Cc]ontent%-[Ll]ength: (%d+)") or length
  end
  local body = client:receive(length)
  client:close()
  return body, line
end

--- Sends a signal.
function Server:signal(name, pid) return unruly.kill(pid or self.pid, M.signals[name]) end

--- Waits for its end.
-- @return code, or nil and a signal
function Server:wait()
  if not self.ended then self.ended = table.pack(unruly.wait(self.pid)) end
  return table.unpack(self.ended, 1, 2)
end

--- The processes that have been started by it and are still there.
-- @return array of pids
function Server:left()
  local pids = {}
  local pipe = io.popen(("grep -lszxF '%s' /proc/[0-9]*/environ 2>/dev/null"):format(self.tag))
  for line in pipe:lines() do
    local pid = tonumber(line:match "/proc/(%d+)/")
    if support.alive(pid) then pids[#pids + 1] = pid end
  end
  pipe:close()
  return pids
end

--- Kills what is left, removes its files.
function Server:close()
  if not self.gone then
    for _, pid in ipairs(self:left()) do unruly.kill(pid, 9) end
  end
  self:wait()
  os.remove(self.out)
  os.remove(self.err)
end

--- Ends it by a signal and checks that nothing is left.
-- @param name string, "TERM" by default
-- @return code, log
function Server:stop(name)
  self:signal(name or "TERM")
  local code, signal = self:wait()
  local left = self:wait_for(function() return #self:left() == 0 end, 1)
  local log = self:log()
  assert(left, "processes are left: " .. table.concat(self:left(), " ") .. "\n" .. log)
  self.gone = true
  return code or -signal, log
end

return M
