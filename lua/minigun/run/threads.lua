--- The loop of threads and of waits for descriptors, in the coordinator: made when it is first needed, after the forks.
local declared = require "minigun.base.declared"

local threads = {}

local Threads = {}
Threads.__index = Threads

--- Makes what opens the loop.
---@param seed any of the run, or nil
---@return table threads `tasks`: the loop, or false
function threads.new(seed)
  return declared({ seed = seed or false, state = false, shared = false, reentry = false, tasks = false }, Threads)
end

--- The loop.
---@return table loop
function Threads:open()
  if self.tasks then return self.tasks end
  local own, message = require("minigun.handlers.tasks").new()
  if not own then self.state:fail(message) end
  self.tasks = own
  own.seeded = self.seed or nil
  if not self.shared.pool and not self.shared:open_bell() then self.state:fail "no descriptor is left to wait with" end
  local ok, problem = self.shared.pool:watch(own:fd())
  if not ok then self.state:fail(problem) end
  return own
end

--- Lets threads run.
---@return boolean ran
---@return number? seconds until one wants to go on; nil: none waits for the clock, or there are none
function Threads:step()
  if not self.tasks then return false, nil end
  local ran = self.tasks:step(self.reentry.guard)
  return ran, self.tasks:timeout()
end

--- Ends the threads.
---@return boolean closed false: there were none
function Threads:close()
  if not self.tasks then return false end
  self.tasks:close()
  return true
end

return threads
