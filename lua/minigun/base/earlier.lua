--- The earlier of two times, each of which may be missing: never.
---@param a number?
---@param b number?
---@return number?
return function(a, b)
  if a and b then return a < b and a or b end
  return a or b
end
