--- The blocks of a Lua file, and a copy of it that tells whenever one is entered: a call of the global `minigun_block`
-- with the block's number stands first in each. No line and no hook is changed by that.

local mask = require "spec.mutants.mask"

local M = {}

local OPENS = { ["then"] = true, ["do"] = true, ["repeat"] = true, ["else"] = true }
local CLOSES = { ["end"] = true, ["until"] = true, ["elseif"] = true, ["else"] = true }

-- The end of the parameters of a function whose word ends before i.
local function after_parameters(masked, i) return select(2, masked:find("^[^%(]*%([^%)]*%)", i)) + 1 end

--- @param text string, a Lua file
-- @param first integer, the number of its first block, which is the file itself
-- @return array of { from =, id = }: from that position on, up to the next one's, the block is `id`; ordered
-- @return integer, the number for the next file's first block
function M.find(text, first)
  local masked = mask.mask(text, "lua")
  local list, open, id = { { from = 1, id = first } }, { first }, first
  local function enter(at)
    id = id + 1
    open[#open + 1] = id
    list[#list + 1] = { from = at, id = id, entry = true }
  end
  for from, word, after in masked:gmatch("%f[%w_]()(%l+)()%f[^%w_]") do
    if CLOSES[word] then
      open[#open] = nil
      list[#list + 1] = { from = from, id = open[#open] }
    end
    if OPENS[word] then
      enter(after)
    elseif word == "function" then
      enter(after_parameters(masked, after))
    end
  end
  assert(#open == 1, "the blocks of a file do not close")
  return list, id + 1
end

--- @param text string, a Lua file
-- @param list table, its blocks, from `find`
-- @return string, the file as it is to be run
function M.instrument(text, list)
  local parts = { ("local _at = minigun_block or function() end _at(%d); "):format(list[1].id) }
  local from = 1
  for _, block in ipairs(list) do
    if block.entry then
      parts[#parts + 1] = text:sub(from, block.from - 1)
      parts[#parts + 1] = (" _at(%d);"):format(block.id)
      from = block.from
    end
  end
  parts[#parts + 1] = text:sub(from)
  return table.concat(parts)
end

--- The block that a position is in.
-- @param list table, from `find`
-- @param at integer
-- @return integer
function M.at(list, at)
  local id
  for _, block in ipairs(list) do
    if block.from > at then break end
    id = block.id
  end
  return id
end

return M
