--- The coordinator's only loop: its rounds, and the sleep between them.
--
-- A round (`step`), in this order:
--   1. signals; an error that a user's function has caught; the end of the grace after SIGTERM; a stop that was asked
--      for (`heed`)
--   2. what workers have said is taken (events.lua), and what waits for the coordinator's own stages is run
--   3. producers of the coordinator emit
--   4. what is written goes on, work and blocks are handed out; what the clock asks for; the journal; threads run
--      (`give_out`). The clock comes after the handing out, as that may have set it
--   5. stages are drained; when all are, workers are told to end; and the run is over when they have (`advance`)
--   6. the ledger is checked, where $MINIGUN_CHECK is set
--   7. a sleep, unless anything was moved
-- What goes back into the loop from inside of it goes through reentry.lua.
--
-- What can end a sleep without a time limit: a worker with something in hand that does not wait for a block itself,
-- or one that is to end; a thread, or a producer of the coordinator, that waits for a descriptor or computes. Anything
-- that the clock will do has a time limit. Without any of these nothing will ever happen any more: that is an error,
-- which says what there is, and no sleep.
local core = require "minigun.core"
local declared = require "minigun.base.declared"
local earlier = require "minigun.base.earlier"
local signals = require "minigun.system.signals"

local loop = {}

local CHECK <const> = os.getenv "MINIGUN_CHECK" ~= nil
local STEPPED <const> = { RUNNING = true, STOPPING = true, FINISHING = true, ABORTED = true } -- the states of a round
-- Seconds to sleep at most while a deadline is waited for: a stop of this process is noticed, and how long it was, by
-- looking at the clock before and after it (src/core/clock.h).
local BEAT <const> = 0.1
-- Rounds in a row, with short sleeps between, in which nothing was found: what has just happened may not be seen yet.
local ROUNDS <const>, SECONDS <const> = 20, 0.02
local UNSEEN <const> = 16 -- rounds after which the coordinator looks for deaths, which costs a system call

local Loop = {}
Loop.__index = Loop

--- Makes the loop of a run.
---@return table loop
--- `busy`: whether the last round has moved anything; `due_at`: when a clock will, on the monotonic clock, or false
function loop.new()
  return declared({
    state = false, outcome = false, ledger = false, acks = false, lineage = false, resume = false, answers = false,
    shared = false, places = false, inline = false, transport = false, failures = false, gates = false, events = false,
    producers = false, rounds = false, drain = false, screen = false, reentry = false, threads = false,
    busy = false, next_due = false, due_at = false,
    stalled = 0,             -- rounds in a row in which nothing was found that could end a sleep
    unseen = 0,              -- rounds without a look for deaths
  }, Loop)
end

-- --- parts of a round, some of which reentry.lua goes through from inside ----------------------------------------

--- Starts retries and batches whose time has come, and what else the clock asks for.
---@param inside boolean? one of the coordinator's own stages is at work, so they get nothing
---@return number? seconds until the next time
function Loop:check_clock(inside)
  local failures, places, inline, drain = self.failures, self.places, self.inline, self.drain
  if not (failures.timers[1] or self.gates.list[1] or places.timed or inline.timed or drain.timed) then return nil end
  local now = core.clock()
  local due, started = failures:check_clock(now)
  local at_once = started and not inside -- the stages of the coordinator have had their turn
  if not inside then
    local next_due, fell_due = inline:due(now)
    due, at_once = earlier(due, next_due), at_once or fell_due
  end
  local next_due, fell_due = drain:check_clock(now)
  due = earlier(earlier(due, next_due), places:check_clock(now))
  if at_once or fell_due then return 0 end
  return due and math.max(due - now, 0)
end

-- Hands work and blocks to workers. Returns whether anything was handed over; whether a worker still lacks something;
-- and when to look for those that are overdue, on the monotonic clock; nil: there are none.
local function hand_out(self)
  local busy, lacking, look_at = false, false, nil
  local list <const> = self.places.list
  for i = 1, #list do
    local handed, lacks, at = list[i]:dispatch()
    busy, lacking, look_at = handed or busy, lacks or lacking, earlier(look_at, at)
  end
  return busy, lacking, look_at
