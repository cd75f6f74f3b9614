--- The ledger of a run: every item is in exactly one place, and the ledger says which. It is the core's (its contract
-- is at the head of src/core/ledger.h); here it learns what the plan says, and what becomes of the Lua values that are
-- kept under the numbers of work (base/protocol.lua has their kinds).
local acks = require "minigun.policy.acks"
local core = require "minigun.core"
local report = require "minigun.base.protocol"
local terms = require "minigun.policy.terms"

local ledger = {}

local ORIGIN <const>, SOURCE <const>, DEATH <const> = report.ORIGIN, report.SOURCE, report.DEATH

--- Makes the ledger of a run; it has no places yet.
---@param plan table
---@param own_acks table what counts the origins of work, in a run with a journal
---@return userdata ledger
function ledger.new(plan, own_acks)
  local self = core.ledger(#plan.stages, #plan.segments + 1)
  self:terms(terms)
  self:hooks(function(whole, part, n, left, at_end)
    local origin, death = self:kept(whole, ORIGIN), self:kept(whole, DEATH)
    if death then self:keep(part, DEATH, death) end
    if not origin then return end
    local is_source = self:kept(whole, SOURCE)
    self:keep(part, ORIGIN, at_end and origin or acks.cut(origin, is_source, left + n, n))
    if is_source then self:keep(part, SOURCE, true) end
  end, function(work, n) own_acks:release(self:kept(work, ORIGIN), n) end)
  return self
end

--- Tells the ledger where each stage runs, where its items go, and what fills up after it.
---@param self userdata
---@param plan table
---@param places table
---@param outlets table
---@param admission table
function ledger.draw(self, plan, places, outlets, admission)
  for id, stage in ipairs(plan.stages) do
    local place = places.of[id]
    self:stage(id, { place = place.id, flags = place:chunk_flags(stage), producing = stage.kind == "producer",
      continues = stage.continues, terminal = stage.terminal, recipe = stage.recipe,
      plain = place.here and not (place.patient or stage.batch or stage.reduces or admission.limited[id]) })
    self:targets(id, outlets.of[id].targets)
  end
  admission:tell(self, places.list)
end

return ledger
