--- Descriptors: what of an object can be waited for.
local core = require "minigun.core"

local descriptors = {}

--- The descriptor of an object: a number is one, an open file has one, and so has an object with a method `getfd` or
--- `pollfd` that gives one.
---@param object any
---@return integer? fd nil: it has none
function descriptors.of(object)
  if math.type(object) == "integer" then return object >= 0 and object <= 0x7fffffff and object or nil end
  local fd = core.fileno(object)
  local kind = type(object)
  if fd or kind ~= "table" and kind ~= "userdata" then return fd end
  for _, name in ipairs { "getfd", "pollfd" } do
    local found, method = pcall(function() return object[name] end)
    if found and type(method) == "function" then method = method(object) end
    local fd_of = found and type(method) == "number" and math.tointeger(method) -- luasocket's is a float
    if fd_of then return descriptors.of(fd_of) end
  end
end

--- How an object tells that it has read more than it was asked for, which its descriptor does not: luasocket's method
--- `dirty`, which the connections of `minigun.supervisor` have too.
---@param object any
---@return (fun(object: any): boolean)? dirty nil: it does not tell
function descriptors.dirty_of(object)
  local kind = type(object)
  if kind ~= "table" and kind ~= "userdata" then return nil end
  local found, method = pcall(function() return object.dirty end)
  return found and type(method) == "function" and method or nil
end

return descriptors
