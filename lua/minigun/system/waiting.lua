--- How this process waits where other things of it can go on meanwhile: in a thread of `threads(n)`, or a producer of
-- the coordinator. handlers/current.lua fills this in; without it nothing else goes on.
local core = require "minigun.core"

local waiting = {}

--- Whether the caller may wait without making anything else wait.
---@return boolean
function waiting.may_wait() return false end

--- Waits until a descriptor is readable, or so long; others go on.
---@param _ integer descriptor
---@param _ number? seconds
function waiting.wait(_, _) error "no task waits here" end

--- Waits until a descriptor is readable, or so long; others go on where there are any.
---@param fd integer
---@param seconds number? nil: without end
function waiting.readable(fd, seconds)
  if waiting.may_wait() then waiting.wait(fd, seconds) else core.wait(fd, "r", seconds) end
end

--- In a child that was forked while it waited so: nothing else is there any more.
function waiting.forget() end

return waiting
