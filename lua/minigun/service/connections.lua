--- The connections of a service: which have something to say, whose turn it is, and sleeping until one has.
--
-- 1. A connection is asleep or awake. One that sleeps costs nothing: it rings when it has something, and is awake then.
--    Awake ones are looked at in turn, one message at a time, so one that sends very much holds up no other.
-- 2. What a client is owed and its ring has no room for waits here for it alone (`waits`): meanwhile nothing is taken
--    from it. So what is kept for it is bounded by `max_requests` replies.
-- 3. Whatever goes wrong with one connection ends that one.
-- 4. What a client has sent before its end is taken before it is dropped.
local arrays = require "minigun.base.arrays"
local core = require "minigun.core"
local declared = require "minigun.base.declared"
local policy = require "minigun.service.policy"
local waiting = require "minigun.system.waiting"

local connections = {}

local FRAME <const>, ROOM <const> = core.protocol.WANTS_FRAME, core.protocol.WANTS_ROOM
local LOOK <const> = 256 -- messages between two looks at sockets that never get a rest

local Connections = {}
Connections.__index = Connections

--- Makes the connections of a service.
---@param doorway userdata that listens
---@param how table checked options; besides `uid`, `own_user_only`, `free`: there are processors to spin on
---@param hears table
--- `gone(connection)`, called once for each that was attached; `expels(peer, why)` before one is ended for what it did;
--- `allows(peer)`: what the option `allow` says
---@return table connections
--- `n` of them are attached; of one: `peer`, what users see of it; `taken`: requests without a reply; `open`: these, by
--- number; `own`: those of them that may be cancelled; `ended`: what it has said to its end, or false
function connections.new(doorway, how, hears)
  local poller, message, errno = core.poller()
  if not poller then return nil, message, errno end
  local self = declared({ doorway = doorway, poller = poller, how = how, hears = hears, found = {}, by_fd = {}, n = 0,
    all = {},             -- those that are attached, by number
    strangers = {},       -- those that have not said hello, in order
    awake = {}, at = 0,   -- the list, and whose turn it was last
    since = 0,            -- messages since the last look at the sockets
    numbers = 0, spin = policy.new_spin(), open = true, listens = true }, Connections)
  local ok
  ok, message, errno = self:watch(doorway:fd(), function() self:accept() end)
  if ok then return self end
  poller:close()
  return nil, message, errno
end

--- Has a function called when a descriptor is readable.
---@param fd integer
---@param f function? nil: not any more
---@return boolean? ok
---@return string? message
---@return integer? errno
function Connections:watch(fd, f)
  local ok, message, errno = self.poller:set(fd, f and "r" or "")
  self.by_fd[fd] = ok and f or nil
  return ok, message, errno
end

-- --- their lives -------------------------------------------------------------------------------------------------

