--- The worker: what runs in a child process, from the fork to its end.
--
-- It takes chunks from its slot, runs them through the stages of its segment, and reports. It decides nothing: whether
-- a failed item is tried again is the coordinator's business.
local chain = require "minigun.handlers.chain"
local context = require "minigun.handlers.ctx"
local core = require "minigun.core"
local current = require "minigun.handlers.current"
local emits = require "minigun.handlers.emit"
local errors = require "minigun.base.traceback"
local failure = require "minigun.base.failure"
local folding = require "minigun.child.folds"
local replies = require "minigun.child.replies"
local report = require "minigun.base.protocol"
local router = require "minigun.policy.route"
local stack = require "minigun.base.stack"
local terminal_line = require "minigun.base.terminal_line"

local worker = {}

-- KiB that a child may allocate before its collector looks at the heap it shares with the coordinator: as much as that
-- heap has, between these. The collector marks every object it visits and so copies every page of it, and memory that
-- was never used before costs as much as a copied page.
local LEAST_ALLOWANCE <const>, MOST_ALLOWANCE <const> = 1 * 1024, 64 * 1024

-- os.exit in a handler: ends the worker without closing what it shares with the coordinator. Some C libraries
-- seek at exit in files that both have open: the coordinator would read lines twice.
local function exit(code)
  core.exit(code == nil and 0 or code == true and 0 or code == false and 1 or code)
end

-- os.execute and io.popen in a handler: what they start is of the worker's process group, which the coordinator kills
-- after it; where the coordinator has died as well, the keeper does (src/core/keeper.h).
local function kept(start)
  return function(...)
    core.keep_group()
    return start(...)
  end
end

-- Sets the limits of a worker. Returns false where one cannot be had: that ends the run, as a hook that raises does.
local function restrict(w, job)
  local segment = job.segment
  local options = segment.worker or {}
  local cpu = options.affinity and math.max(segment.n, job.number) <= core.cpus() and job.number or nil
  local ok, message = core.restrict(options.memory_limit, options.nice, cpu)
  if ok then return true end
  w:send(report.EDGE, { report.HOOK, "limits of workers", job.plan.stages[segment.stages[1]].at, message, "" })
  w:publish()
  return false
end

