--- The sleep of the coordinator, and that something will end it.
--
-- What can end a sleep without a time limit: a worker with something in hand that does not wait for a block itself,
-- or one that is to end; a thread, or a producer of the coordinator, that waits for a descriptor or computes. Anything
-- that the clock will do has a time limit. Without any of these nothing will ever happen any more: that is an error,
-- which says what there is, and no sleep.
local core = require "minigun.core"
local declared = require "minigun.base.declared"

local sleeper = {}

-- Seconds to sleep at most while a deadline is waited for: a stop of this process is noticed, and how long it was, by
-- looking at the clock before and after it (src/core/clock.h).
sleeper.BEAT = 0.1
-- Rounds in a row, with short sleeps between, in which nothing was found: what has just happened may not be seen yet.
local ROUNDS <const>, SECONDS <const> = 20, 0.02
local UNSEEN <const> = 16 -- rounds after which the coordinator looks for deaths, which costs a system call

local Sleeper = {}
Sleeper.__index = Sleeper

--- Makes what sleeps for a run.
---@param producer_awake function () whether a producer of the coordinator can end a sleep
---@return table sleeper
function sleeper.new(producer_awake)
  return declared({ state = false, shared = false, places = false, ledger = false, producer_awake = producer_awake,
    stalled = 0,             -- rounds in a row in which nothing was found that could end a sleep
    unseen = 0,              -- rounds without a look for deaths
  }, Sleeper)
end

--- Sleeps until something happens, or the seconds are over; nil: without end.
---@param seconds number?
function Sleeper:sleep(seconds)
  if self.shared.pool then
    self.unseen = 0
    local ok, message = self.shared.pool:wait(seconds)
    if ok == nil then self.state:fail(message) end
  elseif seconds then
    core.sleep(seconds)
  end
end

--- A round was busy: deaths show only in a sleep, so there is one of no length now and then.
function Sleeper:look()
  if not self.shared.pool then return end
  self.unseen = self.unseen + 1
  if self.unseen >= UNSEEN then self:sleep(0) end
end

--- Whether there is something that can end a sleep without a time limit.
---@return boolean
function Sleeper:can_be_woken()
  for _, place in ipairs(self.places.list) do
    if place:wakes() then return true end
  end
  return self.producer_awake()
end

-- What each place has and waits for.
local function states(self)
  local parts = {}
  for _, place in ipairs(self.places.list) do
    local queued, _, hands = self.ledger:queued(place.id)
    local wanted = place:wanted()
    parts[#parts + 1] = ("'%s' has %d in its queue and %d in hand%s"):format(place.plan.name, queued, hands,
      wanted > 0 and (", and waits for a block of %d bytes"):format(wanted) or "")
  end
  local own = self.ledger:own()
  if own > 0 then parts[#parts + 1] = ("the coordinator's own stages have %d in their queue"):format(own) end
  return table.concat(parts, "; ")
end

--- Called before a sleep without a time limit. Fails the run where nothing could end it.
---@return number? seconds to sleep at most; nil: no limit
function Sleeper:before_sleep()
  if self:can_be_woken() then
    self.stalled = 0
    return nil
  end
  self.stalled = self.stalled + 1
  if self.stalled < ROUNDS then return SECONDS end
  local used, size, own = 0, 0, self.shared
  if own.pool then used, size = own.pool:memory(), own.pool:size() end
  self.state:fail(("the run stands still, and nothing is left that could move it: %s; %d of %d bytes of shared " ..
    "memory are in use, the limit of memory is %d. If an item does not fit into that, raise `memory` or the limit " ..
    "of the address space (ulimit -v); otherwise this is a fault of the library: please report it"):format(
    states(self), used, size, own.memory))
end

return sleeper
