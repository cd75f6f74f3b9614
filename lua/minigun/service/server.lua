--- A service: what unrelated processes attach to, and ask.
--
-- 1. Each request (a CALL) gets exactly one answer, its reply or its failure, unless its client is gone.
-- 2. A client that is gone gets nothing done any more of what it has called and has not begun; what it has sent one way
--    is done.
-- 3. An error in the handler is the failure of that request; an error of the service itself ends `serve` or `step`.
local connections = require "minigun.service.connections"
local core = require "minigun.core"
local errors = require "minigun.base.traceback"
local failure = require "minigun.base.failure"
local futures = require "minigun.futures.future"
local log = require "minigun.system.log"
local machine = require "minigun.system.machine"
local methods = require "minigun.base.methods"
local options = require "minigun.service.options"
local policy = require "minigun.service.policy"
local schema = require "minigun.base.schema"
local signals = require "minigun.system.signals"
local stack = require "minigun.base.stack"
local types = require "minigun.base.types"

local server = {}

local CALL <const>, SEND <const>, CANCEL <const> = core.protocol.CALL, core.protocol.SEND, core.protocol.CANCEL
local REPLY <const>, FAILURE <const> = core.protocol.REPLY, core.protocol.FAILURE
local BACKLOG <const> = 4096
local STEP <const> = 64 -- messages that one step handles at most
local LOOK <const> = 0.001 -- seconds between two looks at an owner of futures that cannot be watched
local ENOENT <const>, ELOOP <const>, EADDRINUSE <const> = 2, 40, 98

---@class minigun.ServiceClient
--- A client of a service, as handlers see it.
---@field number integer counted by the server, from 1
---@field pid integer of the process that has connected
---@field uid integer
---@field gid integer

---@class minigun.Service
--- What `minigun.service` returns.
---@field path string
local Service = { __name = "minigun.service" }
Service.__index = Service
methods.suggest(Service, "a service")
types.Service = Service

local function check(self, method)
  if getmetatable(self) ~= Service then
    failure.raise(("service:%s: call it with a colon, on what minigun.service() has returned"):format(method))
  end
  if self.process ~= core.process() then
    failure.raise(("service:%s: the service belongs to another process, from which this one was forked")
      :format(method))
  end
end

local function check_open(self, method)
  check(self, method)
  if not self.connections.open then failure.raise(("service:%s: the service is closed"):format(method)) end
end

-- --- requests ----------------------------------------------------------------------------------------------------

-- Answers a request: with a value, or a failure.
local function answer(self, c, number, record, value)
  local kind = record and FAILURE or REPLY
  local ok, message = self.connections:send(c, kind, number, record and policy.sent(record) or value)
  if ok then return end
  record = failure.new { kind = "unserialisable", message = "the reply cannot be sent: " .. message }
  self.connections:send(c, FAILURE, number, policy.sent(record))
end

-- Notes which owners of futures this service waits for: it lets them go on. The kernel nests no more than five epoll
-- descriptors; where the owner's is one too many (a pool of threads, in a loop of a foreign library) it is looked at.
local function follow(self, owner, by)
  local left = (self.owners[owner] or 0) + by
  self.owners[owner] = left > 0 and left or nil
  if left == 1 and by == 1 then
    local fd = assert(owner:fd())
    local ok, message, errno = self.connections:watch(fd, function() owner:step() end)
    if not ok and errno ~= ELOOP then error(message, 0) end
    self.fds[owner] = ok and fd or false
    self.looks = self.looks + (ok and 0 or 1)
    owner:step() -- what is there already does not ring
  elseif left == 0 then
    local fd = self.fds[owner]
    self.fds[owner] = nil
    if fd then self.connections:watch(fd, nil) else self.looks = self.looks - 1 end
  end
end

local function look_at_owners(self)
  for owner, fd in pairs(self.fds) do
    if not fd then owner:step() end
  end
end

-- The handler has given a future: its result is the reply. Other requests, and the program, may have the same future:
-- only one of the service's own is cancelled with the request.
local function answer_later(self, c, kind, number, future)
  local own = self.connections
  c.taken = c.taken + 1
  if kind == CALL then
    c.open[number] = future
    if self.owns_futures then c.own[number] = future end
  end
  local owner, waits, shape = future.owner, not future.state, self.shape
  if waits then follow(self, owner, 1) end
  futures.on_done(future, function()
    if waits and own.open then follow(self, owner, -1) end
    own:answered(c)
    if kind ~= CALL or c.dropped or c.open[number] ~= future then return end
    c.open[number], c.own[number] = nil, nil
    local failed = future.state ~= "done"
    answer(self, c, number, failed and future.value or nil, failed or shape(future.value))
  end)
