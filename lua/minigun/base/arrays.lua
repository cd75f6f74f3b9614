--- Arrays: those of a user, which may have holes, and lists of our own.
local arrays = {}

--- The length of an array that a user gives. What `#` says of one with a hole is up to Lua: 5.5 stops at the hole where
--- 5.4 counts what comes after it. Here an array that goes on after a hole has a length beyond the hole, so that a loop
--- over it comes to the hole.
---@param array table
---@return integer n
function arrays.length(array)
  local n = #array
  if rawlen(array) ~= n or n > 0 and rawget(array, n) == nil then return n end -- a stand-in for an array
  local key = next(array, n > 0 and n or nil)
  return math.type(key) == "integer" and key > n and key or n
end

--- Takes a value out of a list; where it is not there, nothing happens.
---@param list table
---@param value any
function arrays.take_out(list, value)
  for i, each in ipairs(list) do
    if each == value then return table.remove(list, i) end
  end
end

return arrays
