--- Inline: the place of the stages that run in the coordinator itself (contract.lua). It is `here`: its stages call
-- each other, and what one of them sends to another goes on within the call, so nothing fills up between them.
local chain = require "minigun.handlers.chain"
local contract = require "minigun.contexts.contract"
local core = require "minigun.core"
local declared = require "minigun.base.declared"
local earlier = require "minigun.base.earlier"
local errors = require "minigun.base.traceback"
local report = require "minigun.base.protocol"
local signals = require "minigun.system.signals"
local work = require "minigun.base.work"

local inline = {}

local INLINE_SECONDS <const> = 0.0005 -- spent in stages of the coordinator before it looks after workers
local UNKNOWN <const> = 64            -- items batched at once while it is not known how long they take

local Inline = contract.kind()

-- The segment of the coordinator's own stages; a plan has none where all run elsewhere.
local function segment_of(plan)
  for _, segment in ipairs(plan.segments) do
    if segment.kind == "inline" then return segment end
  end
  return { kind = "inline", n = 1, width = 0, name = "", stages = {}, hooks = { before_fork = {}, after_fork = {},
    before_exit = {} } }
end

--- Makes the place of the coordinator's own stages; nothing is open yet.
---@param plan table
---@param how table `pid` and `process` of the coordinator; `patient`: no step may take long
---@return table inline
--- `stages`: array; `chain`, or false; `timed`: whether one of them must be asked what falls due
function inline.new(plan, how)
  return declared({
    here = true, takes = "values", fresh = false, first = false, order = false,
    whole = plan, plan = segment_of(plan), pid = how.pid, process = how.process, patient = how.patient,
    outcome = false, acks = false, lineage = false, state = false, admission = false, shared = false, places = false,
    gates = false, outlets = false, transport = false, failures = false, reduces = false,
    hooks = false,
    reentry = false, screen = false, ledger = false, pool = false, id = false, stages = {}, chain = false,
    timed = false,
    measured = {},           -- stages whose time per item the ledger learns
  }, Inline)
end

-- What the chain says of a failed item.
local function failed(self, stage, item, caught, how)
  local number = how.number
  signals.pass_on(caught.raised)
  how.pid = self.pid
  self.failures:settle(stage, errors.fields(caught, how), function()
    return self.reduces:content(stage, item)
  end, item ~= nil and not caught.unreadable and function()
    local again = work.of_value(stage.id, item)
    again.first = number
    return again
  end)
end

--- Takes its place in the ledger.
function Inline:enter()
  self.id = self.ledger:add_place { here = true, n = 1, first = 0, stages = 0, front = 0, threads = 0, most = 0,
    counted = 0, per_worker = math.huge }
end

-- Gives an accumulator what gathers its batches: byte batches, where it has no keys, and those a writer where its
-- batches go to other processes, so that items which come as bytes need not be decoded.
local function open_batches(self, stage)
  if not self.pool or stage.batch.by then return end
  local links, acks, outlet, transport = self.chain, self.acks, self.outlets.of[stage.id], self.transport
  local state, given = links.states[stage.id], stage.batch
  state.batches = require("minigun.policy.byte_batches").new({ max_size = given.max_size, max_wait = given.max_wait,
    numbered = given.numbered, max_bytes = given.numbered and self.shared.queue_bytes // 2 }, {
    pool = self.pool, writer = not state.choose and self.outlets:open_joined(stage) or nil, now = core.clock,
    emit = function(batch) links:emit_batch(state, batch) end,
    joined = function(n) links.calls:count(stage.id, 0, n, 0) end,
    tables = outlet.writer and function() transport:flush(outlet) end,
    passing = function(gathered) outlet.joined.origin = acks:pass(outlet.joined.origin, gathered) end,
    flush = function() transport:flush(outlet.joined) end,
    refused = function(list) self.failures:unreadable(stage, list) end,
    dropped = function(gathered)
      if gathered then acks:release(gathered, 1) end
    end,
    damaged = function(count, found) self.shared:found_damage(stage, count, found) end,
    fail = function(message)
      self.state:fail(("stage '%s': items cannot be read: %s"):format(stage.name, message))
    end,
  })
end

