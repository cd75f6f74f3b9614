--- A run: one execution of a pipeline, and the coordinator's only loop.
--
-- The states of a run (state.lua), and the functions that lead from one to the next:
--
--   NEW --begin--> RUNNING --stop_producers--> STOPPING
--                     |                           |
--                     +---------- advance --------+----> DRAINED --finish--> FINISHING --close--> OVER
--
--   any but OVER --abort, kill, fail, close--> ABORTED --close--> OVER
--
-- RUNNING: producers emit. STOPPING: they have been told to end, what they have emitted is processed. DRAINED: every
-- stage is at its end and nothing is pending; it lasts until workers have been told. FINISHING: workers and threads
-- end, hooks `after` are called. ABORTED: the user, an error or a failure has ended the run; nothing more is done.
--
-- A round (`step`), in this order:
--   1. signals; an error that a user's function has caught; the end of the grace after SIGTERM; a stop that was asked
--      for (`heed`)
--   2. what workers have said is taken (events.lua), and what waits for the coordinator's own stages is run (`take_in`)
--   3. producers of the coordinator emit
--   4. what is written goes on, work and blocks are handed out; what the clock asks for; the journal; threads run
--      (`give_out`). The clock comes after the handing out, as that may have set it
--   5. stages are drained; when all are, workers are told to end; and the run is over when they have (`advance`)
--   6. the ledger is checked, where $MINIGUN_CHECK is set
--   7. a sleep, unless anything was moved
-- What goes back into the loop from inside of it goes through reentry.lua.
--
-- The parts of a run each have a file. They know each other as far as their constructors say (`wire`). Where one calls
-- back a part that itself calls it, it has been given a function for that (`parts_of`): no circle of parts.
--
-- Invariants
-- 1. Every item is in exactly one place, and the ledger counts it (ledger.lua).
-- 2. Every reference to a block that an event brings is passed on to one piece of work, or released.
-- 3. Whatever happens, `Run:close` ends every child and gives back every descriptor and mapping.
local acks = require "minigun.policy.acks"
local admission = require "minigun.policy.admission"
local answers = require "minigun.run.answers"
local batches = require "minigun.run.batches"
local command = require "minigun.handlers.command"
local core = require "minigun.core"
local declared = require "minigun.base.declared"
local drain = require "minigun.run.drain"
local emission = require "minigun.run.emission"
local events = require "minigun.run.events"
local failures = require "minigun.run.failures"
local gates = require "minigun.run.gates"
local heap = require "minigun.system.heap"
local hooks = require "minigun.run.hooks"
local inline = require "minigun.contexts.inline"
local ledger = require "minigun.run.ledger"
local lineage = require "minigun.run.lineage"
local outcome = require "minigun.run.outcome"
local outlets = require "minigun.run.outlets"
local places = require "minigun.run.places"
local plan = require "minigun.plan.plan"
local port = require "minigun.run.port"
local producers = require "minigun.run.producers"
local receipts = require "minigun.run.receipts"
local reduces = require "minigun.run.reduces"
local reentry = require "minigun.run.reentry"
local rounds = require "minigun.run.rounds"
local screen = require "minigun.run.screen"
local shared = require "minigun.run.shared"
local signals = require "minigun.system.signals"
local silence = require "minigun.run.silence"
local sleeper = require "minigun.run.sleeper"
local sources = require "minigun.sources.sources"
local state = require "minigun.run.state"
local status = require "minigun.run.status"
local threads = require "minigun.run.threads"
local transport = require "minigun.run.transport"

local run = {}

local BEAT <const> = sleeper.BEAT
local CHECK <const> = os.getenv "MINIGUN_CHECK" ~= nil
local STEPPED <const> = { RUNNING = true, STOPPING = true, FINISHING = true, ABORTED = true } -- the states of a round

local Run = {}
Run.__index = Run

-- --- setting up --------------------------------------------------------------------------------------------------

local wires = nil -- from the name of a part to the names of its fields that are other parts: the same in all runs
local SOME <const> = { lineage = true, answers = true, receipts = true } -- parts that not every run has

local function wires_of(name, part, parts)
  local fields = {}
  for field, value in next, name ~= "plan" and type(part) == "table" and part or {} do
    if value == false and parts[field] ~= nil then table.insert(fields, field) end
  end
  return fields
end

-- Each part says in its constructor which others it needs: a field of that name that is false. Here it gets them.
local function wire(parts)
  if not wires then
    wires = {}
    for name, part in pairs(parts) do wires[name] = SOME[name] and {} or wires_of(name, part, parts) end
  end
  for name in next, SOME do
    for _, field in ipairs(wires_of(name, parts[name], parts)) do parts[name][field] = parts[field] end
  end
  for name, fields in next, wires do
    local part <const> = parts[name]
    for i = 1, #fields do
      local field <const> = fields[i]
      part[field] = parts[field]
    end
  end
