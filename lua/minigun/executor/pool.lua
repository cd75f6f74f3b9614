--- Executors: what `minigun.executor` and `p:open` return. A run that stands: its workers stay, items are submitted one
-- by one, and each has a future.
--
-- `futures` has those that are not settled, by their numbers. The run knows the numbers only: so what it has open does
-- not keep an executor alive that the program has forgotten.
--
-- An executor is an execution (control/execution.lua), as a background run is; who moves it when is moving.lua's.
local arrays = require "minigun.base.arrays"
local core = require "minigun.core"
local execution = require "minigun.control.execution"
local failure = require "minigun.base.failure"
local futures = require "minigun.futures.future"
local methods = require "minigun.base.methods"
local moving = require "minigun.executor.moving"
local options = require "minigun.language.schemas"
local snapshot = require "minigun.run.snapshot"
local stack = require "minigun.base.stack"
local watched = require "minigun.control.watched"

local pool = {}

-- Seconds between two submits after which what workers have finished is looked at: they should not wait for work while
-- the program submits more than they can take.
local LOOK <const> = 0.0002

local cancelled_message <const> = "it was cancelled"

---@class minigun.ExecutorOptions: minigun.ProcessorOptions, minigun.RunOptions, minigun.StandingOptions
--- Options of `minigun.executor`.

---@class minigun.OpenOptions: minigun.RunOptions, minigun.StandingOptions
--- Options of `p:open`.

---@class minigun.Executor
--- A run that stands: items are submitted one by one, and each has a future. It is moved by what waits for one of its
--- futures, by `step`, and by `submit` where that has to wait; between these calls workers go on with what they have.
local Executor = { __name = "minigun.executor" }
Executor.__index = Executor
methods.suggest(Executor, "an executor")

local function check(self, what)
  if getmetatable(self) ~= Executor then
    failure.raise(what .. ": call it with a colon, on what minigun.executor or p:open has returned")
  end
  if self.process ~= core.process() then
    failure.raise(what .. ": the executor belongs to another process, from which this one was forked; a worker that " ..
      "needs one makes its own")
  end
end

-- --- submitting --------------------------------------------------------------------------------------------------

-- Begins an item, and lets a worker have it. What workers have said since the last sleep comes first: one may be dead.
local function begin(self, future, item)
  local r = self.run
  r.loop:must_be_whole() -- else this item may go together with one that was in the middle of being begun
  r.answers:begin_one(future.key, item)
  r.loop:serve(false)
  return true
end

local function serve(self)
  self.run.loop:serve(false)
  return true
end

local function look(self)
  self.run.loop:step(0)
  return true
end

-- An item has come: what watches the descriptor is to know.
local function changed(self)
  if not self.watched or self.driving then return end
  self.run.loop.busy = true
  watched.arm(self)
end

-- Puts an item into the run, or into the backlog. It is given away: what the program does to it later shows nowhere.
local function put(self, future, item, priority)
  local answers = self.run.answers
  if self.by_value then item = core.copy(item) end
  local later = self.driving or moving.later(self)
  local at_once = not later and answers.backlog.n == 0
  if at_once and answers:try(future.key, item) then
    if not moving.give(self) then moving.drive(self, serve) end
  elseif at_once and answers:free() > 0 then
    moving.drive(self, begin, future, item)
  else
    if not self.by_value then item = core.copy(item) end
    answers.backlog:push(future.key, item, priority)
    local now = core.now()
    if not later and self.feeds and now - self.looked > LOOK then
      self.looked = now
      moving.drive(self, look)
    end
  end
  changed(self)
  if not later and (answers.done[1] or self.over) then moving.settle(self) end
end

local function must_be_open(self, method)
  if self.over or self.run.answers.closing then
    failure.raise(("executor:%s: the executor is closed%s"):format(method or "submit", self.run.outcome.result.error
      and ": " .. self.run.outcome.result.error or ""))
  end
end

local NONE <const> = {}

local function new_future(self, number)
  local future = futures.new(self, number)
  self.submitted, self.futures[number] = number, future
  return future
end

