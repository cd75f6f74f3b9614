--- Recycling: ends the workers of a place that are idle, and replaces those that are old or large, as policy/seats.lua
-- says. The next one is forked in a seat of its own; when it is ready, the old one finishes what it has and ends.
local core = require "minigun.core"
local earlier = require "minigun.base.earlier"
local seats = require "minigun.policy.seats"

local recycling = {}

local AGAIN <const> = 1 -- seconds after which a fork is tried again that failed

local Recycling = {}
Recycling.__index = Recycling

--- Makes what recycles the workers of a place.
---@param place table of workers
---@return table? recycling nil: nothing is asked of it
function recycling.new(place)
  local policy = not place.fresh and seats.new(place.plan.worker or {})
  if not policy then return nil end
  place.port.timed()
  return setmetatable({ place = place, policy = policy, next = nil, old = nil, after = 0 }, Recycling)
end

-- Notes what each worker is at.
local function look(self, now)
  local ledger = self.place.ledger
  for _, slot in ipairs(self.place.slots) do
    local hands, ends, _, items = ledger:seat(slot.index)
    if hands > 0 or slot.seen ~= items or slot.seen_pid ~= slot.pid then slot.idle_since = now end
    slot.hands, slot.ends, slot.seen, slot.seen_pid = hands, ends, items, slot.pid
  end
end

-- Forks the one that follows an old worker, or, where each has its own items, ends that at once.
local function replace(self, old, now)
  local place = self.place
  local slot = not place.partitioned and place.processes:add_seat()
  if not slot then return place:on_retire(old) end
  if place:begin(slot) then
    place.ledger:ends(slot.index) -- no work is for it until it is ready
    self.next, self.old = slot, old
  else
    place.processes:drop_seat(slot)
    self.after = now + AGAIN
  end
end

--- Does what the clock asks for.
---@param now number seconds, by port.clock
---@return number? due when to look next
function Recycling:due(now)
  local place, at = self.place, self.place.port.now()
  if place.finishing then return nil end
  look(self, at)
  local ended, due = self.policy:idle(place.slots, at)
  for _, slot in ipairs(ended) do place:on_retire(slot) end
  if not (self.next or self.old) then
    local old, again = self.policy:old(place.slots, at, core.memory)
    if old and self.after <= at then replace(self, old, at)
    elseif old then again = self.after end
    due = earlier(due, again)
  end
  return due and now + math.max(due - at, 0)
end

--- A worker is ready for its first item.
---@param slot table
function Recycling:ready(slot)
  if slot ~= self.next then return end
  local old = self.old
  self.next = nil
  self.place.ledger:ends(slot.index, false)
  if not old then return end
  old.leaves = true
  self.place:on_retire(old)
end

--- A worker has ended: one that was to be replaced has been.
---@param slot table
function Recycling:left(slot)
  if slot ~= self.old then return end
  slot.leaves, self.old = true, nil
end

return recycling
