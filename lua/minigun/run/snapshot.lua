--- The snapshot: all that is known of a run in numbers, as one table of plain values, in order. The same for a run that
-- goes on (run/status.lua has its figures) and for one that is over; everything that shows a run is made from it.
local ages = require "minigun.policy.ages"
local bottleneck = require "minigun.policy.bottleneck"
local core = require "minigun.core"
local failure = require "minigun.base.failure"
local machine = require "minigun.system.machine"
local progress = require "minigun.base.progress"
local recent = require "minigun.policy.recent"
local sources = require "minigun.sources.sources"
local stats = require "minigun.base.stats"

local snapshot = {}

local FAILURES <const> = 100 -- the last ones that are told
local WEIGHED <const> = 0.5  -- seconds between two looks at what a process uses

---@class minigun.Status
--- A run in numbers: plain data, which `minigun.encode` takes.
---@field id string of the run: when it began, process, and which of its runs
---@field pipeline string
---@field pid integer
---@field state "running"|"paused"|"stopping"|"done"|"failed"
---@field started number seconds since 1970
---@field elapsed number seconds
---@field stages minigun.StageStatus[] in topological order
---@field edges minigun.Edge[]
---@field workers minigun.RunWorker[]|minigun.WorkerStats[] processes; of a run that goes on with what they are at
---@field alive integer workers that live
---@field items integer of the terminal stages, so far
---@field failed integer items, for good, so far
---@field failures minigun.FailureText[] the last hundred failures that the run keeps
---@field warnings string[]
---@field counters table<string, number> what `ctx:count` has added up
---@field collected table<string, integer> how many values each name of `ctx:collect` has
---@field produced integer items of all sources
---@field consumed integer items that the terminal stages have finished
---@field rate number items of the sources in a second, now; 0 in a run that is over
---@field mean number the same of the whole run
---@field bottleneck string? the stage whose handler keeps its workers busiest, and more than half of their time
---@field memory integer bytes of shared memory in use
---@field memory_most integer
---@field memory_limit integer
---@field total integer? items of all sources, where that is known
---@field part number? of the work that is done, from 0 to 1
---@field left number? seconds that it will still take, if it goes on as in the mean
---@field error string? what has ended the run before its end

---@class minigun.StageStatus: minigun.StageStats
---@field pending integer items that are queued, in a worker's hands, in an open batch, or wait for their next attempt
---@field oldest number? seconds that the oldest of these has been here, as far as was looked; nil: none, or it is over
---@field state "waiting"|"working"|"blocked"|"done" waiting: for items; blocked: for room after it
---@field rate number items finished in a second, now; of a source those emitted; 0 in a run that is over
---@field mean number the same of the whole run
---@field busy_share number part of its workers' time, from 0 to 1: in the last seconds, or in a run that is over
---@field in_share number the same of its waiting for items
---@field out_share number the same of its waiting for room

---@class minigun.RunWorker
--- A worker of a run that goes on.
---@field segment string the stages that it runs: "parse+check"
---@field worker integer number of its slot
---@field pid integer? nil: there is no process now
---@field state "working"|"idle"|"ending"|"none"
---@field stage string? of the item in hand
---@field item integer? which of the items that have come to it that is, from 1
---@field held number? seconds that it has been at that item, as far as was looked
---@field in_hand integer items that it has been given and not finished
---@field items integer done, by all processes of the slot
---@field restarts integer
---@field died integer
---@field busy number seconds in handlers, of this process
---@field age number? seconds
---@field cpu number? share of a processor that it has had in the last seconds
---@field memory integer? bytes that are resident

---@class minigun.FailureText
--- A failure in words.
---@field kind string
---@field stage string?
---@field message string
---@field item string? as in messages
---@field attempts integer?
---@field worker integer?
---@field pid integer?

local texts = setmetatable({}, { __mode = "k" }) -- from a failure to its words

local function text_of(record)
  local own = texts[record]
  if not own or own.message ~= record.message then -- it learns where the items of a dead worker went
    own = { kind = record.kind, stage = record.stage, message = tostring(record.message),
      item = record.item ~= nil and failure.show(record.item) or nil, attempts = record.attempts,
      worker = record.worker, pid = record.pid }
    texts[record] = own
  end
  return own
end

