--- A connection to the engine: dialled, and dialled again; commands go out and replies come back. A call waits as
-- `minigun.wait` does: of a task of a loop nothing else waits meanwhile.
local core = require "minigun.core"
local current = require "minigun.handlers.current"
local url = require "minigun.base.redis_url"

local connection = {}

local Connection = {}
Connection.__index = Connection

local DIAL <const> = 1      -- seconds for a server to take a connection
local PATIENCE <const> = 3  -- seconds without a byte more, beside what the command itself waits
local OLDEST <const> = 7    -- version of Redis
local NO_HANDSHAKE <const> = "TLS: no answer to the handshake in time; does the server speak TLS at this port?"

-- Errors of the server after which another connection may do better: it is about to become, or no longer, the master.
local AGAIN <const> = { READONLY = true, LOADING = true, MASTERDOWN = true, CLUSTERDOWN = true, UNBLOCKED = true,
  MOVED = true, NOREPLICAS = true, TRYAGAIN = true, MISCONF = true }

--- The module for Redis, which is built only where it is asked for.
---@return table? redis nil where it is missing
---@return string? message
function connection.library()
  local found, redis = pcall(require, "minigun.redis")
  if found then return redis end
  return nil, "the module minigun.redis is not built: install libhiredis-dev and libssl-dev, and run make REDIS=1"
end

--- Makes a connection, which is not dialled yet.
---@param address table of url.parse
---@return table connection
--- `dials`: how often it was made; another number means another server, perhaps; `sums`: by name, of the scripts that
--- the server has been told (engine.lua)
function connection.new(address)
  return setmetatable({ address = address, link = false, at = false, turn = 0, others = 0, dials = 0, sums = {},
    ahead = false }, Connection)
end

-- What is raised where a connection is broken: `again` true: another one may do better.
local function broken(self, message, again)
  self.others = self.link and again and self.link:others() or 0
  self:close()
  return nil, { message = message, again = again, at = self.at or self.address.text }
end

-- What to wait for where a link waits for both: what is to be sent goes first, as the server reads at any time.
local function mode_of(wants) return wants == "r" and "r" or "w" end

-- Waits until a reply is there. Returns true and the reply; nil and what is wrong.
local function next_reply(self, seconds)
  local link, due = self.link, core.now() + seconds
  while true do
    local found, reply = link:reply()
    if found then return true, reply end
    if found == nil then return broken(self, reply, true) end
    local wants, message = link:step()
    found, reply = link:reply()
    if found then return true, reply end
    if not wants then return broken(self, message, true) end
    local left = due - core.now()
    if left <= 0 then return broken(self, "no answer in time", true) end
    if current.wait(link:fd(), mode_of(wants), left) then due = core.now() + seconds end
  end
end

local function send(self, commands)
  for _, words in ipairs(commands) do
    local sent, message = self.link:send(words)
    if not sent then return broken(self, message, true) end
  end
  return true
end

-- Sends commands, unless that was done ahead, and waits for their replies. Errors of the server are replies like others
-- here.
local function exchange(self, commands, seconds)
  if self.ahead ~= commands then
    local ok, fault = send(self, commands)
    if not ok then return nil, fault end
  end
  self.ahead = false
  local replies = {}
  for i = 1, #commands do
    local ok, reply = next_reply(self, seconds)
    if not ok then return nil, reply end
    replies[i] = reply
  end
  return replies
end

local function is_error(self, reply) return getmetatable(reply) == self.redis.Error end

-- Waits until the connection is made.
local function settle(self)
  local due = core.now() + DIAL
  while true do
    local wants, message = self.link:step()
    if not wants then return broken(self, message, true) end
    if wants ~= "w" and self.link:ready() then return true end
    local left = due - core.now()
    if left <= 0 then
      local in_handshake = self.address.secure and wants ~= "w"
      return broken(self, in_handshake and NO_HANDSHAKE or "no answer in time", true)
    end
    current.wait(self.link:fd(), mode_of(wants), left)
  end
end

-- Connects to a server, and says f there: at each of the addresses of its host, until one has answered.
local function reach(self, where, f)
  local address = self.address
  local value, fault
  self.at, self.others = where.path or ("%s:%s"):format(where.host, where.port), 0
  repeat
    local link, message = self.redis.open { host = where.host, port = where.port, skip = self.others,
      path = where.path, secure = address.secure, ca = address.ca, certificate = address.certificate,
      key = address.key }
    if not link then return broken(self, message, true) end
    self.link = link
    value, fault = settle(self)
    if value then value, fault = f(self) end
  until value or self.others == 0
  return value, fault
end

