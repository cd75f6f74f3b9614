--- The policy of an accumulator: which items make a batch, and when it is passed on. Values in, batches out; no clock
-- of its own and no process.
local batcher = {}

local Batcher = {}
Batcher.__index = Batcher

-- Stands for the one batch of an accumulator without keys; a key may be any value but nil and NaN.
local ALL <const> = {}

--- Makes a batcher.
---@param options table
--- `max_size` (items), `max_wait` (seconds or nil), `by` (`function(item) -> key` or nil), `at` (where `by` was given)
---@return table batcher
function batcher.new(options)
  return setmetatable({
    max_size = options.max_size, max_wait = options.max_wait, by = options.by, at = options.at,
    open = {}, first = nil, last = nil, -- open batches by key, and as a list in order of their first item
    note = nil, origins = nil,
  }, Batcher)
end

--- Keeps what tells where the items of each batch have come from; then `origins[batch]` has it when that is passed on.
---@param note function (gathered) -> gathered: called for what is added, with what it returned for that batch before
function Batcher:trace(note)
  self.note, self.origins = note, {}
end

local function unlink(self, entry)
  self.open[entry.key] = nil
  if self.note then self.origins[entry.items] = entry.origin end
  if entry.before then entry.before.after = entry.after else self.first = entry.after end
  if entry.after then entry.after.before = entry.before else self.last = entry.before end
end

local function open(self, key, now)
  local entry = { key = key, items = {}, n = 0, before = self.last, due = self.max_wait and now() + self.max_wait }
  self.open[key] = entry
  if self.last then self.last.after = entry else self.first = entry end
  self.last = entry
  return entry
end

--- The key of an item; calls the user's function.
---@param item any
---@return any key
function Batcher:key_of(item)
  if not self.by then return ALL end
  local key = self.by(item)
  if key == nil or type(key) == "number" and key ~= key then
    error(("%soption 'by' gave %s as an item's key; a key is any value but nil and NaN"):format(
      self.at and self.at .. ": " or "", tostring(key)), 0)
  end
  return key
end

--- Adds an item.
---@param item any
---@param now function () -> seconds; asked only where `max_wait` needs it
---@param key any? what `key_of` has given for it, where that has been asked
---@return table? batch the full batch that the item completed
function Batcher:add(item, now, key)
  if key == nil then key = self:key_of(item) end
  local entry = self.open[key] or open(self, key, now)
  if self.note then entry.origin = self.note(entry.origin) end
  local n = entry.n + 1
  entry.items[n], entry.n = item, n
  if n < self.max_size then return nil end
  unlink(self, entry)
  return entry.items
end

--- Of a batcher without keys: the open batch's table, for so many more items, which the caller will append.
---@param n integer
---@param now function () -> seconds
---@return table items
function Batcher:reserve(n, now)
  local entry = self.open[ALL] or open(self, ALL, now)
  if self.note then entry.origin = self.note(entry.origin) end
  entry.n = entry.n + n
  return entry.items
end

--- Of a batcher without keys and without an open batch: this becomes it.
---@param items table
---@param n integer how many there are
---@param due number? when it falls due
---@param origin any what `note` has returned for it
function Batcher:reopen(items, n, due, origin)
  local entry = open(self, ALL, function() return 0 end)
  entry.items, entry.n, entry.due, entry.origin = items, n, due, origin
end

--- The oldest open batch.
---@return table? entry its `n` says how many items are in it, its `after` is the next one
function Batcher:oldest() return self.first end

--- Takes the oldest batch, full or not.
---@return table batch
function Batcher:take()
  local items = self.first.items
  unlink(self, self.first)
  return items
end

--- Forgets the oldest batch.
---@return any origin what `note` has returned for it
function Batcher:drop()
  local entry = self.first
  unlink(self, entry)
  if self.origins then self.origins[entry.items] = nil end
  return entry.origin
end

--- Takes the batches that have waited long enough, oldest first.
---@param now number? seconds; nil: all batches
---@return table batches array
function Batcher:due(now)
  local batches = {}
  while self.first and (not now or (self.first.due and self.first.due <= now)) do
    batches[#batches + 1] = self:take()
  end
  return batches
end

--- When the next batch falls due.
---@return number? seconds on the same clock; nil: none waits for the clock
function Batcher:next_due()
  return self.first and self.first.due
end

return batcher
