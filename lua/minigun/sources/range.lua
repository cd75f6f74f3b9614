--- Ranges of numbers, and the paths of files: `minigun.range` and `minigun.files`.
local failure = require "minigun.base.failure"
local glob = require "minigun.sources.glob"
local reading = require "minigun.sources.reading"

local range = {}

local function integer(value, name)
  local number = type(value) == "number" and math.tointeger(value)
  if not number then
    failure.raise(("minigun.range: %s must be an integer, got %s"):format(name, failure.show(value)))
  end
  return number
end

--- See `minigun.range`.
---@param first integer
---@param last integer
---@param step integer?
---@return minigun.Source source
function range.new(first, last, step)
  first, last, step = integer(first, "first"), integer(last, "last"), integer(step == nil and 1 or step, "step")
  if step == 0 then failure.raise "minigun.range: step must not be 0" end
  local count = 0
  if step > 0 and first <= last or step < 0 and first >= last then
    local far, by = step > 0 and last - first or first - last, step > 0 and step or -step
    if far < 0 or far == math.maxinteger or by < 0 then
      failure.raise "minigun.range: first and last are further apart than an integer can count; make it two ranges"
    end
    count = far // by + 1
  end
  return reading.new { what = "minigun.range", name = ("%d, %d, %d"):format(first, last, step), first = first,
    step = step, count = count }
end

--- See `minigun.files`.
---@param given string|string[]
---@return minigun.Source source
function range.files(given)
  local patterns = type(given) == "string" and { given } or given
  if type(patterns) ~= "table" or getmetatable(patterns) ~= nil or patterns[1] == nil then
    failure.raise(("minigun.files: a pattern of paths, or an array of patterns, expected, got %s"):format(
      failure.show(given)))
  end
  patterns = table.move(patterns, 1, #patterns, 1, {})
  for _, pattern in ipairs(patterns) do
    if type(pattern) ~= "string" or pattern == "" or pattern:find "\0" then
      failure.raise(("minigun.files: a pattern of paths expected, got %s"):format(failure.show(pattern)))
    elseif pattern:find("**", 1, true) then
      failure.raise(("minigun.files: '%s': ** is not known; give a pattern for each depth, or use find by " ..
        "minigun.command"):format(pattern))
    end
  end
  return reading.new { what = "minigun.files", name = table.concat(patterns, ", "), list = function()
    local list = {}
    for _, pattern in ipairs(patterns) do glob.add(list, pattern) end
    return list
  end }
end

return range
