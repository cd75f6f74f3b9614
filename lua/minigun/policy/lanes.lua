--- Lanes: which worker has the items of a key, where a stage has `partition`. Values in, numbers out.
local lanes = {}

--- The worker for a key: equal keys, equal workers, in every process.
---@param key string|number|boolean what `partition` has given
---@param n integer workers
---@param at string? where the stage was defined
---@return integer lane from 1 to n
function lanes.of(key, n, at)
  key = math.type(key) == "float" and math.tointeger(key) or key -- 1 and 1.0 are one key, as in a table
  local kind = math.type(key) or type(key)
  if kind == "integer" then return key % n + 1 end
  if kind ~= "string" and kind ~= "float" and kind ~= "boolean" then
    error(("%soption 'partition' gave a %s as an item's key; a key is a string, number, boolean"):format(
      at and at .. ": " or "", kind), 0)
  end
  local text, h = tostring(key), 5381
  for i = 1, #text do h = (h * 33 ~ text:byte(i)) & 0xffffffffffff end
  return h % n + 1
end

return lanes
