--- Slices: hands the work of a place to its workers, and takes back what they have not begun. policy/dispatch.lua says
-- how much, and when a worker is overdue. `place` is a place of workers (workers.lua), which says what its slots hold.
local dispatch = require "minigun.policy.dispatch"
local processes = require "minigun.contexts.processes"
local report = require "minigun.base.protocol"
local work = require "minigun.base.work"

local slices = {}

--- The slice that a worker is at.
---@param slot table
---@return table? work nil: it has none
---@return integer? ordinal of its first unfinished item
---@return integer? number
function slices.of(slot)
  local hand <const> = slot.hand
  local first, own = next(hand)
  if not own then return nil end
  if slot.hands > 1 then
    for number in next, hand do first = math.min(first, number) end
    own = hand[first]
  end
  return own, own.first + (own.finished or 0), first
end

-- --- handing out ------------------------------------------------------------------------------------------------

--- A worker has been given all items that it is for: it ends after them. Its loops end before: one after the other,
--- when nothing else is in hand.
---@param place table
---@param slot table
function slices.retire(place, slot)
  if place.loops[1] then
    if slot.hands > 0 then return end
    local lane = place.lanes[slot.number]
    local own = lane and lane:first()
    if own and own.attempt == 0 then return slices.offer(place, slot, place:take(1, lane)) end
    local id = place.loops[slot.loops_told + 1]
    if id then
      slot.loops_told, place.arrived = slot.loops_told + 1, place.arrived + 1
      place.port.accept(id)
      return slices.offer(place, slot, work.of_end(id, slot.number, place.arrived))
    end
  end
  place.processes:retire(slot)
end

local function flags_of(place, id)
  local is_producer = place.port.plan.stages[id].kind == "producer"
  return (is_producer and report.PRODUCER or 0) | (place.processes.timeout and report.TIMED or 0)
    | (place.plan.groups and report.SET or 0) | (is_producer and place.limited and report.SINGLY or 0)
end

--- Offers work to a worker.
---@param place table
---@param slot table
---@param own table work
---@return boolean taken false: there is no room for it, it is in the queue again
function slices.offer(place, slot, own)
  local number, pool, flags = place.chunks + 1, place.pool, place.flags[own.stage]
  place.chunks = number
  if not flags then
    flags = flags_of(place, own.stage)
    place.flags[own.stage] = flags
  end
  if own.block then pool:retain(own.block) end
  local taken = pool:offer(slot.index, number, own.block or false, own.offset or 0, own.length or 0,
    own.count, own.only or report.ANY, own.stage, own.attempt, flags)
  if not taken then
    if own.block then pool:release(own.block) end
    place:push(own, true)
    return false
  end
  if own.death then
    if not place.fresh then processes.survived(own.death, slot) end
    own.death = nil
  end
  slot.hand[number] = own
  slot.hands = slot.hands + 1
  if own.attempt > 0 then
    slot.given = slot.given + own.count
    if slot.given >= place.per_worker then slices.retire(place, slot) end
  end
  return true
end

-- Gives work to all that can take some. `room`: for how many items' output there is room, beside that of those in hand.
local function hand_out(place, room)
  local busy, slots <const>, plan <const>, per_worker <const> = false, place.slots, place.plan, place.per_worker
  local most, depth = dispatch.terms(place.rate, place.queued, place.n, plan.groups and plan.width)
  if plan.groups then room = math.huge end -- each worker has threads for so many
  for level = 1, depth do
    for i = 1, #slots do
      local slot = slots[i]
      if place.queued == 0 then return busy end
      if room < 1 and level > 1 then return busy end
      local more = slot.vacant -- one that is forked for it
      if slot.pid then more = slot.hands < level and slot.given < per_worker and not slot.retired end
      local line = more and place:queue_for(slot)
      local returned = line and line:first().returned
      if line and not (returned and level > 1) then
        local n = most
        if returned or room < most then n = dispatch.size(most, room, returned, place.queued, place:alive()) end
        if n > per_worker - slot.given then n = per_worker - slot.given end
        local own = place:take(n, line)
        if not slot.pid and not place:begin(slot, own.value) then
          place:push(own, true)
          return busy
        end
        if slices.offer(place, slot, own) then busy, room = true, room - own.count end
      end
    end
  end
  return busy
