--- What travels: chunks of items, and what has come of them. All of it is data (docs/wire-format.md); whatever arrives
-- is looked at before it is believed.
--
-- A chunk is an array of strings, each an item's bytes. A result is an array with a table for each item, in order:
--     { out = { { to = name or nil, bytes = an item's bytes }, ... }, said = { { kind, name, value }, ... },
--       busy = seconds }
-- or { failed = { kind =, message =, traceback =, attempts = } }.
local core = require "minigun.core"
local failure = require "minigun.base.failure"

local message = {}

--- Items as a chunk.
---@param items string[] each encoded
---@return string bytes
function message.chunk(items) return core.encode(items) end

local function array_of_strings(value)
  if type(value) ~= "table" then return false end
  for i = 1, #value do
    if type(value[i]) ~= "string" then return false end
  end
  return next(value, #value > 0 and #value or nil) == nil
end

--- The items of a chunk.
---@param bytes any
---@return string[]? items each encoded
---@return string? problem
function message.items(bytes)
  local value = type(bytes) == "string" and core.decode(bytes) or nil
  if not array_of_strings(value) then return nil, "it is no chunk of items" end
  return value
end

-- Also decodes it: `value`.
local function is_output(each, addresses)
  if type(each) ~= "table" or type(each.bytes) ~= "string" then return false end
  local ids = addresses[each.to] -- a text: why the name means nothing
  if each.to ~= nil and type(ids) ~= "table" and math.type(ids) ~= "integer" then return false end
  each.value = core.decode(each.bytes)
  return each.value ~= nil
end

local function is_said(each)
  if type(each) ~= "table" or type(each[2]) ~= "string" then return false end
  return each[1] == "collect" and each[3] ~= nil or each[1] == "count" and type(each[3]) == "number"
end

local function all(list, check, addresses)
  if type(list) ~= "table" then return false end
  for i = 1, #list do
    if not check(list[i], addresses) then return false end
  end
  return true
end

local function is_answer(answer, addresses)
  if type(answer) ~= "table" then return false end
  local failed = answer.failed
  if failed ~= nil then
    return type(failed) == "table" and failure.kinds[failed.kind] ~= nil and type(failed.message) == "string" and
      math.type(failed.attempts) == "integer"
  end
  return all(answer.out, is_output, addresses) and all(answer.said, is_said) and type(answer.busy) == "number"
end

--- What has come of a chunk of n items.
---@param bytes any
---@param n integer
---@param addresses table names that an output may go to
---@return table[]? answers each output with its `value`
---@return string? problem
function message.answers(bytes, n, addresses)
  local value = type(bytes) == "string" and core.decode(bytes) or nil
  if not all(value, is_answer, addresses) or #value ~= n then return nil, "it is no result of this chunk" end
  return value
end

return message
