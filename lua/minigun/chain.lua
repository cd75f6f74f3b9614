--- A chain: the stages that run in one process, called directly one after the other.
--
-- Used by the coordinator for its inline stages and by a worker for the stages of its block. What a handler emits and
-- collects is kept until it has returned, and forgotten when it raises: a failed attempt leaves no trace. A handler
-- that emits very much is let through as a stream: its failure then says `partial` and is not tried again.
local batcher = require "minigun.batcher"
local errors = require "minigun.caught"
local loops = require "minigun.loop"
local router = require "minigun.router"

local chain = {}

-- Emissions of one call that are kept back at most.
local KEEP <const> = 8192
-- Marks the receiver of an item that was sent with emit:to: it goes through the ledger, also to a stage of this chain,
-- as stages may send to each other in circles.
local SENT <const> = 0x8000

local note <const>, take <const> = errors.note, errors.take

local Chain = {}
Chain.__index = Chain

local function make_emit(state, host)
  local buffer, direct, choose, addresses = state.buffer, state.direct, state.choose, host.addresses[state.stage.id]
  local foreign, check = host.foreign, host.check
  local function add(item, id)
    local n = state.n + 1
    state.n, buffer[n] = n, item
    if id then direct[n] = id end
    if n == KEEP then state.flush(true) end
  end
  local function refuse() error("emit called after its handler has returned, or in another process", 3) end
  return setmetatable({}, {
    __name = "emit",
    __metatable = false,
    __call = function(_, item)
      if item == nil then
        error("nil cannot be emitted (an item is any value but nil; call emit only when there is one)", 2)
      end
      if not state.running or foreign() then refuse() end
      local ids = choose and choose(item)
      if check then check(item) end
      if not ids then return add(item) end
      for _, id in ipairs(ids) do add(item, id) end
    end,
    __index = {
      to = function(self, name, item)
        router.check_colon(self, 2)
        if not state.running or foreign() then refuse() end
        local ids = router.resolve(addresses, name, item, 2)
        if check then check(item) end
        for _, id in ipairs(ids) do add(item, id | SENT) end
      end,
    },
  })
end

