--- The definition of a reduce stage: what the arguments of `reduce` mean.
local failure = require "minigun.base.failure"
local options = require "minigun.language.schemas"

local reduce = {}

-- A string that could be a name, and a function: the initial value is more likely forgotten than such a string.
local function refuse_name_alone(rest)
  local first <const> = rest[1]
  local is_name = type(first) == "string" and first:find "^[%a_][%w_ -]*$"
  if not is_name or not options.is_callable(rest[2]) or rest[3] ~= nil and type(rest[3]) ~= "table" then return end
  local text = failure.show(first)
  failure.raise(("reduce: with %s and a function the initial value is missing: reduce(%s, 0, f), say; where that " ..
    "text is the initial value, put a name in front: reduce(\"name\", %s, f)"):format(text, text, text))
end

--- Sorts out the arguments of `reduce`: `([name,] init, f [, options])`, or of its replacement `(name, options)`.
---@param ... any
---@return table parsed as from `stage.arguments`, with `init`
function reduce.arguments(...)
  local rest = table.pack(...)
  local function is_function(value) return options.is_callable(value) or type(value) == "string" end
  local parsed = {}
  refuse_name_alone(rest)
  -- A string in front is the name, unless it can only be the initial value.
  if type(rest[1]) == "string" and not (options.is_callable(rest[2]) and not is_function(rest[3])) then
    parsed.name = rest[1]
    table.move(rest, 2, rest.n + 1, 1) -- one of the others may be nil
    rest.n = rest.n - 1
  end
  if rest.n == 1 and type(rest[1]) == "table" then
    return { name = parsed.name, options = rest[1], rest = { n = 0 } }
  end
  for i = 4, rest.n do
    if rest[i] ~= nil then
      failure.raise(("reduce: unexpected argument: %s; the order is name, initial value, function, options"):format(
        options.got(rest[i])))
    end
  end
  if rest[3] ~= nil and type(rest[3]) ~= "table" then
    failure.raise(("reduce: options must be a table, got %s; the order is name, initial value, function, options")
      :format(options.got(rest[3])))
  end
  if options.are_options(rest[1], options.schemas.reduce) then
    failure.raise(("reduce: a table of options, %s, stands where the initial value should; the order is name, " ..
      "initial value, function, options"):format(failure.show(rest[1])))
  end
  parsed.init, parsed.options, parsed.rest = rest[1], rest[3], { rest[2], n = rest[2] ~= nil and 1 or 0 }
  if parsed.init == nil then
    failure.raise "reduce: an initial value expected, got nil; it is what comes out where there is no item"
  end
  return parsed
end

return reduce
