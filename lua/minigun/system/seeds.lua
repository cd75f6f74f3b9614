--- Seeds: `run { seed = n }`, with which each item finds the same numbers in `math.random` in every run.
--
-- Which worker takes an item, and what it has taken before, must not matter. So the generator is set anew for each call
-- of a handler, from the seed, the stage's name and the item's contents. Contents, as that is what all contexts and all
-- runs have in common: after the first pool nothing knows an item's place in the stream. So equal items get equal
-- numbers, and a further attempt gets those of the first. A producer has one sequence from its begin to its end.
--
-- In one process several handlers may be under way: those that a producer's emit calls, threads, loops that wait. Each
-- has a generator of its own, as its state is put aside with `swap` while another one runs.
local core = require "minigun.core"

local seeds = {}

local random <const>, randomseed <const> = math.random, math.randomseed
local DEPTH <const> = 16 -- of what is looked at in an item; what lies deeper counts as equal

-- Spreads the bits of an integer (the finalizer of SplitMix64).
local function mix(n)
  n = (n ~ n >> 30) * 0xbf58476d1ce4e5b9
  n = (n ~ n >> 27) * 0x94d049bb133111eb
  return n ~ n >> 31
end

local number_of
local kinds <const> = {}

function kinds.string(text) return mix((core.crc32c(text) << 32 | #text) ~ 0x5bd1e9955bd1e995) end

function kinds.number(value)
  local whole = math.tointeger(value)
  if whole then return mix(whole + 1) end
  return mix(~string.unpack("<i8", string.pack("<d", value)))
end

function kinds.boolean(value) return value and 3 or 5 end

-- The order of a table's keys differs from process to process, so it must not count.
function kinds.table(value, open, depth)
  if open[value] or depth == DEPTH then return 7 end
  open[value] = true
  local sum = 0
  for key, each in next, value do
    sum = sum + mix(number_of(key, open, depth + 1) * 31 + number_of(each, open, depth + 1))
  end
  open[value] = nil
  return mix(sum + 11)
end

function number_of(value, open, depth)
  local kind = kinds[type(value)]
  return kind and kind(value, open, depth) or 13
end

--- A number of 64 bits that stands for what a value contains: the same in every process and every run.
---@param value any
---@return integer
function seeds.number_of(value) return number_of(value, {}, 0) end

--- Sets the generator of `math.random` to what another handler has left, and tells what it was.
---@param state string? nil: it stays
---@return string? state nil: this Lua has a generator of another kind
function seeds.swap(state) return core.random_state(random, state) end

-- When a handler is left the generator is its caller's again, also by an error.
local function hold()
  local before = seeds.swap()
  return setmetatable({}, { __close = function() seeds.swap(before) end })
end

local function of_items(handler, key)
  return function(item, emit, ctx)
    local _ <close> = hold()
    randomseed(key, seeds.number_of(item))
    local returned = handler(item, emit, ctx)
    return returned
  end
end

local function of_loop(handler, key)
  return function(input, emit, ctx)
    local before = seeds.swap()
    handler(function()
      seeds.swap(before)
      local item = input()
      before = seeds.swap()
      randomseed(key, item == nil and 0 or seeds.number_of(item))
      return item
    end, emit, ctx)
    seeds.swap(before)
  end
end

local function of_producer(handler, key)
  return function(emit, ctx)
    randomseed(key, 0)
    return handler(emit, ctx)
  end
end

--- Lets every handler of a plan find the generator as the seed says.
---@param plan table
---@param seed integer
function seeds.sow(plan, seed)
  for _, stage in ipairs(plan.stages) do
    local handler, key = stage.handler, mix(seed) ~ seeds.number_of(stage.name)
    local with = stage.loop and of_loop or stage.kind == "producer" and of_producer or of_items
    if handler then stage.handler = with(handler, key) end
  end
end

return seeds
