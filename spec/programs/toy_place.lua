-- The place of a sixth kind of context: it runs its stages in the coordinator, so many items in each round. Everything
-- that it needs is in this file.
local chain = require "minigun.handlers.chain"
local context = require "minigun.handlers.ctx"
local contract = require "minigun.contexts.contract"
local core = require "minigun.core"
local errors = require "minigun.base.traceback"
local work = require "minigun.base.work"

local Toy = contract.kind()

local function chain_of(port, stages)
  return chain.new(stages, {
    addresses = port.plan.addresses, process = core.process(), returns = port.returns, now = core.clock,
    deliver = port.emitted, send_to = port.sent, effect = port.effect,
    context = function(stage, effect)
      return context.new({ pipeline = port.plan.name, stage = stage.name, pid = port.pid }, effect)
    end,
    failed = function(stage, item, caught, how)
      how.pid = port.pid
      port.settle(stage, errors.fields(caught, how), function() return item end,
        function() return work.of_value(stage.id, item) end)
    end,
  })
end

function Toy:start()
  local stages = {}
  for i, id in ipairs(self.plan.stages) do stages[i] = self.port.plan.stages[id] end
  self.chain = chain_of(self.port, stages)
end

function Toy:run_one(own)
  if own.block then self:decode(own) end
  if own.given_up then self.chain:reject(own.stage, own.value, own.problem)
  else self.chain.calls:push(own.stage, own.value, own.attempt) end
  for id in pairs(self.chain.states) do
    local s = self.chain:counts(id, true)
    local came = id == own.stage and own.attempt == 1 and 1 or 0 -- it was counted when it came
    self.port.count(self.port.plan.stages[id], { items_in = s.items_in - came, items_out = s.items_out, busy = s.busy,
      classes = s.service:take() })
    s.busy = 0
  end
  self:finished(own)
end

function Toy:dispatch()
  local busy = false
  for _ = 1, self.plan.n do
    local own = self.port.may_begin(self) and self:take(1)
    if not own then break end
    self:run_one(own)
    busy = true
  end
  return busy, busy
end

return { new = function(port, segment)
  local self = setmetatable({ slots = { { number = 1 } }, chain = nil, most = 64 }, Toy)
  return contract.open(self, port, segment, "values")
end }