-- What a new connection says first; the replies, an error of one is the caller's.
local function greet(self)
  local address, commands = self.address, {}
  local password, message = url.password(os.getenv)
  if message then return broken(self, message, false) end
  if password then commands[1] = address.user and { "AUTH", address.user, password } or { "AUTH", password } end
  if address.database and address.database ~= "0" then commands[#commands + 1] = { "SELECT", address.database } end
  commands[#commands + 1] = { "INFO", "server" }
  local replies, fault = exchange(self, commands, PATIENCE)
  if not replies then
    if not address.secure then fault.message = fault.message .. "; where it speaks TLS, say rediss://" end
    return nil, fault
  end
  for _, reply in ipairs(replies) do
    if is_error(self, reply) then return broken(self, reply.message, AGAIN[reply.code] or false) end
  end
  local version = replies[#replies]:match "redis_version:(%d+)"
  if not version or tonumber(version) < OLDEST then
    return broken(self, ("it is Redis %s; from %d on is needed"):format(
      replies[#replies]:match "redis_version:([%d%.]+)" or "of an unknown version", OLDEST), false)
  end
  return true
end

-- Asks the sentinels in turn where the master is.
local function master_of(self)
  local address, fault = self.address, nil
  for _ = 1, #address.hosts do
    self.turn = self.turn % #address.hosts + 1
    local replies, problem = reach(self, address.hosts[self.turn], function()
      return exchange(self, { { "SENTINEL", "get-master-addr-by-name", address.master } }, PATIENCE)
    end)
    local found = replies and replies[1]
    self:close()
    if type(found) == "table" and type(found[1]) == "string" then return { host = found[1], port = found[2] } end
    if replies then problem = { message = ("it knows no master '%s'"):format(address.master), again = false } end
    fault = problem
  end
  return nil, fault
end

--- Dials: connects, says who it is, and looks whether the server will do.
---@return boolean? ok
---@return table? fault `message`; `again`: it may be tried again; `at`: the server
function Connection:dial()
  self:close()
  local redis, message = connection.library()
  if not redis then return broken(self, message, false) end
  self.redis = redis
  local where, fault = self.address.path and { path = self.address.path } or self.address.hosts[1], nil
  if self.address.master then where, fault = master_of(self) end
  if not where then return nil, fault end
  self.dials = self.dials + 1
  return reach(self, where, greet)
end

-- Whether a reply says that another connection may do better. A call that waits at a stream which is removed meanwhile
-- is UNBLOCKED, too.
local function is_again(self, reply)
  return is_error(self, reply) and AGAIN[reply.code] and not reply.message:find("no longer exists", 1, true)
end

--- Sends commands now, as far as that goes without waiting. The next `calls` is to be with the same table: it waits for
--- the replies, or sends them once more by a new connection.
---@param commands table as for `calls`
---@return boolean sent
function Connection:send_ahead(commands)
  if not self.link or not send(self, commands) then return false end
  self.ahead = commands
  self.link:step()
  return true
end

--- Sends commands, and waits for all their replies.
---@param commands table array of commands, each an array of words
---@param seconds number? that the last of them may wait by itself
---@return table? replies in order; nil as false; an error of the server as a table with `code` and `message`
---@return table? fault as of `dial`
function Connection:calls(commands, seconds)
  if self.ahead and self.ahead ~= commands then self:close() end -- replies would be taken for those of others
  if not self.link then
    local ok, fault = self:dial()
    if not ok then return nil, fault end
  end
  local replies, fault = exchange(self, commands, PATIENCE + (seconds or 0))
  if not replies then return nil, fault end
  for _, reply in ipairs(replies) do
    if is_again(self, reply) then return broken(self, reply.message, true) end
  end
  return replies
end

--- Sends one command, and waits for its reply.
---@param words table
---@param seconds number?
---@return any reply nil: there is none, or it is an error
---@return table? fault as of `dial`; an error of the server has `code` too, and is to be tried again only where its
--- memory is full: what is done makes room
function Connection:call(words, seconds)
  local replies, fault = self:calls({ words }, seconds)
  if not replies then return nil, fault end
  local reply = replies[1]
  if is_error(self, reply) then return nil, self:fault(reply) end
  return reply
end

--- The fault that an error of the server is.
---@param reply table
---@return table fault
function Connection:fault(reply)
  return { message = reply.message, code = reply.code, again = reply.code == "OOM", at = self.at }
end

--- Whether it is connected.
---@return boolean
function Connection:is_open() return self.link ~= false end

--- Closes it; the next call dials anew.
function Connection:close()
  if self.link then self.link:close() end
  self.link, self.ahead = false, false
end

return connection
