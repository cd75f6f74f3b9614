--- Answers: what comes of single items, for somebody who waits for it: the futures of a standing run. Such a run has no
-- producers of its own. What is submitted waits in a backlog (policy/backlog.lua), and an item is begun when a place of
-- the first stages can take it at once: so priorities hold, and what is not begun can be taken out.
--
-- Each item has an `answer`, which is its origin, too (policy/acks.lua):
--     number     the item's; what waits for it is known to the caller only, so that a run does not keep that alive
--     value      what has reached terminal stages: the value where there may be one, else the array
--     record     the first failure of what has come of it
--     item       itself
--     cancelled  it is not wanted any more
--     count      how often it is held
-- When nothing of the item is left the answer is put into `done`, which the caller empties between two rounds.
--
-- An item's usual way goes through no Lua: src/lua/lua_answer.c does what `deliver`, `value` and `ended` do for it, and
-- puts into `left` what stands for several items and has come to its end.
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
--- `backlog`; `at_work`: answers by number; `done`: array of answers; `closing`: no more is submitted
function answers.new(plan, wake_of, wake_gated)
  local stage
  for _, each in ipairs(plan.stages) do stage = each.submits and each or stage end
  return declared({
    plan = plan, wake_of = wake_of, wake_gated = wake_gated, stage = stage, lists = stage.submits == "lists",
    backlog = backlog.new(),
    at_work = {}, done = {}, left = {},
    alone = false,           -- the writer to the one stage that items go to, where that takes bytes
    closing = false, ended_input = false, entries = false,
    wants_more = false,      -- all that is begun waits for further items
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
  local outlet = self.outlets.of[self.stage.id]
  if outlet.bytes[1] and not (outlet.bytes[2] or outlet.values[1]) then self.alone = outlet.writer end
  self.ledger:answers(self, self.lists)
  self.work = self.ledger:enter({ stage = self.stage.id }, "hand")
end

--- How many items could be begun at once.
---@return integer
function Answers:free()
  local least = math.huge
  for i = 1, #self.entries do least = math.min(least, self.entries[i]:free()) end
  return least
end

--- Begins one item where it goes the usual way, and can be begun at once. Nothing tears it in two, not even Ctrl-C.
---@param number integer its number
---@param item any
---@return table? answer nil: nothing has been done
function Answers:try(number, item)
  if not self.alone then return nil end
  local answer = { number = number, item = item, value = nil, count = 1 }
  return self.ledger:submit(self.alone, self.stage.outputs[1], answer) and answer or nil
end

--- Begins one item.
---@param number integer its number
---@param item any
function Answers:begin_one(number, item)
  if self:try(number, item) then return end
  local answer = { number = number, item = item, value = nil, count = 1 }
  local own, stage = self.acks, self.stage
  self.at_work[number] = answer
  local s = self.outcome.stats[stage.id]
  s.items_out = s.items_out + 1
  own.origin = answer
  self.transport:deliver(stage, item)
  local outlet = self.outlets.of[stage.id]
  if outlet.writer then self.transport:flush(outlet) end
  own.origin = false
  own:release(answer, 1)
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

--- How many items are begun and not finished.
---@return integer
function Answers:begun()
  local n = 0
  for _ in next, self.at_work do n = n + 1 end
  return n
end

--- Whether nothing is to be done unless somebody submits an item.
---@return boolean
function Answers:rests() return not self.closing and self.backlog.n == 0 and next(self.at_work) == nil end

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
  if not self.lists then answer.value = value
  elseif answer.value == nil then answer.value = { value }
  else table.insert(answer.value, value) end
end

--- A value has reached a terminal stage.
---@param value any
---@return boolean taken false: it has come of no item that is known
function Answers:value(value)
  local origin = self.acks.origin
  if not origin then return false end
  if origin.number then
    add(self, origin, value)
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
  return origin and origin.cancelled or false
end

--- What has come of an item that is in `done`.
---@param answer table
---@return any value where there may be one, else the array of all
function Answers:value_of(answer)
  if answer.value == nil and self.lists then return {} end
  return answer.value
end

--- Nothing of an item is left.
---@param answer table
function Answers:ended(answer)
  self.at_work[answer.number] = nil
  table.insert(self.done, answer)
end

--- Gives up what has come to its end and stands for several items.
---@return boolean any whether there are answers in `done`
function Answers:settle()
  while self.left[1] do
    local list = self.left
    self.left = {}
    for i = 1, #list do self.acks:release(list[i], 0) end
  end
  return self.done[1] ~= nil
end

-- --- cancelling --------------------------------------------------------------------------------------------------

--- Takes an item out that is not begun.
---@param number integer its number
---@return boolean found
function Answers:withdraw(number)
  if self.backlog:remove(number) then return true end
  local answer = self.at_work[number]
  if not answer or answer.count ~= 1 then return false end
  self.wake_gated(answer, self.stage.outputs)
  for _, place in ipairs(self.entries) do
    answer.cancelled = true
    if place:withdraw(answer) then return true end
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
  local seen = {}
  repeat until not self.wake_of(answer) -- what waits for its time goes into queues
  for _, place in pairs(self.places.of) do
    while not seen[place] and place:withdraw(answer) do found = true end
    found = not seen[place] and place:abandon(answer) or found
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
  self.at_work = {}
  for number, item in self.backlog.pop, self.backlog do lost[number] = item end
  return lost
end

return answers
