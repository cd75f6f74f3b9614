--- The pace of a source of the coordinator: after which item others have their turn, and how long it is not asked
-- again. Policy: numbers in, numbers out; the clock comes as an argument. docs/how-it-works.md gives the reasons.
--
-- 1. A source may stand still after any item, so others have their turn after each one, as long as that is paid for: a
--    turn costs ROUND, and a SHARE-th of the time that the source takes may be spent on turns, CREDIT in advance.
-- 2. After a source that has taken SLOW for an item they have their turn in any case, and once in USUAL.
-- 3. One that has blocked the process (it cannot say when it goes on) is asked again when what is at work has come
--    back, at most `allowance` later: a PART-th of the time that it has blocked, so it is never slowed by more.
local pace = {}

local ROUND <const>, CREDIT <const>, SHARE <const>, SLOW <const> = 1e-5, 0.0005, 50, 0.001
-- Seconds of allowance: of a source that is not known yet, at the first time that it blocks, at most.
local UNKNOWN <const>, FIRST <const>, MOST <const>, PART <const> = 0.0005, 0.01, 0.05, 4
local LEAST <const> = 0.0003     -- a sleep that is shorter is not worth while
local USUAL <const> = 0.0002     -- seconds between two turns of others, where a receiver waits for items
local MEASURED <const>, AGAIN <const> = 64, 4 -- turns in a row that are measured, after one that was slow; seemed so

local Pace = {}
Pace.__index = Pace

--- Makes the pace of a source that has not been asked yet.
---@param now number seconds
---@param known boolean? true: it never blocks (an array)
---@return table pace
--- `slow`: its last turn was; `stood`: seconds that it has blocked while others could have worked; `paused`: since when
--- it is not asked again, which the caller notes, or nil
function pace.new(now, known)
  return setmetatable({ clock = now, began = now, credit = CREDIT, allowance = known and 0 or UNKNOWN, known = known,
    slow = false, blocks = false, stood = 0, measured = MEASURED }, Pace)
end

--- Others have had their turn after an item; the source goes on.
---@param now number
function Pace:begin(now) self.clock, self.began = now, now end

--- The source goes on, after such a turn or after a rest of its own.
---@param now number
---@return boolean measures whether it is worth while to find out where the time of this turn goes: a system call
function Pace:resume(now)
  self.began = now
  if self.paused then
    self.allowance = self.allowance - (now - self.paused)
    self.paused = nil
  end
  self.measured = self.measured - 1
  return self.measured >= 0 and not self.known
end

--- Whether others are to have their turn after an item.
---@param now number
---@param alone boolean? there is no receiver that waits for items one by one
---@return boolean
function Pace:due(now, alone)
  local gap = now - self.clock
  self.clock = now
  local credit = self.credit + gap / SHARE
  if credit > CREDIT then credit = CREDIT end
  self.credit = credit
  if gap > SLOW or now - self.began > (alone and SLOW or USUAL) then return true end
  if alone then return false end
  local rich = credit >= ROUND
  if rich then self.credit = credit - ROUND end
  return rich
end

-- How long it is not asked again while something is at work; nil: it may go on at once.
local function rest(self) return self.allowance >= LEAST and self.allowance or nil end

--- A turn is over.
---@param took number seconds
---@param blocked number of these, the seconds that the process has stood still
---@param idle boolean whether others could have worked meanwhile
---@return number? seconds for which it is not asked again while something is at work; nil: it may go on at once
function Pace:ran(took, blocked, idle)
  self.slow = took > SLOW
  if not self.slow then return rest(self) end
  self.measured = MEASURED
  if blocked < SLOW then return rest(self) end
  if idle then self.stood = self.stood + blocked end
  local base = self.blocks and self.allowance or FIRST
  self.allowance, self.blocks = math.min(MOST, base + blocked / PART), true
  return rest(self)
end

--- Turns are over of which it is not known where their time went: if the longest was slow, the next ones are measured.
---@param most number seconds
---@return number? seconds as of `ran`
function Pace:passed(most)
  self.slow = most > SLOW
  if self.slow and self.measured < AGAIN then self.measured = AGAIN end
  return rest(self)
end

return pace
