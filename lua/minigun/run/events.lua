--- Events: what workers say, taken from the pool.
--
-- Every reference to a block that an event brings is passed on to one piece of work, or released here.
local declared = require "minigun.base.declared"
local report = require "minigun.base.protocol"
local work = require "minigun.base.work"

local events = {}

local COLLECT <const>, type <const> = report.COLLECT, type

local Events = {}
Events.__index = Events

--- Makes what takes the events of a run.
---@param plan table
---@return table events
--- `by_slot`: from the number of a slot to `{ place =, slot = }`; `uncalled`: from a producer that has given functions
--- to its place, or to false where that has ended it
function events.new(plan)
  return declared({ plan = plan, by_slot = {}, uncalled = {}, outcome = false, state = false, acks = false,
    lineage = false, resume = false, answers = false, shared = false, ledger = false, places = false, outlets = false,
    transport = false, failures = false, hooks = false, screen = false,
    at_event = false }, Events) -- one is being taken: `transport` waits for nothing then
end

-- What a worker has written is not what it has announced. Which worker did the damage is not known: all can write
-- everywhere.
local function damaged(self, place)
  self.state:fail(("%s: a worker has damaged the run's shared memory: what was read is not what was announced"):format(
    place.plan.context))
end

-- How many records of each edge are in a range that was announced with so many.
local function count_edges(self, place, range)
  local counts, all = self.shared.pool:edges(range.block, range.offset, range.length), 0
  for _, n in pairs(counts or {}) do all = all + n end
  if all ~= range.count then damaged(self, place) end
  return counts
end

-- --- reports -----------------------------------------------------------------------------------------------------

-- The stages of a group report what they emit, what comes to them inside it, and their times. A stage alone does not:
-- what it emits is counted when it arrives.
local function add_stats(self, row)
  local s = self.outcome.stats[row[1]]
  s.items_in = s.items_in + row[2]
  if not self.plan.stages[row[1]].recipe then s.items_out = s.items_out + row[3] end -- parts of its one value
  s.busy = s.busy + row[4]
  if row[5] then s.service:merge(row[5]) end
end

