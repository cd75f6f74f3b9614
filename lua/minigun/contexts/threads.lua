--- A segment whose stages run in threads of the coordinator: `threads(n)`. To the run it is what a segment of child
--- processes is (workers.lua), but that items come and go as Lua values.
--
-- Its ledger is the queue and what the threads have in hand; entries are those of workers.lua. The methods that keep
-- the queue and the order are that one's own.
local crew = require "minigun.handlers.threads"
local errors = require "minigun.base.traceback"
local ends = require "minigun.contexts.ends"
local forked = require "minigun.contexts.workers"
local order = require "minigun.policy.order"
local queue = require "minigun.base.queue"
local signals = require "minigun.system.signals"
local work = require "minigun.base.work"

local threaded = {}

local VALUE_BYTES <const> = 256  -- what a value is taken for that is kept for its turn

local Segment = {}
Segment.__index = Segment

for _, name in ipairs { "push", "open_lanes", "queue_for", "take", "finished", "name" } do
  Segment[name] = forked.methods[name]
end
Segment.end_loops, Segment.go_on_with_loops = ends.end_loops, ends.go_on_with_loops

--- Makes a segment; nothing runs yet.
---@param run table the run it belongs to
---@param segment table of the plan
---@return table segment
function threaded.new(run, segment)
  local self = setmetatable({
    run = run, plan = segment, pool = run.pool, by_value = true, queue = queue.new(), lanes = {}, queued = 0,
    queued_bytes = 0, arrived = 0, told = {}, targets = {}, thirsty = {}, slots = {}, in_hand = 0, finishing = false,
    at = {}, -- items in hand, by the stage that they have come to
  }, Segment)
  for i = 1, segment.n do self.slots[i] = { number = i, pid = run.pid } end
  if segment.ordered then
    self.order = order.new(function(part)
      run.acks:under(part.origin, part.give, run, part.stage, part.item, part.more)
    end, run.memory // 8)
  end
  return self
end

--- Whether those who send to this segment should wait.
---@return boolean
function Segment:full()
  if self.limited and (self.run.room_of(self) <= 0
    or self.queued >= self.plan.n and self.run:receivers_full(self.targets)) then return true end
  return self.queued >= 64 + 4 * self.plan.n or self.queued_bytes > self.run.queue_bytes and self.queued > self.plan.n
end

--- How many items that have come to a stage are in work.
---@param id integer
---@return integer
function Segment:in_work(id) return self.at[id] or 0 end

--- How many items of a stage are here: in the queue, and in the hands of threads.
---@param id integer
---@return integer queued
---@return integer in_hand
function Segment:tally(id)
  local queued = self.queue:items(id)
  for _, lane in pairs(self.lanes) do queued = queued + lane:items(id) end
  return queued, self.at[id] or 0
end

-- Whether those behind have room for what an item may emit.
local function may_begin(self)
  local run = self.run
  return not run.stopping and not run:inline_full() and not run:receivers_full(self.targets)
end

-- The next item for a thread, decoded where it came as bytes.
local function take(self, thread)
  local own = self.queued > 0 and may_begin(self) and self:queue_for(thread)
  if not own then return nil end
  local entry = self:take(1, own)
  if entry.block then
    self.run:check_entry(entry)
    local behind, value, problem = self.pool:decode(entry.block, entry.offset, entry.offset + entry.length, entry.only)
    local stage = self.run.plan.stages[entry.stage]
    self.pool:release(entry.block)
    if not behind then self.run:fail(("stage '%s': an item cannot be read: %s"):format(stage.name, value)) end
    entry.value = value
    if type(problem) == "table" then -- a batch without these
      self.run:items_refused(stage, problem)
      entry.given_up = #value == 0
    else
      entry.given_up, entry.problem = problem ~= nil, problem
    end
  end
  self.in_hand = self.in_hand + 1
  self.at[entry.stage] = (self.at[entry.stage] or 0) + 1
  return entry
end

-- Gives on what a thread's stage has emitted, at its turn.
local function give(self, thread, how, stage, item, more)
  local run, own = self.run, self.run.acks
  local before = own.origin
  own.origin = thread.job.origin or false
  if self.order then
    self.order:put(thread.job.first, VALUE_BYTES, { give = how, stage = stage, item = item, more = more,
      origin = run.resume and own:hold(1) or nil })
  else
    how(run, stage, item, more)
  end
  own.origin = before
end

local function settle(self, thread, stage, item, caught, attempt, partial)
  local run, job = self.run, thread.job
  signals.pass_on(caught.raised)
  local own = run.acks
  local before = own.origin
  own.origin = job.origin or false
  run:settle_failure(stage, errors.fields(caught, {
    attempt = attempt, partial = partial, pid = run.pid, worker = thread.number, workers = self.plan.n,
    number = attempt > 0 and self.only_way_in == stage.id and job.first or nil,
  }), function() return item end, not caught.unreadable and function()
    if self.order then self.order:retry(job.first) end
    return work.repeats(work.of_value(stage.id, item), job.first, job.lane)
  end)
  own.origin = before
end

local function host_of(self, thread)
  local run = self.run
  return {
    send_to = function(stage, id, item) give(self, thread, run.send_to, stage, id, item) end,
    deliver = function(stage, item) give(self, thread, run.deliver, stage, item) end,
    effect = function(...) run:effect(...) end,
    failed = function(...) settle(self, thread, ...) end,
  }
end

local function stages_of(self)
  local list = {}
  for i, id in ipairs(self.plan.stages) do list[i] = self.run.plan.stages[id] end
  return list
end

function Segment:fork_hooks(names)
  self.run:fork_hooks(self.plan, names, function(id) return self.crew.contexts[id] end)
end

--- Makes the threads' place in the run's loop, and calls the hooks before their stages.
function Segment:start()
  local run, stages = self.run, stages_of(self)
  self.crew = crew.new(run:open_loop(), stages, self.plan.n, {
    plan = run.plan, first = 1,
    host = function(thread) return host_of(self, thread) end,
    take = function(thread) return take(self, thread) end,
    done = function(thread, job) self:on_done(thread, job) end,
    ran = function(thread, seconds)
      if not thread.stage then return end
      local s = run.stats[thread.stage.id]
      s.blocked, s.blocked_most = s.blocked + seconds, math.max(s.blocked_most, seconds)
    end,
    effect = function(...) run:effect(...) end,
  })
  self:fork_hooks { "before_fork", "after_fork" }
  for _, stage in ipairs(stages) do run:hooks(stage.hooks.before, nil, self.crew.contexts[stage.id]) end
end

--- An item has been through the stages.
---@param thread table
---@param job table
function Segment:on_done(thread, job)
  local run = self.run
  self.in_hand = self.in_hand - 1
  self.at[job.stage] = self.at[job.stage] - 1
  self.crew:count(thread, job, function(stage, items_in, items_out, busy, classes)
    run:add_inline(stage, run.stats[stage.id], { items_in = items_in, items_out = items_out, busy = busy,
      classes = classes or {} })
  end)
  self:finished(job, 0, 1)
end

--- Gives work to threads that have none; they run with the next step of the loop.
---@return boolean busy
function Segment:dispatch()
  if self.queued > 0 and may_begin(self) then
    self.crew:wake(next(self.lanes) and self.plan.n or self.queued) -- a lane's one thread must look itself
  end
  return false -- the loop's step tells
end

--- Whether a thread has nothing to do and finds nothing.
---@return boolean
function Segment:idles() return self.queued == 0 and self.in_hand < self.plan.n end

--- Whether it can go on while the coordinator is in another stage's call: never.
---@return boolean
function Segment:working() return false end

--- Processes of its own: none.
---@return integer
function Segment:alive() return 0 end

function Segment:check_time() return nil end

--- No more work will come: calls the hooks after its stages.
function Segment:finish()
  if self.finishing then return end
  self.finishing = true
  local run = self.run
  for _, stage in ipairs(stages_of(self)) do run:hooks(stage.hooks.after, nil, self.crew.contexts[stage.id]) end
  self:fork_hooks { "before_exit" }
end

--- Whether nothing is left.
---@return boolean
function Segment:ended() return self.finishing and self.queued == 0 and self.in_hand == 0 end

--- Closes what its threads have open, after the loop.
function Segment:close()
  if self.crew then self.crew:close() end
end

return threaded