--- Makes a chain.
---@param stages table array of the plan's stages, in topological order
---@param host table
--- what surrounds it: `deliver(stage, item)` sends an item out of the chain; `failed(stage, item, caught, attempt,
--- partial, number)` is told of a failed item, the number-th that came to the stage; `send_to(stage, id, item, sent)`
--- sends to one stage, by emit:to (sent) or by a route; `addresses`: the plan's; `turn`: where round_robin begins;
--- `effect(kind, name, value)` keeps what `ctx` collects; `context(stage)` makes the stage's ctx, given a function that
--- takes effects; `foreign()` tells that this is another process than the chain's own; `check(item)`, where there is
--- one, raises for what cannot be emitted, at the line of its caller's caller; `watch` and `wait`: see loop.lua
---@return table chain `chain.stats[id]` counts `items_in`, `items_out`, `failed` of each stage
function chain.new(stages, host)
  local self = setmetatable({ host = host, states = {}, stats = {} }, Chain)
  for _, stage in ipairs(stages) do
    local state = { stage = stage, buffer = {}, direct = {}, n = 0, effects = {}, running = false, inner = {},
      handler = stage.handler, seen = 0, outside = stage.terminal, choose = router.new(stage, host.turn) }
    self.states[stage.id] = state
    state.stats = { items_in = 0, items_out = 0, failed = 0 }
    self.stats[stage.id] = state.stats
    state.flush = function(partial) self:flush(state, partial) end
    state.emit = make_emit(state, host)
    state.ctx = host.context(stage, function(kind, name, value)
      if state.running then state.effects[#state.effects + 1] = { kind, name, value }
      else host.effect(kind, name, value) end
    end)
    if stage.loop then
      state.loop = loops.new(stage.handler, host)
      state.handler = function(...) return state.loop:take(...) end
    end
    if stage.batch then state.batches = batcher.new(stage.batch) end
  end
  for _, stage in ipairs(stages) do
    local state = self.states[stage.id]
    for _, target in ipairs(stage.outputs) do
      if self.states[target] and not (stage.threaded or stage.writes_blocks) then state.inner[#state.inner + 1] = target
      else state.outside = true end
    end
    state.only = #state.inner == 1 and not state.outside and state.inner[1] or nil
  end
  return self
end

--- Passes on what the stage's handler has emitted and collected so far.
function Chain:flush(state, partial)
  local n, buffer, direct, host = state.n, state.buffer, state.direct, self.host
  local stats = state.stats
  if n == 1 and not state.effects[1] and not direct[1] then -- which is what most calls leave
    local item = buffer[1]
    state.n, buffer[1] = 0, nil
    stats.items_out = stats.items_out + 1
    return self:send(state, item)
  end
  if partial then state.partial = true end
  for i = 1, #state.effects do
    local effect = state.effects[i]
    state.effects[i] = nil
    host.effect(effect[1], effect[2], effect[3])
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
  self.host.send_to(state.stage, id & ~SENT, item, id & SENT ~= 0)
end

--- Sends an item to every receiver of the stage, in the chain and outside.
function Chain:send(state, item)
  if state.only then return self:push(state.only, item, 1) end
  local inner <const> = state.inner
  for i = 1, #inner do self:push(inner[i], item, 1) end
  if state.outside then self.host.deliver(state.stage, item) end
end

local function drop(state)
  for i = 1, state.n do state.buffer[i], state.direct[i] = nil, nil end
  state.n = 0
  state.effects = {}
end

function Chain:gather(state, item)
  if state.late then return self:fail(state, item, take(state.late), 1) end
  local batches = state.batches
  local batch
  if batches.by then
    local ok, key = errors.call(batches.key_of, batches, item)
    if not ok then return self:fail(state, item, key, 1) end
    batch = batches:add(item, self.host.now, key)
  else
    batch = batches:add(item, self.host.now)
  end
  if batch then self:emit_batch(state, batch) end
end

--- Emits for a stage without a handler: a batch, a reduction's value.
---@param state table of the stage
---@param batch any
function Chain:emit_batch(state, batch)
  local stats = state.stats
  stats.items_out = stats.items_out + 1
  if not state.choose then return self:send(state, batch) end
  local ok, ids = errors.call(state.choose, batch)
  if not ok then return self:fail(state, batch, ids, 1) end
  for _, id in ipairs(ids) do self:send_one(state, id, batch) end
end

function Chain:fail(state, item, caught, attempt, number)
  drop(state)
  local stats = state.stats
  stats.failed = stats.failed + 1
  self.host.failed(state.stage, item, caught, attempt, state.partial, number)
end

--- Runs one item through the stage and everything behind it in the chain.  Does not raise.
---@param id integer the stage
---@param item any
---@param attempt integer 1 for the first
---@param number integer? of a further attempt: that of the item, as `failed` was told
function Chain:push(id, item, attempt, number)
  local state = self.states[id]
  if attempt == 1 then
    local stats = state.stats
    stats.items_in = stats.items_in + 1
    number = state.seen + 1
    state.seen = number
  end
  if state.batches then return self:gather(state, item) end
  local ctx = state.ctx
  ctx.attempt = attempt
  state.running, state.partial = true, nil
  local ok, err = xpcall(state.handler, note, item, state.emit, ctx)
  state.running = false
  if not ok then return self:fail(state, item, take(err), attempt, number) end
  if err ~= nil then state.stage.returned = true end -- a value, which is not what goes on
  if state.n > 0 or state.effects[1] then self:flush(state) end
end

--- An item cannot be had. Does not raise.
---@param state table of the stage
---@param item any what stands for it; false: nothing does
---@param problem string
function Chain:unreadable(state, item, problem)
  state.seen, state.partial = state.seen + 1, nil
  self:fail(state, item or nil, errors.unreadable(problem), 1, state.seen)
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

--- Runs all the items that a cursor gives through the stage: one protected call for many, a new one after a failure.
---@param id integer the stage
---@param fetch function () -> item, nil; what stands for an item that cannot be had, what is wrong; nothing at the end
function Chain:push_all(id, fetch)
  local state = self.states[id]
  if state.batches then
    for item, problem in fetch do
      if problem then self:unreadable(state, item, problem) else self:gather(state, item) end
    end
    return
  end
  local handler, emit, ctx, item = state.handler, state.emit, state.ctx, nil
  local function loop()
    for each, problem in fetch do
      item, state.seen = each, state.seen + 1
      if problem then errors.raise_again(errors.unreadable(problem)) end
      state.running = true
      if handler(each, emit, ctx) ~= nil then state.stage.returned = true end
      state.running = false
      if state.n > 0 or state.effects[1] then self:flush(state) end
      item = nil
    end
  end
  while true do
    ctx.attempt, state.partial = 1, nil
    local ok, err = xpcall(loop, note)
    if ok then break end
    local caught = take(err)
    -- Where the library itself runs short the run ends; in a handler the item fails. Not the handler's: what it has
    -- emitted may be on its way, or the cursor still before its item.
    if not state.running and caught.no_memory then error(err, 0) end
    state.running = false
    if caught.unreadable then item = item or nil end
    self:fail(state, item, caught, 1, state.seen)
  end
end

--- Tells a loop stage that its stream has ended, unless it knows. What it emits then is passed on. Does not raise.
---@param id integer
function Chain:end_loop(id)
  if self.states[id].loop:open() then self:push(id, nil, 0) end
end

--- Passes on batches whose time has come, or all of them.
---@param id integer an accumulator
---@param now number? seconds; nil: all, the stream has ended
function Chain:flush_batches(id, now)
  local state = self.states[id]
  for _, batch in ipairs(state.batches:due(now)) do self:emit_batch(state, batch) end
end

return chain