end

-- Calls the handler with a request.
local function handle(self, f, c, kind, number, value, problem)
  if problem then
    local record = failure.new { kind = "unserialisable", message = "cannot decode the request: " .. problem }
    if kind == CALL then answer(self, c, number, record) end
    return
  end
  local ok, reply = errors.call(f, value, c.peer)
  if not ok then
    local caught = errors.take(reply)
    signals.pass_on(caught.raised)
    if kind == CALL then answer(self, c, number, failure.new(errors.fields(caught, { attempts = 1 }))) end
  elseif futures.is(reply) then
    answer_later(self, c, kind, number, reply)
  elseif kind == CALL then
    answer(self, c, number, nil, reply)
  end
end

-- A client takes a request back. Where it cannot have it back it is told so; the reply comes, or has come.
local function cancel(self, c, number)
  local future = c.own[number]
  if not (future and future:cancel()) then self.connections:send(c, CANCEL, number) end
end

--- Takes the next request, or does what else is to be done.
---@param self minigun.Service
---@param deadline number? of core.now; nil: no limit
---@return table? connection nil: there is no request
---@return integer? kind
---@return integer? number
---@return any value
---@return string? problem
function server.next(self, deadline)
  if self.looks > 0 then
    look_at_owners(self)
    deadline = math.min(deadline or math.huge, core.now() + LOOK)
  end
  local c, kind, number, value, problem = self.connections:next(deadline)
  if not c or kind == SEND or kind == CALL and not c.ended then return c, kind, number, value, problem end
  if kind == CANCEL then cancel(self, c, number)
  elseif kind ~= CALL then self.connections:expel(c, "the other side has sent what only a server sends") end
end

-- A client is gone: what it has asked for and has not begun is not done any more.
local function gone(c)
  local own = c.own
  c.open, c.own = {}, {}
  for _, future in pairs(own) do future:cancel() end
end

-- --- what users call ---------------------------------------------------------------------------------------------

local function as_it_is(value) return value end
local function never() return false end

--- Opens a service: processes that have nothing to do with this one attach to it by its path.
---@param path string of a Unix socket, best in a directory of mode 0700; "@name": one without a file
---@param given minigun.ServiceOptions?
---@return minigun.Service? service nil: it cannot listen there
---@return string? message
---@return integer? errno
function server.new(path, given)
  if type(path) ~= "string" or path == "" or path == "@" or path:find "%z" then
    failure.raise(('minigun.service: the path of a socket, or "@name", expected, got %s'):format(failure.show(path)))
  end
  local of = options.schemas.service
  local how = schema.fill(of, schema.check(of, given, "minigun.service"))
  local has_file = path:sub(1, 1) ~= "@"
  how.own_user_only = not has_file
  how.free, how.uid = machine.cpus() > 1, core.own_user()
  local doorway, message, errno = core.doorway(path, how.mode or 384, BACKLOG) -- 384: octal 600
  if not doorway then
    local why = errno == EADDRINUSE and "a server listens there already, or it is no socket" or message
    if errno == ENOENT then why = why .. "; make its directory first" end
    return nil, ("cannot open the service '%s': %s"):format(path, why), errno
  end
  local function tell(level, peer, why)
    log.write { level = level, pid = core.pid(), text = ("service '%s': client %d (process %d, user %d): %s"):format(
      path, peer.number, peer.pid, peer.uid, why) }
  end
  local function allows(peer)
    local ok, allowed, why = errors.call(how.allow, peer)
    if ok then return allowed, why end
    signals.pass_on(errors.take(allowed).raised)
    tell("error", peer, "the option 'allow' has raised: " .. allowed.message)
    return false, "the server cannot tell whether this client may"
  end
  local made
  made, message, errno = connections.new(doorway, how, { gone = gone, allows = allows,
    expels = function(peer, why) tell("warning", peer, why) end })
  if not made then
    doorway:close()
    return nil, ("cannot open the service '%s': %s"):format(path, message), errno
  end
  return setmetatable({ path = path, process = core.process(), connections = made, owners = {}, fds = {}, looks = 0,
    handler = false, shape = as_it_is, over = never, owns_futures = false, stopped = false, serving = false }, Service)
