--- Gates: when the next item of a stage with `rate` or `delay` may be begun. Values in, values out; the time is an
-- argument.
--
-- 1. Of the items that are let through no more than `n` fall into any `per` seconds.
-- 2. None is let through before it has been there for `delay` seconds.
-- 3. They are let through in the order in which they came.
local gate = {}

local Gate = {}
Gate.__index = Gate

--- Makes a gate.
---@param rate table? `n` items in any `per` seconds; nil: as many as come
---@param delay number? seconds
---@return table gate `n`: items that wait
function gate.new(rate, delay)
  return setmetatable({ most = rate and rate.n, per = rate and rate.per, delay = delay or 0, n = 0, head = 1,
    items = {}, dues = {}, times = {}, at = 0 }, Gate)
end

--- An item has come: when it may be let through. The times of the last `most` lie in a ring.
---@param now number seconds
---@return number due
function Gate:reserve(now)
  local due = now + self.delay
  if not self.most then return due end
  local place = self.at % self.most + 1
  local before = self.times[place]
  if before and before + self.per > due then due = before + self.per end
  self.at, self.times[place] = self.at + 1, due
  return due
end

--- It has to wait.
---@param item any
---@param due number
function Gate:keep(item, due)
  local last = self.head + self.n
  self.items[last], self.dues[last], self.n = item, due, self.n + 1
end

--- When the oldest item may be begun.
---@return number? seconds; nil: none waits
function Gate:due() return self.dues[self.head] end

--- The oldest item, where it may be begun.
---@param now number seconds
---@return any item nil: none may
function Gate:next(now)
  local at = self.head
  if self.n == 0 or self.dues[at] > now then return nil end
  local item = self.items[at]
  self.items[at], self.dues[at], self.head, self.n = nil, nil, at + 1, self.n - 1
  return item
end

--- Takes out an item that waits.
---@param wanted function (item) -> whether it is the one
---@return any item nil: it is not there
function Gate:take_out(wanted)
  for at = self.head, self.head + self.n - 1 do
    local item = self.items[at]
    if wanted(item) then
      local last = self.head + self.n - 1
      table.move(self.items, at + 1, last + 1, at)
      table.move(self.dues, at + 1, last + 1, at)
      self.n = self.n - 1
      return item
    end
  end
end

return gate
