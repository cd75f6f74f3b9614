--- The kinds of places, by the name that a segment of the plan says; base/kinds.lua lists them.
--
-- `new(port, segment, first)` makes a place. With `slots` it has as many slots of the pool as the segment has workers,
-- from the first-th on.
local kinds = require "minigun.base.kinds"

local modules = {}
for _, kind in ipairs(kinds) do
  if kind.module then modules[kind.name] = require(kind.module) end
end

return modules
