--- The kinds of places, by the name that a segment of the plan says; base/kinds.lua lists them.
--
-- `new(port, segment, first)` makes a place. With `slots` it has as many slots of the pool as the segment has workers,
-- from the first-th on. A file is loaded when a run has such a place.
local kinds = require "minigun.base.kinds"

return setmetatable({}, { __index = function(modules, name)
  modules[name] = false
  for _, kind in ipairs(kinds) do
    if kind.name == name and kind.module then modules[name] = require(kind.module) end
  end
  return rawget(modules, name)
end })
