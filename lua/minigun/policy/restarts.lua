--- Restarts: what follows from the end of a worker, and how many deaths a run bears. Values in, values out; no process,
-- and the time is an argument.
local restarts = {}

local Restarts = {}
Restarts.__index = Restarts

--- Makes the count of a place's deaths.
---@param most integer deaths within the window that are borne
---@param window number seconds
---@return table restarts
function restarts.new(most, window) return setmetatable({ most = most, window = window, times = {} }, Restarts) end

--- A worker has died that has to be replaced.
---@param now number seconds
---@return integer? n deaths within the window, where they are too many; nil: go on
function Restarts:died(now)
  local recent = {}
  for _, at in ipairs(self.times) do
    if now - at < self.window then recent[#recent + 1] = at end
  end
  recent[#recent + 1] = now
  self.times = recent
  return #recent > self.most and #recent or nil
end

--- How a worker ended, for messages.
---@param code integer? nil: it is not known
---@param signal integer? 0: none
---@return string
function restarts.cause(code, signal)
  if not code then
    return "ended, it is not known how (the program ignores SIGCHLD, or waits for children that are not its own)"
  end
  return signal ~= 0 and "was killed by signal " .. signal or "exited with code " .. code
end

--- What follows from a worker's end that was not in good order, or where it had something.
---@param last table
--- `stopped`: it was the one producer of a place, told to end;
--- `over`: no more work comes to the place; `retired`: none came to this worker; `held`: it had something; `in_hand`:
--- it was at an item; `timed_out`: it was killed as its time was over; `fresh`: each item has a process of its own
---@return "nothing"|"hooks"|"replace" what
--- hooks: it has done its work, but what it has to do at its end is lost; replace: another takes its place, where there
--- is need of one
---@return boolean counts whether it is one of the deaths of which a run bears only so many. A time-out is not: the
--- coordinator killed the worker. The death of a process for one item is not: the item has paid with an attempt
function restarts.follows(last)
  if last.stopped and not last.over then return "nothing", false end
  if last.over or last.retired and not last.held then return "hooks", false end
  return "replace", not last.timed_out and not (last.fresh and last.in_hand)
end

return restarts
