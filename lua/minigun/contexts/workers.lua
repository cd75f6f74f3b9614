--- Workers: a place whose stages run in child processes: `processes(n)` and `process_per_batch{ max = n }`. They differ
-- in one number, how many items a worker is given before it ends and another one is forked: all, or one. One that gets
-- but one item is forked for it, and inherits it as a value.
--
-- The life of the workers is processes.lua's, the blocks for their output are blocks.lua's; slices.lua hands work out,
-- losses.lua sees to what a dead worker had; here is what workers say. Of a slot (see processes.lua) these keep
--     hand      slices that the worker has, by number: work; `hands`: how many
--     given     items that its process has been given
--     failed    failures that it has reported of the item that it is at; `left`: what a dead one had
--     after_failed    in an ordered place: the ordinal after that of the last item of the slice in hand that has failed
--     patience  see policy/dispatch.lua
--     struck    origin of the item for whose sake its process was killed: see `abandon`
--     loops_ended     loops whose end has been through, since its last item; `loops_told`: how many of its loops know
--               that it will end
local blocks = require "minigun.contexts.blocks"
local contract = require "minigun.contexts.contract"
local dispatch = require "minigun.policy.dispatch"
local losses = require "minigun.contexts.losses"
local processes = require "minigun.contexts.processes"
local rates = require "minigun.policy.rates"
local slices = require "minigun.contexts.slices"

local workers = { slots = true } -- of the pool: a worker each

local Workers = contract.kind()

--- Makes a place; nothing is forked yet.
---@param port table see contract.lua
---@param segment table of the plan
---@param first integer number of its first slot in the pool
---@return table place
function workers.new(port, segment, first)
  local fresh = segment.items_per_worker == 1
  local self = setmetatable({
    first = first, last = first + (segment.seats or segment.n) - 1, -- slots in the pool
    per_worker = segment.items_per_worker,
    fresh = fresh,         -- each item has a process of its own: no other handler sees what that does to it
    processes = processes.new(port, segment, first),
    rate = rates.new(),
    blocked = false,       -- those after it have no room
    look_at = nil,         -- when to look for workers that are overdue, on the monotonic clock
    chunks = 0,            -- number of the last slice that was offered
    flags = {},            -- of what is offered, by the stage that it is for
    loops = {},            -- its loop stages, where workers end before the run does
  }, Workers)
  contract.open(self, port, segment, fresh and "values" or "bytes")
  self.slots, self.blocks = self.processes.slots, blocks.new(self)
  self.lacking = self.blocks.lacking -- workers that may lack a block for output: the run adds those that it hears of
  for _, slot in ipairs(self.processes.seats) do
    slot.hand, slot.failed, slot.left, slot.given, slot.after_failed = {}, {}, {}, 0, 0
    slot.patience, slot.loops_ended, slot.loops_told = dispatch.patience(), nil, 0
  end
  for _, id in ipairs(segment.stages) do
    local ends = not fresh and (self.per_worker < math.huge or port.plan.standing)
    if port.plan.stages[id].loop and ends then table.insert(self.loops, id) end
  end
  return self
end

-- --- the contract ------------------------------------------------------------------------------------------------

function Workers:full()
  if self.queued == 0 then return false end
  local port, n = self.port, self.n
  if self.queued_bytes > port.queue_bytes and self.queued > 2 * n then return true end
  if self.blocked and self.queued >= n or self.limited and port.room_of(self) <= 0 then return true end
  return self.fresh and self.queued >= 64 + 4 * n
end

function Workers:alive() return self.processes:alive() end

function Workers:working()
  for _, slot in ipairs(self.slots) do
    if slot.hands > 0 then return true end
  end
  return false
end

function Workers:wakes()
  for _, slot in ipairs(self.slots) do
    if slot.pid and not self.blocks.wants[slot] and (self.finishing or slot.ends or slot.hands > 0) then return true end
  end
  return false
end

