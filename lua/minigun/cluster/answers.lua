--- Answers: what has come of an item at a worker host becomes what has come of it in the run.
local answers = {}

local VALUE_BYTES <const> = 256 -- what a value is taken for that is kept for its turn

-- Gives on what has come of an item, at its turn.
local function give(self, own, how, ...)
  local port = self.port
  if self.order then
    local stage, item, more = ...
    self.order:put(own.first, VALUE_BYTES, { give = how, stage = stage, item = item, more = more,
      origin = port.holds() })
  else
    how(...)
  end
end

local function emit(self, own, output)
  local port, stage = self.port, self.stage
  local value = output.value
  if not output.to then return give(self, own, port.emitted, stage, value) end
  local ids = port.plan.addresses[stage.id][output.to]
  for _, id in ipairs(type(ids) == "table" and ids or { math.tointeger(ids) }) do
    give(self, own, port.sent, stage, id, value)
  end
end

local function fail_item(self, own, failed)
  self.port.settle(self.stage, { kind = failed.kind, message = failed.message, attempt = failed.attempts,
    traceback = type(failed.traceback) == "string" and failed.traceback or nil, pid = self.port.pid },
    function() return own.value end)
end

--- Makes of an answer what the run is to have: items, failures, what was collected and counted.
---@param self table the place
---@param own table work
---@param answer table see message.lua
function answers.settle(self, own, answer)
  local port = self.port
  local before = port.under(own.origin)
  if answer.failed then
    fail_item(self, own, answer.failed)
  else
    for _, said in ipairs(answer.said) do port.effect(said[1], said[2], said[3]) end
    for _, output in ipairs(answer.out) do emit(self, own, output) end
  end
  port.count(self.stage, { items_in = 0, items_out = answer.out and #answer.out or 0, busy = answer.busy or 0,
    classes = {} })
  port.under(before)
  self:finished(own)
end

--- What is there of a chunk that no host could finish, or whose result is none.
---@param n integer items
---@param text string why
---@return table[] answers
function answers.all_failed(n, text)
  local list = {}
  for i = 1, n do list[i] = { failed = { kind = "crash", message = text, attempts = 1 } } end
  return list
end

return answers
