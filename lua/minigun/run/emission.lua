--- Emission: what producers of the coordinator emit with, and when their emit lets others have their turn, or waits for
-- receivers.
local core = require "minigun.core"
local current = require "minigun.handlers.current"
local declared = require "minigun.base.declared"
local emits = require "minigun.handlers.emit"
local errors = require "minigun.base.traceback"
local given = require "minigun.handlers.given"
local router = require "minigun.policy.route"
local signals = require "minigun.system.signals"

local emission = {}

local WAIT <const>, MORE <const> = current.PARK, current.MORE -- what a producer's coroutine says when it yields
local SLICE <const> = 0.002                        -- seconds that one may emit where a step must not take long
-- Items between two and two that are watched after the first ones, see handlers/given.lua: doubled each time; at most.
local SPACE <const>, SPACE_MOST <const> = 16, 2048
local LEAD <const>, LEAD_KIB <const> = 256, 1024   -- items that one may emit in a turn, and what they may take
local PASSED <const>, QUICK <const> = 15, 0.0003   -- items without a look at the clock, where as many take no longer

local Emission = {}
Emission.__index = Emission

--- Makes what the producers of a run emit with.
---@param plan table
---@param how table `pid` and `process` of the coordinator; `patient`: no step may take long
---@return table emission
function emission.new(plan, how)
  return declared({ plan = plan, pid = how.pid, process = how.process, patient = how.patient, outcome = false,
    ledger = false, resume = false, receipts = false, admission = false, places = false, inline = false,
    outlets = false,
    transport = false, failures = false, reentry = false, producers = false }, Emission)
end

-- Whether nothing waits for a producer's items one by one: they are through when its emit returns.
local function is_alone(self)
  return not (self.places.list[1] or self.outcome.streams or self.producers.list[2])
end

-- Tells, after each item, whether what a producer has emitted since its last turn is enough for one. What the caller of
-- `iterate` has not got yet is counted in bytes too: by what Lua has allocated.
local function lead(self)
  local since, least = 0, nil
  return function()
    since = since + 1
    if since >= LEAD then
      since, least = 0, nil
      return true
    end
    if not self.outcome.streams then return false end
    local now = collectgarbage "count" or 0
    if not least or now < least then least = now end
    if now - least < LEAD_KIB then return false end
    since, least = 0, nil
    return true
  end
end

-- What a producer's emit calls when items have gone: it lets others have their turn when that is due, or waits for
-- receivers.
local function sent_by(self, stage, tempo)
  local id, limited, ledger = stage.id, self.admission.limited[stage.id], self.ledger
  local s, streams, moved, enough, alone, passed = self.outcome.stats[id], self.outcome.streams, -1, lead(self), nil, 0
  local lonely = false -- nothing is there that could move
  return function(n)
    s.items_out = s.items_out + n
    if passed > 0 and (lonely or ledger:moved() == moved) then
      passed = passed - 1
      return
    end
    -- For ever; a stage that was called may have caught the error.
    if core.interrupted() then self.producers:let_others(MORE) end
    if alone == nil then
      lonely = is_alone(self)
      alone = lonely or tempo.known
    end
    local before, now = tempo.clock, core.now()
    passed = alone and not limited and not streams and now - before < QUICK and PASSED or 0
    -- Nothing is fuller than before unless something has moved.
    if ledger:moved() ~= moved and ledger:must_wait(id) then
      repeat until self.producers:let_others(WAIT) or not ledger:must_wait(id)
      tempo:begin(core.now())
    elseif enough() or tempo:due(now, alone) then
      moved = -1
      self.producers:let_others(MORE)
      tempo:begin(core.now())
      return
    end
    moved = ledger:moved()
  end
end

