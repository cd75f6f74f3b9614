--- The loop that users see: arguments are checked here, and blamed on the caller's line; loops/epoll.lua does the rest.
local among = require "minigun.loops.among"
local checks = require "minigun.loops.checks"
local core = require "minigun.core"
local descriptors = require "minigun.system.descriptors"
local epoll = require "minigun.loops.epoll"
local failure = require "minigun.base.failure"
local forking = require "minigun.loops.forking"
local methods = require "minigun.base.methods"
local stack = require "minigun.base.stack"
local timers = require "minigun.loops.timers"
local traceback = require "minigun.base.traceback"

local face = {}

local EPERM <const> = 1
local CHECK <const> = os.getenv "MINIGUN_CHECK" ~= nil
local modes <const> = { r = true, w = true, rw = true }
-- Signals of a fault of the process itself, that cannot be caught, and whose handler is not to be touched.
local REFUSED <const> = {
  KILL = "it cannot be caught", STOP = "it cannot be caught",
  CHLD = "use watch_process, which needs no handler that could take the exit status of others' children",
  SEGV = "it tells of a fault of this process", BUS = "it tells of a fault of this process",
  FPE = "it tells of a fault of this process", ILL = "it tells of a fault of this process",
}

---@class minigun.Watch
--- What `watch_io`, `after`, `every`, `watch_signal` and `watch_process` return.
local Watch = { __name = "minigun.watch" }
Watch.__index = Watch
methods.suggest(Watch, "a watch")

---@class minigun.Loop
--- An event loop: it calls functions when descriptors are ready, times have come, signals have arrived and processes
--- have ended. The same for each adapter.
---@field name string "epoll", "select", "copas", "cqueues", "luv" or "event"
local Loop = { __name = "minigun.loop" }
Loop.__index = Loop
methods.suggest(Loop, "a loop")

local function check(self, method)
  if getmetatable(self) ~= Loop then
    failure.raise(("loop:%s: call it with a colon, on what loop.new() has returned"):format(method))
  end
  if self.process ~= core.process() then
    failure.raise(("loop:%s: this loop belongs to process %d; make one with loop.new()"):format(method, self.pid))
  end
  if self.closed then failure.raise(("loop:%s: the loop is closed"):format(method)) end
end

local function new_watch(fields) return setmetatable(fields, Watch) end

local function check_function(f, method)
  if type(f) ~= "function" and not (debug.getmetatable(f) or {}).__call then
    failure.raise(("loop:%s: a function expected, got %s"):format(method, failure.show(f)))
  end
end

--- Ends the watch: its function is not called any more. May be called twice. A descriptor's is to end before the
--- descriptor is closed. Of the last watch of a signal: what the signal did before it does again. A process whose watch
--- ends before it stays to be waited for.
function Watch:stop()
  if getmetatable(self) ~= Watch then failure.raise "watch:stop: call it with a colon" end
  if self.loop then check(self.loop, "stop") end
  epoll.stop(self)
end

local function fire_once(_, watch)
  epoll.stop(watch)
  watch.f(watch)
end

-- A timer that comes late does not make the next ones come at once.
local function fire_again(self, watch, now)
  local due = watch.due + watch.period
  self.timers:add(watch, due > now and due or now + watch.period)
  watch.f(watch)
end

-- --- what the program asks for -----------------------------------------------------------------------------------

