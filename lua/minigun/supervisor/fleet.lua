--- Policy: the workers of a server, and what is to happen to them now. State and events in, actions out; no process, no
-- clock, no output, so that every rule is tested in no time.
--
-- 1. Numbers 1 to n have a slot each. A slot has at most one current worker and, while that is to be replaced, one next
--    that starts. A worker that drains has left its slot. So no two workers that serve have the same number.
-- 2. A replacement is started and ready before the one it replaces drains. Where it does not become ready the old one
--    stays.
-- 3. A current worker's death is counted (restarts.lua). That of a next, and of one that drains, is not: others serve.
-- 4. After `stopping` is set nothing is started, and when no worker is left there is one last action, "finish".
--
-- A worker is a table: number, generation, state ("starting", "ready", "draining"), since (when that began), and what
-- the master adds. Actions are arrays: { "start", worker }, { "drain", worker, last }, { "kill", worker }, { "notice",
-- worker }, { "log", text }, { "give_up", text }, { "stop_listening" }, { "restarted", ok }, { "finish", status }.
local failure = require "minigun.base.failure"
local recycle = require "minigun.supervisor.recycle"
local restarts = require "minigun.supervisor.restarts"
local rolling = require "minigun.supervisor.rolling"
local stuck = require "minigun.supervisor.stuck"

local fleet = {}

local CHECK <const> = os.getenv "MINIGUN_CHECK" ~= nil
local CONFIG <const> = 78 -- EX_CONFIG: a worker says that starting it again is of no use
local SAME_REQUEST <const> = 0.2 -- seconds in which a second signal is the first one's: a program's and its group's
local GAVE_UP <const>, TOOK_TOO_LONG <const> = 1, 124

local Fleet = {}
Fleet.__index = Fleet

--- Makes the workers of a server; none is started before `decide`.
---@param options table filled in (options.lua)
---@param random fun(): number from 0 to 1
---@return table fleet
function fleet.new(options, random)
  local self = setmetatable({
    options = options, random = random, generation = 1, slots = {}, draining = {}, actions = {},
    restarts = restarts.new(options, random), stuck = stuck.new(options.heartbeat_timeout),
  }, Fleet)
  for _ = 1, options.workers do self:add_slot() end
  return self
end

--- One action more for the next `decide`.
function Fleet:act(...) table.insert(self.actions, { ... }) end

--- Adds a message to the actions.
---@param text string
---@param ... any for string.format
function Fleet:say(text, ...) self:act("log", text:format(...)) end

