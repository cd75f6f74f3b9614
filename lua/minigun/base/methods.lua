--- Classes whose objects a user meets: a method that is not there, but nearly, is an error at the user's line.
local failure = require "minigun.base.failure"
local schema = require "minigun.base.schema"
local stack = require "minigun.base.stack"

local getinfo <const> = debug.getinfo

local methods = {}

local function names_of(class)
  local names = {}
  for name in next, class do
    if type(name) == "string" and name:find "^%l" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- Has a misspelt method of a class raise, with the name that was meant. What the library itself looks for and does not
--- find is a field that is nil.
---@param class table the `__index` of its objects too
---@param what string for the message: "a loop"
---@param fields string[]? further fields that may be nil
function methods.suggest(class, what, fields)
  local known = {} -- names of fields
  for _, name in ipairs(fields or {}) do known[name] = true end
  setmetatable(class, { __index = function(_, key)
    if type(key) ~= "string" or known[key] then return nil end
    local asking = getinfo(2, "S")
    if stack.is_library(asking.source) then
      known[key] = true
    elseif asking.what ~= "C" then
      local nearest = schema.suggest(key, names_of(class))
      if nearest then failure.raise(("%s has no method '%s' (did you mean '%s'?)"):format(what, key, nearest)) end
    end
    return nil
  end })
end

return methods
