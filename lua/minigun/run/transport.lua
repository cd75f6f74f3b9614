--- Routes: how items move between the stages of a run. Methods of a run (see run.lua), whose ledger says what a
-- stage has accepted and not finished.
local core = require "minigun.core"
local effects = require "minigun.child.replies"
local failure = require "minigun.base.failure"
local tasks = require "minigun.handlers.tasks"
local report = require "minigun.base.protocol"
local weigh = require "minigun.base.weight"
local work = require "minigun.base.work"

local routes = {}

local BLOCK <const> = report.UNIT
-- A block for large items has room for some more of them: each block costs a round of the loop.
local LARGE_ITEMS <const>, LARGE_BLOCK <const> = 32, 512 << 10
local INLINE_MOST <const> = 1024 -- entries that may wait for stages of the coordinator's own before who sends waits too
local WAIT <const>, MORE <const> = tasks.PARK, tasks.MORE -- see producers.lua

local function chooses(stage) return stage.route and stage.route ~= "broadcast" end

--- The slots of stages that are all in processes.
---@param targets table array of stage ids
---@return integer? first nil: one of them is elsewhere, or there are none
---@return integer? last
function routes:slots_of(targets)
  local first, last = math.huge, 0
  for _, target in ipairs(targets) do
    local segment = self.segment_of[target]
    if not segment or not segment.first then return nil end -- threads have none: they take values
    first, last = math.min(first, segment.first), math.max(last, segment.last)
  end
  if last > 0 then return first, last end
end

--- Whether a stage makes batches for other processes out of bytes: who sends to it may send them (see batches.lua).
---@param stage table
---@return boolean
function routes:joins_bytes(stage)
  if not stage.batch or stage.batch.by or self.segment_of[stage.id] or chooses(stage) then return false end
  for _, target in ipairs(stage.outputs) do
    local segment = self.segment_of[target]
    if segment and segment.takes == "values" then return false end
  end
  return self:slots_of(stage.outputs) ~= nil
end

-- Whether a producer of the coordinator writes what it emits into blocks, for whomever it is.
local function writes_blocks(self, stage)
  if stage.kind ~= "producer" or stage.threaded or self.segment_of[stage.id] or chooses(stage) then return false end
  if self.limited[stage.id] then return false end
  for _, target in ipairs(stage.outputs) do
    if not self.segment_of[target] and not self:joins_bytes(self.plan.stages[target]) then return false end
  end
  return true
end

