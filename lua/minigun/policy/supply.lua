--- Supply: how large the blocks are that a worker is lent for its output, and how many. Numbers in, numbers out.
local supply = {}

local STORE <const> = 2 -- empty blocks that a worker has in store
local SMALL <const> = 64 -- ranges in a row that would have fitted a quarter of a block, before blocks become smaller

local Sizes = {}
Sizes.__index = Sizes

--- Makes what knows the size of blocks.
---@param least integer bytes of the smallest
---@return table sizes `bytes`: of the next block
function supply.sizes(least) return setmetatable({ bytes = least, least = least, small = 0 }, Sizes) end

--- A worker waits for a block of at least this size: more items of this size may follow.
---@param bytes integer
function Sizes:needed(bytes)
  if bytes > self.bytes then self.bytes, self.small = bytes, 0 end
end

--- A worker has committed a range: when large items have ceased, blocks become smaller again.
---@param bytes integer
function Sizes:used(bytes)
  if self.bytes == self.least then return end
  self.small = bytes * 4 < self.bytes and self.small + 1 or 0
  if self.small > SMALL then self.bytes, self.small = math.max(self.least, self.bytes // 2), 0 end
end

--- Whether a worker has as many empty blocks as it should.
---@param empty integer blocks
---@param singly boolean? each item is to wait for room, so none is in store
---@return boolean
function supply.enough(empty, singly) return empty >= (singly and 0 or STORE) end

return supply
