--- Gates: the internal stages of the coordinator before a stage with `rate` or `delay`; when an item may go through
-- is policy/gate.lua's. An item that has to wait is work of its gate that waits, as for a further attempt: it is
-- counted, and what it has come of is not finished.
local core = require "minigun.core"
local declared = require "minigun.base.declared"
local earlier = require "minigun.base.earlier"
local gate = require "minigun.policy.gate"
local report = require "minigun.base.protocol"
local work = require "minigun.base.work"

local gates = {}

local THROUGH <const> = 2 -- the attempt of what has waited

local Gates = {}
Gates.__index = Gates

--- Makes the gates of a run; there are none yet.
---@return table gates `list`: array
function gates.new()
  return declared({ ledger = false, lineage = false, transport = false, list = {} }, Gates)
end

--- Makes the handler of the internal stage before one with a rate or a delay.
---@param stage table the internal stage
---@return function handler
function Gates:open(stage)
  local own, transport, target = gate.new(stage.gate.rate, stage.gate.delay), self.transport, stage.outputs[1]
  self.list[#self.list + 1], own.stage = own, stage.id
  return function(item, _, ctx)
    if ctx.attempt == THROUGH then return transport:send_to(stage, target, item) end
    local now = core.clock()
    local due = own:reserve(now)
    if due <= now and own.n == 0 then return transport:send_to(stage, target, item) end
    local entry = work.of_value(stage.id, item)
    entry.attempt = THROUGH
    if self.lineage then self.lineage:owe(entry) end
    own:keep(self.ledger:enter(entry, "waiting"), due)
  end
end

--- Lets an item through before its time: one that is to be taken out.
---@param origin table of what it has come
---@param stages table? array: only where it waits at one of these
---@return boolean found
function Gates:wake_of(origin, stages)
  local ledger, of = self.ledger, {}
  for _, id in ipairs(stages or {}) do of[id] = true end
  for _, own in ipairs(self.list) do
    local looks = not stages or of[own.stage]
    local waiting = looks and own:take_out(function(each) return ledger:kept(each, report.ORIGIN) == origin end)
    if waiting then
      ledger:wake(waiting)
      return true
    end
  end
  return false
end

--- Lets through what may go.
---@param now number seconds
---@return number? due when the next one may; nil: none waits
---@return boolean let whether any went
function Gates:check_clock(now)
  local due, let = nil, false
  for _, own in ipairs(self.list) do
    for waiting in own.next, own, now do
      self.ledger:wake(waiting)
      let = true
    end
    due = earlier(due, own:due())
  end
  return due, let
end

return gates
