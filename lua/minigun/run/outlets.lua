--- Outlets: where what a stage of the coordinator emits goes, and the writers that put it into blocks (transport.lua
-- passes these on); what happens when an item cannot be encoded.
--
-- An outlet has the fields
--     stage_id    of the stage
--     targets     stages that its items go to, besides those of its own process
--     items, own  of a terminal stage: the lists of the result that its items are added to
--     values, bytes      those of the targets that take Lua values, and those that take bytes
--     reads       how many of `values` fork for each item, and so change nothing of what other stages see; nil: none
--     afar        true: a target takes the bytes to other hosts
--     joins       true: a target is a batch that is put together from bytes (policy/byte_batches.lua)
--     writer      into the open block for `bytes`; nil: there is none
--     sender      the stage that writes
--     through     true: what is written goes straight into the ledger, see w:through
--     direct      true: the writer is what a producer emits with
--     singly      true: and before a limited stage, so each item is passed on
--     into        the batch whose array a producer writes straight into
--     joined      of a batch: the outlet of the arrays of bytes that it becomes
--     lane        the one worker that what is written is for
--     origin      what has gathered in the open block, in a run with a journal
local core = require "minigun.core"
local declared = require "minigun.base.declared"
local effects = require "minigun.child.replies"
local failure = require "minigun.base.failure"
local lanes = require "minigun.policy.lanes"
local report = require "minigun.base.protocol"

local outlets = {}

local Outlets = {}
Outlets.__index = Outlets

--- Makes the outlets of a run; `draw` must follow.
---@param plan table
---@param pid integer the coordinator's
---@param send function (stage, name, item, level): `emit:to` of a producer
---@return table outlets `of`: by the id of their stages; `list`: those with a writer; `sent`: of emit:to, by receiver
function outlets.new(plan, pid, send)
  return declared({
    plan = plan, pid = pid, send = send, outcome = false, ledger = false, lineage = false, resume = false,
    admission = false, shared = false, places = false, transport = false, failures = false, reduces = false,
    of = {}, list = {}, sent = {},
    direct = {},             -- producers that write what they emit into blocks, whatever it is for, by id
  }, Outlets)
end

-- --- the graph ---------------------------------------------------------------------------------------------------

--- The slots of stages that all take bytes, or have processes.
---@param targets table array of stage ids
---@return integer? first nil: one of them takes values here, or there are none; 0: they have no slots
---@return integer? last
function Outlets:slots_of(targets)
  local first, last = math.huge, 0
  for _, target in ipairs(targets) do
    local place = self.places.of[target]
    if not place.first and place.takes == "values" then return nil end
    first, last = math.min(first, place.first or math.huge), math.max(last, place.last or 0)
  end
  if targets[1] then return last > 0 and first or 0, last end
end

-- Whether a stage makes batches for other processes out of bytes (policy/byte_batches.lua): what sends to it may send
-- them.
local function joins_bytes(self, stage)
  if not stage.batch or stage.batch.by or not self.places.of[stage.id].here or stage.route then return false end
  for _, target in ipairs(stage.outputs) do
    local place = self.places.of[target]
    if not place.here and place.takes == "values" then return false end
  end
  return self:slots_of(stage.outputs) ~= nil
end

-- Whether a producer of the coordinator writes what it emits into blocks, whatever it is for.
local function writes_blocks(self, stage)
  if stage.kind ~= "producer" or stage.threaded or stage.submits or stage.hears or stage.route then return false end
  if not self.places.of[stage.id].here then return false end
  if self.admission.limited[stage.id] then return false end
  for _, target in ipairs(stage.outputs) do
    if self.places.of[target].here and not joins_bytes(self, self.plan.stages[target]) then return false end
  end
  return true
end

