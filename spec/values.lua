--- Values of every kind that can be sent, and when two of them are the same.
local M = {}

--- Whether two values are equal in content, subtype and shape; tables met twice must be met twice on both sides.
function M.same(a, b, met)
  if type(a) ~= "table" or type(b) ~= "table" then
    return math.type(a) == math.type(b) and (a == b and (a ~= 0 or 1 / a == 1 / b) or a ~= a and b ~= b)
  end
  met = met or { forth = {}, back = {} }
  if met.forth[a] or met.back[b] then
    return met.forth[a] == b and met.back[b] == a
  end
  met.forth[a], met.back[b] = b, a
  local left = 0
  for key, value in pairs(a) do
    left = left + 1
    if type(key) ~= "table" and not M.same(value, rawget(b, key), met) then
      return false
    end
  end
  for _ in pairs(b) do
    left = left - 1
  end
  return left == 0 and getmetatable(a) == getmetatable(b)
end

--- A value made at random, of any depth up to 9 and with tables that are met twice; math.randomseed decides which.
-- @return any but nil
function M.random()
  local random = math.random
  local tables = {}
  local value

  local scalars = {
    function() return random(0) end,
    function() return random(-200, 200) end,
    function() return random(0) >> random(0, 63) end,
    function() return string.unpack("d", string.pack("j", random(0))) end,
    function() return random(-20, 20) / 4 end,
    function() return random() < 0.5 end,
    function() return ("\0x\xff"):rep(random(0, 20)) end,
    function() return "key" .. random(1, 30) end,
    function() return ("s"):rep(random(0, 300)) end,
  }
  local function scalar()
    return scalars[random(#scalars)]()
  end
  local function key()
    local k = scalar()
    return k == k and k or 1
  end
  local function numbers(float)
    local list = {}
    for i = 1, random(0, 40) do
      list[i] = float and random() or random(0) >> random(40, 63)
    end
    return list
  end
  function value(depth)
    local kind = random(10)
    if depth > 8 or kind <= 4 then
      return scalar()
    elseif kind == 5 and #tables > 0 then
      return tables[random(#tables)]
    elseif kind == 6 then
      return numbers(random() < 0.5)
    end
    local t = {}
    tables[#tables + 1] = t
    local count = random(0, kind == 10 and 20 or 5)
    for i = 1, count do
      if kind <= 8 then
        t[random() < 0.95 and i or random(1, 20)] = value(depth + 1)
      end
      if kind >= 8 then
        t[key()] = value(depth + 1)
      end
    end
    return t
  end
  return value(1)
end

return M
