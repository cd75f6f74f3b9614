--- The ends of workers: deaths that cost something, time-outs, producers that are stopped. Methods of a segment (see
-- workers.lua).
local core = require "minigun.core"
local failure = require "minigun.base.failure"
local queue = require "minigun.base.queue"
local work = require "minigun.base.work"

local ends = {}

--- How a worker ended, for messages.
---@param code integer? nil: it is not known
---@param signal integer? 0: none
---@return string
function ends.cause(code, signal)
  if not code then
    return "ended, it is not known how (the program ignores SIGCHLD, or waits for children that are not its own)"
  end
  return signal ~= 0 and "was killed by signal " .. signal or "exited with code " .. code
end

--- A worker died after its last item. Nothing is lost but the rest of its hooks: then that is a failure without an
--- item.
---@param slot table
---@param pid integer
---@param code integer? nil: it is not known how
---@param signal integer? 0: none
function ends:died_at_end(slot, pid, code, signal)
  local run, stage = self.run, nil
  for _, id in ipairs(self.plan.stages) do
    local candidate = run.plan.stages[id]
    if #candidate.hooks.after > 0 or #self.plan.hooks.before_exit > 0 then stage = candidate end
  end
  local cause = ends.cause(code, signal)
  if not stage then
    return run:warn(("stage '%s': worker %d (pid %d) %s at its end, after its last item"):format(self:name(),
      slot.number, pid, cause))
  end
  run:settle_failure(stage, {
    kind = "crash", attempt = 1, pid = pid, worker = slot.number, workers = self.plan.n,
    signal = signal ~= 0 and signal or nil, code = signal == 0 and code or nil,
    message = ("the worker %s after its last item, before its hooks (after, before_exit) were through"):format(cause),
  }, function() end)
end

--- Tells the loop of a stage, in each worker, that nothing more comes: an entry of its own in the ledger, so that what
--- the loops emit then is committed like an item's output, and nothing behind them ends before that has arrived.
---@param id integer the stage
---@return boolean told false: they know already
function ends:end_loops(id)
  if self.per_item or self.told[id] then return false end
  self.told[id] = true
  for _, slot in ipairs(self.slots) do
    if slot.pid then
      self.lanes[slot.number] = self.lanes[slot.number] or queue.new()
      self.run.ledger:accept(id, 1)
      self.arrived = self.arrived + 1
      self:push(work.of_end(id, slot.number, self.arrived))
    end
  end
  return true
end

--- Something has come in after all: loops that have been told begin again, and will be told again.
function ends:go_on_with_loops()
  for id in pairs(self.told) do self.run.ledger:reopen(id) end
  self.told = {}
end

--- A worker is not replaced: its loops have ended with it.
---@param slot table
function ends:drop_ends(slot)
  local lane = self.lanes[slot.number]
  while lane and lane:first() do
    local entry = self:take(1, lane)
    self:finished(entry, 0, 1)
  end
end

--- What a dead worker held has gone to another one: the failure that the death has cost says to which.
---@param death table
---@param slot table
function ends:survived(death, slot)
  if death.record and not self.per_item then failure.taken(death.record, slot.number) end
end

