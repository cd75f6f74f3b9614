--- The runner: the coordinator's only loop. It admits items, hands them out, collects, routes, retries and drains.
--
-- Invariants
-- 1. `pending[stage]` counts the items that the stage has accepted and not finished: queued, in a worker's hands, or
--    waiting for the next attempt. A stage is drained when every stage that sends to it is, and it has none pending.
-- 2. Every reference to a block that an event brings is passed on to one entry, or released here.
-- 3. Whatever happens, `Run:close` ends every child and gives back every descriptor and mapping.
local chain = require "minigun.chain"
local context = require "minigun.context"
local core = require "minigun.core"
local failure = require "minigun.failure"
local forked = require "minigun.forked"
local plan = require "minigun.plan"
local report = require "minigun.report"
local result = require "minigun.result"
local signals = require "minigun.signals"

local runner = {}

local BLOCK <const> = 65536
local WAIT <const>, MORE <const> = "wait", "more" -- what a producer's coroutine says when it yields
local LARGE_HEAP <const> = 64 * 1024              -- KiB of Lua heap from which forks are worth preparing for
local INLINE_SECONDS <const> = 0.0005             -- spent in stages of the coordinator before it looks after workers
local COLLAPSE_COST <const> = 0.003               -- seconds per MiB that joining pages into huge ones takes

local Run = {}
Run.__index = Run

local function default_memory()
  local file = io.open "/proc/meminfo"
  local kib = file and tonumber((file:read "a"):match "MemTotal:%s*(%d+)")
  if file then file:close() end
  return math.min(1 << 30, kib and kib * 256 or 1 << 28)
end

-- --- setting up --------------------------------------------------------------------------------------------------

local function new(pipeline, given)
  local p = plan.build(pipeline, given)
  return setmetatable({
    pipeline = pipeline, plan = p, result = result.new(p), memory = p.options.memory or default_memory(),
    segments = {}, by_slot = {}, pending = {}, drained = {}, inline_queue = {}, inline_head = 1, inline_tail = 0,
    retries = {}, producers = {}, writers = {}, outlets = {}, reach = {}, chunks = 0, fork_seconds = 0,
    pid = core.pid(), process = core.process(), started = core.now(), changed = true, unseen = 0,
    guard = core.guard(), -- of Ctrl-C, see signals.lua
  }, Run)
end

--- The statistics of a stage, by id.
---@param id integer
---@return table
function Run:stats_of(id)
  return self.result.stats.stages[self.plan.stages[id].name]
end

