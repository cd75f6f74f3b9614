--- A thread pool: n threads of one process that run the same stages, each a task of the event loop (tasks.lua).
--
-- A thread is a worker that is a coroutine: it has a chain of its own (chain.lua), so neighbours of a block are called
-- directly in it, and a `ctx` and `ctx.state` of its own. It takes a job, runs it to its end and takes the next; while
-- its handlers wait, others run.
local chain = require "minigun.handlers.chain"
local current = require "minigun.handlers.current"
local errors = require "minigun.base.traceback"
local context = require "minigun.handlers.ctx"
local core = require "minigun.core"
local programs = require "minigun.system.programs"

local threads = {}

local SLICE <const> = 0.0005 -- seconds of a step after which no thread begins a job

local Pool = {}
Pool.__index = Pool

local function raise_late(seconds, what)
  errors.raise_again(errors.timed_out(seconds, what))
end

-- Calls what a stage does with an item in a coroutine that can be closed when its time is over: a thread that waits
-- past it goes on from here with an error. One that computes is ended by the limit, see lua_limit.c; in a worker by the
-- coordinator, which hears of it by `mark`.
local function call_timed(self, thread, state, call, ...)
  local seconds, task, mark = state.stage.timeout, thread.task, self.link.mark
  local co, start, began = coroutine.create(errors.call), core.clock(), core.now()
  local answer = table.pack(call, ...)
  while true do
    local limited = not mark and core.limit(start + seconds, co)
    if not mark and state.loop and state.loop.thread then core.limits(state.loop.thread) end
    if mark then mark(thread, state.stage, began) end
    local got = table.pack(task.loop:enter(task, co, table.unpack(answer, 1, answer.n)))
    if mark then mark(thread) else core.unlimit(limited, co) end
    if coroutine.status(co) == "dead" then
      local ok = got[1] and got[2]
      if not mark and core.clock() >= start + seconds then
        if state.loop then state.loop:abandon() end
        raise_late(seconds, ok and "its thread could not be ended, and has gone on" or "its thread was ended")
      end
      if not got[1] then errors.raise_again(errors.take(got[2], co)) end
      if not ok then errors.raise_again(got[3]) end
      return got[3]
    end
    -- A sleep that should have ended in time did: that others have kept the process is not its fault.
    local due = got[2] == current.WAIT and not task.fd and task.due or math.huge
    task.deadline = math.min(task.deadline or math.huge, start + seconds)
    answer = table.pack(coroutine.yield(table.unpack(got, 2, got.n)))
    task.deadline = nil
    start = start + math.max(0, core.clock() - due)
    if core.clock() >= start + seconds then
      programs.close(co)
      if state.loop then state.loop:abandon() end
      raise_late(seconds, "its thread was ended")
    end
  end
end

-- What a thread's chain calls for each item of a stage: it notes which thread runs.
local function handler_of(self, thread, state)
  local call = state.handler
  return function(...)
    thread.stage = state.stage
    if state.stage.timeout and not state.stage.recipe then return call_timed(self, thread, state, call, ...) end
    return call(...)
  end
end

