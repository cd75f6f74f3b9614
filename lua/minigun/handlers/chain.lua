--- A chain: the stages that run in one process, called directly one after the other.
--
-- Used by the coordinator for its inline stages and by a worker for the stages of its block. What a handler emits and
-- collects is kept until it has returned, and forgotten when it raises: a failed attempt leaves no trace. A handler
-- that emits very much is let through as a stream: its failure then says `partial` and is not tried again.
--
-- Now and then a call is looked at: how long the handler takes, and what it does to what it has emitted (given.lua).
-- One that is looked at stands for `every` of them. The first ones of a stage are, and those that take long.
--
-- An item has one owner: several receivers get copies, and where a failed item is wanted (`keeps`) the handler changes
-- one and the other is kept.
local batcher = require "minigun.policy.batcher"
local core = require "minigun.core"
local errors = require "minigun.base.traceback"
local emits = require "minigun.handlers.emit"
local given = require "minigun.handlers.given"
local loops = require "minigun.handlers.loop_stage"
local router = require "minigun.policy.route"
local statistics = require "minigun.base.stats"

local chain = {}

-- Emissions of one call that are kept back at most.
local KEEP <const> = 8192
-- Marks the receiver of an item that was sent with emit:to: it goes through the ledger, also to a stage of this chain,
-- as stages may send to each other in circles.
local SENT <const> = 0x8000
-- Calls, a prime number, of which one is looked at where they are quick; seconds from which each is.
local EVERY <const>, SLOW <const> = 61, 2e-5
-- Entries of an item that is kept although nothing has asked for that.
local SMALL <const> = 1 << 10
local copy <const>, now <const>, clock <const>, process <const> = core.copy, core.now, core.clock, core.process

local note <const>, take <const> = errors.note, errors.take
local changes <const>, type <const> = given.CHANGES, type

local Chain = {}
Chain.__index = Chain

local function make_emit(state, port)
  local buffer, direct, choose, addresses = state.buffer, state.direct, state.choose, port.addresses[state.stage.id]
  local check = port.check
  local function add(item, level, id) -- level: of the user's frame
    if state.watching then
      item = state.given:take(item)
      if item == nil then error(given.AGAIN, level) end
    elseif state.early and changes[type(item)] then
      item = state.given:copied(item)
      if item == nil then error(given.AGAIN, level) end
      state.watching = state.given.large
    end
    local n = state.n + 1
    state.n, buffer[n] = n, item
    if id then direct[n] = id end
    if n == KEEP then state.flush(true) end
  end
  local function add_all(ids, item, level, sent)
    for i, id in ipairs(ids) do add(i == 1 and item or copy(item), level, id | sent) end
  end
  return emits.new(function(_, item)
    if item == nil then error(emits.NIL, 2) end
    if not state.running or process() ~= port.process then error(emits.OVER, 2) end
    local n = state.n + 1
    if state.watching or choose or check or n == KEEP or state.early and changes[type(item)] then -- what few are
      local ids = choose and choose(item)
      if check then check(item) end
      if ids then add_all(ids, item, 4, 0) else add(item, 3) end
    else
      state.n, buffer[n] = n, item
    end
  end, function(name, item)
    if not state.running or process() ~= port.process then error(emits.OVER, 3) end
    local ids = router.resolve(addresses, name, item, 3)
    if check then check(item) end
    add_all(ids, item, 5, SENT)
  end)
end

-- Lets the library work inside of a handler whose time is limited.
local function at_ease(state, f, ...)
  if not state.limit then return f(...) end
  core.pause_limit(true)
  f(...)
  core.pause_limit(false)
end

