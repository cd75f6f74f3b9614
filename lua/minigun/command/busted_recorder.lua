-- An output handler of busted's that writes down what it is told, for `minigun busted` to tell it again: one event a
-- line, as a Lua table, into the file that the environment names. It is loaded into the suite's own process, so it uses
-- nothing but Lua and busted. Each line is flushed: what a process has told before it died counts.

local LEFT_OUT <const> = { env = true, run = true, parent = true }
local DEEPEST <const> = 8
local MARK <const> = "\0minigun: the end of a file\0" -- after what a file has printed, on both ways out
local OUTPUTS <const> = { io.stdout, io.stderr }

local function text(value, depth)
  local kind = type(value)
  if kind == "string" then return (("%q"):format(value):gsub("\\\n", "\\n"):gsub("\r", "\\r")) end
  if kind == "number" or kind == "boolean" or kind == "nil" then return ("%q"):format(value) end
  if kind ~= "table" or depth > DEEPEST then return ("%q"):format(tostring(value)) end
  local parts = {}
  for key, each in next, value do
    local plain = type(key) == "string" or math.type(key) == "integer"
    if plain and type(each) ~= "function" and not LEFT_OUT[key] then
      parts[#parts + 1] = ("[%s]=%s"):format(text(key, depth), text(each, depth + 1))
    end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

return function()
  local busted = require "busted"
  local base = require "busted.outputHandlers.base"()
  local file = assert(io.open(os.getenv "MINIGUN_BUSTED", "a"))

  local told = {} -- by element: the fields that are written down already

  -- An element is known by its name in this process; a test's is that of all around it, too. What has changed is
  -- written down; what is in it, lists of other elements, comes with these.
  local function element_text(element)
    local before, copy = told[element] or {}, { __element = tostring(element) }
    for key, value in next, element do
      local is_list = type(value) == "table" and type(value[1]) == "table"
      if before[key] ~= value and not is_list and not LEFT_OUT[key] then copy[key], before[key] = value, value end
    end
    if copy.name and element.descriptor ~= "file" then copy.name = base.getFullName(element) end
    told[element] = before
    return text(copy, 1)
  end

  local function record(channel)
    return function(element, parent, ...)
      local parts = { ("channel=%s,n=%d"):format(text(channel, 1), 2 + select("#", ...)) }
      parts[2] = type(element) == "table" and element_text(element) or "nil"
      parts[3] = type(parent) == "table" and element_text(parent) or "nil"
      for i = 1, select("#", ...) do parts[i + 3] = text((select(i, ...)), 1) end
      file:write("{", table.concat(parts, ","), "}\n")
      file:flush()
      return nil, true
    end
  end

  local handler = {}
  function handler.subscribe()
    for _, channel in ipairs { { "file", "start" }, { "file", "end" }, { "describe", "start" }, { "describe", "end" },
      { "test", "start" }, { "test", "end" }, { "pending" } } do
      busted.subscribe(channel, record(channel))
    end
    for _, kind in ipairs { "failure", "error" } do
      for _, where in ipairs { "it", "file", "describe", "before_each", "after_each", "setup", "teardown", "lazy_setup",
        "lazy_teardown", "strict_setup", "strict_teardown", "suite", "test", "pending", "finally", "helper",
        "output" } do
        busted.subscribe({ kind, where }, record { kind, where })
      end
    end
    busted.subscribe({ "exit" }, record { "exit" })
    busted.subscribe({ "file", "end" }, function()
      for _, out in ipairs(OUTPUTS) do
        if io.type(out) == "file" then out:write(MARK) out:flush() end
      end
      return nil, true
    end)
  end
  return handler
end
