--- Dispatch: how much work a worker is given, and when it is taken back. Numbers in, numbers out; no clock, no process.
--
-- 1. A slice is as long as the rate says; the first one, before anything is known, is one item.
-- 2. Where later stages have a limit, no more is begun than there is room for its output. One item of each worker is
--    begun all the same, so that all workers work.
-- 3. What was taken back from a worker is shared out in small slices: the next slow item may be in it.
-- 4. A worker that is at a slice for long while another has nothing to do is overdue: what it has not begun is taken
--    back. Each try costs it something, so they become rarer.
local dispatch = {}

-- Seconds that a worker may be at a slice before it is overdue: as long as a slice should take; at most so many between
-- two tries.
local OVERDUE <const>, OVERDUE_MOST <const> = 0.001, 0.064

--- How much each worker may have.
---@param rate table see policy/rates.lua
---@param queued integer items that wait
---@param workers integer
---@param threads integer? items that one worker may have in hand, each by itself; nil: it has no threads
---@return integer most items of a slice
---@return integer depth slices of one worker
function dispatch.terms(rate, queued, workers, threads)
  if threads then return 1, threads end
  if queued <= 1 then return 1, rate:depth() end
  return rate:slice(queued // (4 * workers)), rate:depth()
end

--- How many items the next slice has.
---@param most integer
---@param room number items that may be begun
---@param returned boolean? it is of what was taken back
---@param queued integer items that wait
---@param alive integer workers
---@return integer
function dispatch.size(most, room, returned, queued, alive)
  if room < most then most = math.max(1, room) end
  return returned and math.min(most, (queued - 1) // math.max(1, alive) + 1) or most
end

local Patience = {}
Patience.__index = Patience

--- Makes what tells when a worker is overdue with a slice.
---@return table patience `at`: when it will be, in seconds
function dispatch.patience() return setmetatable({ slice = nil, wait = OVERDUE, at = math.huge }, Patience) end

--- Whether a worker is overdue.
---@param slice integer number of the one that it is at
---@param now number seconds
---@return boolean
function Patience:over(slice, now)
  if self.slice ~= slice then self.slice, self.wait, self.at = slice, OVERDUE, now + OVERDUE end
  if self.at > now then return false end
  self.wait = math.min(2 * self.wait, OVERDUE_MOST)
  self.at = now + self.wait
  return true
end

return dispatch
