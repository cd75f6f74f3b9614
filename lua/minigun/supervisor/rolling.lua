--- Policy: the rolling restart of a fleet. The first replacement goes ahead alone; where it becomes ready, up to half
-- of the workers are replaced at a time. Each old one drains when its replacement is ready. One that does not become
-- ready ends the restart: the old ones that are left stay.
local rolling = {}

--- Begins a restart; one that goes on begins anew.
---@param self table fleet
---@param now number
function rolling.begin(self, now)
  self.generation = self.generation + 1
  self.rolling = { generation = self.generation }
  self:say("rolling restart, generation %d", self.generation)
  for _, slot in ipairs(self.slots) do
    slot.failures, slot.retry_at = 0, now
    self:dismiss(slot.next, now, false) -- it may be of what is to be replaced
    slot.next = nil
  end
end

--- A replacement has died, or could not be started.
---@param self table fleet
---@param worker table
function rolling.failed(self, worker)
  if not self.rolling or worker.generation ~= self.rolling.generation then return end
  self.rolling = nil
  self:say("the rolling restart is given up: a new worker did not become ready; the old ones go on")
  self:act("restarted", false)
end

--- Starts the replacements that may be started now.
---@param self table fleet
---@param now number
function rolling.go_on(self, now)
  if not self.rolling then return end
  local generation = self.rolling.generation
  local waiting, starting, renewed = {}, 0, 0
  for _, slot in ipairs(self.slots) do
    local current = slot.current
    if slot.next then starting = starting + 1
    elseif not current then starting = starting + 1 -- started anew after its back-off, and of this generation then
    elseif current.generation == generation and current.state == "ready" then renewed = renewed + 1
    elseif current.generation == generation then starting = starting + 1
    else waiting[#waiting + 1] = slot end
  end
  if #waiting == 0 and starting == 0 then
    self.rolling = nil
    self:say("rolling restart done")
    return self:act("restarted", true)
  end
  local most = renewed == 0 and 1 or math.max(1, (#self.slots + 1) // 2)
  for i = 1, math.min(#waiting, most - starting) do self:start(waiting[i], now) end
end

return rolling
