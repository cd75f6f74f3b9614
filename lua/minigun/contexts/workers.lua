--- A segment whose stages run in child processes: `processes(n)` and `process_per_batch{max = n}`.
--
-- The ledger of a segment: every item that was pushed is in the queue, in a worker's hands, or waits for its next
-- attempt, until the run is told that it is finished. Entries are work (base/work.lua).
-- Its methods for the ends of workers, expected and other, lie in ends.lua.
local acks = require "minigun.policy.acks"
local core = require "minigun.core"
local order = require "minigun.policy.order"
local queue = require "minigun.base.queue"
local report = require "minigun.base.protocol"
local stats = require "minigun.base.stats"
local work = require "minigun.base.work"
local worker = require "minigun.child.main"

local forked = {}

local BLOCK <const> = report.UNIT
local LENT <const> = 2          -- empty blocks that a worker has in store
local EAGAIN <const> = 11
local SIGKILL <const> = 9
-- Seconds that a worker may be at a chunk while another one has nothing to do, before what it has not begun of it is
-- taken back: as long as a chunk should take; and at most between two tries.
local LATE <const>, LATE_MOST <const> = 0.001, 0.064

local Segment = {}
Segment.__index = Segment
forked.methods = Segment -- threads.lua has some of them too

for name, method in pairs(require "minigun.contexts.ends") do Segment[name] = method end

