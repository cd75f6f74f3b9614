--- The event loop of one process: runs coroutines, called tasks, and wakes them when what they wait for is there.
--
-- Where cqueues is installed the tasks are coroutines of a controller of it (controller.lua); elsewhere a list of waits
-- and an epoll descriptor do. A loop belongs to the process that made it: a child that is forked must not touch its
-- parent's, and `forget`s it.
--
-- A task's function runs in a coroutine of its own (`task.co`), which is resumed by `enter`: there it is known what
-- runs, how long, and which coroutine Ctrl-C should reach. What it yields says what it waits for:
--     PARK            nothing: other code will `unpark` it
--     MORE            its turn: it goes on with the next step (and so does one that yields anything unknown)
--     WAIT            what `task.fd`, `task.mode`, `task.due` say
--     cqueues' own    what cqueues.poll was given
-- A task that has a `deadline` is resumed then, at the latest.
local controller = require "minigun.handlers.controller"
local core = require "minigun.core"
local descriptors = require "minigun.system.descriptors"
local failure = require "minigun.base.failure"
local programs = require "minigun.system.programs"
local seeds = require "minigun.system.seeds"
local waiting = require "minigun.system.waiting"

local tasks = {}

tasks.PARK, tasks.MORE, tasks.WAIT = "minigun.park", "minigun.more", "minigun.wait"
local PARK <const>, MORE <const>, WAIT <const> = tasks.PARK, tasks.MORE, tasks.WAIT

local Loop = {}
Loop.__index = Loop

-- What runs at present: a task, and the coroutine of it that may wait. nil outside of tasks.
local running, running_co
-- The run whose stages run in this process at present, if there is one that can go on while one of them waits.
local server
-- Functions to be called when the step of a loop is over, see `afterwards`.
local guests = {}
-- Loops that are open: the collector of a child must not find one of its parent's.
local open_loops = {}

-- --- tasks -------------------------------------------------------------------------------------------------------

-- Notes what a resume has used up and which task runs again.
local function left(self, outer, outer_co, start, task, random, ...)
  running, running_co = outer, outer_co
  if random then task.random = seeds.swap(random) end
  if self.guard then self.guard:watch(outer_co) end
  if not outer_co and task.ran then task.ran(core.now() - start) end
  return ...
end

--- Resumes a coroutine of a task.
---@param task table
---@param co thread `task.co`, or one that it runs inside of itself
---@param ... any passed on
---@return boolean ok and what coroutine.resume returns after it
function Loop:enter(task, co, ...)
  local outer, outer_co = running, running_co
  running, running_co = task, co
  self.entered = self.entered + 1
  if self.guard then self.guard:watch(co) end
  local start = not outer_co and core.now() or nil
  local random = self.seeded and not outer_co and seeds.swap(task.random) or nil
  return left(self, outer, outer_co, start, task, random, coroutine.resume(co, ...))
end

