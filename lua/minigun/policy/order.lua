--- The order of a segment with `ordered = true`: what may go on, and what has to wait for earlier items. Values in,
--- values out; no process.
--
-- Every item has an ordinal, its place in the order of arrival. Workers pass over the items of a chunk one after
-- another; an item is finished when that has happened and every further attempt at it, or at a part of it, is settled.
-- `head` is the first ordinal that is not. Output is given in parts; a part that begins after the head is kept.
local order = {}

-- Items that may be begun ahead of the oldest unfinished one; fewer before a limited stage, see policy/admission.lua.
local WINDOW <const> = 1 << 16

local Order = {}
Order.__index = Order

--- Makes the order of a segment.
---@param deliver function (part): takes what is in order
---@param most integer bytes that are kept at most before nothing but the oldest item is begun
---@param allow function
--- (head, limit) hears which items may be begun: those up to the head, as what waits for the oldest must not keep it
--- from its end, and those below the limit
---@return table order
function order.new(deliver, most, allow)
  local self = setmetatable({
    deliver = deliver, most = most, allow = allow, window = WINDOW, head = 1, bytes = 0,
    passed = {},             -- ranges of ordinals after the head that workers have passed over: first -> last + 1
    attempts = {},           -- ordinals with further attempts to come -> how many
    parts = {}, first = 1, last = 0, -- kept, sorted by the ordinal that they begin with
  }, Order)
  self:tell()
  return self
end

--- Says what may be begun now.
function Order:tell() self.allow(self.head, self.bytes < self.most and self.head + self.window or 0) end

--- Takes output, to be delivered when all items before `ordinal` are finished.
---@param ordinal integer of the earliest item that it may be of
---@param bytes integer
---@param part any
function Order:put(ordinal, bytes, part)
  if ordinal <= self.head then return self.deliver(part) end
  local parts, at = self.parts, self.last
  while at >= self.first and parts[at].ordinal > ordinal do
    parts[at + 1], at = parts[at], at - 1
  end
  parts[at + 1], self.last = { ordinal = ordinal, bytes = bytes, part = part }, self.last + 1
  self.bytes = self.bytes + bytes
  self:tell()
end

local function advance(self)
  local passed, head = self.passed, self.head
  while passed[head] and not self.attempts[head] do
    passed[head], head = nil, passed[head]
  end
  self.head = head
  local parts = self.parts
  while self.first <= self.last and parts[self.first].ordinal <= head do
    local each = parts[self.first]
    parts[self.first], self.first = nil, self.first + 1
    self.bytes = self.bytes - each.bytes
    self.deliver(each.part)
  end
  self:tell()
end

--- An item, or a part of it, will be tried again: to be called before the attempt that has failed is `finished`.
---@param ordinal integer
function Order:retry(ordinal)
  self.attempts[ordinal] = (self.attempts[ordinal] or 0) + 1
end

--- A worker has passed over items: each has succeeded, or has failed for good, or will be tried again (`retry` was
--- called for it).
---@param ordinal integer the first
---@param n integer
function Order:finished(ordinal, n)
  local passed, from, stop = self.passed, ordinal, ordinal + n
  if next(self.attempts) then -- the head must be able to stop at each
    for each = ordinal, stop - 1 do
      if self.attempts[each] then
        if each > from then passed[from] = each end
        from = each
      elseif from < each and self.attempts[from] then
        passed[from], from = each, each
      end
    end
  end
  if from < stop then passed[from] = stop end
  advance(self)
end

--- A further attempt is over; where it has failed and another follows, that was said before.
---@param ordinal integer
function Order:settled(ordinal)
  local left = self.attempts[ordinal] - 1
  self.attempts[ordinal] = left > 0 and left or nil
  advance(self)
end

return order
