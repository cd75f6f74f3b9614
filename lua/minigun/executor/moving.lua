--- Moving: lets executors go on while somebody waits for one. An executor is moved by what waits for it, or steps it;
-- nothing moves by itself.
--
-- Threads of one executor may wait for another, and its threads for the first: so what moves one moves all for which
-- threads of executors wait (`awaited`), flatly, none inside another. Such a thread does not move anything itself: it
-- waits for the `bell` of the executor that it needs, which is rung when something of that has been settled. A bell is
-- a timer's descriptor, which is no epoll descriptor, so none lies in another one in a circle.
--
-- 1. Futures are settled, and their functions called, between rounds of a run, never inside one.
-- 2. `awaited` has each executor that has a bell and is not over.
local circles = require "minigun.executor.circles"
local core = require "minigun.core"
local current = require "minigun.handlers.current"
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
local AT_ONCE <const> = 64          -- answers, before their futures are settled
local SOON <const> = 0.002          -- seconds, where a descriptor cannot tell

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
  local future, problem = self.futures[answer.number]
  if not future then return nil end -- cancelled
  if answer.record then problem = futures.fail(future, answer.record)
  else problem = futures.settle(future, self.run.answers:value_of(answer)) end
  self.futures[answer.number] = nil
  return problem
end

-- What a future fails with that the run has not finished.
local function lost(self, item)
  local result = self.run.outcome.result
  return failure.new { kind = "lost", stage = self.entry, item = item, attempts = 0, message = result.error
    or result.killed and "the executor was killed" or "the executor was closed" }
end

-- The run is over: what was not finished is lost.
local function give_up(self)
  local answers = self.run.answers
  for number, item in pairs(answers:give_up()) do
    table.insert(answers.done, { number = number, record = lost(self, item) })
  end
  self.given_up = true
  awaited[self], changes = nil, changes + 1
end

-- The next answer whose future is to be settled. A function of one that waits for another one goes on from here.
local function next_answer(self)
  if not self.finished[self.at + 1] then
    local answers = self.run.answers
    if not answers.done[1] then return nil end
    self.finished, self.at, answers.done = answers.done, 0, {}
  end
  local at = self.at + 1
  local answer = self.finished[at]
  self.at, self.finished[at] = at, nil
  return answer
end

--- Settles the futures of what has come to its end; raises the error of a function that hears of it.
---@param self table executor
---@return boolean settled whether there were any
function moving.settle(self)
  local answers, problem, any = self.run.answers, nil, self.over and not self.given_up
  if any then give_up(self) end
  for answer in next_answer, self do
    local other = settle_one(self, answer)
    problem, any = problem or other, true
  end
  if any then self.settled = self.settled + 1 end
  if self.submitted - self.tidied > TIDY and answers:rests() then -- a table that was large once is to be small again
    self.futures, self.tidied = {}, self.submitted
  end
  if self.bell then ring(self, any) end
  if self.shown and any then self.shown:wake(0) end
  if self.interrupted then execution.outcome(self) end -- Ctrl-C
  if problem then error(stack.final(problem.raised, problem.traceback), 0) end
  return any
end

-- The run is over, and some futures are left that nothing would settle: memory was short while their answers were given
-- up, or settled. These futures fail.
local function fail_left(self)
  for number, future in next, self.futures do
    if not future.state then futures.fail(future, lost(self)) end
    self.futures[number] = nil
  end
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
  if self.bell then self.bell:wake(nil) end
end

local function new_bell()
  local bell, message = core.poller()
  if not bell then failure.raise("an executor cannot be waited for in a thread: " .. message) end
  assert(bell:wake(1e6))
  return bell
end

local function bell_of(self)
  if not self.bell then self.bell, awaited[self], changes = new_bell(), true, changes + 1 end
  return self.bell
end

-- --- moving ------------------------------------------------------------------------------------------------------

