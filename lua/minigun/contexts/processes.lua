--- Processes: the life of a place's workers, from the fork to what follows from their end; time-outs, stops. Not what
-- they do with items: that is workers.lua's.
--
-- A slot is a seat in the pool that one process after the other fills. `slots` are those in use, `seats` all that there
-- may be.
--     number     of the worker in its place, from 1; `index`: of the slot in the pool
--     pid        nil: there is no process; `since`: when it was forked; `restarts`: how many followed the first
--     leaves     it is given up when its process has ended: there are to be fewer workers
--     record     what stands in the run's statistics
--     hands, ends, idle_since, seen, seen_pid     what recycling.lua has last seen of it
--     items, busy     what a process that has ended had done, and in how many seconds
-- What it has in hand, and whether more is to come, is in the ledger.
local arrays = require "minigun.base.arrays"
local failure = require "minigun.base.failure"
local restarts = require "minigun.policy.restarts"
local worker = require "minigun.child.main"

local processes = {}

local EAGAIN <const>, EMFILE <const> = 11, 24
local LEAST <const> = 0.01 -- seconds between two looks at least
local GRACE <const> = 1 -- seconds in which a producer that is to end may come to its next emit

local Processes = {}
Processes.__index = Processes

-- Hooks of the run, and of the nested pipelines that have a stage here.
local function exit_hooks(hooks, stages)
  local list = {}
  for _, hook in ipairs(hooks) do
    local own = not hook.stages
    for _, id in ipairs(stages) do own = own or hook.stages[id] end
    if own then list[#list + 1] = hook end
  end
  return list
end

--- Makes the slots of a place; nothing is forked yet.
---@param port table see contract.lua
---@param segment table of the plan
---@param first integer number of its first slot in the pool
---@return table processes
function processes.new(port, segment, first)
  local options = port.plan.options
  local self = setmetatable({
    port = port, plan = segment, pool = port.pool, seats = {}, slots = {}, spawned = 0, finishing = false,
    exit_hooks = exit_hooks(port.plan.hooks.on_worker_exit, segment.stages),
    restarts = restarts.new(options.max_restarts, options.restart_window),
    all_needed = false, -- each has work that no other may have, so one that cannot be forked is an error
    timeout = nil,      -- seconds that an item may take here
    ends_by = nil,      -- when workers are killed that have not come to their end, by port.clock
    stops_by = nil, stop_killed = false, -- the same for a producer that has to end
  }, Processes)
  for i = 1, segment.seats or segment.n do
    if segment.groups then
      local ok, message = port.pool:make_threaded(first + i - 1, segment.width)
      if not ok then port.fail(message) end
    end
    self.seats[i] = { number = i, index = first + i - 1, pid = nil, since = 0, restarts = -1, leaves = false, items = 0,
      busy = 0, record = nil }
  end
  table.move(self.seats, 1, segment.n, 1, self.slots)
  if segment.groups then require "minigun.child.threads" end -- before the forks, so that each has what it needs
  for _, id in ipairs(segment.stages) do
    local stage = port.plan.stages[id]
    if stage.batch then require "minigun.policy.batcher" end
    if stage.loop then require "minigun.handlers.loop_stage" end
    if stage.timeout then self.timeout = (self.timeout or 0) + stage.timeout end
  end
  if self.timeout then port.timed() end
  return self
end

--- How many live.
---@return integer
function Processes:alive()
  local n = 0
  for _, slot in ipairs(self.slots) do n = n + (slot.pid and 1 or 0) end
  return n
end

--- Forks a worker.
---@param slot table
---@param value any the item that it inherits
---@param coming integer forks that will follow
---@param full boolean whether there would be more of them if there were room for items
---@return boolean ok false: there is none to be had, and the others do without
function Processes:spawn(slot, value, coming, full)
  local port, segment = self.port, self.plan
  local before_fork = segment.hooks.before_fork
  if before_fork[1] then port.hooks(before_fork, { stage = segment.name, worker = slot.number }) end
  port.heap:prepare(coming, full)
  local start = port.now()
  local pid, message, errno = self.pool:spawn(slot.index, port.held_most, worker.main, {
    plan = port.plan, segment = segment, number = slot.number, turn = self.spawned, value = value,
    source = port.sources and port.sources[segment.stages[1]],
  })
  if not pid then
    if errno == EAGAIN and self:alive() > 0 and not self.all_needed then
      port.warn(("%s: %s; running with %s"):format(segment.context, message,
        failure.count(self:alive(), "worker")))
      return false
    end
    port.fail(("%s: %s; is the limit of %s too low?"):format(segment.context, message,
      errno == EMFILE and "descriptors (ulimit -n)" or "processes (ulimit -u) or of memory"))
  end
  local now = port.now()
  port.heap.last = now - start
  self.spawned = self.spawned + 1
  slot.pid, slot.since, slot.restarts = pid, now, slot.restarts + 1
  return true
end

--- Takes one more seat into use.
---@return table? slot nil: there is none
function Processes:add_seat()
  local used = {}
  for _, slot in ipairs(self.slots) do used[slot] = true end
  for _, slot in ipairs(self.seats) do
    if not used[slot] then
      self.slots[#self.slots + 1], slot.leaves = slot, false
      return slot
    end
  end
end

--- A seat without a process is not in use any more.
---@param slot table
function Processes:drop_seat(slot)
  arrays.take_out(self.slots, slot)
  slot.leaves = false
  self.port.ledger:seat_left(slot.index, false)
end

--- No more work will come: the workers end when they have finished what they have.
function Processes:finish()
  if self.finishing then return end
  self.finishing = true
  local grace = self.port.plan.options.grace
  if grace then
    self.ends_by = self.port.clock() + grace
    self.port.timed()
  end
  for _, slot in ipairs(self.slots) do
    if slot.pid then self.pool:finish(slot.index) end
  end
end

--- Ends the producer in the one worker, which is killed where its next emit does not come soon.
function Processes:stop()
  self.stops_by = self.port.clock() + GRACE
  for _, slot in ipairs(self.slots) do
    if slot.pid then self.pool:stop(slot.index) end
  end
end

-- --- time --------------------------------------------------------------------------------------------------------

-- Kills a stopped producer that does not emit. `waits`: it waits for its receivers.
local function check_stop(self, now, waits)
  if waits then self.stops_by = now + GRACE end
  local left = self.stops_by - now
  for _, slot in ipairs(self.slots) do
    if slot.pid and left <= 0 and self.port.ledger:seat(slot.index) > 0 then
      self.stop_killed = true
      self.pool:kill(slot.index)
    end
  end
  return now + math.max(left, LEAST)
end

-- Kills workers that have not come to their end within the run's `grace`.
local function check_end(self, now)
  local left = self.ends_by - now
  for _, slot in ipairs(self.slots) do
    if slot.pid and left <= 0 then self.pool:kill(slot.index) end
  end
  return self:alive() > 0 and now + math.max(left, LEAST) or nil
end

--- Kills workers that take too long, for an item or for their end.
---@param now number seconds, by port.clock
---@param waits boolean whether one of them waits for those that receive its output
---@return number? due when to look next; nil: there is nothing to watch
function Processes:due(now, waits)
  if self.ends_by then return check_end(self, now) end
  if self.stops_by and self:alive() > 0 then return check_stop(self, now, waits) end
  if not self.timeout then return nil end
  local wait = nil
  for _, slot in ipairs(self.slots) do
    if slot.pid and self.port.ledger:seat(slot.index) > 0 then
      local seconds, mark = self.pool:overtime(slot.index)
      if seconds > self.timeout then self.pool:time_out(slot.index, mark) end
      local left = math.max(self.timeout - seconds, 0.001)
      wait = math.min(wait or left, left)
    end
  end
  return wait and now + wait
end

-- --- the end of a worker -----------------------------------------------------------------------------------------

-- Adds what a worker has done to the record of its slot: there is one for all processes that fill it.
local function count(self, slot, last)
  local record = slot.record
  if not record then
    record = { segment = self.plan.name, worker = slot.number, items = 0, busy = 0, lived = 0, died = 0 }
    slot.record = record
    table.insert(self.port.workers, record)
  end
  record.pid, record.code, record.signal = last.pid, last.code, last.signal ~= 0 and last.signal or nil
  record.restarts = slot.restarts
  record.items, record.busy = record.items + slot.items, record.busy + slot.busy
  record.lived, record.died = record.lived + self.port.now() - slot.since, record.died + (last.expected and 0 or 1)
end

-- A worker died after its last item. Nothing is lost but the rest of its hooks: then that is a failure without an item.
local function died_at_end(self, slot, last)
  local port, stage = self.port, nil
  for _, id in ipairs(self.plan.stages) do
    local candidate = port.plan.stages[id]
    if #candidate.hooks.after > 0 or #self.plan.hooks.before_exit > 0 then stage = candidate end
  end
  local cause = restarts.cause(last.code, last.signal)
  if not stage then
    return port.warn(("stage '%s': worker %d (pid %d) %s at its end, after its last item"):format(self.plan.name,
      slot.number, last.pid, cause))
  end
  local fields = failure.of_exit(last, slot.number)
  fields.attempt, fields.workers = 1, #self.slots
  fields.message = ("the worker %s after its last item, before its hooks (after, before_exit) were through"):format(
    cause)
  port.settle(stage, fields, function() end)
end

-- Too many deaths fail the run.
local function count_death(self, last)
  local port = self.port
  local n = self.restarts:died(port.clock())
  if not n then return end
  port.fail(("stage '%s': %s died within %g s, the last %s; %s, or raise max_restarts"):format(
    self.plan.name, failure.count(n, "worker"), self.restarts.window, not last.code and "in a way that is not known"
      or last.signal ~= 0 and "by signal " .. last.signal or "by exit code " .. last.code,
    port.any_failed() and "see the failures"
      or "no item had failed yet: see what after_fork, before and the first items do"))
end

--- A worker has ended, and what it had has been taken back.
---@param slot table
---@param last table
--- `pid`; `code`, nil: it is not known; `signal`, 0: none; `expected`: in good order, and it had nothing; `held`: it
--- had work; `in_hand`: it was at an item; `timed_out`: that had taken too long; `retired`: it has had what one process
--- is for; `fresh`: each item has a process of its own
---@return boolean replace whether another one is to take its place
function Processes:ended(slot, last)
  local port, code, signal = self.port, last.code, last.signal
  count(self, slot, last)
  if self.exit_hooks[1] then
    port.hooks(self.exit_hooks, nil, {
      pid = last.pid, stage = self.plan.name, worker = slot.number, code = code,
      signal = signal ~= 0 and signal or nil, expected = last.expected,
    })
  end
  if last.expected then return false end
  last.over = self.finishing
  last.stopped = self.stops_by ~= nil and #self.slots == 1
  local what, counts = restarts.follows(last)
  if what == "hooks" then died_at_end(self, slot, last) end
  if counts then count_death(self, last) end
  return what == "replace"
end

return processes
