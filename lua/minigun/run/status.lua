--- How far a run is, in numbers.
local core = require "minigun.core"
local declared = require "minigun.base.declared"
local failure = require "minigun.base.failure"
local numbers = require "minigun.base.stats"

local status = {}

local Status = {}
Status.__index = Status

--- Makes what counts how far a run is.
---@param plan table
---@return table status
function status.new(plan)
  return declared({ plan = plan, outcome = false, state = false, ledger = false,
    shared = false, places = false, inline = false,
    outlets = false,
    counted = false,         -- what the coordinator's own chain has counted is in the statistics
    began = core.now(), recent = false, ages = false, length = false,
    uses = {},               -- by pid: what a process uses, `{ at =, cpu =, share =, memory = }`
  }, Status)
end

-- Adds what the coordinator's own chain has counted of a stage to a row with `items_in`, `items_out`.
local function add(self, stage, row, counts)
  local handled = stage.batch and self.plan.stages[stage.outputs[1]]
  if counts.busy and row.busy then
    row.busy = row.busy + counts.busy
    row.service:merge(counts.classes or counts.service.classes)
  end
  if not stage.continues then row.items_in = row.items_in + counts.items_in end
  if not (handled and handled.gathers == stage.id) then row.items_out = row.items_out + counts.items_out end
end

-- Adds what the ledger has counted of a stage since the last time to its statistics.
local function take_counts(self, id)
  local s = self.outcome.stats[id]
  local items_in, items_out, busy, waiting_out, queue_most, classes = self.ledger:counts(id)
  s.items_in, s.items_out, s.busy = s.items_in + items_in, s.items_out + items_out, s.busy + busy
  s.waiting_out, s.queue_most = s.waiting_out + waiting_out, math.max(s.queue_most, queue_most)
  if classes then s.service:merge(classes) end
  return s
end

--- How many items have come to a stage.
---@param id integer the stage
---@return integer
function Status:received(id) return take_counts(self, id).items_in end

--- Adds what a chain in this process has counted of a stage to its statistics.
---@param stage table
---@param counts table of the chain
function Status:count(stage, counts) add(self, stage, self.outcome.stats[stage.id], counts) end

--- What each stage as the user knows it has received, emitted and not finished yet, and whether it is drained.
---@param new fun(statistics: table): table makes the row of a stage
---@return table rows in order
---@return table by_name
function Status:gather(new)
  local rows, by_name, links = {}, {}, self.inline.chain
  for id in ipairs(self.plan.stages) do take_counts(self, id) end
  for id, stage in ipairs(self.plan.stages) do
    local row = by_name[stage.name]
    if not row then
      row = new(self.outcome.stats[id])
      row.pending, row.drained = 0, true
      by_name[stage.name], rows[#rows + 1] = row, row
    end
    local counts = not self.counted and stage.kind ~= "producer" and links and links:counts(id)
    if counts then add(self, stage, row, counts) end
    if stage.kind ~= "producer" then row.pending = row.pending + self:inside(id) end
    row.drained = row.drained and self.ledger:drained(id)
  end
  return rows, by_name
end

--- What each stage has received, emitted and not finished yet.
---@return table from the stage's name to `{ pending =, items_in =, items_out = }`
function Status:rows()
  return (select(2, self:gather(function(s) return { items_in = s.items_in, items_out = s.items_out } end)))
end

--- What a run is at.
---@return "running"|"paused"|"stopping"
function Status:state_name()
  local own = self.state
  if self.ledger:paused() and not own.stop_asked then return "paused" end
  return (own.stop_asked or own.aborted) and "stopping" or "running"
end

--- All that is known of a run that goes on.
---@return minigun.Status
function Status:snapshot() return require("minigun.run.snapshot").live(self) end

--- How many items a stage has accepted and not finished, those in open batches included.
---@param id integer the stage
---@return integer
function Status:inside(id)
  local links, n = self.inline.chain, self.ledger:pending(id)
  local state = links and links.states[id]
  local entry = state and state.batches and state.batches:oldest()
  while entry do
    n, entry = n + entry.n, entry.after
  end
  return n
end

--- Notes what is inside, before it is given up.
function Status:note_inside()
  if not self.inline.chain then return end
  local function warn(...) self.outcome:warn((...):format(select(2, ...))) end
  for id, stage in ipairs(self.plan.stages) do
    local n = self:inside(id)
    if stage.kind == "producer" then
      if n > 0 then warn("killed: producer '%s' had not ended", stage.name) end
    elseif n > 0 then
      warn("killed: %s inside stage '%s'", failure.count(n, "item"), stage.name)
    end
  end
  for _, outlet in ipairs(self.outlets.list) do
    local n = self.outlets:written(outlet)
    for _, target in ipairs(n > 0 and outlet.bytes or {}) do
      warn("killed: %s on the way to stage '%s'", failure.count(n, "item"), self.plan.stages[target].name)
    end
  end
end

--- How many of the sources' items have been finished, as far as what is inside can be taken for items of theirs.
---@return integer
function Status:finished()
  local n, rows = 0, self:rows()
  for id, stage in ipairs(self.plan.stages) do
    if stage.kind == "producer" then n = n + rows[stage.name].items_out else n = n - self:inside(id) end
  end
  return math.max(n, 0)
end

--- How many workers live, as far as the coordinator has heard.
---@return integer
function Status:workers()
  local n = 0
  for _, place in ipairs(self.shared.pool and self.places.list or {}) do n = n + place:alive() end
  return n
end

--- Completes the statistics of a run that is over.
function Status:complete()
  local stats, links, elapsed = self.outcome.stats, self.inline.chain, self.outcome.result.elapsed
  for id in ipairs(self.plan.stages) do take_counts(self, id) end
  for id in pairs(links and links.states or {}) do
    local stage = self.plan.stages[id]
    -- What came from workers was counted when it was accepted.
    if stage.kind ~= "producer" then add(self, stage, stats[id], links:counts(id)) end
  end
  self.counted = true
  for _, place in ipairs(self.places.list) do
    for _, id in ipairs(place.plan.stages) do
      local s = stats[id]
      local workers = place.plan.n * math.max(1, place.plan.width)
      s.waiting_in = math.max(0, workers * elapsed - s.busy - s.waiting_out)
    end
  end
  self.outcome.result.stats.memory_limit = self.shared.memory
  for _, s in pairs(stats) do numbers.finish(s) end
end

return status
