--- Adoption: chunks of a job whose submitter has died, for the one that goes on with it. Each of their items belongs to
-- an item that arrives in the new run with the same bytes, before or after the chunk's result; one that does not
-- arrive is no item of the run.
--
-- `orphans` has the items that no item has arrived for yet: by their bytes, as an element of a chunk, an array of
-- { chunk =, k = }. Of a chunk that was adopted `works[k]` is the work of its k-th item, and `results[k]` its result.
local message = require "minigun.cluster.message"

local adoption = {}

--- Adopts a chunk. Of several the last one is to be adopted first, as its items are to be found last.
---@param orphans table
---@param bytes any
---@return table? chunk `works`, `n`, `bytes`, `adopted`; nil: it is none
function adoption.adopt(orphans, bytes)
  local items = message.items(bytes)
  if not items or not items[1] then return nil end
  local chunk = { works = {}, n = #items, bytes = bytes, adopted = true }
  for k = #items, 1, -1 do
    local element = message.elements { items[k] }
    local list = orphans[element] or {}
    orphans[element], list[#list + 1] = list, { chunk = chunk, k = k }
  end
  return chunk
end

--- Gives an item that has arrived to a chunk that has it.
---@param orphans table
---@param own table its work
---@param element string its bytes
---@return boolean found
function adoption.rejoin(orphans, own, element)
  local list = orphans[element]
  local one = list and table.remove(list)
  if not one then return false end
  local chunk = one.chunk
  if not list[1] then orphans[element] = nil end
  if chunk.results then chunk.results[one.k]:settle { own } else chunk.works[one.k] = own end
  return true
end

--- The result of a chunk is there: it is for the items that have arrived, and waits for the others.
---@param chunk table
---@param result table of results.read
function adoption.settle(chunk, result)
  chunk.results = result:split()
  for k, own in pairs(chunk.works) do chunk.results[k]:settle { own } end
end

return adoption