end

local function check_handler(f, method)
  if schema.is_callable(f) then return end
  failure.raise(("service:%s: a function expected, got %s"):format(method, failure.show(f)))
end

--- Says what answers requests, for `step`: f(request, client) returns the reply, or a future whose result it will be.
--- An error in it is the failure of that request.
---@param f fun(request: any, client: minigun.ServiceClient): any
---@return minigun.Service self
function Service:on_request(f)
  check_open(self, "on_request")
  check_handler(f, "on_request")
  self.handler = f
  return self
end

local function go_on(self)
  while not self.stopped and self.connections.open do
    local c, kind, number, value, problem = server.next(self)
    if c then handle(self, self.handler, c, kind, number, value, problem)
    elseif self.over() then break end
  end
end

--- Answers requests until `stop`: with what f(request, client) returns, one after the other. Where f returns a future,
--- of a pool or of another service's client, the next request is taken at once, and the reply follows.
---@param f fun(request: any, client: minigun.ServiceClient): any
function Service:serve(f)
  check_open(self, "serve")
  check_handler(f, "serve")
  if self.serving then failure.raise "service:serve: the service is served already (by a caller of this function)" end
  local _ <close> = setmetatable({}, { __close = function() self.serving = false end })
  self.serving, self.stopped, self.handler = true, false, f
  local guard <close> = core.guard() -- of Ctrl-C, see system/signals.lua
  guard:watch()
  local ok, err = errors.call(go_on, self)
  if ok then return end
  if core.interrupted() then
    self.connections:leave() -- where the process dies of it now nothing else would remove the socket's file
    signals.interrupted()
  end
  error(stack.final(err.raised, err.traceback), 0)
end

--- The same, where replies are made of what futures give, which nothing else has, and `over()` says when to stop: for
--- executor/serving.lua.
---@private
function Service:serve_by(f, shape, over)
  local _ <close> = setmetatable({}, { __close = function()
    self.shape, self.over, self.owns_futures = as_it_is, never, false
  end })
  self.shape, self.over, self.owns_futures = shape, over, true
  self:serve(f)
end

--- Answers what is there, by the function that `on_request` was given, and does not wait: for an event loop that
--- watches `fd`.
---@param seconds number? to wait at most where nothing is there; 0 by default
function Service:step(seconds)
  check_open(self, "step")
  if seconds ~= nil then failure.check_seconds(seconds, "service:step") end
  if not self.handler then failure.raise "service:step: say first what answers, with service:on_request(f)" end
  local deadline = core.now() + (seconds or 0)
  for _ = 1, STEP do
    local c, kind, number, value, problem = server.next(self, deadline)
    if not c then break end
    handle(self, self.handler, c, kind, number, value, problem)
    if not self.connections.open then return end
    deadline = 0
  end
  self:arm()
end

--- Lets the descriptor tell of what is there, or comes.
---@private
function Service:arm()
  self.connections.poller:wake(not self.connections:settle() and 0 or self.looks > 0 and LOOK or nil)
end

--- A descriptor for an event loop: readable when `step` has something to do.
---@return integer fd
function Service:fd()
  check_open(self, "fd")
  self:arm()
  return self.connections.poller:fd()
end

--- Ends `serve` after the request that is at work. Clients stay attached.
function Service:stop()
  check(self, "stop")
  self.stopped = true
  if self.connections.open then self.connections.poller:wake(0) end
end

--- Takes no further client; those that are attached stay.
---@private
function Service:leave() self.connections:leave() end

--- How many clients are attached.
---@return integer
function Service:clients()
  check(self, "clients")
  return self.connections.n
end

--- Ends the service: clients are told, and their open requests fail as lost. The socket's file is removed. May be
--- called twice; `local service <close>` works.
function Service:close()
  if self.process ~= core.process() then return end
  self.stopped = true
  self.connections:close "the service was closed"
end

function Service:__tostring()
  local own = self.connections
  return own.open and ("service '%s': %s"):format(self.path, failure.count(own.n, "client"))
    or ("service '%s' (closed)"):format(self.path)
end

Service.__close, Service.__gc = Service.close, Service.close

return server
