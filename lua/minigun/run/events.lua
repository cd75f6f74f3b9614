--- The inbox: what workers say, taken from the pool's events. Methods of a run (see run.lua).
--
-- Every reference to a block that an event brings is passed on to one entry, or released here.
local report = require "minigun.base.protocol"

local inbox = {}

local COLLECT <const>, type <const> = report.COLLECT, type

-- What a worker has written is not what it has said. Whose damage it is nobody knows: all workers can write everywhere.
local function damaged(self, segment)
  self:fail(("%s: a worker has damaged the run's shared memory: what was read is not what was announced"):format(
    segment.plan.context))
end

-- How many records of each edge are in a range that was announced with so many.
local function count_edges(self, segment, block, offset, length, count)
  local counts, all = self.pool:edges(block, offset, length), 0
  for _, n in pairs(counts or {}) do all = all + n end
  if all ~= count then damaged(self, segment) end
  return counts
end

-- Takes the i-th report, where it is none of a value that is as usual. Returns how many items it says are lost.
local function other_report(self, segment, slot, r, i, wrong, failed)
  if r and not report.is_sound(r, self.plan) then damaged(self, segment) end
  local kind = r and r[1]
  if not r or kind == COLLECT and wrong[r] then
    local id = r and r[4] or segment.plan.stages[1]
    self:items_refused(self.plan.stages[id], { { r and r[3], wrong[r] } })
  elseif kind == COLLECT then self:effect("collect", r[2], r[3])
  elseif kind == report.COUNT then self:effect("count", r[2], r[3])
  elseif kind == report.FAILED then
    segment:on_failed(slot, self.plan.stages[r[2]], r[3])
    failed[#failed + 1] = { i, r[3] }
  elseif kind == report.LOST then
    local fields = r[3]
    fields.pid, fields.worker, fields.workers = slot.pid, slot.number, segment.plan.n
    self:settle_failure(self.plan.stages[r[2]], fields, function()
      if fields.item ~= nil then return fields.item end
      return fields.item_text
    end)
    return 1
  elseif kind == report.RESUMED then
    self.resume.sources[r[2]].skipped = r[3]
    if r[4] then self:fail(r[4]) end
  elseif kind == report.HOOK then
    self:hook_failed(r[2], r[3], { message = r[4], traceback = r[5] ~= "" and r[5] or nil })
  elseif kind == report.RETURNED then
    self.plan.stages[r[2]].returned = true
  elseif kind == report.STATS then
    for k = 2, #r do self:add_stats(r[k]) end
  end
end

--- Takes the reports in a range: what was collected and counted, failures, statistics, hooks that raised.
---@param segment table
---@param slot table of the worker that wrote them
---@param block integer
---@param offset integer bytes
---@param length integer bytes
---@param count integer reports
---@return table failed array of `{ number of the report, fields }`, one for each failure
---@return integer lost items that were emitted and could not go on
function inbox:reports(segment, slot, block, offset, length, count)
  local list, failed, lost = {}, {}, 0
  local n, refused = self.pool:decode_into(list, 0, block, offset, length, report.EDGE, true)
  if not n then self:fail(("%s: a worker's report cannot be read: %s"):format(segment.plan.context, refused)) end
  if n ~= count then damaged(self, segment) end
  local wrong = {} -- from a report to what is wrong with it: the contents of an object stand for it
  for _, pair in ipairs(refused or {}) do wrong[pair[1]] = pair[2] end
  local values, name = nil, nil -- what has been collected under that name
  for i = 1, n do
    local r = list[i]
    if not refused and type(r) == "table" and r[1] == COLLECT and r[2] ~= nil then -- which most are
      if not values or r[2] ~= name then values, name = self:collected(r[2]), r[2] end
      values[#values + 1] = r[3]
    else
      lost = lost + (other_report(self, segment, slot, r, i, wrong, failed) or 0)
    end
  end
  return failed, lost
end

--- The stages of a block tell what they emit, what comes to them inside it, and their times. A stage alone is not
--- asked: what it emits is counted when it has come.
function inbox:add_stats(row)
  local s = self.stats[row[1]]
  s.items_in = s.items_in + row[2]
  if not self.plan.stages[row[1]].fold then s.items_out = s.items_out + row[3] end -- parts of its one value
  s.busy = s.busy + row[4]
  if row[5] then s.service:merge(row[5]) end
end

local function count_out(self, segment, count)
  local stage = #segment.plan.stages == 1 and self.plan.stages[segment.plan.stages[1]]
  if stage and not stage.fold then
    local s = self.stats[stage.id]
    s.items_out = s.items_out + count
  end
end

--- Takes a range that a worker has committed, and its reference: items go to their receivers, reports are read.
---@param segment table
---@param slot table
---@param block integer
---@param offset integer bytes
---@param length integer bytes
---@param count integer records
---@param edge integer of all of them, or `report.ANY`: they are mixed
---@param number integer of the chunk, where the worker has threads
function inbox:on_out(segment, slot, block, offset, length, count, edge, number)
  segment:on_range(length)
  if self.resume then
    if self.resume.sources[segment.plan.stages[1]] then
      return self:on_source(segment, slot, block, offset, length, count, edge)
    end
    self.acks.origin = segment:origin_of(slot, number) or false
  end
  local ordinal = segment:output_ordinal(slot, number)
  if edge ~= report.ANY and edge ~= report.EDGE then
    return self:in_order(segment, ordinal, edge, block, offset, length, count)
  end
  local counts = count_edges(self, segment, block, offset, length, count)
  local failed = counts[report.EDGE] and self:reports(segment, slot, block, offset, length, counts[report.EDGE])
  if ordinal and failed and #failed > 0 then
    self:split_at_failures(segment, slot, ordinal, failed, block, offset, length)
  else
    self:mixed(segment, ordinal, counts, block, offset, length)
  end
  self.pool:release(block)
end

--- The same for a range of a producer whose items are numbered as they come; what it has lost is numbered too.
---@param segment table
---@param slot table
---@param block integer
---@param offset integer bytes
---@param length integer bytes
---@param count integer records
---@param edge integer
function inbox:on_source(segment, slot, block, offset, length, count, edge)
  local source, counts, lost = self.resume.sources[segment.plan.stages[1]], { [edge] = count }, 0
  if edge == report.ANY then counts = count_edges(self, segment, block, offset, length, count) end
  local items, reports = 0, counts[report.EDGE]
  for only, n in pairs(counts) do
    if only ~= report.EDGE then items = items + n end
  end
  local origin = self.resume:arrived(source, items)
  if not reports then self.resume:mark_range(origin, self.pool, block, offset, length) end
  self.acks.origin = origin
  if reports then lost = select(2, self:reports(segment, slot, block, offset, length, reports)) end
  local more = self.resume:arrived(source, lost).ranges
  table.move(more, 1, #more, #origin.ranges + 1, origin.ranges)
  self:mixed(segment, nil, counts, block, offset, length)
  self.pool:release(block)
  origin.fresh = nil
  self.acks:release(origin, 1)
end

--- Passes on the items of a range in which several stages' are mixed; each takes a reference of its own.
---@param segment table
---@param ordinal integer? of the earliest item that it is output of
---@param counts table from edge to records
---@param block integer
---@param offset integer bytes
---@param length integer bytes
function inbox:mixed(segment, ordinal, counts, block, offset, length)
  for only, n in pairs(counts) do
    if only ~= report.EDGE then
      self.pool:retain(block)
      self:in_order(segment, ordinal, only, block, offset, length, n)
    end
  end
end

--- The same for an ordered segment and a range with failures in it. The report of one lies behind what items before it
--- have emitted, and before what those behind it have: that must not overtake the failed item's next attempt.
---@param segment table
---@param slot table
---@param ordinal integer
---@param failed table as from `reports`
---@param block integer
---@param offset integer bytes
---@param length integer bytes
function inbox:split_at_failures(segment, slot, ordinal, failed, block, offset, length)
  local at, limit = offset, offset + length
  for i = 1, #failed + 1 do
    local stop = failed[i] and self.pool:walk(block, offset, length, report.EDGE, failed[i][1]) or limit
    local counts = stop >= at and self.pool:edges(block, at, stop - at)
    if not counts then damaged(self, segment) end
    self:mixed(segment, ordinal, counts, block, at, stop - at)
    if failed[i] then ordinal = segment:failed_at(slot, failed[i][2]) or ordinal end
    at = stop
  end
end

--- Passes on the items of one stage, and the reference, when all that comes before them has gone on.
---@param segment table
---@param ordinal integer? of the earliest item that they are output of; nil: at once
---@param edge integer
---@param block integer
---@param offset integer bytes
---@param length integer bytes
---@param count integer items
function inbox:in_order(segment, ordinal, edge, block, offset, length, count)
  if not ordinal then return self:worker_emitted(segment, edge, block, offset, length, count) end
  segment.order:put(ordinal, length, { edge, block, offset, length, count,
    origin = self.resume and self.acks:hold(1) or nil })
end

--- Passes on the items of one stage in a range, and its reference: to its receivers, or into the result.
---@param segment table
---@param id integer the stage
---@param block integer
---@param offset integer bytes
---@param length integer bytes
---@param count integer items of that stage
function inbox:worker_emitted(segment, id, block, offset, length, count)
  if id & report.TO ~= 0 then return self:worker_sent(segment, id, block, offset, length, count) end
  local stage = self.plan.stages[id]
  if not stage or self.segment_of[id] ~= segment then
    self:fail(("%s: a worker sent items of a stage that is not its own"):format(segment.plan.context))
  end
  count_out(self, segment, count)
  if not stage.terminal then return self:route(self.outlets[id].targets, block, offset, length, count, id) end
  local list = self.streams and self.result.items or self.result.by_stage[stage.name]
  local before = #list
  local n, refused = self.pool:decode_into(list, before, block, offset, length, id)
  if not n then self:fail(("stage '%s': a result cannot be read: %s"):format(stage.name, refused)) end
  local read = n - before
  if refused and read > count or not refused and read ~= count then damaged(self, segment) end
  self.pool:release(block)
  if refused then self:items_refused(stage, refused) end
  if self.resume then self.resume:keep_items(n - before) end
  if list ~= self.result.items then table.move(list, before + 1, n, #self.result.items + 1, self.result.items) end
end

--- Passes on items, and the reference, that a worker has sent to one stage, by emit:to or by a route.
---@param segment table
---@param address integer `report.TO` plus the stage
---@param block integer
---@param offset integer bytes
---@param length integer bytes
---@param count integer items
function inbox:worker_sent(segment, address, block, offset, length, count)
  local target = self.plan.stages[address & ~report.TO]
  if not target or target.kind == "producer" then
    self:fail(("%s: a worker sent items to a stage that there is not"):format(segment.plan.context))
  end
  count_out(self, segment, count)
  self:route({ target.id }, block, offset, length, count, address)
end

local on_event = {
  out = inbox.on_out,
  done = function(self, segment, slot, number, items, ended, streamed, seconds)
    if self.resume then self.acks.origin = segment:origin_of(slot, number) or false end
    segment:on_done(slot, number, items, ended, streamed, seconds)
    if items > 0 then self:release_overdraft(slot) end
  end,
  need = function(_, segment, slot, bytes) segment:on_need(slot, bytes) end,
  left = function(_, segment, slot, number, block, offset, length, count, _, _, _, _, in_hand, how, step)
    segment:on_left(slot, { number = number, block = block, offset = offset, length = length, count = count,
      in_hand = in_hand, how = how, step = step > 0 and step or nil })
  end,
  rest = function(_, segment, slot, ...) segment:on_rest(slot, ...) end,
  exit = function(_, segment, slot, pid, code, signal, expected)
    segment:on_exit(slot, pid, code, signal, expected)
  end,
  said = function(self, segment, slot, last)
    if self.output then self.output:take(segment, slot, last) end
  end,
  corrupt = function(self, segment, slot, pid)
    segment:on_corrupt(slot)
    self:warn(("%s: worker %d (pid %d) has written what no worker may write, and was killed"):format(
      segment.plan.context, slot.number, pid))
  end,
}

local function handle(self, kind, index, ...)
  if not kind then return false end
  local at, own = self.by_slot[index], self.acks
  local before = own.origin
  at.segment.lacking[at.slot] = true
  on_event[kind](self, at.segment, at.slot, ...)
  own.origin = before
  return true
end

--- Takes everything that workers have said since the last time.
---@return boolean busy whether there was anything
function inbox:collect()
  local pool, busy = self.pool, false
  pool:collect()
  while handle(self, pool:event()) do busy = true end
  return busy
end

return inbox
