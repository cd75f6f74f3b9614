--- Draining: brings stages to their end, one after the other, and the run when all are (policy/drain.lua says when).
--
-- A handler that still runs may send to any stage with emit:to, so a stage that was drained is open again when
-- something arrives, and no worker ends before everything is drained.
local declared = require "minigun.base.declared"
local policy = require "minigun.policy.drain"

local drain = {}

local Drain = {}
Drain.__index = Drain

--- Makes what drains the stages of a run.
---@param plan table
---@param clock function () -> seconds, of the clock that does not count stops
---@return table drain
function drain.new(plan, clock)
  local own = policy.new(plan.stages)
  return declared({
    plan = plan, clock = clock, started = clock(), policy = own, ledger = false,
    status = false, inline = false, places = false, transport = false, outlets = false, reduces = false,
    hooks = false,
    timed = own.awaits[1] ~= nil,           -- whether the clock can drain a stage
    looked = 0,              -- when it was last looked at the awaited stages, since the begin
    called = {},             -- hooks after_producer that have been called
  }, Drain)
end

--- Looks whether the time of an awaited stage is over.
---@param now number
---@return number? due when the next one's may be; nil: never
---@return boolean fell_due
function Drain:check_clock(now)
  local elapsed = now - self.started
  local before = self.policy:next_due(self.looked)
  local fell_due = before ~= nil and before <= elapsed
  self.looked = elapsed
  if fell_due then self.ledger:changed(true) end
  local due = self.policy:next_due(elapsed)
  return due and self.started + due, fell_due
end

-- Whether a stage of the coordinator has something to say at its end.
local function holds(state)
  return state.batches and state.batches:oldest() or state.loop and state.loop:open()
end

local function drain_stage(self, stage, state)
  local id = stage.id
  if (stage.loop or state) and self.places.of[id]:end_input(id) then
    return -- it is drained when they have ended
  end
  if state then
    local outlet = self.outlets.of[id]
    if stage.reduces and stage.reduces.at_drain then self.reduces:emit(id) end
    if outlet.writer then self.transport:flush(outlet) end
    if outlet.joined then self.transport:flush(outlet.joined) end
  end
  self.ledger:drain(id, true)
end

--- Whether nothing is pending anywhere. Draining may have sent something once more, so what is written goes on first.
---@return boolean
function Drain:is_empty()
  self.transport:flush_all()
  return self.ledger:is_empty()
end

local function tell_producers_ended(self)
  for _, hook in ipairs(self.plan.hooks.after_producer) do
    if not self.called[hook] and self.policy:all_drained(hook.producers, self.ledger) then
      self.called[hook] = true
      self.hooks:call({ hook }, {})
    end
  end
end

--- Drains the stages that can be.
---@return boolean over all are drained, nothing is pending, every reduce has given its value
---@return boolean changed some are, so others may be ready now
function Drain:advance()
  local ledger, own, changed, all = self.ledger, self.policy, false, true
  local stages <const>, states <const> = self.plan.stages, self.inline.chain.states
  local front = own.any_awaited and own:front_drained(ledger)
  for id = 1, #stages do
    local stage = stages[id]
    local ready = own:may_drain(id, ledger)
      and (not stage.await or own:given_up(id, self.status:received(id), self.clock() - self.started)
        or front and self:is_empty())
    local state = states[id]
    if ready and not (ledger:drained(id) and not (state and holds(state))) then
      drain_stage(self, stage, state)
      changed = true
    end
    all = all and ready
  end
  if self.plan.hooks.after_producer[1] then tell_producers_ended(self) end
  return all and self:is_empty() and not self.reduces:emit_next(), changed
end

return drain
