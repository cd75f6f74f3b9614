--- The library's own event loop, and what of it is the same inside of any other: watches, and one pass over them.
--
-- 1. All that is watched is in ONE epoll descriptor (src/lua/lua_poll.c): descriptors, the pidfds of processes, a bell
--    for signals and, where another loop waits for it, a timer. A foreign loop has that descriptor and nothing else of
--    ours.
-- 2. A loop belongs to the process that made it. In a child each method raises at the caller's line; what a child drops
--    or collects touches nothing of its parent's.
-- 3. The function of a watch is not called any more after `stop`, also where something has come in the same pass.
-- 4. A watch that begins in a pass hears of nothing that was found before: its descriptor's number may have been
--    another file's.
-- 5. `stop` and an error take effect between two callbacks. What was not reported is found by the next pass:
--    descriptors and processes stay ready, signals are counted.
-- 6. What an object has read ahead its descriptor does not tell of: its watch is called by a timer that is due at once.
-- 7. An error in a callback ends `run` and all watches: what stood before stands again; the error goes to the caller.
local arrays = require "minigun.base.arrays"
local core = require "minigun.core"

local epoll = {}

local LOOK_AGAIN <const> = 0.02 -- seconds between two looks at a process that no descriptor tells of
local PATIENCE <const> = 0.5     -- seconds in which a new child may still close a descriptor of its parent's
local modes <const> = { "r", "w", "rw" }
local bits <const> = { r = 1, w = 2, rw = 3 }

-- --- what is watched ---------------------------------------------------------------------------------------------

--- A foreign loop has the descriptor as long as there is something to wait for: it may end when it has nothing else.
---@param self table the loop
function epoll.sync(self)
  local driver, wanted = self.driver, self.watching > 0
  if not driver or wanted == self.attached then return end
  if wanted then driver:attach(self.poller:fd(), self.ready) else driver:detach() end
  self.attached = wanted
end

local function count(self, by)
  self.watching = self.watching + by
  if not self.in_pass then epoll.sync(self) end
end

-- From now on it is one of the loop's.
local function begin(self, kind, watch)
  watch.loop, watch.kind, watch.since = self, kind, self.passes
  self.all[watch] = true
  count(self, 1)
  return true
end

--- Sees to it that the descriptor becomes readable when the next timer is due, where another loop waits for it.
---@param self table
---@return boolean? ok
---@return string? message
---@return integer? errno
function epoll.arm(self)
  if not self.exposed or self.in_pass then return true end
  local first = self.timers:first()
  local due = first and first.due
  if due == self.armed then return true end
  local ok, message, errno = self.poller:wake(due and math.max(0, due - core.now()))
  self.armed = ok and due
  return ok, message, errno
end

--- Begins a timer. `watch.fire(loop, watch, now)` is called when it is due; it is out of the list then.
---@param self table
---@param watch table
---@param due number of core.now
---@return boolean? ok
---@return string? message
---@return integer? errno
function epoll.watch_time(self, watch, due)
  self.timers:add(watch, due)
  local ok, message, errno = epoll.arm(self)
  if ok then return begin(self, "timer", watch) end
  self.timers:remove(watch)
  return nil, message, errno
end

-- Tells the poller what the watches of a descriptor add up to.
local function set(self, fd)
  local mode, list = 0, self.by_fd[fd] or {}
  for _, watch in ipairs(list) do mode = mode | bits[watch.mode] end
  if not list[1] then self.by_fd[fd], self.gone[fd] = nil, self.passes end
  return self.poller:set(fd, modes[mode])
end

local function watch_fd(self, watch, fd, mode)
  watch.fd, watch.mode = fd, mode
  self.by_fd[fd] = self.by_fd[fd] or {}
  table.insert(self.by_fd[fd], watch)
  local ok, message, errno = set(self, fd)
  if ok then return true end
  arrays.take_out(self.by_fd[fd], watch)
  set(self, fd)
  return nil, message, errno
end

local release = {}

function release.io(self, watch)
  arrays.take_out(self.by_fd[watch.fd], watch)
  set(self, watch.fd) -- where it is closed already the kernel has forgotten it
  if watch.ahead then self.timers:remove(watch.ahead) end
end

local tell_ahead

-- Whether the object of a watch holds something that it has read ahead; then the watch is called once more.
local function look_ahead(self, watch)
  if watch.ahead or not watch.dirty(watch.object) then return end
  watch.ahead = { fire = tell_ahead, watch = watch }
  self.timers:add(watch.ahead, core.now())
