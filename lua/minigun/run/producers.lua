--- Producers of the coordinator: coroutines that yield when receivers should catch up.
local core = require "minigun.core"
local current = require "minigun.handlers.current"
local declared = require "minigun.base.declared"
local errors = require "minigun.base.traceback"
local files = require "minigun.sources.files"
local pace = require "minigun.policy.pace"
local programs = require "minigun.system.programs"
local seeds = require "minigun.system.seeds"
local signals = require "minigun.system.signals"
local sources = require "minigun.sources.sources"
local work = require "minigun.base.work"

local producers = {}

local WAIT <const>, MORE <const> = current.PARK, current.MORE -- what a producer's coroutine says when it yields
local SIGINT <const> = 2
local STOOD_STILL <const> = 0.1                    -- seconds in a source that are worth a warning

local Producers = {}
Producers.__index = Producers

--- Makes what runs the producers of a run.
---@param plan table
---@param how table `pid` of the coordinator
---@return table producers
--- `list`: those that have not ended, `{ stage =, work =, pace =, thread =, wait =, stats = }`, and in threads `task`;
--- `alone`: what its emit calls is in other processes; of one that waits `waits` (for receivers), `asleep`, `pauses`
--- (until then, on the clock without stops); `answer`: what its wait gives; `ended`: in threads, how
function producers.new(plan, how)
  return declared({
    plan = plan, pid = how.pid,
    outcome = false, state = false, ledger = false, resume = false, answers = false,
    shared = false, places = false, inline = false, outlets = false, transport = false, failures = false,
    reentry = false,
    screen = false, threads = false, emission = false, rounds = false, list = {},
    on_loop = {},            -- from the coroutine of one in threads to it
    current = false,         -- the coroutine of the one that emits now
    reads = false,           -- it may read files now, see sources/files.lua
  }, Producers)
end

--- Lets the rest of the run go on from inside a producer.
---@param why string MORE or WAIT
---@return boolean resumed true: what waits has been resumed because it need not wait any more
function Producers:let_others(why)
  local co = coroutine.running()
  local in_producer = coroutine.isyieldable() and (self.on_loop[co] or self.current == co)
  if in_producer then
    if in_producer ~= true then in_producer.waits = why == WAIT end
    coroutine.yield(why)
    return true
  end
  -- Called through C, from where a coroutine cannot yield.
  if not self.reentry:enter "everything" and why == WAIT then self.reentry:sleep(0.001) end
  return false
end

--- Lets the rest of the run go on from inside a producer that must wait, until its receivers have room.
---@param id integer the stage
function Producers:wait_for_receivers(id)
  repeat until self:let_others(WAIT) or not self.ledger:must_wait(id)
end

-- Makes a producer of a context `threads` ready: a task of the loop, so that it may wait for what it likes.
local function open_on_loop(self, producer, body)
  local s, on = self.outcome.stats[producer.stage.id], self.threads:open()
  producer.task = on:spawn(function()
    producer.ended = table.pack(body())
    self.ledger:changed(true)
  end, function(seconds)
    s.busy, s.blocked, s.blocked_most = s.busy + seconds, s.blocked + seconds, math.max(s.blocked_most, seconds)
  end)
  producer.thread = producer.task.co
  self.on_loop[producer.thread] = producer
end

