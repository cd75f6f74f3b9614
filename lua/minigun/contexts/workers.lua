--- Workers: a place whose stages run in child processes: `processes(n)` and `process_per_batch{ max = n }`. They differ
-- in one number, how many items a worker is given before it ends and another one is forked: all, or one. One that gets
-- but one item is forked for it, and inherits it as a value.
--
-- What workers have in hand, what they are given and the blocks for their output is the ledger's matter. Their life is
-- processes.lua's; losses.lua sees to what a dead worker had. Here is what workers say that the ledger does not see to
-- by itself. Of a slot (see processes.lua) is kept
--     failed    failures that it has reported of the item that it is at; `left`: what a dead one had
--     after_failed    in an ordered place: the ordinal after that of the last item of the slice in hand that has failed
--     struck    origin of the item for whose sake its process was killed: see `abandon`
--     loops_ended     loops whose end has been through, since its last item; `loops_told`: how many of its loops know
--               that it will end
local contract = require "minigun.contexts.contract"
local earlier = require "minigun.base.earlier"
local failure = require "minigun.base.failure"
local losses = require "minigun.contexts.losses"
local processes = require "minigun.contexts.processes"
local recycling = require "minigun.contexts.recycling"
local report = require "minigun.base.protocol"
local terms = require "minigun.policy.terms"

local workers = { slots = true } -- of the pool: a worker each

local AHEAD <const> = 1 << 20 -- items that may be queued: pieces of a source take hardly any memory

local Workers = contract.kind()

--- Makes a place; nothing is forked yet.
---@param port table see contract.lua
---@param segment table of the plan
---@param first integer number of its first slot in the pool
---@return table place
function workers.new(port, segment, first)
  local n, fresh = segment.n, segment.items_per_worker == 1
  local self = setmetatable({
    first = first, last = first + (segment.seats or n) - 1, -- slots in the pool
    per_worker = segment.items_per_worker,
    fresh = fresh,         -- each item has a process of its own: no other handler sees what that does to it
    most = fresh and terms.most_of(n) or AHEAD,
    processes = processes.new(port, segment, first),
    loops = {},            -- its loop stages: they end before their worker, where that does not end with the run
  }, Workers)
  for _, id in ipairs(segment.stages) do
    if port.plan.stages[id].loop and not fresh then table.insert(self.loops, id) end
  end
  contract.open(self, port, segment, fresh and "values" or "bytes")
  self.slots = self.processes.slots
  self.recycling = recycling.new(self)
  for _, slot in ipairs(self.processes.seats) do
    slot.failed, slot.left, slot.after_failed, slot.loops_ended, slot.loops_told = {}, {}, 0, nil, 0
  end
  return self
end

-- --- the contract ------------------------------------------------------------------------------------------------

function Workers:alive() return self.ledger:alive(self.id) end
function Workers:working() return self.ledger:working(self.id) end
function Workers:wanted() return self.ledger:wanted(self.id) end

function Workers:due(now)
  return earlier(self.processes:due(now, self:wanted() > 0), self.recycling and self.recycling:due(now))
end

function Workers:chunk_flags(stage)
  local is_producer = stage.kind == "producer"
  return (is_producer and report.PRODUCER or 0) | (self.processes.timeout and report.TIMED or 0)
    | (self.plan.groups and report.SET or 0) | (is_producer and self.limited and report.SINGLY or 0)
end

--- Forks the workers. One that is for a single item is forked with that.
function Workers:start()
  for _, slot in ipairs(self.slots) do
    if self.fresh or self.plan.worker and self.plan.worker.lazy then self.ledger:seat_left(slot.index, true)
    elseif not self:begin(slot) then break end
  end
end

function Workers:open_lanes()
  self.processes.all_needed = true
  contract.Place.open_lanes(self)
end

--- Hands work to workers that have room for it; a process is forked where there is none yet that could have it.
---@return boolean busy whether anything was handed over
---@return boolean lacking a worker still lacks a block
---@return number? look_at when to look for those that are overdue
function Workers:dispatch()
  local ledger, busy = self.ledger, false
  while true do
    local handed, index, own, look_at = ledger:dispatch(self.id)
    if handed == "damaged" then self:found_damage(index) end
    busy = busy or handed
    if not index then return busy, own, look_at end
    if not self:begin(self.processes.seats[index - self.first + 1], ledger:kept(own, report.VALUE)) then
      ledger:push(own, true)
      return busy, ledger:supply(self.id)
    end
    busy = ledger:offer(index, own) or busy
  end
end