--- A task runs one more coroutine inside of its own, which may wait too; without one: not any more.
---@param co thread?
function Loop:inner(co)
  if co then
    self.outer[#self.outer + 1] = running_co
    running_co = co
  else
    running_co = table.remove(self.outer)
  end
  if self.guard then self.guard:watch(running_co) end
end

-- A task has ended; an error in it ends the step.
local function ended(self, task, ok, err)
  self.tasks[task] = nil
  if not ok and not self.failed then self.failed, self.err = true, err end
end

--- Starts a task; it runs with the next step.
---@param f function
---@param ran function? (seconds): hears of each time that it has run without letting others
---@return table task
function Loop:spawn(f, ran)
  local task = { loop = self, co = coroutine.create(f), ran = ran }
  self.tasks[task] = true
  self:begin(task)
  return task
end

--- Ends a task that does not run: its coroutine is closed.
---@param task table
---@return boolean ok and the error, as from coroutine.close
---@return any err
function Loop:cancel(task)
  self.tasks[task] = nil
  self:drop(task)
  return programs.close(task.co, true)
end

-- What tasks have asked for that is not to run inside of one.
local function run_guests()
  while guests[1] do
    local list = guests
    guests = {}
    for _, f in ipairs(list) do f() end
  end
end

--- Runs every task that is ready, once.
---@param guard userdata? of Ctrl-C, see system/signals.lua
---@return boolean busy whether any ran; raises the error of a task that has ended with one
function Loop:step(guard)
  local busy = self:turn(guard)
  run_guests()
  return busy
end

function Loop:turn(guard)
  if self.stepping then return false end -- a task has called something that steps
  local _ <close> = setmetatable({}, { __close = function() self.stepping = false end })
  self.stepping, self.guard, self.entered, self.began = true, guard, 0, core.now()
  self:run_ready()
  if self.failed then
    local err = self.err
    self.failed, self.err = false, nil
    error(err, 0)
  end
  return self.entered > 0
end

--- Ends all tasks and gives the descriptors back. May be called twice.
function Loop:close()
  if not open_loops[self] then return end
  open_loops[self] = nil
  for task in pairs(self.tasks) do pcall(programs.close, task.co) end -- with the files it has open
  self.tasks = {}
  self:shut()
end

-- --- the library's own -------------------------------------------------------------------------------------------

function Loop:begin(task) self.ready[#self.ready + 1] = task end

--- Lets a parked task go on.
---@param task table
function Loop:unpark(task)
  if not task.parked then return end
  task.parked = false
  self.ready[#self.ready + 1] = task
end

local modes <const> = { "r", "w", "rw" }
local bits <const> = { r = 1, w = 2, rw = 3 }

-- Tells the poller what the waits for a descriptor add up to.
local function watch(self, fd)
  local mode = 0
  for task in pairs(self.by_fd[fd] or {}) do mode = mode | bits[task.mode] end
  if mode == 0 then self.by_fd[fd] = nil end
  return self.poller:set(fd, modes[mode])
end

function Loop:drop(task)
  self.waiting[task] = nil
  local fd = task.fd
  if fd then
    task.fd = nil
    self.by_fd[fd][task] = nil
    watch(self, fd)
  end
end

local function wake(self, task, ready)
  self:drop(task)
  task.answer = ready
  self.ready[#self.ready + 1] = task
end

local function wait(self, task)
  local fd = task.fd
  self.waiting[task] = true
  local due = task.due
  if task.deadline and (not due or task.deadline < due) then due = task.deadline end
  task.wakes = due
  if due and (not self.next_due or due < self.next_due) then self.next_due = due end
  if not fd then return end
  self.by_fd[fd] = self.by_fd[fd] or {}
  self.by_fd[fd][task] = true
  if not watch(self, fd) then wake(self, task, true) end -- the next call on the descriptor will say what is wrong
end

local function settle(self, task, ok, what)
  if coroutine.status(task.co) == "dead" then return ended(self, task, ok, what) end
  if what == PARK then task.parked = true
  elseif what == WAIT then wait(self, task)
  else self.ready[#self.ready + 1] = task end
end

function Loop:poll()
  local found = self.found
  local n = next(self.by_fd) and self.poller:wait(0, found) or 0
  for i = 1, 2 * n, 2 do
    local fd, mode = found[i], bits[found[i + 1]]
    for task in pairs(self.by_fd[fd] or {}) do
      if bits[task.mode] & mode ~= 0 then wake(self, task, true) end
    end
  end
  if not self.next_due then return end
  local now = core.clock()
  if now < self.next_due then return end
  self.next_due = nil
  for task in pairs(self.waiting) do
    local due = task.wakes
    if due and due <= now then wake(self, task, false)
    elseif due and (not self.next_due or due < self.next_due) then self.next_due = due end
  end
end

function Loop:run_ready()
  self:poll()
  local list = self.ready
  self.ready = {}
  for _, task in ipairs(list) do
    if self.tasks[task] and not self.failed then
      local answer = task.answer
      task.answer = nil
      settle(self, task, self:enter(task, task.co, answer))
    end
  end
end

--- Seconds until a task is due; nil: no clock will wake one.
---@return number?
function Loop:timeout()
  if self.ready[1] then return 0 end
  return self.next_due and math.max(0, self.next_due - core.clock())
end

--- A descriptor that is readable when one that a task waits for is ready.
---@return integer
function Loop:fd() return self.poller:fd() end

function Loop:shut() self.poller:close() end

local function own()
  local poller, message = core.poller()
  if not poller then return nil, message end
  return setmetatable({ poller = poller, tasks = {}, ready = {}, waiting = {}, by_fd = {}, found = {}, entered = 0,
    outer = {} },
    Loop)
end

controller.inherit(Loop, tasks, ended)

-- --- for everybody -----------------------------------------------------------------------------------------------

--- Makes a loop of this process.
---@return table? loop nil where there are no descriptors left
---@return string? message
function tasks.new()
  local found, cqueues = pcall(require, "cqueues")
  -- Inside of another loop of cqueues a controller's step would wait in that one.
  local usable = found and not cqueues.running()
  local made, self, message = pcall(usable and controller.new or own)
  if not made then return nil, tostring(self) end
  if self then open_loops[self] = true end
  return self, message
end

--- What runs at present, is not any more: for a run inside of a task, whose stages must not make that task wait.
---@param run table? which goes on while a handler of its coordinator waits (run/producers.lua, `serve`)
---@return table? task
---@return thread? co
---@return table? outer all three for `restore`
function tasks.forget(run)
  local task, co, outer = running, running_co, server
  running, running_co, server = nil, nil, run
  return task, co, outer
end

--- Undoes `forget`.
---@param task table?
---@param co thread?
---@param outer table?
function tasks.restore(task, co, outer) running, running_co, server = task, co, outer end

--- Resumes a coroutine that is a producer of the coordinator. What it yields says what it waits for, as a task's does.
---@param task table what `sleep` and `wait` tell about the wait: `fd`, `mode`, `due`
---@param co thread
---@param answer any of the wait
---@param among function? (co, answer) that does what coroutine.resume would, and returns more
---@return boolean ok and what coroutine.resume, or `among`, returns after it
function tasks.resume(task, co, answer, among)
  running, running_co = task, co
  local ok, first, second, third, fourth, fifth = (among or coroutine.resume)(co, answer)
  running, running_co = nil, nil
  return ok, first, second, third, fourth, fifth
end

-- The task that the caller may make wait; nil: there is none, and it has to block. A handler of an inline stage that a
-- producer's emit has called is none: until it has returned its stage cannot take another item.
local function current()
  if not running_co or server and server.in_handler then return nil end
  local co = coroutine.running()
  return (co == running_co or co == running.generator) and running or nil
end

--- The iterator that is called next by the running task is a coroutine, made by coroutine.wrap: it may wait too. What
--- it yields then is for `pass_on`.
---@param co thread?
---@return table? task nil: the caller cannot wait
function tasks.generator(co)
  if not running_co or coroutine.running() ~= running_co then return nil end
  running.generator = co
  return running
end

--- Waits for what a generator has yielded, if that was to wait.
---@param task table
---@param value any what it has yielded
---@return boolean waited true: it goes on with `answer`; false: it has given the value
---@return any answer
function tasks.pass_on(task, value)
  if not task.asks then return false end
  task.asks = nil
  return true, coroutine.yield(value)
end

-- Yields from a task, or from a generator that it calls.
local function yield(task, what)
  task.asks = coroutine.running() == task.generator or nil
  return coroutine.yield(what)
end

--- Lets the other tasks have a turn; of a task.
function tasks.let_others()
  local task = current()
  if task then yield(task, MORE) end
end

local function wait_in(task, fd, mode, due)
  task.fd, task.mode, task.due = fd, mode, due
  return yield(task, WAIT)
end

--- The loop that the caller is a task of.
---@return table? loop nil: of none, or a producer of the coordinator
function tasks.loop()
  local task = current()
  return task and task.loop
end

--- Has a function called as soon as the loop that the caller is a task of has made its step. What moves a loop of its
--- own does that outside of tasks: with cqueues the step of a loop inside of another one's task waits in that one.
---@param f function () which does not raise
function tasks.afterwards(f) guests[#guests + 1] = f end

--- Whether the caller may wait without making anything else wait.
---@return boolean
function tasks.may_wait() return current() ~= nil end

waiting.may_wait = tasks.may_wait
waiting.forget = function() tasks.forget() end

--- What `minigun.sleep` does.
---@param seconds number
function tasks.sleep(seconds)
  failure.check_seconds(seconds, "minigun.sleep")
  local task = current()
  if task then
    wait_in(task, nil, nil, core.clock() + seconds)
    return
  end
  local due = core.now() + seconds
  if server and server:serve(due) then return end
  repeat
    local rest, limit = due - core.now(), core.limited() -- raises when a handler's time is over
    if rest > 0 then core.sleep(math.min(rest, 86400, limit or rest)) end -- comes back early for a signal
  until rest <= 0
end

--- What `minigun.wait` does.
---@param object integer|table|userdata
---@param mode string?
---@param timeout number?
---@return boolean? ready
---@return string? message "timeout", or the system's
---@return integer? errno
function tasks.wait(object, mode, timeout)
  local fd = descriptors.of(object)
  if not fd then
    failure.raise(("minigun.wait: a descriptor, an open file, or an object with getfd or pollfd expected, " ..
      "got %s"):format(failure.show(object)))
  end
  mode = mode or "r"
  if mode ~= "r" and mode ~= "w" then
    failure.raise(('minigun.wait: the mode is "r" or "w", got %s'):format(failure.show(mode)))
  end
  if timeout ~= nil then failure.check_seconds(timeout, "minigun.wait") end
  local task = current()
  local now = task and core.clock or core.now
  local due = timeout and now() + timeout
  if task then
    local ready, message, errno = core.wait(fd, mode, 0)
    if ready == nil then return nil, message, errno end
    if ready then yield(task, MORE) end
    while not ready and not (due and now() >= due) do ready = wait_in(task, fd, mode, due) end
    if ready then return true end
    return nil, "timeout"
  end
  if server then server:serve(due, fd, mode) end
  while true do
    local rest, limit = due and math.max(0, due - now()), core.limited()
    local ready, message, errno = core.wait(fd, mode, limit and math.min(limit, rest or limit) or rest)
    if ready then return true end
    if ready == nil then return nil, message, errno end
    if due and now() >= due then return nil, "timeout" end
  end
end

function waiting.wait(fd, timeout) tasks.wait(fd, "r", timeout) end

return tasks
