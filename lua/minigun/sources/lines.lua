--- Lines, other records and rows of CSV, of files and of what is open already: `minigun.lines`, `records` and `csv`.
local failure = require "minigun.base.failure"
local reading = require "minigun.sources.reading"
local schema = require "minigun.base.schema"
local types = require "minigun.base.types"

local lines = {}

local function options_of(kind, given)
  local known = types.schemas[kind]
  return schema.fill(known, schema.check(known, given, "minigun." .. kind))
end

--- See `minigun.lines`.
---@param source any
---@param given table?
---@return minigun.Source source
function lines.new(source, given)
  return reading.of({ what = "minigun.lines", numbered = options_of("lines", given).numbered }, source)
end

--- See `minigun.records`.
---@param source any
---@param given table
---@return minigun.Source source
function lines.records(source, given)
  local own, n = options_of("records", given), 0
  for _, name in ipairs { "separator", "fixed", "length" } do n = n + (own[name] ~= nil and 1 or 0) end
  if n ~= 1 then
    failure.raise(("minigun.records: one of the options separator, fixed and length expected, got %d of them"):format(
      n))
  end
  local order, bytes = (own.length or ""):match "^([<>=]?)I(%d)$"
  local big = order == ">" or order ~= "<" and string.pack("=I2", 1) == "\0\1"
  return reading.of({ what = "minigun.records", numbered = own.numbered, cut = { separator = own.separator,
    fixed = own.fixed, prefix = math.tointeger(tonumber(bytes)), big = big, longest = own.fixed } }, source)
end

--- See `minigun.csv`.
---@param source any
---@param given table?
---@return minigun.Source source
function lines.csv(source, given)
  local own = options_of("csv", given)
  return reading.of({ what = "minigun.csv", header = own.header, cut = { comma = own.separator } }, source)
end

return lines
