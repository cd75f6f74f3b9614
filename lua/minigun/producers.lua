--- Producers of the coordinator: coroutines that yield when receivers should catch up. Methods of a run (see run.lua).
local core = require "minigun.core"
local errors = require "minigun.caught"
local programs = require "minigun.programs"
local tasks = require "minigun.tasks"
local router = require "minigun.router"
local seeds = require "minigun.seeds"
local signals = require "minigun.signals"

local producers = {}

local WAIT <const>, MORE <const> = tasks.PARK, tasks.MORE -- what a producer's coroutine says when it yields
local SLICE <const> = 0.002                        -- seconds that one may emit where a step must not take long
local GRACE <const> = 1                            -- seconds to the next emit of a stopped one in a child

--- What a producer of the coordinator calls to emit. Where all its items go into pools this is the writer itself.
function producers:producer_emit(stage)
  local outlet, state = self.outlets[stage.id], self.chain.states[stage.id]
  local limited, source = self.limited[stage.id], self.sources and self.sources[stage.id]
  if outlet.writer and #state.inner == 0 and #outlet.values == 0 and not limited and not state.choose then
    outlet.direct = true
    self:write_into(outlet)
    if self.patient then outlet.writer:patience(SLICE) end
    return source and source.ranges[1] and self:skipping_emit(stage, outlet.writer) or outlet.writer
  end
  local s, since, me, moved = self.stats[stage.id], 0, self, -1
  if source then self:open_source(source, stage.id) end
  local function sent(n)
    s.items_out = s.items_out + n
    since = since + 1
    if limited and outlet.writer then me:flush_writer(outlet) end -- a limit counts items, so none may hide in a block
    if me.moved ~= moved and me:must_wait(stage.id) then -- nothing is fuller than before unless something has moved
      since = 0
      repeat until me:let_others(WAIT) or not me:must_wait(stage.id)
    elseif since >= 256 or me.patient and core.now() > me.slice_ends then
      since, moved = 0, -1
      me:let_others(MORE)
      me.slice_ends = core.now() + SLICE
      return
    end
    moved = me.moved
  end
  local function send_chosen(item)
    local ok, ids = errors.call(state.choose, item)
    if not ok then
      signals.pass_on(ids.raised)
      me:settle_failure(stage, errors.fields(ids, { attempt = 1, pid = me.pid }), function() return item end)
      return 0
    end
    for _, id in ipairs(ids) do me.chain:send_one(state, id, item) end
    return #ids
  end
  return setmetatable({}, { __name = "emit", __metatable = false, __call = function(_, item)
    if item == nil then
      error("nil cannot be emitted (an item is any value but nil; call emit only when there is one)", 2)
    end
    if state.closed or core.process() ~= me.process then
      error("emit called after its handler has returned, or in another process", 2)
    end
    local n = 0
    if not source or me:begin_emission(source, item) then
      n = 1
      if state.choose then n = send_chosen(item) else me.chain:send(state, item) end
      if source then me:end_emission(source) end
    end
    sent(n)
  end, __index = { to = function(own, name, item)
    router.check_colon(own, 2)
    me:producer_sends(stage, name, item, 2)
    sent(0) -- it is counted
  end } })
end

--- emit:to in a producer of the coordinator.
---@param stage table the producer
---@param name string the receiver
---@param item any
---@param level integer of the user's frame as seen from the caller
function producers:producer_sends(stage, name, item, level)
  local ids = router.resolve(self.plan.addresses[stage.id], name, item, level + 1)
  if self.chain.states[stage.id].closed or core.process() ~= self.process then
    error("emit called after its handler has returned, or in another process", level + 1)
  end
  local source = self.sources and self.sources[stage.id]
  local beside = source and self.outlets[stage.id].direct and self:begin_beside(stage, item)
  if source and not beside and not self:begin_emission(source, item) then return end
  for _, id in ipairs(ids) do
    local segment = self.segment_of[id]
    if segment then self.reach[stage.id][segment] = true end -- from now on it waits for this one too
    self:send_to(stage, id, item)
  end
  if beside then self:end_beside(beside) elseif source then self:end_emission(source) end
  self.stats[stage.id].items_out = self.stats[stage.id].items_out + #ids
end

