--- A worker of a server, in its process: what the user's function gets, and what becomes of it.
local core = require "minigun.core"
local failure = require "minigun.base.failure"
local kinds = require "minigun.supervisor.kinds"
local methods = require "minigun.base.methods"
local schema = require "minigun.base.schema"
local traceback = require "minigun.base.traceback"

local worker = {}

local STARTING <const>, READY <const>, DRAINING <const> = 0, 1, 2
local NOTHING <const> = 0 -- of what a master asks
local FAILED <const>, CONFIG <const> = 1, 78 -- exit codes; the second: starting it again is of no use
local PAUSE <const> = 0.05 -- seconds for which nothing is accepted where there is no descriptor or memory for it
local GIVE_WAY <const> = 0.002 -- seconds for which another worker may go first
local LOOK <const> = 0.05 -- seconds between two looks at the connections in hand of a worker that is to end

---@class minigun.Connection
--- A connection of a worker without an event loop (and under epoll and event, where nothing waits: its time-out is 0
--- there). Its methods have luasocket's names and results, so that code written for that works.
---@field receive fun(self, pattern?: "*l"|"*a"|integer, prefix?: string): string?, string?, string?
--- a line (the default), all until the end, or so many bytes; nil, the reason ("closed", "timeout", "line too long" at
--- 1 MiB, or the system's) and what has come
---@field send fun(self, bytes: string, from?: integer, to?: integer): integer?, string?, integer?
--- the number of the last byte that was sent; nil, the reason and that number
---@field settimeout fun(self, seconds?: number, mode?: "b"|"t")
--- how long one wait ("b", the default) or one call ("t") may take; nil: no limit, as at the beginning
---@field shutdown fun(self, how?: "receive"|"send"|"both")
---@field close fun(self)
---@field getfd fun(self): integer
---@field dirty fun(self): boolean whether `receive` has bytes already, which no event loop sees
---@field getpeername fun(self): string, integer, string host, port, family
---@field getsockname fun(self): string, integer, string

---@class minigun.Worker
--- A worker of a supervisor, as its function gets it.
---@field number integer from 1; its successor has the same
---@field generation integer 1, and one more after each rolling restart
---@field name string the supervisor's
---@field loop table? the event loop (`minigun.loop`), where the option `loop` names one
---@field native any what that loop is in: a controller of cqueues, or the module luv, copas or socket; nil for others
local Worker = { __name = "minigun.worker" }
Worker.__index = Worker
methods.suggest(Worker, "a worker of a server", { "loop", "native" })

-- --- what the user calls --------------------------------------------------------------------------------------------

local function check_callable(f, method)
  if schema.is_callable(f) then return end
  failure.raise(("worker:%s: a function expected, got %s"):format(method, failure.show(f)))
end

-- Without an address nothing ever comes, and no restart changes that.
local function check_listens(self, method)
  if self.sockets[1] then return end
  self.code = CONFIG
  failure.raise(("worker:%s: the server '%s' listens nowhere: say listen = { \"127.0.0.1:8080\" }, or --listen of " ..
    "minigun serve"):format(method, self.name))
end

local function set_state(self, state)
  self.state = state
  self.line:state(state)
  core.event_ring(self.bell)
end

--- Says that this worker serves from now on. A replacement's predecessor drains now.
function Worker:ready()
  if self.state == STARTING then set_state(self, READY) end
end

--- Counts a request that was answered, which is a beat, too.
function Worker:done()
  local requests = self.line:done()
  if requests == self.most_requests then core.event_ring(self.bell) end
end

--- Says that this worker is alive: in long work between two waits. Costs no system call.
---@param text string? what it is at, for the message where it gets stuck; at most 63 bytes are kept
function Worker:beat(text) self.line:beat(text) end

--- Whether this worker is to stop: it takes nothing new and leaves when what is in hand is done.
---@return boolean
function Worker:stopping()
  return self.state == DRAINING or (self.line:asked()) ~= NOTHING
end

--- Calls a function when this worker is to stop; at once where it is already. For what a library's own accept is to
--- end.
---@param f fun()
function Worker:on_stop(f)
  check_callable(f, "on_stop")
  if self.stopped then return f() end
  table.insert(self.stops, f)
end

--- One of the sockets that the server listens at, as the loop's own kind of socket: cqueues', luv's (a `uv_tcp_t` or
--- `uv_pipe_t`), luasocket's for select and copas; without a loop, and for epoll and event, its descriptor.
---@param i integer? 1 by default, in the order of `listen`
---@return any socket
function Worker:socket(i)
  local socket = self.sockets[i or 1]
  if not socket then
    check_listens(self, "socket")
    failure.raise(("worker:socket(%s): the server listens at %s"):format(failure.show(i),
      failure.count(#self.sockets, "socket")))
  end
  return kinds.listening(self.options.loop, socket)
end

--- The sockets that the server listens at.
---@return string[] addresses
function Worker:addresses()
  local list = {}
  for i, socket in ipairs(self.sockets) do list[i] = socket.address end
  return list
end

-- --- being asked ----------------------------------------------------------------------------------------------------

local function release(self)
  if self.watch then self.watch:stop() end
  if self.timer then self.timer:stop() end
  if self.looker then self.looker:stop() end
end

local function begin_drain(self)
  if self.stopped then return end
  self.stopped = true
  self.acceptor:listen(false)
  set_state(self, DRAINING)
  for _, f in ipairs(self.stops) do f() end
  if not self.serve then release(self) end -- the loop ends when the library's own sockets have
end

local function reopen(self)
  for _, f in ipairs(self.options.reopen or {}) do f(self) end
end

-- What `accept` and `take` have said instead of a connection. false: it is over.
local function answer(self, what)
  if what == "reopen" then
    reopen(self)
    return true
  elseif what == "stop" or what == "orphan" then
    begin_drain(self)
    return false
  end
  -- Out of descriptors or memory: what is in hand may give some back.
  if not self.complained or core.now() - self.complained > 1 then
    self.complained = core.now()
    io.stderr:write(("minigun: %s: worker %d: %s\n"):format(self.name, self.number, what))
  end
  return true
end

-- --- without a loop -------------------------------------------------------------------------------------------------

local function next_connection(self, before)
  if before then before:close() end
  while true do
    local connection, what, errno = self.acceptor:accept()
    if connection then return connection end
    if not answer(self, what) then return nil end
    if errno then core.sleep(PAUSE) end
  end
end

local function serve_blocking(self, f)
  for connection in next_connection, self do
    local ok, err = traceback.call(f, connection, self)
    if not ok then worker.complain(self, err) end
  end
end

--- Takes connections. Without a function: an iterator, `for connection in w:accept() do`, which ends when the worker is
--- asked to stop, and closes each connection when the next is taken; an error in the loop ends the worker. With a
--- function: it is called for each connection, which is closed when it returns; its error is written to standard error
--- and ends this connection only. In a worker with an event loop `accept` returns at once, and the function runs as a
--- coroutine of the loop under cqueues and copas; elsewhere it is a callback, and the connection is in hand until
--- `w:close(connection)`, or until it is found closed.
---@param f fun(connection: any, w: minigun.Worker)?
---@return fun(): minigun.Connection? next without a function and loop
function Worker:accept(f)
  if f ~= nil or self.loop then check_callable(f, "accept") end
  check_listens(self, "accept")
  self:ready()
  assert(self.acceptor:listen(not self.stopped))
  if self.loop then
    self.serve = f
    return nil
  end
  if f then return serve_blocking(self, f) end
  return next_connection, self
end

-- --- with a loop ----------------------------------------------------------------------------------------------------

local function leave_when_done(self)
  local asked_to_wait = self.busy > 0
  if self.stopped and not asked_to_wait and self.serve then self.loop:stop() end
end

--- With an event loop: a connection of `w:accept(f)` is not in hand any more; it is closed.
---@param connection any
function Worker:close(connection)
  if not self.held[connection] then return end
  self.held[connection] = nil
  self.busy = self.busy - 1
  self.line:hold(-1)
  kinds.close(self.options.loop, connection)
  leave_when_done(self)
end

-- Lets go of connections that were closed by a method of their own.
local function look(self)
  for connection in pairs(self.held) do
    if kinds.is_closed(self.options.loop, connection) then self:close(connection) end
  end
end

local function run_handler(self, connection)
  local ok, err = traceback.call(self.serve, connection, self)
  if not ok then worker.complain(self, err) end
  return ok
end

-- Returns nil and why where there is none.
local function begin_connection(self, fd)
  local connection, message = kinds.connection(self.options.loop, fd, self.acceptor)
  if not connection then
    self.line:hold(-1)
    return nil, message
  end
  self.held[connection] = true
  self.busy = self.busy + 1
  kinds.start(self.options.loop, self.native, function(in_coroutine)
    if in_coroutine then self.line:enter() end
    local ok = run_handler(self, connection)
    if in_coroutine then self.line:leave() end
    if in_coroutine or not ok then self:close(connection) end
  end)
  return true
end

local MOST_AT_ONCE <const> = 16

local function stop_taking(self)
  if self.serve then self.looker = self.loop:every(LOOK, function() look(self) end) end
  look(self)
  leave_when_done(self)
end

local function pause(self, seconds)
  self.acceptor:pause(true)
  self.loop:after(seconds, function()
    if not self.stopped then self.acceptor:pause(false) end
  end)
end

-- The loop says that there is something to take.
local function take(self)
  for i = 1, MOST_AT_ONCE do
    local fd, what, errno = self.acceptor:take(i > 1)
    local begun = false
    if fd then begun, what = begin_connection(self, fd) end
    if what == "again" then return end
    if what == "later" then return pause(self, GIVE_WAY) end
    if not begun then
      if not answer(self, what) then return stop_taking(self) end
      if fd or errno then return pause(self, PAUSE) end
    end
  end
end

local function run_loop(self)
  local beats = self.options.heartbeat_timeout
  self.watch = self.loop:watch_io(self.acceptor:fd(), "r", function() take(self) end)
  self.timer = self.loop:every(beats and math.min(1, beats / 4) or 1, function()
    self.line:beat()
    look(self)
  end)
  self.line:beat()
  self.loop:run()
  release(self)
end

-- `w.accept(f)`, with a dot, is recognised here, once for all methods.
for name, method in pairs(Worker) do
  if type(method) == "function" then
    Worker[name] = function(self, ...)
      if getmetatable(self) ~= Worker then
        failure.raise(("call %s with a colon, on a worker: w:%s(...)"):format(name, name))
      end
      return method(self, ...)
    end
  end
end

-- --- the process ----------------------------------------------------------------------------------------------------

--- Writes an error of the user's to standard error.
---@param self minigun.Worker
---@param err table as from traceback.call
function worker.complain(self, err)
  io.stderr:write(("minigun: %s: worker %d (pid %d): %s%s\n"):format(self.name, self.number, core.pid(), err.message,
    err.traceback and "\n" .. err.traceback or ""))
end

local function become(options)
  if not options.identity then return end
  local user = options.identity
  assert(core.become(user.user, user.group, user.name))
end

local function main(self)
  for _, f in ipairs(self.options.after_fork or {}) do f(self) end
  local code = self.options.worker(self)
  if self.loop and not self.stopped then run_loop(self) end
  return code
end

--- What a worker's process does.
---@param given table `number`, `generation`, `options`, `sockets`, `line`, `bell`, `control`
---@return integer code to leave with
function worker.run(given)
  local self = setmetatable(given, Worker)
  self.name, self.state, self.stops, self.held, self.busy = given.options.name, STARTING, {}, {}, 0
  local fds = {}
  for i, socket in ipairs(self.sockets) do fds[i] = socket.fd end
  local ok, code = traceback.call(function()
    become(self.options)
    self.acceptor = assert(core.acceptor(self.line, fds, self.control))
    self.line:on_notice()
    if self.options.loop then self.loop, self.native = kinds.make_loop(self.options.loop) end
    return main(self)
  end)
  if not ok then
    if self.code == CONFIG then code.traceback = nil end -- the message names the line
    worker.complain(self, code)
    code = self.code or FAILED
  end
  io.stdout:flush()
  return math.type(code) == "integer" and code >= 0 and code <= 255 and code or 0
end

return worker
