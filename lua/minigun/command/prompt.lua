--- Makes a prompt of lua into that of `minigun repl`: shows what values hold, completes names, remembers lines. It is
-- loaded by the interpreter of the prompt.
_G.minigun = require "minigun"

local DEEPEST <const>, MOST <const> = 3, 40 -- levels, and fields of a table, that are shown

local function key_text(key)
  if type(key) == "string" and key:find "^[%a_][%w_]*$" then return key end
  return "[" .. (type(key) == "string" and ("%q"):format(key) or tostring(key)) .. "]"
end

local show

local function fields_of(value, depth, seen)
  local parts, n = {}, 0
  for i = 1, math.min(#value, MOST) do parts[i] = show(value[i], depth + 1, seen) end
  for key, each in next, value do
    local listed = math.type(key) == "integer" and key >= 1 and key <= #value
    if not listed and n < MOST then
      n = n + 1
      parts[#parts + 1] = key_text(key) .. " = " .. show(each, depth + 1, seen)
    elseif n >= MOST then
      break
    end
  end
  if #value > MOST or n >= MOST then parts[#parts + 1] = "..." end
  return parts
end

-- A value as one would write it; objects with a text of their own as that.
function show(value, depth, seen)
  if type(value) == "string" then return depth > 0 and ("%q"):format(value) or value end
  local meta = debug.getmetatable(value)
  if type(value) ~= "table" or meta and (meta.__tostring or meta.__name) then return tostring(value) end
  if seen[value] or depth >= DEEPEST then return "{...}" end
  seen[value] = true
  local text = "{ " .. table.concat(fields_of(value, depth, seen), ", ") .. " }"
  seen[value] = nil
  return text == "{  }" and "{}" or text
end

-- The prompt prints results with `print`; the program's own prints go through it too, and strings stay as they are.
local print = print
function _G.print(...)
  local values = table.pack(...)
  for i = 1, values.n do values[i] = show(values[i], 0, {}) end
  return print(table.unpack(values, 1, values.n))
end

-- The names that may follow a text such as "minigun.ma" or "p:pro".
local function completions(text)
  local path, mark, part = text:match "^(.-)([.:]?)([%w_]*)$"
  local value = _G
  for name in path:gmatch "[%w_]+" do value = type(value) == "table" and rawget(value, name) or nil end
  local names, meta = {}, debug.getmetatable(value)
  for _, each in ipairs { value or false, type(meta) == "table" and meta or false } do
    for name in next, type(each) == "table" and each or {} do
      if type(name) == "string" and name:sub(1, #part) == part and name:find "^%a" then
        names[#names + 1] = path .. mark .. name
      end
    end
  end
  table.sort(names)
  return names
end

-- The interpreter and lua-readline share the one library of readline that is loaded.
local found, readline = pcall(require, "readline")
if found then
  local home = os.getenv "XDG_STATE_HOME" or os.getenv "HOME" or ""
  readline.set_options { histfile = home .. "/.minigun_history", keeplines = 1000, completion = true }
  readline.set_complete_function(function(line, from, to) return completions(line:sub(from, to)) end)
  readline.at_end = setmetatable({}, { __gc = readline.save_history })
end

return { completions = completions, show = show }
