--- Seats: when a worker has been idle for long enough to end, and which one is to be replaced as it is old or large.
-- Values in, decisions out; the time is an argument, the memory of processes a function.
--
-- 1. One worker of a place is replaced at a time, and not before the one that follows it is ready.
-- 2. A worker is idle from its fork, or from the end of the last item that it had.
local earlier = require "minigun.base.earlier"

local seats = {}

local LOOK <const> = 1 -- seconds between two looks at a worker's memory

local Seats = {}
Seats.__index = Seats

--- Makes the policy of a place.
---@param options table `max_age`, `idle_timeout` (seconds), `max_memory` (bytes), all optional
---@return table? seats nil: there is nothing to decide
function seats.new(options)
  if not (options.max_age or options.idle_timeout or options.max_memory) then return nil end
  return setmetatable({ max_age = options.max_age, idle_timeout = options.idle_timeout,
    max_memory = options.max_memory, looked = 0 }, Seats)
end

--- The workers that have been idle for too long.
---@param slots table array: `pid`, `ends`, `hands` (what it has), `idle_since` (seconds)
---@param now number seconds
---@return table ended array of slots
---@return number? due when the next one may be
function Seats:idle(slots, now)
  local ended, due = {}, nil
  for _, slot in ipairs(self.idle_timeout and slots or {}) do
    if slot.pid and not slot.ends and slot.hands == 0 then
      local at = slot.idle_since + self.idle_timeout
      if at <= now then ended[#ended + 1] = slot else due = earlier(due, at) end
    end
  end
  return ended, due
end

--- The worker that is to be replaced next: the oldest of those that are too old, or one that is too large.
---@param slots table array: as of `idle`, and `since` (seconds)
---@param now number seconds
---@param memory_of function (pid) -> bytes, or nil
---@return table? slot
---@return number? due when to look again
function Seats:old(slots, now, memory_of)
  local oldest, due
  for _, slot in ipairs(self.max_age and slots or {}) do
    if slot.pid and not slot.ends then
      local at = slot.since + self.max_age
      if at > now then due = earlier(due, at)
      elseif not oldest or slot.since < oldest.since then oldest = slot end
    end
  end
  if not self.max_memory or oldest then return oldest, due end
  if now - self.looked >= LOOK then
    self.looked = now
    for _, slot in ipairs(slots) do
      if slot.pid and not slot.ends and (memory_of(slot.pid) or 0) > self.max_memory then return slot, due end
    end
  end
  local busy = false -- one that has done nothing since has grown by nothing
  for _, slot in ipairs(slots) do busy = busy or slot.pid and (slot.hands > 0 or slot.idle_since > self.looked) end
  return nil, busy and earlier(due, self.looked + LOOK) or due
end

return seats
