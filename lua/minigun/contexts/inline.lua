--- Inline: the stages that run in the coordinator itself. Methods of a run (see run/run.lua).
local acks = require "minigun.policy.acks"
local chain = require "minigun.handlers.chain"
local errors = require "minigun.base.traceback"
local core = require "minigun.core"
local report = require "minigun.base.protocol"
local signals = require "minigun.system.signals"
local rates = require "minigun.policy.rates"
local work = require "minigun.base.work"

local inline = {}

local INLINE_SECONDS <const> = 0.0005 -- spent in stages of the coordinator before it looks after workers
local UNKNOWN <const> = 64            -- items batched at once while nobody knows how long they take

--- Makes the chain of the coordinator's own stages.
function inline:open_chain()
  local own = {}
  for _, stage in ipairs(self.plan.stages) do
    if not self.segment_of[stage.id] then own[#own + 1] = stage end
  end
  self.inline = own
  function self.inline_waits(id) return self:receivers_full(self.waits[id]) end
  for _, stage in ipairs(own) do
    if stage.partition then self:open_lanes(stage) end
  end
  self.chain = chain.new(own, {
    addresses = self.plan.addresses,
    send_to = function(stage, id, item) self:send_to(stage, id, item) end,
    deliver = function(stage, item) self:deliver(stage, item) end,
    effect = function(...) self:effect(...) end,
    failed = function(stage, item, caught, attempt, partial, number)
      signals.pass_on(caught.raised)
      self:settle_failure(stage, errors.fields(caught, {
        attempt = attempt, partial = partial, pid = self.pid, number = number,
      }), function()
        return self:folded(stage, item)
      end, item ~= nil and not caught.unreadable and function()
        local again = work.of_value(stage.id, item)
        again.first = number
        return again
      end)
    end,
    context = function(stage, effect) return self:context({ stage = stage.name }, effect) end,
    process = self.process,
    watch = function(thread) self.guard:watch(thread) end,
    warn = function(text) self:warn(text) end,
    limits = true,
    now = core.clock,
  })
  for _, stage in ipairs(own) do
    self:open_outlet(stage)
    if stage.batch then self:open_join(stage) end
    if stage.reduces then self:open_fold(stage) end
    self.timed = self.timed or stage.batch and stage.batch.max_wait
  end
  if self.resume then self.resume:trace(self.chain, own, self.segments) end
  for _, segment in ipairs(self.segments) do
    for _, id in ipairs(segment.plan.kind == "threads" and segment.plan.stages or {}) do
      self:open_outlet(self.plan.stages[id])
    end
  end
end

--- Calls hooks about forks for stages that run in this process instead: it is their worker.
---@param segment table of the plan
---@param names table array of the hooks' names
---@param context_of function (stage id) -> ctx of that stage
function inline:fork_hooks(segment, names, context_of)
  local only -- the one stage with a handler: a worker that runs but one gives its hooks that stage's ctx, too
  for _, id in ipairs(segment.stages) do
    local stage = self.plan.stages[id]
    if stage.handler and stage.kind ~= "producer" and not stage.partition then only = only == nil and id end
  end
  for _, name in ipairs(names) do
    for _, hook in ipairs(segment.hooks[name]) do
      local id = hook.stage or only
      self:hooks({ hook }, nil, id and context_of(id) or self:context {})
    end
  end
end

--- The same for the coordinator's own stages.
---@param names table array of the hooks' names
function inline:inline_hooks(names)
  for _, segment in ipairs(self.plan.segments) do
    if segment.kind == "inline" then
      self:fork_hooks(segment, names, function(id) return self.chain.states[id].ctx end)
    end
  end
end

-- Runs the items of an entry through its stage and all behind it.
local function run(self, entry)
  local id, own = entry.stage, self.acks
  local before = own.origin
  own.origin = entry.origin or false
  if self.meter then self.meter:before_handlers() end
  self.in_handler = true
  if not entry.block then
    self.chain:push(id, entry.value, entry.attempt, entry.first)
  else
    if not self:join(entry) then
      local pool, block, offset, length, only = self.pool, entry.block, entry.offset, entry.length, entry.only
      local n = self.chain:push_all(id, pool:cursor(block, offset, length, only), function(i)
        local at = pool:walk(block, offset, length, only, i - 1)
        local behind, value = pool:decode(block, at, offset + length, only)
        return behind and value
      end)
      if n ~= entry.count then self:found_damage(self.plan.stages[id], entry.count, n) end
    end
    self.pool:release(entry.block)
  end
  own.origin, self.in_handler = before, false
  self:finished(id, entry.count, entry.origin)
end

--- Ends the run where an entry's block does not hold what was announced: workers can write into it.
---@param entry table
function inline:check_entry(entry)
  local _, n = self.pool:walk(entry.block, entry.offset, entry.length, entry.only or report.ANY, entry.count + 1)
  if n ~= entry.count then self:found_damage(self.plan.stages[entry.stage], entry.count, n) end
end

--- Ends the run because of that. Whose damage it is nobody knows.
---@param stage table
---@param announced integer
---@param found integer?
function inline:found_damage(stage, announced, found)
  self:fail(("stage '%s': a worker has damaged the run's shared memory: %d item%s announced, %s found"):format(
    stage.name, announced, announced == 1 and "" or "s", found or "a damaged one"))
end

-- Takes an entry off the queue; where a step must not take long, only so many of its items as fit.
local function take(self, entry)
  local combiner = self.chain.states[entry.stage].combiner
  local unknown = combiner and not combiner.seconds
  local limited = self.limited[entry.stage]
  if (self.patient or unknown or limited or entry.is_source) and entry.block then
    self.rates[entry.stage] = self.rates[entry.stage] or rates.new()
    local n = unknown and UNKNOWN or self.rates[entry.stage]:slice()
    if limited then n = math.min(n, self:room(self.waits[entry.stage], self.per[entry.stage])) end
    local at = n < entry.count and self.pool:walk(entry.block, entry.offset, entry.length, entry.only, n)
    if at then
      self.pool:retain(entry.block)
      local origin = entry.origin and acks.cut(entry, n)
      local slice = work.cut(entry, n, at)
      slice.origin = origin
      self.inline_queue:cut(slice.length)
      return slice
    end
  end
  return self.inline_queue:pop(entry.stage)
end

--- Runs what waits for the coordinator's own stages, for a while.
---@return boolean busy whether there was anything
function inline:run_inline_queue()
  local busy, spent = false, 0
  while self.inline_queue:count() > 0 and not self.stopping do
    local entry = self.inline_queue:first(self.inline_waits)
    if not entry then break end
    entry = take(self, entry)
    local start = core.now()
    run(self, entry)
    signals.check()
    local seconds = core.now() - start
    if self.chain.states[entry.stage].batches then
      local s = self.stats[entry.stage]
      s.busy = s.busy + seconds
    end
    if self.rates[entry.stage] then self.rates[entry.stage]:learn(seconds, entry.count) end
    busy = true
    spent = spent + seconds
    if spent > INLINE_SECONDS then break end
  end
  return busy
end

return inline
