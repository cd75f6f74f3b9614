--- Item values for the property test: random ones, a text that tells any two of them apart, and numbers drawn from it.
local values = {}

--- A generator of random numbers of its own: `draw(n)` is from 1 to n, the same for the same seed everywhere.
---@param seed integer
---@return function draw
function values.generator(seed)
  local state = seed * 0x2545F4914F6CDD1D + 0x1405
  return function(n)
    state = state * 6364136223846793005 + 1442695040888963407
    local bits = state ~ (state >> 29)
    return (bits >> 11) % n + 1
  end
end

--- Objects of a type whose hooks (build.lua) refuse to dump them, or to load what was dumped. No code can change them.
values.Hooked = { __name = "hooked", __newindex = function() end }

local hooked = {}
for _, hook in ipairs { "dump", "load" } do hooked[hook] = setmetatable({ refuses = hook }, values.Hooked) end

--- What one process keeps to itself: a function, an object that cannot be dumped; or one that cannot be loaded.
---@param draw function
---@return any
function values.stubborn(draw) return ({ print, hooked.dump, hooked.load })[draw(3)] end

--- An object that leaves its process and arrives nowhere.
values.unloadable = hooked.load

local function is_hooked(value) return getmetatable(value) == values.Hooked end

local function scalar(value)
  local kind = math.type(value) or type(value)
  if kind == "integer" then return ("%d"):format(value) end
  if kind == "float" then return value ~= value and "nan" or ("%a"):format(value) end
  if kind == "string" then return #value <= 40 and ("%q"):format(value):gsub("\\\n", "\\n")
    or ("<%d bytes %q %x>"):format(#value, value:sub(1, 8), values.hash(value)) end
  return kind == "boolean" and tostring(value) or kind
end

local function text_of(value, seen)
  if type(value) ~= "table" then return (scalar(value)) end
  if is_hooked(value) then return "refuses " .. value.refuses end
  if seen[value] then return "#" .. seen[value] end
  seen.n = seen.n + 1
  seen[value] = seen.n
  local parts, rest, length = {}, {}, #value
  for i = 1, length do parts[i] = text_of(value[i], seen) end
  for key in next, value do
    if math.type(key) ~= "integer" or key < 1 or key > length then rest[#rest + 1] = { scalar(key), key } end
  end
  table.sort(rest, function(a, b) return a[1] < b[1] end)
  for _, pair in ipairs(rest) do parts[#parts + 1] = pair[1] .. "=" .. text_of(value[pair[2]], seen) end
  return "{" .. table.concat(parts, ",") .. "}"
end

local known = setmetatable({}, { __mode = "k" }) -- texts of tables as they came; see forget

--- A copy of a value, with its own tables; functions and objects stay.
---@param value any
---@param seen table?
---@return any
function values.copy(value, seen)
  if type(value) ~= "table" or is_hooked(value) then return value end
  seen = seen or {}
  if seen[value] then return seen[value] end
  local made = {}
  seen[value] = made
  for key, inner in next, value do made[values.copy(key, seen)] = values.copy(inner, seen) end
  return made
end

--- Says that a handler is done with its item, which it may have changed.
---@param value any
function values.forget(value)
  if type(value) == "table" then known[value] = nil end
end

--- A value as text: equal for equal values only, also of tables that hold themselves; a function is "function".
---@param value any
---@return string
function values.text(value)
  if type(value) ~= "table" then return (scalar(value)) end
  local text = known[value] or text_of(value, { n = 0 })
  known[value] = text
  return text
end

--- A number for a string: of its length, and of some 24 bytes from all over it.
---@param text string
---@return integer
function values.hash(text)
  local h = #text
  for i = 1, #text, #text // 24 + 1 do h = (h * 33 ~ text:byte(i)) & 0xffffffffffff end
  return h
end

--- What of a handler's decisions depends on its item: a number from 0 to n - 1.
---@param salt integer
---@param item any
---@param n integer
---@return integer
function values.chance(salt, item, n)
  local h = (values.hash(values.text(item)) + salt * 0x9E3779B97F4A7C15) * 0x2545F4914F6CDD1D
  h = (h ~ (h >> 31)) * 0x5851F42D4C957F2D
  return (h >> 20) % n
end

-- Whether a value is, or holds, something of which `is` is true.
local function holds(value, is, seen)
  if is(value) then return true end
  if type(value) ~= "table" or seen[value] then return false end
  seen[value] = true
  for key, inner in next, value do
    if holds(key, is, seen) or holds(inner, is, seen) then return true end
  end
  return false
end

local function stays(value) return type(value) == "function" or value == hooked.dump end

--- Whether a value holds a function or another thing that cannot leave its process.
---@param value any
---@return boolean
function values.holds_function(value) return holds(value, stays, {}) end

local function is_unloadable(value) return value == hooked.load end

--- Whether a value leaves its process, and cannot be had again from the bytes.
---@param value any
---@return boolean
function values.is_lost(value) return holds(value, is_unloadable, {}) end

--- The bytes that the strings in a value take, and some for the rest.
---@param value any
---@param seen table?
---@return integer
function values.bytes(value, seen)
  if type(value) == "string" then return #value + 8 end
  if type(value) ~= "table" then return 16 end
  seen = seen or {}
  if seen[value] then return 8 end
  seen[value] = true
  local n = 8
  for key, inner in next, value do n = n + values.bytes(key, seen) + values.bytes(inner, seen) end
  return n
end

--- The kinds of items: `{ weight, function(draw) -> value }`. `limit`: bytes that one may have, roughly.
values.kinds = {
  { 6, function(draw) return draw(1000) end },
  { 2, function(draw) return ("word"):rep(draw(4)) .. draw(50) end },
  { 1, function(draw) return ({ 0, -1, math.maxinteger, math.mininteger, 1 << 53, 255, 256, 65536 })[draw(8)] end },
  { 1, function(draw) return ({ 0.5, -0.0, 1e300, math.huge, -math.huge, 0 / 0, 2.0, 1e-310 })[draw(8)] end },
  { 1, function(draw) return draw(2) == 1 end },
  { 1, function(draw) return ({ "", "\0", "\255\254", "a\0b", "true", "\n" })[draw(6)] end },
  { 1, function() return {} end },
  { 1, function(draw) return { draw(9), { draw(9), {} }, { a = { b = draw(9) } } } end },
  { 1, function(draw) return { id = draw(100), name = "n" .. draw(9), [2] = true, [-1.5] = "x", [false] = 0 } end },
  { 1, function(draw)
    local inner = { draw(100) }
    return { inner, inner, again = inner }
  end },
  { 1, function(draw)
    local loop = { n = draw(100) }
    loop.self = loop
    return loop
  end },
  { 1, function(draw)
    local list = {}
    for i = 1, draw(30) do list[i] = draw(2) == 1 and i or i / 2 end
    return list
  end },
  { 1, function(draw)
    local numbers = {}
    for i = 1, draw(80) do numbers[i] = i * i end
    return numbers
  end },
  { 1, function(draw, limit) return ("x"):rep(draw(limit)) .. draw(9) end },
}

local total = 0
for _, kind in ipairs(values.kinds) do total = total + kind[1] end

--- A random item.
---@param draw function
---@param limit integer bytes that it may have, roughly
---@return any
function values.random(draw, limit)
  local left = draw(total)
  for _, kind in ipairs(values.kinds) do
    left = left - kind[1]
    if left <= 0 then return kind[2](draw, limit) end
  end
end

return values