--- Makes the producers ready: a coroutine each, or the one item of a place of its own.
function Producers:open()
  self.transport.producers = { let_others = function(why) return self:let_others(why) end,
    wait_for_receivers = function(id) self:wait_for_receivers(id) end }
  for _, stage in ipairs(self.plan.stages) do
    if stage.submits then
      self.answers:open()
    elseif stage.kind == "producer" then
      local here = self.places.of[stage.id].here
      local own_work = self.ledger:enter(work.of_value(stage.id), here and "hand" or "queue")
      if here then
        local own = pace.new(core.now(), stage.source == "array")
        local emit, ctx = self.emission:emit_of(stage, own), self.inline.chain.states[stage.id].ctx
        sources.on_input(ctx, function(reader) self.shared:keep(reader) end)
        sources.on_lost(ctx, function(...) self.failures:unreadable(stage, { { ... } }) end)
        local producer = { stage = stage, work = own_work, pace = own, wait = {}, stats = self.outcome.stats[stage.id],
          alone = #self.inline.chain.states[stage.id].inner == 0 }
        producer.among = self.rounds:among(stage, producer.alone)
        local function body() return xpcall(stage.handler, errors.note, emit, ctx) end
        if stage.threaded then open_on_loop(self, producer, body)
        else producer.thread = coroutine.create(body) end
        self.list[#self.list + 1] = producer
      end
    end
  end
end

-- Whether there is something to do for a producer: it has ended on the loop, or may emit more. On the loop it goes on
-- by itself while it does not wait.
local function is_ready(self, producer)
  if producer.ended then return true end
  if producer.waits then return not self.ledger:must_wait(producer.stage.id) end
  if producer.asleep then return producer.asleep <= core.clock() end
  if producer.pauses then
    return producer.pauses <= core.clock() or not self.ledger:any_at_work(producer.stage.id)
  end
  return not producer.task
end

--- When the clock lets a producer go on.
---@return number? seconds from now on; nil: none waits for the clock
function Producers:next_resume()
  if self.ledger:paused() then return nil end
  local list <const>, due = self.list, nil
  for i = 1, #list do
    local at = list[i].asleep or list[i].pauses
    if at and (not due or at < due) then due = at end
  end
  return due and due < math.huge and math.max(0, due - core.clock()) or nil
end

--- Whether there is something to do for a producer at once.
---@return boolean
function Producers:are_ready()
  if self.ledger:paused() then return false end
  local list <const> = self.list
  for i = 1, #list do
    if is_ready(self, list[i]) then return true end
  end
  return false
end

-- A producer has ended: what is left in its block goes out; an error is a failure without an item.
local function end_one(self, producer, ok, caught)
  local stage, own = producer.stage, producer.pace
  self.inline.chain.states[stage.id].closed = true
  if own.stood > STOOD_STILL then
    self.outcome:warn(("stage '%s': the coordinator stood still for %.1f s in its source, while workers had nothing " ..
      "to do and results could not come; minigun.lines reads without that, or give the stage processes = 1"):format(
      stage.name, own.stood))
  end
  self.ledger:done_own(producer.work)
  self.transport:close(stage)
  local source = self.resume and self.resume.sources[stage.id]
  if source then self.resume:leave_source(source) end
  if ok and source and self.state.name == "RUNNING" then self.resume:check_end(source) end
  if ok then
    if caught ~= nil then self.outcome.returns[stage.id] = true end
    return
  end
  caught = errors.take(caught, producer.thread)
  signals.pass_on(caught.raised)
  self.failures:settle(stage, errors.fields(caught, { attempt = 1, partial = true, pid = self.pid }), function() end)
end

-- Lets a producer on the loop go on, now that receivers need not be waited for any more, or sees to its end.
local function look_after(self, i, producer)
  if producer.ended then
    table.remove(self.list, i)
    return end_one(self, producer, producer.ended[1], producer.ended[2])
  end
  producer.waits = false
  self.threads.tasks:unpark(producer.task)
end

--- Ends all producers; what they have emitted goes its way. Those in children end at their next emit, or are killed
--- when none comes soon.
---@return boolean timed the clock has to be looked at for that
function Producers:stop()
  self.ledger:changed(true)
  if self.answers then self.answers:close() end
  local list, timed = self.list, false
  self.list = {}
  for _, producer in ipairs(list) do
    local ok, err -- of its end, with the files it reads
    if producer.task then ok, err = self.threads.tasks:cancel(producer.task)
    else ok, err = programs.close(producer.thread, true) end
    if producer.ended then ok, err = producer.ended[1], producer.ended[2] end
    if producer.deputy then self.threads.tasks:cancel(producer.deputy) end
    end_one(self, producer, ok, err)
  end
  for _, stage in ipairs(self.plan.stages) do
    local place = self.places.of[stage.id]
    if stage.kind == "producer" and self.ledger:pending(stage.id) > 0 and not place.here then
      place:stop_producer()
      timed = true
    end
  end
  return timed
end

-- Notes how long a producer has had its turn, and how much of that the process stood still. Returns the time, and how
-- long it should not be asked again while something is at work, or nil.
local function measure(self, producer, start, idle, worked, switches)
  local now = core.now()
  local s, took, blocked = producer.stats, now - start, 0
  s.busy = s.busy + took
  if worked and took > 0.001 then -- else another process may have had the processor
    local worked_now, switches_now = core.worked()
    blocked = switches_now > switches and took - (worked_now - worked) or 0
    idle = idle or self.shared.pool and self.shared.pool:anything()
  end
  return now, producer.pace:ran(took, blocked, idle)
end

-- A producer waits for a time or a descriptor: for that a task of the loop waits in its place.
local function suspend(self, producer)
  local wait = producer.wait
  producer.asleep, producer.answer = wait.due or math.huge, false
  if not wait.fd then return end
  local fd, mode, due = wait.fd, wait.mode, wait.due
  producer.asleep = math.huge
  producer.deputy = self.threads:open():spawn(function()
    local ready, message = current.wait(fd, mode, due and math.max(0, due - core.clock()))
    producer.asleep, producer.answer = 0, ready or message ~= "timeout"
  end)
end

-- The coroutine of a producer, the i-th of the list, has come to its end; `interrupted`: by SIGTERM, or Ctrl-C.
local function finish_one(self, i, producer, ok, caught, interrupted)
  table.remove(self.list, i)
  if interrupted and not ok then -- in a read, say: it was to stop anyway
    if self.state.heeds_term then self.state:ask_to_stop() end
    self.outcome:warn(("stage '%s': the producer was interrupted by %s"):format(producer.stage.name,
      core.terminated() == SIGINT and "Ctrl-C" or "SIGTERM"))
    ok, caught = true, nil
  end
  end_one(self, producer, ok, caught)
end

-- Lets one producer, the i-th of the list, emit until it yields or ends. Returns false where it waits for receivers.
local function resume_one(self, i, producer)
  local own, guard, start = producer.pace, self.reentry.guard, core.now()
  if self.screen.line then self.screen:before_handlers() end
  self.current = producer.thread
  guard:watch(producer.thread)
  self.ledger:producer(producer.thread)
  local measures = own:resume(start)
  local idle, worked, switches, among = false, nil, nil, nil
  if measures then
    idle = self.ledger:idles()
    worked, switches = core.worked()
  elseif self.rounds:may_go_on(#self.list) then
    among = producer.among
  end
  producer.asleep, producer.pauses = nil, nil
  local outer = self.plan.options.seed and seeds.swap(producer.random)
  self.reads = files.enter()
  core.term_source(producer.alone)
  local alive, ok, caught, seconds, most, wanted = current.resume(producer.wait, producer.thread, producer.answer,
    among)
  local interrupted = core.term_source(false)
  guard:watch()
  self.ledger:producer(nil)
  if self.reads then
    files.leave()
    self.reads = false
  end
  if outer then producer.random = seeds.swap(outer) end
  self.current, self.reentry.in_handler = false, false
  local now, rest
  if among then now, rest = self.rounds:went_on(producer, seconds, most) -- else these are what it has yielded
  else now, rest = measure(self, producer, start, idle, worked, switches) end
  producer.waits = ok == WAIT
  if producer.waits then return wanted or false end
  if ok == MORE then
    if rest and self.ledger:any_at_work(producer.stage.id) then
      own.paused, producer.pauses = now, core.clock() + rest
    end
  elseif alive and ok == current.WAIT then
    suspend(self, producer)
  elseif coroutine.status(producer.thread) == "dead" then
    if not alive then ok, caught = false, ok end
    finish_one(self, i, producer, ok, caught, interrupted)
  end
  return true
end

--- Lets each producer that need not wait emit for a while. What the caller of `iterate` can have comes before a
--- producer that is slow.
---@return boolean busy
function Producers:go_on()
  if self.ledger:paused() then return false end
  local busy, first = false, self.outcome.streams and self.outcome.result.items[1] ~= nil
  for i = #self.list, 1, -1 do
    local producer = self.list[i]
    if self.state.aborted then break end
    if not (first and producer.pace.slow) and is_ready(self, producer) then
      if producer.task then
        look_after(self, i, producer)
        busy = true
      else
        busy = resume_one(self, i, producer) or busy
      end
    end
  end
  return busy
end

--- Whether one of them does something that is not waiting for receivers.
---@return boolean
function Producers:any_awake()
  for _, producer in ipairs(self.list) do
    if not producer.waits then return true end
  end
  return false
end

--- Closes the producers that have not ended, with the files that they read; the run is over.
function Producers:close()
  if self.reads then files.leave() end -- in the middle of a turn
  self.reads = false
  for _, producer in ipairs(self.list) do pcall(programs.close, producer.thread) end
  self.list = {}
end

return producers