local function body(self, thread)
  local link = self.link
  return function()
    while true do
      if core.now() - self.loop.began > SLICE then coroutine.yield(current.MORE) end
      local job = link.take(thread)
      if job then
        thread.job, thread.task.origin = job, job.origin
        if job.given_up then thread.chain:reject(job.stage, job.value, job.problem)
        else thread.chain.calls:push(job.stage, job.value, job.attempt) end
        thread.job = nil
        link.done(thread, job)
      else
        self.idle[#self.idle + 1] = thread
        coroutine.yield(current.PARK)
      end
    end
  end
end

local function new_thread(self)
  local link, number, taken = self.link, #self.threads + 1, {}
  for _, each in ipairs(self.threads) do taken[each.number] = true end
  local thread = { index = number, number = link.first }
  while taken[thread.number] do thread.number = thread.number + 1 end
  local port = link.port(thread)
  port.addresses, port.turn, port.now = link.plan.addresses, thread.number - 1, core.now
  port.process, port.returns, port.handlers = self.process, link.returns, link.handlers
  port.context = function(stage, effect)
    local ctx = context.new({ pipeline = link.plan.name, stage = stage.name, pid = self.pid, worker = thread.number },
      link.check and link.check(effect) or effect)
    setmetatable(ctx.state, { __index = self.contexts[stage.id].state })
    return ctx
  end
  port.watch = function(co) self.loop:inner(co) end
  port.wait = coroutine.yield
  thread.chain = chain.new(self.stages, port)
  for _, stage in ipairs(self.stages) do
    thread.chain:set_handler(stage.id, handler_of(self, thread, thread.chain.states[stage.id]))
  end
  thread.task = self.loop:spawn(body(self, thread), link.ran and function(seconds) link.ran(thread, seconds) end)
  self.threads[number] = thread -- now that it is whole
end

--- Closes a thread in the middle of its job, which comes to nothing; another takes its place when there is a job.
---@param thread table
---@return boolean closed false: it runs at present, as it is the caller's
function Pool:replace(thread)
  if coroutine.status(thread.task.co) ~= "suspended" then return false end
  self.loop:cancel(thread.task)
  table.remove(self.threads, thread.index)
  for i = thread.index, #self.threads do self.threads[i].index = i end
  return true
end

--- Makes a thread pool; its threads are made when they are needed.
---@param on table loop
---@param stages table array of the plan's stages
---@param n integer threads
---@param link table
--- what surrounds it: `plan`; `first`, the number of its first thread; `port(thread)`, the port of that thread's chain
--- (see chain.new: `deliver`, `send_to`, `effect`, `failed`); `take(thread)`, the next job `{ stage =, value =,
--- attempt = }` or nil (with `given_up`: it comes to nothing; `problem`: as it cannot be had); `done(thread, job)`,
--- `ran(thread, seconds)`: it ran so long without a wait;
--- `mark(thread, stage, start)`: a handler with a time-out runs, or, without stage, does not; `effect(kind, name,
--- value)` takes what hooks collect; `returns` and `handlers`: see chain.new; `check(effect)`, where there is one,
--- makes what handlers' effects go through
---@return table pool
--- `contexts[stage id]`: what hooks get. What they put into `ctx.state` all threads see; what a handler puts there is
--- its thread's own
function threads.new(on, stages, n, link)
  local self = setmetatable({
    loop = on, stages = stages, n = n, link = link, threads = {}, idle = {}, contexts = {}, pid = core.pid(),
    process = core.process(),
  }, Pool)
  for _, stage in ipairs(stages) do
    self.contexts[stage.id] = context.new({ pipeline = link.plan.name, stage = stage.name, pid = self.pid,
      worker = link.worker }, link.effect)
  end
  return self
end

--- Closes what loop stages have open.
function Pool:close()
  for _, thread in ipairs(self.threads) do
    for _, state in pairs(thread.chain.states) do
      if state.loop then pcall(state.loop.abandon, state.loop) end
    end
  end
end

--- How many threads could begin a job at once.
---@return integer
function Pool:free() return self.n - #self.threads + #self.idle end

--- Lets threads that have nothing to do ask for jobs.
---@param jobs integer how many there are
function Pool:wake(jobs)
  for _ = 1, math.min(jobs, self:free()) do
    local thread = table.remove(self.idle)
    if thread then self.loop:unpark(thread.task) else new_thread(self) end
  end
end

--- Takes what a thread's chain has counted since the last time.
---@param thread table
---@param entry table? the job whose first stage's item was counted when it came in
---@param add function (stage, items in, items out, seconds in the handler, classes of these)
function Pool:count(thread, entry, add)
  for id in pairs(thread.chain.states) do
    local s = thread.chain:counts(id, true)
    local items_in = s.items_in
    if entry and id == entry.stage and entry.attempt == 1 then items_in = items_in - 1 end
    add(self.link.plan.stages[id], items_in, s.items_out, s.busy, s.busy > 0 and s.service:take() or nil)
    s.busy = 0
  end
end

return threads
