--- The ledger: every item of a run is in exactly one place, and here is how many a stage has. Only counts; the items
-- themselves lie in the places.
--
-- Invariants
-- 1. `pending[stage]` is what the stage has accepted and not finished: in its place's queue, in the hands of a worker
--    or thread, or waiting for the next attempt (`waiting[stage]`). `check` asks the places whether that is so.
-- 2. A stage is drained when every stage that sends to it is and it has none pending. It is open again when something
--    arrives: emit:to may send to any stage.
-- 3. `torn` is true while an update goes on. One that an error has cut in two leaves it so, and that ends the run.
local declared = require "minigun.base.declared"

local ledger = {}

local Ledger = {}
Ledger.__index = Ledger

--- Makes the ledger of a run; nothing is pending.
---@param stages table array of the plan's stages
---@return table ledger
--- `moved`: changes with each item that is accepted and with each block; `changed`: some stage may be drained now
function ledger.new(stages)
  local self = { pending = {}, drained = {}, waiting = {}, producing = {}, moved = 0, changed = true, closing = false,
    torn = false }
  for id, stage in ipairs(stages) do
    self.pending[id], self.drained[id], self.waiting[id] = 0, false, 0
    self.producing[id] = stage.kind == "producer"
  end
  return declared(self, Ledger)
end

--- A stage has accepted items, which are in its place from now on.
---@param id integer the stage
---@param n integer
function Ledger:accept(id, n)
  self.pending[id] = self.pending[id] + n
  self.moved, self.drained[id] = self.moved + 1, false
end

--- Items of a stage are finished, well or not: they are in no place any more.
---@param id integer the stage
---@param n integer
function Ledger:finish(id, n)
  local left = self.pending[id] - n
  self.pending[id] = left
  -- Nothing can be drained before the first producer has ended.
  if left == 0 and (self.closing or self.producing[id]) then self.closing, self.changed = true, true end
end

--- An item that has failed waits for its next attempt; the attempt that has failed is finished besides.
---@param id integer the stage
---@param n integer
function Ledger:wait(id, n)
  self.pending[id], self.waiting[id] = self.pending[id] + n, self.waiting[id] + n
end

--- It waits no more: it is in its place again.
---@param id integer the stage
---@param n integer
function Ledger:wake(id, n)
  self.waiting[id] = self.waiting[id] - n
end

--- A stage has come to its end, until something arrives after all.
---@param id integer
function Ledger:drain(id) self.drained[id] = true end

--- A stage that was drained is not, though nothing has arrived: a loop is to be ended once more.
---@param id integer
function Ledger:reopen(id) self.drained[id] = false end

--- Whether no stage has anything pending.
---@return boolean
function Ledger:is_empty()
  for _, n in ipairs(self.pending) do
    if n > 0 then return false end
  end
  return true
end

--- Raises where an item is in no place, or in two.
---@param tally function
--- (stage) -> how many of its items are in its place's queue, how many in hand there, how many wait for their time
function Ledger:check(tally)
  for id, n in ipairs(self.pending) do
    local queued, in_hand, waiting = tally(id)
    if n ~= queued + in_hand + waiting or waiting ~= self.waiting[id] then
      error(("the ledger is wrong: stage %d has %d pending (%d of them waiting), but %d queued, %d in hand, %d waiting")
        :format(id, n, self.waiting[id], queued, in_hand, waiting), 0)
    end
  end
  if self.torn then error("the ledger is torn between two rounds", 0) end
end

return ledger
