--- JSON, to be written only: for other programs that read what the library tells.
--
-- What JSON cannot say becomes what comes nearest: bytes that are no UTF-8 the replacement character, a number that is
-- not finite null, any other value its text. A table without elements is `{}`.
local json = {}

local ESCAPES <const> = { ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n",
  ["\r"] = "\\r", ["\t"] = "\\t" }
local DEEPEST <const> = 64

local function escape(char) return ESCAPES[char] or ("\\u%04x"):format(char:byte()) end

-- Text as valid UTF-8.
local function valid(text)
  local parts, at = {}, 1
  while at <= #text do
    local ok, bad = utf8.len(text, at)
    local last = ok and #text or bad - 1
    parts[#parts + 1] = text:sub(at, last)
    if ok then break end
    parts[#parts + 1] = "\u{FFFD}"
    at = bad + 1
  end
  return table.concat(parts)
end

local function quoted(text)
  if not utf8.len(text) then text = valid(text) end
  return '"' .. text:gsub('[%c"\\\127]', escape) .. '"'
end

local function number(value)
  if value ~= value or value == math.huge or value == -math.huge then return "null" end
  return math.type(value) == "integer" and ("%d"):format(value) or ("%.14g"):format(value)
end

local encode

local function object(value, deep)
  local names, parts = {}, {}
  for key in next, value do names[#names + 1] = key end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for i, name in ipairs(names) do parts[i] = quoted(tostring(name)) .. ":" .. encode(value[name], deep) end
  return "{" .. table.concat(parts, ",") .. "}"
end

function encode(value, deep)
  local kind = type(value)
  if kind == "string" then return quoted(value) end
  if kind == "number" then return number(value) end
  if kind == "nil" then return "null" end
  if kind == "boolean" then return tostring(value) end
  if kind ~= "table" or deep > DEEPEST then return quoted(tostring(value)) end
  if rawlen(value) == 0 then return object(value, deep + 1) end
  local parts = {}
  for i = 1, rawlen(value) do parts[i] = encode(rawget(value, i), deep + 1) end
  return "[" .. table.concat(parts, ",") .. "]"
end

--- A value as JSON, on one line; the names of an object are sorted.
---@param value any
---@return string
function json.encode(value) return encode(value, 0) end

return json