--- For each stage: where its emissions go besides stages of its own process, and what fills up behind it: segments, and
--- stages with a queue limit.
function routes:draw_routes()
  local stages = self.plan.stages
  for id = #stages, 1, -1 do
    local stage, own = stages[id], self.segment_of[id]
    local outlet, reach = { targets = {}, terminal = stage.terminal }, {}
    for _, target in ipairs(stage.outputs) do
      local segment = self.segment_of[target]
      if segment then reach[segment] = true
      else for each, limit in pairs(self.reach[target]) do reach[each] = limit end end
      reach[target] = self:limit_of(target)
    end
    self.limited[id], self.per[id] = self:leads_to_limit(reach), self:gathers(stage)
    if own and self.limited[id] then own.limited = true end
    stage.writes_blocks = writes_blocks(self, stage)
    local apart = stage.threaded or own and stage.kind == "producer" or stage.writes_blocks -- others run meanwhile
    for _, target in ipairs(stage.outputs) do
      if apart or self.segment_of[target] ~= own then outlet.targets[#outlet.targets + 1] = target end
    end
    self.outlets[id], self.reach[id] = outlet, reach
    if stage.terminal then self.result.by_stage[stage.name] = {} end
  end
  local terminals = 0
  for _, list in pairs(self.result.by_stage) do
    terminals = terminals + 1
    self.only_list = list
  end
  if terminals == 1 then self.result.items = self.only_list else self.only_list = nil end
  self:draw_waits()
end

--- Whom each waits for while they are full. Items may leave a block and come back to it, so two could wait for each
--- other: whoever has the earlier stage waits for those behind it, and these not for it. Nobody waits for a producer,
--- so producers wait for all that they reach.
function routes:draw_waits()
  local stages = self.plan.stages
  local function place(each)
    local segment = type(each) == "table" and each or self.segment_of[each]
    return segment and math.min(table.unpack(segment.plan.stages)) or each
  end
  local function add(waits, id, at)
    for each, limit in pairs(self.reach[id]) do
      if stages[id].kind == "producer" or place(each) > at then waits[each] = limit end
    end
  end
  for _, segment in ipairs(self.segments) do
    for _, id in ipairs(segment.plan.stages) do add(segment.targets, id, place(segment)) end
    segment.targets[segment] = nil
    for _, id in ipairs(segment.plan.stages) do segment.targets[id] = nil end -- what is tried again there
  end
  self:mark_limited()
  for id in ipairs(stages) do
    if not self.segment_of[id] and stages[id].kind ~= "producer" then
      self.waits[id] = {}
      add(self.waits[id], id, id)
    end
  end
end

--- How the coordinator sends out of a stage of its own: bytes to pools, values to all others.
function routes:open_outlet(stage)
  local outlet, stages, receivers = self.outlets[stage.id], self.plan.stages, {}
  outlet.values, outlet.bytes = {}, {}
  for _, target in ipairs(outlet.targets) do
    local segment = self.segment_of[target]
    local joins = stage.writes_blocks and not segment
    local by_value = not joins and (not segment or segment.takes == "values")
    local list = by_value and outlet.values or outlet.bytes
    list[#list + 1] = target
    if by_value and segment and segment.fresh then outlet.reads = (outlet.reads or 0) + 1 end
    outlet.joins = outlet.joins or joins
    for _, receiver in ipairs(by_value and {} or joins and stages[target].outputs or { target }) do
      receivers[#receivers + 1] = receiver
    end
  end
  local first, last = self:slots_of(receivers)
  if not first then return end
  outlet.writer = core.writer(self.pool, stage.id,
    function(writer, need, into) self:writer_full(stage, writer, need, into) end,
    function(value, message) self:refused(stage, value, message, outlet.writer) end, first, last,
    function(name, item) self:producer_sends(stage, name, item, 3) end)
  if stage.batch then outlet.writer:batches(stage.batch.numbered) end
  self.writers[#self.writers + 1] = outlet
end

--- A value could not be encoded.
---@param stage table that emitted it
---@param value any
---@param message string
---@param writer userdata
function routes:refused(stage, value, message, writer)
  if self.letter then -- a dead letter, see retries.lua: its item has failed already
    self.letter.problem = message
    return
  end
  if stage.batch then return self:batch_refused(stage, value, message, writer) end
  local beside = self.resume and stage.kind == "producer" and self.outlets[stage.id].direct
  if beside then self:flush_writer(self.outlets[stage.id]) end
  local origin = beside and self.resume:begin_beside(stage.id, value)
  -- A producer's emit is still being called.
  local fields = effects.refused(value, stage.kind == "producer" and failure.where() or stage.at, message)
  fields.pid = self.pid
  self:settle_failure(stage, fields, function() return value end)
  if origin then self.resume:end_beside(origin) end
end

--- Sends an item from a stage of the coordinator to one stage, whatever the graph says.
---@param stage table the sender
---@param id integer the receiver
---@param item any
function routes:send_to(stage, id, item)
  local segment = self.segment_of[id]
  if not segment or segment.takes == "values" then
    return self:accept(work.of_value(id, item))
  end
  self:send_bytes(stage, id, item)
end

--- Sends an item to a stage in a pool, to whichever worker or to one.
---@param stage table the sender
---@param id integer the receiver
---@param item any
---@param lane integer? number of the worker
function routes:send_bytes(stage, id, item, lane)
  local segment, key = self.segment_of[id], lane and id << 16 | lane or id
  if stage.batch then key = key | 1 << 40 end
  local outlet = self.direct[key]
  if not outlet then
    outlet = { bytes = { id }, stage_id = id, lane = lane }
    outlet.writer = core.writer(self.pool, report.TO | id, function(writer, need)
      self:flush_writer(outlet)
      if need > 0 then self:open_block(outlet.sender, writer, need) end
    end, function(value, message)
      self:refused(outlet.sender, value, message, outlet.writer)
    end, segment.first, segment.last)
    if stage.batch then outlet.writer:batches(stage.batch.numbered) end
    self.direct[key] = outlet
    self.writers[#self.writers + 1] = outlet
  end
  outlet.sender = stage
  self:write(stage, outlet, item)
end

--- The worker for a key: equal keys, equal workers.
---@param key string|number|boolean what `partition` has given
---@param n integer workers
---@param at string? where the stage was defined
---@return integer lane from 1 to n
function routes.lane(key, n, at)
  key = math.type(key) == "float" and math.tointeger(key) or key -- 1 and 1.0 are one key, as in a table
  local kind = math.type(key) or type(key)
  if kind == "integer" then return key % n + 1 end
  if kind ~= "string" and kind ~= "float" and kind ~= "boolean" then
    error(("%soption 'partition' gave a %s as an item's key; a key is a string, number, boolean"):format(
      at and at .. ": " or "", kind), 0)
  end
  local text, h = tostring(key), 5381
  for i = 1, #text do h = (h * 33 ~ text:byte(i)) & 0xffffffffffff end
  return h % n + 1
end

--- Makes the handler of the internal stage before one with `partition`: it sends each item to the worker of its key.
--- Where any worker may have any item, or there is none, the key is asked for all the same: it may raise.
---@param stage table the internal stage
function routes:open_lanes(stage)
  local id = stage.outputs[1]
  local segment, partition, last = self.segment_of[id], stage.partition, nil
  local has_lanes = segment and not segment.fresh
  if has_lanes then segment:open_lanes() end
  stage.handler = function(item)
    local lane = routes.lane(partition(item), has_lanes and segment.plan.n or 1, stage.at)
    if not has_lanes then lane = nil end
    if not segment or segment.takes == "values" then
      return self:accept(work.of_value(id, item, lane))
    end
    -- Each lane has a block of its own: what is in another one has come before.
    if segment.order and last and last ~= lane then self:flush_writer(self.direct[id << 16 | last]) end
    last = lane
    self:send_bytes(stage, id, item, lane)
  end
end

--- Takes items into a stage's ledger. The entry's reference is passed on.
-- An error in the middle (memory that is short) would leave the ledger torn, and may surface in a producer whose emit
-- has led here; `torn` then stays, and ends the run (Run:step).
function routes:accept(entry)
  local ledger, id = self.ledger, entry.stage
  local torn = ledger.torn
  ledger.torn = true
  ledger:accept(id, entry.count)
  if self.resume then self.resume:owe(entry) end
  if not entry.block then entry.length = weigh(entry.value) end
  local in_chain = not entry.block and not self.segment_of[id] -- which counts values itself
  -- A stage behind an internal one of the same name: its items are those that came to that one.
  if not in_chain and not self.plan.stages[id].behind then
    local s = self.stats[id]
    s.items_in = s.items_in + entry.count
  end
  self:enqueue(entry)
  ledger.torn = torn
end

--- Puts an entry where its stage takes from: a segment's queue, or the coordinator's own.
---@param entry table
function routes:enqueue(entry)
  local segment = self.segment_of[entry.stage]
  if segment then return segment:push(entry) end
  self.inline_queue:push(entry)
end

--- Items of a stage are finished, well or not.
---@param id integer
---@param n integer
---@param origin table? of them, see policy/acks.lua
function routes:finished(id, n, origin)
  self.ledger:finish(id, n)
  if origin then self.acks:release(origin, n) end
end

local function keep_item(self, stage, item)
  local list, items = self.result.by_stage[stage.name], self.result.items
  items[#items + 1] = item
  if list ~= items and not self.streams then list[#list + 1] = item end
  if self.resume then self.resume:keep_items(1) end
end

--- Sends a value to several receivers that take it as it is: each gets one of its own. Forks per batch do not, as what
--- one of them does to it nobody else sees.
---@param outlet table
---@param item any
function routes:share_out(outlet, item)
  local values, used = outlet.values, (outlet.reads or 0) > 0
  for i = 1, #values do
    local segment, own = self.segment_of[values[i]], item
    if not (segment and segment.fresh) then
      if used then own = core.copy(item) end
      used = true
    end
    self:accept(work.of_value(values[i], own))
  end
end

--- Sends a Lua value out of a stage of the coordinator.
function routes:deliver(stage, item)
  local outlet = self.outlets[stage.id]
  if outlet.terminal then return keep_item(self, stage, item) end
  local values <const> = outlet.values
  if #values == 1 then
    self:accept(work.of_value(values[1], item))
  elseif values[1] then
    self:share_out(outlet, item)
  end
  if outlet.writer then self:write(stage, outlet, item) end
end

--- Writes an item into an outlet's open block. A limit counts items, so before a limited stage none may hide there.
--- In a run with a journal the block may be passed on before the item is in it, or with it.
---@param stage table the sender
---@param outlet table
---@param item any
function routes:write(stage, outlet, item)
  if self.resume then
    outlet.origin = self.acks:gather(outlet.origin)
    outlet.writer(item)
    outlet.origin = self.acks:gather(outlet.origin)
  else
    outlet.writer(item)
  end
  if self.limited[stage.id] then self:flush_writer(outlet) end
end

--- Passes on what is written into the open block. What a producer writes straight into it is counted here.
function routes:flush_writer(outlet)
  local ledger = self.ledger
  local torn = ledger.torn
  ledger.torn = true
  if outlet.into then self:count_into(outlet) end
  local block, offset, length, count = outlet.writer:take()
  if block and outlet.direct then
    local s = self.stats[outlet.stage_id]
    s.items_out = s.items_out + count
  end
  local origin = self.resume and self.resume:leave_outlet(outlet, self.pool, block, offset, length, count)
  if block then self:route(outlet.bytes, block, offset, length, count, report.ANY, outlet.lane, origin) end
  if origin then
    origin.fresh = nil
    self.acks:release(origin, 1)
  end
  ledger.torn = torn
end

--- Passes on all that is written.
function routes:flush_all()
  for _, outlet in ipairs(self.writers) do
    if outlet.writer then self:flush_writer(outlet) end
  end
end

--- Accepts a range of records, and its reference, for several stages; each further one takes a reference of its own.
---@param targets table array of stage ids
---@param block integer
---@param offset integer bytes
---@param length integer bytes
---@param count integer items
---@param only integer edge of the records that are meant
---@param lane integer? the one worker that may have them
---@param origin table? see policy/acks.lua; nil: that of what the coordinator is at
function routes:route(targets, block, offset, length, count, only, lane, origin)
  if #targets == 0 then self.pool:release(block) end
  for i = 1, #targets do
    local target = targets[i]
    if i > 1 then self.pool:retain(block) end
    local own = work.of_bytes(target, block, offset, length, count, only)
    own.lane, own.origin = lane, origin
    self:accept(own)
  end
end

--- The block of a stage's writer is full (need > 0), or a receiver wants what is in it; or that of the writer into
--- which it puts its values.
function routes:writer_full(stage, writer, need, into)
  local outlet = self.outlets[stage.id]
  local direct = stage.kind == "producer" and outlet.direct
  self:flush_writer(outlet)
  if direct then
    if need == 0 or outlet.joins then self:let_others(MORE) end
    if need > 0 and self:must_wait(stage.id) then
      repeat until self:let_others(WAIT) or not self:must_wait(stage.id)
    end
  elseif stage.kind ~= "producer" then
    self:hold_back(stage.id)
  end
  if need == 0 then return end
  if into then
    local joined = self.outlets[outlet.into].joined
    self:flush_writer(joined) -- others may have written meanwhile
    writer = joined.writer
  end
  self:open_block(stage, writer, need)
end

--- Lets pools catch up in the middle of a call of one of the coordinator's own stages that emits very much. None of
--- these can run meanwhile, so a pool is waited for only while it has something in hand and waits for nobody itself.
---@param id integer the stage
function routes:hold_back(id)
  local function is_full(segment, limit) return limit == true and segment:full() end
  while not self.stopping do
    local full, waits = false, false
    for segment, limit in pairs(self.reach[id]) do full = full or is_full(segment, limit) end
    if not full then return end
    self:serve_workers()
    for segment, limit in pairs(self.reach[id]) do
      waits = waits or is_full(segment, limit) and segment:working() and not self:receivers_full(segment.targets)
    end
    if not waits then return end
    for _, segment in ipairs(self.segments) do segment:due(core.clock()) end
    self:sleep(0.01)
  end
end

--- Opens a block for a writer; the run fails where there is none to be had.
---@param stage table the sender, for the message
---@param writer userdata
---@param need integer bytes
function routes:open_block(stage, writer, need)
  self.ledger.moved = self.ledger.moved + 1
  local roomy = math.min(LARGE_ITEMS * need, LARGE_BLOCK, self.memory // 64)
  if not writer:open(math.max(need, BLOCK, roomy)) then
    self:fail(("stage '%s': an item of %d bytes or more does not fit into the shared memory that can be had"):format(
      stage.name, need))
  end
end

--- Lets the rest of the run go on from inside a producer.
---@param why string MORE or WAIT
---@return boolean resumed true: whoever waits has been resumed because it need not wait any more
function routes:let_others(why)
  local co = coroutine.running()
  local in_producer = coroutine.isyieldable() and (self.on_loop[co] or self.current == co)
  if in_producer then
    if in_producer ~= true then in_producer.waits = why == WAIT end -- see producers.lua
    coroutine.yield(why)
    return true
  end
  local ledger = self.ledger
  local torn = ledger.torn
  ledger.torn = true
  local busy = self:turn() -- called through C, from where a coroutine cannot yield
  ledger.torn = torn
  if not busy and why == WAIT then self:sleep(0.001) end
  return false
end

--- Whether receivers should first catch up.
---@param targets table set of segments, and stages' queue limits by id
---@return boolean
function routes:receivers_full(targets)
  for target, limit in pairs(targets) do
    if limit == true then
      if target:full() then return true end
    elseif self:waiting(target) >= limit then
      return true
    end
  end
  return false
end

--- Whether producers and threads of the coordinator should wait for its own stages.
function routes:inline_full()
  return self.inline_queue:count() >= INLINE_MOST or self.inline_queue.bytes > self.queue_bytes
end

--- Whether a stage of the coordinator should stop emitting for now.
function routes:must_wait(id)
  if self:receivers_full(self.reach[id]) then return true end
  local stage = self.plan.stages[id]
  if (stage.threaded or stage.kind == "producer") and self:inline_full() then return true end
  if not self.pool or self.pool:memory() + BLOCK <= self.memory * 3 // 4 then return false end
  for segment, limit in pairs(self.reach[id]) do
    if limit == true then
      for _, each in ipairs(segment.plan.stages) do
        if self.ledger.pending[each] > 0 then return true end -- memory comes back when these are through
      end
    end
  end
  return false
end

--- Whether a worker may be lent a block: within the limit of memory, or as the one worker that may overdraw it, so that
--- an item in work can always be finished.
---@param slot table
---@param size integer bytes
---@param want table? what it waits for; nil: the block is for later
---@param younger boolean? it is ordered, and what it writes may have to wait for another's: it may not overdraw
---@return boolean
function routes:may_lend(slot, size, want, younger)
  local used = self.pool:memory()
  if want then
    if used + size <= self.memory then return true end
    if younger or self.overdraft and self.overdraft ~= slot then return false end
    self.overdraft = slot
    return true
  end
  return used + size <= self.memory // 2
end

--- The worker at a segment's oldest item may overdraw instead of another one of the segment, which has to wait for it.
---@param slot table
---@param slots table array of the segment's
function routes:take_overdraft(slot, slots)
  for _, each in ipairs(slots) do
    if self.overdraft == each then self.overdraft = slot end
  end
end

--- The worker that has overdrawn has committed its output, or is gone.
function routes:release_overdraft(slot)
  if self.overdraft == slot then self.overdraft = nil end
end

return routes