function Workers:idles()
  if self.queued > 0 then return false end
  for _, slot in ipairs(self.slots) do
    if slot.vacant or slot.pid and slot.hands == 0 and not slot.retired then return true end
  end
  return false
end

function Workers:tally(id)
  local in_hand = 0
  for _, slot in ipairs(self.slots) do
    for _, own in pairs(slot.hand) do
      if own.stage == id then in_hand = in_hand + own.count - (own.finished or 0) end
    end
  end
  return self:count_queued(id), in_hand
end

--- Forks the workers. One that is for a single item is forked with that.
function Workers:start()
  for _, slot in ipairs(self.slots) do
    if self.fresh then slot.vacant = true
    elseif not self:begin(slot) then break end
  end
end

function Workers:open_lanes()
  self.processes.all_needed = true
  contract.Place.open_lanes(self)
end

function Workers:due(now) return self.processes:due(now, next(self.blocks.wants) ~= nil) end
function Workers:supply() return next(self.lacking) ~= nil and self.blocks:supply() end
function Workers:wanted() return self.blocks:wanted() end
function Workers:dispatch() return slices.dispatch(self) end
function Workers:free() return slices.free(self) end

function Workers:withdraw(origin)
  return contract.Place.withdraw(self, origin) or slices.withdraw(self, origin)
end

--- Changes how many workers there are. One that goes finishes what it has.
---@param n integer
---@return boolean? ok
---@return string? message
function Workers:resize(n)
  local own = self.processes
  if self.partitioned then return nil, "each worker has the items of its keys (partition)" end
  if n > #own.seats then return nil, ("%d workers are the most that it can have"):format(#own.seats) end
  local staying = 0
  for _, slot in ipairs(self.slots) do
    if slot.leaves and staying < n then slot.leaves = false end -- another process follows the one that ends
    staying = staying + (slot.leaves and 0 or 1)
  end
  for _ = staying + 1, n do
    local slot = own:add_seat()
    slot.vacant = self.fresh or slot.pid == nil
  end
  for i = #self.slots, 1, -1 do
    local slot = self.slots[i]
    if staying > n and not slot.leaves then
      staying, slot.leaves = staying - 1, true
      if not slot.pid then own:drop_seat(slot)
      elseif not (slot.retired or self.fresh) then slices.retire(self, slot) end
    end
  end
  self.n = n
  return true
end

-- The worker is killed. What else it has in hand goes to others, and costs no attempt: see losses.lua.
function Workers:abandon(origin)
  for _, slot in ipairs(self.slots) do
    for _, own in pairs(slot.hand) do
      if own.origin == origin then
        slot.struck, slot.ends = origin, true
        self.pool:kill(slot.index)
        return true
      end
    end
  end
  return false
end

function Workers:finish()
  self.processes:finish()
  self.finishing = true
end

function Workers:ended() return self.finishing and self.queued == 0 and self.processes:alive() == 0 end

function Workers:stop_producer(grace)
  while self.queued > 0 do
    local own = self:take(1, self.queue)
    self.port.finished(own.stage, 1) -- not begun
  end
  self.processes:stop(grace)
end

-- --- loops -------------------------------------------------------------------------------------------------------

function Workers:end_input(id)
  if self.fresh then return false end -- of one item, the end belongs to it
  return contract.Place.end_input(self, id)
end

