--- Timers: entries with a time, the earliest first; a binary heap in which each entry knows its place.
local timers = {}

local Timers = {}
Timers.__index = Timers

--- Makes an empty list.
---@return table timers
function timers.new() return setmetatable({ n = 0, made = 0 }, Timers) end

-- Of two of the same time the one that was added first comes first.
local function before(a, b)
  if a.due ~= b.due then return a.due < b.due end
  return a.turn < b.turn
end

local function put(self, i, entry)
  self[i] = entry
  entry.place = i
end

local function rise(self, i, entry)
  while i > 1 and before(entry, self[i // 2]) do
    put(self, i, self[i // 2])
    i = i // 2
  end
  put(self, i, entry)
end

local function sink(self, i, entry)
  while true do
    local child = 2 * i
    if child < self.n and before(self[child + 1], self[child]) then child = child + 1 end
    if child > self.n or not before(self[child], entry) then break end
    put(self, i, self[child])
    i = child
  end
  put(self, i, entry)
end

--- Adds an entry.
---@param entry table
---@param due number of the clock that the caller has
function Timers:add(entry, due)
  self.made = self.made + 1
  entry.due, entry.turn = due, self.made
  self.n = self.n + 1
  rise(self, self.n, entry)
end

--- Takes an entry out; nothing happens where it is not in.
---@param entry table
function Timers:remove(entry)
  local i = entry.place
  if not i then return end
  entry.place = nil
  local last = self[self.n]
  self[self.n] = nil
  self.n = self.n - 1
  if last == entry then return end
  if i > 1 and before(last, self[i // 2]) then rise(self, i, last) else sink(self, i, last) end
end

--- The entry that is due first.
---@return table? entry nil: there is none
function Timers:first() return self[1] end

return timers
