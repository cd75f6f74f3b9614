--- A client of a service: requests, futures.
--
-- 1. A request that was sent is settled once: by its reply, by its failure, or as lost when the connection ends.
-- 2. What the server has sent before its end is taken before anything is lost.
-- 3. A message is given to the server whole or not at all; while one waits for room, replies are taken.
-- 4. Several threads may wait for one client: the one that takes a reply wakes the others that wait.
local connecting = require "minigun.service.connecting"
local core = require "minigun.core"
local failure = require "minigun.base.failure"
local futures = require "minigun.futures.future"
local machine = require "minigun.system.machine"
local methods = require "minigun.base.methods"
local options = require "minigun.service.options"
local policy = require "minigun.service.policy"
local schema = require "minigun.base.schema"
local stack = require "minigun.base.stack"
local waiting = require "minigun.system.waiting"

local client = {}

local CALL <const>, SEND <const>, CANCEL <const> = core.protocol.CALL, core.protocol.SEND, core.protocol.CANCEL
local REPLY <const>, FAILURE <const> = core.protocol.REPLY, core.protocol.FAILURE
local FRAME <const>, ROOM <const> = core.protocol.WANTS_FRAME, core.protocol.WANTS_ROOM

---@class minigun.Client
--- A connection to a service, as `minigun.connect` returns it.
---@field path string
---@field number integer this client's, as the server counts them
local Client = { __name = "minigun.client" }
Client.__index = Client
methods.suggest(Client, "a client", { "channel" })

local function check(self, method)
  if getmetatable(self) ~= Client then
    failure.raise(("client:%s: call it with a colon, on what minigun.connect() has returned"):format(method))
  end
  if self.process ~= core.process() then
    failure.raise(("client:%s: the client belongs to another process, from which this one was forked; connect here")
      :format(method))
  end
end

-- --- the connection ----------------------------------------------------------------------------------------------

local function lost(self, why)
  return failure.new { kind = "lost", message = ("the service '%s': %s"):format(self.path, why) }
end

-- An error of a function of on_done, raised when nothing is half done any more.
local function raise_problem(self)
  local problem = self.problem
  self.problem = false
  if problem then error(stack.final(problem.raised, problem.traceback), 0) end
end

local function settled(self, problem)
  self.open_count = self.open_count - 1
  self.problem = self.problem or problem or false
  if self.waiters > 0 and self.poller then -- threads
    self.to_wake = self.waiters
    self.poller:wake(0)
  end
end

-- The connection is over: what has had no reply is lost.
local function break_off(self, why)
  local channel = self.channel
  if not channel then return end
  self.channel, self.why, self.waits = false, why, false
  if self.poller then self.poller:set(channel:fd(), "") end
  channel:close()
  local open = self.open
  self.open, self.cancelling = {}, {}
  for _, future in pairs(open) do settled(self, futures.fail(future, lost(self, why))) end
end

local function attach(self, channel, number)
  self.channel, self.number, self.why = channel, number, false
  if self.poller then assert(self.poller:set(channel:fd(), "r")) end
end

-- The connection; where it was lost and may be found again, a new one. nil, failure.
local function connection(self)
  if self.channel then return self.channel end
  if self.why and self.how.reconnect and not self.closed then
    local channel, number = connecting.connect(self.path, self.how)
    if channel and (self.channel or self.closed) then -- by another thread meanwhile
      channel:close()
      return connection(self)
    end
    if channel then
      attach(self, channel, number)
      return channel
    end
    return nil, failure.new { kind = "lost", message = number }
  end
  return nil, lost(self, self.closed and "the client is closed" or self.why)
end

-- --- messages ----------------------------------------------------------------------------------------------------

-- What a message is; returns what is wrong with it.
local function hear(self, kind, number, value, problem)
  local future = self.open[number]
  if kind == CANCEL then
    self.cancelling[number] = nil
    return
  end
  if not future or kind ~= REPLY and kind ~= FAILURE then return "the server has answered what was not asked" end
  self.open[number], self.cancelling[number] = nil, nil
  local err
  if problem then
    err = futures.fail(future, failure.new { kind = "unserialisable",
      message = "cannot decode the reply: " .. problem })
  elseif kind == REPLY then
    err = futures.settle(future, value)
  else
    err = futures.fail(future, policy.received(value))
  end
  settled(self, err)
end