--- Calls a function when a descriptor is ready, as long as it is; also as long as a connection of `w:accept`, or a
--- socket of luasocket, still holds something that it has read already (its method `dirty`): when the watch begins, and
--- after each call.
---@param object integer|userdata|table a descriptor, an open file, or an object with a method `getfd` or `pollfd`
---@param mode "r"|"w"|"rw" there is something to read, or the end; there is room to write; any of both
---@param f fun(object: any, ready: "r"|"w"|"rw") with the object; where there is an error or an end, both are ready
---@return minigun.Watch? watch nil: it cannot be waited for (a regular file is always ready)
---@return string? message
---@return integer? errno
function Loop:watch_io(object, mode, f)
  check(self, "watch_io")
  local fd = descriptors.of(object)
  if not fd then
    failure.raise(("loop:watch_io: a descriptor, an open file, or an object with getfd or pollfd expected, got %s")
      :format(failure.show(object)))
  end
  if not modes[mode] then
    failure.raise(('loop:watch_io: the mode is "r", "w" or "rw", got %s'):format(failure.show(mode)))
  end
  check_function(f, "watch_io")
  local watch = new_watch { f = f, object = object, dirty = mode ~= "w" and descriptors.dirty_of(object) or nil }
  local ok, message, errno = epoll.watch_io(self, watch, fd, mode)
  if not ok and errno == EPERM then message = "cannot watch a regular file or a directory: it is always ready" end
  if not ok then return nil, message, errno end
  return watch
end

--- Calls a function once, after so many seconds of the monotonic clock.
---@param seconds number
---@param f fun(timer: minigun.Watch)
---@return minigun.Watch? timer nil: there is no descriptor left, which a foreign loop needs for it
---@return string? message
---@return integer? errno
function Loop:after(seconds, f)
  check(self, "after")
  failure.check_seconds(seconds, "loop:after")
  check_function(f, "after")
  local watch = new_watch { f = f, fire = fire_once }
  local ok, message, errno = epoll.watch_time(self, watch, core.now() + seconds)
  if not ok then return nil, message, errno end
  return watch
end

--- Calls a function again and again, every so many seconds. Times that have passed while the process was busy or
--- stopped are left out.
---@param seconds number more than 0
---@param f fun(timer: minigun.Watch)
---@return minigun.Watch? timer nil: there is no descriptor left, which a foreign loop needs for it
---@return string? message
---@return integer? errno
function Loop:every(seconds, f)
  check(self, "every")
  failure.check_seconds(seconds, "loop:every")
  if seconds == 0 then failure.raise "loop:every: more than 0 seconds expected, got 0" end
  check_function(f, "every")
  local watch = new_watch { f = f, fire = fire_again, period = seconds }
  local ok, message, errno = epoll.watch_time(self, watch, core.now() + seconds)
  if not ok then return nil, message, errno end
  return watch
end

-- The name without "SIG", and the number.
local function check_signal(name)
  local short = type(name) == "string" and name:upper():gsub("^SIG", "")
  local number = short and core.signal_numbers[short]
  if not number then
    failure.raise(('loop:watch_signal: the name of a signal expected, such as "TERM", got %s'):format(
      failure.show(name)))
  end
  if REFUSED[short] then failure.raise(("loop:watch_signal: SIG%s: %s"):format(short, REFUSED[short])) end
  return short, number
end

--- Calls a function when this process gets a signal. Several watches of one signal are all called. While there is one
--- the signal does nothing else; what it did before it does again when the last has ended.
---@param name string "TERM", "HUP", "USR1" …, with or without "SIG"
---@param f fun(name: string) with the name, without "SIG"; once for each time that the signal has come
---@return minigun.Watch? watch
---@return string? message
---@return integer? errno
function Loop:watch_signal(name, f)
  check(self, "watch_signal")
  local short, number = check_signal(name)
  check_function(f, "watch_signal")
  local watch = new_watch { f = f }
  local ok, message, errno = epoll.watch_signal(self, watch, number, short)
  if not ok then return nil, message, errno end
  return watch
end

---@class minigun.Ended
--- How a process has ended; of one that is no child of this process that is known since Linux 6.15.
---@field pid integer
---@field code integer? its exit code
---@field signal integer? the signal that has ended it
---@field unknown boolean? it is not known how: another part of the program has waited for it
---@field core boolean? it has left a core dump
---@field max_rss integer? bytes of memory, at most, of it and of the children that it has waited for
---@field cpu number? seconds of processor time, of it and of these

