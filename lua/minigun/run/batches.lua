--- Joins: batches of items that come from workers. Methods of a run (see run.lua), which give each accumulator without
-- keys a joiner, and it a writer where its batches go to other processes.
local core = require "minigun.core"
local joiner = require "minigun.policy.joiner"

local joins = {}

-- The writer of the batches of a stage that go to other processes and nowhere else.
local function open_writer(self, stage)
  local outlet, first, last = self.outlets[stage.id], self:slots_of(stage.outputs)
  if not first or self.chain.states[stage.id].choose then return nil end
  local joined = { bytes = outlet.targets, stage_id = stage.id }
  joined.writer = core.writer(self.pool, stage.id, function(writer, need)
    self:flush_writer(joined)
    if need > 0 then self:open_block(stage, writer, need) end
  end, function() end, first, last)
  self.writers[#self.writers + 1] = joined
  outlet.joined = joined
  return joined.writer
end

--- Gives an accumulator of the coordinator what gathers its batches.
---@param stage table
function joins:open_join(stage)
  if not self.pool or stage.batch.by then return end
  local state, outlet = self.chain.states[stage.id], self.outlets[stage.id]
  local counts = self.chain.stats[stage.id]
  local given = { max_size = stage.batch.max_size, max_wait = stage.batch.max_wait, numbered = stage.batch.numbered,
    max_bytes = stage.batch.numbered and self.queue_bytes // 2 }
  state.batches = joiner.new(given, {
    pool = self.pool, writer = open_writer(self, stage), now = core.clock,
    emit = function(batch) self.chain:emit_batch(state, batch) end,
    joined = function(n) counts.items_out = counts.items_out + n end,
    tables = function()
      if outlet.writer then self:flush_writer(outlet) end
    end,
    passing = function(gathered)
      outlet.joined.origin = self.acks:pass(outlet.joined.origin, gathered)
    end,
    flush = function() self:flush_writer(outlet.joined) end,
    refused = function(list) self:items_refused(stage, list) end,
    dropped = function(gathered)
      if gathered then self.acks:release(gathered, 1) end
    end,
    fail = function(message) self:fail(("stage '%s': items cannot be read: %s"):format(stage.name, message)) end,
  })
end

--- The oldest open batch of a stage.
---@param state table of the chain
---@return table? entry its `n` says how many items are in it
function joins:open_batch(state)
  local batches = state.batches
  if batches and batches.sync then batches:sync() end
  return batches and batches.first
end

--- Lets a producer write its items straight into the arrays of the accumulator that they go to, if that can be, and if
--- nothing that must come before is still on its way.
---@param outlet table of the producer
function joins:write_into(outlet)
  local target = #outlet.bytes == 1 and outlet.bytes[1]
  local batches = outlet.joins and target and self.chain.states[target].batches
  if not batches or not batches:shareable() or batches.values.first or self.ledger.pending[target] > 0
    or outlet.writer:pending() > 0 then return end
  outlet.into = target
  if self.outlets[target].writer then self:flush_writer(self.outlets[target]) end -- tables
  batches:share()
  outlet.writer:into(self.outlets[target].joined.writer)
end

--- Counts what a producer has written straight into arrays.
---@param outlet table of the producer
function joins:count_into(outlet)
  local n, goes_on = outlet.writer:sent()
  local from, to = self.stats[outlet.stage_id], self.stats[outlet.into]
  from.items_out, to.items_in = from.items_out + n, to.items_in + n
  if not goes_on then self:write_into(outlet) end
end

--- Takes a range of items into an accumulator's batches.
---@param entry table
---@return boolean taken false: the stage takes items one by one, or no more
function joins:join(entry)
  local state = self.chain.states[entry.stage]
  local batches = state.batches
  if not batches or not batches.add_range or state.late then return false end
  self:check_entry(entry)
  batches:add_range(entry)
  return true
end

return joins