local function wake(self, c)
  if c.awake then return end
  c.awake = true
  self.awake[#self.awake + 1] = c
end

--- Ends a connection.
---@param c table
---@param why string? it is told
function Connections:drop(c, why)
  if c.dropped then return end
  c.dropped = true
  if c.awake then arrays.take_out(self.awake, c) end
  if c.stranger then arrays.take_out(self.strangers, c) end
  self:watch(c.fd, nil)
  c.channel:close(why)
  if c.stranger then return end
  self.n, self.all[c.peer.number] = self.n - 1, nil
  self.hears.gone(c)
end

--- Ends a connection because of what the client has done.
---@param c table
---@param why string
function Connections:expel(c, why)
  self.hears.expels(c.peer, why)
  self:drop(c, why)
end

-- The client has said hello: lets it in or turns it away.
local function greet(self, c)
  local said, version = c.channel:greeting()
  if said == false then return end
  if not said then return self:drop(c) end
  local pid, uid, gid = c.channel:peer()
  if not pid then return self:drop(c) end
  local peer, how = { pid = pid, uid = uid, gid = gid, number = self.numbers + 1 }, self.how
  local status, text = policy.turns_away(peer, { uid = how.uid, clients = self.n, most = how.max_clients,
    allow = how.allow and function() return self.hears.allows(peer) end, own_user_only = how.own_user_only })
  if version ~= 1 then status, text = "version", ("the server speaks version 1, and not %d"):format(version) end
  if not status then
    local ok, message = c.channel:admit(said, how.ring, how.ring, peer.number, how.max_message)
    if not ok then status, text = "busy", "the server has no memory for a further client: " .. message end
  end
  if status then
    c.channel:refuse(status, text)
    return self:drop(c)
  end
  arrays.take_out(self.strangers, c)
  self.numbers, self.n = peer.number, self.n + 1
  c.peer, c.stranger, self.all[peer.number] = peer, false, c
  wake(self, c)
end

-- A connection has rung, or its client has ended.
local function ring(self, c)
  if c.stranger then return greet(self, c) end
  local ok, why = c.channel:wake()
  if not ok then c.ended = why end
  wake(self, c)
end

--- Takes the clients that knock. Of those that do not say what they want there are no more than of clients: the oldest
--- makes way.
function Connections:accept()
  for _ = 1, LOOK do
    local channel = self.doorway:accept()
    if not channel then return end
    local c = { channel = channel, fd = channel:fd(), stranger = true, peer = false, awake = false, waits = false,
      taken = 0, open = {}, own = {}, ended = false, dropped = false }
    if #self.strangers >= self.how.max_clients then self:drop(self.strangers[1]) end
    self.strangers[#self.strangers + 1] = c
    if self:watch(c.fd, function() ring(self, c) end) then greet(self, c) else self:drop(c) end
  end
end

-- --- messages ----------------------------------------------------------------------------------------------------

-- Sends what has waited. Returns whether the connection is still there.
local function flush(self, c)
  local gone, message = c.channel:flush()
  if gone == nil then
    self:expel(c, message)
    return false
  end
  c.waits = not gone
  return true
end

local function may_take(self, c) return not c.waits and c.taken < self.how.max_requests or c.ended end

--- The next message of a client that is awake.
---@param spins boolean it may spin for one
---@return table? connection nil: there is none
---@return integer? kind
---@return integer? number
---@return any value
---@return string? problem why the value cannot be had
function Connections:take(spins)
  local awake <const> = self.awake
  spins = spins and not awake[2] and self.how.free
  for _ = 1, #awake do
    local at = self.at % #awake + 1
    local c = awake[at]
    if not c then return nil end
    self.at = at
    if c.waits and not c.ended then flush(self, c) end
    if not c.dropped and may_take(self, c) then
      local kind, number, value, problem = c.channel:take(spins and not c.ended)
      if kind then return c, kind, number, value, problem end
      if kind == false then self:expel(c, number) elseif c.ended then self:drop(c) end
    end
  end
end

--- Sends a message to a client; where it has no room for it now it gets it later.
---@param c table
---@param kind integer
---@param number integer
---@param value any
---@return boolean sent false: the value cannot be sent
---@return string? message
function Connections:send(c, kind, number, value)
  if c.dropped or c.ended then return true end
  local ok, message, errno = c.channel:send(kind, number, value)
  if ok then return true end
  if errno then self:expel(c, message)
  elseif ok == nil then return false, message
  else
    c.waits = true
    wake(self, c) -- it is to ask for room
  end
  return true
end

--- A request of a client was answered.
---@param c table
function Connections:answered(c)
  c.taken = c.taken - 1
  if not c.awake and not c.dropped and c.taken + 1 >= self.how.max_requests then wake(self, c) end
end

-- --- rest --------------------------------------------------------------------------------------------------------

--- Lets all go to sleep that have nothing: from then on they ring.
---@return boolean asleep false: one has something
function Connections:settle()
  local awake <const>, quiet = self.awake, true
  for i = #awake, 1, -1 do
    local c = awake[i]
    if c.ended then
      quiet = false
    elseif not c.waits or flush(self, c) then
      if c.channel:sleep((c.waits and ROOM or 0) | (may_take(self, c) and FRAME or 0)) then
        quiet = false
      else
        c.awake = false
        awake[i] = awake[#awake]
        awake[#awake] = nil
      end
    end
  end
  return quiet
end

--- Takes what the sockets tell; waits for it.
---@param seconds number? nil: no limit
function Connections:look(seconds)
  self.since = 0
  local poller, found = self.poller, self.found
  if seconds ~= 0 and waiting.may_wait() then
    waiting.wait(poller:fd(), seconds)
    seconds = 0
  end
  local n = poller:wait(seconds, found) or 0
  for i = 1, 2 * n, 2 do
    local f = self.by_fd[found[i]]
    if f then f() end
    if not self.open then return end
  end
end

-- Looks at several connections for a while before a rest, where that pays.
local function spin(self)
  local own = self.spin
  local seconds = self.how.free and self.awake[2] and policy.spin(own) or 0
  if seconds == 0 then return nil end
  local over = core.now() + seconds
  repeat
    local c, kind, number, value, problem = self:take(false)
    if c then
      policy.spun(own, true)
      return c, kind, number, value, problem
    end
  until core.now() >= over
  policy.spun(own, false)
end

--- The next message; waits for one.
---@param deadline number? of core.now; nil: no limit
---@return table? connection and the rest as from `take`; nil: something else has come, or the deadline
function Connections:next(deadline)
  self.since = self.since + 1
  if self.since >= LOOK then self:look(0) end
  local waits = not deadline or deadline > core.now()
  local c, kind, number, value, problem = self:take(waits)
  if not c and waits then c, kind, number, value, problem = spin(self) end
  if c then return c, kind, number, value, problem end
  if not self:settle() then return self:take(false) end
  self:look(deadline and math.max(0, deadline - core.now()))
  if self.open then return self:take(false) end
end

--- Takes no further client; the socket's file is removed. May be called twice.
function Connections:leave()
  if not self.listens then return end
  self.listens = false
  self:watch(self.doorway:fd(), nil)
  self.doorway:close()
end

--- Ends all of them. May be called twice.
---@param why string
function Connections:close(why)
  if not self.open then return end
  self:leave()
  self.open = false
  while self.strangers[1] do self:drop(self.strangers[1]) end
  local _, c = next(self.all)
  while c do
    self:drop(c, why)
    _, c = next(self.all)
  end
  self.poller:close()
end

return connections
