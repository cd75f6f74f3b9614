--- Batches of items that came as bytes: nothing is decoded as long as only bytes come. The policy, in terms of a writer
-- that can join records (src/lua/lua_writer.c); it stands in the place of a batcher.
--
-- The open batch is an array of bytes in the writer's block, or a table. It becomes one, and stays it until it is
-- passed on, when a Lua value comes (tables that several values share must stay shared), and when an item nests so
-- deeply that the codec must see the whole. Where batches do not go to other processes there is no writer, and it is
-- always a table. As long as no table is there, producers may write into the array themselves (see w:into in
-- src/lua/lua_writer.c): `sync` finds out what they have done, and comes before anything else.
local batcher = require "minigun.policy.batcher"

local byte_batches = {}

local Batches = {}
Batches.__index = Batches

--- Makes the batches of an accumulator.
---@param options table
--- `max_size` (items, see resize), `max_wait` (seconds or nil), `max_bytes` (or nil: of batches of bytes); `numbered`:
--- a batch is passed on as a pair, of its number, from 1, and its items
---@param port table
--- `pool`; `writer` (or nil); `now()`; `emit(batch)` passes on a table; `tables()`, where there may be some on their
--- way, sees to it that those are with their receivers; `joined(n)` hears that n more arrays of bytes are in the
--- writer's block, `flush()` passes those on; `refused(list)` hears of items that cannot be had, `dropped(gathered)` of
--- a batch of which nothing is left; `damaged(count, found)` and `fail(text)` raise
---@return table batches with the methods of a batcher, and the field `first` of one
function byte_batches.new(options, port)
  return setmetatable({ port = port, values = batcher.new(options), max_size = options.max_size,
    max_wait = options.max_wait, max_bytes = options.max_bytes or math.maxinteger,
    number = options.numbered and 1 or -1, open = nil, written = false, first = nil, shared = false }, Batches)
end

--- Whether producers may write into its arrays: nothing is to be noted of each item then.
---@return boolean
function Batches:shareable()
  return self.port.writer and not (self.number > 0 or self.max_wait or self.note) or false
end

--- The oldest open batch.
---@return table? entry its `n` says how many items are in it, its `after` is the next one
function Batches:oldest()
  self:sync()
  return self.first
end

-- A table is begun, goes on, or is to be passed on: until it is with its receivers no producer writes.
local function keep_to_itself(self)
  if self.shared then self.port.writer:arrays(0) end
end

--- Lets producers write into its arrays, see `shareable`. No table is open, and those before have been passed on.
function Batches:share()
  self.shared = true
  self.port.writer:arrays(self.max_size)
end

--- Takes note of what producers have written since the last time.
function Batches:sync()
  if not self.shared then return end
  local n, closed = self.port.writer:joining()
  if closed > 0 then
    self.written = true
    self.port.joined(closed)
  end
  if n == 0 then self.open = nil else self.open = self.open or {} end
  if n > 0 then self.open.n = n end
  self.first = self.open or self.values.first
end

--- Changes how many items a batch has; also of the one that is open.
---@param max_size integer up to 65535
function Batches:resize(max_size)
  self.max_size, self.values.max_size = max_size, max_size
end

--- Takes a number, for a batch that has been made otherwise. None is open.
---@return integer number
function Batches:take_number()
  self.number = self.number + 1
  return self.number - 1
end

--- Keeps what tells where the items of each batch have come from, as a batcher does; `port.passing(gathered)` hears
--- of an array of bytes before it is passed on.
---@param note function (gathered) -> gathered
function Batches:trace(note)
  self.note = note
  self.values:trace(note)
  self.origins = self.values.origins
end

-- A table as it is passed on.
local function numbered(self, batch)
  if self.number < 0 then return batch end
  self.number = self.number + 1
  local pair, origins = { self.number - 1, batch }, self.origins
  if origins then origins[pair], origins[batch] = origins[batch], nil end
  return pair
end