--- Notes something that the user should know and that fails nothing.
---@param text string
function Run:warn(text)
  local warnings = self.result.stats.warnings
  warnings[#warnings + 1] = text
end

--- Ends the run with an error.
---@param text string
function Run:fail(text)
  error(setmetatable({ run_failed = text }, { __tostring = function() return text end }), 0)
end

function Run:effect(kind, name, value)
  local r = self.result
  if kind == "count" then
    r.counters[name] = (r.counters[name] or 0) + value
  else
    local list = r.collected[name]
    if not list then
      list = {}
      r.collected[name] = list
    end
    list[#list + 1] = value
  end
end

function Run:context(fields, effect)
  fields.pipeline, fields.pid = self.plan.name, self.pid
  return context.new(fields, effect or function(...) self:effect(...) end)
end

--- Calls coordinator hooks; one that raises fails the run.
---@param hooks table
---@param fields table? of the ctx; nil: `argument` is passed instead
---@param argument any
function Run:hooks(hooks, fields, argument)
  if #hooks == 0 then return end
  if fields then argument = self:context(fields) end
  for _, hook in ipairs(hooks) do
    local ok, caught = xpcall(hook.f, chain.caught, argument)
    if not ok then self:hook_failed(hook.name, hook.at, chain.as_caught(caught)) end
  end
end

function Run:hook_failed(name, at, caught)
  if signals.is_interrupt(caught.raised) then error(caught.raised, 0) end
  self:fail(("%s\nin hook %s (defined at %s)%s"):format(caught.message, name, at,
    caught.traceback and "\n" .. caught.traceback or ""))
end

local function is_forked(segment) return segment.kind ~= "inline" end

-- The pool, its segments, and which segment a stage is in.
function Run:open_pool()
  local slots = 0
  for _, segment in ipairs(self.plan.segments) do
    if is_forked(segment) then slots = slots + segment.n end
  end
  self.segment_of, self.queue_bytes = {}, math.max(BLOCK, math.min(4 << 20, self.memory // 16))
  self.held_most = math.max(BLOCK, self.memory // 4)
  if slots == 0 then return end
  local pool, message = core.pool(slots, math.max(self.memory * 8, 4 << 30), self.memory)
  if not pool then self:fail(message .. "; is the limit of memory or of open files too low?") end
  self.pool = pool
  self.memory = self.memory + pool:memory() -- what the slots themselves take comes on top
  self.stats_workers = self.result.stats.workers
  local first = 1
  for _, segment in ipairs(self.plan.segments) do
    if is_forked(segment) then
      local s = forked.new(self, segment, first)
      self.segments[#self.segments + 1] = s
      for _, slot in ipairs(s.slots) do self.by_slot[slot.index] = { segment = s, slot = slot } end
      for _, id in ipairs(segment.stages) do self.segment_of[id] = s end
      first = first + segment.n
    end
  end
end

-- For each stage: where its emissions go besides stages of its own process, and which segments fill up behind it.
function Run:draw_routes()
  local stages = self.plan.stages
  for id = #stages, 1, -1 do
    local stage, own = stages[id], self.segment_of[id]
    local outlet, reach = { targets = {}, terminal = stage.terminal }, {}
    for _, target in ipairs(stage.outputs) do
      local segment = self.segment_of[target]
      if segment ~= own or (own and stage.kind == "producer") then outlet.targets[#outlet.targets + 1] = target end
      if segment then reach[segment] = true
      else for each, limit in pairs(self.reach[target]) do reach[each] = limit end end
      if stages[target].queue then reach[target] = stages[target].queue end
    end
    self.outlets[id], self.reach[id] = outlet, reach
    self.pending[id] = 0
    if stage.terminal then self.result.by_stage[stage.name] = {} end
  end
  local terminals = 0
  for _, list in pairs(self.result.by_stage) do
    terminals = terminals + 1
    self.only_list = list
  end
  if terminals == 1 then self.result.items = self.only_list else self.only_list = nil end
  for _, segment in ipairs(self.segments) do
    for _, id in ipairs(segment.plan.stages) do
      for each, limit in pairs(self.reach[id]) do segment.targets[each] = limit end
    end
    segment.targets[segment] = nil
  end
end

-- The chain of the coordinator's own stages.
function Run:open_chain()
  local inline = {}
  for _, stage in ipairs(self.plan.stages) do
    if not self.segment_of[stage.id] then inline[#inline + 1] = stage end
  end
  self.inline = inline
  self.chain = chain.new(inline, {
    deliver = function(stage, item) self:deliver(stage, item) end,
    effect = function(...) self:effect(...) end,
    failed = function(stage, item, caught, attempt, partial)
      if signals.is_interrupt(caught.raised) then error(caught.raised, 0) end
      self:settle_failure(stage, {
        kind = "error", message = caught.message, traceback = caught.traceback, attempt = attempt, partial = partial,
        pid = self.pid,
      }, function() return item end, function()
        return { stage = stage.id, count = 1, value = item }
      end)
    end,
    context = function(stage, effect) return self:context({ stage = stage.name }, effect) end,
    foreign = function() return core.process() ~= self.process end,
    now = core.now,
  })
  for _, stage in ipairs(inline) do
    self:open_outlet(stage)
    self.timed = self.timed or stage.batch and stage.batch.max_wait
  end
  for _, segment in ipairs(self.segments) do self.timed = self.timed or segment.timeout end
end

-- How the coordinator sends out of a stage of its own: values to forks per batch, bytes to pools.
function Run:open_outlet(stage)
  local outlet = self.outlets[stage.id]
  local first, last
  outlet.values, outlet.bytes = {}, {}
  for _, target in ipairs(outlet.targets) do
    local segment = self.segment_of[target]
    local list = segment.per_item and outlet.values or outlet.bytes
    list[#list + 1] = target
    if not segment.per_item then
      first, last = math.min(first or segment.first, segment.first), math.max(last or segment.last, segment.last)
    end
  end
  if not first then return end
  outlet.writer = core.writer(self.pool, stage.id, function(writer, need) self:writer_full(stage, writer, need) end,
    function(value, message)
      self:settle_failure(stage, { kind = "unserialisable", message = message, attempt = 1, pid = self.pid },
        function() return value end)
    end, first, last)
  self.writers[#self.writers + 1] = outlet
end

-- --- moving items ------------------------------------------------------------------------------------------------

--- Takes items into a stage's ledger. The entry's reference is passed on.
function Run:accept(entry)
  local id = entry.stage
  self.pending[id] = self.pending[id] + entry.count
  if not self.plan.stages[id].gathers then -- an accumulator's items are those it gathers, not the batches
    local s = self:stats_of(id)
    s.items_in = s.items_in + entry.count
  end
  self:enqueue(entry)
end

function Run:enqueue(entry)
  local segment = self.segment_of[entry.stage]
  if segment then return segment:push(entry) end
  self.inline_tail = self.inline_tail + 1
  self.inline_queue[self.inline_tail] = entry
end

--- Items of a stage are finished, well or not.
---@param id integer
---@param n integer
function Run:finished(id, n)
  local left = self.pending[id] - n
  self.pending[id] = left
  if left == 0 then self.changed = true end
end

local function keep_item(self, stage, item)
  local list = self.result.by_stage[stage.name]
  list[#list + 1] = item
  if list ~= self.result.items then
    local items = self.result.items
    items[#items + 1] = item
  end
end

--- Sends a Lua value out of a stage of the coordinator.
function Run:deliver(stage, item)
  local outlet = self.outlets[stage.id]
  if outlet.terminal then return keep_item(self, stage, item) end
  for _, target in ipairs(outlet.values) do
    self:accept { stage = target, count = 1, attempt = 1, value = item }
  end
  if outlet.writer then outlet.writer(item) end
end

-- Passes on what is written into the open block.
function Run:flush_writer(outlet)
  local block, offset, length, count = outlet.writer:take()
  if not block then return end
  self:route(outlet.bytes, block, offset, length, count, report.ANY)
  self.pool:release(block)
end

function Run:route(targets, block, offset, length, count, only)
  for _, target in ipairs(targets) do
    self.pool:retain(block)
    self:accept { stage = target, count = count, attempt = 1, block = block, offset = offset, length = length,
      only = only }
  end
end

-- The block of a stage's writer is full (need > 0), or a receiver wants what is in it.
function Run:writer_full(stage, writer, need)
  local outlet = self.outlets[stage.id]
  local direct = stage.kind == "producer" and outlet.direct
  if direct then
    local s = self:stats_of(stage.id)
    s.items_out = s.items_out + (writer:pending())
  end
  self:flush_writer(outlet)
  if direct then
    if need == 0 then self:let_others(MORE)
    else while self:must_wait(stage.id) do self:let_others(WAIT) end end
  end
  if need == 0 then return end
  if not writer:open(math.max(need, BLOCK)) then
    self:fail(("stage '%s': an item of %d bytes or more does not fit into the shared memory that can be had"):format(
      stage.name, need))
  end
end

--- Lets the rest of the run go on from inside a producer.
function Run:let_others(why)
  local in_producer = coroutine.isyieldable() and self.current and coroutine.running() == self.current
  if in_producer then return coroutine.yield(why) end
  local busy = self:turn() -- called through C, from where a coroutine cannot yield
  if not busy and why == WAIT then self:sleep(0.001) end
end

--- Whether receivers should first catch up.
---@param targets table set of segments, and stages' queue limits by id
---@return boolean
function Run:receivers_full(targets)
  for target, limit in pairs(targets) do
    if limit == true then
      if target:full() then return true end
    elseif self.pending[target] >= limit then
      return true
    end
  end
  return false
end

--- Whether a stage of the coordinator should stop emitting for now.
function Run:must_wait(id)
  if self:receivers_full(self.reach[id]) then return true end
  if not self.pool or self.pool:memory() + BLOCK <= self.memory * 3 // 4 then return false end
  for segment, limit in pairs(self.reach[id]) do
    if limit == true then
      for _, stage in ipairs(segment.plan.stages) do
        if self.pending[stage] > 0 then return true end -- memory comes back when these are through
      end
    end
  end
  return false
end

--- Whether a worker may be lent a block: within the limit of memory, or as the one worker that may overdraw it, so that
--- an item in work can always be finished.
function Run:may_lend(slot, size, want)
  local used = self.pool:memory()
  if want then
    if used + size <= self.memory then return true end
    if self.overdraft and self.overdraft ~= slot then return false end
    self.overdraft = slot
    return true
  end
  return used + size <= self.memory // 2
end

--- The worker that has overdrawn has committed its output, or is gone.
function Run:release_overdraft(slot)
  if self.overdraft == slot then self.overdraft = nil end
end

-- --- failures ----------------------------------------------------------------------------------------------------

-- Tries again, or records the failure. `again()` makes the entry of the next attempt; nil: there can be none.
function Run:settle_failure(stage, fields, item, again)
  local attempt = fields.attempt
  local s = self:stats_of(stage.gathers and stage.id or stage.id)
  if attempt <= stage.retries and not fields.partial and again then
    local entry = again()
    if entry then
      entry.attempt = attempt + 1
      s.retried = s.retried + 1
      self.pending[stage.id] = self.pending[stage.id] + 1
      self.retries[#self.retries + 1] = { due = core.now() + stage.backoff, entry = entry }
      return
    end
  end
  s.failed = s.failed + 1
  fields.stage, fields.attempts, fields.attempt = stage.name, attempt, nil
  fields.item, fields.index = item(), nil
  local record = failure.new(fields)
  local failures = self.result.failures
  failures[#failures + 1] = record
  for _, hook in ipairs(self.plan.hooks.on_failure) do
    local ok, answer = xpcall(hook.f, chain.caught, record, self:context { stage = stage.name })
    if not ok then self:hook_failed(hook.name, hook.at, chain.as_caught(answer)) end
    if answer == "stop" then self.stopping = true end
  end
  if self.plan.options.failures == "stop" then self.stopping = true end
end

--- An item has failed in a worker.
function Run:item_failed(segment, slot, stage, fields, entry)
  fields.pid, fields.worker, fields.workers = fields.pid or slot.pid, slot.number, segment.plan.n
  local pool, at, limit = self.pool, nil, nil
  if fields.index and entry.block then
    at = pool:walk(entry.block, entry.offset, entry.length, entry.only, fields.index)
    limit = entry.offset + entry.length
  end
  local function item()
    if fields.item ~= nil then return fields.item end
    if at then return (select(2, pool:decode(entry.block, at, limit, entry.only))) end
    if entry.value ~= nil and fields.index then return entry.value end
    return fields.item_text
  end
  self:settle_failure(stage, fields, item, stage.kind ~= "producer" and function()
    if at then
      local next_at = pool:walk(entry.block, at, limit - at, entry.only, 1)
      pool:retain(entry.block)
      return { stage = stage.id, count = 1, block = entry.block, offset = at, length = next_at - at, only = entry.only }
    elseif fields.index then
      return { stage = stage.id, count = 1, value = entry.value }
    elseif fields.item ~= nil then
      return self:encode(stage, fields.item)
    end
  end)
end

-- An entry for one Lua value that goes back into a pool.
function Run:encode(stage, item)
  if self.segment_of[stage.id].per_item then return { stage = stage.id, count = 1, value = item } end
  local bad = false
  local writer = core.writer(self.pool, stage.id, function(w, need)
    if need > 0 and not w:open(need) then self:fail "out of shared memory" end
  end, function() bad = true end, 1, 1)
  writer(item)
  local entry
  if not bad then
    local block, offset, length = writer:take()
    entry = { stage = stage.id, count = 1, block = block, offset = offset, length = length, only = report.ANY }
  end
  writer:close()
  return entry
end

-- --- what workers say --------------------------------------------------------------------------------------------

function Run:reports(segment, slot, block, offset, length)
  local list = {}
  local n, message = self.pool:decode_into(list, 0, block, offset, length, report.EDGE)
  if not n then self:fail(("%s: a worker's report cannot be read: %s"):format(segment.plan.context, message)) end
  for _, r in ipairs(list) do
    local kind = r[1]
    if kind == report.COLLECT then self:effect("collect", r[2], r[3])
    elseif kind == report.COUNT then self:effect("count", r[2], r[3])
    elseif kind == report.FAILED then segment:on_failed(slot, self.plan.stages[r[2]], r[3])
    elseif kind == report.HOOK then
      self:hook_failed(r[2], r[3], { message = r[4], traceback = r[5] ~= "" and r[5] or nil })
    elseif kind == report.STATS then
      for i = 2, #r do self:add_stats(r[i]) end
    end
  end
end

-- Stages inside a block: what crosses a process border is counted where it crosses.
function Run:add_stats(row)
  local id, s = row[1], self:stats_of(row[1])
  local stage = self.plan.stages[id]
  s.items_in = s.items_in + row[2]
  if not stage.terminal and #self.outlets[id].targets == 0 then s.items_out = s.items_out + row[3] end
end

function Run:on_out(segment, slot, block, offset, length, count, edge)
  local counts = { [edge] = count }
  if edge == report.ANY then
    counts = self.pool:edges(block, offset, length)
    if not counts then self:fail(("%s: a worker has damaged its block"):format(segment.plan.context)) end
  end
  for only, n in pairs(counts) do
    if only == report.EDGE then
      self:reports(segment, slot, block, offset, length)
    else
      self:worker_emitted(segment, only, block, offset, length, n)
    end
  end
  self.pool:release(block)
end

function Run:worker_emitted(segment, id, block, offset, length, count)
  local stage = self.plan.stages[id]
  if not stage or self.segment_of[id] ~= segment then
    self:fail(("%s: a worker sent items of a stage that is not its own"):format(segment.plan.context))
  end
  local s = self:stats_of(id)
  s.items_out = s.items_out + count
  if not stage.terminal then return self:route(self.outlets[id].targets, block, offset, length, count, id) end
  local list = self.result.by_stage[stage.name]
  local before = #list
  local n, message = self.pool:decode_into(list, before, block, offset, length, id)
  if not n then self:fail(("stage '%s': a result cannot be read: %s"):format(stage.name, message)) end
  if list ~= self.result.items then table.move(list, before + 1, n, #self.result.items + 1, self.result.items) end
end

local on_event = {
  out = Run.on_out,
  done = function(self, segment, slot, number, items, ended, streamed, seconds)
    segment:on_done(slot, number, items, ended, streamed, seconds)
    if items > 0 then self:release_overdraft(slot) end
  end,
  need = function(_, segment, slot, bytes) segment:on_need(slot, bytes) end,
  left = function(_, segment, slot, number, block, offset, length, count, _, _, _, _, in_hand, how)
    segment:on_left(slot, { number = number, block = block, offset = offset, length = length, count = count,
      in_hand = in_hand, how = how })
  end,
  exit = function(_, segment, slot, pid, code, signal, expected)
    segment:on_exit(slot, pid, code, signal, expected)
  end,
  corrupt = function(self, segment, slot, pid)
    self:warn(("%s: worker %d (pid %d) has written what no worker may write, and was killed"):format(
      segment.plan.context, slot.number, pid))
  end,
}

local function handle(self, kind, index, ...)
  if not kind then return false end
  local at = self.by_slot[index]
  at.segment.thirsty[at.slot] = true
  on_event[kind](self, at.segment, at.slot, ...)
  return true
end

function Run:collect()
  local pool, busy = self.pool, false
  pool:collect()
  while handle(self, pool:event()) do busy = true end
  return busy
end

-- --- inline stages -----------------------------------------------------------------------------------------------

function Run:run_inline(entry)
  local id = entry.stage
  if not entry.block then
    self.chain:push(id, entry.value, entry.attempt)
  else
    local fetch = self.pool:cursor(entry.block, entry.offset, entry.length, entry.only)
    self.chain:push_all(id, fetch)
    self.pool:release(entry.block)
  end
  self:finished(id, entry.count)
end

function Run:run_inline_queue()
  local busy, spent = false, 0
  while self.inline_head <= self.inline_tail and not self.stopping do
    local entry = self.inline_queue[self.inline_head]
    if self:receivers_full(self.reach[entry.stage]) then break end
    self.inline_queue[self.inline_head] = nil
    self.inline_head = self.inline_head + 1
    local start = core.now()
    self:run_inline(entry)
    local seconds = core.now() - start
    local s = self:stats_of(entry.stage)
    s.busy = s.busy + seconds
    s.service:add(seconds / entry.count, entry.count)
    busy = true
    spent = spent + seconds
    if spent > INLINE_SECONDS then break end
  end
  return busy
end

-- --- producers ---------------------------------------------------------------------------------------------------

-- What a producer of the coordinator calls to emit. Where all its items go into pools this is the writer itself.
function Run:producer_emit(stage)
  local outlet, state = self.outlets[stage.id], self.chain.states[stage.id]
  local limited = false
  for _, limit in pairs(self.reach[stage.id]) do limited = limited or limit ~= true end
  if outlet.writer and #state.inner == 0 and #outlet.values == 0 and not limited then
    outlet.direct = true
    return outlet.writer
  end
  local s, since, me = self:stats_of(stage.id), 0, self
  return setmetatable({}, { __name = "emit", __metatable = false, __call = function(_, item)
    if item == nil then
      error("nil cannot be emitted (an item is any value but nil; call emit only when there is one)", 2)
    end
    if state.closed or core.process() ~= me.process then
      error("emit called after its handler has returned, or in another process", 2)
    end
    s.items_out = s.items_out + 1
    me.chain:send(state, item)
    since = since + 1
    if limited and outlet.writer then me:flush_writer(outlet) end -- a limit counts items, so none may hide in a block
    if me:must_wait(stage.id) then
      since = 0
      repeat me:let_others(WAIT) until not me:must_wait(stage.id)
    elseif since == 256 then
      since = 0
      me:let_others(MORE)
    end
  end })
end

function Run:open_producers()
  for _, stage in ipairs(self.plan.stages) do
    if stage.kind == "producer" then
      if self.segment_of[stage.id] then
        self.pending[stage.id] = 1
        self.segment_of[stage.id]:push { stage = stage.id, count = 1, attempt = 1 }
      else
        local emit, ctx = self:producer_emit(stage), self.chain.states[stage.id].ctx
        self.producers[#self.producers + 1] = { stage = stage, thread = coroutine.create(function()
          local ok, caught = xpcall(stage.handler, chain.caught, emit, ctx)
          return ok, caught
        end) }
        self.pending[stage.id] = 1
      end
    end
  end
end

function Run:end_producer(stage, ok, caught)
  self.chain.states[stage.id].closed = true
  self:finished(stage.id, 1)
  local outlet = self.outlets[stage.id]
  if outlet.writer then
    if outlet.direct then
      local s = self:stats_of(stage.id)
      s.items_out = s.items_out + (outlet.writer:pending())
    end
    self:flush_writer(outlet)
    outlet.writer:close()
    outlet.writer = nil
  end
  if ok then return end
  caught = chain.as_caught(caught)
  if signals.is_interrupt(caught.raised) or type(caught.raised) == "table" and caught.raised.run_failed then
    error(caught.raised, 0)
  end
  self:settle_failure(stage, { kind = "error", message = caught.message, traceback = caught.traceback, attempt = 1,
    partial = true, pid = self.pid }, function() end)
end

function Run:resume_producers()
  local busy = false
  for i = #self.producers, 1, -1 do
    local producer = self.producers[i]
    if self.stopping then break end
    if not (producer.waits and self:must_wait(producer.stage.id)) then busy = self:resume(i, producer) or busy end
  end
  return busy
end

function Run:resume(i, producer)
  local start = core.now()
  self.current = producer.thread
  self.guard:watch(producer.thread)
  local alive, ok, caught = coroutine.resume(producer.thread)
  self.guard:watch()
  self.current = nil
  local s = self:stats_of(producer.stage.id)
  s.busy = s.busy + core.now() - start
  if not alive then ok, caught = false, ok end
  if coroutine.status(producer.thread) == "dead" then
    table.remove(self.producers, i)
    self:end_producer(producer.stage, ok, caught)
    return true
  end
  producer.waits = ok == WAIT
  return not producer.waits
end

-- --- the loop ----------------------------------------------------------------------------------------------------

-- Starts retries and batches whose time has come. Returns the seconds until the next.
function Run:check_clock()
  if #self.retries == 0 and not self.timed then return nil end
  local now, wait = core.now(), nil
  local function sooner(due)
    if due and (not wait or due - now < wait) then wait = math.max(due - now, 0) end
  end
  for i = #self.retries, 1, -1 do
    local retry = self.retries[i]
    if retry.due <= now then
      table.remove(self.retries, i)
      self:enqueue(retry.entry)
    else
      sooner(retry.due)
    end
  end
  for _, stage in ipairs(self.inline) do
    local batches = self.chain.states[stage.id].batches
    local due = batches and batches:next_due()
    if due and due <= now then self.chain:flush_batches(stage.id, now) end
    sooner(batches and batches:next_due())
  end
  for _, segment in ipairs(self.segments) do
    local seconds = segment:check_time()
    sooner(seconds and now + seconds)
  end
  return wait
end

-- One round of everything but the producers.
function Run:turn()
  local busy = false
  if self.pool then busy = self:collect() end
  busy = self:run_inline_queue() or busy
  self.next_due = self:check_clock()
  for _, outlet in ipairs(self.writers) do
    if outlet.writer and not outlet.direct then
      self:flush_writer(outlet)
    elseif outlet.writer and self:idle_receiver(outlet) then
      local s = self:stats_of(outlet.stage_id)
      s.items_out = s.items_out + (outlet.writer:pending())
      self:flush_writer(outlet)
    end
  end
  for _, segment in ipairs(self.segments) do
    busy = segment:dispatch() or busy
    if next(segment.thirsty) then segment:supply() end
  end
  return busy
end

function Run:idle_receiver(outlet)
  for _, target in ipairs(outlet.bytes) do
    if self.segment_of[target].queued == 0 then return true end
  end
  return false
end

function Run:sleep(seconds)
  if self.pool then
    self.unseen = 0
    local ok, message = self.pool:wait(seconds)
    if ok == nil then self:fail(message) end
  elseif seconds then
    core.sleep(seconds)
  end
end

-- Ends stages and segments that nothing can reach any more, front to back.
function Run:advance_ends()
  local open_producers, changed = 0, false
  for _, stage in ipairs(self.plan.stages) do
    local id = stage.id
    if not self.drained[id] then
      local ready = self.pending[id] == 0
      for _, input in ipairs(stage.inputs) do ready = ready and self.drained[input] end
      if ready then
        self:drain(stage)
        changed = true
      elseif stage.kind == "producer" then
        open_producers = open_producers + 1
      end
    end
  end
  if open_producers == 0 and not self.producers_ended then
    self.producers_ended = true
    self:hooks(self.plan.hooks.after_producer, {})
  end
  for _, segment in ipairs(self.segments) do
    local all = true
    for _, id in ipairs(segment.plan.stages) do all = all and self.drained[id] end
    if all then segment:finish() end
  end
  return changed
end

function Run:drain(stage)
  local id = stage.id
  if not self.segment_of[id] then
    local state = self.chain.states[id]
    if state.batches then self.chain:flush_batches(id) end
    if self.outlets[id].writer then self:flush_writer(self.outlets[id]) end
    if #stage.hooks.after > 0 then
      for _, hook in ipairs(stage.hooks.after) do
        local ok, caught = xpcall(hook.f, chain.caught, state.ctx)
        if not ok then self:hook_failed(hook.name, hook.at, chain.as_caught(caught)) end
      end
    end
  end
  self.drained[id] = true
end

function Run:ended()
  for id in ipairs(self.plan.stages) do
    if not self.drained[id] then return false end
  end
  for _, segment in ipairs(self.segments) do
    if not segment:ended() then return false end
  end
  return true
end

--- One round of the run: moves what can be moved, or sleeps until something happens.
---@return boolean more false when the run is over
function Run:step()
  local busy = self:resume_producers()
  busy = self:turn() or busy
  if self.changed then
    self.changed = false
    busy = self:advance_ends() or busy
    if self:ended() then return false end
  end
  if self.stopping then return false end
  if not busy then
    self:sleep(self.next_due)
  elseif self.pool then -- deaths show only there; a look costs a system call
    self.unseen = self.unseen + 1
    if self.unseen >= 16 then self:sleep(0) end
  end
  return true
end

--- Begins the run: hooks, shared memory, workers, producers.
function Run:begin()
  self:hooks(self.plan.hooks.before_run, {})
  self:open_pool()
  self:draw_routes()
  self:open_chain()
  for id, outlet in pairs(self.outlets) do outlet.stage_id = id end
  for _, segment in ipairs(self.segments) do segment:start() end
  for _, stage in ipairs(self.inline) do
    for _, hook in ipairs(stage.hooks.before) do
      local ok, caught = xpcall(hook.f, chain.caught, self.chain.states[stage.id].ctx)
      if not ok then self:hook_failed(hook.name, hook.at, chain.as_caught(caught)) end
    end
  end
  self:open_producers()
end

-- --- forks -------------------------------------------------------------------------------------------------------

--- Makes the coordinator's heap ready to be shared: collected, and with malloc's lists sorted.
function Run:prepare_fork()
  if self.prepared then return end
  self.prepared = true
  collectgarbage()
  self.large_heap = collectgarbage "count" > LARGE_HEAP
  if self.large_heap then core.heap_settle() end
end

--- Counts the time that forks have taken. When it comes to what joining the heap's pages into huge ones costs, that is
--- done: a run with few forks never pays for it, one with many at most twice what it had to.
---@param seconds number
function Run:forked_in(seconds)
  self.fork_seconds = self.fork_seconds + seconds
  if not self.large_heap or self.collapsed then return end
  if self.fork_seconds > collectgarbage "count" / 1024 * COLLAPSE_COST then
    self.collapsed = true
    core.heap_collapse()
  end
end

-- --- the end -----------------------------------------------------------------------------------------------------

--- Ends every child and gives everything back. May be called twice.
function Run:close()
  for _, producer in ipairs(self.producers) do pcall(coroutine.close, producer.thread) end -- with the files it reads
  self.producers = {}
  if self.pool then
    self.result.stats.memory_most = select(3, self.pool:memory())
    for _, outlet in ipairs(self.writers) do
      if outlet.writer then outlet.writer:close() end
    end
    self.pool:close()
    self.pool = nil
  end
  self.guard:close()
end

Run.__close = Run.close

local function add_inline_stats(self)
  for id, s in pairs(self.chain and self.chain.stats or {}) do
    local all, stage = self:stats_of(id), self.plan.stages[id]
    local handled = stage.batch and self.plan.stages[stage.outputs[1]]
    if stage.kind ~= "producer" then -- what came from workers was counted when it was accepted
      if not stage.gathers then all.items_in = all.items_in + s.items_in end
      if not (handled and handled.gathers == id) then all.items_out = all.items_out + s.items_out end
    end
  end
  for _, segment in ipairs(self.segments) do
    for _, id in ipairs(segment.plan.stages) do
      local s = self:stats_of(id)
      s.waiting_in = math.max(0, segment.plan.n * self.result.elapsed - s.busy - s.waiting_out)
    end
  end
end

-- Closes the run, fills in the result, and runs after_run. Returns the error of the run, if any.
local function conclude(self, err)
  self:close()
  local r = self.result
  r.elapsed = core.now() - self.started
  add_inline_stats(self)
  r.error = err and tostring(err)
  r.ok = not err and #r.failures == 0
  self.pipeline.last = r
  for _, hook in ipairs(self.plan.hooks.after_run) do
    local ok, caught = xpcall(hook.f, chain.caught, r)
    if not ok and not err then
      local _
      _, err = pcall(self.hook_failed, self, hook.name, hook.at, chain.as_caught(caught))
    end
  end
  return err
end

-- Raises what the run has to say to its caller.
local function raise(self, err)
  if signals.is_interrupt(err) then return signals.interrupted() end
  if err then error(type(err) == "table" and err.run_failed and tostring(err) or err, 0) end
  local failures = self.result.failures
  local handled = #self.plan.hooks.on_failure > 0 or self.plan.options.failures == "collect"
  if #failures > 0 and not handled then error(failure.summary(failures), 0) end
end

local function traceback(err)
  if type(err) == "string" and not signals.is_interrupt(err) then return debug.traceback(err, 2) end
  return err
end

--- Runs a pipeline to its end.
---@param pipeline table
---@param given table? checked options of the run
---@return table result
--- Raises when the run fails, and when items have failed and nobody handles that.
function runner.run(pipeline, given)
  local self <close> = new(pipeline, given) -- also when Ctrl-C comes while it is being concluded
  local ok, err = xpcall(function()
    self:begin()
    while self:step() do end
  end, traceback)
  err = conclude(self, not ok and err or nil)
  raise(self, err)
  return self.result
end

--- Runs a pipeline and streams the items of its terminal stages.
---@param pipeline table
---@param given table? checked options of the run
---@return function next, nil, nil, table closing the four values of a generic for; leaving the loop stops the run
function runner.iterate(pipeline, given)
  local self = new(pipeline, given)
  local at, ended, over = 0, false, false
  local function finish(err)
    if over then return end
    over = true
    return raise(self, conclude(self, err))
  end
  local function advance()
    local ok, more = xpcall(self.step, traceback, self)
    if not ok then finish(more) else return more end
  end
  local ok, err = xpcall(self.begin, traceback, self)
  if not ok then finish(err) end
  local function next_item()
    while true do
      local items = self.result.items
      if at < #items then
        at = at + 1
        return items[at]
      end
      for i = #items, 1, -1 do items[i] = nil end
      at = 0
      if over then return nil end
      if ended or not advance() then
        ended = true -- what the last step has brought comes first
        if #self.result.items == 0 then
          finish()
          return nil
        end
      end
    end
  end
  return next_item, nil, nil, setmetatable({}, { __close = function()
    if not over then
      over = true
      conclude(self)
    end
    self:close()
  end })
end

return runner
