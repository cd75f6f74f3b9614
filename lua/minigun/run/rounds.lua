--- Rounds that the core goes through by itself (src/lua/lua_round.c) while a producer waits for receivers: they cost a
-- fiftieth of one of the run's own; or while an item is waited for that was submitted. Here is when that may be, and
-- what it comes to.
local core = require "minigun.core"
local declared = require "minigun.base.declared"

local rounds = {}

local TIMED <const> = 0.001 -- seconds after which the clock is looked at, where something may fall due
local SEEN <const> = 0.05   -- after which a run that stands has a round of its own, whatever it waits for

local Rounds = {}
Rounds.__index = Rounds

--- Makes what knows of such rounds.
---@param plan table
---@param how table `patient`: no step may take long
---@return table rounds
--- `due`: when something falls due, `limit`: when the run's round is to end, `looked`: when the clock was last looked
--- at, all on the monotonic clock
function rounds.new(plan, how)
  return declared({ plan = plan, patient = how.patient, lineage = false, outcome = false, ledger = false,
    shared = false, places = false, inline = false, outlets = false, transport = false, drain = false, reentry = false,
    screen = false, state = false, threads = false, gates = false, answers = false, due = math.huge,
    limit = math.huge, looked = 0,
    possible = "?",          -- whether there are only such places and ways out as the core sees to
  }, Rounds)
end

local function find_out(self)
  if self.outcome.streams or self.plan.options.seed or not self.places.list[1] then return false end
  if not self.answers and (self.patient or self.lineage) then return false end
  for _, place in ipairs(self.places.list) do
    if not place.first or place.takes == "values" then return false end
  end
  return not self.transport.feed
end

-- Whether something may fall due that no round of the core sees.
local function is_timed(self)
  return self.places.timed or self.inline.timed or self.drain.timed or self.gates.list[1]
end

--- Lets workers have what waits for them, and takes what they have done: rounds of a run that stands, until an item
--- has come to its end.
---@param spins boolean it may wait for a moment
---@param sleeps boolean it may sleep; only where Ctrl-C is guarded
---@param deadline number? of core.now
---@return boolean ended false: the run itself has something to see to, which `wanted` says, or nothing to wait for
---@return boolean wanted
function Rounds:await(spins, sleeps, deadline)
  if self.possible == "?" then self.possible = find_out(self) end
  if not self.possible then return false, true end
  local until_when = math.min(self.due, self.looked + (is_timed(self) and TIMED or SEEN))
  return self.ledger:await(deadline and deadline < until_when and deadline or until_when, spins, sleeps)
end

--- Whether a producer may go on among such rounds.
---@param producers integer how many have not ended
---@return boolean
function Rounds:may_go_on(producers)
  if self.possible == "?" then self.possible = find_out(self) end
  if not self.possible or producers > 1 or self.threads.tasks or self.screen.line then return false end
  for _, outlet in ipairs(self.outlets.list) do
    if outlet.writer and not outlet.through then return false end
  end
  return true
end

-- Until when the run has nothing to do at a certain time.
local function until_when(self)
  local by, seen = self.state.end_by, self.screen.page and self.screen:look()
  return math.min(self.due, self.limit, is_timed(self) and core.now() + TIMED or math.huge,
    by and core.now() + by - core.clock() or math.huge, seen and core.now() + seen or math.huge)
end

--- What lets a producer go on, and the rest of the run while it waits.
---@param stage table the producer
---@param alone boolean all that it emits goes to other processes
---@return function among (thread, answer) see l:among in src/lua/lua_round.c
function Rounds:among(stage, alone)
  local ledger, links, reentry, id = self.ledger, self.inline.chain.calls, self.reentry, stage.id
  return function(thread, answer)
    return ledger:among(thread, answer, links, reentry, until_when(self), id, alone)
  end
end

--- A producer has gone on so.
---@param producer table
---@param seconds number that it has run
---@param most number at one time
---@return number now
---@return number? rest see Pace:ran
function Rounds:went_on(producer, seconds, most)
  local work, found = self.ledger:ill()
  if work then
    local own = self.ledger:read(work)
    self.shared:found_damage(self.plan.stages[own.stage], own.count, found)
  end
  producer.stats.busy = producer.stats.busy + seconds
  return core.now(), producer.pace:passed(most)
end

return rounds