end

-- The parts of a run, by name. `process`: pid and number of the coordinator's process, and how the run goes on.
local function parts_of(p, process, streams)
  local own, journal, past = {}, nil, nil
  if p.options.journal then journal, past = require("minigun.run.journal").open(p) end -- first, as it may raise
  own.plan, own.state, own.outcome = p, state.new(), outcome.new(p, process.pid, streams)
  own.stats = own.outcome.stats
  own.shared, own.places = shared.new(p), places.new(p)
  own.acks = acks.new(function(origin)
    local ranges = origin.ranges
    for i = 1, ranges and #ranges or 0, 2 do journal:acknowledge(origin.source.name, ranges[i], ranges[i + 1]) end
    local answer = origin.answer
    if answer and answer.hears then own.receipts:ended(origin) elseif answer then own.answers:ended(origin) end
  end)
  own.answers = process.standing and answers.new(p, function(origin) return own.failures:wake_of(origin) end,
    function(origin, stages) return own.gates:wake_of(origin, stages) end) or false
  own.receipts = receipts.new(p) or false
  own.lineage = (journal or own.answers or own.receipts) and lineage.new(p, own.acks, not journal, function(value)
    return own.answers and own.answers:value(value)
  end) or false
  own.ledger = ledger.new(p, own.acks)
  own.resume = false
  if journal then
    own.resume = require("minigun.run.resume").new {
      plan = p, stats = own.outcome.stats, result = own.outcome.result, acks = own.acks,
      journal = journal, past = past, warn = function(text) own.outcome:warn(text) end,
      fail = function(text) own.state:fail(text) end }
  end
  own.admission, own.inline = admission.new(p.stages, own.places.of), inline.new(p, process)
  own.outlets = outlets.new(p, process.pid, {
    let_others = function(why) return own.producers:let_others(why) end,
    wait_for_receivers = function(id) return own.producers:wait_for_receivers(id) end,
    send = function(...) return own.emission:send(...) end })
  own.emission = emission.new(p, process)
  own.gates = gates.new()
  own.batches = batches.new()
  own.transport = transport.new(p, own.places.of, own.outlets.of, own.outlets.list,
    function(stage, id) return own.outlets:to(stage, id) end)
  own.failures = failures.new(p, process.pid, silence.explain, function() return own.status:finished() end)
  own.events, own.reduces = events.new(p), reduces.new(p, process.pid)
  own.producers, own.drain, own.hooks = producers.new(p, process), drain.new(p, core.clock), hooks.new()
  own.reentry, own.threads = reentry.new(process.process), threads.new(p.options.seed)
  own.rounds = rounds.new(p, process)
  own.sleeper = sleeper.new(function()
    return own.producers:any_awake() or own.answers and own.answers:rests()
  end)
  own.screen, own.status = screen.new(), status.new(p)
  wire(own)
  return own
end

--- Makes a run; nothing has begun yet.
---@param pipeline table
---@param given table? checked options of the run
---@param how table?
--- `patient`: no step may take long, so that the program can do other things in between; `streams`: the caller takes
--- items one by one; `open_line(view, run)` opens a progress line, `open_page(options, status, warn)` what looks at
--- the figures;
--- `standing`: its items are submitted, see answers.lua
---@return table run
--- `busy`: whether the last round has moved anything; `due_at`: when a clock will, on the monotonic clock, or false
function run.new(pipeline, given, how)
  how = how or {}
  local self
  local process = { pid = core.pid(), process = core.process(), patient = how.patient or false,
    standing = how.standing or false,
    ask_to_stop = function() self:ask_to_stop() end }
  local p = plan.build(pipeline, given, how.standing)
  local own = parts_of(p, process, how.streams or false)
  self = declared({
    pipeline = pipeline, started = core.now(), open_line = how.open_line or false,
    open_page = how.open_page or false, busy = false, next_due = false,
    due_at = false,
    holds = false,           -- what the process holds as long as the run lasts: memory that is freed, programs, signals
    plan = p, state = own.state, outcome = own.outcome, ledger = own.ledger, acks = own.acks, resume = own.resume,
    answers = own.answers, lineage = own.lineage,
    shared = own.shared, places = own.places, inline = own.inline, transport = own.transport,
    failures = own.failures, events = own.events, producers = own.producers, rounds = own.rounds,
    drain = own.drain, hooks = own.hooks,
    sleeper = own.sleeper, screen = own.screen, reentry = own.reentry, status = own.status,
    open_places = function(any)
      own.heap = any and heap.new() or false
      own.places:open(any and port.new(own) or nil)
      own.admission:draw()
      own.outlets:draw()
      own.admission:draw_waits(own.places.list)
      ledger.draw(own.ledger, p, own.places, own.outlets, own.admission)
    end,
    threads = own.threads,
  }, Run)
  own.reentry.loop = self
  return self
