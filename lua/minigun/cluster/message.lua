--- What travels: chunks of items, and what has come of them. All of it is data (docs/wire-format.md); whatever arrives
-- is looked at before it is believed. There is no table for each item.
--
-- A chunk is an array of strings, each an item's bytes. The result of n items is a table
--     each   how many outputs each item has: an array of n integers; 1: each has one
--     out    the outputs' bytes, as the elements of an array of strings, without its head
--     refs   true: some of them contain references
--     more   what else has come of items, in order: an array of { item, outputs before it, kind, ... } with
--                "to", name, bytes        an output for one stage
--                "routed", name, bytes    the same, where a route has chosen the stage
--                "collect", name, bytes   "count", name, number
--                "failed", kind, message, attempts, traceback
--     busy   seconds
-- An item counts from 1, outputs from the first one of the result.
local core = require "minigun.core"
local failure = require "minigun.base.failure"

local message = {}

local ARRAY <const> = ">BI4" -- head of an array of MessagePack: 0xdd, and how many elements it has

--- Strings as the elements of an array, without its head.
---@param list string[]
---@return string bytes
function message.elements(list)
  local n = #list
  return (core.encode(list):sub(n < 16 and 2 or n < 65536 and 4 or 6))
end

--- The array of `n` such elements.
---@param n integer
---@param bytes string
---@return string
function message.array(n, bytes) return ARRAY:pack(0xdd, n) .. bytes end

--- Items as a chunk.
---@param items string[] each encoded
---@return string bytes
function message.chunk(items) return core.encode(items) end

--- How many items a chunk says that it has; no element of it is looked at.
---@param bytes any
---@return integer n 0: it is none
function message.count(bytes)
  local head = type(bytes) == "string" and bytes:byte() or 0
  if head >= 0x90 and head <= 0x9f then return head - 0x90 end
  local format = head == 0xdc and ">I2" or head == 0xdd and ">I4"
  return format and #bytes >= 1 + string.packsize(format) and format:unpack(bytes, 2) or 0
end

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

--- The result of one item that has failed.
---@param failed table `kind`, `message`, `attempts`, `traceback`
---@return string bytes
function message.failed(failed)
  return core.encode { each = { 0 }, out = "", busy = 0,
    more = { { 1, 0, "failed", failed.kind, failed.message, failed.attempts, failed.traceback } } }
end

-- Adds the result of n items to those of the first `items`, which have `outputs` outputs. Returns how many it has.
local function add(whole, part, n, items, outputs)
  local each, added = part.each, 0
  for k = 1, n do
    local m = each == 1 and 1 or each[k]
    whole.each[items + k], added = m, added + m
  end
  for _, one in ipairs(part.more) do
    one[1], one[2] = one[1] + items, one[2] + outputs
    table.insert(whole.more, one)
  end
  table.insert(whole.out, part.out)
  whole.refs, whole.busy = whole.refs or part.refs, whole.busy + part.busy
  return added
end

--- Results of items that follow one another as the result of all.
---@param parts table[] array of { n =, bytes = }, of workers of this host
---@return string bytes
function message.join(parts)
  if not parts[2] then return parts[1].bytes end
  local whole, items, outputs = { each = {}, out = {}, more = {}, busy = 0 }, 0, 0
  for _, part in ipairs(parts) do
    outputs = outputs + add(whole, core.decode(part.bytes), part.n, items, outputs)
    items = items + part.n
  end
  whole.out = table.concat(whole.out)
  return core.encode(whole)
end

-- --- what is looked at --------------------------------------------------------------------------------------------

local function is_count(n) return math.type(n) == "integer" and n >= 0 end

-- How many outputs n items have, at most `most`; nil: `each` does not say.
local function outputs_of(each, n, most)
  if each == 1 then return n end
  if type(each) ~= "table" or #each ~= n then return nil end
  local all = 0
  for k = 1, n do
    if not is_count(each[k]) or each[k] > most - all then return nil end
    all = all + each[k]
  end
  return all
end

-- Decodes the value of an entry of `more`, in its place: whether that can be.
local function decode_value(one)
  if type(one[5]) ~= "string" then return false end
  one[5] = core.decode(one[5])
  return one[5] ~= nil
end

-- From the kind of an entry of `more` to whether the rest of it is right. An output is decoded: its value is in the
-- place of its bytes.
local RIGHT <const> = {
  routed = function(one, _, after)
    one[4] = after[one[4]]
    return one[4] ~= nil and decode_value(one)
  end,
  to = function(one, addresses)
    local ids = addresses[one[4]] -- a text: why the name means nothing
    return (type(ids) == "table" or math.type(ids) == "integer") and decode_value(one)
  end,
  collect = function(one) return type(one[4]) == "string" and decode_value(one) end,
  count = function(one) return type(one[4]) == "string" and type(one[5]) == "number" end,
  failed = function(one)
    return failure.kinds[one[4]] ~= nil and type(one[5]) == "string" and math.type(one[6]) == "integer"
  end,
}

local function is_more(more, n, outputs, addresses, after)
  if type(more) ~= "table" then return false end
  local item, before = 1, 0
  for _, one in ipairs(more) do
    local right = type(one) == "table" and is_count(one[1]) and is_count(one[2]) and RIGHT[one[3]]
    if not (right and one[1] >= item and one[1] <= n and one[2] >= before and one[2] <= outputs) then return false end
    if not right(one, addresses, after) then return false end
    item, before = one[1], one[2]
  end
  return true
end

--- The result of n items.
---@param bytes any
---@param n integer
---@param addresses table names that an output may go to
---@param after table the stages that a route may choose: ids by name
---@return table? result `outputs`: how many there are; of `more` outputs and collected values are decoded
---@return string? problem
function message.result(bytes, n, addresses, after)
  local value = type(bytes) == "string" and core.decode(bytes) or nil
  if type(value) == "table" and type(value.out) == "string" and type(value.busy) == "number" then
    value.outputs = outputs_of(value.each, n, #value.out) -- each output is a byte at least
    if value.outputs and is_more(value.more, n, value.outputs, addresses, after) then return value end
  end
  return nil, "it is no result of this chunk"
end

return message
