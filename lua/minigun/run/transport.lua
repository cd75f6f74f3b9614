--- Transport: how items of the coordinator's own stages move: into the ledger, and into the open blocks of outlets, and
-- what happens when a block is full. An item that is passed on is in the ledger of its receiver before it is finished
-- at its sender.
local core = require "minigun.core"
local current = require "minigun.handlers.current"
local declared = require "minigun.base.declared"
local report = require "minigun.base.protocol"
local weigh = require "minigun.base.weight"
local work = require "minigun.base.work"

local transport = {}

local BLOCK <const> = report.UNIT
-- A block for large items has room for some more of them: each block costs a round of the loop.
local LARGE_ITEMS <const>, LARGE_BLOCK <const> = 32, 512 << 10

local Transport = {}
Transport.__index = Transport

--- Makes what moves the items of a run.
---@param plan table
---@param place_of table from a stage's id to its place
---@param outlet_of table from a stage's id to its outlet
---@param outlet_list table of the outlets with a writer
---@param outlet_to function (stage, id) -> the outlet for what a stage sends to one other, whatever the graph says
---@return table transport
--- `feed`: a function to call before what is written is passed on, where there are reduce stages; `producers`: two
--- for one whose emit has led here, `let_others(why)` and `wait_for_receivers(id)` let the rest of the run go on
function transport.new(plan, place_of, outlet_of, outlet_list, outlet_to)
  return declared({
    plan = plan, place_of = place_of, outlet_of = outlet_of, outlet_list = outlet_list, outlet_to = outlet_to,
    stats = false, ledger = false, acks = false, lineage = false, resume = false, admission = false, shared = false,
    events = false,
    outcome = false, state = false, places = false, reentry = false, feed = false, producers = {},
    sends = {},              -- by stage: set of stages that it has sent to by themselves
  }, Transport)
end

-- --- into the ledger ---------------------------------------------------------------------------------------------

-- Takes work into the ledger, in a run that has a lineage: what it has come of goes with it. An error in the middle
-- (memory that is short) would leave the ledger torn, and may surface in a producer whose emit has led here; `torn`
-- then stays, and ends the run (Loop:step).
local function enter(self, own)
  local ledger = self.ledger
  local torn = ledger:torn(true)
  self.lineage:owe(own)
  ledger:enter(own, "queue")
  ledger:torn(torn)
end

--- A stage accepts a Lua value.
---@param id integer the stage
---@param value any
---@param lane integer? number of the one worker that may have it
function Transport:accept(id, value, lane)
  if not self.lineage then
    self.ledger:accept_value(id, value, weigh(value), lane)
    return
  end
  local own = work.of_value(id, value, lane)
  own.length = weigh(value)
  enter(self, own)
end

--- Work that was there before goes back to where its stage takes from, as something of its own.
---@param own table see base/work.lua
function Transport:enter_again(own)
  if self.lineage then return enter(self, own) end
  self.ledger:enter(own, "queue")
end

--- Accepts items as bytes, and their reference, for several stages; each further one takes a reference of its own.
---@param targets table array of stage ids
---@param range table work of no stage yet
function Transport:route(targets, range)
  local n <const>, ledger = #targets, self.ledger
  if n == 0 then self.shared.pool:release(range.block) end
  for i = 1, n do
    if i < n then self.shared.pool:retain(range.block) end
    if self.lineage then
      local own = work.of_bytes(targets[i], range.block, range.offset, range.length, range.count, range.only)
      own.lane, own.origin = range.lane, range.origin
      enter(self, own)
    else
      ledger:accept(targets[i], range.block, range.offset, range.length, range.count, range.only, range.lane)
    end
  end
end

-- --- from stages of the coordinator ------------------------------------------------------------------------------

--- Sends an item from a stage of the coordinator to one stage, whatever the graph says.
---@param stage table the sender
---@param id integer the receiver
---@param item any
function Transport:send_to(stage, id, item)
  local known = self.sends[stage.id]
  if not (known and known[id]) then self:note_sent(stage.id, id) end
  if self.place_of[id].takes == "values" then return self:accept(id, item) end
  self:write(stage, self.outlet_to(stage, id), item)
