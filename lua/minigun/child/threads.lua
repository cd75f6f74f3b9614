--- Threads in a worker: what runs in the child of a segment that has groups (see plan/plan.lua).
--
-- Each group of stages has a thread pool and a queue; the block's stages that are in no threads are a group of one
-- thread. An item that comes from the coordinator is a token: it counts what is still to be done for it in this worker,
-- its own first stage and whatever that has passed on to other groups. Its output, reports among it, is kept in a
-- bundle; when nothing is left to be done the bundle is the item's commit. So items end in any order, each at once and
-- with all it has emitted, and a worker that dies leaves nothing half done.
local core = require "minigun.core"
local errors = require "minigun.base.traceback"
local pools = require "minigun.handlers.threads"
local replies = require "minigun.child.replies"
local lanes = require "minigun.policy.lanes"
local queue = require "minigun.base.queue"
local report = require "minigun.base.protocol"
local tasks = require "minigun.handlers.tasks"

local threads = {}

local BEAT <const> = 0.1 -- seconds to sleep at most where there are time-outs, see run/run.lua

local Threads = {}
Threads.__index = Threads

-- --- tokens ------------------------------------------------------------------------------------------------------

local function report_failure(token, kind, stage, fields)
  replies.report(token.bundle.add, token.bundle, kind, stage, fields)
end

-- Adds an item to a token's output. One that cannot be sent is a failure of its own.
local function emit(token, stage, edge, item)
  local ok, message = pcall(token.bundle.add, token.bundle, edge, item)
  if ok then return end
  report_failure(token, report.LOST, stage, replies.refused(item, stage.at, message))
end

