--- The event loop of one process: runs coroutines, called tasks, and wakes them when what they wait for is there.
--
-- Where cqueues is installed the tasks are coroutines of a controller of it (controller.lua); elsewhere a list of waits
-- and an epoll descriptor do. A loop belongs to the process that made it: a child that is forked must not touch its
-- parent's, and `forget`s it.
--
-- A task's function runs in a coroutine of its own (`task.co`), which is resumed by `enter`: there it is known what
-- runs, how long, and which coroutine Ctrl-C should reach. What it yields says what it waits for, see current.lua. A
-- task that has a `deadline` is resumed then, at the latest.
local controller = require "minigun.handlers.controller"
local core = require "minigun.core"
local current = require "minigun.handlers.current"
local programs = require "minigun.system.programs"
local seeds = require "minigun.system.seeds"

local tasks = {}

local PARK <const>, WAIT <const> = current.PARK, current.WAIT

local Loop = {}
Loop.__index = Loop

-- Functions to be called when the step of a loop is over, see `afterwards`.
local guests = {}
-- Loops that are open: the collector of a child must not find one of its parent's.
local open_loops = {}

-- --- tasks -------------------------------------------------------------------------------------------------------

-- Notes what a resume has used up and which task runs again.
local function left(self, outer, outer_co, start, task, random, ...)
  current.swap(outer, outer_co)
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
  local outer, outer_co = current.swap(task, co)
  self.entered = self.entered + 1
  if self.guard then self.guard:watch(co) end
  local start = not outer_co and core.now() or nil
  local random = self.seeded and not outer_co and seeds.swap(task.random) or nil
  return left(self, outer, outer_co, start, task, random, coroutine.resume(co, ...))
end

--- A task runs one more coroutine inside of its own, which may wait too; without one: not any more.
---@param co thread?
function Loop:inner(co)
  if co then self.outer[#self.outer + 1] = current.swap_inner(co)
  else
    co = table.remove(self.outer)
    current.swap_inner(co)
  end
  if self.guard then self.guard:watch(co) end
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

controller.inherit(Loop, current, ended)

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

--- Has a function called as soon as the loop that the caller is a task of has made its step. What moves a loop of its
--- own does that outside of tasks: with cqueues the step of a loop inside of another one's task waits in that one.
---@param f function () which does not raise
function tasks.afterwards(f) guests[#guests + 1] = f end

return tasks