end

--- Notes, for what is shown of the run, that a stage has sent items to another one that no edge leads to.
---@param from integer the stage
---@param to integer
---@param among integer[]? stages of a group, one of which has sent them: `from` is the last of these
function Transport:note_sent(from, to, among)
  local known = self.sends[from] or {}
  if known[to] then return end
  self.sends[from], known[to] = known, true
  local stages, edges, senders = self.plan.stages, self.outcome.result.stats.edges, {}
  for _, id in ipairs(among or { from }) do senders[stages[id].name] = true end
  local one, other = stages[from].name, stages[to].name
  for _, edge in ipairs(edges) do
    if senders[edge.from] and edge.to == other then return end
  end
  if one ~= other then edges[#edges + 1] = { from = one, to = other, kind = "sent" } end
end

-- Sends a value to several receivers that take it as it is: each gets one of its own. Forks per batch do not, as what
-- one of them does to it nothing else sees.
local function share_out(self, outlet, item)
  local values, used = outlet.values, (outlet.reads or 0) > 0
  for i = 1, #values do
    local place, own = self.place_of[values[i]], item
    if not place.fresh then
      if used then own = core.copy(item) end
      used = true
    end
    self:accept(values[i], own)
  end
end

--- Sends a Lua value out of a stage of the coordinator.
---@param stage table
---@param item any
function Transport:deliver(stage, item)
  local outlet = self.outlet_of[stage.id]
  local items = outlet.items
  if items then
    if self.lineage and self.lineage.value(item) then return end
    local own = outlet.own
    items[#items + 1] = item
    if own then own[#own + 1] = item end
    if self.resume then self.resume:keep_items(1) end
    return
  end
  local values <const> = outlet.values
  if #values == 1 then
    self:accept(values[1], item)
  elseif values[1] then
    share_out(self, outlet, item)
  end
  if outlet.writer then self:write(stage, outlet, item) end
end

--- Writes an item into an outlet's open block. A limit counts items, so before a limited stage none may hide there.
--- In a run with a journal the block may be passed on before the item is in it, or with it.
---@param stage table the sender
---@param outlet table
---@param item any
function Transport:write(stage, outlet, item)
  local lineage = self.lineage
  if lineage then
    if lineage:would_mix(outlet) then self:flush(outlet) end
    lineage:write(outlet)
    outlet.writer(item)
    lineage:write(outlet)
  else
    outlet.writer(item)
  end
  if self.admission.limited[stage.id] then self:flush(outlet) end
end

-- Takes what is written into the open block, and passes it on. Returns how many items that were.
local function take_block(self, outlet)
  local ledger = self.ledger
  local torn = ledger:torn(true)
  if outlet.into then outlet.count_into() end
  local block, offset, length, count, only = outlet.writer:take()
  local range = block and work.of_bytes(nil, block, offset, length, count, only)
  local origin = self.lineage and self.lineage:leave(outlet, range) or nil
  if range then
    range.lane, range.origin = outlet.lane, origin
    self:route(outlet.bytes, range)
  end
  if origin then
    origin.fresh = nil
    self.acks:release(origin, 1)
  end
  ledger:torn(torn)
  return count or 0
end

--- Passes on what is written into the open block. What a producer writes straight into it is counted here.
---@param outlet table
function Transport:flush(outlet)
  local n = outlet.through and outlet.writer:pass() or take_block(self, outlet)
  if outlet.direct then
    local s = self.stats[outlet.stage_id]
    s.items_out = s.items_out + n
  end
end

--- Passes on all that is written.
function Transport:flush_all()
  local list <const> = self.outlet_list
  for i = 1, #list do
    if list[i].writer then self:flush(list[i]) end
  end
end

-- --- full blocks -------------------------------------------------------------------------------------------------

-- Opens a block for a writer; the run fails where there is none to be had.
local function open_block(self, stage, writer, need)
  self.ledger:moved(true)
  local roomy = math.min(LARGE_ITEMS * need, LARGE_BLOCK, self.shared.memory // 64)
  if not writer:open(math.max(need, BLOCK, roomy)) then
    self.state:fail(("stage '%s': an item of %d bytes or more does not fit into the shared memory that can be had")
      :format(stage.name, need))
  end
end

-- Lets pools catch up in the middle of a call of one of the coordinator's own stages that emits very much. None of
-- these can run meanwhile, so a pool is waited for only while it has something in hand and waits for nothing itself. In
-- the middle of an event (a further attempt is put into a batch) nothing is: what comes after it would be taken first.
local function hold_back(self, id)
  if self.events.at_event then return end
  local ledger, reach = self.ledger, self.admission.reach[id]
  local function is_full(place, limit) return limit == true and ledger:full(place.id) end
  while not self.state.aborted do
    local full, waits = false, false
    for place, limit in pairs(reach) do full = full or is_full(place, limit) end
    if not full then return end
    self.reentry:enter "workers"
    for place, limit in pairs(reach) do
      waits = waits or is_full(place, limit) and place:working() and not ledger:blocked(place.id)
    end
    if not waits then return end
    for _, place in ipairs(self.places.list) do place:due(core.clock()) end
    self.reentry:sleep(0.01)
  end
end

-- The block of a stage's writer is full (need > 0), a receiver wants what is in it (0), each item goes on (-1), or what
-- was emitted has not come into it (-2: it was refused, or sent to a stage by its name); or that of the writer into
-- which it puts its values.
local function writer_full(self, stage, writer, need, into)
  local outlet = self.outlet_of[stage.id]
  if stage.submits and need <= 0 then return end -- each item is taken as soon as it is written
  self:flush(outlet)
  if stage.kind ~= "producer" then
    hold_back(self, stage.id)
  elseif outlet.direct and (need ~= 0 or outlet.singly) and self.ledger:must_wait(stage.id) then
    self.producers.wait_for_receivers(stage.id)
  elseif outlet.direct and (need == 0 or need == -2 or outlet.joins) then
    self.producers.let_others(current.MORE)
  end
  if need <= 0 then return end
  if into then
    local joined = self.outlet_of[outlet.into].joined
    self:flush(joined) -- others may have written meanwhile
    writer = joined.writer
  end
  open_block(self, stage, writer, need)
end

--- What the writer of a stage calls when its block is full.
---@param stage table
---@return function (writer, need, into), see src/lua/lua_writer.c
function Transport:on_full(stage)
  return function(writer, need, into) writer_full(self, stage, writer, need, into) end
end

--- The same for a writer that no stage emits with: nothing is waited for.
---@param outlet table
---@return function (writer, need)
function Transport:on_block_full(outlet)
  return function(writer, need)
    self:flush(outlet)
    if need > 0 then open_block(self, outlet.sender, writer, need) end
  end
end

--- Closes the way of a producer that has ended; what is in its block has gone on.
---@param stage table
function Transport:close(stage)
  local outlet = self.outlet_of[stage.id]
  if not outlet.writer then return end
  self:flush(outlet)
  outlet.writer:close()
  outlet.writer = nil
end

--- Closes all writers, at the end of the run.
function Transport:close_writers()
  for _, outlet in ipairs(self.outlet_list) do
    if outlet.writer then outlet.writer:close() end
  end
end

-- Whether something waits for what is in an outlet's block: a place with nothing to do, or a batch with a time limit.
local function idle_receiver(self, outlet)
  for _, target in ipairs(outlet.bytes) do
    local place, batch = self.place_of[target], self.plan.stages[target].batch
    if not place.here and self.ledger:queued(place.id) == 0 then return true end
    if place.here and (batch.max_wait or idle_receiver(self, self.outlet_of[target].joined)) then return true end
  end
  return false
end

--- Passes on what is written, but what a producer writes straight into a block only where a receiver waits for it.
function Transport:flush_wanted()
  if self.feed then self.feed() end
  local list <const> = self.outlet_list
  for i = 1, #list do
    local outlet = list[i]
    if outlet.writer and not outlet.singly and (not outlet.direct or idle_receiver(self, outlet)) then
      self:flush(outlet)
    end
  end
end

return transport
