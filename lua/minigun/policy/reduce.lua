--- Reduce: a stream becomes one value. Values in, values out; no process.
--
-- In workers a reduce is cut up: each batch, numbered in the order of arrival, becomes a part, and parts are combined.
-- Only neighbours are combined, so a function that is associative gives what it gives inline.
local stack = require "minigun.base.stack"

local reduce = {}

local Recipe = {}
Recipe.__index = Recipe

-- Seconds of work that one batch should be at least and at most, and the part of the coordinator's time that combining
-- may take.
local BATCH_SECONDS <const>, BATCH_MOST <const> = 0.002, 0.1
local COMBINING <const> = 1 / 8
local NEWEST <const> = 0.2 -- weight of the newest measurement in a running mean
local MOST_ITEMS <const> = 65535

local function copy(value, copies)
  if type(value) ~= "table" then return value end
  if copies[value] then return copies[value] end
  local own = {}
  copies[value] = own
  for key, field in next, value do own[copy(key, copies)] = copy(field, copies) end
  return setmetatable(own, debug.getmetatable(value))
end

--- Makes the recipe of a reduce.
---@param definition table `init`, `combine`, `at`, `name`
---@param f function `function(value, item) -> value`
---@return table recipe
--- `start()`: a fresh initial value; `f`; `combine(value, value)`; `nothing(what)`: raises, as no value came back;
--- `seeded`: a part begins with the initial value, not with its first item; `first` and `handler` below
function reduce.new(definition, f)
  local init, g = definition.init, definition.combine
  local recipe = setmetatable({ f = f, seeded = g ~= nil, at = definition.at }, Recipe)
  function recipe.nothing(what)
    error(("%s: stage '%s': %s returned nil, which is no value to go on with"):format(definition.at, definition.name,
      what), 0)
  end
  function recipe.combine(a, b)
    local value = (g or f)(a, b)
    if value == nil then recipe.nothing(g and "the function given as 'combine'" or "the function") end
    return value
  end
  function recipe.start()
    if type(init) ~= "function" then return copy(init, {}) end
    local value = init()
    if value == nil then recipe.nothing "the function that makes the initial value" end
    return value
  end
  return recipe
end

--- The handler of workers: it makes a part of a batch, a pair of number and items.
---@param step function (i): the item in work is now the i-th of the batch, or none (0)
---@param now function () -> seconds
---@return function handler emits `{ number, part, items, seconds of the batch }`
function Recipe:handler(step, now)
  local f = self.f
  return stack.stands_for(function(batch, emit)
    local items, began = batch[2], now()
    if #items == 0 then return emit { batch[1], nil, 0, 0 } end -- none could be had
    local value = items[1]
    if self.seeded then value = self.start() end
    for i = self.seeded and 1 or 2, #items do
      step(i)
      value = f(value, items[i])
      if value == nil then self.nothing "the function" end
    end
    step(0)
    emit { batch[1], value, #items, now() - began }
  end, self.at)
end

--- What the first item of a part gives, where items are folded one by one.
---@param item any
---@return any value
function Recipe:first(item)
  if not self.seeded then return item end
  local value = self.f(self.start(), item)
  if value == nil then self.nothing "the function" end
  return value
end

local Parts = {}
Parts.__index = Parts

--- Makes what combines parts, and knows how large batches should be.
---@param recipe table
---@param workers integer
---@param clock function () -> seconds of processor time
---@return table parts
function reduce.of_parts(recipe, workers, clock)
  return setmetatable({ recipe = recipe, workers = workers, clock = clock, first = {}, last = {}, seconds = nil,
    cost = 0 }, Parts)
end

local function mean(before, value)
  return before and before + NEWEST * (value - before) or value
end

--- Takes a part, and combines it with its neighbours.
---@param part table as a worker emits it
function Parts:add(part)
  local number, value, began = part[1], part[2], self.clock()
  local before, after = self.last[number - 1], self.first[number + 1]
  local function combine(a, b) -- nil: no item of theirs could be had
    if a == nil then return b end
    if b == nil then return a end
    return self.recipe.combine(a, b)
  end
  if before then value = combine(before.value, value) end
  if after then value = combine(value, after.value) end
  local run = { first = before and before.first or number, last = after and after.last or number, value = value }
  if before then self.last[before.last] = nil end
  if after then self.first[after.first] = nil end
  self.first[run.first], self.last[run.last] = run, run
  local calls = self.recipe.seeded and part[3] or part[3] - 1 -- of the user's function
  if calls > 0 and part[4] > 0 then self.seconds = mean(self.seconds, part[4] / calls) end
  self.cost = mean(self.cost, self.clock() - began)
end

--- How many items a batch should have.
---@return integer
function Parts:size()
  if not self.seconds then return self.recipe.seeded and 1 or 2 end
  local batch = math.min(BATCH_MOST, math.max(BATCH_SECONDS, self.cost * self.workers / COMBINING))
  return math.min(MOST_ITEMS, math.max(1, batch / math.max(self.seconds, 1e-9) // 1 | 0))
end

--- The values that have not been combined yet, as parts between them are missing.
---@return table array in order
function Parts:values()
  local runs, values = {}, {}
  for _, run in pairs(self.first) do runs[#runs + 1] = run end
  table.sort(runs, function(a, b) return a.first < b.first end)
  for _, run in ipairs(runs) do values[#values + 1] = run.value end
  return values
end

--- The value of the whole; once, at the end.
---@return any value
function Parts:finish()
  local recipe, values = self.recipe, self:values()
  if not recipe.seeded or #values == 0 then table.insert(values, 1, recipe.start()) end
  local value = values[1]
  for i = 2, #values do value = recipe.combine(value, values[i]) end
  return value
end

local Items = {}
Items.__index = Items

--- Makes what takes items one after the other, where they need not be cut up.
---@param recipe table
---@return table items with `add(item)`, `values()`, `finish()` as above
function reduce.of_items(recipe)
  return setmetatable({ recipe = recipe, value = nil }, Items)
end

--- Takes an item.
---@param item any
function Items:add(item)
  if self.value == nil then self.value = self.recipe.start() end
  local value = self.recipe.f(self.value, item)
  if value == nil then self.recipe.nothing "the function" end
  self.value = value
end

--- What there is.
---@return table array
function Items:values() return { self.value } end

--- The value of the whole.
---@return any value
function Items:finish()
  if self.value == nil then return self.recipe.start() end
  return self.value
end

return reduce
