--- Acknowledgement: which source items everything in flight has come of, and when all of that is finished. Values in,
-- values out; no journal, no process. Only a run that has a lineage (run/lineage.lua) asks for more than `origin`.
--
-- An origin stands for some source items, or for several origins where what came of them was put together:
--     { count =, source =, ranges = { first, last... } }    of one producer; `fresh` while its items are on their way
--                                                           to their first stages: see `cut`
--     { count =, answer = }                                 of one item that a hook hears of: run/receipts.lua
--     { count =, number = }                                 of one item that somebody waits for: run/answers.lua
--     { count =, parents = { origin... } }                  of a batch, or of a block that was written by several
-- `count`: items in the ledger that have it (`work.origin`), and one for each other place that holds it: a batch, a
-- block that is being written, output that waits for its turn, items of the result that the program has not got yet.
-- When it falls to 0, everything that has come of those source items is finished, and they are acknowledged.
--
-- Invariants
-- 1. `acks.origin` is that of what the coordinator is at; what enters the ledger meanwhile gets it.
-- 2. What comes of nothing that is known has the origin `unknown`: as long as something has it, no range is
--    acknowledged.
-- 3. What may be kept in the variables of a loop stage, or in the value of a reduction, is held to the end of the run.
-- 4. An origin is released as often as it is held.
local declared = require "minigun.base.declared"

local acks = {}

local Acks = {}
Acks.__index = Acks

--- Makes the acknowledgement of a run.
---@param ended function (origin): its source items are finished with all that came of them
---@return table acks `origin`: of what the coordinator is at, or false
function acks.new(ended)
  return declared({ ended = ended, origin = false, unknown = { count = 0 }, parked = {}, kept = {} }, Acks)
end

local function settle(self, origin)
  if origin.ranges and self.unknown.count > 0 then self.parked[#self.parked + 1] = origin
  else self.ended(origin) end
end

--- Gives up n holds of an origin.
---@param origin table
---@param n integer
function Acks:release(origin, n)
  local left = origin.count - n
  origin.count = left
  if left > 0 then return end
  if not origin.parents and origin ~= self.unknown then return settle(self, origin) end
  if origin == self.unknown then
    local parked = self.parked
    self.parked = {}
    for _, each in ipairs(parked) do settle(self, each) end
    return
  end
  local waiting = { origin } -- a list, not calls: what goes in circles has long chains of them
  while waiting[1] do
    for _, parent in ipairs(table.remove(waiting).parents) do
      if parent.parents and parent.count == 1 then
        parent.count = 0
        waiting[#waiting + 1] = parent
      else
        self:release(parent, 1)
      end
    end
  end
end

--- Takes n holds of the origin of what the coordinator is at.
---@param n integer
---@return table origin
function Acks:hold(n)
  local origin = self.origin or self.unknown
  origin.count = origin.count + n
  return origin
end

--- An origin, by default that of what the coordinator is at, is held until the end of the run.
---@param origin table?
function Acks:keep(origin)
  origin = origin or self.origin or self.unknown
  if origin.kept or origin == self.unknown then return end
  origin.kept, origin.count = true, origin.count + 1
  self.kept[#self.kept + 1] = origin
end

--- An origin of its own for what comes of all that is kept: the value of a reduction.
---@return table origin held once
function Acks:of_kept()
  local parents = {}
  for i, origin in ipairs(self.kept) do
    parents[i], origin.count = origin, origin.count + 1
  end
  return { count = 1, parents = parents }
end

--- The run has come to its end: what was kept is finished too.
function Acks:release_kept()
  for _, origin in ipairs(self.kept) do self:release(origin, 1) end
  self.kept = {}
end

--- Calls a function for the answer of each item that an origin stands for.
---@param origin table|false|nil
---@param f function (answer)
---@param seen table?
function acks.each_answer(origin, f, seen)
  if not origin then return end
  if origin.number then return f(origin) end
  if origin.answer then return f(origin.answer) end
  seen = seen or {}
  for _, parent in ipairs(origin.parents or {}) do
    if not seen[parent] then
      seen[parent] = true
      acks.each_answer(parent, f, seen)
    end
  end
end

--- Notes the failure of an item in the answers that wait for it; the first one stays.
---@param origin table?
---@param record minigun.Failure
---@return boolean heard false: it has come of no item that is answered
function acks.note_failure(origin, record)
  local heard = false
  acks.each_answer(origin, function(answer)
    answer.record, heard = answer.record or record, true
  end)
  return heard
end

--- Adds the origin of what the coordinator is at to what has gathered somewhere.
---@param gathered table? an origin that is held there
---@return table gathered
function Acks:gather(gathered)
  local origin = self.origin or self.unknown
  if gathered == origin then return gathered end
  if not gathered then return self:hold(1) end
  if gathered.last == origin then return gathered end
  if not gathered.set then
    gathered = { count = 1, parents = { gathered }, set = { [gathered] = true } }
  end
  gathered.last = origin
  if not gathered.set[origin] then
    gathered.set[origin] = true
    gathered.parents[#gathered.parents + 1] = self:hold(1)
  end
  return gathered
end

--- What has gathered goes on; nothing is added to it any more.
---@param gathered table?
---@return table? origin that is still held once
function acks.close(gathered)
  if gathered then gathered.set, gathered.last = nil, nil end
  return gathered
end

--- What has gathered in one place goes on to another, where more gathers.
---@param into table? what has gathered there
---@param gathered table
---@return table gathered there
function Acks:pass(into, gathered)
  local before = self.origin
  self.origin = acks.close(gathered)
  into = self:gather(into)
  self.origin = before
  self:release(gathered, 1)
  return into
end

--- Takes the holds of work that enters the ledger: one for each of its items.
---@param work table
---@return table origin
function Acks:owe(work)
  local origin = work.origin or self.origin or self.unknown
  work.origin, origin.count = origin, origin.count + work.count
  work.is_source = origin.fresh
  return origin
end

--- Calls a function as what comes of an origin, and gives up one hold of that.
---@param origin table?
---@param f function
---@param ... any its arguments
function Acks:under(origin, f, ...)
  local before = self.origin
  self.origin = origin or false
  f(...)
  self.origin = before
  if origin then self:release(origin, 1) end
end

--- The origin of a part of work that is cut off: where its items are the source items themselves, these get one of
--- their own, to be acknowledged as soon as they are finished.
---@param origin table of the whole
---@param is_source boolean?
---@param count integer items of the whole
---@param n integer items of the part, fewer than all
---@return table origin of the part
function acks.cut(origin, is_source, count, n)
  local ranges = is_source and origin.count == count and origin.ranges
  if not ranges or #ranges ~= 2 or ranges[2] - ranges[1] + 1 ~= count then return origin end
  local first = ranges[1]
  ranges[1], origin.count = first + n, origin.count - n
  return { count = n, source = origin.source, ranges = { first, first + n - 1 } }
end

return acks
