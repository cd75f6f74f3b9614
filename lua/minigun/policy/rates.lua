--- Rates: how long items take, and how many make one slice of work. Numbers in, numbers out; no clock.
local rates = {}

-- Weight of the newest measurement in the running mean of the time per item.
local NEWEST <const> = 0.3
-- Seconds of work that one slice should be: long against the cost of handing it over (some us, and where no processor
-- is free a worker is interrupted for it), short against a run; and what a slice may be where so much waits that no
-- worker will be without. The long one outlasts the time after which a busy machine lets the coordinator run again;
-- what a worker has not begun of it can be taken back.
local SLICE_SECONDS <const>, LONG_SECONDS <const> = 0.0005, 0.016
local MOST_ITEMS <const> = 1 << 20
local STORED <const> = 0.002 -- seconds of an item before which a slice in store would wait too long

local Rate = {}
Rate.__index = Rate

--- Makes a running mean of the time per item, from which slices are cut.
---@return table rate `seconds`: nil before the first measurement
function rates.new() return setmetatable({ seconds = nil }, Rate) end

--- Takes a measurement into the mean. Much slower than before counts at once: slices must not grow too long.
---@param seconds number spent on n items
---@param n integer
function Rate:learn(seconds, n)
  local one = seconds / n
  if not self.seconds or one > 4 * self.seconds then self.seconds = one
  else self.seconds = self.seconds + NEWEST * (one - self.seconds) end
end

--- How many items to hand over at once.
---@param share integer? items that wait, divided by the workers that take them
---@return integer
function Rate:slice(share)
  if not self.seconds then return 1 end
  local each = math.max(self.seconds, 1e-9)
  local most = math.min(MOST_ITEMS, LONG_SECONDS / each // 1 | 0)
  return math.max(1, math.min(most, math.max(share or 0, SLICE_SECONDS / each // 1 | 0)))
end

--- How many slices a worker may hold: a second one in store hides the hand-over, but after a slow item it would wait.
---@return integer
function Rate:depth() return self.seconds and self.seconds < STORED and 2 or 1 end

return rates
