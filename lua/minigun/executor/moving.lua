--- Moving: lets executors go on while somebody waits for one. An executor is moved by what waits for it, or steps it;
-- nothing moves by itself.
--
-- Threads of one executor may wait for another, and its threads for the first: so what moves one moves all for which
-- threads of executors wait (`awaited`), flatly, none inside another. Such a thread does not move anything itself: it
-- waits for the `bell` of the executor that it needs, which is rung when something of that has been settled. A bell is
-- a descriptor of its own, so no descriptor that tells of an executor is in another one's, in a circle.
--
-- 1. Futures are settled, and their functions called, between rounds of a run, never inside one.
-- 2. `awaited` has each executor that has a bell and is not over.
local core = require "minigun.core"
local execution = require "minigun.control.execution"
local failure = require "minigun.base.failure"
local futures = require "minigun.futures.future"
local stack = require "minigun.base.stack"
local tasks = require "minigun.handlers.tasks"
local waiting = require "minigun.system.waiting"
local watched = require "minigun.control.watched"

local moving = {}

local awaited = setmetatable({}, { __mode = "k" }) -- set of executors
local changes = 0                  -- of that set
local driven = {}                  -- array of executors that are being moved now, the innermost last
local TIDY <const> = 10000          -- items, after which the table of futures is made anew
local found = {}                   -- what a poller has found; nobody looks at it

-- --- settling ----------------------------------------------------------------------------------------------------

local function has_room(self) return self.run.answers.backlog.n < self.most end

-- Wakes the threads that wait for an executor, where there is what one of them waits for.
local function ring(self, settled)
  local hear, room = settled, has_room(self)
  for _, what in pairs(self.listeners) do hear = hear or room and what == "room" end
  if not hear or not next(self.listeners) then return end
  for token in pairs(self.listeners) do self.listeners[token] = "rung" end
  self.bell:wake(0)
end

local function settle_one(self, answer)
  local future = self.futures[answer.number]
  if not future then return nil end -- cancelled
  self.futures[answer.number] = nil
  if answer.record then return futures.fail(future, answer.record) end
  return futures.settle(future, answer.value)
end

-- The run is over: what was not finished is lost.
local function give_up(self)
  local problem, result = nil, self.run.outcome.result
  local why = result.error or result.killed and "the executor was killed" or "the executor was closed"
  for number, item in pairs(self.run.answers:give_up()) do
    local future = self.futures[number]
    local other = future and futures.fail(future, failure.new { kind = "lost", stage = self.entry, item = item,
      attempts = 0, message = why })
    problem = problem or other
  end
  self.futures = {}
  return problem
end

--- Settles the futures of what has come to its end; raises the error of a function that hears of it.
---@param self table executor
---@return boolean settled whether there were any
function moving.settle(self)
  local answers, problem, any = self.run.answers, nil, false
  while answers.n_done > 0 do
    local done, n = answers.done, answers.n_done
    answers.done, answers.n_done, any = {}, 0, true
    for i = 1, n do
      local other = settle_one(self, done[i])
      problem = problem or other
    end
  end
  if self.over and not self.given_up then
    self.given_up, any = true, true
    problem = give_up(self) or problem
    moving.forget(self)
  end
  if any then self.settled = self.settled + 1 end
  if self.submitted - self.tidied > TIDY and answers:rests() then -- a table that was large once is to be small again
    self.futures, self.tidied = {}, self.submitted
  end
  if self.bell then ring(self, any) end
  if self.interrupted then execution.outcome(self) end -- Ctrl-C
  if problem then error(stack.final(problem.raised, problem.traceback), 0) end
  return any
end

-- The executors that are moved together with one: a set.
local function together(self)
  local set = { [self] = true }
  for each in pairs(awaited) do set[each] = true end
  return set
end

-- --- bells -------------------------------------------------------------------------------------------------------

-- A thread has heard the bell, or does not wait any more.
local function heard(self, token)
  self.listeners[token] = nil
  for _, state in pairs(self.listeners) do
    if state == "rung" then return end
  end
  if not self.bell then return end
  self.bell:wake(nil)
  self.bell:wait(0, found)
end

local function bell_of(self)
  if not self.bell then
    local bell, message = core.poller()
    if not bell then failure.raise("an executor cannot be waited for in a thread: " .. message) end
    self.bell = bell
    awaited[self], changes = true, changes + 1
    for each in pairs(awaited) do
      if each.face then moving.show(each) end
    end
  end
  return self.bell
end

--- The executor is over, and nobody waits for it any more.
---@param self table
function moving.forget(self)
  awaited[self], changes = nil, changes + 1
end

--- Has an executor's descriptor tell of the others that are moved with it, too.
---@param self table
---@return boolean? ok
---@return string? message
---@return integer? errno
function moving.show(self)
  for each in pairs(together(self)) do
    local fd, message, errno = watched.fd(each)
    if not fd and not each.over then return nil, message, errno end
    if fd then
      local ok, why, number = self.face:set(fd, "r")
      if not ok then return nil, why, number end
    end
  end
  return true
end

-- --- moving ------------------------------------------------------------------------------------------------------

-- Rounds until something has come to its end, the deadline has come, there is the room that is waited for, or others
-- are to be moved as well.
local function rounds(self, deadline, room)
  local r, answers, before = self.run, self.run.answers, changes
  repeat
    if not r:step(deadline and math.max(0, deadline - core.now())) then return false end
  until answers.n_done > 0 or deadline and core.now() >= deadline or changes ~= before or room and has_room(self)
  return true
