--- Arrays that a user gives. What `#` says of one with a hole is up to Lua: 5.5 stops at the hole where 5.4 counts what
-- comes after it.
local arrays = {}

--- The length of an array; of one that goes on after a hole a length beyond that, so that who goes through it comes to
--- the hole.
---@param array table
---@return integer n
function arrays.length(array)
  local n = #array
  if rawlen(array) ~= n or n > 0 and rawget(array, n) == nil then return n end -- a stand-in for an array
  local key = next(array, n > 0 and n or nil)
  return math.type(key) == "integer" and key > n and key or n
end

return arrays
