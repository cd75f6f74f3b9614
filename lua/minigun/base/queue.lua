--- A queue: what is pushed first is taken first. Values in, values out.
local queue = {}

local Queue = {}
Queue.__index = Queue

--- Makes an empty queue.
---@return table queue
function queue.new()
  return setmetatable({ head = 1, tail = 0 }, Queue)
end

--- Adds a value.
---@param value any not nil
function Queue:push(value)
  self.tail = self.tail + 1
  self[self.tail] = value
end

--- The value to be taken next.
---@return any value nil: the queue is empty
function Queue:first()
  return self[self.head]
end

--- Takes the next value.
---@return any value
function Queue:pop()
  local value = self[self.head]
  self[self.head] = nil
  self.head = self.head + 1
  return value
end

return queue