end

--- Calls a part of an executor's work.
---@param self table
---@param f function see execution.drive
---@param ... any
function moving.drive(self, f, ...)
  local _ <close> = self.leave
  driven[#driven + 1] = self
  execution.drive(self, f, self, ...)
end

-- One look at everything that is moved together, without waiting.
local function step_all(self)
  for each in pairs(together(self)) do
    if not (each.over or each.driving) then
      watched.begin(each)
      moving.drive(each, rounds, 0)
      watched.arm(each)
      moving.settle(each)
    end
  end
end

local function face_of(self)
  if not self.face then
    local poller, message, errno = core.poller()
    if not poller then return nil, message, errno end
    self.face = poller
    local ok, why, number = moving.show(self)
    if not ok then return nil, why, number end
  end
  return self.face
end

-- The executor, being moved now, that the caller is a thread of.
local function own_of_thread()
  local loop = tasks.loop()
  if not loop then return nil end
  for i = #driven, 1, -1 do
    if driven[i].run.threads.loop == loop then return driven[i] end
  end
end

-- In a task of a loop: an executor is moved when that loop has made its step. An error of a function that hears of a
-- future waits for the next one who moves it.
local function move_afterwards(self)
  if self.asked then return end
  self.asked = true
  tasks.afterwards(function()
    self.asked = false
    local ok, err = pcall(step_all, self)
    if not ok then self.problem = { err } end
  end)
end

local function raise_problem(self)
  local problem = self.problem
  self.problem = false
  if problem then error(problem[1], 0) end
end

--- Moves what there is to do, without waiting.
---@param self table executor
function moving.step(self)
  if tasks.loop() then move_afterwards(self) else step_all(self) end
  raise_problem(self)
end

--- Moves it soon: an item has come.
---@param self table executor
---@return boolean later false: the caller may move it at once
function moving.later(self)
  if not tasks.loop() then return false end
  move_afterwards(self)
  return true
end

-- Whether nothing could move an executor any more: each of its items is at a handler that waits for such an executor.
local function is_stuck(self, seen)
  if seen[self] then return true end
  seen[self] = true
  local answers = self.run.answers
  if self.blocked == 0 or answers.begun > self.blocked or answers:free() > 0 then return false end
  for other, n in pairs(self.needs) do
    if n > 0 and not is_stuck(other, seen) then return false end
  end
  return true
end

-- In a thread of an executor: what moves that moves this one as well.
local function wait_for_bell(self, own, deadline, room)
  local bell, token = bell_of(self), {}
  local _ <close> = setmetatable({}, { __close = function()
    own.blocked, own.needs[self] = own.blocked - 1, own.needs[self] - 1
    heard(self, token)
  end })
  own.blocked, own.needs[self] = own.blocked + 1, (own.needs[self] or 0) + 1
  if room and has_room(self) then return true end
  self.listeners[token] = room and "room" or "end"
  move_afterwards(self)
  if is_stuck(self, {}) then
    if room then return false end
    failure.raise "this would wait for ever: each thread that could go on waits for another one's item; give them more"
  end
  waiting.wait(bell:fd(), deadline and math.max(0, deadline - core.now()))
  return true
end

-- Waits until the descriptor tells of something.
local function wait_for_face(self, deadline)
  local face = assert(face_of(self))
  local left = deadline and math.max(0, deadline - core.now())
  if waiting.may_wait() then waiting.wait(face:fd(), left) else face:wait(left, found) end
end

--- Moves an executor until something of it has been settled, or the deadline has come. In a thread the others go on.
---@param self table executor
---@param deadline number? of core.now
---@param room boolean? the caller waits for room in the backlog
---@return boolean ok false: for room it would wait for ever
function moving.advance(self, deadline, room)
  raise_problem(self)
  local own, in_task = own_of_thread(), tasks.loop() ~= nil
  if own then return wait_for_bell(self, own, deadline, room) end
  if self.driving then
    failure.raise "this would wait for ever: the executor waits for the handler, hook or function that calls this"
  end
  local other = next(awaited)
  if other == self then other = next(awaited, self) end
  if not (other or self.watched or waiting.may_wait()) then
    moving.drive(self, rounds, deadline, room)
    moving.settle(self)
    return true
  end
  local before = self.settled
  while true do
    if in_task then
      move_afterwards(self)
      tasks.let_others()
    else
      step_all(self)
    end
    raise_problem(self)
    local over = self.over or self.settled ~= before or room and has_room(self)
    if over or deadline and core.now() >= deadline then return true end
    wait_for_face(self, deadline)
  end
end

--- The descriptor of an executor, readable when a step has something to do.
---@param self table
---@return integer? fd
---@return string? message
---@return integer? errno
function moving.fd(self)
  if self.over then return nil, "the executor is closed" end
  if own_of_thread() then return bell_of(self):fd() end
  local face, message, errno = face_of(self)
  if not face then return nil, message, errno end
  return face:fd()
end

--- What is left of an executor's descriptors, when its run is closed.
---@param self table
function moving.close(self)
  moving.forget(self)
  if self.face then self.face:close() end
  if self.bell and not next(self.listeners) then self.bell:close() end
end

--- What ends a `drive`, however it ends.
---@return table closing
function moving.leaving()
  return setmetatable({}, { __close = function() driven[#driven] = nil end })
end

return moving