end

--- Begins the run: hooks, shared memory, workers, producers.
function Run:begin()
  local own, deadline = self.state, self.plan.options.deadline
  own:become "RUNNING"
  if deadline then
    own.end_by = core.clock() + deadline
    own.late = ("the run has not ended within its deadline of %g s"):format(deadline)
  end
  core.keep_freed(true)
  core.watch_stops(true)
  self.holds = true
  command.hold()
  self.hooks:call(self.plan.hooks.before_run, {})
  local slots, any = self.places:needs()
  if any then self.shared:open(slots) end
  self.ledger:attach(self.shared.pool or nil, self.shared.memory, self.shared.queue_bytes)
  self.open_places(any)
  self.inline:open()
  local page = self.open_page and self.open_page(self.plan.options, function() return self.status:snapshot() end,
    function(text) self.outcome:warn(text) end)
  if page then self.screen:show_figures(page) end
  local line = self.open_line and self.open_line({ plan = self.plan, started = self.started,
    length = sources.length_of_all(self.plan.stages),
    inline = self.inline.stages, result = self.outcome.result, tally = function() return self.status:rows() end }, self)
  self.screen:open(line or nil, self.plan.options.output, self.shared.pool)
  self.places:start()
  self.inline:start()
  self.producers:open()
end

-- --- parts of a round, some of which reentry.lua goes through from inside ----------------------------------------

-- The earlier of two times, each of which may be missing: never.
local function earlier(a, b)
  if a and b then return math.min(a, b) end
  return a or b
end

--- Starts retries and batches whose time has come, and what else the clock asks for.
---@param inside boolean? one of the coordinator's own stages is at work, so they get nothing
---@return number? seconds until the next time
function Run:check_clock(inside)
  if not (self.failures:timed() or self.places.timed or self.inline.timed or self.drain.timed) then return nil end
  local now = core.clock()
  local due, started = self.failures:check_clock(now)
  local at_once = started and not inside -- the stages of the coordinator have had their turn
  if not inside then
    local next_due, fell_due = self.inline:due(now)
    due, at_once = earlier(due, next_due), at_once or fell_due
  end
  local next_due, fell_due = self.drain:check_clock(now)
  due = earlier(earlier(due, next_due), self.places:check_clock(now))
  if at_once or fell_due then return 0 end
  return due and math.max(due - now, 0)
end

--- Keeps the workers going while the coordinator itself waits.
---@param written boolean what is written for them goes on, too
function Run:serve(written)
  if written then self.transport:flush_wanted() end
  if self.shared.pool then self.events:collect() end
  self.places:hand_out()
end

-- Takes what has come. Returns whether there was anything.
local function take_in(self)
  local busy = false
  if self.shared.pool then busy = self.events:collect() end
  return self.inline:dispatch() or busy
end

-- Passes on what is there for others, lets threads run, and does what falls due: of what has just been handed over too,
-- so this comes last. Returns whether there was anything, and whether what was handed over may have made room for more.
local function give_out(self)
  self.transport:flush_wanted()
  local handed, lacking, ran, look_at = self.places:hand_out()
  local due = earlier(self:check_clock(), self.producers:next_resume())
  if look_at then due = earlier(due, math.max(0, look_at - core.now())) end
  if self.resume then due = earlier(due, self.resume:tick()) end
  if self.threads.loop then
    local stepped, seconds
    if self.screen.line then self.screen:before_handlers() end
    stepped, seconds = self.threads:step()
    ran = stepped or ran
    due = earlier(due, seconds)
  end
  self.next_due = due or false
  self.rounds.due = core.now() + (due or math.huge)
  return handed or ran, ran or handed and (lacking or self.ledger:own() > 0)
end

--- One round of everything but the producers.
---@return boolean busy whether there was anything to do
function Run:turn()
  local busy = take_in(self)
  return give_out(self) or busy
end

-- --- a round -----------------------------------------------------------------------------------------------------

--- SIGTERM has come: the run is to stop, within its grace.
function Run:ask_to_stop()
  local own, grace = self.state, self.plan.options.grace
  local by = grace and core.clock() + grace
  own.heeds_term, own.stop_asked = false, true
  if by and not (own.end_by and own.end_by < by) then own.end_by, own.late = by, false end
end

--- Lets the producers wait, or go on: what is inside is processed. One in a process of its own waits when its block is
--- full.
---@param on boolean
function Run:pause(on) self.ledger:paused(on) end

--- Tells the producers to end.
function Run:stop_producers()
  self.state:become "STOPPING"
  if self.producers:stop() then self.places.timed = true end
end