-- Sends an item where its stage's route says. Returns to how many.
local function send_chosen(self, state, item)
  local ok, ids = errors.call(state.choose, item)
  if not ok then
    signals.pass_on(ids.raised)
    self.failures:settle(state.stage, errors.fields(ids, { attempt = 1, pid = self.pid }), function() return item end)
    return 0
  end
  local links = self.inline.chain
  for i, id in ipairs(ids) do links:send_one(state, id, i < #ids and core.copy(item) or item) end
  return #ids
end

-- Whether each item of a producer is work of its own: in a thread, a fork or the loop over `iterate`, or counted by a
-- queue.
local function sends_singly(self, id)
  for place, limit in pairs(self.admission.reach[id]) do
    if limit ~= true or place.takes == "values" then return true end
  end
  return self.outcome.streams
end

local write_into

-- Counts what a producer has written straight into arrays.
local function count_into(self, outlet)
  local n, goes_on = outlet.writer:sent()
  local from, to = self.outcome.stats[outlet.stage_id], self.outcome.stats[outlet.into]
  from.items_out, to.items_in = from.items_out + n, to.items_in + n
  if not goes_on then write_into(self, outlet) end
end

-- Lets a producer write its items straight into the arrays of the accumulator that they go to, if that can be, and if
-- nothing that must come before is still on its way.
function write_into(self, outlet)
  local target = #outlet.bytes == 1 and outlet.bytes[1]
  local own = outlet.joins and target and self.inline.chain.states[target].batches
  if not own or not own:shareable() or own.values.first or self.ledger:pending(target) > 0
    or outlet.writer:pending() > 0 then return end
  outlet.into = target
  outlet.count_into = outlet.count_into or function() count_into(self, outlet) end
  local to = self.outlets.of[target]
  if to.writer then self.transport:flush(to) end -- tables
  own:share()
  outlet.writer:into(to.joined.writer)
end

-- The emit of a producer all of whose items go into pools: the writer itself.
local function writer_of(self, stage, outlet, source)
  outlet.direct, outlet.singly = true, self.admission.limited[stage.id]
  outlet.writer:emits()
  if outlet.singly then outlet.writer:singly() end
  write_into(self, outlet)
  if not (outlet.singly or outlet.joins or outlet.afar or self.resume) then outlet.writer:pieces() end
  if self.patient then outlet.writer:patience(SLICE) end
  if not (source and source.ranges[1]) then return outlet.writer end
  return self.resume:skipping_emit(stage.id, outlet.writer, function() self.producers:let_others(MORE) end)
end

--- What a producer of the coordinator calls to emit. Where all its items go into pools this is the writer itself.
---@param stage table
---@param tempo table its pace
---@return any emit
function Emission:emit_of(stage, tempo)
  local links, outlet = self.inline.chain, self.outlets.of[stage.id]
  local state, resume = links.states[stage.id], self.resume
  local source = resume and resume.sources[stage.id]
  local receipts = stage.hears and self.receipts or nil
  if outlet.writer and #state.inner == 0 and #outlet.values == 0 and not (state.choose or receipts) then
    return writer_of(self, stage, outlet, source)
  end
  local reentry, process, sent = self.reentry, self.process, sent_by(self, stage, tempo)
  local calls <const>, id <const>, process_now <const> = links.calls, stage.id, core.process
  local send <const> = calls.send
  local watched, left, space, early = state.given, 0, SPACE, given.EARLY
  if source then resume:open_source(source, receipts ~= nil or sends_singly(self, stage.id)) end
  return emits.new(function(_, item, more)
    if item == nil then error(emits.NIL, 2) end
    if more ~= nil then error(emits.MORE, 2) end
    if state.closed or process_now() ~= process then error(emits.OVER, 2) end
    left = left - 1
    if left <= 0 then -- two in a row, as what is done to one shows with the next
      item = watched:next(item)
      if item == nil then error(given.AGAIN, 2) end
      if left < 0 and watched:watches() then
        left = 0
      elseif left < 0 then
        left, space = space, math.min(2 * space, SPACE_MOST)
      end
    elseif early > 0 then
      early = early - 1
      if given.CHANGES[type(item)] then
        item = watched:copied(item)
        if item == nil then error(given.AGAIN, 2) end
        if watched.large then left = 0 end
      end
    end
    local n = 0
    if not source or resume:begin_emission(source, item) then
      n = 1
      local origin = receipts and receipts:begin(stage, item, source and source.open)
      reentry.in_handler = true
      if state.choose then n = send_chosen(self, state, item) else send(calls, id, item) end
      reentry.in_handler = false
      if origin then receipts:finish(origin, source) end
      if source then resume:end_emission(source) end
    end
    sent(n)
  end, function(name, item)
    self:send(stage, name, item, 3)
    sent(0) -- it is counted
  end)
end

--- emit:to in a producer of the coordinator.
---@param stage table the producer
---@param name string the receiver
---@param item any
---@param level integer of the user's frame as seen from the caller
function Emission:send(stage, name, item, level)
  local ids = router.resolve(self.plan.addresses[stage.id], name, item, level + 1)
  if self.inline.chain.states[stage.id].closed or core.process() ~= self.process then
    error(emits.OVER, level + 1)
  end
  local resume, outlet, beside = self.resume, self.outlets.of[stage.id], nil
  local source = resume and resume.sources[stage.id]
  if source and outlet.direct then
    self.transport:flush(outlet)
    beside = resume:begin_beside(stage.id, item)
  elseif source and not resume:begin_emission(source, item) then
    return
  end
  local receipts = stage.hears and self.receipts
  local origin = receipts and receipts:begin(stage, item, source and source.open)
  for _, id in ipairs(ids) do
    local place = self.places.of[id]
    self.admission:extend(stage.id, id, self.ledger)
    self.transport:send_to(stage, id, place.takes == "values" and core.copy(item) or item)
  end
  if receipts then receipts:finish(origin, source) end
  if beside then resume:end_beside(beside) elseif source then resume:end_emission(source) end
  local s = self.outcome.stats[stage.id]
  s.items_out = s.items_out + #ids
end

return emission