--- Calls a function when a process has ended. A child of this process is waited for then. Neither SIGCHLD nor other
--- children are touched. Several watches of one process are all called.
---@param pid integer of a child, or of any other process
---@param f fun(ended: minigun.Ended)
---@return minigun.Watch? watch nil: there is no such process
---@return string? message
---@return integer? errno
function Loop:watch_process(pid, f)
  check(self, "watch_process")
  if math.type(pid) ~= "integer" or pid < 1 or pid > 0x7fffffff then
    failure.raise(("loop:watch_process: the number of a process expected, got %s"):format(failure.show(pid)))
  end
  check_function(f, "watch_process")
  local watch = new_watch { f = f }
  local ok, message, errno = epoll.watch_process(self, watch, pid)
  if not ok then return nil, message, errno end
  return watch
end

---@class minigun.ForkOptions
---@field on_exit fun(ended: minigun.Ended)? called when the child has ended

--- Forks. The child calls f with a loop of its own, of the same kind, and ends with what f returns: an exit code, nil
--- or true for 0, false for 1; an error is printed, and the code is 1. It has this process's memory and descriptors,
--- but nothing of its loops: their watches, timers and signals are the parent's alone, handled signals are at their
--- defaults, and none is blocked. It leaves without running exit handlers or finalizers.
---@param f fun(loop: minigun.Loop): integer|boolean?
---@param options minigun.ForkOptions?
---@return integer? pid
---@return string? message
---@return integer? errno
function Loop:fork(f, options)
  check(self, "fork")
  check_function(f, "fork")
  if options ~= nil and type(options) ~= "table" then
    failure.raise(("loop:fork: the options are a table, got %s"):format(failure.show(options)))
  end
  for name in pairs(options or {}) do
    if name ~= "on_exit" then
      failure.raise(("loop:fork: no option is called %s; there is 'on_exit'"):format(failure.show(name)))
    end
  end
  local on_exit = options and options.on_exit
  if on_exit ~= nil then check_function(on_exit, "fork") end
  local process, pid, errno = core.fork(forking.child, f, self.again)
  if not process then return nil, pid, errno end
  local ok, message
  ok, message, errno = epoll.watch_process(self, new_watch { f = on_exit }, pid, process)
  if ok then return pid end
  core.kill(pid, core.signal_numbers.KILL) -- out of descriptors: its end would not be noticed
  while not process:reap() do core.sleep(0.001) end
  return nil, message, errno
end

-- --- running -----------------------------------------------------------------------------------------------------

-- What a foreign loop calls when the descriptor is readable. Where `run` or `step` drives it an error waits until they
-- have come back; else the error is for that loop's own.
local function make_ready(self)
  return function()
    if self.process ~= core.process() or self.in_pass or self.closed then return end
    local ok, err = traceback.call(epoll.pass, self, 0)
    if not ok then
      epoll.stop_all(self)
      if not self.running then error(err.raised, 0) end
      self.failed = err
    end
    if self.running and (self.stopped or self.failed) then self.driver:stop() end
    among.wake(self)
  end
end

local function drive(self, method, f, ...)
  if self.running or self.in_pass then
    failure.raise(("loop:%s: the loop runs already: this is called by one of its callbacks"):format(method))
  end
  local _ <close> = self.after_run
  self.running, self.stopped = true, false
  local ok, failed = true, nil
  if stack.only_interpreter() then ok, failed = traceback.call(f, ...) else f(...) end
  failed = not ok and failed or self.failed
  self.failed = nil
  if failed then error(stack.final(failed.raised, failed.traceback), 0) end
end

local function run(self)
  while self.watching > 0 and not self.stopped do epoll.pass(self, nil) end
end

