--- A chain: the stages that run in one process, called directly one after the other.
--
-- Used by the coordinator for its inline stages and by a worker for the stages of its block. The calls themselves are
-- made in C (src/lua/lua_chain.h); here is what is decided about them.
--
-- What a handler emits and collects is kept until it has returned, and forgotten when it raises: a failed attempt
-- leaves no trace. A handler that emits very much is let through as a stream: its failure then says `partial` and is
-- not tried again.
--
-- Now and then a call is looked at: how long the handler takes, and what it does to what it has emitted (given.lua).
-- One that is looked at stands for `every` of them. The first ones of a stage are, and those that take long.
--
-- An item has one owner: several receivers get copies, and where a failed item is wanted (`keeps`) the handler changes
-- one and the other is kept.
local core = require "minigun.core"
local errors = require "minigun.base.traceback"
local given = require "minigun.handlers.given"
local router = require "minigun.policy.route"
local stack = require "minigun.base.stack"
local statistics = require "minigun.base.stats"

local chain = {}

stack.outermost(core.chain_flush) -- what is below it is the stage that emits

-- Marks the receiver of an item that was sent with emit:to: it goes through the ledger, also to a stage of this chain,
-- as stages may send to each other in circles.
local SENT <const> = 0x8000
-- Calls, prime numbers, of which one is looked at where they are quick, and very quick, as a look takes about a
-- microsecond; seconds from which each is, and to which they are very quick.
local EVERY <const>, SELDOM <const> = 61, 509
local SLOW <const>, VERY_QUICK <const> = 2e-5, 1e-6
local copy <const>, clock <const> = core.copy, core.clock

local note <const>, take <const> = errors.note, errors.take
local changes <const>, type <const> = given.CHANGES, type

local Chain = {}
Chain.__index = Chain

-- --- what is not common about an emit ----------------------------------------------------------------------------

-- Keeps an item; `level` is of the user's frame, as for `error`. What can be changed is copied where it must be.
local function keep(self, state, item, level, target)
  local own = state.given
  if changes[type(item)] and (state.watching or state.early) then
    if state.watching then item = own:take(item) else item = own:copied(item) end
    if item == nil then error(given.AGAIN, level) end
  end
  self.calls:keep(state.stage.id, item, target)
end

local function keep_all(self, state, ids, item, level, sent)
  for i, id in ipairs(ids) do keep(self, state, i == 1 and item or copy(item), level + 1, id | sent) end
end

local function add(self, state, item)
  local ids, check = state.choose and state.choose(item), self.port.check
  if check then check(item) end
  if ids then keep_all(self, state, ids, item, 4, 0) else keep(self, state, item, 4) end
end

local function add_to(self, state, name, item)
  local ids, check = router.resolve(self.port.addresses[state.stage.id], name, item, 3), self.port.check
  if check then check(item) end
  keep_all(self, state, ids, item, 4, SENT)
end

-- --- calls -------------------------------------------------------------------------------------------------------

-- A call of the stage's handler is looked at. Returns whether what it emits is watched.
local function look(_, state)
  if state.given:begin(state.every) then state.watching = true end
  return state.watching
end

-- It is over, after so many seconds. Returns how many calls follow that are not looked at, whether what they emit is
-- watched all the same, and whether tables are copied.
local function looked(_, state, seconds)
  local every, watched, counts = state.every, state.given, state.stats
  counts.busy = counts.busy + seconds * every
  counts.service:add(seconds, every)
  if state.watching then watched:check() end
  state.watching = watched.copies or watched.large
  if state.early then
    state.early = state.early > every and state.early - every
  end
  state.every = (seconds > SLOW or watched.calls > 0 and not watched.copies) and 1
    or math.min(2 * every, seconds < VERY_QUICK and SELDOM or EVERY)
  return state.every - 1, state.watching, state.early
end

-- What stands for the handler of a stage whose time is limited.
local function limited(state)
  local seconds <const> = state.limit
  return function(item, emit, ctx)
    local start, thread = clock(), state.loop and state.loop.thread
    if thread then core.limits(thread) end
    local ok, value = core.call_limited(start + seconds, state.handler, note, item, emit, ctx)
    if clock() - start < seconds then
      if ok then return value end
      errors.raise_again(take(value))
    end
    if state.loop then state.loop:abandon() end
    errors.raise_again(errors.timed_out(seconds, ok and "its handler could not be ended, and has returned"
      or "its handler was ended"))
  end
end

-- Passes on what a handler has collected and counted.
local function pass_effects(self, state)
  local effects = state.effects
  for i = 1, #effects do
    local effect = effects[i]
    effects[i] = nil
    self.port.effect(effect[1], effect[2], effect[3], state.stage.id)
  end