--- Finds out, for each stage, where its items go besides stages of its own process.
function Outlets:draw()
  for id, stage in ipairs(self.plan.stages) do
    local own, outlet = self.places.of[id], { stage_id = id, targets = {} }
    self.direct[id] = writes_blocks(self, stage) or nil
    -- Other stages run meanwhile.
    local apart = stage.threaded or not own.here and stage.kind == "producer" or self.direct[id]
      or stage.submits
    for _, target in ipairs(stage.outputs) do
      local beside = stage.beside and stage.beside[target]
      if (apart or self.places.of[target] ~= own) and not beside then outlet.targets[#outlet.targets + 1] = target end
    end
    if stage.terminal then outlet.items, outlet.own = self.outcome:lists_of(stage) end
    self.of[id] = outlet
  end
end

-- --- writers -----------------------------------------------------------------------------------------------------

-- A value could not be encoded.
local function refused(self, stage, value, message, writer)
  if self.failures.dead_letter then -- its item has failed already
    self.failures.dead_letter.problem = message
    return
  end
  if stage.batch then return self.reduces:batch_refused(stage, value, message, writer) end
  local beside = self.resume and stage.kind == "producer" and self.of[stage.id].direct
  if beside then self.transport:flush(self.of[stage.id]) end
  local origin = beside and self.resume:begin_beside(stage.id, value)
  -- A producer's emit is still being called.
  local fields = effects.refused(value, stage.kind == "producer" and failure.where() or stage.at, message,
    stage.source)
  fields.pid = self.pid
  if type(stage.dead_letter) == "number" and stage.kind == "producer" then
    self.admission:extend(stage.id, stage.dead_letter, self.ledger)
  end
  local sent = fields.uncalled and self.outcome.stats[stage.id].items_out + self:written(self.of[stage.id])
  self.failures:settle(stage, fields, function() return value end)
  if origin then self.resume:end_beside(origin) end
  local ended = sent and self.failures:only_functions(stage, sent)
  if ended then error(ended, 0) end
end

--- Opens the way of a stage that runs in the coordinator: bytes to pools, values to all others.
---@param stage table
function Outlets:open(stage)
  local outlet, stages, receivers = self.of[stage.id], self.plan.stages, {}
  outlet.values, outlet.bytes = {}, {}
  for _, target in ipairs(outlet.targets) do
    local place = self.places.of[target]
    local joins = self.direct[stage.id] and place.here
    local by_value = not joins and place.takes == "values"
    local list = by_value and outlet.values or outlet.bytes
    list[#list + 1] = target
    if by_value and place.fresh then outlet.reads = (outlet.reads or 0) + 1 end
    outlet.joins, outlet.afar = outlet.joins or joins, outlet.afar or not (joins or by_value or place.first)
    for _, receiver in ipairs(by_value and {} or joins and stages[target].outputs or { target }) do
      receivers[#receivers + 1] = receiver
    end
  end
  local first, last = self:slots_of(receivers)
  if not first then return end
  outlet.writer = core.writer(self.shared.pool, stage.id, self.transport:on_full(stage),
    function(value, message) refused(self, stage, value, message, outlet.writer) end, first, last,
    function(name, item) self.send(stage, name, item, 3) end)
  if stage.batch then outlet.writer:batches(stage.batch.numbered) end
  self.list[#self.list + 1] = outlet
  local plain = not (self.lineage or outlet.joins or stage.batch)
  outlet.through = plain and outlet.writer:through(self.ledger, stage.id, outlet.bytes)
end

--- Opens the way of the arrays of bytes that a batch becomes, where its batches go to other processes and nowhere else.
---@param stage table
---@return userdata? writer
function Outlets:open_joined(stage)
  local outlet, first, last = self.of[stage.id], self:slots_of(stage.outputs)
  if not first then return nil end
  local joined = { bytes = outlet.targets, stage_id = stage.id, sender = stage }
  joined.writer = core.writer(self.shared.pool, stage.id, self.transport:on_block_full(joined), function() end, first,
    last)
  joined.through = not self.lineage and joined.writer:through(self.ledger, stage.id, joined.bytes)
  self.list[#self.list + 1] = joined
  outlet.joined = joined
  return joined.writer
end

--- The way from a stage to one stage in a pool, by emit:to, or to one of its workers.
---@param stage table the sender
---@param id integer the receiver
---@param lane integer? number of the worker
---@return table outlet
function Outlets:to(stage, id, lane)
  local place, key = self.places.of[id], lane and id << 16 | lane or id
  if stage.batch then key = key | 1 << 40 end
  local outlet = self.sent[key]
  if not outlet then
    outlet = { bytes = { id }, stage_id = id, lane = lane }
    outlet.writer = core.writer(self.shared.pool, report.TO | id, self.transport:on_block_full(outlet), function(value,
      message)
      refused(self, outlet.sender, value, message, outlet.writer)
    end, place.first or 0, place.last or 0)
    if stage.batch then outlet.writer:batches(stage.batch.numbered) end
    outlet.through = not (self.lineage or stage.batch)
      and outlet.writer:through(self.ledger, stage.id, outlet.bytes, lane)
    self.sent[key] = outlet
    self.list[#self.list + 1] = outlet
  end
  outlet.sender = stage
  return outlet
end

--- Makes the handler of the internal stage before one with `partition`: it sends each item to the worker of its key.
--- Where any worker may have any item, or there is none, the key is asked for all the same: it may raise.
---@param stage table the internal stage
---@return function handler
function Outlets:open_lanes(stage)
  local id, transport = stage.outputs[1], self.transport
  local place, partition, last = self.places.of[id], stage.partition, nil
  local has_lanes = not (place.here or place.fresh)
  if has_lanes then place:open_lanes() end
  return function(item)
    local lane = lanes.of(partition(item), has_lanes and place.plan.n or 1, stage.at)
    if not has_lanes then lane = nil end
    if place.takes == "values" then return transport:accept(id, item, lane) end
    -- Each lane has a block of its own: what is in another one has come before.
    if place.order and last and last ~= lane then transport:flush(self:to(stage, id, last)) end
    last = lane
    transport:write(stage, self:to(stage, id, lane), item)
  end
end

--- How many items are written and not passed on.
---@param outlet table
---@return integer
function Outlets:written(outlet)
  return self.shared.pool and outlet.writer and outlet.writer:pending() or 0
end

return outlets
