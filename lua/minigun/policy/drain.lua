--- Drain: when a stage has come to its end, so that it passes on its last batch, ends its loop, gives its value. Values
-- in, decisions out; time comes as an argument.
--
-- Stages are drained from the first to the last: a stage is drained when all stages that send to it are, and it has
-- nothing pending. A stage with `await` may get items from anywhere. It is drained when nothing is left to do anywhere
-- else and all stages that come before any awaited stage are drained; or when its first item has not come in its time.
local declared = require "minigun.base.declared"

local drain = {}

local Drain = {}
Drain.__index = Drain

--- Makes the policy for the stages of a plan.
---@param stages table array, in topological order; of each `inputs` and `await` are looked at
---@return table drain `any_awaited`: whether one of them is awaited
function drain.new(stages)
  local after_await, awaits, any = {}, {}, false
  for id, stage in ipairs(stages) do -- it is awaited itself, or comes after one that is
    after_await[id], any = stage.await or false, any or stage.await or false
    for _, input in ipairs(stage.inputs) do after_await[id] = after_await[id] or after_await[input] end
    if type(stage.await) == "number" then awaits[#awaits + 1] = stage end
  end
  return declared({ stages = stages, after_await = after_await, awaits = awaits, any_awaited = any ~= false }, Drain)
end

--- Whether a stage has nothing pending and all that send to it are drained.
---@param id integer
---@param ledger userdata with `pending(id)` and `drained(id)`
---@return boolean
function Drain:may_drain(id, ledger)
  if ledger:pending(id) > 0 then return false end
  local inputs <const> = self.stages[id].inputs
  for i = 1, #inputs do
    if not ledger:drained(inputs[i]) then return false end
  end
  return true
end

--- Whether stages are drained.
---@param ids table array
---@param ledger table
---@return boolean
function Drain:all_drained(ids, ledger)
  for _, id in ipairs(ids) do
    if not ledger:drained(id) then return false end
  end
  return true
end

--- Whether the stages that come before every awaited one are drained, and nothing has come to them since.
---@param ledger table
---@return boolean
function Drain:front_drained(ledger)
  for id in ipairs(self.stages) do
    if not self.after_await[id] and not (ledger:drained(id) and self:may_drain(id, ledger)) then return false end
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
  local await = self.stages[id].await
  return type(await) == "number" and received == 0 and elapsed >= await
end

--- The next time, after `elapsed`, at which an awaited stage may be given up.
---@param elapsed number seconds since the run's begin
---@return number? seconds since the run's begin; nil: none
function Drain:next_due(elapsed)
  local due
  for _, stage in ipairs(self.awaits) do
    if stage.await > elapsed then due = math.min(due or stage.await, stage.await) end
  end
  return due
end

return drain