-- The array of bytes becomes a table.
local function decode(self)
  local items, problem = self.port.writer:join_take()
  if not items then self.port.fail(problem) end
  if self.number > 0 then items = items[2] end
  local open = self.open
  self.open = nil
  if problem then self.port.refused(problem) end
  if #items == 0 then return self.port.dropped(open.origin) end
  self.values:reopen(items, #items, open.due, open.origin)
end

-- Before a table is passed on: arrays of bytes that came before it.
local function flush(self)
  if self.written then self.port.flush() end
  self.written = false
end

local function close(self)
  if self.note then self.port.passing(self.open.origin) end
  self.open, self.written = nil, true
  if self.number > 0 then self.number = self.number + 1 end
  if self.port.tables then self.port.tables() end
  self.port.writer:join_end()
  self.port.joined(1)
end

--- Adds an item.
---@param item any
---@param now function () -> seconds
---@return table? batch the full batch that the item completed
function Batches:add(item, now)
  self:sync()
  keep_to_itself(self)
  if self.open then decode(self) end
  local batch = self.values:add(item, now)
  self.first = self.values.first
  if not batch then return nil end
  flush(self)
  return numbered(self, batch)
end

-- Decodes records into the table that is open, or is to be: as many as there is room for, or one. Returns the offset
-- after them, and how many they were.
local function read(self, block, at, limit, only, one)
  local pool, values, port = self.port.pool, self.values, self.port
  keep_to_itself(self)
  local n = values.first and values.first.n or 0
  local after, count = pool:walk(block, at, limit - at, only, one and 1 or math.max(1, self.max_size - n))
  local items = after and count > 0 and values:reserve(count, port.now)
  local now, refused = n, nil
  if items then now, refused = pool:decode_into(items, n, block, at, after - at, only) end
  if not after or not now then port.fail "a worker has damaged its block" end
  if refused then
    port.refused(refused)
    if now == 0 then port.dropped(values:drop()) else values.first.n = now end
  end
  if now >= self.max_size then
    local batch = values:take()
    flush(self)
    port.emit(numbered(self, batch))
  end
  return after, count
end

-- Joins records to the array that is open. Returns the offset after them, and how many they were.
local function join(self, block, at, limit, only)
  local port, most, passed = self.port, self.max_size, self.open and self.open.n or 0
  local n, after, deep = port.writer:join(most, self.number, block, at, limit - at, only, self.max_bytes)
  if not n then port.fail "a worker has damaged its block" end
  passed = n - passed
  if n > 0 and not self.open then self.open = { due = self.max_wait and port.now() + self.max_wait } end
  if n > 0 then self.open.n = n end
  if n > 0 and self.note then self.open.origin = self.note(self.open.origin) end
  if n >= most or (after < limit and not deep) then
    close(self)
  elseif deep then
    if n > 0 then decode(self) end
    after, n = read(self, block, after, limit, only, true)
    passed = passed + n
  end
  return after, passed
end

--- Adds the records of a range. Raises, afterwards, where there are not as many as were announced.
---@param block integer which stays held meanwhile
---@param offset integer bytes
---@param length integer bytes
---@param count integer items
---@param only integer edge of the records that are meant, or protocol.ANY
function Batches:add_range(block, offset, length, count, only)
  local at, limit, passed = offset, offset + length, 0
  self:sync()
  while at < limit do
    local take = self.port.writer and not self.values.first and join or read
    local after, n = take(self, block, at, limit, only)
    at, passed = after, passed + n
  end
  self.first = self.open or self.values.first
  if passed ~= count then self.port.damaged(count, passed) end
end

--- Takes the batches that have waited long enough; an array of bytes is passed on at once.
---@param now number? seconds; nil: all batches
---@return table batches array, of tables
function Batches:due(now)
  self:sync()
  if self.open and (not now or self.open.due and self.open.due <= now) then close(self) end
  local batches = self.values.first and self.values:due(now) or {}
  if batches[1] then
    keep_to_itself(self)
    flush(self)
  end
  for i, batch in ipairs(batches) do batches[i] = numbered(self, batch) end
  self.first = self.open or self.values.first
  return batches
end

--- When the open batch falls due.
---@return number? seconds
function Batches:next_due()
  return self.first and self.first.due
end

return byte_batches