end

--- How many single items workers could be given at once, beside those in the queue.
---@param place table
---@return integer
function slices.free(place)
  local _, depth = dispatch.terms(place.rate, 0, place.n, place.plan.groups and place.plan.width)
  local free, per_worker <const> = -place.queued, place.per_worker
  for _, slot in ipairs(place.slots) do
    if slot.vacant then free = free + 1
    elseif slot.pid and not slot.ends then
      local more = depth - slot.hands
      if more > per_worker - slot.given then more = per_worker - slot.given end
      if more > 0 then free = free + more end
    end
  end
  return free
end

-- --- taking back ------------------------------------------------------------------------------------------------

-- Items in workers' hands.
local function unfinished(place)
  local n = 0
  for _, slot in ipairs(place.slots) do
    for _, own in pairs(slot.hand) do n = n + own.count - (own.finished or 0) end
  end
  return n
end

-- Items come back from a worker, which may have as many others.
local function take_back(slot, n)
  if not slot.retired then slot.given = slot.given - n end
end

--- A worker ends a slice earlier: what it has not begun, with a reference, goes back to the queue.
---@param place table
---@param slot table
---@param number integer of the slice
---@param offset integer bytes, of the rest
---@param length integer bytes
---@param count integer items
function slices.rest(place, slot, number, offset, length, count)
  local rest = work.cut_end(slot.hand[number], count, offset, length)
  rest.returned = true
  take_back(slot, count)
  place:push(rest, true)
end

-- Takes back what workers have not begun of a slice that takes them long.
local function relieve(place)
  local now = place.port.now()
  for _, slot in ipairs(place.slots) do
    local own, _, number = slices.of(slot)
    if own and own.block and own.count - (own.finished or 0) > 1 and not place.blocks.wants[slot] then
      local _, block, offset, length, count
      if slot.patience:over(number, now) then _, block, offset, length, count = place.pool:shorten(slot.index) end
      if block then slices.rest(place, slot, number, offset, length, count)
      else place.look_at = math.min(place.look_at or slot.patience.at, slot.patience.at) end
    end
  end
end

-- Takes back the slice that a worker has in store. Returns it, with its reference; nil: it has begun.
local function revoke(place, slot)
  local number = slot.hands >= 2 and place.pool:revoke(slot.index)
  if not number then return nil end
  local own = slot.hand[number]
  slot.hand[number] = nil
  slot.hands = slot.hands - 1
  if own.block then place.pool:release(own.block) end
  take_back(slot, own.count)
  return own
end

--- Takes out the work of an origin that a worker has in store.
---@param place table
---@param origin table
---@return boolean found
function slices.withdraw(place, origin)
  for _, slot in ipairs(place.slots) do
    local newest = 0
    for number in pairs(slot.hand) do newest = math.max(newest, number) end
    if slot.hands >= 2 and slot.hand[newest].origin == origin then
      local own = revoke(place, slot)
      if own then place:drop(own) end
      return own ~= nil
    end
  end
  return false
end

-- Nothing is queued any more and a worker idles while another has a slice in store: it goes back to the queue.
local function rebalance(place)
  if place.fresh or place.n == 1 or place.partitioned then return end
  local idle = 0
  for _, slot in ipairs(place.slots) do
    if slot.vacant or slot.pid and slot.hands == 0 and not slot.retired then idle = idle + 1 end
  end
  if idle == 0 then return end
  for _, slot in ipairs(place.slots) do
    if idle == 0 then break end
    local own = revoke(place, slot)
    if own then
      place:push(own)
      idle = idle - 1
    end
  end
  if place.queued == 0 and not place.plan.groups then relieve(place) end
end

--- Hands work to workers that have room for it.
---@param place table
---@return boolean busy whether anything was handed over
function slices.dispatch(place)
  place.look_at = nil
  if place.queued == 0 then rebalance(place) end
  if place.queued == 0 then return false end
  local room = math.huge
  if place.limited then
    room = place.port.room(place)
    place.blocked = room < 1
    if place.blocked then return false end
    room = room - unfinished(place)
  end
  return hand_out(place, room)
end

return slices
