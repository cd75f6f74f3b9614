-- SPDX-License-Identifier: MIT
--- A JSON writer for the benchmark results: arrays 1..n, other tables as objects with sorted keys.
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
return function(value)
  return encode(value, "") .. "\n"
end
