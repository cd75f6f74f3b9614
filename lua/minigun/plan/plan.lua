--- The plan: a pipeline's definitions and options as the structure that a run executes.
--
-- Stages that share a context are put into one segment, the unit that workers are forked for. The stages of a group or
-- of a named context are one segment; a stage with a context option of its own is one; all inline stages are one.
-- Two kinds of stage leave the place they stand in: batches are gathered by the coordinator (inline), so that a
-- worker's death cannot take half a batch with it, and only their handler runs in the accumulator's context; a producer
-- in a group of workers gets a child of its own, as each of n workers would produce everything again.
local addresses = require "minigun.plan.addresses"
local defaults = require "minigun.plan.defaults"
local ends = require "minigun.language.ends"
local failure = require "minigun.base.failure"
local graph = require "minigun.language.graph"
local hooks = require "minigun.plan.hooks"
local nesting = require "minigun.language.names"
local options = require "minigun.language.schemas"
local segments = require "minigun.plan.segments"
local stages = require "minigun.language.stage"
local submissions = require "minigun.plan.submissions"
local terms = require "minigun.policy.terms"

local plan = {}

local WAITING <const> = 1000 -- items that may wait before a stage with `rate` or `delay`, where it has no `queue`

local INLINE <const> = { kind = "inline", n = 1 }

-- Kinds of handlers that pass on what they emit, by the method that defines them: the program is warned of one that
-- returns values and never emits (run/silence.lua).
local EMITTING <const> = { producer = true, processor = true, accumulator = true }

--- What a plan asks of the machine; the door (init.lua) fills it in: `cpus()`, and `sow(plan, seed)`, which gives each
--- handler its sequence of random numbers.
plan.machine = { cpus = function() return 1 end, sow = nil }

local function cpus() return plan.machine.cpus() end

--- The context that a stage's handler runs in: names resolved, exceptions applied.
---@param node table of the graph
---@return table? context
--- `{ kind =, n =, ordered =, name = }`, the same table for all that share workers; nil: it names one that is not there
---@return string? name of that one
---@return table? definition that names it
function plan.context_of(node)
  local definition = node.definition
  local context, unknown, by = nesting.context(node)
  local gathers_only = definition.kind == "accumulator" and not (definition.handler or definition.method)
  if unknown then return nil, unknown, by end
  if not context or context.kind == "inline" or gathers_only then return INLINE end
  if definition.kind ~= "producer" then return context end
  local on_loop = context.kind == "threads" and not context.host
  return { kind = on_loop and "threads" or "processes", n = on_loop and context.n or 1, name = context.name }
end

-- What the run itself says: everything in the coordinator, or so many workers.
local function as_the_run_says(b, node, context)
  if b.given.inline then return INLINE end
  local workers, process = b.result.options.workers, context.host or context
  if workers and node.kind ~= "producer" and (process.kind == "processes" or process.kind == "process_per_batch") then
    process.n = workers
  end
  return context
end

-- Hosts of a cluster take single items, in no order, and know nothing of one another.
local function refuse_in_cluster(node)
  local own = node.definition
  local what = own.kind == "reduce" and "a reduce" or own.loop and "a stage that loops over its input" or
    own.partition and "a stage with option 'partition'"
  if not what then return end
  failure.raise(("stage '%s': %s cannot run in a cluster; say where it runs on this machine: processes = n, or " ..
    "inline = true"):format(node.name, what), own.at)
end

