--- Answers: what comes of single items, for somebody who waits for it: the futures of a standing run. Such a run has no
-- producers of its own. What is submitted waits in a backlog (policy/backlog.lua), and an item is begun when a place of
-- the first stages can take it at once: so priorities hold, and what is not begun can be taken out.
--
-- Each item has an origin of its own (policy/acks.lua), and that has an `answer`:
--     number     the item's; what waits for it is known to the caller only, so that a run does not keep that alive
--     value, n   what has reached terminal stages: the value where there may be one, else the array; how many
--     record     the first failure of what has come of it
--     item       itself
--     cancelled  it is not wanted any more
-- When nothing of the item is left the answer is put into `done`, which the caller empties between two rounds.
--
-- Invariants
-- 1. An item is in the backlog, or in `at_work`, or in `done`, or forgotten by this file: in one of them only.
-- 2. The stage that submits counts as a producer that has not ended, until `close` was called and the backlog is empty.
local acks = require "minigun.policy.acks"
local backlog = require "minigun.policy.backlog"
local core = require "minigun.core"
local declared = require "minigun.base.declared"

local answers = {}

local Answers = {}
Answers.__index = Answers

--- Makes the answers of a standing run.
---@param plan table
---@param wake_of function (origin) -> whether something of it waited for its time, and goes on now
---@param wake_gated function (origin, stages): the same of what waits at the gate of one of these stages
---@return table answers
--- `backlog`; `begun`: items, `at_work`: their answers by number; `done`: array of `n_done` answers; `closing`: no more
--- is submitted
function answers.new(plan, wake_of, wake_gated)
  local stage
  for _, each in ipairs(plan.stages) do stage = each.submits and each or stage end
  return declared({
    plan = plan, wake_of = wake_of, wake_gated = wake_gated, stage = stage, lists = stage.submits == "lists",
    backlog = backlog.new(), begun = 0,
    at_work = {}, done = {}, n_done = 0,
    closing = false, ended_input = false, entries = false,
    work = false,            -- the submitting stage's own, as long as its input has not ended
    acks = false, ledger = false, outlets = false, outcome = false, places = false, transport = false,
  }, Answers)
end

-- --- in ----------------------------------------------------------------------------------------------------------

--- The first stages are there; from now on items may be begun.
function Answers:open()
  local entries, seen = {}, {}
  for _, id in ipairs(self.stage.outputs) do
    local place = self.places.of[id]
    if not seen[place] then entries[#entries + 1] = place end
    seen[place] = true
  end
  self.entries = entries
  self.work = self.ledger:enter({ stage = self.stage.id }, "hand")
end

--- How many items could be begun at once.
---@return integer
function Answers:free()
  local least = math.huge
  for i = 1, #self.entries do least = math.min(least, self.entries[i]:free()) end
  return least
end

--- Begins one item.
---@param number integer its number
---@param item any
function Answers:begin_one(number, item)
  local answer = { number = number, item = item, value = nil, n = 0, record = nil, cancelled = false, origin = nil }
  local origin = { count = 1, answer = answer }
  local own, stage = self.acks, self.stage
  answer.origin = origin
  self.begun, self.at_work[number] = self.begun + 1, answer
  local s = self.outcome.stats[stage.id]
  s.items_out = s.items_out + 1
  local outlet, transport = self.outlets.of[stage.id], self.transport
  own.origin = origin
  if outlet.bytes[1] and not (outlet.bytes[2] or outlet.values[1]) then
    transport:write_alone(outlet, item, origin)
  else
    transport:deliver(stage, item)
    if outlet.writer then transport:flush(outlet) end
  end
  own.origin = false
  own:release(origin, 1)
end

--- Begins what can be; ends the input after the last item where that was asked for.
---@return boolean busy
function Answers:begin()
  local waiting, busy = self.backlog, false
  while waiting.n > 0 do
    local free = self:free()
    if free < 1 or self.ledger:must_wait(self.stage.id) then break end
    for _ = 1, math.min(free, waiting.n) do self:begin_one(waiting:pop()) end
    busy = true
  end
  if self.closing and waiting.n == 0 and not self.ended_input then
    self.ended_input, busy = true, true
    self.ledger:done_own(self.work)
  end
  return busy
end

--- No more will be submitted; what is in the backlog is finished.
function Answers:close() self.closing = true end

--- Whether nothing is to be done unless somebody submits an item.
---@return boolean
function Answers:rests() return not self.closing and self.begun == 0 and self.backlog.n == 0 end

--- The stage that runs the handler of a name.
---@param name string
---@return integer? id
function Answers:stage_of(name)
  local found
  for id, stage in ipairs(self.plan.stages) do found = stage.name == name and id or found end
  return found
end

-- --- out ---------------------------------------------------------------------------------------------------------

local function add(self, answer, value)
  if answer.cancelled then return end
  answer.n = answer.n + 1
  if not self.lists then answer.value = value
  elseif answer.n == 1 then answer.value = { value }
  else answer.value[answer.n] = value end
end

--- A value has reached a terminal stage.
---@param value any
---@return boolean taken false: it has come of no item that is known
function Answers:value(value)
  local origin = self.acks.origin
  if not origin then return false end
  if origin.answer then
    add(self, origin.answer, value)
    return true
  end
  local n = 0
  acks.each_answer(origin, function(answer)
    n = n + 1
    add(self, answer, n == 1 and value or core.copy(value))
  end)
  return n > 0
end

--- What has come of an item has failed for good.
---@param record minigun.Failure
---@return boolean taken false: it has come of no item that is known
function Answers:failed(record) return acks.note_failure(self.acks.origin, record) end

--- Whether what the coordinator is at comes of an item that is not wanted any more.
---@return boolean
function Answers:is_cancelled()
  local origin = self.acks.origin
  return origin and origin.answer and origin.answer.cancelled or false
end

--- Nothing of an item is left.
---@param origin table
function Answers:ended(origin)
  local answer, n = origin.answer, self.n_done
  self.begun, self.at_work[answer.number] = self.begun - 1, nil
  self.done[n + 1], self.n_done = answer, n + 1
end

-- --- cancelling --------------------------------------------------------------------------------------------------

--- Takes an item out that is not begun.
---@param number integer its number
---@return boolean found
function Answers:withdraw(number)
  if self.backlog:remove(number) then return true end
  local answer = self.at_work[number]
  if not answer or answer.origin.count ~= 1 then return false end
  self.wake_gated(answer.origin, self.stage.outputs)
  for _, place in ipairs(self.entries) do
    answer.cancelled = true
    if place:withdraw(answer.origin) then return true end
    answer.cancelled = false
  end
  return false
end

--- Gives up an item that is begun: takes out what of it waits, and kills the workers that are at it. What has come of
--- it so far is dropped.
---@param number integer its number
---@return boolean given_up false: it is where nothing can be taken out or killed
function Answers:abandon(number)
  local answer, found = self.at_work[number], false
  if not answer then return false end
  answer.cancelled = true
  local origin, seen = answer.origin, {}
  repeat until not self.wake_of(origin) -- what waits for its time goes into queues
  for _, place in pairs(self.places.of) do
    while not seen[place] and place:withdraw(origin) do found = true end
    found = not seen[place] and place:abandon(origin) or found
    seen[place] = true
  end
  answer.cancelled = found
  return found
end

--- What is left when the run is over: it will never end.
---@return table lost from numbers to items
function Answers:give_up()
  local lost = {}
  for number, answer in pairs(self.at_work) do lost[number] = answer.item end
  self.at_work, self.begun = {}, 0
  for number, item in self.backlog.pop, self.backlog do lost[number] = item end
  return lost
end

return answers