--- Makes the chain of the coordinator's own stages, and the ways out of them, and out of stages in its threads.
function Inline:open()
  local own, transport, handlers = self.stages, self.transport, {}
  for _, id in ipairs(self.plan.stages) do own[#own + 1] = self.whole.stages[id] end
  self.pool = self.shared.pool
  for _, stage in ipairs(own) do
    if stage.partition then handlers[stage.id] = self.outlets:open_lanes(stage) end
    if stage.gate then handlers[stage.id] = self.gates:open(stage) end
  end
  self.chain = chain.new(own, {
    addresses = self.whole.addresses,
    send_to = function(stage, id, item) transport:send_to(stage, id, item) end,
    deliver = function(stage, item) transport:deliver(stage, item) end,
    effect = function(...) self.outcome:effect(...) end,
    failed = function(...) failed(self, ...) end,
    context = function(stage, effect) return self.outcome:context({ stage = stage.name }, effect) end,
    process = self.process, returns = self.outcome.returns, handlers = handlers, apart = self.outlets.direct,
    watch = function(thread) self.reentry.guard:watch(thread) end,
    warn = function(text) self.outcome:warn(text) end,
    limits = true,
    now = core.clock,
  })
  for _, stage in ipairs(own) do
    self.outlets:open(stage)
    if stage.batch then open_batches(self, stage) end
    if stage.reduces then self.reduces:open(stage) end
    if stage.batch and stage.batch.max_wait then self.timed = true end
  end
  if self.lineage then self.lineage:trace(self.chain, own, self.places.list) end
  for _, place in ipairs(self.places.list) do
    for _, id in ipairs(place.first and {} or place.plan.stages) do -- what runs in threads here
      self.outlets:open(self.whole.stages[id])
    end
  end
end

local function call_about_forks(self, names)
  self.hooks:call_about_forks(self.plan, self.whole.stages, names, function(id) return self.chain.states[id].ctx end)
end

local function call_hooks(self, name)
  for _, stage in ipairs(self.stages) do
    self.hooks:call(stage.hooks[name], nil, self.chain.states[stage.id].ctx)
  end
end

--- Calls the hooks before the stages; the coordinator is their worker.
function Inline:start()
  call_about_forks(self, { "before_fork", "after_fork" })
  call_hooks(self, "before")
end

--- Calls the hooks after the stages. What such a hook closes, a pipe to a program say, workers may have inherited, so
--- these are over.
function Inline:finish()
  call_hooks(self, "after")
  call_about_forks(self, { "before_exit" })
end

-- Runs the items of some work, `count` of them, through its stage and all after it. Returns how many.
local function run(self, id, own, count, block, offset, length, only, attempt, first)
  local acks, calls, ledger = self.acks, self.chain.calls, self.ledger
  local before, state = acks.origin, self.chain.states[id]
  acks.origin = self.lineage and ledger:kept(own, report.ORIGIN) or false
  if self.screen.line then self.screen:before_handlers() end
  self.reentry.in_handler = true
  if not block then
    calls:push(id, ledger:kept(own, report.VALUE), attempt, first)
  elseif state.batches and state.batches.add_range and not state.closed then
    state.batches:add_range(block, offset, length, count, only or report.ANY)
  else
    local n = calls:push_all(id, self.pool:cursor(block, offset, length, only))
    if n ~= count then self.shared:found_damage(self.whole.stages[id], count, n) end
  end
  acks.origin, self.reentry.in_handler = before, false
  ledger:done_own(own)
  return count
end

-- How many items of the oldest work of a stage are run at once; 0: all of them. It is cut where a step must not take
-- long, and where those after it have no room for all.
local function share_of(self, id, count, is_source)
  local reduce = self.chain.states[id].reduce
  local unknown, limited = reduce and not reduce.seconds, self.admission.limited[id]
  if not (self.patient or unknown or limited or is_source) then return 0 end
  self.measured[id] = true
  local n = unknown and UNKNOWN or self.ledger:slice(id)
  if limited then n = math.max(1, math.min(n, self.ledger:room_of_stage(id))) end
  return n < count and n or 0
end

function Inline:free() return self.ledger:own() == 0 and 1 or 0 end
function Inline:resize(_) return self and nil, "it runs in the coordinator" end

--- Runs what waits for the coordinator's own stages, for a while.
---@return boolean busy whether there was anything
function Inline:dispatch()
  local ledger, busy, spent = self.ledger, false, 0
  while not self.state.aborted do
    local id, count, is_bytes, is_source = ledger:oldest_own()
    if not id then break end
    local is_cut = is_source or self.patient or self.admission.limited[id] or self.chain.states[id].reduce
    count = is_bytes and is_cut and math.min(count, share_of(self, id, count, is_source)) or 0
    local start = core.now()
    count = run(self, id, ledger:take_own(id, count))
    if core.interrupted() then signals.check() end
    local seconds = core.now() - start
    if self.chain.states[id].batches then
      local s = self.outcome.stats[id]
      s.busy = s.busy + seconds
    end
    if self.measured[id] then ledger:learn(id, seconds, count) end
    busy = true
    spent = spent + seconds
    if spent > INLINE_SECONDS then break end
  end
  return busy
end

--- Passes on batches whose time has come.
---@param now number
---@return number? due when the next one's will; nil: none waits for the clock
---@return boolean fell_due
function Inline:due(now)
  local due, fell_due = nil, false
  for _, stage in ipairs(self.stages) do
    local batches = self.chain.states[stage.id].batches
    local next_due = batches and batches:next_due()
    if next_due and next_due <= now then
      self.chain:flush_batches(stage.id, now)
      fell_due = true
      next_due = batches:next_due()
    end
    due = earlier(due, next_due)
  end
  return due, fell_due
end

--- Passes on a stage's last batch, and ends its loop, before it comes back.
---@param id integer the stage
---@return boolean later false
function Inline:end_input(id)
  local state = self.chain.states[id]
  if state.batches then self.chain:flush_batches(id) end
  if state.loop then self.chain:end_loop(id) end
  return false
end

--- Closes what loop stages have open.
function Inline:close()
  for _, state in pairs(self.chain and self.chain.states or {}) do
    if state.loop then pcall(state.loop.abandon, state.loop) end
  end
end

return inline
