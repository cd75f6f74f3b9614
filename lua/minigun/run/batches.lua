--- Batches of the coordinator's accumulators: one without keys gets byte batches (policy/byte_batches.lua), and those a
-- writer where its batches go to other processes, so items that come as bytes need not be decoded.
local core = require "minigun.core"
local declared = require "minigun.base.declared"
local byte_batches = require "minigun.policy.byte_batches"

local batches = {}

local Batches = {}
Batches.__index = Batches

--- Makes what opens the batches of a run.
---@return table batches
function batches.new()
  return declared({ outcome = false, state = false, ledger = false, acks = false, shared = false, inline = false,
    outlets = false, transport = false, failures = false }, Batches)
end

--- Gives an accumulator of the coordinator what gathers its batches.
---@param stage table
function Batches:open(stage)
  if not self.shared.pool or stage.batch.by then return end
  local links, acks, outlet = self.inline.chain, self.acks, self.outlets.of[stage.id]
  local state = links.states[stage.id]
  local given = { max_size = stage.batch.max_size, max_wait = stage.batch.max_wait, numbered = stage.batch.numbered,
    max_bytes = stage.batch.numbered and self.shared.queue_bytes // 2 }
  state.batches = byte_batches.new(given, {
    pool = self.shared.pool, writer = not state.choose and self.outlets:open_joined(stage) or nil, now = core.clock,
    emit = function(batch) links:emit_batch(state, batch) end,
    joined = function(n) links:count_out(stage.id, n) end,
    tables = function()
      if outlet.writer then self.transport:flush(outlet) end
    end,
    passing = function(gathered) outlet.joined.origin = acks:pass(outlet.joined.origin, gathered) end,
    flush = function() self.transport:flush(outlet.joined) end,
    refused = function(list) self.failures:unreadable(stage, list) end,
    dropped = function(gathered)
      if gathered then acks:release(gathered, 1) end
    end,
    fail = function(message)
      self.state:fail(("stage '%s': items cannot be read: %s"):format(stage.name, message))
    end,
  })
end

--- The oldest open batch of a stage.
---@param state table of the chain
---@return table? entry its `n` says how many items are in it, its `after` is the next one
function Batches:oldest(state)
  local own = state.batches
  if own and own.sync then own:sync() end
  return own and own.first
end

--- Lets a producer write its items straight into the arrays of the accumulator that they go to, if that can be, and if
--- nothing that must come before is still on its way.
---@param outlet table of the producer
function Batches:write_into(outlet)
  local target = #outlet.bytes == 1 and outlet.bytes[1]
  local own = outlet.joins and target and self.inline.chain.states[target].batches
  if not own or not own:shareable() or own.values.first or self.ledger:pending(target) > 0
    or outlet.writer:pending() > 0 then return end
  outlet.into = target
  outlet.count_into = outlet.count_into or function() self:count_into(outlet) end
  local to = self.outlets.of[target]
  if to.writer then self.transport:flush(to) end -- tables
  own:share()
  outlet.writer:into(to.joined.writer)
end

--- Counts what a producer has written straight into arrays.
---@param outlet table of the producer
function Batches:count_into(outlet)
  local n, goes_on = outlet.writer:sent()
  local from, to = self.outcome.stats[outlet.stage_id], self.outcome.stats[outlet.into]
  from.items_out, to.items_in = from.items_out + n, to.items_in + n
  if not goes_on then self:write_into(outlet) end
end

--- Takes a range of items into an accumulator's batches.
---@param entry table
---@return boolean taken false: the stage takes items one by one, or no more
function Batches:join(entry)
  local state = self.inline.chain.states[entry.stage]
  local own = state.batches
  if not own or not own.add_range or state.closed then return false end
  self.shared:check(entry)
  own:add_range(entry)
  return true
end

return batches
