--- The places where the stages of a run are run (contexts/contract.lua says what each can do): the coordinator's own,
-- which the run's loop knows by name, and the others, workers and threads.
local declared = require "minigun.base.declared"
local earlier = require "minigun.base.earlier"
local kinds = require "minigun.contexts.kinds"

local places = {}

local Places = {}
Places.__index = Places

--- Makes the places of a run; there are none yet.
---@param plan table
---@return table places
--- `list`: all but the coordinator's own; `of`: from a stage's id to its place; `timed`: whether one of the list must
--- be asked what falls due
function places.new(plan)
  return declared({ plan = plan, events = false, inline = false, ledger = false, list = {}, of = {},
    timed = false }, Places)
end

--- How many slots of a pool they will need, and whether there are any.
---@return integer slots
---@return boolean any
---@return boolean blocks whether items wait as bytes in blocks for one that has no slots
function Places:needs()
  local slots, any, blocks = 0, self.plan.threaded or false, false
  for _, segment in ipairs(self.plan.segments) do
    local kind = kinds[segment.kind]
    if kind then any, blocks = true, blocks or kind.blocks or false end
    if kind and kind.slots then slots = slots + (segment.seats or segment.n) end
  end
  return slots, any, blocks
end

--- Makes them: those with slots first, as they start in this order.
---@param port table? see contexts/contract.lua; nil: the coordinator runs all stages
function Places:open(port)
  local first, others = 1, {}
  self.inline:enter()
  local function add(segment)
    local place = kinds[segment.kind].new(port, segment, first)
    self.list[#self.list + 1] = place
    for _, id in ipairs(segment.stages) do self.of[id] = place end
    return place
  end
  for _, segment in ipairs(self.plan.segments) do
    local kind = kinds[segment.kind]
    if kind and kind.slots then
      for _, slot in ipairs(add(segment).processes.seats) do
        self.events.by_slot[slot.index] = { place = self.list[#self.list], slot = slot }
      end
      first = first + (segment.seats or segment.n)
    elseif kind then
      others[#others + 1] = segment
    end
  end
  for _, segment in ipairs(others) do add(segment) end
  for id in ipairs(self.plan.stages) do self.of[id] = self.of[id] or self.inline end
end

--- Starts them.
function Places:start()
  for _, place in ipairs(self.list) do place:start() end
end

--- Does what the clock asks for.
---@param now number
---@return number? due when to look next
function Places:check_clock(now)
  local due = nil
  for _, place in ipairs(self.list) do
    due = earlier(due, place:due(now))
  end
  return due
end

--- No more work will come for workers; threads of the coordinator end after them, see `ended`.
function Places:finish()
  for _, place in ipairs(self.list) do
    if place.first then place:finish() end
  end
end

--- Whether all is over there: first in the workers, then in the threads.
---@return boolean
function Places:ended()
  for i = 1, 2 do
    for _, place in ipairs(self.list) do
      if i == 2 then place:finish() end
      if (i == 2 or place.first) and not place:ended() then return false end
    end
  end
  return true
end

--- Closes what they have open, after the loop of threads.
function Places:close()
  for _, place in ipairs(self.list) do place:close() end
end

return places
