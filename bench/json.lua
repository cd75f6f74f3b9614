-- SPDX-License-Identifier: MIT
--- JSON for the benchmark results: arrays 1..n, other tables as objects with sorted keys.
local M = {}

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function quote(text)
  return '"' .. text:gsub('[%c"\\]', function(c)
    return ESCAPES[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local encode

local function encode_table(value, indent)
  local inner, parts = indent .. "  ", {}
  if value[1] ~= nil then
    for i, element in ipairs(value) do parts[i] = encode(element, inner) end
    return "[" .. table.concat(parts, ", ") .. "]"
  end
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do parts[i] = inner .. quote(key) .. ": " .. encode(value[key], inner) end
  if not parts[1] then return "{}" end
  return "{\n" .. table.concat(parts, ",\n") .. "\n" .. indent .. "}"
end

function encode(value, indent)
  local kind = type(value)
  if kind == "table" then return encode_table(value, indent) end
  if kind == "string" then return quote(value) end
  if kind == "number" and (value ~= value or math.abs(value) == math.huge) then return "null" end
  if math.type(value) == "float" then return ("%.9g"):format(value) end
  return tostring(value)
end

--- @param value nil|boolean|number|string|table  keys of objects are strings
--- @return string  JSON text with a newline at the end
function M.encode(value)
  return encode(value, "") .. "\n"
end

local CONSTANTS = { ["true"] = true, ["false"] = false }
local UNESCAPES = { n = "\n", r = "\r", t = "\t", b = "\b", f = "\f" }

local function unescape(text)
  return (text:gsub("\\u(%x%x%x%x)", function(code) return utf8.char(tonumber(code, 16)) end)
    :gsub("\\(.)", function(c) return UNESCAPES[c] or c end))
end

local decode

-- The elements of an array or object up to the closing bracket; `one` reads one and returns the place behind it.
local function read_list(text, at, closing, one)
  at = text:match("^%s*()", at)
  if text:sub(at, at) == closing then return at + 1 end
  while true do
    local mark
    mark, at = text:match("^%s*([,%]}])()", one(at))
    if mark == closing then return at end
    if mark ~= "," then error "JSON: a comma is missing" end
  end
end

-- The value at `at` and the place behind it.
function decode(text, at)
  at = text:match("^%s*()", at)
  local first, t = text:sub(at, at), {}
  if first == "[" then
    return t, read_list(text, at + 1, "]", function(place)
      t[#t + 1], place = decode(text, place)
      return place
    end)
  elseif first == "{" then
    return t, read_list(text, at + 1, "}", function(place)
      local key, value
      key, place = decode(text, place)
      value, place = decode(text, text:match("^%s*:()", place))
      t[key] = value
      return place
    end)
  elseif first == '"' then
    local ends = at
    repeat
      ends = text:find('["\\]', ends + 1)
      local escaped = text:sub(ends, ends) == "\\"
      if escaped then ends = ends + 1 end
    until not escaped
    return unescape(text:sub(at + 1, ends - 1)), ends + 1
  end
  local word, behind = text:match("^([%w%.%+%-]+)()", at)
  if CONSTANTS[word] ~= nil then return CONSTANTS[word], behind end
  return tonumber(word), behind -- null is nil
end

--- @param text string  what `encode` has written
--- @return any
function M.decode(text)
  return (decode(text, 1))
end

return M