-- Keeps the collector away from the heap until the allowance is used up, and sees to its pace after that: what piled
-- up until then would count as in use, and the next cycle wait for twice as much. Returns what is to be called between
-- chunks.
local function deferred_collector()
  local last = collectgarbage "count"
  if not last then return function() end end -- the run is a finalizer's: no collector runs
  local allowance = math.min(math.max(last // 1 | 0, LEAST_ALLOWANCE), MOST_ALLOWANCE)
  local most = last + allowance
  core.defer_collector(allowance)
  return function()
    if not last then return end
    local now = collectgarbage "count"
    if now >= last and now < most then
      last = now
    else
      last = nil
      core.collect()
    end
  end
end

local function make_context(w, job, stage)
  return context.new({
    pipeline = job.plan.name, stage = stage and stage.name, pid = job.pid, worker = job.number,
  }, replies.sender(w))
end

-- A failed item. `index`: its place in the chunk, where it came in one; `item`: itself, where it was made in this
-- worker.
local function report_failure(w, stage, caught, attempt, extra)
  local fields = replies.failed(caught, { attempt = attempt, step = w:step() })
  if extra.index then fields.refused = w:left_out() end
  for key, value in pairs(extra) do fields[key] = value end
  replies.report(w.send, w, report.FAILED, stage, fields)
end

-- What was emitted and cannot go where it should: a failure of its own. The stage goes on.
local function report_lost(w, stage, fields)
  replies.report(w.send, w, report.LOST, stage, fields)
end

-- `contexts`: of the stages, for hooks that are for one of them.
local function run_hooks(w, hooks, ctx, contexts)
  for _, hook in ipairs(hooks) do
    local ok, caught = errors.call(hook.f, contexts and hook.stage and contexts[hook.stage] or ctx)
    if not ok then
      w:send(report.EDGE, { report.HOOK, hook.name, hook.at, caught.message, caught.traceback or "" })
      w:publish()
      return false
    end
  end
  return true
end

-- Emitters for single stages, made when they are first needed.
local function direct_emitters(w)
  return setmetatable({}, { __index = function(all, id)
    all[id] = w:emitter(report.TO | id)
    return all[id]
  end })
end

-- The emit of a stage whose items do not go to all of its targets. `lost` hears of an item for which none is found,
-- instead of an error.
local function routed_emit(w, emit, choose, lost, skip)
  local direct = direct_emitters(w)
  local function targets(item)
    if not lost then return choose(item) end
    local ok, ids = errors.call(choose, item)
    return ok and ids or not (skip and skip(item)) and lost(item, ids) or {}
  end
  return emits.new(function(_, item, more)
    if item == nil or more ~= nil then return emit(item, more) end -- which refuses it
    for _, id in ipairs(targets(item)) do
      if not (skip and skip(item)) then direct[id](item) end
    end
  end, function(name, item) emit:to(name, item) end)
end

-- The emit of a producer that has acknowledged items to skip; each item that a stage is sent counts, see
-- policy/sources.lua.
local function skipping_emit(w, emit, skip, addresses)
  local direct = direct_emitters(w)
  return emits.new(function(_, item, more)
    if item == nil or more ~= nil or not skip(item) then return emit(item, more) end
  end, function(name, item)
    for _, id in ipairs(router.resolve(addresses, name, item, 3)) do
      if not skip(item) then direct[id](item) end
    end
  end)
end

-- What tells a producer's emit which items are to be skipped. What is wrong with them ends the run. (What this needs a
-- run with a journal has loaded.)
local function skipper(w, job, stage)
  local source, numbered, marks = job.source, require "minigun.policy.sources", require "minigun.child.marks"
  return function(item)
    local skip, problem = numbered.skips(source, item, marks.of_new)
    if problem then
      w:send(report.EDGE, { report.RESUMED, stage.id, source.skipped, problem })
      w:publish()
      error(problem, 0)
    end
    return skip
  end
end

-- What w:run has raised, as data.
local function taken(err, unreadable)
  local caught = errors.take(err)
  return unreadable and not caught.no_memory and errors.unreadable(caught.message, nil, unreadable == "malformed")
    or caught
end

-- Tells of items of a batch that cannot be had.
local function tell_left_out(w, stage, list)
  for _, refused in ipairs(list) do report_lost(w, stage, replies.left_out(refused)) end
end

-- One stage alone: its handler is called straight from the loop in C, and emits straight into the open block.
local function run_single(w, job, stage, ctx)
  local handler = job.handlers[stage.id] or stage.handler
  if stage.loop then
    local own = require("minigun.handlers.loop_stage").new(handler, {}, job.segment.items_per_worker == 1)
    handler = function(...) return own:take(...) end
  end
  local emit = w:emitter(stage.id, job.plan.addresses[stage.id])
  local choose = stage.route and router.new(stage, job.turn)
  local lost, skip
  if stage.kind == "producer" then -- what fails is an item, not the producer
    w:on_refused(function(value, message)
      report_lost(w, stage, replies.refused(value, failure.where() or stage.at, message, stage.source))
    end)
    function lost(item, caught) report_lost(w, stage, errors.fields(caught, { attempt = 1, item = item })) end
    context.on_lost(ctx, function(...) tell_left_out(w, stage, { { ... } }) end)
  else
    w:on_refused(function(_, message) replies.refuse(message, "", stage.at) end)
  end
  w:on_left_out(function(list) tell_left_out(w, stage, list) end, not stage.recipe)
  if job.source and job.source.ranges[1] then
    skip = skipper(w, job, stage)
    emit = skipping_emit(w, emit, skip, job.plan.addresses[stage.id])
  end
  if choose then emit = routed_emit(w, emit, choose, lost, skip) end
  return function(attempt, value)
    ctx.attempt = attempt
    while true do
      local done, err, index, unreadable = w:run(handler, emit, ctx, errors.note, value)
      if done and err then job.returns[stage.id] = true end
      if done and skip then
        w:send(report.EDGE, { report.RESUMED, stage.id, job.source.skipped,
          not w:stopped() and require("minigun.policy.sources").too_short(job.source, job.source.seen) or nil })
      end
      if done or w:stopped() then return end
      report_failure(w, stage, taken(err, unreadable), attempt,
        { index = index, partial = stage.kind == "producer" or nil })
      w:commit()
      if job.inherited or stage.kind == "producer" then return end
    end
  end
end

-- A stage of a chain has failed at an item.
local function chain_failed(w, job, folds, stage, item, caught, how)
  local extra, fold = { partial = how.partial, item = item, place = w:index() }, folds.of[stage.id]
  if fold then
    extra.folded, stage = true, fold.stage
  elseif stage.id == job.entry then
    extra = { partial = how.partial, index = w:index() }
  end
  if job.segment.ordered then folds:send() end
  report_failure(w, stage, caught, how.attempt, extra)
end

-- The chain of several stages.
local function chain_of(w, job, stages, contexts, folds, direct)
  local emitters = {}
  for _, stage in ipairs(stages) do emitters[stage.id] = w:emitter(stage.id) end
  w:on_left_out(function(list) tell_left_out(w, job.plan.stages[job.entry], list) end)
  return chain.new(stages, {
    turn = job.turn, addresses = job.plan.addresses, out = emitters,
    send_to = function(_, id, item) direct[id](item) end,
    effect = replies.sender(w, job.segment.stages[1]),
    failed = function(...) chain_failed(w, job, folds, ...) end,
    context = function(stage, effect)
      local ctx = contexts[stage.id]
      if not ctx then return {} end -- of a fold
      contexts[stage.id] = context.new({
        pipeline = ctx.pipeline, stage = ctx.stage, pid = ctx.pid, worker = ctx.worker,
      }, replies.checker(effect))
      contexts[stage.id].state = ctx.state
      return contexts[stage.id]
    end,
    process = job.process, returns = job.returns, handlers = job.handlers,
    now = core.now,
  })
end

-- Reports what the stages of a chain have counted.
local function tell_stats(w, links, folds)
  local stats = { report.STATS }
  for id in pairs(links.states) do
    local s = links:counts(id, true)
    stats[#stats + 1] = { id, s.items_in - folds:sent(id), s.items_out, s.busy, s.busy > 0 and s.service:take() or nil }
    s.busy = 0
  end
  w:send(report.EDGE, stats)
end

-- What takes an item through the chain, and then tells the loops in it that their stream has ended, as each item is a
-- stream of its own.
local function with_ends(links, job, looping)
  for _, id in ipairs(looping) do links.states[id].loop.once = id == job.entry end
  return function(item)
    links.calls:take(job.entry, item)
    for _, id in ipairs(looping) do links:end_loop(id) end
  end
end

-- Several stages: each item is pushed through a chain, whose failures do not end the call.
local function run_chain(w, job, stages, contexts)
  local direct, looping = direct_emitters(w), {}
  local folds = folding.new(w, job, direct)
  local links = chain_of(w, job, table.move(folds.stages, 1, #folds.stages, #stages + 1, { table.unpack(stages) }),
    contexts, folds, direct)
  folds:join(links)
  for _, stage in ipairs(stages) do -- whose stream ends with that of the process
    if stage.loop and job.segment.items_per_worker == 1 then looping[#looping + 1] = stage.id end
  end
  w:on_refused(function(value, message)
    local sender = job.plan.stages[links.calls:sender()]
    report_lost(w, sender, replies.refused(value, sender.at, message, sender.source))
  end)
  return function(attempt, value)
    local handler = (looping[1] or job.inherited) and with_ends(links, job, looping) or links.calls
    folds:begin(job.kind, job.plan.stages[job.entry])
    while true do
      links:begin(job.entry, attempt)
      local done, err, index, unreadable = w:run(handler, nil, nil, errors.note, value)
      if done then break end
      report_failure(w, job.plan.stages[job.entry], taken(err, unreadable), attempt, { index = index })
      w:commit()
      if job.inherited then break end
    end
    folds:send()
    tell_stats(w, links, folds)
  end
end

-- Takes chunk after chunk through the stages.
local function run_chunks(w, job, runs)
  local look_at_heap = job.look_at_heap
  while true do
    local entry, _, attempt, kind = w:next()
    if not entry then break end
    job.entry, job.kind, job.inherited = entry, kind, kind == "inherited"
    runs(attempt, job.value)
    w:end_chunk()
    look_at_heap()
  end
end

--- Runs in the child until there is no more work.
---@param w userdata the slot's worker
---@param job table
--- `plan`, `segment`, `number` (of the worker in its segment, from 1), `turn` (how many workers were forked before it);
--- `source`: of a producer, in a run with a journal; `pid` is filled in;
--- `value`, `inherited`: the one item of a fork per batch, when it came with the fork
---@return integer code for the process to leave with
function worker.main(w, job)
  local segment = job.segment
  local stages = {}
  job.returns, job.handlers = {}, {} -- stages whose handlers have returned values; what stands for handlers of stages
  for i, id in ipairs(segment.stages) do
    local stage = job.plan.stages[id]
    stages[i] = stage
    if stage.recipe and not segment.groups then
      job.handlers[id] = stage.recipe:handler(w:stepper(), core.now)
    elseif stage.by_parts then
      job.handlers[id] = stage.by_parts(w:stepper())
    end
  end
  job.pid, job.process = core.pid(), core.process()
  math.randomseed(core.random())
  current.forget()
  terminal_line.forbid()
  os.exit, os.execute, io.popen = exit, kept(os.execute), kept(io.popen) -- luacheck: ignore 122
  core.heap_keep()
  job.look_at_heap = deferred_collector()

  local threads = segment.groups and require("minigun.child.threads").new(w, job, replies.sender(w))
  local contexts, runs = threads and threads.contexts or {}, nil -- runs: what takes a chunk through the stages
  for _, stage in ipairs(stages) do contexts[stage.id] = contexts[stage.id] or make_context(w, job, stage) end
  local own = #stages == 1 and contexts[stages[1].id] or make_context(w, job)
  if #stages == 1 and not threads then
    runs = run_single(w, job, stages[1], own)
  elseif not threads then
    runs = run_chain(w, job, stages, contexts)
  end
  if not restrict(w, job) then return 1 end
  if not run_hooks(w, segment.hooks.after_fork, own, contexts) then return 1 end
  for _, stage in ipairs(stages) do
    if not run_hooks(w, stage.hooks.before, contexts[stage.id]) then return 1 end
  end
  if segment.worker and (segment.worker.max_age or segment.worker.max_memory) then
    w:send(report.EDGE, { report.READY })
    w:publish()
  end
  if threads then threads:run() else run_chunks(w, job, runs) end
  for _, stage in ipairs(stages) do
    if job.returns[stage.id] and stage.emitting then w:send(report.EDGE, { report.RETURNED, stage.id }) end
  end
  for _, stage in ipairs(stages) do
    if not run_hooks(w, stage.hooks.after, contexts[stage.id]) then return 1 end
  end
  if not run_hooks(w, segment.hooks.before_exit, own, contexts) then return 1 end
  w:publish()
  return 0
end
stack.outermost(worker.main)

return worker
