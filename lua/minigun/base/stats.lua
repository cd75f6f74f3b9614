--- Statistics: numbers in, numbers out; no clock and no process.
local failure = require "minigun.base.failure"

local stats = {}

-- Service times are counted in classes of a factor 2^(1/4), from 0.1 us to about 3 hours: quantiles are right to 10 %.
local BASE <const> = 1e-7
local STEPS <const> = 4

---@class minigun.Stats
---@field stages table<string, minigun.StageStats> by name
---@field workers minigun.WorkerStats[] one for each worker's slot, however many processes have filled it
---@field warnings string[] what was odd, and cost no item; the first hundred, and how many more there were
---@field memory_most integer most bytes of shared memory that were in use

---@class minigun.StageStats
---@field items_in integer
---@field items_out integer
---@field failed integer items, for good
---@field retried integer further attempts
---@field busy number seconds in the handler, of all workers together
---@field waiting_in number seconds without an item
---@field waiting_out number seconds in which the stages after it had no room
---@field queue_most integer most items that waited for it
---@field service minigun.Histogram of the seconds per item
---@field resumed integer? of a producer, in a run with a journal: items that were acknowledged before and not passed on
---@field blocked number seconds in which its handlers, in threads of the coordinator, let nothing else of it go on
---@field blocked_most number the most of these seconds at one time

---@class minigun.WorkerStats
--- The processes that have filled one slot; times and counts are those of all of them together.
---@field pid integer of the last
---@field segment string the stages that it ran: "parse+check"
---@field worker integer number of its slot
---@field items integer done
---@field restarts integer how many processes followed the first: replacements, or of a fork per batch the further forks
---@field died integer how many have ended otherwise than in good order
---@field busy number seconds in handlers
---@field lived number seconds
---@field code integer exit code of the last
---@field signal integer? that ended the last

---@class minigun.Histogram
---@field count integer
local Histogram = {}
Histogram.__index = Histogram

--- Makes an empty histogram of times.
---@return table histogram
function stats.histogram()
  return setmetatable({ count = 0, classes = {} }, Histogram)
end

--- Adds n observations of the same time.
---@private
---@param seconds number
---@param n integer
function Histogram:add(seconds, n)
  local class = seconds <= BASE and 0 or math.floor(math.log(seconds / BASE, 2) * STEPS)
  self.classes[class] = (self.classes[class] or 0) + n
  self.count = self.count + n
end

--- Adds the observations of another one.
---@private
---@param classes table as from `take`
function Histogram:merge(classes)
  for class, n in pairs(classes) do
    self.classes[class] = (self.classes[class] or 0) + n
    self.count = self.count + n
  end
end

--- What has been observed, as plain data; it begins anew.
---@private
---@return table classes from class to observations
function Histogram:take()
  local classes = self.classes
  self.classes, self.count = {}, 0
  return classes
end

--- The time below which the share q of the observations lies.
---@param q number from 0 to 1
---@return number? seconds nil: nothing was observed
function Histogram:quantile(q)
  if type(q) ~= "number" or not (q >= 0 and q <= 1) then
    failure.raise(("histogram:quantile: a number from 0 to 1 expected, got %s"):format(failure.show(q)))
  end
  if self.count == 0 then return nil end
  local classes, seen = {}, 0
  for class in pairs(self.classes) do classes[#classes + 1] = class end
  table.sort(classes)
  for _, class in ipairs(classes) do
    seen = seen + self.classes[class]
    if seen >= q * self.count then return BASE * 2 ^ ((class + 0.5) / STEPS) end
  end
end

--- The record of one stage in a result.
---@return table
function stats.stage()
  return {
    items_in = 0, items_out = 0, failed = 0, retried = 0, busy = 0, waiting_in = 0, waiting_out = 0, queue_most = 0,
    blocked = 0, blocked_most = 0, service = stats.histogram(),
  }
end

return stats