-- From the kind of a report (base/protocol.lua has their fields) to what takes it. `taken`: what becomes of the reports
-- of a range, see `take_reports`.
local on_report <const> = {
  [COLLECT] = function(self, r) self.outcome:effect("collect", r[2], r[3]) end,
  [report.COUNT] = function(self, r) self.outcome:effect("count", r[2], r[3]) end,
  [report.FAILED] = function(self, r, place, slot, taken, i)
    place:on_failed(slot, self.plan.stages[r[2]], r[3])
    taken.failed[#taken.failed + 1] = { i, r[3] }
  end,
  [report.LOST] = function(self, r, place, slot, taken)
    local stage, fields = self.plan.stages[r[2]], r[3]
    taken.lost = taken.lost + 1
    fields.pid, fields.worker, fields.workers = slot.pid, slot.number, place.n
    if fields.uncalled and self.uncalled[stage] == nil then self.uncalled[stage] = place end
    self.failures:settle(stage, fields, function()
      if fields.item ~= nil then return fields.item end
      return fields.item_text
    end)
  end,
  [report.RESUMED] = function(self, r)
    self.resume.sources[r[2]].skipped = r[3]
    if r[4] then self.state:fail(r[4]) end
  end,
  [report.HOOK] = function(self, r)
    self.hooks:fail(r[2], r[3], { message = r[4], traceback = r[5] ~= "" and r[5] or nil })
  end,
  [report.RETURNED] = function(self, r) self.outcome.returns[r[2]] = true end,
  [report.READY] = function(_, _, place, slot) place:on_ready(slot) end,
  [report.STATS] = function(self, r)
    for k = 2, #r do add_stats(self, r[k]) end
  end,
}

-- Takes the i-th report of a range; `wrong[report]`: what cannot be had of it.
local function take_report(self, r, place, slot, taken, i, wrong)
  if r and not report.is_sound(r, self.plan) then damaged(self, place) end
  if not r or r[1] == COLLECT and wrong[r] then
    local id = r and r[4] or place.plan.stages[1]
    self.failures:unreadable(self.plan.stages[id], { { r and r[3], wrong[r] } })
  elseif on_report[r[1]] then
    on_report[r[1]](self, r, place, slot, taken, i)
  end
end

-- Takes the reports in a range: what was collected and counted, failures, statistics, hooks that raised. Returns
-- `failed`, array of `{ number of the report, fields }`, one for each failure, and `lost`, how many items were emitted
-- and could not go on.
local function take_reports(self, place, slot, range, count)
  local list, taken = {}, { failed = {}, lost = 0 }
  local n, refused = self.shared.pool:decode_into(list, 0, range.block, range.offset, range.length, report.EDGE, true)
  if not n then self.state:fail(("%s: a worker's report cannot be read: %s"):format(place.plan.context, refused)) end
  if n ~= count then damaged(self, place) end
  local wrong = {} -- from a report to what is wrong with it: the contents of an object stand for it
  for _, pair in ipairs(refused or {}) do wrong[pair[1]] = pair[2] end
  local values, name = nil, nil -- what has been collected under that name
  for i = 1, n do
    local r = list[i]
    if not refused and type(r) == "table" and r[1] == COLLECT and r[2] ~= nil then -- which most are
      if not values or r[2] ~= name then values, name = self.outcome:collected(r[2]), r[2] end
      values[#values + 1] = r[3]
    else
      take_report(self, r, place, slot, taken, i, wrong)
    end
  end
  return taken
end

-- --- items -------------------------------------------------------------------------------------------------------

local function count_out(self, place, count)
  local ids = place.plan.stages
  if ids[2] or self.plan.stages[ids[1]].recipe then return end
  local s = self.outcome.stats[ids[1]]
  s.items_out = s.items_out + count
end

-- Passes on items, and the reference, that a worker has sent to one stage, by emit:to or by a route.
local function worker_sent(self, place, part)
  local target = self.plan.stages[part.only & ~report.TO]
  if not target or target.kind == "producer" then
    self.state:fail(("%s: a worker sent items to a stage that there is not"):format(place.plan.context))
  end
  count_out(self, place, part.count)
  local among = place.plan.stages
  self.transport:note_sent(among[#among], target.id, among) -- what the ledger passes on by itself it has told once
  self.transport:route({ target.id }, part)
end

-- Items of a terminal stage are what has come of single items. Returns how many, and what cannot be read.
local function answer(self, stage, decode)
  local list = {}
  local n, refused = decode(list, 0)
  for i = 1, n or 0 do
    if not self.answers:value(list[i]) then
      self.outcome:keep_read(stage, function(items, last)
        items[last + 1] = list[i]
        return last + 1
      end)
    end
  end
  return n, refused
end

-- Takes items of a terminal stage, and gives up the reference.
local function keep(self, place, stage, part)
  local pool = self.shared.pool
  local function decode(list, n)
    return pool:decode_into(list, n, part.block, part.offset, part.length, stage.id)
  end
  local read, refused
  if self.answers then read, refused = answer(self, stage, decode)
  else read, refused = self.outcome:keep_read(stage, decode) end
  if not read then self.state:fail(("stage '%s': a result cannot be read: %s"):format(stage.name, refused)) end
  if refused and read > part.count or not refused and read ~= part.count then damaged(self, place) end
  pool:release(part.block)
  if refused then self.failures:unreadable(stage, refused) end
  if self.resume then self.resume:keep_items(read) end
end

--- Passes on the items of one stage in a range, and its reference: to its receivers, or into the result.
---@param place table
---@param part table
--- work of no stage yet: `only` is the stage that has emitted it, or `report.TO` plus a receiver
function Events:worker_emitted(place, part)
  local id = part.only
  if id & report.TO ~= 0 then return worker_sent(self, place, part) end
  local stage = self.plan.stages[id]
  if not stage or self.places.of[id] ~= place then
    self.state:fail(("%s: a worker sent items of a stage that is not its own"):format(place.plan.context))
  end
  count_out(self, place, part.count)
  if stage.terminal then return keep(self, place, stage, part) end
  self.transport:route(self.outlets.of[id].targets, part)
end

-- Passes on the items of one stage, and the reference, when all that comes before them has gone on; `ordinal`: of the
-- earliest item that they are output of; nil: at once.
local function in_order(self, place, ordinal, part)
  if not ordinal then return self:worker_emitted(place, part) end
  part.origin = self.lineage and self.lineage:hold() or nil
  place.order:put(ordinal, part.length, part)
end

-- Passes on the items of a range in which several stages' are mixed; each takes a reference of its own.
local function mixed(self, place, ordinal, counts, range)
  for edge, n in pairs(counts) do
    if edge ~= report.EDGE then
      self.shared.pool:retain(range.block)
      in_order(self, place, ordinal,
        work.of_bytes(nil, range.block, range.offset, range.length, n, edge))
    end
  end
end

-- The same for an ordered place and a range with failures in it. The report of one lies after what items before it have
-- emitted, and before what those after it have: that must not overtake the failed item's next attempt.
local function split_at_failures(self, place, slot, ordinal, failed, range)
  local pool, block, at, limit = self.shared.pool, range.block, range.offset, range.offset + range.length
  for i = 1, #failed + 1 do
    local stop = failed[i] and pool:walk(block, range.offset, range.length, report.EDGE, failed[i][1]) or limit
    local counts = stop >= at and pool:edges(block, at, stop - at)
    if not counts then damaged(self, place) end
    mixed(self, place, ordinal, counts, { block = block, offset = at, length = stop - at })
    if failed[i] then ordinal = place:failed_at(slot, failed[i][2]) or ordinal end
    at = stop
  end
end

-- A range of a producer whose items are numbered as they come; what it has lost is numbered too.
local function on_source(self, place, slot, range)
  local resume = self.resume
  local source, counts = resume.sources[place.plan.stages[1]], { [range.only] = range.count }
  if range.only == report.ANY then counts = count_edges(self, place, range) end
  local items, reports, lost = 0, counts[report.EDGE], 0
  for edge, n in pairs(counts) do
    if edge ~= report.EDGE then items = items + n end
  end
  local origin = resume:arrived(source, items)
  if not reports then resume:mark_range(origin, self.shared.pool, range.block, range.offset, range.length) end
  self.acks.origin = origin
  if reports then lost = take_reports(self, place, slot, range, reports).lost end
  local more = resume:arrived(source, lost).ranges
  table.move(more, 1, #more, #origin.ranges + 1, origin.ranges)
  mixed(self, place, nil, counts, range)
  self.shared.pool:release(range.block)
  origin.fresh = nil
  self.acks:release(origin, 1)
end

-- --- the events --------------------------------------------------------------------------------------------------

-- From the kind of an event to what takes it: bytes, items and seconds, as the pool reports them. What the ledger sees
-- to by itself does not come here.
local on_event <const> = {
  -- A range that a worker has committed, and its reference: items go to their receivers, reports are read.
  out = function(self, place, slot, block, offset, length, count, edge, number)
    local range = work.of_bytes(nil, block, offset, length, count, edge)
    if self.resume and self.resume.sources[place.plan.stages[1]] then return on_source(self, place, slot, range) end
    if self.lineage then self.acks.origin = place:origin_of(slot, number) or false end
    local ordinal = place.order and place:output_ordinal(slot, number)
    if edge ~= report.ANY and edge ~= report.EDGE then return in_order(self, place, ordinal, range) end
    local counts = count_edges(self, place, range)
    local reports = counts[report.EDGE]
    local failed = reports and take_reports(self, place, slot, range, reports).failed
    if ordinal and failed and #failed > 0 then
      split_at_failures(self, place, slot, ordinal, failed, range)
    else
      mixed(self, place, ordinal, counts, range)
    end
    self.shared.pool:release(range.block)
  end,
  done = function(self, place, slot, number, items, ended, streamed, seconds)
    if self.lineage then self.acks.origin = place:origin_of(slot, number) or false end
    place:on_done(slot, number, items, ended, streamed, seconds)
  end,
  left = function(_, place, slot, number, block, offset, length, count, only, ...)
    local in_hand, how, step = select(4, ...)
    place:on_left(slot, { number = number, block = block, offset = offset, length = length, count = count, only = only,
      in_hand = in_hand, how = how, step = step > 0 and step or nil })
  end,
  exit = function(_, place, slot, pid, code, signal, expected) place:on_exit(slot, pid, code, signal, expected) end,
  said = function(self, place, slot, last) self.screen:take(place, slot, last) end,
  corrupt = function(self, place, slot, pid)
    self.outcome:warn(("%s: worker %d (pid %d) has written what no worker may write, and was killed"):format(
      place.plan.context, slot.number, pid))
  end,
  ["taken over"] = function(_, place, slot, own) place:on_taken_over(slot, own) end,
  retire = function(_, place, slot) place:on_retire(slot) end,
}

local function handle(self, busy, kind, index, ...)
  if not kind then return busy, false end
  local at, acks = self.by_slot[index], self.acks
  local before, outer = acks.origin, self.at_event
  self.at_event = true
  on_event[kind](self, at.place, at.slot, ...)
  acks.origin, self.at_event = before, outer
  return busy, true
end

-- Ends producers in workers that give functions only: what else they have given is counted by now.
local function end_functions(self)
  for stage, place in next, self.uncalled do
    local message = place and self.failures:only_functions(stage, self.outcome.stats[stage.id].items_out)
    if message then
      self.uncalled[stage] = false
      self.failures:settle(stage, { kind = "error", message = message, attempt = 1 }, function() end)
      place:stop_producer()
    end
  end
end

--- Takes everything that workers have said since the last time.
---@return boolean busy whether there was anything
function Events:collect()
  local ledger, pool, busy, more = self.ledger, self.shared.pool, false, true
  if not pool then return false end
  pool:collect()
  while more do busy, more = handle(self, ledger:collect(busy)) end
  if next(self.uncalled) then end_functions(self) end
  return busy
end

return events