-- Rounds until something has come to its end, the deadline has come, there is the room that is waited for, or others
-- are to be moved as well. While items wait to be begun and others end at once it goes on: that is cheaper than to come
-- back for each.
local function rounds(self, deadline, room)
  local r, answers, before = self.run, self.run.answers, changes
  local over = false
  answers.wants_more = false
  repeat
    if r.loop.rounds.possible and answers.backlog.n > 0 then answers:begin() end -- else the round does it
    local ended = r.loop.rounds:await(true, not over, deadline)
    if ended then r.loop.busy = true -- what waits to be handed out, and what falls due, has not been looked at
    elseif not over and not r.loop:step(deadline and math.max(0, deadline - core.now())) then return false end
    over = answers:settle() or answers.wants_more or room and has_room(self)
    local goes_on = ended and answers.backlog.n > 0 and #answers.done < AT_ONCE
  until over and not goes_on or deadline and core.now() >= deadline or changes ~= before
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

-- One look at everything that is moved together, without waiting. An executor's descriptor tells of itself only: that
-- of another one in it, and its own in that one's, would be a circle. So it is readable soon where others go on.
local function step_all(self)
  local set, others = together(self), false
  for each in pairs(set) do
    if not (each.over or each.driving) then
      watched.begin(each)
      moving.drive(each, rounds, 0)
      moving.settle(each)
      others = others or each ~= self and not (each.over or each.run.answers:rests())
    end
  end
  for each in pairs(set) do watched.arm(each, others and SOON or nil) end
end

-- The executor, being moved now, that the caller is a thread of.
local function own_of_thread()
  local loop = current.loop()
  if not loop then return nil end
  for i = #driven, 1, -1 do
    if driven[i].run.threads.tasks == loop then return driven[i] end
  end
end

-- In a task of a loop: an executor is moved when that loop has made its step. An error of a function that hears of a
-- future waits for the next call that moves it.
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
  if self.shown then self.shown:wake(nil) end
  if current.loop() then move_afterwards(self) else step_all(self) end
  raise_problem(self)
end

--- Moves it soon: an item has come.
---@param self table executor
---@return boolean later false: the caller may move it at once
function moving.later(self)
  if not current.loop() then return false end
  move_afterwards(self)
  return true
end

-- In a thread of an executor: what moves that moves this one as well.
local function wait_for_bell(self, own, deadline, room, future)
  local bell, token, waits = bell_of(self), { item = current.origin() }, deadline and 0 or 1 -- without end
  if future and not deadline then
    circles.refuse(future, token.item)
    own.waiters[token] = future
  end
  local _ <close> = setmetatable({}, { __close = function()
    own.blocked, own.needs[self] = own.blocked - waits, own.needs[self] - waits
    own.waiters[token] = nil
    heard(self, token)
  end })
  own.blocked, own.needs[self] = own.blocked + waits, (own.needs[self] or 0) + waits
  if room and has_room(self) then return true end
  self.listeners[token] = room and "room" or "end"
  move_afterwards(self)
  if not deadline and circles.is_stuck(self, {}) then
    if room then return false end
    failure.raise "this would wait for ever: each thread that could go on waits for another one's item; give them more"
  end
  waiting.wait(bell:timer(), deadline and math.max(0, deadline - core.now()))
  return true
end

-- Waits until the descriptor tells of something. In a task it may be too deep in others (the kernel lets four lie in
-- one another): then it is looked at again soon.
local function wait_for_descriptor(self, deadline)
  local fd = assert(watched.fd(self))
  local left = deadline and math.max(0, deadline - core.now())
  if not waiting.may_wait() then return core.wait(fd, "r", left) end
  local ok = pcall(waiting.wait, fd, left)
  if not ok or core.wait(fd, "r", 0) ~= true then current.sleep(math.min(left or SOON, SOON)) end
end

--- Whether an executor may be moved by itself, and its run sleep: nothing watches it, and no others go on with it.
---@param self table
---@return boolean
function moving.is_alone(self)
  local other = next(awaited)
  if other == self then other = next(awaited, self) end
  return not (other or self.watched or waiting.may_wait())
end

