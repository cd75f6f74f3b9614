--- Results: what has come of a chunk goes on in the submitter's run. Where there are many outputs they become records
-- of a block, as if a worker of this machine had written them, and nothing is decoded here.
local core = require "minigun.core"
local message = require "minigun.cluster.message"
local work = require "minigun.base.work"

local results = {}

local FEW <const> = 8           -- outputs that are given on one by one
local VALUE_BYTES <const> = 256 -- what a value is taken for that is kept for its turn

local Result = {}
Result.__index = Result

local function new(place, chunk, fields)
  fields.place, fields.stage, fields.chunk = place, place.stage, chunk
  fields.given, fields.values, fields.at = 0, 0, 0
  return setmetatable(fields, Result)
end

--- Looks at what a host has sent of a chunk.
---@param place table
---@param chunk table `n`: items; `bytes`: the chunk; `adopted`: its items come one by one
---@param bytes any
---@return table? result `busy`: seconds; nil: it is none
---@return string? problem
function results.read(place, chunk, bytes)
  local said, problem = message.result(bytes, chunk.n, place.port.plan.addresses[place.stage.id], place.after)
  if not said then return nil, problem end
  local self = new(place, chunk, { each = said.each, more = said.more, busy = said.busy, block = false, list = false })
  if said.outputs > FEW and not chunk.adopted then
    self.block, self.limit = place.pool:records(said.out, said.outputs, place.stage.id, said.refs)
  end
  if self.block == false then self.list = message.items(message.array(said.outputs, said.out)) end
  if self.block or self.list then return self end
  return nil, "it does not have the outputs that it announces"
end

--- The result where all items of a chunk have failed.
---@param place table
---@param chunk table as above
---@param text string
---@return table result
function results.failed(place, chunk, text)
  local each, more = {}, {}
  for k = 1, chunk.n do each[k], more[k] = 0, { k, 0, "failed", "crash", text, 1 } end
  return new(place, chunk, { each = each, more = more, busy = 0, block = false, list = {} })
end

-- --- outputs -----------------------------------------------------------------------------------------------------

-- Gives on what has come of some work, at its turn.
local function give(place, own, how, ...)
  local port = place.port
  if place.order then
    local stage, item, more = ...
    place.order:put(own.first, VALUE_BYTES, { give = how, stage = stage, item = item, more = more,
      origin = port.holds() })
  else
    how(...)
  end
end

-- Gives on the next n outputs as they are in the block.
local function give_records(self, own, n)
  local place, pool, at = self.place, self.place.pool, self.at
  self.at = pool:walk(self.block, at, self.limit - at, self.stage.id, n)
  local part = work.of_bytes(nil, self.block, at, self.at - at, n, self.stage.id)
  pool:retain(self.block)
  if not place.order then return place.port.passed(place, part) end
  part.origin = place.port.holds()
  place.order:put(own.first, part.length, part)
end

-- Gives on outputs up to the `to`-th.
local function give_outputs(self, own, to)
  local from, port = self.given, self.place.port
  self.given = to
  if to == from then return end
  if self.block then return give_records(self, own, to - from) end
  for i = from + 1, to do
    local value, problem = core.decode(self.list[i])
    if value == nil then port.unreadable(self.stage, { { false, problem or "it is nil" } })
    else give(self.place, own, port.emitted, self.stage, value) end
  end
  self.values = self.values + to - from
end

-- --- what else has come of an item ---------------------------------------------------------------------------------

local function fail(self, k, kind, text, attempts, traceback)
  local port = self.place.port
  self.items = self.items or message.items(self.chunk.bytes)
  port.settle(self.stage, { kind = kind, message = text, attempt = attempts,
    traceback = type(traceback) == "string" and traceback or nil, pid = port.pid },
    function()
      local loading = kind == "crash" or kind == "timeout" -- maybe: its worker may have met its end in a load hook
      local item = not loading and core.decode(self.items[k]) or nil
      if item == nil then item = core.decode(self.items[k], true, true) end
      return item ~= nil and item -- false: it cannot be decoded
    end)
end

local function take_more(self, own, one)
  local port, kind = self.place.port, one[3]
  if kind == "failed" then return fail(self, one[1], table.unpack(one, 4, 7)) end
  local ids = one[4]
  if kind == "to" then ids = port.plan.addresses[self.stage.id][ids]
  elseif kind ~= "routed" then return port.effect(kind, ids, one[5]) end
  if type(ids) ~= "table" then ids = { math.tointeger(ids) } end
  for i, id in ipairs(ids) do -- each receiver gets a value of its own
    give(self.place, own, port.sent, self.stage, id, i < #ids and core.copy(one[5]) or one[5])
  end
  self.values = self.values + 1
end

-- How many outputs the items after the first k have, up to the last.
local function outputs_of(each, k, last)
  if each == 1 then return last - k end
  local n = 0
  for i = k + 1, last do n = n + each[i] end
  return n
end

-- --- the whole ------------------------------------------------------------------------------------------------------

--- What has come of items goes on, and they are finished.
---@param works table[] of the ledger; the items of one after the other are those of the result
function Result:settle(works)
  local place, items, outputs, at, more = self.place, 0, 0, 1, self.more
  for _, own in ipairs(works) do
    local before, last = place.port.under(own.origin), items + own.count
    outputs = outputs + outputs_of(self.each, items, last)
    while more[at] and more[at][1] <= last do
      give_outputs(self, own, math.min(more[at][2], outputs))
      take_more(self, own, more[at])
      at = at + 1
    end
    give_outputs(self, own, outputs)
    place.port.under(before)
    place:finished(own)
    items = last
  end
  if self.block then place.pool:release(self.block) end
  place.port.count(place.stage, { items_in = 0, items_out = self.values, busy = self.busy, classes = {} })
end

--- The result of each item by itself, of a chunk that was adopted.
---@return table[] results
function Result:split()
  local list, outputs, at, items = {}, 0, 1, message.items(self.chunk.bytes)
  for k = 1, self.chunk.n do
    local n, more = outputs_of(self.each, k - 1, k), {}
    while self.more[at] and self.more[at][1] == k do
      local one = self.more[at]
      more[#more + 1] = { 1, math.max(0, one[2] - outputs), table.unpack(one, 3, 7) }
      at = at + 1
    end
    list[k] = new(self.place, self.chunk, { each = { n }, more = more, busy = self.busy / self.chunk.n, block = false,
      list = table.move(self.list, outputs + 1, outputs + n, 1, {}), items = { items[k] } })
    outputs = outputs + n
  end
  return list
end

return results