--- Submits an item. Where the backlog is full it waits until there is room: back-pressure. In a thread of `threads(n)`
--- the other threads go on meanwhile.
---@param item any but nil
---@param given minigun.SubmitOptions?
---@return minigun.Future? future nil: the backlog is full, with `wait = false`
---@return "full"? message
function Executor:submit(item, given)
  check(self, "executor:submit")
  if item == nil then failure.raise "executor:submit: an item expected, got nil" end
  given = given == nil and NONE or options.check(options.schemas.submit, given, "executor:submit")
  must_be_open(self)
  local backlog = self.run.answers.backlog
  if backlog.n >= self.most then
    if given.wait == false then
      if not self.driving then moving.step(self) end
      if backlog.n >= self.most then return nil, "full" end
    end
    while backlog.n >= self.most and moving.advance(self, nil, true) do must_be_open(self) end
    must_be_open(self)
  end
  local future = new_future(self, self.submitted + 1)
  put(self, future, item, given.priority or 0)
  return future
end

--- Submits an item and waits for what comes of it: `submit(item):result(timeout)`.
---@param item any but nil
---@param timeout number? seconds; nil: no limit
---@return any value raises its failure; nil where the time is over before
---@return "timeout"? message
function Executor:call(item, timeout)
  check(self, "executor:call")
  if timeout ~= nil then failure.check_seconds(timeout, "executor:call") end
  local r = self.run
  local answers = r.answers
  local quick = item ~= nil and not (self.driving or self.over or answers.closing or answers.done[1])
    and answers.backlog.n == 0 and moving.is_alone(self)
  local answer = quick and answers:try(self.submitted + 1, item)
  if not answer then return self:submit(item):result(timeout) end
  self.submitted = answer.number
  r.loop.rounds:await(true, false) -- most often that is all, and nobody else has to hear of it
  local done = answers.done
  if done[1] ~= answer or done[2] or answer.record then return new_future(self, answer.number):result(timeout) end
  done[1] = nil
  return answers:value_of(answer)
end

--- Submits all items of a list and waits for what comes of them.
---@param list any[]
---@return any[] results in the order of the list, with holes where nothing came; raises the first failure, and cancels
--- what has not begun
function Executor:map(list)
  check(self, "executor:map")
  if type(list) ~= "table" then failure.raise("executor:map: a list expected, got " .. options.got(list)) end
  local waiting, results, n = {}, {}, arrays.length(list)
  local _ <close> = setmetatable({}, { __close = function(_, err)
    if err == nil then return end
    for i = #waiting, 1, -1 do
      if not waiting[i].state then self:cancel(waiting[i]) end
    end
  end })
  for i = 1, n do
    if list[i] == nil then failure.raise(("executor:map: the list has a hole at [%d] of %d"):format(i, n)) end
    waiting[i] = self:submit(list[i])
  end
  for i = 1, n do results[i] = waiting[i]:result() end
  return results
end

-- --- for futures -------------------------------------------------------------------------------------------------

--- What a future calls while somebody waits for it.
---@private
---@param deadline number? of core.now
---@param future minigun.Future? the only one that is waited for
function Executor:advance(deadline, future)
  check(self, "future:result")
  moving.advance(self, deadline, false, future)
end

-- Part of a step: takes an item out, or kills what is at it.
local function take_out(self, future, kill, found)
  local answers = self.run.answers
  found.taken = answers:withdraw(future.key) or kill and answers:abandon(future.key)
  return true
end

--- What `future:cancel` calls.
---@private
---@param future minigun.Future
---@param given table? `kill`: true, a worker that is at it is killed
---@return boolean cancelled false: it has begun
function Executor:cancel(future, given)
  check(self, "future:cancel")
  for name, value in pairs(given or {}) do
    if name ~= "kill" or type(value) ~= "boolean" then
      failure.raise(("future:cancel: the option is kill = true or false, got %s = %s"):format(tostring(name),
        failure.show(value)))
    end
  end
  if self.over then return false end
  local found, entry = { taken = false }, self.entry
  if self.driving then take_out(self, future, given and given.kill, found)
  else moving.drive(self, take_out, future, given and given.kill, found) end
  if not found.taken then return false end
  self.futures[future.key] = nil
  changed(self)
  local problem = futures.fail(future, failure.new { kind = "cancelled", stage = entry, attempts = 0,
    message = cancelled_message })
  if problem then error(stack.final(problem.raised, problem.traceback), 0) end
  return true
end

-- --- moving ------------------------------------------------------------------------------------------------------