local function resolve_context(b, node)
  local context, name, by = plan.context_of(node)
  local own, around = node.definition.context, nesting.around(node)
  if own and own.lone and around and around.kind ~= "inline" then
    failure.raise(("stage '%s': option 'ordered' belongs to the pipeline around it, which says where it runs; " ..
      "give it to that"):format(node.name), node.definition.at)
  end
  if context and context.host and context.ordered then
    failure.raise(("stage '%s': threads in a pipeline that is nested in workers: option 'ordered' belongs to these " ..
      "workers"):format(node.name), node.definition.at)
  end
  context = context and as_the_run_says(b, node, context)
  if context and context.kind == "cluster" then refuse_in_cluster(node) end
  if context then return context end
  local names, where = {}, node.parent
  while where do
    for other in pairs(where.pipeline.contexts) do names[#names + 1] = other end
    where = where.parent
  end
  table.sort(names)
  failure.raise(("stage '%s': there is no context '%s'%s; p:context(name, options) makes one, " ..
    "processes = n, threads = n and process_per_batch = n need none"):format(node.name, name,
      options.hint(name, names)), by.at)
end

local function new_stage(node, kind, handler)
  local definition = node.definition
  return {
    name = node.name, at = definition.at, kind = kind, label = definition.label, handler = handler,
    direct = stages.direct[handler], source = definition.source,
    retries = 0, backoff = 0, outputs = {}, inputs = {}, route = node.route ~= "broadcast" and node.route or nil,
    emitting = handler and EMITTING[definition.label] and not definition.source and definition.label or nil,
    iterator = definition.iterator, shows = definition.shows, submits = definition.submits,
    by_parts = definition.by_parts,
  }
end

local function set_item_options(b, node, stage, ordered)
  if node.kind == "producer" then return end
  stage.ordered = ordered -- inline: it waits for its item's next attempt
  stage.retries = defaults.option(node, "retries", b.given) or 0
  stage.backoff = defaults.option(node, "backoff", b.given) or 0
  stage.timeout = defaults.option(node, "timeout", b.given) or nil
end

local function queue_of(b, node)
  return node.kind ~= "producer" and defaults.option(node, "queue", b.given) or nil
end

-- Whether a stage that runs in the coordinator is to keep its items in order, as its context says.
local function is_ordered(node, context)
  local said = nesting.context(node) or INLINE
  return context.kind == "inline" and (said.host or said).ordered
end

-- Adds the stages of a reduce: one where it runs inline, else three. Batches are gathered, each becomes a part in its
-- context, and parts are combined. Threads are no faster at that than the process that they are in: there it runs.
local function add_reduce(b, node, f, context, add, link)
  local ordered = is_ordered(node, context)
  if context.kind == "threads" then context = context.host or INLINE end
  local definition, forked = node.definition, context.kind ~= "inline"
  local recipe = require("minigun.policy.reduce").new(definition, f)
  local gather = forked and add(new_stage(node, "accumulator"), INLINE)
  local worker = forked and add(new_stage(node, "processor"), context)
  local last = add(new_stage(node, "processor"), INLINE)
  last.reduces = { recipe = recipe, parts = forked, at_drain = node.await == false, workers = context.n or cpus() }
  for _, stage in ipairs { last, gather or nil, worker or nil } do stage.dead_letter = definition.dead_letter end
  set_item_options(b, node, worker or last, ordered)
  local first = gather or last
  first.queue, first.await = queue_of(b, node), node.await
  if not forked then return last, last, last end
  gather.batch = { max_size = 1, numbered = true }
  worker.recipe, worker.gathers, worker.queue = recipe, gather.id, terms.most_of(last.reduces.workers)
  link(gather, worker)
  link(worker, last)
  return gather, last, worker
end

-- Adds the stage or, for an accumulator with a handler and for a partitioned pool, the two stages of a node. Returns
-- the first, the last, and the one that runs the handler.
local function add_stages(b, node)
  local definition, context = node.definition, resolve_context(b, node)
  local handler = definition.method and stages.bound(definition, nesting.object(node)) or definition.handler
  b.result.threaded = b.result.threaded or context.kind == "threads" and not context.host
  local ordered = is_ordered(node, context)
  local function add(stage, where)
    stage.id = #b.result.stages + 1
    b.result.stages[stage.id], b.contexts[stage.id], b.nodes[stage.id] = stage, where, node
    return stage
  end
  local function link(before, stage) -- an internal stage of the coordinator, and the user's after it
    before.outputs[1], stage.inputs[1], stage.continues, before.route = stage.id, before.id, before.id, nil
    before.await = node.await
    return before, stage, stage
  end
  if definition.kind == "reduce" then return add_reduce(b, node, handler, context, add, link) end
  if definition.kind ~= "accumulator" then
    local gate = (definition.options.rate or definition.options.delay) and add(new_stage(node, "processor"), INLINE)
    local lanes = definition.partition and add(new_stage(node, "processor"), INLINE)
    local on_loop = definition.kind == "producer" and context.kind == "threads"
    local stage = add(new_stage(node, definition.kind, handler), on_loop and INLINE or context)
    stage.threaded = on_loop or nil
    set_item_options(b, node, stage, ordered)
    stage.queue, stage.dead_letter, stage.loop = queue_of(b, node), definition.dead_letter, definition.loop
    local first = lanes or stage
    if lanes then
      stage.by_key = context.kind ~= "inline" and definition.partition or nil
      lanes.partition, lanes.dead_letter = definition.partition, definition.dead_letter
      link(lanes, stage)
    end
    if gate then
      gate.gate = { rate = definition.options.rate, delay = definition.options.delay }
      gate.queue = stage.queue or WAITING
      link(gate, first)
      first.await, first = nil, gate
    end
    first.await = node.await
    return first, stage, stage
  end
  local gather = add(new_stage(node, "accumulator"), INLINE)
  local batch = definition.batch
  gather.batch = { max_size = batch.max_size, max_wait = batch.max_wait, by = batch.by, at = definition.at }
  gather.queue, gather.await, gather.dead_letter = queue_of(b, node), node.await, definition.dead_letter
  if not handler then return gather, gather, gather end
  local worker = add(new_stage(node, "processor", handler), context)
  worker.gathers, worker.dead_letter = gather.id, definition.dead_letter
  set_item_options(b, node, worker, ordered)
  return link(gather, worker)
end

local function build_stages(b)
  local g, result = b.g, b.result
  for _, i in ipairs(g.order) do
    local node = g.nodes[i]
    b.entry[node], b.exit[node], b.runs[node] = add_stages(b, node)
    result.by_name[node.name] = b.entry[node]
  end
  if #result.stages > options.MAX_STAGES then
    failure.raise(("pipeline '%s': it has %d stages, with those of nested pipelines and those inside batches and " ..
      "partitions; %d are possible"):format(result.name, #result.stages, options.MAX_STAGES))
  end
  local function entry(i) return b.entry[g.nodes[i]].id end
  local function exit(i) return b.exit[g.nodes[i]].id end
  for _, i in ipairs(g.order) do
    local node = g.nodes[i]
    local first, last = b.entry[node], b.exit[node]
    for _, target in ipairs(g.outputs[i]) do table.insert(last.outputs, entry(target)) end
    for _, source in ipairs(g.inputs[i]) do table.insert(first.inputs, exit(source)) end
    if last.route then
      last.groups = {}
      for k, group in ipairs(node.groups) do
        last.groups[k] = { name = group.name }
        for n, target in ipairs(group) do last.groups[k][n] = entry(target) end
      end
    end
  end
  for _, stage in ipairs(result.stages) do stage.terminal = #stage.outputs == 0 end
end

-- The ids of the stages that receive what is sent to a node; none where it is a producer or does not wait for anything.
local function receivers(b, node)
  local ids = {}
  for _, each in ipairs(node and ends.entries(node) or {}) do
    local stage = b.entry[each]
    if stage.kind ~= "producer" and stage.await ~= false then ids[#ids + 1] = stage.id end
  end
  return ids
end

-- What names mean: to `emit:to`, once for all stages of a pipeline, and as answers of a route.
local function build_names(b)
  local tree, result, of = b.g.tree, b.result, {}
  local function ids(node) return receivers(b, node) end
  for id, stage in ipairs(result.stages) do
    local node = b.nodes[id]
    of[node.parent] = of[node.parent] or addresses.new(tree, node.parent, ids)
    result.addresses[id] = of[node.parent]
    if stage.groups then stage.answers = addresses.answers(tree, node.routed_by.parent, stage, ids) end
  end
end

local function check_dead_letter(b, where, subject, name, at)
  local tree = b.g.tree
  local node, choices = nesting.find(tree, where, name)
  local ids = receivers(b, node)
  if #ids == 1 then return ids[1] end
  local why = "which receives no items"
  if #ids > 1 then why = "a pipeline with several entry stages; name one stage"
  elseif choices then why = nesting.hint(tree, where, name, choices):sub(3)
  elseif not node then
    why = "a stage that there is not" .. options.hint(name, nesting.names(tree, where, function(each)
      return #receivers(b, each) == 1
    end))
  end
  failure.raise(("%s: option 'dead_letter' names '%s', %s"):format(subject, name, why), at)
end

-- The stages to which an item that arrives at `id` may come, by edges and as dead letters.
local function stages_after(result, id, seen)
  if seen[id] then return seen end
  seen[id] = true
  local stage = result.stages[id]
  for _, target in ipairs(stage.outputs) do stages_after(result, target, seen) end
  if math.type(stage.dead_letter) == "integer" then stages_after(result, stage.dead_letter, seen) end
  return seen
end

-- Resolves the names of `dead_letter`. A dead letter that fails must not come back to where it came from: a stage that
-- asks for that is refused, and the run's option is not for the stages after the one that it names.
local function build_dead_letters(b)
  local result = b.result
  for id, stage in ipairs(result.stages) do
    if type(stage.dead_letter) == "string" then
      local name, subject = stage.dead_letter, ("stage '%s'"):format(stage.name)
      stage.dead_letter = check_dead_letter(b, b.nodes[id].parent, subject, name, stage.at)
      if stages_after(result, stage.dead_letter, {})[stage.id] then
        failure.raise(("%s: option 'dead_letter' names '%s', whose items come to it: a dead letter that fails would " ..
          "come back for ever; name another stage, or a spool"):format(subject, name), stage.at)
      end
    end
  end
  local default, exempt = result.options.dead_letter, {}
  if type(default) == "string" then
    default = check_dead_letter(b, b.g.tree.root, ("pipeline '%s'"):format(result.name), default)
    exempt = stages_after(result, default, {})
  end
  for id, stage in ipairs(result.stages) do
    if stage.dead_letter == nil and not exempt[id] then stage.dead_letter = default end
  end
end

-- Whether what has failed in a stage is wanted as it came: to be tried again, or by a part of the program that looks at
-- failures.
local function build_keeps(b)
  local result = b.result
  for id, stage in ipairs(result.stages) do
    local keeps = stage.retries > 0 or stage.dead_letter or result.options.failures == "collect"
    for _, hook in ipairs(result.hooks.on_failure) do keeps = keeps or not hook.stages or hook.stages[id] end
    stage.keeps_item = keeps and not stage.reduces or nil
  end
end

-- A run whose jobs have a name has a journal, too.
local function journal_of(own)
  if own.journal or not own.job then return own.journal end
  local _, journal = options.types.journal.check(own.job .. ".journal", "run", "job")
  return journal
end

--- Builds the plan of one run. The pipeline is not changed and can be planned again.
---@param pipeline table
---@param run_options table? options of the run; they override the pipeline's
---@param standing "value"|"lists"|nil
--- its items are submitted: at most one value comes of each, or it has a list of them
---@return table plan
--- `name`, `options`, `stages` (by id, in a stable topological order; those of nested pipelines are called
--- "outer.inner"), `by_name`, `segments`, `hooks`, `addresses` (by id of a stage: what names mean to its `emit:to`);
--- raises at the line of the mistake where the definition cannot run
function plan.build(pipeline, run_options, standing)
  local schema = options.schemas.run
  local checked = options.check(schema, run_options, "run")
  for name, value in next, defaults.forced do checked[name] = value end
  local g = graph.build(standing and submissions.add(pipeline, standing) or pipeline.stages, pipeline)
  local problem = g.problems[1]
  if problem then
    failure.raise(("pipeline '%s': %s"):format(pipeline.name, problem.message), problem.at)
  end
  local result = {
    name = pipeline.name,
    options = options.fill(schema, checked, pipeline.options),
    stages = {}, by_name = {}, segments = {}, hooks = {}, addresses = {}, standing = standing,
  }
  -- By id of a stage: its context and its node; by node: its first and its last stage, and the one that runs the
  -- handler. `given`: the run's own options. `has`: hooks of each list. `hook_of`: the definition of an entry in one.
  local b = { g = g, result = result, given = checked, contexts = {}, nodes = {}, entry = {}, exit = {}, runs = {},
    has = {}, hook_of = {} }
  build_stages(b)
  build_names(b)
  segments.build(b, cpus)
  hooks.build(b)
  build_dead_letters(b)
  if not standing then result.options.journal = journal_of(result.options) end
  if result.options.seed then plan.machine.sow(result, result.options.seed) end
  build_keeps(b)
  return result
end

return plan