end

function tell_ahead(self, timer)
  local watch = timer.watch
  watch.ahead = nil
  if not watch.dirty(watch.object) then return end
  watch.f(watch.object, "r")
  if watch.loop then look_ahead(self, watch) end
end

--- Begins the watch of a descriptor: `watch.f(watch.object, ready)`.
---@param self table
---@param watch table
---@param fd integer
---@param mode "r"|"w"|"rw"
---@return boolean? ok
---@return string? message
---@return integer? errno
function epoll.watch_io(self, watch, fd, mode)
  local ok, message, errno = watch_fd(self, watch, fd, mode)
  if ok and watch.dirty then
    look_ahead(self, watch)
    ok, message, errno = epoll.arm(self)
    if not ok then release.io(self, watch) end
  end
  if not ok then return nil, message, errno end
  return begin(self, "io", watch)
end

--- Begins the watch of a signal: `watch.f(name)`.
---@param self table
---@param watch table
---@param number integer
---@param name string
---@return boolean? ok
---@return string? message
---@return integer? errno
function epoll.watch_signal(self, watch, number, name)
  local entry = self.signals[number]
  if not entry then
    local ok, message, errno = self.poller:ring()
    if ok then ok, message, errno = core.count_signal(number, true) end
    if not ok then return nil, message, errno end
    entry = { name = name, list = {}, seen = core.signal_count(number) }
    self.signals[number] = entry
  end
  watch.number = number
  table.insert(entry.list, watch)
  return begin(self, "signal", watch)
end

function release.timer(self, watch)
  self.timers:remove(watch)
  epoll.arm(self)
end

function release.signal(self, watch)
  local entry = self.signals[watch.number]
  arrays.take_out(entry.list, watch)
  if entry.list[1] then return end
  self.signals[watch.number] = nil
  core.count_signal(watch.number, false)
end

-- A process is not looked at any more.
local function let_go(self, entry)
  if self.processes[entry.pid] == entry then self.processes[entry.pid] = nil end
  if entry.by_fd then
    entry.by_fd.loop = nil
    release.io(self, entry.by_fd)
  end
  if entry.by_time then release.timer(self, entry.by_time) end
  entry.process:close()
  entry.by_fd, entry.by_time, entry.process = nil, nil, nil
end

function release.process(self, watch)
  local entry = watch.entry
  arrays.take_out(entry.list, watch)
  if not entry.list[1] and entry.process then let_go(self, entry) end
end

--- Ends a watch; nothing happens where it has ended.
---@param watch table
function epoll.stop(watch)
  local self = watch.loop
  if not self then return end
  watch.loop = nil
  self.all[watch] = nil
  release[watch.kind](self, watch)
  count(self, -1)
end