--- Makes a chain.
---@param stages table array of the plan's stages, in topological order
---@param port table
--- what surrounds it: `deliver(stage, item)` sends an item out of the chain; `failed(stage, item, caught, how)`
--- hears of a failed item: how = `{ attempt =, partial =, number = }`, the number-th that came to the stage;
--- `send_to(stage, id, item, sent)` sends to one stage, by emit:to (sent) or by a route; `addresses`: the plan's;
--- `turn`: where round_robin begins;
--- `effect(kind, name, value, id)` keeps what a stage's `ctx` collects; `context(stage)` makes that, given a function
--- that takes effects; `process`, the chain's own, as of core.process(); `check(item)`, where there is one, raises for
--- what cannot be emitted, at the line of its caller's caller; `watch` and `wait`: see loop_stage.lua
--- `returns`: set of stages' ids, to which those are added whose handler returns a value; `handlers`: by id, what
--- stands for a stage's handler; `apart`: set of ids of stages whose items leave the chain, whatever they are for
--- `limits`: true where a time-out is to be seen to here; `warn(text)`, where there is one, notes what is odd
---@return table chain
--- `chain.stats[id]` counts `items_in`, `items_out`, `failed`, `busy` and `service` of each stage; `reread`: the stage
--- whose items the port can read again, so that they need not be kept
function chain.new(stages, port)
  local self = setmetatable({ port = port, states = {}, stats = {} }, Chain)
  for _, stage in ipairs(stages) do
    local state = { stage = stage, buffer = {}, direct = {}, n = 0, effects = {}, running = false, inner = {},
      handler = port.handlers and port.handlers[stage.id] or stage.handler, returns = port.returns or {},
      read = 0, outside = stage.terminal, choose = router.new(stage, port.turn),
      left = 0, skip = 0, every = 1, keeps = stage.keeps_item, early = given.EARLY,
      limit = port.limits and not stage.recipe and stage.timeout or nil,
      given = given.new(stage.source == "array", port.warn and function(text)
        port.warn(("stage '%s' (%s): %s"):format(stage.name, stage.at, text))
      end) }
    self.states[stage.id] = state
    state.stats = { items_in = 0, items_out = 0, failed = 0, busy = 0, service = statistics.histogram() }
    self.stats[stage.id] = state.stats
    state.flush = function(partial) at_ease(state, self.flush, self, state, partial) end
    state.emit = make_emit(state, port)
    state.ctx = port.context(stage, function(kind, name, value)
      if kind == "collect" then value = copy(value) end
      if state.running then state.effects[#state.effects + 1] = { kind, name, value }
      else port.effect(kind, name, value, stage.id) end
    end)
    if stage.loop then
      state.loop = loops.new(state.handler, port)
      state.handler = function(...) return state.loop:take(...) end
    end
    if stage.batch then state.batches = batcher.new(stage.batch) end
  end
  for _, stage in ipairs(stages) do
    local state, apart = self.states[stage.id], stage.threaded or port.apart and port.apart[stage.id]
    for _, target in ipairs(stage.outputs) do
      if self.states[target] and not apart then state.inner[#state.inner + 1] = target
      else state.outside = true end
    end
    state.only = #state.inner == 1 and not state.outside and state.inner[1] or nil
  end
  return self
end

--- Passes on what the stage's handler has emitted and collected so far.
function Chain:flush(state, partial)
  local n, buffer, direct, port = state.n, state.buffer, state.direct, self.port
  local stats = state.stats
  if n == 1 and not state.effects[1] and not direct[1] then -- which is what most calls leave
    local item = buffer[1]
    state.n, buffer[1] = 0, nil
    stats.items_out = stats.items_out + 1
    return self:send(state, item)
  end
  if partial then
    state.partial = true
    if state.watching then state.given:check() end
  end
  if n > 1 and not state.watching and core.unshare(buffer, n) then state.given:distrust(true) end
  for i = 1, #state.effects do
    local effect = state.effects[i]
    state.effects[i] = nil
    port.effect(effect[1], effect[2], effect[3], state.stage.id)
  end
  stats.items_out = stats.items_out + n
  state.n = 0
  for i = 1, n do
    local item, id = buffer[i], direct[i]
    buffer[i], direct[i] = nil, nil
    if not id then self:send(state, item)
    else self:send_one(state, id, item) end
  end
end

--- Sends an item to one receiver.
function Chain:send_one(state, id, item)
  if self.states[id] and not state.stage.threaded then return self:push(id, item, 1) end
  self.port.send_to(state.stage, id & ~SENT, item, id & SENT ~= 0)
end

--- Sends an item to every receiver of the stage, in the chain and outside.
function Chain:send(state, item)
  if state.only then return self:push(state.only, item, 1) end
  local inner <const>, outside <const> = state.inner, state.outside
  local n <const> = #inner
  for i = 1, n do self:push(inner[i], (i < n or outside) and copy(item) or item, 1) end
  if outside then self.port.deliver(state.stage, item) end
end

local function drop(state)
  for i = 1, state.n do state.buffer[i], state.direct[i] = nil, nil end
  state.n = 0
  for i = 1, #state.effects do state.effects[i] = nil end
end

function Chain:gather(state, item)
  if state.closed then return self:fail(state, item, take(state.closed), 1) end
  local batches = state.batches
  local batch
  if batches.by then
    local ok, key = errors.call(batches.key_of, batches, item)
    if not ok then return self:fail(state, item, key, 1) end
    batch = batches:add(item, self.port.now, key)
  else
    batch = batches:add(item, self.port.now)
  end
  if batch then self:emit_batch(state, batch) end
end

--- Emits for a stage without a handler: a batch, the value of a reduce.
---@param state table of the stage
---@param batch any
function Chain:emit_batch(state, batch)
  local stats = state.stats
  stats.items_out = stats.items_out + 1
  if not state.choose then return self:send(state, batch) end
  local ok, ids = errors.call(state.choose, batch)
  if not ok then return self:fail(state, batch, ids, 1) end
  for i, id in ipairs(ids) do self:send_one(state, id, i < #ids and copy(batch) or batch) end
end

function Chain:fail(state, item, caught, attempt, number)
  drop(state)
  local counts = state.stats
  counts.failed = counts.failed + 1
  state.keeps, state.left = true, 0
  self.port.failed(state.stage, item, caught, { attempt = attempt, partial = state.partial, number = number })
end

-- Begins to look at a call.
local function look(state)
  if state.given:begin() then state.watching = true end
  state.since = now()
end

-- The handler of a call that was looked at has returned.
local function looked(state)
  local seconds, every, watched, counts = now() - state.since, state.every, state.given, state.stats
  state.since = nil
  counts.busy = counts.busy + seconds * every
  counts.service:add(seconds, every)
  if state.watching then watched:check() end
  state.watching = watched.copies or watched.large
  if state.early then
    state.early = state.early > every and state.early - every
  end
  state.every = (seconds > SLOW or watched.calls > 0 and not watched.copies) and 1 or math.min(2 * every, EVERY)
  state.skip = state.every - 1
  state.left = (state.keeps or state.limit) and 0 or state.skip
end

-- What of an item is kept in case that the handler changes it and fails.
local function keep(self, state, item)
  local kind = type(item)
  if kind ~= "table" and kind ~= "userdata" or state.stage.id == self.reread then return item end
  if state.keeps then return copy(item) end
  return copy(item, SMALL) or item
end

-- Calls the handler, for so many seconds.
local function call_limited(state, item, ctx)
  local start, thread = clock(), state.loop and state.loop.thread
  if thread then core.limits(thread) end
  local ok, err = core.call_limited(start + state.limit, state.handler, note, item, state.emit, ctx)
  if clock() - start < state.limit then return ok, err end
  if state.loop then state.loop:abandon() end
  return false, errors.timed_out(state.limit, ok and "its handler could not be ended, and has returned"
    or "its handler was ended")
end

-- The number of the item that has come last.
local function number_of(state) return state.stats.items_in + state.read end

-- Calls the handler with an item that needs more than a call, and passes on what it has emitted. Does not raise.
local function run(self, state, item, attempt, number)
  local ctx, kept, looks = state.ctx, item, state.skip <= 0 or not (state.keeps or state.limit)
  if looks then look(state) else state.skip = state.skip - 1 end
  if state.keeps or state.watching then kept = keep(self, state, item) end
  ctx.attempt = attempt
  state.running, state.partial = true, nil
  local ok, err
  if state.limit then ok, err = call_limited(state, item, ctx)
  else ok, err = xpcall(state.handler, note, item, state.emit, ctx) end
  state.running = false
  if looks then looked(state) end
  if not ok then
    return self:fail(state, kept, take(err), attempt, number or attempt == 1 and number_of(state) or nil)
  end
  if err ~= nil then state.returns[state.stage.id] = true end
  if state.n > 0 or state.effects[1] then self:flush(state) end
end

--- Runs one item through the stage and everything after it in the chain. Does not raise.
---@param id integer the stage
---@param item any
---@param attempt integer 1 for the first
---@param number integer? of a further attempt: that of the item, as `failed` got it
function Chain:push(id, item, attempt, number)
  local state = self.states[id]
  if attempt == 1 then
    local counts = state.stats
    counts.items_in = counts.items_in + 1
  end
  if state.batches then return self:gather(state, item) end
  local left = state.left - 1
  if left < 0 then return run(self, state, item, attempt, number) end
  state.left = left
  local ctx = state.ctx
  ctx.attempt = attempt
  state.running, state.partial = true, nil
  local ok, err = xpcall(state.handler, note, item, state.emit, ctx)
  state.running = false
  if not ok then
    return self:fail(state, item, take(err), attempt, number or attempt == 1 and number_of(state) or nil)
  end
  if err ~= nil then state.returns[state.stage.id] = true end -- a value, which is not what goes on
  if state.n > 0 or state.effects[1] then self:flush(state) end
end

--- An item cannot be had. Does not raise.
---@param state table of the stage
---@param item any what stands for it; false: nothing does
---@param problem string
function Chain:unreadable(state, item, problem)
  state.partial = nil
  self:fail(state, item or nil, errors.unreadable(problem), 1, number_of(state))
end

--- The same for one that did not come in yet; or, without a problem, for one that has come to nothing.
---@param id integer the stage
---@param item any
---@param problem string?
function Chain:reject(id, item, problem)
  local state = self.states[id]
  state.stats.items_in = state.stats.items_in + 1
  if problem then self:unreadable(state, item, problem) end
end

-- Calls the handler with an item that a cursor has given; raises its error.
local function call(state, item, problem)
  if problem then errors.raise_again(errors.unreadable(problem, item or nil)) end
  state.running = true
  if state.handler(item, state.emit, state.ctx) ~= nil then state.returns[state.stage.id] = true end
  state.running = false
end

--- Runs all the items that a cursor gives through the stage: one protected call for many, a new one after a failure.
---@param id integer the stage
---@param fetch function () -> item, nil; what stands for an item that cannot be had, what is wrong; nothing at the end
---@param read_again function (from, i) -> the i-th item as it came
---@param from any
---@return integer count of the items that there were
function Chain:push_all(id, fetch, read_again, from)
  local state = self.states[id]
  if state.batches then return self:gather_all(state, fetch) end
  if state.limit then return self:push_each(state, fetch) end
  local before, keeps, left = state.read, state.keeps, state.left
  local done, at = 0, 0 -- items that are through, and the place of the one at work after these
  state.keeps = nil -- the bytes are there
  local function loop()
    -- For each of most items, so nothing is looked up that can be had once.
    local own <const>, get <const>, effects <const> = state, fetch, state.effects
    local handler <const>, emit <const>, ctx <const> = state.handler, state.emit, state.ctx
    while true do
      for i = 1, left do -- what `call` does is written out
        local item, problem = get()
        if item == nil then return end
        at = i
        if problem then errors.raise_again(errors.unreadable(problem, item or nil)) end
        own.running = true
        if handler(item, emit, ctx) ~= nil then own.returns[own.stage.id] = true end
        own.running = false
        if own.n > 0 or effects[1] then self:flush(own) end
      end
      done, at, left = done + at, 0, 0
      local item, problem = get()
      if item == nil then return end
      at = 1
      look(own)
      call(own, item, problem)
      looked(own)
      done, at, left = done + 1, 0, own.left
      if own.n > 0 or effects[1] then self:flush(own) end
    end
  end
  while true do
    state.ctx.attempt, state.partial = 1, nil
    local ok, err = xpcall(loop, note)
    done, left, at = done + at, left - at, 0
    if ok then break end
    local caught = take(err)
    -- Where the library itself runs short the run ends; in a handler the item fails. Not the handler's: what it has
    -- emitted may be on its way, or the cursor still before its item.
    if not state.running and caught.no_memory then error(err, 0) end
    state.running = false
    if state.since then
      looked(state)
      left = state.left
    end
    local item = caught.item
    if not caught.unreadable then
      local read, value = pcall(read_again, from, done)
      if read then item = value end
    end
    state.read, keeps = before + done, true
    self:fail(state, item, caught, 1, number_of(state))
    state.keeps = nil
  end
  state.read, state.keeps = before + done, keeps
  state.left = keeps and 0 or math.max(left, 0)
  return done
end

-- The same, one by one: where the time of each is limited.
function Chain:push_each(state, fetch)
  local before = state.read
  for item, problem in fetch do
    state.read = state.read + 1
    if problem then self:unreadable(state, item, problem) else run(self, state, item, 1) end
  end
  return state.read - before
end

-- The same for what is gathered.
function Chain:gather_all(state, fetch)
  local n = 0
  for item, problem in fetch do
    n = n + 1
    if problem then
      state.read = state.read + 1
      self:unreadable(state, item, problem)
    else
      self:gather(state, item)
    end
  end
  return n
end

--- Tells a loop stage that its stream has ended, unless it knows. What it emits then is passed on. Does not raise.
---@param id integer
function Chain:end_loop(id)
  if self.states[id].loop:open() then self:push(id, nil, 0) end
end

--- Passes on batches whose time has come, or all of them.
---@param id integer an accumulator
---@param time number? seconds; nil: all, the stream has ended
function Chain:flush_batches(id, time)
  local state = self.states[id]
  for _, batch in ipairs(state.batches:due(time)) do self:emit_batch(state, batch) end
end

return chain