-- No more work will come.
local function finish(self)
  self.state:must_be "DRAINED"
  if self.lineage and not self.resume then self.acks:release_kept() end
  self.places:finish()
  self.state:become "FINISHING"
end

-- Drains what can be drained; tells workers to end when all is. Returns whether anything has changed, and whether the
-- run is over: the last thing are the hooks after the coordinator's stages.
local function advance(self)
  local own, counts = self.state, self.ledger
  counts:changed(false)
  local over, changed = self.drain:advance()
  if over and (own.name == "RUNNING" or own.name == "STOPPING") then
    own:become "DRAINED"
    finish(self)
  end
  if changed then counts:changed(true) end
  if own.name ~= "FINISHING" or not self.places:ended() then return counts:changed(), false end
  self.inline:finish()
  return true, true
end

-- What has been asked of the run. Returns false where it ends at once.
local function heed(self)
  local own = self.state
  if core.interrupted() then signals.check() end
  if own.failed then error(own.failed, 0) end
  if self.ledger:torn() then own:fail "not enough memory for the run itself" end
  if own.heeds_term and core.terminated() then self:ask_to_stop() end
  if own.end_by and core.clock() >= own.end_by then own:time_is_over() end
  if own.stop_asked and own:must_stop() then self:stop_producers() end
  return not own.killed
end

-- Sleeps until something happens or falls due.
local function sleep(self, limit)
  local seconds, end_by = self.next_due and math.min(self.next_due, BEAT), self.state.end_by
  local others = limit and self.answers -- what is in a reduce or a batch may wait for an item still to be submitted
  if not (seconds or others or self.ledger:paused()) then seconds = self.sleeper:before_sleep() end
  self.due_at = seconds and core.now() + seconds or false
  seconds = earlier(earlier(seconds, end_by and math.max(0, end_by - core.clock())), limit)
  if self.screen.looks then seconds = self.screen:look(seconds) end
  self.sleeper:sleep(seconds or nil)
end

--- Waits for what workers say, for a short time, and takes it: the part of a round that one item needs whose worker has
--- nothing else to do.
---@param seconds number
function Run:listen(seconds)
  if not self.shared.pool then return end
  self.sleeper:sleep(seconds)
  self.events:collect()
end

--- One round of the run: moves what can be moved, or sleeps until something happens.
---@param limit number? seconds to sleep at most; nil: no limit
---@return boolean more false when the run is over
function Run:step(limit)
  local own, counts = self.state, self.ledger
  if not STEPPED[own.name] then own:must_be("RUNNING", "STOPPING", "FINISHING", "ABORTED") end
  if not heed(self) then return false end
  self.acks.origin = false
  self.rounds.limit = limit and core.now() + limit or math.huge
  local busy = take_in(self)
  local waiting, pushed = counts:own()
  busy = busy and waiting > 0 -- more than there was time for
  busy = self.producers:go_on() or busy
  if self.answers then busy = self.answers:begin() or busy end
  local _, room = give_out(self)
  busy = busy or room or select(2, counts:own()) > pushed or self.producers:are_ready()
  if counts:changed() then
    local changed, over = advance(self)
    if over then return false end
    busy = changed or busy
  end
  if own.aborted then return false end
  if CHECK and not counts:torn() then counts:check() end
  self.busy = busy
  if busy and self.screen.looks then self.screen:look() end
  if self.outcome.streams and self.outcome.result.items[1] ~= nil then return true end -- they go out first
  if self.answers and self.answers.n_done > 0 then
    self.busy = true -- what falls due has not been looked at
    return true
  end
  if busy then self.sleeper:look() else sleep(self, limit) end
  return true
end

-- --- the end -----------------------------------------------------------------------------------------------------

--- Closes the journal, where there is one. May be called twice.
---@param delivered boolean the caller gets the result, with its items
function Run:close_journal(delivered)
  local own = self.state
  own:must_be "OVER"
  if not self.resume then return end
  self.resume:close(delivered and own:is_finished(), delivered and not self.outcome.streams,
    own.passed.STOPPING or false)
end

--- Ends every child and gives everything back. May be called twice.
---@param keep boolean? true: the pool's descriptor stays open, until `pool:close()`
function Run:close(keep)
  self.state:close()
  if self.holds then -- first: of a run that is forgotten, the pool's own finalizer may have come before
    core.keep_freed(false)
    command.release()
    core.watch_stops(false)
  end
  self.holds = false
  self.screen:close()
  self.producers:close()
  self.inline:close()
  if self.shared.pool then
    self.outcome.result.stats.memory_most = select(3, self.shared.pool:memory())
    self.transport:close_writers()
    self.screen:close_output()
    self.shared:close(keep)
  end
  if self.threads:close() then self.places:close() end
end

Run.__close = Run.close

return run