function Workers:withdraw(origin)
  local ledger = self.ledger
  for _, slot in ipairs(self.slots) do -- what a worker has in store goes to the queue
    local hands = ledger:hands(slot.index)
    local newest = hands[#hands]
    if hands[2] and ledger:kept(newest, report.ORIGIN) == origin then ledger:revoke(slot.index) end
  end
  return contract.Place.withdraw(self, origin)
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
    self.ledger:seat_left(slot.index, true)
  end
  for i = #self.slots, 1, -1 do
    local slot = self.slots[i]
    if staying > n and not slot.leaves then
      staying, slot.leaves = staying - 1, true
      if not slot.pid then own:drop_seat(slot)
      elseif not (self.fresh or select(3, self.ledger:seat(slot.index))) then self:on_retire(slot) end
    end
  end
  self.n = n
  self.ledger:resize(self.id, n, self.fresh and terms.most_of(n) or AHEAD)
  return true
end

-- The worker is killed. What else it has in hand goes to others, and costs no attempt: see losses.lua.
function Workers:abandon(origin)
  for _, slot in ipairs(self.slots) do
    for _, own in ipairs(self.ledger:hands(slot.index)) do
      if self.ledger:kept(own, report.ORIGIN) == origin then
        slot.struck = origin
        self.ledger:ends(slot.index)
        self.pool:kill(slot.index)
        return true
      end
    end
  end
  return false
end

function Workers:finish()
  self.processes:finish()
  self.ledger:finishing(self.id)
  self.finishing = true
end

function Workers:ended() return self.finishing and self.ledger:queued(self.id) == 0 and self:alive() == 0 end

function Workers:stop_producer()
  while self.ledger:queued(self.id) > 0 do self:finished(self:take(1)) end -- not begun
  self.processes:stop()
end

-- --- loops -------------------------------------------------------------------------------------------------------

function Workers:end_input(id)
  if self.fresh then return false end -- of one item, the end belongs to it
  return contract.Place.end_input(self, id)
end

function Workers:looping()
  local list = {}
  for _, slot in ipairs(self.slots) do
    local _, _, retired = self.ledger:seat(slot.index)
    if slot.pid and not retired then list[#list + 1] = slot end
  end
  return list
end

-- A worker is not replaced: its loops have ended with it.
local function drop_ends(self, slot)
  local ledger = self.ledger
  local own = ledger:take_lane(self.id, slot.number)
  while own do
    self:finished(ledger:read(own))
    own = ledger:take_lane(self.id, slot.number)
  end
end

--- A worker has been given all items that it is for: it ends after them. Its loops end before: one after the other,
--- when nothing else is in hand.
---@param slot table
function Workers:on_retire(slot)
  local ledger = self.ledger
  if not self.loops[1] then return ledger:retire(slot.index) end
  if self.finishing then return end -- its loops have ended, and it ends with all others
  local hands, _, retired = ledger:seat(slot.index)
  if retired then return end
  ledger:leaving(slot.index)
  if hands > 0 then return end -- it will be said again
  local own = ledger:take_lane(self.id, slot.number)
  if own and ledger:read(own).attempt == 0 then
    ledger:offer(slot.index, own)
    return
  end
  if own then ledger:push(own, true) end
  local id = self.loops[slot.loops_told + 1]
  if not id then return ledger:retire(slot.index) end
  slot.loops_told = slot.loops_told + 1
  ledger:offer(slot.index, ledger:end_of(id, slot.number))
end

-- --- workers -----------------------------------------------------------------------------------------------------

-- How many forks will follow this one: of the other workers, and of those that come after them.
local function coming_forks(self)
  local per_worker, ledger = self.plan.items_per_worker, self.ledger
  local first = #self.slots - self.processes.spawned - 1
  if per_worker == math.huge then return math.max(0, first), false end
  return math.max(0, first, ledger:queued(self.id) // per_worker), ledger:full(self.id)
end

-- Forks a worker, for an item that it inherits or for any that comes. Returns false where it has to be done without.
function Workers:begin(slot, value)
  if not self.processes:spawn(slot, value, coming_forks(self)) then
    drop_ends(self, slot)
    return false
  end
  self.ledger:seat_taken(slot.index)
  return true
end

--- What a worker is at, for those who look on.
---@param slot table
---@return integer? stage that its first item has come to; nil: it has none
---@return integer? item which of the place's items that is, from 1
---@return integer in_hand items that it has been given and not finished
function Workers:at(slot)
  local ledger, in_hand = self.ledger, 0
  local own = ledger:hand(slot.index)
  for _, each in ipairs(ledger:hands(slot.index)) do
    each = ledger:read(each)
    in_hand = in_hand + each.count - each.finished
  end
  return own and ledger:read(own).stage, ledger:at(slot.index), in_hand
end

-- --- what workers say --------------------------------------------------------------------------------------------

--- A worker has got what a dead one had: the failure that the death has cost says so.  Not where the work was taken
--- out of its hand again before this was heard: there may be other work of that number by now.
---@param slot table
---@param own integer work
function Workers:on_taken_over(slot, own)
  local ledger, in_hand = self.ledger, false
  for _, each in ipairs(ledger:hands(slot.index)) do in_hand = in_hand or each == own end
  local death = in_hand and ledger:kept(own, report.DEATH)
  if not death then return end
  ledger:keep(own, report.DEATH, nil)
  if death.record and not self.fresh then failure.taken(death.record, slot.number) end
end

--- The ordinal of the earliest item that output of a worker may be of; nil where order does not matter.
---@param slot table
---@param number integer of the slice that it is of, where the worker has threads
---@return integer?
function Workers:output_ordinal(slot, number)
  if not self.order then return nil end
  if self.plan.groups then return self.ledger:at(slot.index, number) or 1 end
  return math.max(self.ledger:at(slot.index) or 1, slot.after_failed)
end

--- What a worker says is of this origin, see policy/acks.lua; nil: of no slice, or of a producer's.
---@param slot table
---@param number integer? of the slice, where the worker has threads
---@return table?
function Workers:origin_of(slot, number)
  local ledger = self.ledger
  local own = number and ledger:hand(slot.index, number) or not self.plan.groups and ledger:hand(slot.index)
  return own and ledger:kept(own, report.ORIGIN)
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

-- Which loops have ended since the worker's last item.
local function note_loops(slot, own, items)
  if own.attempt > 0 then
    slot.loops_ended = nil
  elseif items > 0 then
    slot.loops_ended = slot.loops_ended or {}
    slot.loops_ended[own.stage] = true
  end
end

--- Items of a slice are finished, and the ledger wants the run to see to it: one has failed, the place is ordered, or
--- there is a journal.
---@param slot table
---@param number integer of the slice
---@param items integer
---@param ended boolean it is all of the slice
---@param streamed boolean some of the output went on before the end of its item
---@param seconds number in handlers
function Workers:on_done(slot, number, items, ended, streamed, seconds)
  local ledger, index = self.ledger, slot.index
  local own = ledger:hand(index, number)
  if not own then return end -- a slice that was taken back
  own = ledger:read(own)
  note_loops(slot, own, items)
  if slot.failed[1] then settle_failed(self, slot, own, streamed) end
  ledger:done(index, number, items, ended, seconds)
  if items > 0 then self:settle_order(own, own.finished, items) end
  if ended then slot.after_failed = 0 end
  ledger:tell(index, slot.loops_ended ~= nil)
end

--- The worker is ready for its first item.
---@param slot table
function Workers:on_ready(slot)
  if self.recycling then self.recycling:ready(slot) end
end

--- The worker has reported a failed item; what is to be done is decided when the item is done.
---@param slot table
---@param stage table
---@param fields table of the failure
function Workers:on_failed(slot, stage, fields)
  slot.failed[#slot.failed + 1] = { stage = stage, fields = fields }
  self.ledger:tell(slot.index, true)
end

--- An item of the slice in hand has failed: the ordinal after it, with which the output that follows begins.
---@param slot table
---@param fields table of the failure
---@return integer?
function Workers:failed_at(slot, fields)
  if self.plan.groups then return nil end -- all of it is of one item
  local own, passed = self.ledger:hand(slot.index), fields.index or fields.place
  if not own or not passed then return nil end
  slot.after_failed = self.ledger:read(own).first + passed + 1
  return slot.after_failed
end

-- --- a worker's end ----------------------------------------------------------------------------------------------

--- A dead worker's unfinished slice; kept until it is known how the worker ended.
---@param slot table
---@param left table
--- `number`, `block`, `offset`, `length`, `count`, `only` of what is left; `in_hand`: it was at the first of it; `how`:
--- bits, 1: some of its output went on, 2: its time was over; `step`: of a batch, the item in work
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
  local ledger, in_hand, _ = self.ledger, nil, nil
  for _, left in ipairs(slot.left) do in_hand = left.in_hand and left or in_hand end
  local held = #slot.left > 0
  local last = { pid = pid, code = code, signal = signal, expected = expected and not held, -- not by os.exit(0)
    held = held, in_hand = in_hand ~= nil, fresh = self.fresh }
  _, _, last.retired, slot.items, slot.busy = ledger:seat(slot.index)
  if not last.expected then losses.warn_of_loops(self, slot, last, in_hand) end
  slot.pid = nil
  ledger:changed(true)
  last.timed_out = held and losses.settle(self, slot, last) or slot.struck ~= nil
  slot.left, slot.failed, slot.after_failed, slot.loops_ended, slot.loops_told = {}, {}, 0, nil, 0
  slot.struck = nil
  ledger:seat_left(slot.index, self.fresh or last.retired)
  if self.recycling then self.recycling:left(slot) end
  local replace = self.processes:ended(slot, last)
  if slot.leaves then self.processes:drop_seat(slot)
  elseif replace and not self.fresh then self:begin(slot) end
end

return workers
