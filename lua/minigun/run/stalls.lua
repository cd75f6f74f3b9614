--- Stalls: a run does not sleep without somebody who will end that. Methods of a run (see run.lua).
--
-- What can end a sleep without a time limit: a worker with something in hand that does not wait for a block itself,
-- or one that is to end; a thread, or a producer of the coordinator, that waits for a descriptor or computes. Anything
-- that the clock will do has a time limit. Without any of these nothing will ever happen any more: that is an error,
-- which says what there is, and no sleep.
local stalls = {}

-- Rounds in a row, with short sleeps between, in which nobody was found: what has just happened may not be seen yet.
local ROUNDS <const>, SECONDS <const> = 20, 0.02

--- Whether there is somebody who can end a sleep without a time limit.
---@return boolean
function stalls:can_be_woken()
  for _, segment in ipairs(self.segments) do
    if segment:wakes() then return true end
  end
  for _, producer in ipairs(self.producers) do
    if not producer.waits then return true end
  end
  return false
end

-- What each segment has and waits for.
local function states(self)
  local parts = {}
  for _, segment in ipairs(self.segments) do
    local hands, wants = 0, segment:wanted()
    for _, id in ipairs(segment.plan.stages) do hands = hands + select(2, segment:tally(id)) end
    parts[#parts + 1] = ("'%s' has %d in its queue and %d in hand%s"):format(segment.plan.name, segment.queued, hands,
      wants > 0 and (", and waits for a block of %d bytes"):format(wants) or "")
  end
  if self.inline_queue:count() > 0 then
    parts[#parts + 1] = ("%d entries wait for the coordinator's own stages"):format(self.inline_queue:count())
  end
  return table.concat(parts, "; ")
end

--- Called before a sleep without a time limit. Fails the run where nobody could end it.
---@return number? seconds to sleep at most; nil: no limit
function stalls:before_sleep()
  if self:can_be_woken() then
    self.stalled = 0
    return nil
  end
  self.stalled = (self.stalled or 0) + 1
  if self.stalled < ROUNDS then return SECONDS end
  local used, size = 0, 0
  if self.pool then used, size = self.pool:memory(), self.pool:size() end
  self:fail(("the run stands still, and nobody is left who could move it: %s; %d of %d bytes of shared memory are " ..
    "in use, the limit of memory is %d. If an item does not fit into that, raise `memory` or the limit of the " ..
    "address space (ulimit -v); otherwise this is a fault of the library: please report it"):format(states(self),
    used, size, self.memory))
end

return stalls
