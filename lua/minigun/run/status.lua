--- How far a run is, in numbers.
local declared = require "minigun.base.declared"

local status = {}

local Status = {}
Status.__index = Status

--- Makes what counts how far a run is.
---@param plan table
---@return table status
function status.new(plan)
  return declared({ plan = plan, outcome = false, ledger = false, shared = false, places = false, inline = false,
    outlets = false, batches = false,
    counted = false,         -- what the coordinator's own chain has counted is in the statistics
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

--- Adds what a chain in this process has counted of a stage to its statistics.
---@param stage table
---@param counts table of the chain
function Status:count(stage, counts) add(self, stage, self.outcome.stats[stage.id], counts) end

--- What each stage has received, emitted and not finished yet.
---@return table from the stage's name to `{ pending =, items_in =, items_out = }`
function Status:rows()
  local rows, links = {}, self.inline.chain
  for id, stage in ipairs(self.plan.stages) do
    local row = rows[stage.name]
    if not row then
      local s = self.outcome.stats[id]
      row = { pending = 0, items_in = s.items_in, items_out = s.items_out }
      rows[stage.name] = row
    end
    local counts = not self.counted and stage.kind ~= "producer" and links and links.stats[id]
    if counts then add(self, stage, row, counts) end
    if stage.kind ~= "producer" then row.pending = row.pending + self:inside(id) end
  end
  return rows
end

--- How many items a stage has accepted and not finished, those in open batches included.
---@param id integer the stage
---@return integer
function Status:inside(id)
  local links, n = self.inline.chain, self.ledger.pending[id]
  local state = links and links.states[id]
  local entry = state and self.batches:oldest(state)
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
      warn("killed: %d item%s inside stage '%s'", n, n == 1 and "" or "s", stage.name)
    end
  end
  for _, outlet in ipairs(self.outlets.list) do
    local n = self.outlets:written(outlet)
    for _, target in ipairs(n > 0 and outlet.bytes or {}) do
      warn("killed: %d item%s on the way to stage '%s'", n, n == 1 and "" or "s", self.plan.stages[target].name)
    end
  end
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
  for id, counts in pairs(links and links.stats or {}) do
    local stage = self.plan.stages[id]
    -- What came from workers was counted when it was accepted.
    if stage.kind ~= "producer" then add(self, stage, stats[id], counts) end
  end
  self.counted = true
  for _, place in ipairs(self.places.list) do
    for _, id in ipairs(place.plan.stages) do
      local s = stats[id]
      local workers = place.plan.n * math.max(1, place.plan.width)
      s.waiting_in = math.max(0, workers * elapsed - s.busy - s.waiting_out)
    end
  end
end

return status
