--- Producers of the coordinator: coroutines that yield when receivers should catch up. Methods of a run (see run.lua).
local core = require "minigun.core"
local errors = require "minigun.base.traceback"
local files = require "minigun.sources.files"
local pace = require "minigun.policy.pace"
local programs = require "minigun.system.programs"
local given = require "minigun.handlers.given"
local tasks = require "minigun.handlers.tasks"
local router = require "minigun.policy.route"
local seeds = require "minigun.system.seeds"
local signals = require "minigun.system.signals"
local sources = require "minigun.sources.sources"
local terminate = require "minigun.system.terminate"
local work = require "minigun.base.work"

local producers = {}

local WAIT <const>, MORE <const> = tasks.PARK, tasks.MORE -- what a producer's coroutine says when it yields
local SLICE <const> = 0.002                        -- seconds that one may emit where a step must not take long
-- Items between two and two that are watched after the first ones, see handlers/given.lua: doubled each time; at most.
local SPACE <const>, SPACE_MOST <const> = 16, 2048
local GRACE <const> = 1                            -- seconds to the next emit of a stopped one in a child
local LEAD <const>, LEAD_KIB <const> = 256, 1024   -- items that one may emit in a turn, and what they may take
local STOOD_STILL <const> = 0.1                    -- seconds in a source that are worth a warning
local PASSED <const>, QUICK <const> = 15, 0.0003   -- items without a look at the clock, where as many take no longer

-- Whether nobody waits for a producer's items one by one: they are through when its emit returns.
local function is_alone(self)
  return not (self.segments[1] or self.streams or self.producers[2])
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
    if not self.streams then return false end
    local now = collectgarbage "count" or 0
    if not least or now < least then least = now end
    if now - least < LEAD_KIB then return false end
    since, least = 0, nil
    return true
  end
end