--- Makes the producers ready: a coroutine each, or the one item of a segment of its own.
function producers:open_producers()
  for _, stage in ipairs(self.plan.stages) do
    if stage.kind == "producer" then
      if self.segment_of[stage.id] then
        self.pending[stage.id] = 1
        self.segment_of[stage.id]:push { stage = stage.id, count = 1, attempt = 1 }
      else
        local emit, ctx = self:producer_emit(stage), self.chain.states[stage.id].ctx
        local producer = { stage = stage }
        local function body() return errors.call(stage.handler, emit, ctx) end
        if stage.threaded then self:open_on_loop(producer, body)
        else producer.thread = coroutine.create(body) end
        self.producers[#self.producers + 1] = producer
        self.pending[stage.id] = 1
      end
    end
  end
end

--- Makes a producer of a context `threads` ready: a task of the loop, so that it may wait for what it likes.
---@param producer table
---@param body function
function producers:open_on_loop(producer, body)
  local s, on = self.stats[producer.stage.id], self:open_loop()
  producer.task = on:spawn(function()
    producer.ended = table.pack(body())
    self.changed = true
  end, function(seconds)
    s.busy, s.blocked, s.blocked_most = s.busy + seconds, s.blocked + seconds, math.max(s.blocked_most, seconds)
  end)
  producer.thread = producer.task.co
  self.on_loop[producer.thread] = producer
end

-- Whether there is something to do for a producer: it has ended on the loop, or may emit more. On the loop it goes on
-- by itself while it does not wait.
local function is_ready(self, producer)
  if producer.ended then return true end
  if producer.waits then return not self:must_wait(producer.stage.id) end
  return not producer.task
end

--- Whether there is something to do for a producer at once.
---@return boolean
function producers:may_produce()
  local list <const> = self.producers
  for i = 1, #list do
    if is_ready(self, list[i]) then return true end
  end
  return false
end

--- Lets a producer on the loop go on, now that receivers need not be waited for any more, or sees to its end.
---@param i integer its place in the list
---@param producer table
function producers:look_after(i, producer)
  if producer.ended then
    table.remove(self.producers, i)
    return self:end_producer(producer.stage, producer.ended[1], producer.ended[2])
  end
  producer.waits = false
  self.loop:unpark(producer.task)
end

--- A producer has ended: what is left in its block goes out; an error is a failure without an item.
---@param stage table
---@param ok boolean
---@param caught any the error
function producers:end_producer(stage, ok, caught)
  self.chain.states[stage.id].closed = true
  self:finished(stage.id, 1)
  local outlet = self.outlets[stage.id]
  if outlet.writer then
    self:flush_writer(outlet)
    outlet.writer:close()
    outlet.writer = nil
  end
  local source = self.sources and self.sources[stage.id]
  if source then self:leave_source(source) end
  if ok and source and not self.stopped then
    local problem = self.too_short(source, source.seen)
    if problem then self:fail(problem) end
  end
  if ok then
    stage.returned = stage.returned or caught ~= nil
    return
  end
  caught = errors.take(caught)
  signals.pass_on(caught.raised)
  self:settle_failure(stage, errors.fields(caught, { attempt = 1, partial = true, pid = self.pid }), function() end)
end

--- Ends all producers; what they have emitted goes its way. Those in children end at their next emit, or are killed
--- when none comes soon.
function producers:stop_producers()
  self.stopped, self.changed = true, true
  local list = self.producers
  self.producers = {}
  for _, producer in ipairs(list) do
    local ok, err -- of its end, with the files it reads
    if producer.task then ok, err = self.loop:cancel(producer.task)
    else ok, err = programs.close(producer.thread, true) end
    if producer.ended then ok, err = producer.ended[1], producer.ended[2] end
    self:end_producer(producer.stage, ok, err)
  end
  for _, stage in ipairs(self.plan.stages) do
    local segment = stage.kind == "producer" and self.pending[stage.id] > 0 and self.segment_of[stage.id]
    if segment then
      segment:stop_producer(GRACE)
      self.timed = true
    end
  end
end

--- Lets each producer that need not wait emit for a while.
---@return boolean busy
function producers:resume_producers()
  local busy = false
  for i = #self.producers, 1, -1 do
    local producer = self.producers[i]
    if self.stopping then break end
    if is_ready(self, producer) then
      if producer.task then
        self:look_after(i, producer)
        busy = true
      else
        busy = self:resume(i, producer) or busy
      end
    end
  end
  return busy
end

--- Lets one producer emit until it yields or ends.
---@param i integer its place in the list
---@param producer table
---@return boolean busy false: it waits for receivers
function producers:resume(i, producer)
  local start = core.now()
  if self.meter then self.meter:before_handlers() end
  self.current = producer.thread
  self.guard:watch(producer.thread)
  self.slice_ends = start + SLICE
  local outer = self.plan.options.seed and seeds.swap(producer.random)
  local alive, ok, caught = coroutine.resume(producer.thread)
  if outer then producer.random = seeds.swap(outer) end
  self.guard:watch()
  self.current = nil
  local s = self.stats[producer.stage.id]
  s.busy = s.busy + core.now() - start
  producer.waits = ok == WAIT
  if producer.waits or ok == MORE then return not producer.waits end
  if not alive then ok, caught = false, ok end
  if coroutine.status(producer.thread) == "dead" then
    table.remove(self.producers, i)
    self:end_producer(producer.stage, ok, caught)
  end
  return true
end

return producers
