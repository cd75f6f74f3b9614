--- A queue of entries that can be put back in front. Values in, values out.
local queue = {}

local Queue = {}
Queue.__index = Queue

--- Makes an empty queue.
---@return table queue
function queue.new()
  return setmetatable({ head = 1, tail = 0 }, Queue)
end

--- Adds an entry, first to be taken or last.
---@param entry any
---@param in_front boolean?
function Queue:push(entry, in_front)
  if in_front then
    self.head = self.head - 1
    self[self.head] = entry
  else
    self.tail = self.tail + 1
    self[self.tail] = entry
  end
end

--- Puts an entry back to its place; the entries are sorted by `first`, and it is one of the oldest.
---@param entry table
function Queue:insert(entry)
  self.head = self.head - 1
  local at = self.head
  while self[at + 1] and self[at + 1].first < entry.first do
    self[at], at = self[at + 1], at + 1
  end
  self[at] = entry
end

--- The entry to be taken first.
---@return any entry nil: the queue is empty
function Queue:first()
  return self[self.head]
end

--- How many entries there are.
---@return integer
function Queue:count()
  return self.tail - self.head + 1
end

--- How many items of a stage its entries hold.
---@param stage integer
---@return integer
function Queue:items(stage)
  local n = 0
  for i = self.head, self.tail do
    if self[i].stage == stage then n = n + self[i].count end
  end
  return n
end

--- Takes the first entry.
---@return any entry
function Queue:pop()
  local entry = self[self.head]
  self[self.head] = nil
  self.head = self.head + 1
  return entry
end

local Lines = {}
Lines.__index = Lines

--- Makes queues for several stages, from which the oldest entry of all is taken whose stage can go on: one that has to
--- wait does not hold up the others.
---@return table lines
function queue.lines()
  return setmetatable({ stages = {}, n = 0, pushed = 0, bytes = 0 }, Lines)
end

--- Adds an entry to the queue of its stage.
---@param entry table
function Lines:push(entry)
  local own = self.stages[entry.stage]
  if not own then
    own = queue.new()
    self.stages[entry.stage] = own
  end
  own:push(entry)
  self.n, self.pushed, self.bytes = self.n + 1, self.pushed + 1, self.bytes + (entry.length or 0)
  entry.came = self.pushed
end

--- The oldest entry that need not wait.
---@param waits function (stage) -> boolean
---@return table? entry
function Lines:first(waits)
  local oldest
  for id, own in pairs(self.stages) do
    local entry = own:first()
    if entry and (not oldest or entry.came < oldest.came) and not waits(id) then oldest = entry end
  end
  return oldest
end

--- Takes the first entry of a stage.
---@param id integer
---@return table entry
function Lines:pop(id)
  local entry = self.stages[id]:pop()
  self.n, self.bytes = self.n - 1, self.bytes - (entry.length or 0)
  return entry
end

--- So much of an entry, which stays, has been taken.
---@param bytes integer
function Lines:cut(bytes) self.bytes = self.bytes - bytes end

--- How many items of a stage wait.
---@param stage integer
---@return integer
function Lines:items(stage)
  local own = self.stages[stage]
  return own and own:items(stage) or 0
end

--- How many entries there are.
---@return integer
function Lines:count() return self.n end

return queue