local function commit(self, token)
  local bundle = token.bundle
  local stage = self.job.plan.stages[token.entry]
  if token.refused then
    report_failure(token, report.FAILED, stage, errors.fields(token.refused, { attempt = token.attempt, index = 0 }))
  end
  for _, refused in ipairs(token.left_out or {}) do
    report_failure(token, report.LOST, stage, replies.left_out(refused))
  end
  if next(token.stats) then
    local rows = { report.STATS }
    for id, row in pairs(token.stats) do rows[#rows + 1] = { id, table.unpack(row, 1, 4) } end
    bundle:add(report.EDGE, rows)
  end
  self.w:finish(token.index, bundle)
  self.tokens = self.tokens - 1
  self.bundles[#self.bundles + 1] = bundle
end

-- The thread for an item, by its key. The coordinator has asked for that before, of the same item: so a copy is given,
-- which the user's function may change once more.
local function thread_of(group, stage, item)
  return lanes.of(stage.by_key(core.copy(item)), group.n, stage.at)
end

-- Queues an item, or the end of a loop's input (attempt 0), for a stage of this worker.
local function push(self, token, id, item, attempt, thread)
  local group = self.group_of[id]
  local job = { token = token, stage = id, value = item, attempt = attempt,
    entry = token.left == 0 and id == token.entry }
  token.left = token.left + 1
  local own = thread and group.lanes[thread] or group.queue
  own:push(job)
  group.waiting = group.waiting + 1
end

-- Tells the loops of a stage that their input ends.
local function end_loops(self, token, id)
  local group = self.group_of[id]
  for thread = 1, group.n do push(self, token, id, nil, 0, thread) end
end

-- Nothing is left to be done for a token. Of a fork per batch it is all there is, and loops end with it.
local function settle(self, token)
  local ending = self.loops and table.remove(self.loops, 1)
  if ending then return end_loops(self, token, ending) end
  commit(self, token)
end

local function begin(self, token, kind, value, left_out)
  local id, attempt = token.entry, token.attempt
  token.bundle = table.remove(self.bundles) or core.bundle()
  self.tokens = self.tokens + 1
  if kind == "unreadable" then
    token.refused = errors.unreadable(value)
    return commit(self, token)
  end
  token.left_out = left_out -- items that are not in the batch
  if left_out and #value == 0 and not self.job.plan.stages[id].recipe then return commit(self, token) end
  if kind == "inherited" then value = self.job.value end
  if attempt == 0 then return end_loops(self, token, id) end
  local group, stage, thread = self.group_of[id], self.job.plan.stages[id], nil
  if stage.by_key and group.n > 1 then
    local ok, answer = errors.call(thread_of, group, stage, value)
    if not ok then
      token.refused = answer
      return commit(self, token)
    end
    thread = answer
  end
  push(self, token, id, value, attempt, thread)
end

-- --- groups ------------------------------------------------------------------------------------------------------

-- Begins the next item that the coordinator has offered. Returns whether there was one.
local function begin_next(self)
  if not self.more or self.tokens == self.job.segment.width then return false end
  local index, id, attempt, kind, value, left_out = self.w:take()
  self.more = index ~= false
  if index then
    local token = { index = index, entry = id, attempt = attempt, left = 0, stats = {}, bundle = nil }
    begin(self, token, kind, value, left_out)
  end
  return index and true
end

local function own_queue(group, thread)
  local lane = group.lanes[thread.index]
  return lane:first() and lane or group.queue
end

-- A thread's next job. An item is begun only for one that has nothing else to do: until then another worker may have
-- it, also while a handler here computes.
local function take(self, group, thread)
  if not own_queue(group, thread):first() and group.entry then begin_next(self) end
  local own = own_queue(group, thread)
  if not own:first() then return nil end
  group.waiting = group.waiting - 1
  return own:pop()
end

-- Where what a stage emits goes, beside stages of its own group.
local function targets_of(self, stage)
  local own, across, outside = self.group_of[stage.id], {}, stage.terminal
  for _, id in ipairs(stage.outputs) do
    local group = self.group_of[id]
    if not group then outside = true elseif group ~= own then across[#across + 1] = id end
  end
  return across, outside
end

local function port_of(self, thread, targets)
  return {
    check = not self.several and replies.check or nil, -- of a stage alone an emit raises, as in any worker
    deliver = function(stage, item)
      local token, own = thread.job.token, targets[stage.id]
      for i, id in ipairs(own.across) do push(self, token, id, i > 1 and core.copy(item) or item, 1) end
      if own.outside then emit(token, stage, stage.id, item) end
    end,
    send_to = function(stage, id, item, sent)
      local token = thread.job.token
      if not sent and self.group_of[id] then push(self, token, id, item, 1)
      else emit(token, stage, report.TO | id, item) end
    end,
    effect = function(kind, name, value, id)
      local token = thread.job and thread.job.token
      if not token then return self.effect(kind, name, value) end
      if id == self.job.segment.stages[1] then id = nil end
      token.bundle:add(report.EDGE, replies.record(kind, name, value, id))
    end,
    failed = function(stage, item, caught, how)
      local job = thread.job
      local fields = replies.failed(caught, { attempt = how.attempt, partial = how.partial })
      if job.entry and stage.id == job.stage then
        fields.index, fields.refused, job.token.left_out = 0, job.token.left_out, nil
      else
        fields.item, fields.place = item, 0
      end
      if stage.recipe then
        fields.step = self.w:step()
        self.w:mark()
      end
      report_failure(job.token, report.FAILED, stage, fields)
    end,
  }
end

local function done(self, group, thread, job)
  local token = job.token
  if self.several then
    group.pool:count(thread, job.entry and job or nil, function(stage, items_in, items_out, busy, classes)
      local row = token.stats[stage.id] or { 0, 0, 0, nil }
      row[1], row[2], row[3], row[4] = row[1] + items_in, row[2] + items_out, row[3] + busy, row[4] or {}
      for class, n in pairs(classes or {}) do row[4][class] = (row[4][class] or 0) + n end
      token.stats[stage.id] = row
    end)
  end
  token.left = token.left - 1
  if token.left == 0 then settle(self, token) end
end

-- Makes the handler of a reduce's workers. They are one thread, whose job is the batch in work; a time-out counts
-- for each of its items.
local function make_reducer(self, group, stage)
  self.job.handlers[stage.id] = stage.recipe:handler(function(part)
    if part == 0 then return self.w:mark() end
    local due = stage.timeout and core.now() + stage.timeout - self.patience
    self.w:mark(group.pool.threads[1].job.token.index, due, part)
  end, core.now)
end

local function open_group(self, group, targets)
  local job, n = self.job, group.n
  for _, stage in ipairs(group.stages) do
    if stage.recipe then make_reducer(self, group, stage) end
  end
  group.pool = pools.new(self.loop, group.stages, n, {
    plan = job.plan, first = (job.number - 1) * n + 1, worker = job.number, effect = self.effect,
    check = replies.checker, returns = job.returns, handlers = job.handlers,
    port = function(thread) return port_of(self, thread, targets) end,
    take = function(thread) return take(self, group, thread) end,
    done = function(thread, each) done(self, group, thread, each) end,
    mark = function(thread, stage, start)
      if not stage then return self.w:mark() end
      self.w:mark(thread.job.token.index, start + stage.timeout - self.patience)
    end,
  })
  for id, ctx in pairs(group.pool.contexts) do self.contexts[id] = ctx end
end

-- Whether items come to a group from outside of the worker.
local function takes_in(self, group)
  for _, stage in ipairs(group.stages) do
    if stage.await or #stage.inputs == 0 then return true end
    for _, id in ipairs(stage.inputs) do
      if not self.group_of[id] then return true end
    end
  end
  return false
end

-- --- the worker --------------------------------------------------------------------------------------------------

--- Makes the threads of a worker; nothing runs yet.
---@param w userdata the slot's worker
---@param job table see worker.main
---@param effect function (kind, name, value): takes what hooks collect
---@return table threads `contexts[stage id]`: what hooks get
function threads.new(w, job, effect)
  core.watch_stops(true)
  local on, message = tasks.new()
  if not on then error(message, 0) end
  on.seeded = job.plan.options.seed
  local segment, targets = job.segment, {}
  local self = setmetatable({ w = w, job = job, loop = on, effect = effect, groups = {}, group_of = {}, contexts = {},
    more = true, tokens = 0, bundles = {}, patience = 0, several = #segment.stages > 1,
    loops = segment.items_per_worker == 1 and {} or nil }, Threads)
  for i, each in ipairs(segment.groups) do
    local group = { n = each.n, stages = {}, queue = queue.new(), lanes = {}, waiting = 0 }
    for k = 1, each.n do group.lanes[k] = queue.new() end
    for k, id in ipairs(each.stages) do group.stages[k], self.group_of[id] = job.plan.stages[id], group end
    self.groups[i] = group
  end
  for _, id in ipairs(segment.stages) do
    local stage = job.plan.stages[id]
    local across, outside = targets_of(self, stage)
    targets[id] = { across = across, outside = outside }
    self.patience = self.patience + (stage.timeout or 0)
    if self.loops and stage.loop then self.loops[#self.loops + 1] = id end
  end
  for _, group in ipairs(self.groups) do
    open_group(self, group, targets)
    group.entry = takes_in(self, group)
  end
  return self
end

--- Runs items until no more come and all are finished.
function Threads:run()
  local w, on = self.w, self.loop
  repeat
    local offered = self.more and w:offered()
    if offered == false then self.more = false end
    local room = false -- for another item
    for _, group in ipairs(self.groups) do
      local jobs = group.waiting > 0 and group.n or group.entry and offered or 0
      if jobs > 0 then group.pool:wake(jobs) end
      room = room or group.entry and group.pool:free() > 0
    end
    local busy = on:step()
    if not busy and (self.more or self.tokens > 0) then
      local seconds = on:timeout()
      if seconds and self.patience > 0 then seconds = math.min(seconds, BEAT) end
      w:rest(on:fd(), self.more and room and self.tokens < self.job.segment.width, seconds)
    end
  until not self.more and self.tokens == 0
end

return threads