--- Makes a segment; nothing is forked yet.
---@param run table the run it belongs to
---@param segment table of the plan
---@param first integer number of its first slot in the pool
---@return table segment
function forked.new(run, segment, first)
  local self = setmetatable({
    run = run, plan = segment, pool = run.pool, first = first, last = first + segment.n - 1,
    per_item = segment.kind == "process_per_batch", by_value = segment.kind == "process_per_batch",
    slots = {}, queue = queue.new(), lanes = {}, queued = 0, queued_bytes = 0,
    rate = stats.rate(), restarts = {}, wants = {}, thirsty = {}, finishing = false, targets = {}, timeout = nil,
    spawned = 0, arrived = 0, -- items, in their order
    look_at = nil,            -- when to look for workers that are late, on the monotonic clock
    told = {},                -- loop stages whose workers know that nothing more comes
    only_way_in = nil,        -- the stage that all of them have come to; false: there are several
    out_size = BLOCK, small = 0, -- bytes of a block to lend; ranges in a row that would have fitted a quarter of it
  }, Segment)
  if segment.ordered then
    self.order = order.new(function(part)
      run.acks:under(part.origin, run.worker_emitted, run, self, table.unpack(part))
    end, run.memory // 8)
  end
  for i = 1, segment.n do
    if segment.groups then
      local ok, message = run.pool:widen(first + i - 1, segment.width)
      if not ok then run:fail(message) end
    end
    self.slots[i] = { number = i, index = first + i - 1, hand = {}, hands = 0, failed = {}, left = {}, items = 0,
      restarts = -1, behind = 0 } -- the ordinal behind that of the last item of the chunk in hand that has failed
  end
  for _, id in ipairs(segment.stages) do
    local stage = run.plan.stages[id]
    if stage.timeout then self.timeout = (self.timeout or 0) + stage.timeout end
  end
  return self
end

-- --- the queue ---------------------------------------------------------------------------------------------------

--- Adds work, first to be taken or last; in an ordered segment to its place.
---@param entry table
---@param in_front boolean?
function Segment:push(entry, in_front)
  local own = entry.lane and self.lanes[entry.lane] or self.queue
  if not entry.first then
    entry.first, self.arrived = self.arrived + 1, self.arrived + entry.count
    if self.only_way_in == nil then self.only_way_in = entry.stage end
    if self.only_way_in ~= entry.stage then self.only_way_in = false end
    if next(self.told) then self:go_on_with_loops() end
    own:push(entry)
  elseif self.order then
    own:insert(entry)
  else
    own:push(entry, in_front)
  end
  self.queued = self.queued + entry.count
  self.queued_bytes = self.queued_bytes + (entry.length or 0)
  local s = self.run.stats[entry.stage]
  s.queue_most = math.max(s.queue_most, self.queued)
end

--- Prepares for entries that only one worker may have.
function Segment:open_lanes()
  self.partitioned = true
  for i in ipairs(self.slots) do self.lanes[i] = queue.new() end
end

-- The queue from which a worker takes next; nil: there is nothing for it.
function Segment:queue_for(slot)
  local lane = self.lanes[slot.number]
  local own = lane and lane:first() and lane or self.queue
  local entry = own:first()
  return entry and (not self.order or self.order:may_begin(entry.first)) and own
end

-- At most n items of the oldest entry of a queue.
function Segment:take(n, own)
  local entry = own:first()
  local slice = entry
  if entry.count > n and entry.block then
    local at, count = self.pool:walk(entry.block, entry.offset, entry.length, entry.only, n)
    if not at or count < n then
      self.run:fail(("a worker of an earlier stage has damaged a block that holds items for '%s'"):format(
        self.run.plan.stages[entry.stage].name))
    end
    self.pool:retain(entry.block)
    local origin = entry.origin and acks.cut(entry, n)
    slice = work.cut(entry, n, at)
    slice.origin = origin
  else
    own:pop()
  end
  self.queued = self.queued - slice.count
  self.queued_bytes = self.queued_bytes - (slice.length or 0)
  return slice
end

--- Whether those who send to this segment should wait.
---@return boolean
function Segment:full()
  if self.queued_bytes > self.run.queue_bytes and self.queued > 2 * self.plan.n then return true end
  if self.blocked and self.queued >= self.plan.n or self.limited and self.run.room_of(self) <= 0 then return true end
  return self.per_item and self.queued >= 64 + 4 * self.plan.n
end

-- --- workers -----------------------------------------------------------------------------------------------------

function Segment:spawn(slot, value)
  local run = self.run
  run:hooks(self.plan.hooks.before_fork, { stage = self:name(), worker = slot.number })
  run.heap:prepare(self.queued, self:full())
  local start = core.now()
  local pid, message, errno = self.pool:spawn(slot.index, run.held_most, worker.main, {
    plan = run.plan, segment = self.plan, number = slot.number, turn = self.spawned, value = value,
    source = run.resume and run.resume.sources[self.plan.stages[1]],
  })
  if not pid then
    if errno == EAGAIN and self:alive() > 0 and not self.partitioned then
      run:warn(("%s: %s; running with %d workers"):format(self.plan.context, message, self:alive()))
      self:drop_ends(slot)
      return false
    end
    run:fail(("%s: %s; is the limit of processes (ulimit -u) or of memory too low?"):format(self.plan.context, message))
  end
  run.heap:forked(core.now() - start)
  self.spawned = self.spawned + 1
  self.thirsty[slot] = true
  slot.pid, slot.since, slot.busy, slot.hands, slot.restarts = pid, core.now(), 0, 0, slot.restarts + 1
  slot.ends = self.per_item
  self:lend(slot, self.out_size)
  return true
end

--- The name by which messages and hooks call the segment: its only stage's, or all of them.
---@return string
function Segment:name()
  local names = {}
  for i, id in ipairs(self.plan.stages) do names[i] = self.run.plan.stages[id].name end
  return table.concat(names, "+")
end

--- How many items of a stage are here: in the queue, and in the hands of workers.
---@param id integer
---@return integer queued
---@return integer in_hand
function Segment:tally(id)
  local queued, in_hand = self.queue:items(id), 0
  for _, lane in pairs(self.lanes) do queued = queued + lane:items(id) end
  for _, slot in ipairs(self.slots) do
    for _, entry in pairs(slot.hand) do
      if entry.stage == id then in_hand = in_hand + entry.count - (entry.finished or 0) end
    end
  end
  return queued, in_hand
end

--- How many workers live.
---@return integer
function Segment:alive()
  local n = 0
  for _, slot in ipairs(self.slots) do n = n + (slot.pid and 1 or 0) end
  return n
end

--- Whether a worker has something in hand.
---@return boolean
function Segment:working()
  for _, slot in ipairs(self.slots) do
    if slot.hands > 0 then return true end
  end
  return false
end

--- Forks the workers of a pool; a fork per batch begins with none.
function Segment:start()
  if self.per_item then return end
  for _, slot in ipairs(self.slots) do
    if not self:spawn(slot) then break end
  end
end

function Segment:flags(stage)
  return (stage.kind == "producer" and report.LOOSE or 0) | (self.timeout and report.TIMED or 0)
    | (self.plan.groups and report.SET or 0) | (stage.kind == "producer" and self.limited and report.SINGLY or 0)
end

function Segment:offer(slot, entry)
  local run = self.run
  run.chunks = run.chunks + 1
  if entry.block then self.pool:retain(entry.block) end
  local taken = self.pool:offer(slot.index, run.chunks, entry.block or false, entry.offset or 0, entry.length or 0,
    entry.count, entry.only or report.ANY, entry.stage, entry.attempt, self:flags(run.plan.stages[entry.stage]))
  if not taken then
    if entry.block then self.pool:release(entry.block) end
    self:push(entry, true)
    return false
  end
  if entry.death then entry.death = self:survived(entry.death, slot) end
  slot.hand[run.chunks] = entry
  slot.hands = slot.hands + 1
  return true
end

-- room: for how many items' output there is room, beside that of those in hand; each worker may have one all the same.
function Segment:dispatch_pool(room)
  local n, depth = stats.slice(self.rate, self.queued // (4 * self.plan.n)), stats.depth(self.rate)
  if self.plan.groups then n, depth, room = 1, self.plan.width, math.huge end -- each worker has threads for so many
  local busy = false
  local slots <const> = self.slots
  for level = 1, depth do
    for i = 1, #slots do
      local slot = slots[i]
      if self.queued == 0 then return busy end
      if room < 1 and level > 1 then return busy end
      local own = slot.pid and slot.hands < level and self:queue_for(slot)
      local most = room < n and math.max(1, room) or n
      if own and own:first().returned then -- the next slow item may be among these: every worker gets some
        most = math.min(most, (self.queued - 1) // self:alive() + 1)
        own = level == 1 and own
      end
      local entry = own and self:take(most, own)
      if entry and self:offer(slot, entry) then busy, room = true, room - entry.count end
    end
  end
  return busy
end

function Segment:dispatch_per_item()
  local busy = false
  for _, slot in ipairs(self.slots) do
    if self.queued == 0 then break end
    if not slot.pid then
      local own = self:queue_for(slot)
      if not own then break end
      local entry = self:take(1, own)
      if not self:spawn(slot, entry.value) then
        self:push(entry, true)
        break
      end
      self:offer(slot, entry)
      self.pool:finish(slot.index)
      busy = true
    end
  end
  return busy
end

-- The chunk that a worker is at, and the ordinal of its first unfinished item, and its number; nil: it has
-- none.
local function chunk_of(slot)
  local first
  for number in pairs(slot.hand) do first = math.min(first or number, number) end
  local entry = slot.hand[first]
  return entry, entry and entry.first + (entry.finished or 0), first
end

--- How many items that have come to a stage are in work: one of each worker, or one of each thread.
---@param id integer
---@return integer
function Segment:in_work(id)
  local n = 0
  for _, slot in ipairs(self.slots) do
    if self.plan.groups then
      for _, entry in pairs(slot.hand) do n = n + (entry.stage == id and 1 or 0) end
    elseif slot.hands > 0 then
      local entry = chunk_of(slot)
      n = n + (entry and entry.stage == id and 1 or 0)
    end
  end
  return n
end

-- Items in workers' hands.
function Segment:unfinished()
  local n = 0
  for _, slot in ipairs(self.slots) do
    for _, entry in pairs(slot.hand) do n = n + entry.count - (entry.finished or 0) end
  end
  return n
end

--- A worker ends a chunk earlier: what it has not begun, with a reference, goes back to the queue.
---@param slot table
---@param number integer of the chunk
---@param offset integer bytes, of the rest
---@param length integer bytes
---@param count integer items
function Segment:on_rest(slot, number, _, offset, length, count)
  local entry = slot.hand[number]
  local rest = work.cut_end(entry, count, offset, length)
  rest.returned = true
  self:push(rest, true)
end

-- Takes back what workers have not begun of a chunk that takes them long.
function Segment:relieve()
  local now = core.now()
  for _, slot in ipairs(self.slots) do
    local entry, _, number = chunk_of(slot)
    if entry and entry.block and entry.count - (entry.finished or 0) > 1 and not self.wants[slot] then
      if slot.seen ~= number then slot.seen, slot.patience, slot.late_at = number, LATE, now + LATE end
      local _, block, offset, length, count
      if slot.late_at <= now then
        slot.patience = math.min(2 * slot.patience, LATE_MOST)
        slot.late_at = now + slot.patience
        _, block, offset, length, count = self.pool:shorten(slot.index)
      end
      if block then self:on_rest(slot, number, block, offset, length, count)
      else self.look_at = math.min(self.look_at or slot.late_at, slot.late_at) end
    end
  end
end

-- Nothing is queued any more and a worker idles while another has a slice in store: it goes back to the queue.
function Segment:rebalance()
  if self.per_item or self.plan.n == 1 or self.partitioned then return end
  local idle = 0
  for _, slot in ipairs(self.slots) do idle = idle + (slot.pid and slot.hands == 0 and 1 or 0) end
  if idle == 0 then return end
  for _, slot in ipairs(self.slots) do
    if idle == 0 then break end
    local number = slot.hands >= 2 and self.pool:revoke(slot.index)
    if number then
      local entry = slot.hand[number]
      slot.hand[number] = nil
      slot.hands = slot.hands - 1
      if entry.block then self.pool:release(entry.block) end
      self:push(entry)
      idle = idle - 1
    end
  end
  if self.queued == 0 and not self.plan.groups then self:relieve() end
end

--- Whether a worker has nothing to do and finds nothing.
---@return boolean
function Segment:idles()
  if self.queued > 0 then return false end
  for _, slot in ipairs(self.slots) do
    if self.per_item and not slot.pid or not self.per_item and slot.pid and slot.hands == 0 then return true end
  end
  return false
end

--- Hands work to workers that have room for it.
---@return boolean busy whether anything was handed over
function Segment:dispatch()
  self.look_at = nil
  if self.queued == 0 then self:rebalance() end
  if self.queued == 0 then return false end
  local room = math.huge
  if self.limited then
    room = self.run:room(self.targets, self.per)
    self.blocked = room < 1
    if self.blocked then return false end
    room = room - self:unfinished()
  end
  if self.per_item then return self:dispatch_per_item() end
  return self:dispatch_pool(room)
end

--- Lends an empty block.
function Segment:lend(slot, size)
  return self.pool:lend(slot.index, size)
end

-- The worker that has the oldest unfinished item of all: a further attempt may have come to it after younger ones.
function Segment:oldest()
  local oldest, ordinal
  for _, slot in ipairs(self.slots) do
    for _, entry in pairs(slot.hand) do
      local at = entry.first + (entry.finished or 0)
      if not ordinal or at < ordinal then oldest, ordinal = slot, at end
    end
  end
  return oldest
end

--- Gives workers blocks to fill, unless those behind them should first catch up.
function Segment:supply()
  local run, blocked = self.run, nil
  local singly = self.limited and run.plan.stages[self.plan.stages[1]].kind == "producer"
  for slot in pairs(self.thirsty) do
    local want = self.wants[slot]
    local _, lent, held = self.pool:state(slot.index)
    if not slot.pid or (not want and lent >= (singly and 0 or LENT)) then
      self.thirsty[slot] = nil
    else
      if blocked == nil then blocked = run:receivers_full(self.targets) end
      local size = math.max(want and want.bytes or 0, self.out_size)
      local oldest = self.order and self:oldest()
      local younger = self.order and slot ~= oldest
      -- An item that is older than the one that has overdrawn may come back to another worker.
      if want and oldest == slot then run:take_overdraft(slot, self.slots) end
      -- It waits for those behind it, and they may need what it alone may: output that was let through is not held.
      if blocked and held == 0 then run:release_overdraft(slot) end
      if (not blocked or held > 0) and run:may_lend(slot, size, want, younger) and self:lend(slot, size) and want then
        local s = run.stats[self.plan.stages[1]]
        s.waiting_out = s.waiting_out + core.now() - want.since
        self.wants[slot] = nil
      end
    end
  end
end

--- No more work will come: the workers end when they have finished what they have.
function Segment:finish()
  if self.finishing then return end
  self.finishing = true
  local grace = self.run.plan.options.grace
  if grace then self.ends_by, self.run.timed = core.clock() + grace, true end
  for _, slot in ipairs(self.slots) do
    if slot.pid then self.pool:finish(slot.index) end
  end
end

-- --- what workers say --------------------------------------------------------------------------------------------

--- A worker waits for a block of at least this size.
function Segment:on_need(slot, bytes)
  self.wants[slot] = { bytes = bytes, since = core.now() }
  if bytes > self.out_size then self.out_size, self.small = bytes, 0 end -- more items of this size may follow
end

--- A worker has committed a range of so many bytes: when large items have ceased, blocks become smaller again.
---@param bytes integer
function Segment:on_range(bytes)
  if self.out_size == BLOCK then return end
  self.small = bytes * 4 < self.out_size and self.small + 1 or 0
  if self.small > 64 then self.out_size, self.small = math.max(BLOCK, self.out_size // 2), 0 end
end

--- The ordinal of the earliest item that output of a worker may be of; nil where order does not matter.
---@param slot table
---@param number integer of the chunk that it is of, where the worker has threads
---@return integer?
function Segment:output_ordinal(slot, number)
  if not self.order then return nil end
  if self.plan.groups then return slot.hand[number] and slot.hand[number].first or 1 end
  local _, at = chunk_of(slot)
  return math.max(at or 1, slot.behind)
end

-- Items are finished: `n` of an entry behind the first `passed`.
function Segment:finished(entry, passed, n)
  self.run:finished(entry.stage, n, entry.origin)
  if not self.order then return end
  if entry.again then self.order:settled(entry.first)
  else self.order:finished(entry.first + passed, n) end
end

--- What a worker says is of this origin, see policy/acks.lua; nil: of no chunk, or of a producer's.
---@param slot table
---@param number integer? of the chunk, where the worker has threads
---@return table?
function Segment:origin_of(slot, number)
  local entry = slot.hand[number]
  if not entry and not self.plan.groups then entry = chunk_of(slot) end
  return entry and entry.origin
end

--- Items of a chunk are finished.
function Segment:on_done(slot, number, items, ended, streamed, seconds)
  local run, entry = self.run, slot.hand[number]
  if not entry then return end -- a chunk that was taken back
  if entry.attempt > 0 then
    slot.items, slot.loops_ended = slot.items + items, nil
  elseif items > 0 then
    slot.loops_ended = slot.loops_ended or {}
    slot.loops_ended[entry.stage] = true
  end
  slot.busy = slot.busy + seconds
  entry.busy = (entry.busy or 0) + seconds
  local s, alone = run.stats[entry.stage], #self.plan.stages == 1 -- the stages of a block tell their times themselves
  if alone then s.busy = s.busy + seconds end
  for i = 1, #slot.failed do
    local failure = slot.failed[i]
    slot.failed[i] = nil
    failure.fields.partial = failure.fields.partial or streamed or nil
    run:item_failed(self, slot, failure.stage, failure.fields, entry)
  end
  if items > 0 then
    local passed = entry.finished or 0
    entry.finished = passed + items
    self:finished(entry, passed, items)
  end
  if not ended then return end
  slot.behind = 0
  if entry.count > 0 and entry.attempt > 0 and run.plan.stages[entry.stage].kind ~= "producer" then
    stats.learn(self.rate, entry.busy, entry.count)
    if alone then s.service:add(entry.busy / entry.count, entry.count) end
  end
  slot.hand[number] = nil
  slot.hands = slot.hands - 1
  if entry.block then self.pool:release(entry.block) end
end

--- The worker has reported a failed item; what is to be done is decided when the item is done.
function Segment:on_failed(slot, stage, fields)
  slot.failed[#slot.failed + 1] = { stage = stage, fields = fields }
end

--- An item of the chunk in hand has failed: the ordinal behind it, with which the output that follows begins.
---@param slot table
---@param fields table of the failure
---@return integer?
function Segment:failed_at(slot, fields)
  if self.plan.groups then return nil end -- all of it is of one item
  local entry, passed = chunk_of(slot), fields.index or fields.place
  if not entry or not passed then return nil end
  slot.behind = entry.first + passed + 1
  return slot.behind
end

--- A dead worker's unfinished chunk; kept until it is known how the worker ended.
function Segment:on_left(slot, left)
  slot.left[#slot.left + 1] = left
end

-- What is left of a chunk goes on: its first item as failed, if it was in hand, the rest back to the queue.
function Segment:return_left(slot, left, fields, death)
  local run, entry = self.run, slot.hand[left.number]
  run.acks.origin = entry.origin or false
  if entry.block then self.pool:release(entry.block) end -- the ledger's; the event has brought another reference
  local rest = work.part(entry, entry.finished or 0, left.count, left.offset, left.length)
  if left.in_hand then
    local one = rest
    if rest.block then run:check_entry(rest) end
    if rest.count > 1 then
      local at = self.pool:walk(rest.block, rest.offset, rest.length, rest.only, 1)
      self.pool:retain(rest.block)
      one = work.cut(rest, 1, at)
    else
      rest = nil
    end
    if self.stop_killed then -- its output is where it should be
      run:warn(("stage '%s': the producer (pid %d) did not end when the run was stopped, and was killed"):format(
        self:name(), fields.pid))
      return run:finished(entry.stage, 1)
    end
    fields.index, fields.attempt, fields.step = 0, one.attempt, left.step
    if one.attempt == 0 and fields.message then fields.message = fields.message:gsub("the item", "its end") end
    fields.partial = left.how & report.STREAMED ~= 0 or run.plan.stages[one.stage].kind == "producer" or nil
    death.record = run:item_failed(self, slot, run.plan.stages[one.stage], fields, one)
    self:finished(one, 0, 1)
    if one.block then self.pool:release(one.block) end
  end
  if rest then
    rest.death = death
    self:push(rest, true)
  end
end

-- Those of the run, and of the nested pipelines that have a stage here.
function Segment:exit_hooks()
  local list = {}
  for _, hook in ipairs(self.run.plan.hooks.on_worker_exit) do
    local own = not hook.stages
    for _, id in ipairs(self.plan.stages) do own = own or hook.stages[id] end
    if own then list[#list + 1] = hook end
  end
  return list
end

--- A worker has ended.
function Segment:on_exit(slot, pid, code, signal, expected)
  local run = self.run
  local in_flight, in_hand = 0, nil
  expected = expected and #slot.left == 0 -- not by os.exit(0) in a handler
  for _, left in ipairs(slot.left) do
    in_flight = in_flight + left.count
    if left.in_hand then in_hand = left end
  end
  self:count_worker(slot, pid, code, signal, expected)
  if not expected then self:lost_loops(slot, pid, self.cause(code, signal), in_hand) end
  slot.pid, slot.items, self.wants[slot], run.ledger.changed = nil, 0, nil, true
  run:release_overdraft(slot)
  local any_late, death = false, {}
  for i = #slot.left, 1, -1 do -- from the last: each goes to the front of the queue
    -- Of a worker with threads: by whose time-out it was killed; unless it had left by itself when the signal came.
    local late = slot.left[i].how & report.TIMED_OUT ~= 0 and (signal == SIGKILL or not signal)
    any_late = any_late or late
    self:return_left(slot, slot.left[i], {
      kind = late and "timeout" or "crash", pid = pid, worker = slot.number,
      message = late and ("the item took longer than %g s; its worker was killed"):format(self.timeout)
        or not code and "the worker " .. self.cause() or nil,
      signal = signal ~= 0 and signal or nil, code = signal == 0 and code or nil, in_flight = in_flight,
    }, death)
  end
  local nothing_left = #slot.left == 0
  slot.left, slot.hand, slot.hands, slot.failed, slot.behind, slot.loops_ended = {}, {}, 0, {}, 0, nil
  run:hooks(self:exit_hooks(), nil, {
    pid = pid, stage = self:name(), worker = slot.number, code = code, signal = signal ~= 0 and signal or nil,
    expected = expected,
  })
  if expected or self.stops_by and #self.slots == 1 and not self.finishing then return end
  if self.finishing or (self.per_item and nothing_left) then return self:died_at_end(slot, pid, code, signal) end
  -- A time-out is the coordinator's own deed; and of a fork per batch, an item in hand has paid with an attempt.
  if not any_late and not (self.per_item and in_hand) then self:count_restart(code, signal) end
  if not self.per_item then self:spawn(slot) end
end

--- Whether every worker has ended and nothing is left.
---@return boolean
function Segment:ended()
  return self.finishing and self.queued == 0 and self:alive() == 0
end

return forked
