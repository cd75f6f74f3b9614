--- Marks: what stands for an item in a journal. The same for equal items, in every process.
--
-- A mark is of what `dump` hooks have given: a `load` hook may fail in one run and not in the next.
local core = require "minigun.core"

local marks = {}

local DEPTH <const> = 8 -- of tables that a mark looks into

local function hash(value, depth)
  local kind = math.type(value) or type(value)
  if kind == "integer" then return core.crc32c(string.pack("<i8", value)) end
  if kind == "string" then return core.crc32c(value) end
  if kind == "float" then return core.crc32c(string.pack("<d", value)) end
  if kind ~= "table" then return core.crc32c(kind == "boolean" and tostring(value) or kind) end
  local sum = 0
  if depth > 0 then -- the order of fields is not the same in each process
    for key, field in next, value do
      sum = sum + core.crc32c(string.pack("<I4I4", hash(key, depth - 1), hash(field, depth - 1)))
    end
  end
  return core.crc32c(string.pack("<i8", sum))
end

--- The mark of an item as it comes out of a block, without the help of load hooks.
---@param item any
---@return integer
function marks.of(item) return hash(item, DEPTH) end

--- The mark of an item that may not have been in a block yet.
---@param item any
---@return integer? mark nil: it cannot be serialised
function marks.of_new(item)
  local ok, bytes, references = pcall(core.encode, item)
  if not ok then return nil end
  local decoded, value = pcall(core.decode, bytes, references, true)
  return decoded and marks.of(value) or nil
end

return marks
