--- How this process waits where other things of it can go on meanwhile: in a thread of `threads(n)`, or a producer of
-- the coordinator. handlers/tasks.lua fills this in; without it nothing else goes on.
local waiting = {}

--- Whether the caller may wait without making anything else wait.
---@return boolean
function waiting.may_wait() return false end

--- Waits until a descriptor is readable, or so long; others go on.
---@param _ integer descriptor
---@param _ number? seconds
function waiting.wait(_, _) error "no task waits here" end

--- In a child that was forked while it waited so: nothing else is there any more.
function waiting.forget() end

return waiting
