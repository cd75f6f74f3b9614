--- A run: one execution of a pipeline, and the coordinator's only loop.
--
-- Its methods lie in eleven more files: contexts/inline.lua runs the coordinator's own stages, transport.lua moves
-- items, limits.lua counts what waits, producers.lua lets producers emit, events.lua takes what workers say,
-- batches.lua makes batches of it, reduces.lua reduces, retries.lua settles failures, hooks.lua calls hooks, status.lua
-- tells how far it is, stalls.lua that somebody will wake it. Where there is a journal, resume.lua says what is
-- finished with all that came of it.
--
-- Invariants
-- 1. Every item is in exactly one place, and the ledger counts it (ledger.lua).
-- 2. Every reference to a block that an event brings is passed on to one entry, or released.
-- 3. Whatever happens, `Run:close` ends every child and gives back every descriptor and mapping.
local acks = require "minigun.policy.acks"
local command = require "minigun.handlers.command"
local context = require "minigun.handlers.ctx"
local core = require "minigun.core"
local drain = require "minigun.run.drain"
local failures = require "minigun.policy.failures"
local fatal = require "minigun.base.fatal"
local heap = require "minigun.system.heap"
local journals = require "minigun.run.journal"
local kinds = require "minigun.contexts.kinds"
local ledger = require "minigun.run.ledger"
local machine = require "minigun.system.machine"
local meter = require "minigun.view.progress_line"
local output = require "minigun.run.output"
local plan = require "minigun.plan.plan"
local ports = require "minigun.run.port"
local programs = require "minigun.system.programs"
local queue = require "minigun.base.queue"
local report = require "minigun.base.protocol"
local result = require "minigun.run.result"
local resume = require "minigun.run.resume"
local signals = require "minigun.system.signals"
local tasks = require "minigun.handlers.tasks"
local terminate = require "minigun.system.terminate"

local run = {}

--- Bytes of a pool that is there for its descriptor only; never touched.
run.BELL_MEMORY = 2 << 20

local BLOCK <const> = report.UNIT
local LIMITS <const> = { [12] = true, [23] = true, [24] = true } -- ENOMEM, ENFILE, EMFILE
-- Seconds to sleep at most while a deadline is waited for: a stop of this process is noticed, and how long it was, by
-- looking at the clock before and after it (src/core/clock.h).
local BEAT <const> = 0.1
local WARNINGS <const> = 100                      -- that are kept
local CHECK <const> = os.getenv "MINIGUN_CHECK" ~= nil

local Run = {}
Run.__index = Run

for _, part in ipairs { "contexts.inline", "run.transport", "run.producers", "run.events", "run.batches", "run.reduces",
  "run.retries", "run.status", "run.stalls", "run.limits", "run.hooks" } do
  for name, method in pairs(require("minigun." .. part)) do Run[name] = method end
end