--- Waits and calls, until `stop` is called or nothing is left to wait for. An error in a callback ends it, and all
--- watches with it; it comes out here. In a foreign loop that loop runs, with all else that it has. In a thread of
--- `threads(n)` the other threads go on while it waits; there it ends when nothing of its own is left.
function Loop:run()
  check(self, "run")
  if among.others() then drive(self, "run", among.run, self)
  elseif self.driver then drive(self, "run", self.driver.run, self.driver)
  else drive(self, "run", run, self) end
end

--- Ends `run` or `step` after the callback that calls it.
function Loop:stop()
  check(self, "stop")
  self.stopped = true
  among.wake(self)
end

--- Calls what is ready, once.
---@param timeout number? seconds to wait where nothing is; 0 by default
---@return boolean more false: nothing is left to wait for
function Loop:step(timeout)
  check(self, "step")
  if timeout ~= nil then failure.check_seconds(timeout, "loop:step") end
  if among.others() then drive(self, "step", among.step, self, timeout or 0)
  elseif self.driver then drive(self, "step", self.driver.step, self.driver, timeout or 0)
  else drive(self, "step", epoll.pass, self, timeout or 0) end
  return self.watching > 0
end

--- A descriptor for another event loop: readable when `step` has something to do. Timers and signals make it readable
--- too. Watch it, do nothing else with it.
---@return integer? fd always the same
---@return string? message
---@return integer? errno
function Loop:fd()
  check(self, "fd")
  if not self.exposed then
    self.exposed = true
    local ok, message, errno = epoll.arm(self)
    self.exposed = ok
    if not ok then return nil, message, errno end
  end
  return self.poller:fd()
end

--- Ends all watches and gives the descriptors back. May be called twice. So does the end of a to-be-closed variable.
function Loop:close()
  if self.closed or self.process ~= core.process() then return end
  epoll.stop_all(self)
  epoll.sync(self)
  self.closed = true
  if self.driver and self.driver.close then self.driver:close() end
  self.poller:close()
end

-- What its driver has is collected too, and sees to itself.
local function forget(self)
  self.driver = nil
  self:close()
end

Loop.__close, Loop.__gc = Loop.close, forget

--- Makes a loop.
---@param name string of its adapter
---@param again fun(): table makes another one of the same kind, in a child
---@param driver table?
--- what the adapter does: `attach(fd, f)`: from now on f is called whenever fd is readable; `detach()`; `run()`, until
--- `stop()` or nothing is left; `step(timeout)`; `most`: the highest descriptor that it can wait for;
--- `close()`, where it holds something.
--- nil: the library's own loop
---@return minigun.Loop? loop
---@return string? message
---@return integer? errno
function face.new(name, again, driver)
  local poller, message, errno = core.poller()
  if not poller then return nil, message, errno end
  if driver and driver.most and poller:fd() > driver.most then
    failure.raise(("loop.new '%s': it can wait for descriptors up to %d, and this would be %d; use another loop, " ..
      "such as 'epoll'"):format(name, driver.most, poller:fd()))
  end
  local self = setmetatable({
    name = name, again = again, driver = driver, poller = poller, process = core.process(), pid = core.pid(),
    watching = 0, attached = false, exposed = driver ~= nil, passes = 0,
    all = {}, by_fd = {}, gone = {}, early = {}, signals = {}, processes = {}, timers = timers.new(), found = {},
  }, Loop)
  self.ready = make_ready(self)
  self.after_pass = setmetatable({}, { __close = function(_, err)
    self.in_pass = false
    if self.closed or self.process ~= core.process() then return end
    if CHECK and err == nil then checks.loop(self) end
    epoll.sync(self)
    local armed, why = epoll.arm(self)
    if not armed and err == nil then error("the event loop has failed: " .. why, 0) end
  end })
  self.after_run = setmetatable({}, { __close = function(_, err)
    self.running = false
    if err ~= nil and not self.closed and self.process == core.process() then epoll.stop_all(self) end
  end })
  return self
end

--- Whether a value is such a loop.
---@param value any
---@return boolean
function face.is(value) return getmetatable(value) == Loop end

return face