function Workers:looping()
  local list = {}
  for _, slot in ipairs(self.slots) do
    if slot.pid and not slot.retired then list[#list + 1] = slot end
  end
  return list
end

-- A worker is not replaced: its loops have ended with it.
local function drop_ends(self, slot)
  local lane = self.lanes[slot.number]
  while lane and lane:first() do self:finished(self:take(1, lane), 0, 1) end
end

-- --- workers -----------------------------------------------------------------------------------------------------

-- Forks a worker, for an item that it inherits or for any that comes. Returns false where it has to be done without.
function Workers:begin(slot, value)
  if not self.processes:spawn(slot, value, self.queued, self:full()) then
    drop_ends(self, slot)
    return false
  end
  self.blocks:begin(slot)
  return true
end

--- How many items that have come to a stage are in work: one of each worker, or one of each thread.
---@param id integer
---@return integer
function Workers:in_work(id)
  local n, slots <const>, groups <const> = 0, self.slots, self.plan.groups
  for i = 1, #slots do
    local slot = slots[i]
    if groups then
      for _, own in next, slot.hand do n = n + (own.stage == id and 1 or 0) end
    elseif slot.hands > 0 then
      local own = slices.of(slot)
      if own and own.stage == id then n = n + 1 end
    end
  end
  return n
end

--- What a worker is at, for those who look on.
---@param slot table
---@return integer? stage that its first item has come to; nil: it has none
---@return integer? item which of the place's items that is, from 1
---@return integer in_hand items that it has been given and not finished
function Workers:at(slot)
  local own, item = slices.of(slot)
  local in_hand = 0
  for _, each in next, slot.hand do in_hand = in_hand + each.count - (each.finished or 0) end
  return own and own.stage, own and item, in_hand
end

--- The worker that has the oldest unfinished item of all: a further attempt may have come to it after younger ones.
---@return table? slot
function Workers:oldest()
  local oldest, ordinal
  for _, slot in ipairs(self.slots) do
    for _, own in pairs(slot.hand) do
      local at = own.first + (own.finished or 0)
      if not ordinal or at < ordinal then oldest, ordinal = slot, at end
    end
  end
  return oldest
end

-- --- what workers say --------------------------------------------------------------------------------------------

--- A worker ends a slice earlier: what it has not begun, with a reference, goes back to the queue.
---@param slot table
---@param number integer of the slice
---@param _ integer its block
---@param offset integer bytes, of the rest
---@param length integer bytes
---@param count integer items
function Workers:on_rest(slot, number, _, offset, length, count)
  slices.rest(self, slot, number, offset, length, count)
end

--- A worker waits for a block of at least this size.
---@param slot table
---@param bytes integer
function Workers:on_need(slot, bytes) self.blocks:need(slot, bytes) end

--- A worker has committed a range of so many bytes.
---@param bytes integer
function Workers:on_range(bytes)
  local sizes = self.blocks.sizes
  if sizes.bytes > sizes.least then sizes:used(bytes) end
end

--- A worker has written what no worker may write, and was killed.
---@param slot table
function Workers:on_corrupt(slot)
  slot.ends = true
  self.blocks:forget(slot)
end

--- The ordinal of the earliest item that output of a worker may be of; nil where order does not matter.
---@param slot table
---@param number integer of the slice that it is of, where the worker has threads
---@return integer?
function Workers:output_ordinal(slot, number)
  if not self.order then return nil end
  if self.plan.groups then return slot.hand[number] and slot.hand[number].first or 1 end
  local _, at = slices.of(slot)
  return math.max(at or 1, slot.after_failed)
end

--- What a worker says is of this origin, see policy/acks.lua; nil: of no slice, or of a producer's.
---@param slot table
---@param number integer? of the slice, where the worker has threads
---@return table?
function Workers:origin_of(slot, number)
  local own = slot.hand[number]
  if not own and not self.plan.groups then own = slices.of(slot) end
  return own and own.origin
end

-- Settles what has failed of a slice, now that its item is done.
local function settle_failed(self, slot, own, streamed)
  for i = 1, #slot.failed do
    local failed = slot.failed[i]
    slot.failed[i] = nil
    failed.fields.partial = failed.fields.partial or streamed or nil
    self.port.failed(self, slot, failed.stage, failed.fields, own)
  end
end

--- Items of a slice are finished.
---@param slot table
---@param number integer of the slice
---@param items integer
---@param ended boolean it is all of the slice
---@param streamed boolean some of the output went on before the end of its item
---@param seconds number in handlers
function Workers:on_done(slot, number, items, ended, streamed, seconds)
  local port, own = self.port, slot.hand[number]
  if not own then return end -- a slice that was taken back
  if own.attempt > 0 then
    slot.items, slot.loops_ended = slot.items + items, nil
  elseif items > 0 then
    slot.loops_ended = slot.loops_ended or {}
    slot.loops_ended[own.stage] = true
  end
  slot.busy = slot.busy + seconds
  own.busy = (own.busy or 0) + seconds
  local s, alone = port.stats[own.stage], #self.plan.stages == 1 -- the stages of a block tell their times themselves
  if alone then s.busy = s.busy + seconds end
  if slot.failed[1] then settle_failed(self, slot, own, streamed) end
  if items > 0 then
    local passed = own.finished or 0
    own.finished = passed + items
    self:finished(own, passed, items)
  end
  if not ended then return end
  slot.after_failed = 0
  if own.count > 0 and own.attempt > 0 and port.plan.stages[own.stage].kind ~= "producer" then
    self.rate:learn(own.busy, own.count)
    if alone then s.service:add(own.busy / own.count, own.count) end
  end
  slot.hand[number] = nil
  slot.hands = slot.hands - 1
  if own.block then self.pool:release(own.block) end
  if slot.given >= self.per_worker and not slot.retired then slices.retire(self, slot) end
end

--- The worker has reported a failed item; what is to be done is decided when the item is done.
---@param slot table
---@param stage table
---@param fields table of the failure
function Workers:on_failed(slot, stage, fields)
  slot.failed[#slot.failed + 1] = { stage = stage, fields = fields }
end

--- An item of the slice in hand has failed: the ordinal after it, with which the output that follows begins.
---@param slot table
---@param fields table of the failure
---@return integer?
function Workers:failed_at(slot, fields)
  if self.plan.groups then return nil end -- all of it is of one item
  local own, passed = slices.of(slot), fields.index or fields.place
  if not own or not passed then return nil end
  slot.after_failed = own.first + passed + 1
  return slot.after_failed
end

-- --- a worker's end ----------------------------------------------------------------------------------------------

--- A dead worker's unfinished slice; kept until it is known how the worker ended.
---@param slot table
---@param left table
--- `number`, `block`, `offset`, `length`, `count` of what is left; `in_hand`: it was at the first of it; `how`: bits,
--- 1: some of its output went on, 2: its time was over; `step`: of a batch, the item in work
function Workers:on_left(slot, left)
  slot.left[#slot.left + 1] = left
end

--- A worker has ended.
---@param slot table
---@param pid integer
---@param code integer? nil: it is not known
---@param signal integer? 0: none
---@param expected boolean
function Workers:on_exit(slot, pid, code, signal, expected)
  local in_hand
  for _, left in ipairs(slot.left) do in_hand = left.in_hand and left or in_hand end
  local held = #slot.left > 0
  local last = { pid = pid, code = code, signal = signal, expected = expected and not held, -- not by os.exit(0)
    held = held, in_hand = in_hand ~= nil, fresh = self.fresh }
  self.processes:count(slot, last)
  if not last.expected then losses.warn_of_loops(self, slot, last, in_hand) end
  slot.pid, slot.items = nil, 0
  self.blocks:forget(slot)
  self.port.changed()
  self.port.returned(slot)
  last.timed_out = losses.settle(self, slot, last) or slot.struck ~= nil
  slot.left, slot.hand, slot.hands, slot.given, slot.failed = {}, {}, 0, 0, {}
  slot.after_failed, slot.loops_ended, slot.loops_told, slot.struck = 0, nil, 0, nil
  local replace = self.processes:ended(slot, last)
  slot.vacant = self.fresh or slot.retired
  if slot.leaves then self.processes:drop_seat(slot)
  elseif replace and not self.fresh then self:begin(slot) end
end

return workers
