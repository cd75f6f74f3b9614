--- Inline: the place of the stages that run in the coordinator itself (contract.lua). It is `here`: its stages call
-- each other, and what one of them sends to another goes on within the call, so nothing fills up between them.
local acks = require "minigun.policy.acks"
local chain = require "minigun.handlers.chain"
local contract = require "minigun.contexts.contract"
local core = require "minigun.core"
local declared = require "minigun.base.declared"
local errors = require "minigun.base.traceback"
local rates = require "minigun.policy.rates"
local signals = require "minigun.system.signals"
local work = require "minigun.base.work"

local inline = {}

local INLINE_SECONDS <const> = 0.0005 -- spent in stages of the coordinator before it looks after workers
local UNKNOWN <const> = 64            -- items batched at once while it is not known how long they take
local MOST <const> = 1024             -- pieces of work that may wait before what sends to them waits too

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
    here = true, takes = "values", fresh = false, first = false, keeps = false, look_at = false,
    whole = plan, plan = segment_of(plan), pid = how.pid, process = how.process, patient = how.patient,
    outcome = false, acks = false, lineage = false, state = false, admission = false, shared = false, places = false,
    outlets = false, transport = false, batches = false, failures = false, reduces = false, hooks = false,
    reentry = false, screen = false, own_queue = false, stages = {}, chain = false, timed = false,
    rates = {},              -- seconds per item, by stage
    waits = false,           -- function (stage) -> whether it has to wait for those after it
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

--- Makes the chain of the coordinator's own stages, and the ways out of them, and out of stages in its threads.
function Inline:open()
  local own, transport, admission, handlers = self.stages, self.transport, self.admission, {}
  for _, id in ipairs(self.plan.stages) do own[#own + 1] = self.whole.stages[id] end
  function self.waits(id) return admission:is_full(admission.waits[id]) end
  for _, stage in ipairs(own) do
    if stage.partition then handlers[stage.id] = self.outlets:open_lanes(stage) end
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
    if stage.batch then self.batches:open(stage) end
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

-- Runs the items of some work through its stage and all after it.
local function run(self, entry)
  local id, own, links = entry.stage, self.acks, self.chain
  local before = own.origin
  own.origin = entry.origin or false
  if self.screen.line then self.screen:before_handlers() end
  self.reentry.in_handler = true
  if not entry.block then
    links:push(id, entry.value, entry.attempt, entry.first)
  else
    local pool = self.shared.pool
    if not (links.states[id].batches and self.batches:join(entry)) then
      local n = links:push_all(id, pool:cursor(entry.block, entry.offset, entry.length, entry.only))
      if n ~= entry.count then self.shared:found_damage(self.whole.stages[id], entry.count, n) end
    end
    pool:release(entry.block)
  end
  own.origin, self.reentry.in_handler = before, false
  self.transport:finished(id, entry.count, entry.origin)
end

-- Takes work off the queue; where a step must not take long, only so many of its items as fit.
local function take(self, entry)
  local id, admission = entry.stage, self.admission
  local reduce = self.chain.states[id].reduce
  local unknown = reduce and not reduce.seconds
  local limited = admission.limited[id]
  if (self.patient or unknown or limited or entry.is_source) and entry.block then
    self.rates[id] = self.rates[id] or rates.new()
    local n = unknown and UNKNOWN or self.rates[id]:slice()
    if limited then n = math.min(n, admission:room(admission.waits[id], admission.per[id])) end
    local pool = self.shared.pool
    local at = n < entry.count and pool:walk(entry.block, entry.offset, entry.length, entry.only, n)
    if at then
      pool:retain(entry.block)
      local origin = entry.origin and acks.cut(entry, n)
      local slice = work.cut(entry, n, at)
      slice.origin = origin
      self.own_queue:cut(slice.length)
      return slice
    end
  end
  return self.own_queue:pop(id)
end

function Inline:push(own) self.own_queue:push(own) end
function Inline:full()
  local own <const> = self.own_queue
  return own.n >= MOST or own.bytes > self.shared.queue_bytes
end
function Inline:tally(id) return self.own_queue:items(id), 0 end
function Inline:in_work(_) return self and 0 end
function Inline:idles() return self.own_queue:count() == 0 end
function Inline:wakes() return self.own_queue:count() > 0 end
function Inline:free() return self.own_queue.n == 0 and 1 or 0 end
function Inline:abandon(_) return self and false end
function Inline:resize(_) return self and nil, "it runs in the coordinator" end

--- Takes out work that is not begun.
---@param origin table
---@return boolean found
function Inline:withdraw(origin)
  local own = self.own_queue:take_of(origin)
  if not own then return false end
  if own.block then self.shared.pool:release(own.block) end
  self.transport:finished(own.stage, own.count, own.origin)
  return true
end

--- Runs what waits for the coordinator's own stages, for a while.
---@return boolean busy whether there was anything
function Inline:dispatch()
  local busy, spent, own = false, 0, self.own_queue
  while own.n > 0 and not self.state.aborted do
    local entry = own:first(self.waits)
    if not entry then break end
    entry = take(self, entry)
    local start = core.now()
    run(self, entry)
    if core.interrupted() then signals.check() end
    local seconds = core.now() - start
    if self.chain.states[entry.stage].batches then
      local s = self.outcome.stats[entry.stage]
      s.busy = s.busy + seconds
    end
    if self.rates[entry.stage] then self.rates[entry.stage]:learn(seconds, entry.count) end
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
    due = next_due and math.min(due or next_due, next_due) or due
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