end

local function failed(self, state, item, err, attempt, partial, number)
  local effects = state.effects
  for i = 1, #effects do effects[i] = nil end
  self.port.failed(state.stage, item, take(err), { attempt = attempt, partial = partial or nil, number = number })
end

-- Counts the failure of an item for which no handler was called.
local function fail(self, state, item, caught, number)
  self.calls:count(state.stage.id, 0, 0, 1)
  self.calls:set(state.stage.id, "keeps", true)
  self.port.failed(state.stage, item, caught, { attempt = 1, number = number })
end

local function unreadable(self, state, item, problem)
  fail(self, state, item or nil, errors.unreadable(problem), self.calls:number(state.stage.id))
end

local function gather(self, state, item)
  if state.closed then return fail(self, state, item, take(state.closed)) end
  local batches = state.batches
  local batch
  if batches.by then
    local ok, key = errors.call(batches.key_of, batches, item)
    if not ok then return fail(self, state, item, key) end
    batch = batches:add(item, self.port.now, key)
  else
    batch = batches:add(item, self.port.now)
  end
  if batch then self:emit_batch(state, batch) end
end

-- --- making one --------------------------------------------------------------------------------------------------

-- What the core calls, with the stage's id first.
local function functions_of(self)
  local functions, port = {}, self.port
  for name, f in pairs { look = look, looked = looked, pass_effects = pass_effects, failed = failed,
    unreadable = unreadable, gather = gather, add = add, add_to = add_to } do
    functions[name] = function(id, ...) return f(self, self.states[id], ...) end
  end
  function functions.shared(id) self.states[id].given:distrust(true) end
  function functions.streams(id) self.states[id].given:check() end
  function functions.returned(id)
    if port.returns then port.returns[id] = true end
  end
  function functions.nothing(id) self.states[id].stage.direct.nothing() end
  function functions.send_to(id, target, item)
    port.send_to(self.states[id].stage, target & ~SENT, item, target & SENT ~= 0)
  end
  return functions
end