end

--- Keeps the workers going while the coordinator itself waits.
---@param written boolean what is written for them goes on, too
function Loop:serve(written)
  if written then self.transport:flush_wanted() end
  self.events:collect()
  hand_out(self)
end

-- Passes on what is there for others, lets threads run, and does what falls due: of what has just been handed over too,
-- so this comes last. Returns whether there was anything, and whether what was handed over may have made room for more.
local function give_out(self)
  self.transport:flush_wanted()
  local handed, lacking, look_at = hand_out(self)
  local due, ran = earlier(self:check_clock(), self.producers:next_resume()), false
  if look_at then due = earlier(due, math.max(0, look_at - core.now())) end
  if self.resume then due = earlier(due, self.resume:tick()) end
  if self.threads.tasks then
    local seconds
    if self.screen.line then self.screen:before_handlers() end
    ran, seconds = self.threads:step()
    due = earlier(due, seconds)
  end
  self.next_due = due or false
  self.rounds.looked = core.now()
  self.rounds.due = self.rounds.looked + (due or math.huge)
  return handed or ran, ran or handed and (lacking or self.ledger:own() > 0)
end

--- One round of everything but the producers.
---@return boolean busy whether there was anything to do
function Loop:turn()
  local busy = self.events:collect()
  busy = self.inline:dispatch() or busy
  return give_out(self) or busy
end

-- --- a round -----------------------------------------------------------------------------------------------------

--- Fails the run where an error has cut an update of the ledger in two.
function Loop:must_be_whole()
  if self.ledger:torn() then self.state:fail "not enough memory for the run itself" end
end

-- Tells the producers to end.
local function stop_producers(self)
  self.state:become "STOPPING"
  if self.producers:stop() then self.places.timed = true end
end

-- What has been asked of the run. Returns false where it ends at once.
local function heed(self)
  local own = self.state
  if core.interrupted() then signals.check() end
  if own.failed then error(own.failed, 0) end
  self:must_be_whole()
  if own.heeds_term and core.terminated() then own:ask_to_stop() end
  if own.end_by and core.clock() >= own.end_by then own:time_is_over() end
  if own.stop_asked and own:must_stop() then stop_producers(self) end
  return not own.killed
end

-- No more work will come.
local function finish(self)
  self.state:become "DRAINED"
  if self.lineage and not self.resume then self.acks:release_kept() end
  self.places:finish()
  self.state:become "FINISHING"
end

-- Drains what can be drained; tells workers to end when all is. Returns whether anything has changed, and whether the
-- run is over: the last thing are the hooks after the coordinator's stages.
local function advance(self)
  local own, counts = self.state, self.ledger
  counts:changed(false)
  local over, changed = self.drain:advance()
  if over and (own.name == "RUNNING" or own.name == "STOPPING") then finish(self) end
  if changed then counts:changed(true) end
  if own.name ~= "FINISHING" or not self.places:ended() then return counts:changed(), false end
  self.inline:finish()
  return true, true
end

