--- Receipts: tells the hooks on_acknowledged of a producer when nothing of one of its items is in flight any more. Each
-- item that is heard of has an origin of its own (policy/acks.lua), with an `answer`:
--     hears      the hooks
--     item       as it was emitted
--     record     the first failure of what has come of it
local acks = require "minigun.policy.acks"
local core = require "minigun.core"
local declared = require "minigun.base.declared"

local receipts = {}

local Receipts = {}
Receipts.__index = Receipts

--- Makes the receipts of a run.
---@param plan table
---@return table? receipts nil: no hook hears of any item
function receipts.new(plan)
  local hears = false
  for _, stage in ipairs(plan.stages) do hears = hears or stage.hears ~= nil end
  return hears and declared({ acks = false, hooks = false, transport = false }, Receipts) or nil
end

--- A producer of the coordinator has emitted an item: the coordinator is at it from now on.
---@param stage table
---@param item any
---@param origin table? that it has already, in a run with a journal
---@return table origin
function Receipts:begin(stage, item, origin)
  origin = origin or { count = 1 }
  origin.answer = { hears = stage.hears, item = core.copy(item), record = nil }
  self.acks.origin = origin
  return origin
end

--- The item has gone its way.
---@param origin table
---@param kept any true: its hold is the journal's
function Receipts:finish(origin, kept)
  self.transport:flush_all()
  if kept then return end
  self.acks.origin = false
  self.acks:release(origin, 1)
end

--- What has come of an item has failed for good.
---@param record minigun.Failure
---@return boolean heard false: it has come of no item that is heard of
function Receipts:failed(record) return acks.note_failure(self.acks.origin, record) end

--- Nothing of an item is left.
---@param origin table
function Receipts:ended(origin)
  local answer = origin.answer
  for _, hook in ipairs(answer.hears) do
    local ok, caught = self.hooks:call_one(hook.f, answer.item, answer.record)
    if not ok then self.hooks:fail(hook.name, hook.at, caught) end
  end
end

return receipts