--- Moves what can be moved, and goes on with that for so many seconds. Futures whose time has come are settled, and
--- their functions called.
---@param seconds number? 0 by default: it does not wait
---@return boolean more false: the executor is closed
function Executor:step(seconds)
  check(self, "executor:step")
  if seconds ~= nil then failure.check_seconds(seconds, "executor:step") end
  if self.over then return false end
  local deadline = core.now() + (seconds or 0)
  moving.step(self)
  while not self.over and core.now() < deadline do moving.advance(self, deadline) end
  return not self.over
end

--- A descriptor for an event loop: readable when `step` has something to do. It is the executor's own (an epoll
--- descriptor): watch it, do nothing else with it.
---@return integer? fd always the same; nil when the executor is closed
---@return string? message
---@return integer? errno
function Executor:fd()
  check(self, "executor:fd")
  return moving.fd(self)
end

---@class minigun.ExecutorStatus: minigun.Status
---@field state "open"|"closing"|"closed"
---@field waiting integer items that are not begun
---@field begun integer items that are begun and not finished

--- All that is known of it, in numbers: what `run:status` says of a run, and how many items wait; only looks.
---@return minigun.ExecutorStatus status
function Executor:status()
  check(self, "executor:status")
  local r, answers = self.run, self.run.answers
  local state = self.over and "closed" or answers.closing and "closing" or "open"
  local status = self.over and snapshot.of(r.outcome.result, state) or r.status:snapshot(state)
  status.state, status.waiting, status.begun = state, answers.backlog.n, answers:begun()
  return status
end

-- Part of a step: changes how many workers a place has.
local function change_size(self, place, n, answer)
  answer.ok, answer.message = place:resize(n)
  self.run.loop:serve(false)
  return true
end

--- Changes how many workers or threads there are. A worker that leaves finishes its items first; a new worker is forked
--- when there is work for it.
---@param n integer
---@param stage string? a stage that runs there; must be given where there are several contexts
function Executor:resize(n, stage)
  check(self, "executor:resize")
  options.value(options.types.worker_count, n, "executor:resize", "the number")
  must_be_open(self, "resize")
  local places, list = self.run.places, self.run.places.list
  local place = list[1]
  if stage ~= nil then
    local known = self.run.plan.by_name[stage]
    place = known and places.of[self.run.answers:stage_of(stage)]
    if not place then failure.raise(("executor:resize: there is no stage %s"):format(failure.show(stage))) end
  elseif #list ~= 1 then
    failure.raise(("executor:resize: it has %s; say the name of a stage of the one"):format(#list == 0
      and "no workers" or ("%d contexts"):format(#list)))
  end
  local answer = {}
  if self.driving then change_size(self, place, n, answer)
  else moving.drive(self, change_size, place, n, answer) end
  if not answer.ok then failure.raise("executor:resize: " .. answer.message) end
  changed(self)
end

-- --- the end -----------------------------------------------------------------------------------------------------

--- Finishes what is inside, in the backlog too, and ends the workers. Futures are settled all. May be called again.
---@return minigun.Result result of the run: statistics, what `ctx` has collected and counted; raises what has ended it
function Executor:close()
  check(self, "executor:close")
  moving.finish(self)
  moving.close(self)
  execution.close(self)
  return execution.outcome(self)
end

--- Ends it at once: workers are killed, and what is not finished fails with a failure of kind "lost". Called by a
--- handler, hook or function that the executor itself calls it takes effect when that has returned.
---@return minigun.Result? result nil: when it takes effect later
function Executor:kill()
  check(self, "executor:kill")
  local result = execution.kill(self)
  if not result then return nil end
  moving.settle(self)
  moving.close(self)
  execution.close(self)
  return result
end

function Executor:__close(err)
  if self.process ~= core.process() then return end
  if err ~= nil then self:kill() else self:close() end
end

Executor.__gc = execution.forget

--- The executor as one line for the prompt.
---@return string
function Executor:__tostring()
  local r, answers = self.run, self.run.answers
  local name = r.plan.name
  if self.process ~= core.process() then return ("executor '%s' of another process"):format(name) end
  return ("executor '%s', %s: %d waiting, %d begun, %s"):format(name, self.over and "closed"
    or answers.closing and "closing" or "open", answers.backlog.n, answers:begun(),
    failure.count(self.over and 0 or r.status:workers(), "worker"))
end

pool.Executor = Executor

return pool
