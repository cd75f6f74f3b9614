--- A queue of work that can be put back in front. Values in, values out.
local queue = {}

local Queue = {}
Queue.__index = Queue

--- Makes an empty queue.
---@return table queue
function queue.new()
  return setmetatable({ head = 1, tail = 0 }, Queue)
end

--- Adds work, first to be taken or last.
---@param work any
---@param in_front boolean?
function Queue:push(work, in_front)
  if in_front then
    self.head = self.head - 1
    self[self.head] = work
  else
    self.tail = self.tail + 1
    self[self.tail] = work
  end
end

--- Puts work back to its place; its pieces are sorted by `first`, and it is one of the oldest.
---@param work table
function Queue:insert(work)
  self.head = self.head - 1
  local at = self.head
  while self[at + 1] and self[at + 1].first < work.first do
    self[at], at = self[at + 1], at + 1
  end
  self[at] = work
end

--- The piece of work to be taken first.
---@return any work nil: the queue is empty
function Queue:first()
  return self[self.head]
end

--- How many pieces of work there are.
---@return integer
function Queue:count()
  return self.tail - self.head + 1
end

--- How many items of a stage its work holds.
---@param stage integer
---@return integer
function Queue:items(stage)
  local n = 0
  for i = self.head, self.tail do
    if self[i].stage == stage then n = n + self[i].count end
  end
  return n
end

--- Takes out a piece of work that has come of an origin, see policy/acks.lua.
---@param origin table
---@return table? work nil: there is none
function Queue:take_of(origin)
  for i = self.head, self.tail do
    if self[i].origin == origin then
      local work = self[i]
      table.move(self, i + 1, self.tail + 1, i)
      self.tail = self.tail - 1
      return work
    end
  end
end

--- Takes the first piece of work.
---@return any work
function Queue:pop()
  local work = self[self.head]
  self[self.head] = nil
  self.head = self.head + 1
  return work
end

local Lines = {}
Lines.__index = Lines

--- Makes queues for several stages. The oldest work is taken whose stage can go on: a stage that has to wait does not
--- hold up the others.
---@return table lines
function queue.lines()
  return setmetatable({ stages = {}, n = 0, pushed = 0, bytes = 0 }, Lines)
end

--- Adds work to the queue of its stage.
---@param work table
function Lines:push(work)
  local own = self.stages[work.stage]
  if not own then
    own = queue.new()
    self.stages[work.stage] = own
  end
  own:push(work)
  self.n, self.pushed, self.bytes = self.n + 1, self.pushed + 1, self.bytes + (work.length or 0)
  work.came = self.pushed
end

--- The oldest work that need not wait.
---@param waits function (stage) -> boolean
---@return table? work
function Lines:first(waits)
  local oldest
  for id, own in pairs(self.stages) do
    local work = own:first()
    if work and (not oldest or work.came < oldest.came) and not waits(id) then oldest = work end
  end
  return oldest
end

--- Takes the first piece of work of a stage.
---@param id integer
---@return table work
function Lines:pop(id)
  local work = self.stages[id]:pop()
  self.n, self.bytes = self.n - 1, self.bytes - (work.length or 0)
  return work
end

--- Takes out a piece of work that has come of an origin, see policy/acks.lua.
---@param origin table
---@return table? work nil: there is none
function Lines:take_of(origin)
  for _, own in pairs(self.stages) do
    local work = own:take_of(origin)
    if work then
      self.n, self.bytes = self.n - 1, self.bytes - (work.length or 0)
      return work
    end
  end
end

--- So much of some work, which stays, has been taken.
---@param bytes integer
function Lines:cut(bytes) self.bytes = self.bytes - bytes end

--- How many items of a stage wait.
---@param stage integer
---@return integer
function Lines:items(stage)
  local own = self.stages[stage]
  return own and own:items(stage) or 0
end

--- How many pieces of work there are.
---@return integer
function Lines:count() return self.n end

return queue
