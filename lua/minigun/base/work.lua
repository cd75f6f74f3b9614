--- Work: what a stage has accepted and not finished, as records. Values in, values out.
--
-- A piece of work is one Lua value, items as bytes, or the end of a loop stage's input:
--     stage     number of the stage that it is for
--     count     how many items it holds
--     attempt   1 for the first; 0: the end of a loop's input, which has no item
--     value     the item, where it is a Lua value of the coordinator
--     block, offset, length (bytes), only (edge of the records that are meant)     the items, where they are bytes; the
--               work holds one reference to the block. Of a value `length` is what it may take in memory
--     lane      number of the one worker that may have it (partition); nil: any may
--     first     ordinal of its first item, in the order of arrival at the place where the stage runs
--     origin, is_source      what it has come of, in a run with a journal
-- and, of a further attempt or of what was in a worker's hands before:
--     again     true: a further attempt at the item `first`, or at a part of it
--     tried     of a batch of a reduce: attempts by place of the item
--     death     of the worker that had it, with the failure's `record`, where it cost one
--     returned  true: taken back from a worker that was overdue
-- `finished` (items) and `busy` (seconds) belong to the worker that has it in hand, `came` to a queue of many stages.
--
-- Fields that come later are named in the constructors too: a table that has to grow is made twice.
local work = {}

--- One Lua value.
---@param stage integer
---@param value any
---@param lane integer?
---@return table work
function work.of_value(stage, value, lane)
  return { stage = stage, count = 1, attempt = 1, value = value, lane = lane, length = nil, first = nil, origin = nil }
end

--- Items as bytes, with the caller's reference to the block.
---@param stage integer? nil: it is not known yet
---@param block integer
---@param offset integer bytes
---@param length integer bytes
---@param count integer items
---@param only integer edge of the records that are meant, or protocol.ANY
---@return table work
function work.of_bytes(stage, block, offset, length, count, only)
  return { stage = stage, count = count, attempt = 1, block = block, offset = offset, length = length, only = only,
    lane = nil, first = nil, origin = nil }
end

--- The end of the input of a stage's loop, for one worker.
---@param stage integer
---@param lane integer
---@param first integer its ordinal, as it comes after all items before it
---@return table work
function work.of_end(stage, lane, first)
  return { stage = stage, count = 1, attempt = 0, lane = lane, first = first }
end

--- Makes work the further attempt at an item that was there before, or at a part of it.
---@param own table
---@param first integer the item's ordinal
---@param lane integer?
---@return table own
function work.repeats(own, first, lane)
  own.first, own.lane, own.again = first, lane, true
  return own
end

--- A part of what is bytes, as work of its own without a reference; what it is a part of stays as it is.
---@param whole table
---@param passed integer items before the part
---@param count integer items of the part
---@param offset integer bytes
---@param length integer bytes
---@return table part
function work.part(whole, passed, count, offset, length)
  return { stage = whole.stage, count = count, attempt = whole.attempt, block = whole.block, offset = offset,
    length = length, only = whole.only, value = whole.value, lane = whole.lane,
    first = whole.first and whole.first + passed, again = whole.again, death = whole.death,
    tried = count == whole.count and whole.tried or nil, origin = whole.origin, is_source = whole.is_source }
end

--- Cuts off the first items of what is bytes; the rest stays.
---@param whole table
---@param count integer items to cut off, fewer than all
---@param at integer offset after the last of them
---@return table part without a reference
function work.cut(whole, count, at)
  local part = work.part(whole, 0, count, whole.offset, at - whole.offset)
  whole.length, whole.offset, whole.count = whole.length - part.length, at, whole.count - count
  whole.first = whole.first and whole.first + count
  return part
end

--- Cuts off the last items of what is bytes; those before them stay.
---@param whole table
---@param count integer items to cut off, fewer than all
---@param offset integer of the first of them
---@param length integer bytes
---@return table rest without a reference
function work.cut_end(whole, count, offset, length)
  local rest = work.part(whole, whole.count - count, count, offset, length)
  whole.count, whole.length = whole.count - count, whole.length - length
  return rest
end

return work