--- A worker died whose loops had items: they are begun anew, and the user should know.
---@param slot table
---@param pid integer
---@param cause string how it died
---@param in_hand table? what it was at: the end of a loop's input is a failure of its own
function ends:lost_loops(slot, pid, cause, in_hand)
  if slot.items == 0 or self.per_item then return end
  local names, ended = {}, slot.loops_ended or {}
  local ending = in_hand and slot.hand[in_hand.number].attempt == 0 and slot.hand[in_hand.number].stage
  for _, id in ipairs(self.plan.stages) do
    local stage = self.run.plan.stages[id]
    if stage.loop and not ended[id] and id ~= ending then names[#names + 1] = "'" .. stage.name .. "'" end
  end
  if #names == 0 then return end
  self.run:warn(("worker %d (pid %d) %s in the middle of the loop of stage %s, behind %d item%s: what that had " ..
    "kept in its variables is lost; a new one begins"):format(slot.number, pid, cause,
    table.concat(names, " and of stage "), slot.items, slot.items == 1 and "" or "s"))
end

--- Adds what a worker has done to the record of its slot: however many processes fill that, there is one.
---@param slot table
---@param pid integer
---@param code integer? nil: it is not known how
---@param signal integer? 0: none
---@param expected boolean it ended in good order
function ends:count_worker(slot, pid, code, signal, expected)
  local record = slot.record
  if not record then
    record = { segment = self:name(), worker = slot.number, items = 0, busy = 0, lived = 0, died = 0 }
    slot.record = record
    table.insert(self.run.result.stats.workers, record)
  end
  record.pid, record.code, record.signal, record.restarts = pid, code, signal ~= 0 and signal or nil, slot.restarts
  record.items, record.busy = record.items + slot.items, record.busy + slot.busy
  record.lived, record.died = record.lived + core.now() - slot.since, record.died + (expected and 0 or 1)
end

--- A worker died that must be replaced; too many of them within the window fail the run.
---@param code integer? nil: it is not known how
---@param signal integer? 0: none
function ends:count_restart(code, signal)
  local options, now, recent = self.run.plan.options, core.clock(), {}
  for _, at in ipairs(self.restarts) do
    if now - at < options.restart_window then recent[#recent + 1] = at end
  end
  recent[#recent + 1] = now
  self.restarts = recent
  if #recent > options.max_restarts then
    self.run:fail(("stage '%s': %d workers died within %g s, the last %s; %s, or raise max_restarts"):format(
      self:name(), #recent, options.restart_window, not code and "in a way that is not known"
        or signal ~= 0 and "by signal " .. signal or "by exit code " .. code,
      self.run.result.failed > 0 and "see the failures"
        or "no item had failed yet: see what after_fork, before and the first items do"))
  end
end

--- Ends the producer in the segment's one worker.
---@param grace number seconds until it is killed
function ends:stop_producer(grace)
  self.stops_by, self.stop_grace = core.clock() + grace, grace
  while self.queued > 0 do
    local entry = self:take(1, self.queue)
    self.run:finished(entry.stage, 1) -- not begun
  end
  for _, slot in ipairs(self.slots) do
    if slot.pid then self.pool:stop(slot.index) end
  end
end

--- Kills a stopped producer that does not emit.
---@return number seconds until the next look
function ends:check_stop()
  if next(self.wants) then self.stops_by = core.clock() + self.stop_grace end -- it waits for those who receive
  local left = self.stops_by - core.clock()
  for _, slot in ipairs(self.slots) do
    if slot.pid and slot.hands > 0 and left <= 0 then
      self.stop_killed = true
      self.pool:kill(slot.index)
    end
  end
  return math.max(left, 0.01)
end

--- Kills workers that have not come to their end within the run's `grace`.
---@return number? seconds until the next look; nil: none lives
function ends:check_end()
  local left = self.ends_by - core.clock()
  for _, slot in ipairs(self.slots) do
    if slot.pid and left <= 0 then self.pool:kill(slot.index) end
  end
  return self:alive() > 0 and math.max(left, 0.01) or nil
end

--- Kills workers that take too long, for an item or for their end.
---@return number? seconds until the next look; nil: nothing to watch
function ends:check_time()
  if self.ends_by then return self:check_end() end
  if self.stops_by and self:alive() > 0 then return self:check_stop() end
  if not self.timeout then return nil end
  local wait = nil
  for _, slot in ipairs(self.slots) do
    if slot.pid and slot.hands > 0 then
      local seconds, mark = self.pool:overtime(slot.index)
      if seconds > self.timeout then self.pool:time_out(slot.index, mark) end
      local left = math.max(self.timeout - seconds, 0.001)
      wait = math.min(wait or left, left)
    end
  end
  return wait
end

return ends