function Fleet:add_slot() -- luacheck: ignore 212
  table.insert(self.slots, { number = #self.slots + 1, failures = 0, restarts = 0, retry_at = -math.huge })
end

--- How a worker is called in messages.
---@param worker table
---@return string
function fleet.title(worker)
  return ("worker %d%s"):format(worker.number, worker.pid and (" (pid %d)"):format(worker.pid) or "")
end

-- --- what is wanted ------------------------------------------------------------------------------------------------

--- Starts a worker in a slot: its current one, or the next where it has one.
---@param slot table
---@param now number
---@return table worker
function Fleet:start(slot, now)
  local worker = { number = slot.number, generation = self.generation, state = "starting", since = now }
  recycle.set_limits(worker, self.options, self.random)
  if slot.current then slot.next = worker else slot.current = worker end
  self:act("start", worker)
  return worker
end

--- A worker takes nothing new and leaves when it is done. `last`: no other worker will take what waits at the sockets.
---@param worker table
---@param now number
---@param last boolean
function Fleet:drain(worker, now, last)
  self.draining[worker] = true
  worker.state, worker.since = "draining", now
  self:act("drain", worker, last)
end

--- Ends a worker that serves no client yet, or must not go on.
---@param worker table
function Fleet:kill(worker)
  if worker.killed then return end
  worker.killed = true
  self:act("kill", worker)
end

--- Takes a worker out of its slot's hands: it drains, or, where it serves no client yet, is killed.
---@param worker table?
---@param now number
---@param last boolean see `drain`
function Fleet:dismiss(worker, now, last)
  if not worker then return end
  if worker.state == "ready" then return self:drain(worker, now, last) end
  self.draining[worker] = true
  worker.state = "draining"
  self:kill(worker)
end

--- Ends the server in good order.
---@param status integer its exit status
---@param now number
function Fleet:stop(status, now)
  self.stopping = { status = status, since = now }
  self:act("stop_listening")
  for _, slot in ipairs(self.slots) do
    self:dismiss(slot.next, now, true)
    self:dismiss(slot.current, now, true)
    slot.current, slot.next = nil, nil
  end
end

--- Ends it at once.
---@param status integer
---@param now number
function Fleet:quit(status, now)
  if not self.stopping then self:stop(status, now) end
  self.stopping.status = status
  for worker in pairs(self.draining) do self:kill(worker) end
end

local function give_up(self, text, now)
  self:act("give_up", text)
  self:stop(GAVE_UP, now)
end

--- A signal's meaning: "stop" (a second one: at once), "quit", "restart", "more", "less".
---@param what string
---@param number integer the signal's, for the exit status
---@param now number
function Fleet:command(what, number, now)
  local stopping = self.stopping
  if what == "stop" and not stopping then
    self:stop(0, now)
    self.stopping.asked = now
  elseif what == "quit" or what == "stop" and now - (stopping.asked or -1) > SAME_REQUEST then
    self:quit(128 + number, now)
  elseif stopping then
    return
  elseif what == "restart" then
    rolling.begin(self, now)
  elseif what == "more" then
    self:add_slot()
    self:say("%s from now on", failure.count(#self.slots, "worker"))
  elseif what == "less" and #self.slots > 1 then
    local slot = table.remove(self.slots)
    self:dismiss(slot.next, now, false)
    self:dismiss(slot.current, now, false)
    self:say("%s from now on", failure.count(#self.slots, "worker"))
  end
end

-- --- what has happened ---------------------------------------------------------------------------------------------

local function slot_of(self, worker)
  local slot = self.slots[worker.number]
  if slot and (slot.current == worker or slot.next == worker) then return slot end
end

--- A worker serves from now on.
---@param worker table
---@param now number
function Fleet:ready(worker, now)
  if worker.state ~= "starting" then return end
  worker.state, worker.since, worker.ready_at = "ready", now, now
  local slot = slot_of(self, worker)
  if not slot or slot.current == worker then return end
  local old = slot.current
  slot.current, slot.next = worker, nil
  slot.failures = 0
  self:dismiss(old, now, false)
end

-- A current worker has died: when it is started again, or that the server gives up.
local function count_death(self, slot, worker, how, now)
  slot.restarts = slot.restarts + 1
  slot.failures = self.restarts:count(slot.failures, worker.ready_at and now - worker.ready_at)
  local wait = self.restarts:delay(slot.failures)
  slot.retry_at = now + wait
  local deaths = self.restarts:died(("%s %s"):format(fleet.title(worker), how.text), now)
  if how.code == CONFIG then
    give_up(self, ("%s says that it cannot be configured (exit code %d)%s"):format(fleet.title(worker), CONFIG,
      self.options.log and how.tail or ""), now) -- without `log` it was written where this is
  elseif deaths then
    give_up(self, ("%s died within %g s, more than max_restarts = %d:\n  %s%s"):format(
      failure.count(#deaths, "worker"), self.options.restart_window, self.options.max_restarts,
      table.concat(deaths, "\n  "), how.tail), now)
  elseif slot.current then
    self:say("%s %s; its successor starts already", fleet.title(worker), how.text)
  else
    self:say("%s %s; started again in %.2f s", fleet.title(worker), how.text, wait)
  end
end

-- A replacement has died before it was ready.
local function count_failed(self, slot, worker, how, now)
  slot.failures = slot.failures + 1
  slot.retry_at = now + self.restarts:delay(slot.failures)
  self:say("%s, which was to replace another one, %s before it was ready; the old one stays", fleet.title(worker),
    how.text)
  rolling.failed(self, worker)
end

--- A worker has ended, or could not be started.
---@param worker table
---@param how table `text` ("was killed by signal 9"), `tail` (what it wrote last, or ""), `code`, `signal`
---@param now number
function Fleet:exited(worker, how, now)
  self.stuck:forget(worker)
  local drained, slot = self.draining[worker], slot_of(self, worker)
  self.draining[worker] = nil
  worker.ended = true
  if slot and slot.next == worker then
    slot.next = nil
    count_failed(self, slot, worker, how, now)
  elseif slot then
    slot.current = slot.next
    slot.next = nil
    count_death(self, slot, worker, how, now)
  elseif drained and not worker.killed and how.code ~= 0 then
    self:say("%s %s while it drained", fleet.title(worker), how.text)
  end
end

--- What a worker's line of the board says.
---@param worker table
---@param beat number
---@param waits boolean
---@param doing string
---@param now number
function Fleet:beat(worker, beat, waits, doing, now)
  if worker.state == "starting" or worker.killed then return end
  local decision = self.stuck:look(worker, beat, waits, now)
  if decision == "notice" then
    self:say("%s has not beaten for %g s%s: it is stuck", fleet.title(worker), self.options.heartbeat_timeout,
      doing ~= "" and (", at '%s'"):format(doing) or "")
    self:act("notice", worker)
  elseif decision == "kill" then
    self:kill(worker)
  end
end

-- --- what is to be done --------------------------------------------------------------------------------------------

local function sooner(a, b) return (not a or b and b < a) and b or a end

-- Kills workers that have had their time. Returns when the next has.
local function end_late(self, now)
  local next_time
  for worker in pairs(self.draining) do
    local due = worker.since + self.options.stop_timeout
    if worker.killed then -- luacheck: ignore 542
      -- it goes
    elseif now >= due then
      self:say("%s did not finish within stop_timeout = %g s: killed", fleet.title(worker), self.options.stop_timeout)
      if self.stopping and self.stopping.status == 0 then self.stopping.status = TOOK_TOO_LONG end
      self:kill(worker)
    else
      next_time = sooner(next_time, due)
    end
  end
  return next_time
end

-- Starts what is missing, and kills what does not get ready.
local function fill(self, now)
  local next_time
  for _, slot in ipairs(self.slots) do
    if not slot.current and now >= slot.retry_at then self:start(slot, now)
    elseif not slot.current then next_time = sooner(next_time, slot.retry_at) end
    for _, worker in ipairs { slot.current or false, slot.next or nil } do
      if worker and worker.state == "starting" and not worker.killed then
        local due = worker.since + self.options.start_timeout
        if now >= due then
          self:say("%s was not ready within start_timeout = %g s: killed", fleet.title(worker),
            self.options.start_timeout)
          self:kill(worker)
        else
          next_time = sooner(next_time, due)
        end
      end
    end
  end
  return next_time
end

-- Asserts the invariants, where $MINIGUN_CHECK is set, as in all specs.
local function check(self)
  local seen = {}
  for i, slot in ipairs(self.slots) do
    assert(slot.number == i and (slot.current or not slot.next), "1: a slot has a next worker and no current one")
    for _, worker in ipairs { slot.current or false, slot.next or nil } do
      assert(not worker or worker.number == i and not seen[worker], "1: a worker has two slots, or another's number")
      assert(not worker or not self.draining[worker] and not worker.ended, "1: a worker that goes has a slot")
      if worker then seen[worker] = true end
    end
    assert(not slot.next or slot.next.state == "starting", "2: a replacement that is ready is not the current one")
  end
  assert(not self.stopping or not next(seen), "4: a server that ends has a worker that does not")
  assert(not self.finished or not next(self.draining), "4: a server has ended before a worker of it")
end

--- What is to be done now.
---@param now number
---@return table actions array, in order
---@return number? next_time when to ask again, where nothing happens before
function Fleet:decide(now)
  local next_time = end_late(self, now)
  if not self.stopping then
    next_time = sooner(next_time, fill(self, now))
    rolling.go_on(self, now)
    next_time = sooner(next_time, recycle.go_on(self, now))
  elseif not next(self.draining) and not self.finished then
    self.finished = true
    self:act("finish", self.stopping.status)
  end
  if CHECK then check(self) end
  local actions = self.actions
  self.actions = {}
  return actions, next_time
end

return fleet