-- A look at what workers have done, and the moment that an item takes whose worker has nothing else to do: no Lua runs
-- in it that Ctrl-C could tear. Returns whether something has come to its end.
local function await(self)
  local answers = self.run.answers
  return answers.backlog.n == 0 and not answers.closing and self.run.loop.rounds:await(true, false) and answers:settle()
end

--- An item has been begun: a worker is to have it.
---@param self table
---@return boolean given false: the run itself has something to see to first
function moving.give(self)
  local _, wanted = self.run.loop.rounds:await(false, false)
  return not wanted
end

--- Raises where a call would wait for its own caller: what the executor itself has called, or a thread of its own.
---@param self table
---@param own table? the executor that the caller is a thread of
local function refuse_itself(self, own)
  if own == self or self.driving and not own then
    failure.raise "this would wait for ever: the executor waits for the handler, hook or function that calls this"
  end
end

-- Raises where all that is begun waits for further items, and the caller, which alone could submit some, for that.
local function refuse_more(self)
  if not self.run.answers.wants_more then return end
  failure.raise("this would wait for ever: all that was submitted and is not finished is in a reduction, or in " ..
    "batches that are not full. Submit more, give the batch max_wait, ask with a timeout, or close the executor")
end

--- What is inside is to be finished.
---@param self table executor
function moving.finish(self)
  if not self.over then refuse_itself(self, own_of_thread()) end
  self.run.answers:close()
  while not self.over do moving.advance(self) end
  moving.settle(self)
end

--- Moves an executor until something of it has been settled, or the deadline has come. In a thread the others go on.
---@param self table executor
---@param deadline number? of core.now
---@param room boolean? the caller waits for room in the backlog
---@param future minigun.Future? the only one that the caller waits for
---@return boolean ok false: for room it would wait for ever
function moving.advance(self, deadline, room, future)
  raise_problem(self)
  local own, in_task = own_of_thread(), current.loop() ~= nil
  if own then return wait_for_bell(self, own, deadline, room, future) end
  refuse_itself(self)
  if self.over or self.finished[self.at + 1] then
    if not moving.settle(self) then fail_left(self) end
    return true
  end
  if moving.is_alone(self) then
    if not await(self) then moving.drive(self, rounds, deadline, room) end
    if not moving.settle(self) then refuse_more(self) end
    return true
  end
  local before = self.settled
  while true do
    if in_task then
      move_afterwards(self)
      current.let_others()
    else
      step_all(self)
    end
    raise_problem(self)
    local over = self.over or self.settled ~= before or room and has_room(self)
    if over or deadline and core.now() >= deadline then return true end
    wait_for_descriptor(self, deadline)
  end
end

--- The descriptor of an executor, readable when a step has something to do.
---@param self table
---@return integer? fd
---@return string? message
---@return integer? errno
function moving.fd(self)
  if self.over then return nil, "the executor is closed" end
  if own_of_thread() then
    bell_of(self) -- so that it is moved
    self.shown = self.shown or new_bell()
    return self.shown:timer()
  end
  return watched.fd(self)
end

--- What is left of an executor's descriptors, when its run is closed.
---@param self table
function moving.close(self)
  if self.bell and not next(self.listeners) then self.bell:close() end
  if self.shown then self.shown:close() end
end

--- Gives a new executor what is kept of it here.
---@param self table
function moving.prepare(self)
  self.leave = setmetatable({}, { __close = function() driven[#driven] = nil end }) -- of `drive`, however it ends
  self.blocked, self.needs = 0, {} -- its threads that wait for executors, and how many for which
  self.waiters = {}                -- these threads by a token, with `item`; for which future, without end
  self.bell, self.listeners = false, {} -- and what waits for that, by a token; for what: "end", "room"; "rung"
  self.shown = false               -- a bell that is rung until the next step, for what waits for several owners
  self.asked, self.problem, self.settled = false, false, 0
  self.finished, self.at = {}, 0   -- answers whose futures are being settled, and where that has come to
end

return moving
