--- Work: what a stage has accepted and not finished, described in a table. The work itself is in the ledger, which
-- gives it a number (src/core/ledger.h): `ledger:enter` takes a description, `ledger:read` gives one.
--
-- A piece of work is one Lua value, items as bytes, or the end of a loop stage's input:
--     stage     number of the stage that it is for
--     count     how many items it holds
--     attempt   1 for the first; 0: the end of a loop's input, which has no item
--     value     the item, where it is a Lua value of the coordinator
--     block, offset, length (bytes), only (edge of the records that are meant)     the items, where they are bytes; the
--               work holds one reference to the block. Of a value `length` is what it may take in memory. Of a piece
--               (protocol.PIECE) `only` is what differs between its parts: offset and length are those of its record
--     lane      number of the one worker that may have it (partition); nil: any may
--     first     ordinal of its first item, in the order of arrival at the place where the stage runs
--     origin, is_source      what it has come of, in a run with a journal
-- of a further attempt:
--     again     true: a further attempt at the item `first`, or at a part of it
--     tried     of a batch of a reduce: attempts by place of the item
-- and of what `ledger:read` gives:
--     id        its number
--     finished  items of it that a worker has finished; `number`: of the chunk that it has become
--     death     of the worker that had it, with the failure's `record`, where it cost one
local work = {}

--- One Lua value.
---@param stage integer
---@param value any
---@param lane integer?
---@return table work
function work.of_value(stage, value, lane)
  return { stage = stage, count = 1, attempt = 1, value = value, lane = lane }
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
  return { stage = stage, count = count, attempt = 1, block = block, offset = offset, length = length, only = only }
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

return work