--- Ends all watches of a loop.
---@param self table
function epoll.stop_all(self)
  local list = {}
  for watch in pairs(self.all) do list[#list + 1] = watch end
  for _, watch in ipairs(list) do epoll.stop(watch) end
end

-- --- one pass ----------------------------------------------------------------------------------------------------

-- Calls what is to be called of a list that callbacks may change. Returns false where the pass is to end.
local function tell(self, list, ...)
  for _, watch in ipairs { table.unpack(list) } do
    if watch.loop then watch.f(...) end
    if self.stopped then return false end
  end
  return true
end

local function tell_signals(self)
  local hits
  for number, entry in pairs(self.signals) do
    if core.signal_count(number) ~= entry.seen then
      hits = hits or {}
      hits[#hits + 1] = number
    end
  end
  for _, number in ipairs(hits or {}) do
    local entry = self.signals[number]
    while entry and self.signals[number] == entry and core.signal_count(number) ~= entry.seen do
      entry.seen = entry.seen + 1 & 0xffffffff
      if not tell(self, entry.list, entry.name) then return false end
    end
  end
  return true
end

-- The kernel may report a descriptor that is not watched any more: it was closed before its watch was stopped, and a
-- child has it open still. Then the kernel goes on, and does not let us take it out. A child that is just begun closes
-- it soon.
local function closed_too_early(self, fd)
  if self.gone[fd] == self.passes then return end -- by a callback of this pass
  local out, message = self.poller:set(fd, "")
  if out then return end
  self.early[fd] = self.early[fd] or core.now()
  if core.now() - self.early[fd] < PATIENCE then return end
  error(("descriptor %d was closed before its watch was stopped, and another process has it open: stop a watch " ..
    "first, then close (%s)"):format(fd, message), 0)
end

local function tell_descriptor(self, fd, mode)
  local list = self.by_fd[fd]
  if not list then
    closed_too_early(self, fd)
    return true
  end
  for _, watch in ipairs { table.unpack(list) } do
    if watch.loop and bits[watch.mode] & bits[mode] ~= 0 and watch.since < self.passes then
      watch.f(watch.object, mode)
      if watch.dirty and watch.loop then look_ahead(self, watch) end
      if self.stopped then return false end
    end
  end
  return true
end

local function tell_timers(self)
  local now, last = core.now(), self.timers.made
  local entry = self.timers:first()
  while entry and entry.due <= now and entry.turn <= last do
    self.timers:remove(entry)
    entry.fire(self, entry, now)
    if self.stopped then return false end
    entry = self.timers:first()
  end
  return true
end

--- Tells what is ready; before that waits for it. Raises what a callback raises.
---@param self table
---@param timeout number? seconds; nil: as long as it takes
function epoll.pass(self, timeout)
  local _ <close> = self.after_pass
  self.in_pass = true
  local first = self.timers:first()
  local rest = first and math.max(0, first.due - core.now())
  if rest and (not timeout or rest < timeout) then timeout = rest end
  local n, message = self.poller:wait(timeout, self.found)
  if not n then error("the event loop has failed: " .. message, 0) end
  self.passes, self.gone, self.armed = self.passes + 1, {}, nil
  if not tell_signals(self) then return end
  for i = 1, 2 * n, 2 do
    if not tell_descriptor(self, self.found[i], self.found[i + 1]) then return end
  end
  tell_timers(self)
end

-- --- processes ---------------------------------------------------------------------------------------------------

local function fire_exit(_, timer)
  local watch = timer.watch
  if not watch.loop then return end
  epoll.stop(watch)
  if watch.f then watch.f(timer.exit) end
end

-- Where the process has ended: each of its watches gets a timer that is due now.
local function look(self, entry)
  local ended, code, signal, dumped, max_rss, cpu = entry.process:reap()
  if ended == nil then error(code, 0) end
  if not ended then return end
  let_go(self, entry)
  for _, watch in ipairs(entry.list) do
    self.timers:add({ fire = fire_exit, watch = watch, exit = { pid = entry.pid, code = code, signal = signal,
      unknown = not code and not signal or nil, core = dumped or nil, max_rss = max_rss, cpu = cpu } }, core.now())
  end
end

local function fire_look(self, timer, now)
  self.timers:add(timer, now + LOOK_AGAIN)
  look(self, timer.entry)
end

-- From now on a process is looked at when its descriptor says so, where it has one, and now and then where it needs
-- that.
local function begin_process(self, process, pid)
  local entry = { process = process, pid = pid, list = {} }
  local fd, polled = process:fd()
  if polled then
    entry.by_time = { fire = fire_look, entry = entry }
    self.timers:add(entry.by_time, core.now() + LOOK_AGAIN)
    local ok, message, errno = epoll.arm(self)
    if not ok then
      self.timers:remove(entry.by_time)
      return nil, message, errno
    end
  end
  if fd then
    entry.by_fd = { loop = self, since = self.passes, f = function() look(self, entry) end }
    local ok, message, errno = watch_fd(self, entry.by_fd, fd, "r")
    if not ok then
      if entry.by_time then release.timer(self, entry.by_time) end
      return nil, message, errno
    end
  end
  self.processes[pid] = entry
  return entry
end

--- Begins the watch of a process: `watch.f(ended)`, where there is an f.
---@param self table
---@param watch table
---@param pid integer
---@param process userdata? that stands for it already
---@return boolean? ok
---@return string? message
---@return integer? errno
function epoll.watch_process(self, watch, pid, process)
  local entry, message, errno = self.processes[pid], nil, nil
  if process or not entry then
    if not process then process, message, errno = core.watch_process(pid) end
    if not process then return nil, message, errno end
    entry, message, errno = begin_process(self, process, pid)
    if not entry then return nil, message, errno end
  end
  watch.entry = entry
  table.insert(entry.list, watch)
  return begin(self, "process", watch)
end

return epoll