-- What each place has and waits for; nothing can end a sleep.
local function stand_still(self)
  local parts, used, size, own = {}, 0, 0, self.shared
  for _, place in ipairs(self.places.list) do
    local queued, _, hands = self.ledger:queued(place.id)
    local wanted = self.ledger:wanted(place.id)
    parts[#parts + 1] = ("'%s' has %d in its queue and %d in hand%s"):format(place.plan.name, queued, hands,
      wanted > 0 and (", and waits for a block of %d bytes"):format(wanted) or "")
  end
  local waiting = self.ledger:own()
  if waiting > 0 then
    parts[#parts + 1] = ("the coordinator's own stages have %d in their queue"):format(waiting)
  end
  if own.pool then used, size = own.pool:memory(), own.pool:size() end
  self.state:fail(("the run stands still, and nothing is left that could move it: %s; %d of %d bytes of shared " ..
    "memory are in use, the limit of memory is %d. If an item does not fit into that, raise `memory` or the limit " ..
    "of the address space (ulimit -v); otherwise this is a fault of the library: please report it"):format(
    table.concat(parts, "; "), used, size, own.memory))
end

-- Whether nothing is in a queue or in hand: what was submitted and is not finished lies in batches and reductions.
local function is_gathered(self)
  local inside = self.ledger:own()
  for _, place in ipairs(self.places.list) do
    local queued, _, hands = self.ledger:queued(place.id)
    inside = inside + queued + hands
  end
  return inside == 0
end

-- Seconds to sleep at most where the clock will do nothing; nil: something will end the sleep. Fails the run where
-- nothing could, unless it only waits for further items.
local function look_for_waker(self)
  local waker = self.producers:any_awake() or self.answers and self.answers:rests()
  for _, place in ipairs(not waker and self.places.list or {}) do
    waker = waker or place.in_flight > 0 or self.ledger:wakes(place.id)
  end
  self.stalled = waker and 0 or self.stalled + 1
  if waker then return nil end
  if self.stalled < ROUNDS then return SECONDS end
  if not (self.answers and not self.answers.closing and is_gathered(self)) then stand_still(self) end
  self.answers.wants_more = true
  return 0
end

--- Sleeps until something happens, or the seconds are over; nil: without end.
---@param seconds number?
---@param patient boolean? it is cut where a stop of this process is to be noticed
function Loop:sleep(seconds, patient)
  if patient then seconds = math.min(seconds, BEAT) end
  if self.shared.pool then
    self.unseen = 0
    local ok, message = self.shared.pool:wait(seconds)
    if ok == nil then self.state:fail(message) end
  elseif seconds then
    core.sleep(seconds)
  end
end

-- Sleeps until something happens or falls due.
local function rest(self, limit)
  local seconds, end_by = self.next_due and math.min(self.next_due, BEAT), self.state.end_by
  local others = limit and self.answers -- what is in a reduce or a batch may wait for an item still to be submitted
  if not (seconds or others or self.ledger:paused()) then seconds = look_for_waker(self) end
  self.due_at = seconds and core.now() + seconds or false
  seconds = earlier(earlier(seconds, end_by and math.max(0, end_by - core.clock())), limit)
  if self.screen.looks then seconds = self.screen:look(seconds) end
  self:sleep(seconds or nil)
end

-- A round was busy: deaths show only in a sleep, so there is one of no length now and then.
local function look_for_deaths(self)
  if not self.shared.pool then return end
  self.unseen = self.unseen + 1
  if self.unseen >= UNSEEN then self:sleep(0) end
end

--- One round of the run: moves what can be moved, or sleeps until something happens.
---@param limit number? seconds to sleep at most; nil: no limit
---@return boolean more false when the run is over
function Loop:step(limit)
  local own, counts = self.state, self.ledger
  if not STEPPED[own.name] then own:must_be("RUNNING", "STOPPING", "FINISHING", "ABORTED") end
  if not heed(self) then return false end
  self.acks.origin = false
  self.rounds.limit = limit and core.now() + limit or math.huge
  local busy = self.events:collect()
  busy = self.inline:dispatch() or busy
  local waiting, pushed = counts:own()
  busy = busy and waiting > 0 -- more than there was time for
  busy = self.producers:go_on() or busy
  if self.answers then busy = self.answers:begin() or busy end
  local _, room = give_out(self)
  busy = busy or room or select(2, counts:own()) > pushed or self.producers:are_ready()
  if counts:changed() then
    local changed, over = advance(self)
    if over then return false end
    busy = changed or busy
  end
  if own.aborted then return false end
  if CHECK and not counts:torn() then counts:check() end
  self.busy = busy
  if busy and self.screen.looks then self.screen:look() end
  if self.outcome.streams and self.outcome.result.items[1] ~= nil then return true end -- they go out first
  if self.answers and self.answers:settle() then
    self.busy = true -- what falls due has not been looked at
    return true
  end
  if busy then look_for_deaths(self) else rest(self, limit) end
  return true
end

return loop
