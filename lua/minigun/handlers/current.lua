--- What runs at present in this process: a task of an event loop (tasks.lua), a producer of the coordinator, or
-- neither; and how that waits. What a task or producer yields says what it waits for:
--     PARK            nothing: other code will `unpark` it
--     MORE            its turn: it goes on with the next step (and so does one that yields anything unknown)
--     WAIT            what its fields `fd`, `mode`, `due` say
--     cqueues' own    what cqueues.poll was given
local core = require "minigun.core"
local descriptors = require "minigun.system.descriptors"
local failure = require "minigun.base.failure"
local waiting = require "minigun.system.waiting"

local current = {}

current.PARK, current.MORE, current.WAIT = "minigun.park", "minigun.more", "minigun.wait"
local MORE <const>, WAIT <const> = current.MORE, current.WAIT

-- A task, and the coroutine of it that may wait. nil outside of tasks.
local running, running_co
-- The run whose stages run in this process at present, if there is one that can go on while one of them waits.
local server

--- A task runs from now on, or none.
---@param task table?
---@param co thread? the coroutine of it that may wait
---@return table? outer what has run before
---@return thread? outer_co
function current.swap(task, co)
  local outer, outer_co = running, running_co
  running, running_co = task, co
  return outer, outer_co
end

--- The task that runs goes on in another coroutine, which may wait too.
---@param co thread
---@return thread outer the one before
function current.swap_inner(co)
  local outer = running_co
  running_co = co
  return outer
end

--- What runs at present, is not any more: for a run inside of a task, whose stages must not make that task wait.
---@param run table? which goes on while a handler of its coordinator waits (run/reentry.lua, `serve`)
---@return table? task
---@return thread? co
---@return table? outer all three for `restore`
function current.forget(run)
  local task, co, outer = running, running_co, server
  running, running_co, server = nil, nil, run
  return task, co, outer
end

--- Undoes `forget`.
---@param task table?
---@param co thread?
---@param outer table?
function current.restore(task, co, outer) running, running_co, server = task, co, outer end

--- Resumes a coroutine that is a producer of the coordinator. What it yields says what it waits for, as a task's does.
---@param task table what `sleep` and `wait` tell about the wait: `fd`, `mode`, `due`
---@param co thread
---@param answer any of the wait
---@param among function? (co, answer) that does what coroutine.resume would, and returns more
---@return boolean ok and what coroutine.resume, or `among`, returns after it
function current.resume(task, co, answer, among)
  running, running_co = task, co
  local ok, first, second, third, fourth, fifth = (among or coroutine.resume)(co, answer)
  running, running_co = nil, nil
  return ok, first, second, third, fourth, fifth
end

-- The task that the caller may make wait; nil: there is none, and it has to block. A handler of an inline stage that a
-- producer's emit has called is none: until it has returned its stage cannot take another item.
local function waiter()
  if not running_co or server and server.in_handler then return nil end
  local co = coroutine.running()
  return (co == running_co or co == running.generator) and running or nil
end

--- The iterator that is called next by the running task is a coroutine, made by coroutine.wrap: it may wait too. What
--- it yields then is for `pass_on`.
---@param co thread?
---@return table? task nil: the caller cannot wait
function current.generator(co)
  if not running_co or coroutine.running() ~= running_co then return nil end
  running.generator = co
  return running
end

--- Waits for what a generator has yielded, if that was to wait.
---@param task table
---@param value any what it has yielded
---@return boolean waited true: it goes on with `answer`; false: it has given the value
---@return any answer
function current.pass_on(task, value)
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
function current.let_others()
  local task = waiter()
  if task then yield(task, MORE) end
end

local function wait_in(task, fd, mode, due)
  task.fd, task.mode, task.due = fd, mode, due
  return yield(task, WAIT)
end

--- The loop that the caller is a task of.
---@return table? loop nil: of none, or a producer of the coordinator
function current.loop()
  local task = waiter()
  return task and task.loop
end

--- What the task that the caller is is for: of a thread, the origin of its job.
---@return table? origin
function current.origin()
  local task = waiter()
  return task and task.origin
end

--- Whether the caller may wait without making anything else wait.
---@return boolean
function current.may_wait() return waiter() ~= nil end

waiting.may_wait = current.may_wait
waiting.forget = function() current.forget() end

--- What `minigun.sleep` does.
---@param seconds number
function current.sleep(seconds)
  failure.check_seconds(seconds, "minigun.sleep")
  local task = waiter()
  if task then
    wait_in(task, nil, nil, core.clock() + seconds)
    return
  end
  local due = core.now() + seconds
  if server then server:serve(due) end
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
function current.wait(object, mode, timeout)
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
  local task = waiter()
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

function waiting.wait(fd, timeout) current.wait(fd, "r", timeout) end

return current
