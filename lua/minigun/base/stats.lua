--- Statistics: numbers in, numbers out; no clock and no process.
local stats = {}

-- Service times are counted in classes of a factor 2^(1/4), from 0.1 us to about 3 hours: quantiles are right to 10 %.
local BASE <const> = 1e-7
local STEPS <const> = 4

---@class minigun.Stats
--- Plain data: `minigun.encode(result.stats)` works.
---@field stages table<string, minigun.StageStats> by name
---@field order string[] names of the stages, in topological order
---@field edges minigun.Edge[] which stage sends to which
---@field workers minigun.WorkerStats[] one for each worker's slot, however many processes have filled it
---@field warnings string[] what was odd, and cost no item; the first hundred, and how many more there were
---@field memory_most integer most bytes of shared memory that were in use
---@field memory_limit integer bytes of shared memory that the run may use

---@class minigun.Edge
---@field from string
---@field to string
---@field kind "value"|"bytes"|"dead_letter"|"sent"
--- values inside one process, bytes between processes, failed items, or what `emit:to` in the coordinator has sent

---@class minigun.StageStats
---@field name string
---@field kind string the method that has defined it: "map", "batch" ...
---@field context string where its handler runs: "processes(4)"
---@field workers integer how many items of it can be at work at once; 1 in the coordinator
---@field at string where it is defined, "file:line"
---@field source boolean? true: a producer
---@field terminal boolean? true: no stage is after it
---@field gathers boolean? true: it is a batch without a handler
---@field route "round_robin"|"choice"|nil how it chooses among the stages after it, where not all get each item
---@field queue integer? most items that may wait for it, where that was said
---@field retries integer? further attempts that were asked for
---@field timeout number? seconds that one item may take
---@field ordered boolean? true: what comes out is in the order of what has come in
---@field max_size integer? of a batch
---@field max_wait number? of a batch
---@field hooks string[]? names of the hooks that it has: "before" ...
---@field items_in integer
---@field items_out integer
---@field failed integer items, for good
---@field retried integer further attempts
---@field busy number seconds in the handler, of all workers together
---@field waiting_in number seconds without an item
---@field waiting_out number seconds in which the stages after it had no room
---@field queue_most integer most items that waited for it
---@field observed integer items whose time was measured
---@field p50 number? seconds per item: half of them took less; nil: no time was measured
---@field p90 number?
---@field p95 number?
---@field p99 number?
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

-- The time in the middle of a class.
local function time_of(class) return BASE * 2 ^ ((class + 0.5) / STEPS) end

--- Times below which shares of the observations lie.
---@param classes table as from `take`
---@param shares number[] from 0 to 1, in ascending order
---@return number[] seconds one for each share; none: nothing was observed
function stats.quantiles(classes, shares)
  local order, all, seen, times = {}, 0, 0, {}
  for class, n in pairs(classes) do order[#order + 1], all = class, all + n end
  table.sort(order)
  for _, class in ipairs(order) do
    seen = seen + classes[class]
    while shares[#times + 1] and seen >= shares[#times + 1] * all do times[#times + 1] = time_of(class) end
  end
  return times
end

local SHARES <const> = { 0.5, 0.9, 0.95, 0.99 }

local classes_of = setmetatable({}, { __mode = "k" }) -- from a closed record to its histogram's classes

--- The metatable of the records of a result: `record.service:quantile(0.75)` gives other shares than those that stand
--- in it as numbers. Registered, so that a result's statistics can be sent.
stats.Record = { __name = "minigun.stage_stats" }

--- What a record has besides its own fields: `service`.
---@param record table
---@param key any
---@return table?
function stats.Record.__index(record, key)
  if key ~= "service" then return nil end
  local classes = classes_of[record]
  return { count = record.observed, quantile = function(_, share)
    return classes and stats.quantiles(classes, { share })[1]
  end }
end

--- Puts numbers in the place of a record's histogram: `observed`, `p50`, `p90`, `p95`, `p99`.
---@param record table of a stage
---@return table? classes of the histogram; nil: it had none any more
function stats.close(record)
  local service = rawget(record, "service")
  if not service then return end
  local times = service.count > 0 and stats.quantiles(service.classes, SHARES) or service.classes
  record.observed, record.service = service.count, nil
  record.p50, record.p90, record.p95, record.p99 = times[1], times[2], times[3], times[4]
  return service.classes
end

--- The same for the record of a result, which keeps the histogram for other shares.
---@param record table of a stage
function stats.finish(record)
  local classes = stats.close(record)
  if classes then classes_of[setmetatable(record, stats.Record)] = classes end
end

--- The record of one stage in a result.
---@param fields table? what is known of it before the run: the first fields of minigun.StageStats
---@return table
function stats.stage(fields)
  local record = fields or {}
  record.items_in, record.items_out, record.failed, record.retried = 0, 0, 0, 0
  record.busy, record.waiting_in, record.waiting_out, record.queue_most = 0, 0, 0, 0
  record.blocked, record.blocked_most, record.observed, record.service = 0, 0, 0, stats.histogram()
  return record
end

return stats