-- A quarter of what the container has.
local function default_memory()
  return math.min(1 << 30, (machine.memory() or 1 << 30) // 4)
end

-- --- setting up --------------------------------------------------------------------------------------------------

--- Makes a run; nothing has begun yet.
---@param pipeline table
---@param given table? checked options of the run
---@return table run
function run.new(pipeline, given)
  local p = plan.build(pipeline, given)
  local journal, past
  if p.options.journal then journal, past = journals.open(p) end
  local empty, records = result.new(p), {}
  for id, stage in ipairs(p.stages) do records[id] = empty.stats.stages[stage.name] end
  local self = setmetatable({
    pipeline = pipeline, plan = p, result = empty, stats = records, ledger = ledger.new(p.stages),
    memory = p.options.memory or default_memory(),
    segments = {}, segment_of = {}, by_slot = {}, inline_queue = queue.lines(),
    retries = {}, producers = {}, on_loop = {}, writers = {}, folds = {}, outlets = {}, direct = {}, reach = {},
    per = {}, limited = {}, waits = {}, chunks = 0,
    unhandled = failures.tally(), heap = heap.new(),
    pid = core.pid(), process = core.process(), started = core.now(), clock_started = core.clock(),
    unseen = 0, rates = {}, resume = false, timed = false,
  }, Run)
  self.drain = drain.new {
    plan = p, stats = records, started = self.clock_started, ledger = self.ledger, inline = self, clock = core.clock,
    places = { of = self.segment_of },
    transport = { outlets = self.outlets, flush = function(_, outlet) self:flush_writer(outlet) end,
      flush_all = function() self:flush_all() end },
    reduces = { emit = function(_, id) self:emit_fold(id) end,
      emit_next = function() return self:emit_next_fold() end },
    hooks = { call = function(_, ...) self:hooks(...) end },
  }
  self.timed = self.drain:timed()
  self.acks = acks.new(function(source, first, last) journal:acknowledge(source.name, first, last) end)
  if journal then
    self.resume = resume.new { plan = p, stats = records, result = empty, acks = self.acks, journal = journal,
      past = past, warn = function(text) self:warn(text) end, fail = function(text) self:fail(text) end }
  end
  return self
end

--- Notes something that the user should know and that fails nothing. The first are kept, all are counted.
---@param text string
function Run:warn(text)
  local warnings = self.result.stats.warnings
  self.warned = (self.warned or 0) + 1
  local more = self.warned - WARNINGS
  warnings[math.min(self.warned, WARNINGS + 1)] = more <= 0 and text
    or ("and %d more warning%s, the last: %s"):format(more, more == 1 and "" or "s", text)
end

--- Ends the run with an error; also where a user's function that has led here catches it (see `step`).
---@param text string
function Run:fail(text)
  self.failed = self.failed or fatal.new(text)
  error(self.failed, 0)
end

function Run:effect(kind, name, value)
  if kind == "count" then
    local counters = self.result.counters
    counters[name] = (counters[name] or 0) + value
    return
  end
  local list = self:collected(name)
  list[#list + 1] = value
end

--- What has been collected under a name.
---@param name any
---@return table values in the order in which they came; those that come are added to it
function Run:collected(name)
  local collected = self.result.collected
  local list = collected[name]
  if not list then
    list = {}
    collected[name] = list
  end
  return list
end

function Run:context(fields, effect)
  fields.pipeline, fields.pid = self.plan.name, self.pid
  return context.new(fields, effect or function(...) self:effect(...) end)
end

--- Opens a pool without slots, for its descriptor, in a run that has no other.
---@return userdata? pool
---@return string? message
---@return integer? errno
function Run:open_bell()
  local message, errno
  self.pool, message, errno = core.pool(0, run.BELL_MEMORY, run.BELL_MEMORY)
  return self.pool, message, errno
end

--- The loop of threads and of waits for descriptors, made when it is first needed: after the forks of the pools.
---@return table loop
function Run:open_loop()
  if self.loop then return self.loop end
  local message
  self.loop, message = tasks.new()
  if not self.loop then self:fail(message) end
  self.loop.seeded = self.plan.options.seed
  if not self.pool and not self:open_bell() then self:fail "no descriptor is left to wait with" end
  local ok, problem = self.pool:watch(self.loop:fd())
  if not ok then self:fail(problem) end
  return self.loop
end

-- What may wait in a queue, and be held back of an item's output.
function Run:share_memory()
  self.queue_bytes = math.max(BLOCK, math.min(4 << 20, self.memory // 16))
  self.held_most = math.max(BLOCK, self.memory // 4)
end

-- Less could be had than was asked for: blocks are powers of two, and lie where there is room, so the limit is half.
function Run:have_less(size)
  if self.memory <= size // 2 then return end
  if self.plan.options.memory then
    self:warn(("only %d MiB of shared memory could be had (is the address space limited?): the limit is %d MiB, not " ..
      "%d"):format(size >> 20, size >> 21, self.memory >> 20))
  end
  self.memory = size // 2
  self:share_memory()
end

-- The pool, its segments, and which segment a stage is in.
function Run:open_pool()
  local slots, others = 0, {}
  for _, segment in ipairs(self.plan.segments) do
    local kind = kinds[segment.kind]
    if kind and kind.slots then slots = slots + segment.n
    elseif kind then others[#others + 1] = segment end
  end
  self:share_memory()
  if slots == 0 and not (self.plan.threaded or others[1]) then return end
  local size = slots == 0 and run.BELL_MEMORY or math.max(self.memory * 8, 4 << 30)
  local pool, message, errno = core.pool(slots, size, self.memory, machine.cpus())
  if not pool then
    self:fail(message .. (LIMITS[errno] and "; is the limit of memory or of open files too low?" or ""))
  end
  self.pool = pool
  if pool:size() < size then self:have_less(pool:size()) end
  self.memory = self.memory + pool:memory() -- what the slots themselves take comes on top
  local first, port = 1, ports.new(self)
  local function add(segment)
    local place = kinds[segment.kind].new(port, segment, first)
    self.segments[#self.segments + 1] = place
    for _, id in ipairs(segment.stages) do self.segment_of[id] = place end
    return place
  end
  for _, segment in ipairs(self.plan.segments) do
    if kinds[segment.kind] and kinds[segment.kind].slots then
      local place = add(segment)
      for _, slot in ipairs(place.slots) do self.by_slot[slot.index] = { segment = place, slot = slot } end
      first = first + segment.n
    end
  end
  for _, segment in ipairs(others) do add(segment) end -- they start in this order
end

-- --- the loop ----------------------------------------------------------------------------------------------------

-- The earlier of two times, each of which may be nil: never.
local function earlier(a, b)
  if a and b then return math.min(a, b) end
  return a or b
end

-- Starts retries and batches whose time has come. Returns the seconds until the next. `inside`: while one of the
-- coordinator's own stages is at work, so they get nothing.
function Run:check_clock(inside)
  if #self.retries == 0 and not self.timed then return nil end
  local now, wait = core.clock(), nil
  local function sooner(due)
    if due then wait = earlier(wait, math.max(due - now, 0)) end
  end
  for i = #self.retries, 1, -1 do
    local retry = self.retries[i]
    if retry.due <= now then
      table.remove(self.retries, i)
      self.ledger:wake(retry.entry.stage, retry.entry.count)
      self:enqueue(retry.entry)
      wait = not inside and 0 or wait -- the stages of the coordinator have had their turn
    else
      sooner(retry.due)
    end
  end
  for _, stage in ipairs(inside and {} or self.inline) do
    local batches = self.chain.states[stage.id].batches
    local due = batches and batches:next_due()
    if due and due <= now then
      self.chain:flush_batches(stage.id, now)
      wait = 0
    end
    sooner(batches and batches:next_due())
  end
  local due, fell_due = self.drain:check_clock(now)
  if fell_due then wait = 0 end
  sooner(due)
  for _, segment in ipairs(self.segments) do
    sooner(segment:due(now))
  end
  return wait
end

-- Seconds until a segment looks for workers that are late; nil: none is to be looked for.
function Run:next_look()
  local at = nil
  local segments <const> = self.segments
  for i = 1, #segments do at = earlier(at, segments[i].look_at) end
  return at and math.max(0, at - core.now())
end

-- Hands work and blocks to workers. Returns whether some was handed over, and whether a worker still lacks something.
function Run:hand_out()
  local busy, thirsty = false, false
  local segments <const> = self.segments
  for i = 1, #segments do
    local segment = segments[i]
    busy = segment:dispatch() or busy
    thirsty = segment:supply() or thirsty
  end
  return busy, thirsty
end

-- Passes on what is written for others.
local function flush_writers(self)
  if next(self.folds) then self:feed_folds() end
  local writers <const> = self.writers
  for i = 1, #writers do
    local outlet = writers[i]
    if outlet.writer and (not outlet.direct or self:idle_receiver(outlet)) then self:flush_writer(outlet) end
  end
end

--- Keeps the workers going while the coordinator itself waits.
---@param all boolean? true: what is written for them, too
function Run:serve_workers(all)
  if all then flush_writers(self) end
  self:collect()
  self:hand_out()
end

-- Takes what has come. Returns whether there was anything.
function Run:take_in()
  local busy = false
  if self.pool then busy = self:collect() end
  return self:run_inline_queue() or busy
end

-- Passes on what is there for others, lets threads run, and does what falls due: of what has just been handed over too,
-- so this comes last. Returns whether there was anything, and whether what was handed over may have made room for more.
function Run:give_out()
  flush_writers(self)
  local handed, thirsty = self:hand_out()
  local ran = false
  self.next_due = earlier(earlier(self:check_clock(), self:next_resume()), self:next_look())
  if self.resume then self.next_due = earlier(self.next_due, self.resume:tick()) end
  if self.loop then
    if self.meter then self.meter:before_handlers() end
    ran = self.loop:step(self.guard)
    self.next_due = earlier(self.next_due, self.loop:timeout())
  end
  return handed or ran, ran or handed and (thirsty or self.inline_queue:count() > 0)
end

-- One round of everything but the producers. Returns whether there was anything to do.
function Run:turn()
  local busy = self:take_in()
  return self:give_out() or busy
end

-- Whether somebody waits for what is in an outlet's block: a segment with nothing to do, or a batch with a time limit.
function Run:idle_receiver(outlet)
  for _, target in ipairs(outlet.bytes) do
    local segment, batch = self.segment_of[target], self.plan.stages[target].batch
    if segment and segment.queued == 0 then return true end
    if not segment and (batch.max_wait or self:idle_receiver(self.outlets[target].joined)) then return true end
  end
  return false
end

-- Sleeps until something happens, or the seconds are over; nil: without end.
function Run:sleep(seconds)
  if self.pool then
    self.unseen = 0
    local ok, message = self.pool:wait(seconds)
    if ok == nil then self:fail(message) end
  elseif seconds then
    core.sleep(seconds)
  end
end

-- Drains what can be drained; when all is, no more work will come. Returns whether anything has changed.
function Run:advance_ends()
  self.ledger.changed = false
  local over, changed = self.drain:advance()
  if over and not self.finishing then self:finish() end
  self.ledger.changed = self.ledger.changed or changed
  return self.ledger.changed
end

-- Where the items of a stage are: how many are queued, in hand, and wait for their time. For the ledger's check.
function Run:tally_of(id)
  local in_hand, waiting = 0, 0
  for _, retry in ipairs(self.retries) do
    if retry.entry.stage == id then waiting = waiting + retry.entry.count end
  end
  local segment = self.segment_of[id]
  local queued = self.inline_queue:items(id)
  if segment then queued, in_hand = segment:tally(id) end
  for _, producer in ipairs(self.producers) do
    if producer.stage.id == id then in_hand = in_hand + 1 end
  end
  return queued, in_hand, waiting
end

-- No more work will come for the workers; threads of the coordinator end after them, see Run:ended.
function Run:finish()
  self.finishing = true
  for _, segment in ipairs(self.segments) do
    if segment.first then segment:finish() end
  end
end

-- Whether all is over. The last thing are the hooks `after` of the coordinator's stages, in threads and inline: what
-- such a hook closes, a pipe to a program say, workers may have inherited.
function Run:ended()
  if not self.finishing then return false end
  for i = 1, 2 do
    for _, segment in ipairs(self.segments) do
      if i == 2 then segment:finish() end
      if (i == 2 or segment.first) and not segment:ended() then return false end
    end
  end
  local inline = self.inline
  self.inline = {}
  for _, stage in ipairs(inline) do self:hooks(stage.hooks.after, nil, self.chain.states[stage.id].ctx) end
  self:inline_hooks { "before_exit" }
  return true
end

--- One round of the run: moves what can be moved, or sleeps until something happens.
---@param limit number? seconds to sleep at most; nil: no limit
---@return boolean more false when the run is over
--- Then `busy` says whether anything was moved, and `next_due` in how many seconds a clock will move something.
function Run:step(limit)
  signals.check()
  if self.failed then error(self.failed, 0) end
  if self.ledger.torn then self:fail "not enough memory for the run itself" end
  if self.stops and core.terminated() then terminate.ask(self) end
  if self.end_by and core.clock() >= self.end_by then
    self.killed, self.stopping = true, true
    return false
  end
  if self.stop_asked and not self.stopped then self:stop_producers() end
  self.acks.origin = false
  local own = self.inline_queue
  local busy = self:take_in() and own:count() > 0 -- more than there was time for
  local pushed = own.pushed
  busy = self:resume_producers() or busy
  local _, room = self:give_out()
  busy = busy or room or own.pushed > pushed or self:may_produce()
  if self.ledger.changed then
    busy = self:advance_ends() or busy
    if self:ended() then return false end
  end
  if CHECK and not self.ledger.torn then self.ledger:check(function(id) return self:tally_of(id) end) end
  if self.stopping then return false end
  self.busy = busy
  if busy and self.meter then self.meter:look() end
  if self.streams and self.result.items[1] ~= nil then return true end -- they are handed out before anything else
  if not busy then
    local seconds = self.next_due and math.min(self.next_due, BEAT)
    if not seconds then seconds = self:before_sleep() end
    self.due_at = seconds and core.now() + seconds
    seconds = earlier(earlier(seconds, self.end_by and math.max(0, self.end_by - core.clock())), limit)
    if self.meter then seconds = self.meter:look(seconds) end
    self:sleep(seconds)
  elseif self.pool then -- deaths show only there; a look costs a system call
    self.unseen = self.unseen + 1
    if self.unseen >= 16 then self:sleep(0) end
  end
  return true
end

--- Begins the run: hooks, shared memory, workers, producers.
function Run:begin()
  core.keep_freed(true)
  core.watch_stops(true)
  self.keeps_freed = true
  command.hold()
  self:hooks(self.plan.hooks.before_run, {})
  self:open_pool()
  self:draw_routes()
  self:open_chain()
  for id, outlet in pairs(self.outlets) do outlet.stage_id = id end
  self.meter = not self.patient and meter.open(self) or nil
  self.output = self.meter and output.open(self)
  for _, segment in ipairs(self.segments) do segment:start() end
  self:inline_hooks { "before_fork", "after_fork" }
  for _, stage in ipairs(self.inline) do
    self:hooks(stage.hooks.before, nil, self.chain.states[stage.id].ctx)
  end
  self:open_producers()
end

--- Closes the journal, where there is one. May be called twice.
---@param delivered boolean the caller gets the result, with its items
function Run:close_journal(delivered)
  if not self.resume then return end
  self.resume:close(delivered and self.finishing or false, delivered and not self.streams, self.stopped or false)
end

--- Ends every child and gives everything back. May be called twice.
---@param keep boolean? true: the pool's descriptor stays open, until `pool:close()`
function Run:close(keep)
  if self.keeps_freed then -- first: of a run that is forgotten, the pool's own finalizer may have come before
    core.keep_freed(false)
    command.release()
    core.watch_stops(false)
  end
  self.keeps_freed = nil
  if self.meter then self.meter:close() end
  self.meter = nil
  self:stop_reading()
  for _, producer in ipairs(self.producers) do pcall(programs.close, producer.thread) end -- with the files it reads
  self.producers = {}
  for _, state in pairs(self.chain and self.chain.states or {}) do
    if state.loop then pcall(state.loop.abandon, state.loop) end
  end
  if self.pool then
    self.result.stats.memory_most = select(3, self.pool:memory())
    for _, outlet in ipairs(self.writers) do
      if outlet.writer then outlet.writer:close() end
    end
    if self.output then self.output:close() end
    self.pool:close(keep)
    self.pool = nil
  end
  if self.loop then
    self.loop:close()
    for _, segment in ipairs(self.segments) do segment:close() end
  end
end

Run.__close = Run.close

return run
