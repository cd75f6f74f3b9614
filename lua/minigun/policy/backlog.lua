--- The backlog: items that were submitted and are not begun, in the order in which they are to be: those of a higher
-- priority first, among equals the oldest. Values in, values out.
--
-- Each item has a number, higher than those before it, so the numbers of a queue are sorted. One that is taken out
-- leaves a hole: its number, negative. Holes go when they are at the head, and when there are more of them than items:
-- so the memory of a backlog is that of its items.
local backlog = {}

local HOLES <const> = 64 -- that a queue may have whatever else is in it

local Backlog = {}
Backlog.__index = Backlog

--- Makes an empty backlog.
---@return table backlog `n`: items in it
function backlog.new()
  return setmetatable({ n = 0, lines = {}, order = {} }, Backlog)
end

-- The queue of a priority. `order` has all queues, the highest priority first.
local function line_of(self, priority)
  local line = self.lines[priority]
  if line then return line end
  line = { priority = priority, numbers = {}, items = {}, first = 1, last = 0, holes = 0 }
  self.lines[priority] = line
  local at = #self.order + 1
  while at > 1 and self.order[at - 1].priority < priority do at = at - 1 end
  table.insert(self.order, at, line)
  return line
end

--- Adds an item.
---@param number integer higher than those before
---@param item any
---@param priority number
function Backlog:push(number, item, priority)
  local line = line_of(self, priority)
  local last = line.last + 1
  line.last, line.numbers[last], line.items[last] = last, number, item
  self.n = self.n + 1
end

-- Drops holes at the head, and a queue that is empty, so that its tables do not keep their size.
local function tidy(self, at, line)
  while line.first <= line.last and line.numbers[line.first] < 0 do
    line.numbers[line.first], line.items[line.first] = nil, nil
    line.first, line.holes = line.first + 1, line.holes - 1
  end
  if line.first > line.last then
    table.remove(self.order, at)
    self.lines[line.priority] = nil
  end
end

--- Takes the item to be begun next.
---@return integer? number nil: there is none
---@return any item
function Backlog:pop()
  local line = self.order[1]
  if not line then return nil end
  local first = line.first
  local number, item = line.numbers[first], line.items[first]
  line.numbers[first], line.items[first], line.first = nil, nil, first + 1
  self.n = self.n - 1
  if line.holes > 0 or first == line.last then tidy(self, 1, line) end
  return number, item
end

local function close_holes(line)
  local numbers, items, n = {}, {}, 0
  for i = line.first, line.last do
    if line.numbers[i] > 0 then
      n = n + 1
      numbers[n], items[n] = line.numbers[i], line.items[i]
    end
  end
  line.numbers, line.items, line.first, line.last, line.holes = numbers, items, 1, n, 0
end

-- Where a number is in a queue, or would be.
local function find(line, number)
  local low, high, numbers = line.first, line.last, line.numbers
  while low < high do
    local middle = (low + high) // 2
    if math.abs(numbers[middle]) < number then low = middle + 1 else high = middle end
  end
  return low
end

--- Takes an item out.
---@param number integer
---@return boolean found
function Backlog:remove(number)
  for at, line in ipairs(self.order) do
    local i = find(line, number)
    if line.numbers[i] == number then
      line.numbers[i], line.items[i] = -number, false
      line.holes, self.n = line.holes + 1, self.n - 1
      tidy(self, at, line)
      if line.holes > HOLES and line.holes > (line.last - line.first + 1) // 2 then close_holes(line) end
      return true
    end
  end
  return false
end

return backlog
