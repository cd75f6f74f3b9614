--- Policy: which workers are old. One at a time is replaced, by a new one that is ready before the old one drains.
local failure = require "minigun.base.failure"

local recycle = {}

--- Gives a new worker its limits, each less a random part.
---@param worker table
---@param options table
---@param random fun(): number
function recycle.set_limits(worker, options, random)
  local function less(limit) return limit and limit * (1 - options.recycle_jitter * random()) end
  worker.max_requests, worker.max_age, worker.max_memory =
    less(options.max_requests), less(options.max_age), less(options.max_memory)
end

--- Why a worker is to be replaced.
---@param worker table `requests`, `memory` as far as the master knows them
---@param now number
---@return string? reason
function recycle.reason(worker, now)
  if worker.max_requests and (worker.requests or 0) >= worker.max_requests then
    return "has answered " .. failure.count(worker.requests, "request")
  elseif worker.max_memory and (worker.memory or 0) >= worker.max_memory then
    return ("has %.1f MiB of memory"):format(worker.memory / 2 ^ 20)
  elseif worker.max_age and now - worker.ready_at >= worker.max_age then
    return ("is %.0f s old"):format(now - worker.ready_at)
  end
end

--- Starts a replacement where one is due and no other is on its way.
---@param self table fleet
---@param now number
---@return number? next_time when the next worker has its age
function recycle.go_on(self, now)
  if self.rolling then return nil end
  local next_time, due
  for _, slot in ipairs(self.slots) do
    local worker = slot.current
    if slot.next then return nil end
    if worker and worker.state == "ready" then
      local reason = recycle.reason(worker, now)
      if reason and not due and now >= slot.retry_at then due = { slot, worker, reason } end
      local at = worker.max_age and worker.ready_at + worker.max_age
      if at and at > now and (not next_time or at < next_time) then next_time = at end
    end
  end
  if not due then return next_time end
  self:say("%s %s and is replaced", ("worker %d (pid %s)"):format(due[2].number, due[2].pid), due[3])
  self:start(due[1], now)
end

return recycle