-- What a connection's `take` has given. Returns whether it was a message.
local function take(self, channel, kind, number, value, problem)
  local wrong = number
  if kind then wrong = hear(self, kind, number, value, problem) end
  if wrong and self.channel == channel then break_off(self, wrong) end
  return kind
end

-- Takes what is there, and sends what has waited. Returns whether anything was.
local function take_all(self, channel)
  local any = false
  while take(self, channel, channel:take()) do
    any = true
    if self.channel ~= channel then return true end -- a function of on_done may close it
  end
  if self.waits and self.channel == channel then
    local gone, message = channel:flush()
    if gone == nil then break_off(self, message)
    elseif gone then self.waits, any = false, true end
  end
  return any
end

-- In a thread: waits for the poller, in which the socket is, so that what another thread takes wakes this one too.
local function wait_among(self, channel, wants, seconds)
  assert(self:fd())
  if channel:sleep(wants) then return true end
  self.waiters = self.waiters + 1
  local _ <close> = setmetatable({}, { __close = function()
    self.waiters = self.waiters - 1
    self.to_wake = math.max(0, self.to_wake - 1)
    if self.to_wake == 0 then self.poller:wake(nil) end
  end })
  waiting.wait(self.poller:fd(), seconds)
  if self.channel ~= channel then return true end
  self.poller:wait(0, self.found)
  if self.to_wake > 1 then self.poller:wake(0) end
  return channel:wake()
end

local function wait_alone(_, channel, wants, seconds) return channel:wait(wants, seconds) end

--- What a future's `result` calls.
---@private
function Client:advance(deadline)
  local channel = self.channel
  if not channel then return end
  if not take_all(self, channel) and self.channel then
    local seconds = deadline and math.max(0, deadline - core.now())
    local wait = waiting.may_wait() and wait_among or wait_alone
    local ok, why = wait(self, channel, self.waits and FRAME | ROOM or FRAME, seconds)
    if self.channel == channel then
      take_all(self, channel)
      if not ok then break_off(self, why) end
    end
  end
  if self.poller then self:arm() end
  raise_problem(self)
end

-- Waits until there is room for what was sent.
local function wait_for_room(self)
  while self.waits and self.channel do self:advance() end
end

-- Sends a message. true; nil, message: the value cannot be sent; nil, nil: the connection is over.
local function send(self, channel, kind, number, value)
  local ok, message, errno = channel:send(kind, number, value)
  if ok then return true end
  if errno then
    break_off(self, message)
    return nil
  end
  self.waits = self.waits or ok == false
  return ok == false or nil, message
end

-- Makes the future of a request, and sees to what its sending has come to.
local function sent(self, number, ok, message, errno)
  local future = futures.new(self, number)
  self.open[number], self.open_count = future, self.open_count + 1
  if ok == false then
    self.waits = true
    wait_for_room(self)
  elseif errno then
    break_off(self, message)
  elseif not ok then
    self.open[number] = nil
    settled(self, futures.fail(future, failure.new { kind = "unserialisable",
      message = "the request cannot be sent: " .. message }))
  end
  if self.poller then self:arm() end
  return future
end

local function new_number(self)
  self.next = self.next + 1
  return self.next
end

-- --- what users call ---------------------------------------------------------------------------------------------

--- Connects to a service.
---@param path string
---@param given minigun.ConnectOptions?
---@return minigun.Client? client nil: it is not there, or does not let this one in
---@return string? message
---@return integer? errno
function client.new(path, given)
  if type(path) ~= "string" or path == "" or path == "@" or path:find "%z" then
    failure.raise(('minigun.connect: the path of a socket, or "@name", expected, got %s'):format(failure.show(path)))
  end
  local of = options.schemas.connect
  local how = schema.fill(of, schema.check(of, given, "minigun.connect"))
  local channel, number, errno = connecting.connect(path, how)
  if not channel then return nil, number, errno end
  local self = setmetatable({ path = path, how = how, process = core.process(), free = machine.cpus() > 1, next = 0,
    open = {}, open_count = 0, cancelling = {}, waits = false, closed = false, waiters = 0, to_wake = 0, found = {},
    poller = false, channel = false, why = false, number = 0, problem = false }, Client)
  attach(self, channel, number)
  return self
end

