--- Progress: how far a run is, in numbers. Methods of a run (see run.lua).
local progress = {}

--- What each stage has received, emitted and not finished yet.
---@return table from the stage's name to `{ pending =, items_in =, items_out = }`
function progress:tally()
  local rows = {}
  for id, stage in ipairs(self.plan.stages) do
    local row = rows[stage.name]
    if not row then
      local s = self.stats[id]
      row = { pending = 0, items_in = s.items_in, items_out = s.items_out }
      rows[stage.name] = row
    end
    local counts = not self.counted and stage.kind ~= "producer" and self.chain and self.chain.stats[id]
    if counts then self:add_inline(stage, row, counts) end
    if stage.kind ~= "producer" then row.pending = row.pending + self:inside(id) end
  end
  return rows
end

--- Adds what the coordinator's own chain has counted of a stage.
---@param stage table
---@param row table with `items_in`, `items_out`
---@param counts table of the chain
function progress:add_inline(stage, row, counts)
  local handled = stage.batch and self.plan.stages[stage.outputs[1]]
  if counts.busy and row.busy then
    row.busy = row.busy + counts.busy
    row.service:merge(counts.classes or counts.service.classes)
  end
  if not stage.behind then row.items_in = row.items_in + counts.items_in end
  if not (handled and handled.gathers == stage.id) then row.items_out = row.items_out + counts.items_out end
end

--- How many items a stage has accepted and not finished, those in open batches included.
---@param id integer the stage
---@return integer
function progress:inside(id)
  local state, n = self.chain and self.chain.states[id], self.ledger.pending[id]
  local entry = state and self:open_batch(state)
  while entry do
    n, entry = n + entry.n, entry.after
  end
  return n
end

--- Notes what is inside, before it is given up.
function progress:note_inside()
  if not self.chain then return end
  for id, stage in ipairs(self.plan.stages) do
    local n = self:inside(id)
    if stage.kind == "producer" then
      if n > 0 then self:warn(("killed: producer '%s' had not ended"):format(stage.name)) end
    elseif n > 0 then
      self:warn(("killed: %d item%s inside stage '%s'"):format(n, n == 1 and "" or "s", stage.name))
    end
  end
  for _, outlet in ipairs(self.writers) do
    local n = self.pool and outlet.writer and outlet.writer:pending() or 0
    for _, target in ipairs(n > 0 and outlet.bytes or {}) do
      self:warn(("killed: %d item%s on the way to stage '%s'"):format(n, n == 1 and "" or "s",
        self.plan.stages[target].name))
    end
  end
end

--- How many workers live, as far as the coordinator has heard.
---@return integer
function progress:workers()
  local n = 0
  for _, segment in ipairs(self.pool and self.segments or {}) do n = n + segment:alive() end
  return n
end

return progress
