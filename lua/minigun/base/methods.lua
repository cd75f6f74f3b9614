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

local described = setmetatable({}, { __mode = "k" }) -- from a class to what it is, and the fields that may be nil

--- What an object of a class has not: raises, at the user's line, where it is nearly a method.
---@param class table given to `suggest`
---@param key any
function methods.check(class, key)
  local of = described[class]
  if type(key) ~= "string" or of.fields[key] then return end
  local nearest = schema.suggest(key, names_of(class))
  if nearest then failure.raise(("%s has no method '%s' (did you mean '%s'?)"):format(of.what, key, nearest)) end
end

--- Has a misspelt method of a class raise, with the name that was meant. What the library itself looks for and does not
--- find is a field that is nil.
---@param class table the `__index` of its objects too
---@param what string for the message: "a loop"
---@param names string[]? of further fields that may be nil
function methods.suggest(class, what, names)
  local fields = {}
  for _, name in ipairs(names or {}) do fields[name] = true end
  described[class] = { what = what, fields = fields }
  setmetatable(class, { __index = function(_, key)
    if fields[key] then return nil end
    local asking = getinfo(2, "S")
    if stack.is_library(asking.source) then fields[key] = true
    elseif asking.what ~= "C" then methods.check(class, key) end
    return nil
  end })
end

return methods