local function last_failures(all)
  local list = {}
  for i = math.max(1, #all - FAILURES + 1), #all do list[#list + 1] = text_of(all[i]) end
  return list
end

-- The shares of a stage's time in a span.
local function shares(row, seconds, busy, waiting_out)
  local all = math.max(1, row.workers) * seconds
  local function share(part) return all > 0 and math.min(1, math.max(0, part / all)) or 0 end
  row.busy_share, row.out_share = share(busy), share(waiting_out)
  row.in_share = math.max(0, 1 - row.busy_share - row.out_share)
end

--- Completes a row with rates and shares.
---@param row table
---@param elapsed number seconds of the run
---@param seconds number of the last ones
---@param earlier table? what it had before them: `done`, `busy`, `waiting_out`; nil: nothing is of now
function snapshot.rate(row, elapsed, seconds, earlier)
  row.mean = elapsed > 0 and progress.done(row) / elapsed or 0
  if not earlier then
    row.rate = 0
    return shares(row, elapsed, row.busy, row.waiting_out)
  end
  row.rate = seconds > 0 and math.max(0, progress.done(row) - (earlier.done or 0)) / seconds or 0
  shares(row, seconds, row.busy - (earlier.busy or 0), row.waiting_out - (earlier.waiting_out or 0))
end

-- What all rows together say.
local function sum_up(own)
  own.produced, own.consumed, own.rate = 0, 0, 0
  for _, row in ipairs(own.stages) do
    if row.source then own.produced, own.rate = own.produced + row.items_out, own.rate + row.rate end
    if row.terminal then own.consumed = own.consumed + progress.done(row) end
  end
  own.mean = own.elapsed > 0 and own.produced / own.elapsed or 0
  own.bottleneck = bottleneck.of(own.stages)
end

--- The row of a stage: a copy of its record, with a histogram of its own where there is one.
---@param record table
---@return table row
function snapshot.row(record)
  local row = {}
  for key, value in next, record do row[key] = value end
  if row.service then
    row.service = stats.histogram()
    row.service:merge(record.service.classes)
  end
  row.pending = 0
  return row
end

local function rows_of(result)
  local rows = {}
  for i, name in ipairs(result.stats.order) do
    local row = snapshot.row(result.stats.stages[name])
    row.state = "done"
    snapshot.rate(row, result.elapsed, 0)
    rows[i] = row
  end
  return rows
end

--- The snapshot of a run.
---@param result table its result, so far
---@param state string
---@param live table? of one that goes on, what is otherwise: `elapsed`, `stages`, `workers` and more
---@return minigun.Status
function snapshot.of(result, state, live)
  local all = result.stats
  local own = {
    id = result.id, pipeline = result.pipeline, pid = result.pid, state = state, started = result.started,
    elapsed = result.elapsed, edges = core.copy(all.edges), alive = 0, items = #result.items, failed = result.failed,
    failures = last_failures(result.failures), warnings = core.copy(all.warnings),
    counters = core.copy(result.counters), collected = {}, memory = 0, memory_most = all.memory_most,
    memory_limit = all.memory_limit, error = result.error,
  }
  for name, values in pairs(result.collected) do own.collected[tostring(name)] = #values end
  for key, value in pairs(live or {}) do own[key] = value end
  own.stages, own.workers = own.stages or rows_of(result), own.workers or core.copy(all.workers)
  sum_up(own)
  return own
end

-- --- of a run that goes on: what its run.status knows

-- The rows of the snapshot, and what is to be compared later.
local function live_rows(self, elapsed)
  local rows, by_name = self:gather(snapshot.row)
  local now = {}
  for _, row in ipairs(rows) do
    now[row.name] = { done = progress.done(row), busy = row.busy, waiting_out = row.waiting_out }
  end
  local seconds, earlier = self.recent:look(self.began + elapsed, now)
  for _, row in ipairs(rows) do
    stats.close(row)
    snapshot.rate(row, elapsed, seconds, earlier[row.name] or {})
    row.waiting_in = math.max(0, row.workers * elapsed - row.busy - row.waiting_out)
    row.state = row.drained and "done" or row.out_share > 0.5 and "blocked"
      or (row.rate > 0 or row.busy_share > 0.05) and "working" or "waiting"
    row.drained = nil
    if not row.source then
      row.oldest = self.ages:oldest(row.name, row.items_in, progress.done(row), self.began + elapsed)
    end
  end
  return rows, by_name
end

-- What a worker's process uses.
local function usage(self, pid, now)
  local own = self.uses[pid]
  if own and now - own.at < WEIGHED then return own end
  local cpu, memory = machine.usage(pid)
  local share = own and cpu and own.cpu and (cpu - own.cpu) / (now - own.at)
  own = { at = now, cpu = cpu, share = share or nil, memory = memory }
  self.uses[pid] = own
  return own
end

-- The workers' slots, with what their processes are at. An item in a worker's hands may be older than those after it.
local function live_workers(self, now, by_name)
  local list, alive, uses = {}, 0, {}
  for _, place in ipairs(self.shared.pool and self.places.list or {}) do
    for _, slot in ipairs(place.first and place.slots or {}) do
      local record = slot.record or {}
      local stage, item, in_hand = place:at(slot)
      local _, ends, _, items, busy = self.ledger:seat(slot.index)
      local row = { segment = place.plan.name, worker = slot.number, pid = slot.pid, in_hand = in_hand,
        stage = stage and self.plan.stages[stage].name or nil, item = item, died = record.died or 0,
        items = (record.items or 0) + items, restarts = math.max(0, slot.restarts), busy = busy,
        state = not slot.pid and "none" or stage and "working" or ends and "ending" or "idle" }
      if slot.pid then
        local uses_now = usage(self, slot.pid, now)
        row.age, row.cpu, row.memory = now - slot.since, uses_now.share, uses_now.memory
        alive, uses[slot.pid] = alive + 1, uses_now
      end
      local stage_row = by_name[row.stage]
      if stage_row and item then
        row.held = self.ages:look(slot.index, ("%s %d %d"):format(row.stage, item, slot.pid or 0), now)
        stage_row.oldest = math.max(stage_row.oldest or 0, row.held)
      end
      list[#list + 1] = row
    end
  end
  self.uses = uses
  return list, alive
end

--- All that is known of a run that goes on.
---@param self table its run.status
---@return minigun.Status
function snapshot.live(self)
  local result, shared, now = self.outcome.result, self.shared, core.now()
  if not self.recent then
    self.recent, self.ages = recent.new(self.began), ages.new()
    self.length = sources.length_of_all(self.plan.stages) or false
  end
  local live = { elapsed = now - self.began, memory_limit = shared.memory }
  local rows, by_name = live_rows(self, live.elapsed)
  live.stages = rows
  live.workers, live.alive = live_workers(self, now, by_name)
  if shared.pool then
    local used, _, most = shared.pool:memory()
    live.memory, live.memory_most = used, most
  end
  if self.length then
    live.total, live.part = self.length, progress.part(self.plan.stages, by_name, self.length)
    live.left = live.part > 0 and live.elapsed / live.part * (1 - live.part) or nil
  end
  return snapshot.of(result, self:state_name(), live)
end

return snapshot
