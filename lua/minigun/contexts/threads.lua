--- Threads: a place whose stages run in threads of the coordinator: `threads(n)`. Items come and go as Lua values.
local contract = require "minigun.contexts.contract"
local errors = require "minigun.base.traceback"
local pools = require "minigun.handlers.threads"
local terms = require "minigun.policy.terms"
local work = require "minigun.base.work"

local threads = {}

local VALUE_BYTES <const> = 256  -- what a value is taken for that is kept for its turn

local Threads = contract.kind()

--- Makes a place; nothing runs yet.
---@param port table see contract.lua
---@param segment table of the plan
---@return table place
function threads.new(port, segment)
  local self = setmetatable({ slots = {}, most = terms.most_of(segment.n),
    threads = nil, -- the thread pool, once it has started
  }, Threads)
  contract.open(self, port, segment, "values")
  for i = 1, segment.n do self.slots[i] = { number = i } end
  return self
end

--- Changes how many items may be in work at once.
---@param n integer
---@return boolean? ok
---@return string? message
function Threads:resize(n)
  if self.partitioned then return nil, "each thread has the items of its keys (partition)" end
  self.n, self.threads.n = n, n
  self.ledger:resize(self.id, n, terms.most_of(n))
  return true
end

-- Threads for which there is no place any more have loops as well, and are woken for the end of these.
function Threads:looping()
  local most = self.n
  for _, thread in ipairs(self.threads.threads) do most = math.max(most, thread.number) end
  if most > self.n then self:resize(most) end
  for i = #self.slots + 1, most do self.slots[i] = { number = i } end
  return table.move(self.slots, 1, most, 1, {})
end

-- A thread's item is given up: its thread is closed where it waits, and another one takes its place.
function Threads:abandon(origin)
  for _, thread in ipairs(self.threads.threads) do
    local job = thread.job
    if job and job.origin == origin and self.threads:replace(thread) then
      self:finished(job)
      return true
    end
  end
  return false
end

-- The next item for a thread.
local function take(self, thread)
  local own = self.port.may_begin(self) and contract.Place.take(self, thread.number)
  if own and own.block then self:decode(own) end
  return own or nil
end

-- Gives on what a thread's stage has emitted, at its turn.
local function give(self, thread, how, stage, item, more)
  local port, job = self.port, thread.job
  local before = job.origin and port.under(job.origin)
  if self.order then
    self.order:put(job.first, VALUE_BYTES, { give = how, stage = stage, item = item, more = more,
      origin = port.holds() })
  else
    how(stage, item, more)
  end
  if job.origin then port.under(before) end
end

-- What the chain of a thread tells of a failed item.
local function failed(self, thread, stage, item, caught, how)
  local port, job = self.port, thread.job
  port.raised(caught.raised)
  local before = port.under(job.origin)
  how.pid, how.worker, how.workers = port.pid, thread.number, self.n
  how.number = how.attempt > 0 and self.ledger:only_way_in(self.id) == stage.id and job.first or nil
  port.settle(stage, errors.fields(caught, how), function() return item end, not caught.unreadable and function()
    if self.order then self.order:retry(job.first) end
    return work.repeats(work.of_value(stage.id, item), job.first, job.lane)
  end)
  port.under(before)
end

-- What surrounds the chain of a thread.
local function port_of(self, thread)
  local port = self.port
  return {
    send_to = function(stage, id, item) give(self, thread, port.sent, stage, id, item) end,
    deliver = function(stage, item) give(self, thread, port.emitted, stage, item) end,
    effect = port.effect,
    failed = function(...) failed(self, thread, ...) end,
  }
end

local function stages_of(self)
  local list = {}
  for i, id in ipairs(self.plan.stages) do list[i] = self.port.plan.stages[id] end
  return list
end

local function fork_hooks(self, names)
  self.port.fork_hooks(self.plan, names, function(id) return self.threads.contexts[id] end)
end

--- Makes the threads' place in the run's loop, and calls the hooks before their stages.
function Threads:start()
  local port, stages = self.port, stages_of(self)
  self.threads = pools.new(port.loop(), stages, self.n, {
    plan = port.plan, first = 1,
    port = function(thread) return port_of(self, thread) end,
    take = function(thread) return take(self, thread) end,
    done = function(thread, job) self:on_done(thread, job) end,
    ran = function(thread, seconds)
      if not thread.stage then return end
      local s = port.stats[thread.stage.id]
      s.blocked, s.blocked_most = s.blocked + seconds, math.max(s.blocked_most, seconds)
    end,
    effect = port.effect, returns = port.returns,
  })
  fork_hooks(self, { "before_fork", "after_fork" })
  for _, stage in ipairs(stages) do port.hooks(stage.hooks.before, nil, self.threads.contexts[stage.id]) end
end

--- An item has been through the stages.
---@param thread table
---@param job table
function Threads:on_done(thread, job)
  self.threads:count(thread, job, function(stage, items_in, items_out, busy, classes)
    self.port.count(stage, { items_in = items_in, items_out = items_out, busy = busy, classes = classes or {} })
  end)
  self:finished(job)
end

--- Gives work to threads that have none; they run with the next step of the loop, which tells whether any did.
---@return boolean busy
function Threads:dispatch()
  local queued = self.ledger:queued(self.id)
  if queued > 0 and self.port.may_begin(self) then
    self.threads:wake(self.has_lanes and self.n or queued) -- a lane's one thread must look itself
  end
  return false
end

--- No more work will come: calls the hooks after its stages.
function Threads:finish()
  if self.finishing then return end
  self.finishing = true
  for _, stage in ipairs(stages_of(self)) do
    self.port.hooks(stage.hooks.after, nil, self.threads.contexts[stage.id])
  end
  fork_hooks(self, { "before_exit" })
end

--- Closes what its threads have open, after the loop.
function Threads:close()
  if self.threads then self.threads:close() end
end

return threads
