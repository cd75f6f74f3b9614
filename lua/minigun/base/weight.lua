--- About how many bytes a Lua value takes: enough to tell a queue of large values from one of small ones, and quick.
-- Values in, numbers out.
local FIELD <const>, DEPTH <const>, SAMPLE <const> = 24, 4, 8

--- What a value takes that is kept: strings as long as they are, tables by a few of their fields.
---@param value any
---@param depth integer? of tables that are looked into; 4 by default
---@return integer bytes 0 for what needs none
local function weigh(value, depth)
  local kind = type(value)
  if kind == "string" then return #value end
  if kind ~= "table" then return 0 end
  depth = depth or DEPTH
  local n, seen, sum = rawlen(value), 0, 0
  for _, field in next, value do
    if seen == SAMPLE then break end
    seen = seen + 1
    if depth > 1 then sum = sum + weigh(field, depth - 1) end
  end
  if seen == SAMPLE and n > seen then sum = sum * n // seen end
  return sum + FIELD * (n > seen and n or seen)
end

return weigh