-- What takes a stage's effects: kept while its handler runs.
local function effect_of(self, state)
  local port, id = self.port, state.stage.id
  return function(kind, name, value)
    if kind == "collect" then value = copy(value) end
    if self.calls:keeps(id) then state.effects[#state.effects + 1] = { kind, name, value }
    else port.effect(kind, name, value, id) end
  end
end

local function new_state(self, stage)
  local port, id = self.port, stage.id
  local state = { stage = stage, effects = {}, inner = {},
    handler = port.handlers and port.handlers[id] or stage.handler,
    choose = stage.route and router.new(stage, port.turn), every = 1,
    early = given.EARLY, watching = false,
    limit = port.limits and not stage.recipe and stage.timeout or nil,
    given = given.new(stage.source == "array", port.warn and function(text)
      port.warn(("stage '%s' (%s): %s"):format(stage.name, stage.at, text))
    end), stats = { items_in = 0, items_out = 0, failed = 0, busy = 0, service = statistics.histogram() } }
  self.states[id], self.stats[id] = state, state.stats
  if stage.batch then state.batches = require("minigun.policy.batcher").new(stage.batch) end
  return state
end

-- Finds out where what a stage emits goes, and tells the core of the stage.
local function link(self, state)
  local stage, port, id = state.stage, self.port, state.stage.id
  local apart, outside = stage.threaded or port.apart and port.apart[id], stage.terminal
  for _, target in ipairs(stage.outputs) do
    if self.states[target] and not apart then state.inner[#state.inner + 1] = target
    else outside = true end
  end
  state.ctx = port.context(stage, effect_of(self, state))
  self.calls:link(id, #state.inner, state.handler, state.ctx)
  if stage.loop then
    state.loop = require("minigun.handlers.loop_stage").new(state.handler, port)
    state.handler = function(...) return state.loop:take(...) end
  end
  self:set_handler(id, state.handler)
  for name, on in pairs { gathers = state.batches, keeps = stage.keeps_item, early = true, outside = outside,
    slow = state.choose or port.check, apart = stage.threaded } do
    self.calls:set(id, name, on)
  end
end

--- Makes a chain.
---@param stages table array of the plan's stages, in topological order
---@param port table
--- what surrounds it: `deliver(stage, item)` sends an item out of the chain, or, where there is an `out`, what is there
--- for the stage, called with the item; `failed(stage, item, caught, how)`
--- hears of a failed item: how = `{ attempt =, partial =, number = }`, the number-th that came to the stage;
--- `send_to(stage, id, item, sent)` sends to one stage, by emit:to (sent) or by a route; `addresses`: the plan's;
--- `turn`: where round_robin begins;
--- `effect(kind, name, value, id)` keeps what a stage's `ctx` collects; `context(stage)` makes that, given a function
--- that takes effects; `process`, the chain's own, as of core.process(); `check(item)`, where there is one, raises for
--- what cannot be emitted, at the line of the user's call; `watch` and `wait`: see loop_stage.lua
--- `returns`: set of stages' ids, to which those are added whose handler returns a value; `handlers`: by id, what
--- stands for a stage's handler; `apart`: set of ids of stages whose items leave the chain, whatever they are for
--- `limits`: true where a time-out is to be seen to here; `warn(text)`, where there is one, notes what is odd
---@return table chain
--- `states[id]`: of each stage; `calls`: the core's (src/lua/lua_chain.c), whose `push`, `push_all`, `take`, `sender`,
--- `send` and `count` what surrounds it calls
function chain.new(stages, port)
  local self = setmetatable({ port = port, states = {}, stats = {}, calls = false, reread = false }, Chain)
  local most = 0
  for _, stage in ipairs(stages) do
    new_state(self, stage)
    most = math.max(most, stage.id)
  end
  self.calls = core.chain(most, #stages, note, port.process, functions_of(self))
  for _, stage in ipairs(stages) do link(self, self.states[stage.id]) end
  for _, stage in ipairs(stages) do
    local out = port.out and port.out[stage.id]
    self.calls:connect(stage.id, self.states[stage.id].inner, out or port.deliver, not out and stage or nil)
  end
  return self
end

--- Gives a stage another handler.
---@param id integer the stage
---@param f function
function Chain:set_handler(id, f)
  local state = self.states[id]
  state.handler = f
  self.calls:handler(id, state.limit and limited(state) or f)
  local direct = state.stage.direct
  if direct then self.calls:direct(id, direct.folds, direct.handler == f and not state.limit and direct.f or nil) end
end

-- --- items -------------------------------------------------------------------------------------------------------

--- Sends an item to one receiver.
---@param state table of the stage
---@param id integer of the receiver
---@param item any
function Chain:send_one(state, id, item)
  if self.states[id] and not state.stage.threaded then return self.calls:push(id, item, 1) end
  self.port.send_to(state.stage, id, item, false)
end

--- Emits for a stage without a handler: a batch, the value of a reduce.
---@param state table of the stage
---@param batch any
function Chain:emit_batch(state, batch)
  self.calls:count(state.stage.id, 0, 1, 0)
  if not state.choose then return self.calls:send(state.stage.id, batch) end
  local ok, ids = errors.call(state.choose, batch)
  if not ok then return fail(self, state, batch, ids) end
  for i, id in ipairs(ids) do self:send_one(state, id, i < #ids and copy(batch) or batch) end
end

--- The items of a worker, and what `take` gets, are for this stage, and the attempt-th at each. They can be read
--- again as they came.
---@param id integer
---@param attempt integer
function Chain:begin(id, attempt)
  if self.reread then self.calls:set(self.reread, "reread", false) end
  self.reread = id
  self.calls:set(id, "reread", true)
  self.calls:begin(id, attempt)
end

--- Makes it the chain of a worker, for w:run.
---@param w userdata the worker
---@param aside table array of stages: while the handler of one runs, the item in hand is not to blame for its end
function Chain:set_worker(w, aside)
  self.calls:worker(w)
  for _, stage in ipairs(aside) do self.calls:set(stage.id, "aside", true) end
end

--- An item cannot be had that did not come in yet; or, without a problem, one has come to nothing. Does not raise.
---@param id integer the stage
---@param item any what stands for it; false: nothing does
---@param problem string?
function Chain:reject(id, item, problem)
  self.calls:count(id, 1, 0, 0)
  if problem then unreadable(self, self.states[id], item, problem) end
end

--- What has been counted of a stage.
---@param id integer
---@param anew boolean? true: items and failures are counted from 0 again
---@return table? counts `items_in`, `items_out`, `failed`, `busy` (seconds), `service`; nil: no stage of this chain
function Chain:counts(id, anew)
  local counts = self.stats[id]
  if not counts then return nil end
  counts.items_in, counts.items_out, counts.failed = self.calls:counts(id, anew)
  return counts
end

--- Tells a loop stage that its stream has ended, unless it knows. What it emits then is passed on. Does not raise.
---@param id integer
function Chain:end_loop(id)
  if self.states[id].loop:open() then self.calls:push(id, nil, 0) end
end

--- Passes on batches whose time has come, or all of them.
---@param id integer an accumulator
---@param time number? seconds; nil: all, the stream has ended
function Chain:flush_batches(id, time)
  local state = self.states[id]
  for _, batch in ipairs(state.batches:due(time)) do self:emit_batch(state, batch) end
end

return chain
