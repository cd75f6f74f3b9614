--- The descriptor of a run that is moved by steps: readable when a step has something to do. It is the epoll descriptor
-- of the run's own pool; a timer in it stands for what the clock will do.
local core = require "minigun.core"
local execution = require "minigun.control.execution"

local watched = {}

--- The run's own descriptor; from the first call on `arm` sees to it.
---@param self table execution
---@return integer? fd nil: the run is over, or there is no descriptor left
---@return string? message
---@return integer? errno
function watched.fd(self)
  if self.over then return nil, "the run is over" end
  if not self.watched then
    local pool, message, errno = self.run.shared.pool, nil, nil
    if not pool then pool, message, errno = self.run.shared:open_bell() end
    if not pool then return nil, message, errno end
    self.watched = pool
    pool:arm(0)
  end
  return self.watched:fd()
end

--- A step begins: what it has to do is not told any more.
---@param self table execution
function watched.begin(self)
  if self.watched then self.watched:wait(0) end
end

--- Makes the descriptor readable when there is something to do.
---@param self table execution
---@param most number? seconds, after which it is to be readable in any case
function watched.arm(self, most)
  local r, loop = self.run, self.run.loop
  if self.over or not self.watched then return end
  local now = loop.busy or r.state:must_stop() or r.state.aborted
  local seconds = now and 0 or loop.due_at and math.max(0, loop.due_at - core.now()) or nil
  if most and (not seconds or most < seconds) then seconds = most end
  local ok, message = self.watched:arm(seconds)
  if ok == nil then execution.conclude(self, message) end
end

return watched