--- What a producer of the coordinator calls to emit. Where all its items go into pools this is the writer itself.
---@param stage table
---@param tempo table the producer's pace
function producers:producer_emit(stage, tempo)
  local outlet, state = self.outlets[stage.id], self.chain.states[stage.id]
  local limited, resume = self.limited[stage.id], self.resume
  local source = resume and resume.sources[stage.id]
  if outlet.writer and #state.inner == 0 and #outlet.values == 0 and not limited and not state.choose then
    outlet.direct = true
    self:write_into(outlet)
    if self.patient then outlet.writer:patience(SLICE) end
    if not (source and source.ranges[1]) then return outlet.writer end
    return resume:skipping_emit(stage.id, outlet.writer, function() self:let_others(MORE) end)
  end
  local s, me, moved, enough, alone = self.stats[stage.id], self, -1, lead(self), nil
  local watched, left, space, passed, plain = state.given, 0, SPACE, 0, true -- no table was emitted yet
  if source then resume:open_source(source, self:sends_singly(stage.id)) end
  local function sent(n)
    s.items_out = s.items_out + n
    if passed > 0 and me.ledger.moved == moved then
      passed = passed - 1
      return
    end
    if core.interrupted() then me:let_others(MORE) end -- for ever; a stage that was called may have caught the error
    if alone == nil then alone = is_alone(me) or tempo.known end
    local before, now = tempo.clock, core.now()
    passed = alone and not limited and not me.streams and now - before < QUICK and PASSED or 0
    -- Nothing is fuller than before unless something has moved.
    if me.ledger.moved ~= moved and me:must_wait(stage.id) then
      repeat until me:let_others(WAIT) or not me:must_wait(stage.id)
      tempo:begin(core.now())
    elseif enough() or tempo:due(now, alone) then
      moved = -1
      me:let_others(MORE)
      tempo:begin(core.now())
      return
    end
    moved = me.ledger.moved
  end
  local function send_chosen(item)
    local ok, ids = errors.call(state.choose, item)
    if not ok then
      signals.pass_on(ids.raised)
      me:settle_failure(stage, errors.fields(ids, { attempt = 1, pid = me.pid }), function() return item end)
      return 0
    end
    for i, id in ipairs(ids) do me.chain:send_one(state, id, i < #ids and core.copy(item) or item) end
    return #ids
  end
  return setmetatable({}, { __name = "emit", __metatable = false, __call = function(_, item)
    if item == nil then
      error("nil cannot be emitted (an item is any value but nil; call emit only when there is one)", 2)
    end
    if state.closed or core.process() ~= me.process then
      error("emit called after its handler has returned, or in another process", 2)
    end
    left = left - 1
    if plain and type(item) == "table" then
      plain, left = false, 0
      watched:begin_again()
    end
    if left <= 0 then -- two in a row, as what is done to one shows with the next
      item = watched:next(item)
      if item == nil then error(given.AGAIN, 2) end
      if left < 0 and watched:watches() then
        left = 0
      elseif left < 0 then
        left, space = space, math.min(2 * space, SPACE_MOST)
        plain = plain and space <= given.PLAIN
      end
    end
    local n = 0
    if not source or resume:begin_emission(source, item) then
      n = 1
      me.in_handler = true
      if state.choose then n = send_chosen(item) else me.chain:send(state, item) end
      me.in_handler = false
      if source then resume:end_emission(source) end
    end
    sent(n)
  end, __index = { to = function(own, name, item)
    router.check_colon(own, 2)
    me:producer_sends(stage, name, item, 2)
    sent(0) -- it is counted
  end } })
end

--- Whether each item of a producer is work of its own: in a thread, a fork or the loop over `iterate`, or counted by a
--- queue.
---@param id integer the producer
---@return boolean
function producers:sends_singly(id)
  for segment, limit in pairs(self.reach[id]) do
    if limit ~= true or segment.takes == "values" then return true end
  end
  return self.streams or false
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
  local resume, beside = self.resume, nil
  local source = resume and resume.sources[stage.id]
  if source and self.outlets[stage.id].direct then
    self:flush_writer(self.outlets[stage.id])
    beside = resume:begin_beside(stage.id, item)
  elseif source and not resume:begin_emission(source, item) then
    return
  end
  for _, id in ipairs(ids) do
    local segment = self.segment_of[id]
    if segment then self.reach[stage.id][segment] = true end -- from now on it waits for this one too
    self:send_to(stage, id, (not segment or segment.takes == "values") and core.copy(item) or item)
  end
  if beside then resume:end_beside(beside) elseif source then resume:end_emission(source) end
  self.stats[stage.id].items_out = self.stats[stage.id].items_out + #ids
end

--- Makes the producers ready: a coroutine each, or the one item of a segment of its own.
function producers:open_producers()
  for _, stage in ipairs(self.plan.stages) do
    if stage.kind == "producer" then
      if self.segment_of[stage.id] then
        self.ledger:accept(stage.id, 1)
        self.segment_of[stage.id]:push(work.of_value(stage.id))
      else
        local own = pace.new(core.now(), stage.source == "array")
        local emit, ctx = self:producer_emit(stage, own), self.chain.states[stage.id].ctx
        sources.on_lost(ctx, function(value, message) self:items_refused(stage, { { value, message } }) end)
        local producer = { stage = stage, pace = own, wait = {} }
        local function body() return errors.call(stage.handler, emit, ctx) end
        if stage.threaded then self:open_on_loop(producer, body)
        else producer.thread = coroutine.create(body) end
        self.producers[#self.producers + 1] = producer
        self.ledger:accept(stage.id, 1)
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
    self.ledger.changed = true
  end, function(seconds)
    s.busy, s.blocked, s.blocked_most = s.busy + seconds, s.blocked + seconds, math.max(s.blocked_most, seconds)
  end)
  producer.thread = producer.task.co
  self.on_loop[producer.thread] = producer
end

-- Whether anything that a producer sends to has items that are not finished.
local function at_work(self, producer)
  for segment, limit in pairs(self.reach[producer.stage.id]) do
    for _, id in ipairs(limit == true and segment.plan.stages or {}) do
      if self.ledger.pending[id] > 0 then return true end
    end
  end
  return false
end

-- Whether there is something to do for a producer: it has ended on the loop, or may emit more. On the loop it goes on
-- by itself while it does not wait.
local function is_ready(self, producer)
  if producer.ended then return true end
  if producer.waits then return not self:must_wait(producer.stage.id) end
  if producer.asleep then return producer.asleep <= core.clock() end
  if producer.pauses then return producer.pauses <= core.clock() or not at_work(self, producer) end
  return not producer.task
end

--- When the clock lets a producer go on.
---@return number? seconds from now on; nil: none waits for the clock
function producers:next_resume()
  local due = math.huge
  for _, producer in ipairs(self.producers) do
    due = math.min(due, producer.asleep or producer.pauses or due)
  end
  return due < math.huge and math.max(0, due - core.clock()) or nil
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
    return self:end_producer(producer.stage, producer.ended[1], producer.ended[2], producer.pace)
  end
  producer.waits = false
  self.loop:unpark(producer.task)
end

--- A producer has ended: what is left in its block goes out; an error is a failure without an item.
---@param stage table
---@param ok boolean
---@param caught any the error
---@param own table its pace
function producers:end_producer(stage, ok, caught, own)
  self.chain.states[stage.id].closed = true
  if own.stood > STOOD_STILL then
    self:warn(("stage '%s': the coordinator stood still for %.1f s in its source, while workers had nothing to do " ..
      "and results could not come; minigun.lines reads without that, or give the stage processes = 1"):format(
      stage.name, own.stood))
  end
  self:finished(stage.id, 1)
  local outlet = self.outlets[stage.id]
  if outlet.writer then
    self:flush_writer(outlet)
    outlet.writer:close()
    outlet.writer = nil
  end
  local source = self.resume and self.resume.sources[stage.id]
  if source then self.resume:leave_source(source) end
  if ok and source and not self.stopped then self.resume:check_end(source) end
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
  self.stopped, self.ledger.changed = true, true
  local list = self.producers
  self.producers = {}
  for _, producer in ipairs(list) do
    local ok, err -- of its end, with the files it reads
    if producer.task then ok, err = self.loop:cancel(producer.task)
    else ok, err = programs.close(producer.thread, true) end
    if producer.ended then ok, err = producer.ended[1], producer.ended[2] end
    if producer.deputy then self.loop:cancel(producer.deputy) end
    self:end_producer(producer.stage, ok, err, producer.pace)
  end
  for _, stage in ipairs(self.plan.stages) do
    local segment = stage.kind == "producer" and self.ledger.pending[stage.id] > 0 and self.segment_of[stage.id]
    if segment then
      segment:stop_producer(GRACE)
      self.timed = true
    end
  end
end

--- Lets each producer that need not wait emit for a while. What the caller of `iterate` can have comes before a
--- producer that is slow.
---@return boolean busy
function producers:resume_producers()
  local busy, first = false, self.streams and self.result.items[1] ~= nil
  for i = #self.producers, 1, -1 do
    local producer = self.producers[i]
    if self.stopping then break end
    if not (first and producer.pace.slow) and is_ready(self, producer) then
      if producer.task then
        self:look_after(i, producer)
        busy = true
      else
        busy = self:resume_one(i, producer) or busy
      end
    end
  end
  return busy
end

-- Whether a worker or a thread has nothing to do.
local function any_idle(self)
  for _, segment in ipairs(self.segments) do
    if segment:idles() then return true end
  end
  return false
end

-- Notes how long a producer has had its turn, and how much of that the process stood still.
local function measure(self, producer, start, idle, worked, switches)
  local now = core.now()
  local s, took, blocked = self.stats[producer.stage.id], now - start, 0
  s.busy = s.busy + took
  if worked and took > 0.001 then -- else another process may have had the processor
    local worked_now, switches_now = core.worked()
    blocked = switches_now > switches and took - (worked_now - worked) or 0
    idle = idle or self.pool and self.pool:anything()
  end
  producer.pace:ran(took, blocked, idle)
  return now
end

-- A producer waits for a time or a descriptor: for that a task of the loop waits in its place.
local function suspend(self, producer)
  local wait = producer.wait
  producer.asleep, producer.answer = wait.due or math.huge, false
  if not wait.fd then return end
  local fd, mode, due = wait.fd, wait.mode, wait.due
  producer.asleep = math.huge
  producer.deputy = self:open_loop():spawn(function()
    local ready, message = tasks.wait(fd, mode, due and math.max(0, due - core.clock()))
    producer.asleep, producer.answer = 0, ready or message ~= "timeout"
  end)
end

--- The turn of a producer is over, however that has come.
function producers:stop_reading()
  if self.reads then files.leave() end
  self.reads = false
end

--- Lets one producer emit until it yields or ends.
---@param i integer its place in the list
---@param producer table
---@return boolean busy false: it waits for receivers
function producers:resume_one(i, producer)
  local own, start = producer.pace, core.now()
  if self.meter then self.meter:before_handlers() end
  self.current = producer.thread
  self.guard:watch(producer.thread)
  own:resume(start)
  local idle, worked, switches = false, nil, nil
  if own:measures() then
    idle = any_idle(self)
    worked, switches = core.worked()
  end
  producer.asleep, producer.pauses = nil, nil
  local outer = self.plan.options.seed and seeds.swap(producer.random)
  self.reads = files.enter()
  core.term_source(#self.chain.states[producer.stage.id].inner == 0)
  local alive, ok, caught = tasks.resume(producer.wait, producer.thread, producer.answer)
  local interrupted = core.term_source(false)
  self:stop_reading()
  if outer then producer.random = seeds.swap(outer) end
  self.guard:watch()
  self.current, self.in_handler = nil, false
  local now = measure(self, producer, start, idle, worked, switches)
  producer.waits = ok == WAIT
  if producer.waits then return false end
  if ok == MORE then
    local seconds = at_work(self, producer) and own:pause(now)
    producer.pauses = seconds and core.clock() + seconds or nil
    return true
  end
  if alive and ok == tasks.WAIT then
    suspend(self, producer)
    return true
  end
  if not alive then ok, caught = false, ok end
  if coroutine.status(producer.thread) == "dead" then
    table.remove(self.producers, i)
    if interrupted and not ok then -- in a read, say: it was to stop anyway
      if self.stops then terminate.ask(self) end
      ok, caught = true, self:warn(("stage '%s': the producer was interrupted by SIGTERM"):format(producer.stage.name))
    end
    self:end_producer(producer.stage, ok, caught, own)
  end
  return true
end

--- Lets the rest of the run go on while a handler of one of the coordinator's own stages waits: workers, threads,
--- time-outs, retries. Its other stages cannot, as that handler's stage may be where their items come to.
---@param due number? until then; nil: until the descriptor is ready
---@param fd integer?
---@param mode string? "r" or "w"
---@return boolean served false: there is nothing that could go on, the caller blocks
function producers:serve(due, fd, mode)
  if not self.in_handler or not self.pool or self.process ~= core.process() then return false end
  local torn, task, co, outer = self.ledger.torn, tasks.forget(self) -- threads run as if nobody did
  self.ledger.torn, self.in_handler = true, false
  while true do
    self:serve_workers(true)
    local seconds = self:check_clock(true) or 1
    if self.loop then
      self.loop:step(self.guard)
      seconds = math.min(seconds, self.loop:timeout() or 1)
    end
    local rest = due and due - core.now() or 1
    if rest <= 0 or fd and core.wait(fd, mode, 0) ~= false then break end
    self:sleep(math.min(seconds, rest, fd and 0.01 or 1))
  end
  tasks.restore(task, co, outer)
  self.ledger.torn, self.in_handler = torn, true
  return true
end

return producers
