--- What travels: chunks of items, and what has come of them. All of it is data (docs/wire-format.md); whatever arrives
-- is looked at before it is believed.
--
-- A chunk is an array of strings, each an item's bytes. A result is an array with a table for each item, in order:
--     { out = { { to = name or nil, bytes = an item's bytes }, ... }, said = { { kind, name, value }, ... },
--       busy = seconds }
-- or { failed = { kind =, message =, traceback =, attempts = } }.
local core = require "minigun.core"

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

local function is_output(each)
  return type(each) == "table" and type(each.bytes) == "string" and (each.to == nil or type(each.to) == "string")
end

local function is_said(each)
  return type(each) == "table" and type(each[1]) == "string" and each[2] ~= nil
end

local function all(list, check)
  if type(list) ~= "table" then return false end
  for i = 1, #list do
    if not check(list[i]) then return false end
  end
  return true
end

local function is_answer(answer)
  if type(answer) ~= "table" then return false end
  local failed = answer.failed
  if failed ~= nil then
    return type(failed) == "table" and type(failed.kind) == "string" and type(failed.message) == "string" and
      math.type(failed.attempts) == "integer"
  end
  return all(answer.out, is_output) and all(answer.said, is_said) and type(answer.busy) == "number"
end

--- What has come of a chunk of n items.
---@param bytes any
---@param n integer
---@return table[]? answers
---@return string? problem
function message.answers(bytes, n)
  local value = type(bytes) == "string" and core.decode(bytes) or nil
  if not all(value, is_answer) or #value ~= n then return nil, "it is no result of this chunk" end
  return value
end

return message
