--- Circles: waits in threads of executors that would never end.
-- An executor keeps `blocked`, how many of its threads wait for executors without end; `needs`, for which; and
-- `waiters`: from each of these that waits for one future, with its `item`, to that future (moving.lua).
local failure = require "minigun.base.failure"

local circles = {}

--- Whether nothing could move an executor any more: each of its items is at a handler that waits for such an executor.
---@param self table executor
---@param seen table set of executors, changed
---@return boolean
function circles.is_stuck(self, seen)
  if seen[self] then return true end
  seen[self] = true
  local answers = self.run.answers
  if self.blocked == 0 or answers:begun() > self.blocked or answers:free() > 0 then return false end
  for other, n in pairs(self.needs) do
    if n > 0 and not circles.is_stuck(other, seen) then return false end
  end
  return true
end

-- Whether what comes of a future's item waits for an item: at a handler that waits for it, or for one that does.
local function waits_for(future, item, seen)
  local answer = future.owner.run.answers.at_work[future.key]
  if not answer or seen[answer] then return false end
  seen[answer] = true
  if answer == item then return true end
  for waiter, wanted in pairs(future.owner.waiters) do
    if waiter.item == answer and waits_for(wanted, item, seen) then return true end
  end
  return false
end

--- Raises where a handler is about to wait, without end, for what waits for its own item.
---@param future minigun.Future of an executor
---@param item table? answer to the item that the handler is at
function circles.refuse(future, item)
  if item and waits_for(future, item, {}) then
    failure.raise "this would wait for ever: for the item that calls it, or for one that waits for that"
  end
end

return circles
