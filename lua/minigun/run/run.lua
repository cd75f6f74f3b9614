--- A run: one execution of a pipeline: what it is made of, its begin and its end. The rounds between are loop.lua's.
--
-- The states of a run (state.lua), and the functions, most of them loop.lua's, that lead from one to the next:
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
-- The parts of a run each have a file. They know each other as far as their constructors say (`wire`). Where one calls
-- back a part that itself calls it, it has been given a function for that (`parts_of`): no circle of parts.
--
-- Invariants
-- 1. Every item is in exactly one place, and the ledger counts it (ledger.lua).
-- 2. Every reference to a block that an event brings is passed on to one piece of work, or released.
-- 3. Whatever happens, `Run:close` ends every child and gives back every descriptor and mapping.
local acks = require "minigun.policy.acks"
local admission = require "minigun.policy.admission"
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
local loop = require "minigun.run.loop"
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
local silence = require "minigun.run.silence"
local sources = require "minigun.sources.sources"
local state = require "minigun.run.state"
local status = require "minigun.run.status"
local threads = require "minigun.run.threads"
local transport = require "minigun.run.transport"

local run = {}

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

-- The parts of a run, by name. `process`: pid and number of the coordinator's process, and whether it is patient.
local function parts_of(p, process, streams)
  local own, journal, past = {}, nil, nil
  if p.options.journal then journal, past = require("minigun.run.journal").open(p) end -- first, as it may raise
  own.plan, own.state, own.outcome = p, state.new(p.options.grace), outcome.new(p, process.pid, streams)
  own.stats = own.outcome.stats
  own.shared, own.places = shared.new(p), places.new(p)
  own.acks = acks.new(function(origin)
    local ranges = origin.ranges
    for i = 1, ranges and #ranges or 0, 2 do journal:acknowledge(origin.source.name, ranges[i], ranges[i + 1]) end
    if origin.answer then own.receipts:ended(origin) elseif origin.number then own.answers:ended(origin) end
  end)
  own.answers = process.standing and require("minigun.run.answers").new(p,
    function(origin) return own.failures:wake_of(origin) end,
    function(origin, stages) return own.gates:wake_of(origin, stages) end) or false
  own.receipts = receipts.new(p) or false
  own.lineage = (journal or own.answers or own.receipts) and require("minigun.run.lineage").new(p, own.acks,
    not journal, function(value) return own.answers and own.answers:value(value) end) or false
  own.ledger = ledger.new(p, own.acks)
  own.resume = false
  if journal then
    own.resume = require("minigun.run.resume").new {
      plan = p, stats = own.outcome.stats, result = own.outcome.result, acks = own.acks,
      journal = journal, past = past, warn = function(text) own.outcome:warn(text) end,
      fail = function(text) own.state:fail(text) end }
  end
  own.admission, own.inline = admission.new(p.stages, own.places.of), inline.new(p, process)
  own.outlets = outlets.new(p, process.pid, function(...) return own.emission:send(...) end)
  own.emission = emission.new(p, process)
  own.gates = gates.new()
  own.transport = transport.new(p, own.places.of, own.outlets.of, own.outlets.list,
    function(stage, id) return own.outlets:to(stage, id) end)
  own.failures = failures.new(p, process.pid, silence.explain, function() return own.status:finished() end)
  own.events, own.reduces = events.new(p), reduces.new(p, process.pid)
  own.producers, own.drain, own.hooks = producers.new(p, process), drain.new(p, core.clock), hooks.new()
  own.loop, own.threads, own.rounds = loop.new(), threads.new(p.options.seed), rounds.new(p, process)
  own.reentry = reentry.new(process.process, {
    serve = function(written) own.loop:serve(written) end,
    turn = function() return own.loop:turn() end,
    check_clock = function() return own.loop:check_clock(true) end,
    sleep = function(...) own.loop:sleep(...) end })
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
function run.new(pipeline, given, how)
  how = how or {}
  local process = { pid = core.pid(), process = core.process(), patient = how.patient or false,
    standing = how.standing or false }
  local p = plan.build(pipeline, given, how.standing)
  local own = parts_of(p, process, how.streams or false)
  return declared({
    pipeline = pipeline, started = core.now(), open_line = how.open_line or false,
    open_page = how.open_page or false,
    holds = false,           -- what the process holds as long as the run lasts: memory that is freed, programs, signals
    plan = p, state = own.state, outcome = own.outcome, ledger = own.ledger, acks = own.acks, resume = own.resume,
    answers = own.answers, lineage = own.lineage,
    shared = own.shared, places = own.places, inline = own.inline, transport = own.transport,
    failures = own.failures, events = own.events, producers = own.producers,
    hooks = own.hooks, loop = own.loop,
    screen = own.screen, reentry = own.reentry, status = own.status,
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
  local slots, any, blocks = self.places:needs()
  if any then self.shared:open(slots, blocks) end
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

--- Lets the producers wait, or go on: what is inside is processed. One in a process of its own waits when its block is
--- full.
---@param on boolean
function Run:pause(on) self.ledger:paused(on) end

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