--- Sends a request, and gives a future of its reply. Waits while the server has no room for more.
---@param item any
---@param given minigun.RequestOptions?
---@return minigun.Future? future nil: there is no room now
---@return "full"? message
function Client:submit(item, given)
  check(self, "submit")
  local at_once = given ~= nil and schema.check(options.schemas.request, given, "client:submit").wait == false
  local channel, record = connection(self)
  if not channel then
    local future = futures.new(self, 0)
    futures.fail(future, record)
    return future
  end
  if at_once and not channel:has_room() then
    take_all(self, channel)
    if not (self.channel and channel:has_room()) then return nil, "full" end
  end
  local number = new_number(self)
  return sent(self, number, channel:send(CALL, number, item))
end

--- Sends a request and waits for its reply. In a thread of `threads(n)` the others go on meanwhile. Raises the failure,
--- an object as from `future:result`.
---@param item any
---@param timeout number? seconds; nil: no limit
---@return any reply nil where the time is over before; the request goes on
---@return "timeout"? message
function Client:call(item, timeout)
  check(self, "call")
  if timeout ~= nil then failure.check_seconds(timeout, "client:call") end
  local channel = self.channel
  if not channel or self.open_count > 0 or self.waits or self.poller then return self:submit(item):result(timeout) end
  -- Nothing else is open: the next message is the reply.
  local number = new_number(self)
  local ok, message, errno = channel:send(CALL, number, item)
  if not ok then return sent(self, number, ok, message, errno):result(timeout) end
  local kind, of, value, problem = channel:take(self.free and not waiting.may_wait())
  if kind == REPLY and of == number and not problem then return value end
  local future = sent(self, number, true)
  take(self, channel, kind, of, value, problem)
  return future:result(timeout)
end

--- Sends a message to which there is no reply. Waits while the server has no room for it. What was sent before the
--- server's end may be lost with it.
---@param item any raises where it cannot be sent
---@return true? sent nil: the server is gone
---@return string? message
function Client:send(item)
  check(self, "send")
  local channel, record = connection(self)
  if not channel then return nil, record.message end
  local ok, message = send(self, channel, SEND, 0, item)
  if message then failure.raise("client:send: the message cannot be sent: " .. message) end
  if ok and not self.waits then return true end
  wait_for_room(self)
  if self.channel == channel then return true end
  return nil, lost(self, self.why).message
end

--- What a future's `cancel` calls.
---@private
function Client:cancel(future)
  local number, channel = future.key, self.channel
  if not channel or self.open[number] ~= future then return false end
  self.cancelling[number] = true
  send(self, channel, CANCEL, number)
  while self.channel == channel and self.cancelling[number] do self:advance() end
  return future.state == "cancelled"
end

-- --- in an event loop --------------------------------------------------------------------------------------------

--- Lets the descriptor tell of what is there, or comes.
---@private
function Client:arm()
  local channel, now = self.channel, self.to_wake > 0 or self.problem
  if channel then now = channel:sleep(self.waits and FRAME | ROOM or FRAME) or now end
  self.poller:wake(now and 0 or nil)
end

--- A descriptor for an event loop: readable when `step` has something to do.
---@return integer? fd always the same
---@return string? message
---@return integer? errno
function Client:fd()
  check(self, "fd")
  if not self.poller then
    local poller, message, errno = core.poller()
    if not poller then return nil, message, errno end
    self.poller = poller
    if self.channel then assert(poller:set(self.channel:fd(), "r")) end
  end
  self:arm()
  return self.poller:fd()
end

--- Takes what has come, and settles futures, without waiting.
function Client:step()
  check(self, "step")
  local channel = self.channel
  if self.poller then self.poller:wait(0, self.found) end
  if channel then
    local ok, why = channel:wake()
    take_all(self, channel)
    if not ok and self.channel == channel then break_off(self, why) end
  end
  if self.poller then self:arm() end
  raise_problem(self)
end

--- Ends the connection. Requests without a reply fail as lost. May be called twice; `local client <close>` works.
function Client:close()
  if self.process ~= core.process() then return end
  self.closed = true
  break_off(self, "the client was closed before its reply had come")
  if self.poller then self.poller:close() end
  self.poller = false
end

function Client:__tostring()
  return ("client of '%s'%s"):format(self.path, self.channel and "" or " (not connected)")
end

Client.__close = Client.close

-- Nobody waits for its futures any more.
function Client:__gc()
  if self.process ~= core.process() then return end
  if self.channel then self.channel:close() end
  if self.poller then self.poller:close() end
end

return client
