--- Policy: how long a worker's successor waits, and when a server gives up. Values in, decisions out; time comes as an
-- argument, so that each rule is tested without a process and without waiting.
local restarts = {}

local Restarts = {}
Restarts.__index = Restarts

--- Makes the policy of one server.
---@param options table `back_off`, `healthy_after`, `max_restarts`, `restart_window`
---@param random fun(): number from 0 to 1
---@return table restarts
function restarts.new(options, random)
  return setmetatable({ options = options, random = random, deaths = {} }, Restarts)
end

--- Seconds to wait before a worker is started again that has failed so often in a row.
---@param failures integer at least 1
---@return number seconds
function Restarts:delay(failures)
  local b = self.options.back_off
  local wait = math.min(b.max, b.first * b.factor ^ math.min(failures - 1, 1000))
  return wait * (1 - b.jitter * self.random())
end

--- How often in a row a worker has failed now that it has died once more.
---@param failures integer before this death
---@param ready_for number? seconds that it was ready; nil: it never was
---@return integer failures
function Restarts:count(failures, ready_for)
  if ready_for and ready_for >= self.options.healthy_after then return 1 end
  return failures + 1
end

--- Notes a death. Whether there were more in the window than the server bears.
---@param death any what the caller wants back
---@param now number
---@return table? deaths those in the window, the earliest first, where the server is to give up
function Restarts:died(death, now)
  local deaths = self.deaths
  deaths[#deaths + 1] = { at = now, death = death }
  while deaths[1].at <= now - self.options.restart_window do table.remove(deaths, 1) end
  if #deaths <= self.options.max_restarts then return nil end
  local list = {}
  for i, each in ipairs(deaths) do list[i] = each.death end
  return list
end

return restarts
