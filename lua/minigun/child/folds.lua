--- Folds of a worker: reduces of its block take what its other stages emit where they are.
--
-- 1. What the items of a slice have made is one part for each fold. It is sent when these items are committed, all of
--    them together (src/core/worker.h), so no item is in two parts, or in none.
-- 2. A slice that has come back from a dead worker is committed item by item, to find the one it died of. Nothing is
--    folded in it: items go to the coordinator, which makes batches of them, as of those that come from elsewhere.
-- 3. An item at which the user's function fails is not in the part, and its next attempt is a batch of its own.
local replies = require "minigun.child.replies"
local report = require "minigun.base.protocol"

local folds = {}

local Folds = {}
Folds.__index = Folds

--- Makes the folds of a worker.
---@param w userdata the slot's worker
---@param job table see worker.main
---@param direct table by id of a stage: what sends an item to it
---@return table folds
--- `of`: by the id of the stage that stands for it in the chain, the coordinator's that gathers; `stages`: those;
--- `calls`: the chain of the core, which has the values, see `join`
function folds.new(w, job, direct)
  local self = setmetatable({ w = w, of = {}, stages = {}, calls = false, on = false }, Folds)
  for _, id in ipairs(job.segment.folds) do
    local stage = job.plan.stages[id]
    local own, recipe = { stage = stage, sent = 0 }, stage.recipe
    local function take(item) -- where there is no value yet
      if self.on then return self.calls:fold(stage.gathers, recipe:first(item)) end
      own.sent = own.sent + 1
      direct[stage.gathers](item)
    end
    self.of[stage.gathers] = own
    table.insert(self.stages, { id = stage.gathers, name = stage.name, at = stage.at, outputs = {}, handler = take,
      keeps_item = stage.keeps_item, direct = { handler = take, f = recipe.f, folds = true,
        nothing = function() recipe.nothing "the function" end } })
  end
  self.flush = function() self:send() end
  return self
end

--- Makes the folds those of a chain that has `stages`.
---@param links table a chain of handlers/chain.lua
function Folds:join(links)
  self.calls = links.calls
  links:set_worker(self.w, self.stages)
end

--- A slice begins.
---@param kind string of it, as from w:next
---@param entry table the stage that its items are for
function Folds:begin(kind, entry)
  self.on = self.stages[1] and kind == "items" and not entry.recipe
  if self.on then self.w:together(self.flush) end
end

--- How many items of a stage were sent to the coordinator, where they will be counted, since the last time.
---@param id integer of the stage that stands for a fold
---@return integer
function Folds:sent(id)
  local own = self.of[id]
  local n = own and own.sent or 0
  if own then own.sent = 0 end
  return n
end

--- Sends the parts that there are: before the items are committed that they are made of, and, where the order of the
--- items counts, before the report of a failure that may be tried again. One that cannot be sent is a failure of all
--- its items.
function Folds:send()
  local w = self.w
  for id, own in pairs(self.of) do
    local n, value = self.calls:folded(id)
    local ok, message = true, nil
    if n > 0 then ok, message = pcall(w.send, w, own.stage.id, { false, value, n, 0 }) end
    if not ok then
      local fields = replies.refused(value, own.stage.at, message)
      fields.batch = true
      replies.report(w.send, w, report.LOST, own.stage, fields)
    end
  end
end

return folds
