--- Draining: brings stages to their end, one after the other, and the run when all are: then a stage passes on its last
-- batch, ends its loop, gives its value.
--
-- Stages are drained from the first to the last: a stage is drained when all stages that send to it are, and it has
-- nothing pending. A stage with `await` may get items from anywhere. It is drained when nothing is left to do anywhere
-- else and all stages that come before any awaited stage are drained; or when its first item has not come in its time.
--
-- A handler that still runs may send to any stage with emit:to, so a stage that was drained is open again when
-- something arrives, and no worker ends before everything is drained.
local declared = require "minigun.base.declared"
local earlier = require "minigun.base.earlier"

local drain = {}

local Drain = {}
Drain.__index = Drain

--- Makes what drains the stages of a run.
---@param plan table of its stages, in topological order, `inputs` and `await` say when
---@param clock function () -> seconds, of the clock that does not count stops
---@return table drain
function drain.new(plan, clock)
  local after_await, awaits, any = {}, {}, false
  for id, stage in ipairs(plan.stages) do -- it is awaited itself, or comes after one that is
    after_await[id], any = stage.await or false, any or stage.await or false
    for _, input in ipairs(stage.inputs) do after_await[id] = after_await[id] or after_await[input] end
    if type(stage.await) == "number" then awaits[#awaits + 1] = stage end
  end
  return declared({
    plan = plan, clock = clock, started = clock(), ledger = false, status = false, inline = false, places = false,
    transport = false, outlets = false, reduces = false, hooks = false,
    after_await = after_await, awaits = awaits,
    any_awaited = any ~= false,   -- whether a stage is awaited
    timed = awaits[1] ~= nil,     -- whether the clock can drain one
    looked = 0,                   -- when it was last looked at the awaited stages, since the begin
    called = {},                  -- hooks after_producer that have been called
  }, Drain)
end

-- --- when --------------------------------------------------------------------------------------------------------

--- Whether a stage has nothing pending and all that send to it are drained.
---@param id integer
---@return boolean
function Drain:may_drain(id)
  local ledger = self.ledger
  if ledger:pending(id) > 0 then return false end
  local inputs <const> = self.plan.stages[id].inputs
  for i = 1, #inputs do
    if not ledger:drained(inputs[i]) then return false end
  end
  return true
end

--- Whether stages are drained.
---@param ids table array
---@return boolean
function Drain:all_drained(ids)
  for _, id in ipairs(ids) do
    if not self.ledger:drained(id) then return false end
  end
  return true
end

--- Whether the stages that come before every awaited one are drained, and nothing has come to them since.
---@return boolean
function Drain:front_drained()
  for id in ipairs(self.plan.stages) do
    if not self.after_await[id] and not (self.ledger:drained(id) and self:may_drain(id)) then return false end
  end
  return true
end

--- Whether the time is over in which an awaited stage's first item should have come. One that comes later is taken all
--- the same.
---@param id integer
---@param received integer items that have come to it
---@param elapsed number seconds since the run's begin
---@return boolean
function Drain:given_up(id, received, elapsed)
  local await = self.plan.stages[id].await
  return type(await) == "number" and received == 0 and elapsed >= await
end

--- The next time, after `elapsed`, at which an awaited stage may be given up.
---@param elapsed number seconds since the run's begin
---@return number? seconds since the run's begin; nil: none
function Drain:next_due(elapsed)
  local due
  for _, stage in ipairs(self.awaits) do
    if stage.await > elapsed then due = earlier(due, stage.await) end
  end
  return due
end

--- Looks whether the time of an awaited stage is over.
---@param now number
---@return number? due when the next one's may be; nil: never
---@return boolean fell_due
function Drain:check_clock(now)
  local elapsed = now - self.started
  local before = self:next_due(self.looked)
  local fell_due = before ~= nil and before <= elapsed
  self.looked = elapsed
  if fell_due then self.ledger:changed(true) end
  local due = self:next_due(elapsed)
  return due and self.started + due, fell_due
end

-- --- what follows ------------------------------------------------------------------------------------------------

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
    if not self.called[hook] and self:all_drained(hook.producers) then
      self.called[hook] = true
      self.hooks:call({ hook }, {})
    end
  end
end

--- Drains the stages that can be.
---@return boolean over all are drained, nothing is pending, every reduce has given its value
---@return boolean changed some are, so others may be ready now
function Drain:advance()
  local ledger, changed, all = self.ledger, false, true
  local stages <const>, states <const> = self.plan.stages, self.inline.chain.states
  local front = self.any_awaited and self:front_drained()
  for id = 1, #stages do
    local stage = stages[id]
    local ready = self:may_drain(id)
      and (not stage.await or self:given_up(id, self.status:received(id), self.clock() - self.started)
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
