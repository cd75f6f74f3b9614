--- The plan: a pipeline's definitions and options as the structure that the runner executes.
--
-- Stages that share a context are put into one segment, the unit that workers are forked for. The stages of a block or
-- of a named context are one segment; a stage with a context option of its own is one; all inline stages are one.
-- Two kinds of stage leave the place they stand in: batches are gathered by the coordinator (inline), so that a
-- worker's death cannot take half a batch with it, and only their handler runs in the accumulator's context; a producer
-- in a block of workers gets a child of its own, as each of n workers would produce everything again.
local failure = require "minigun.failure"
local graph = require "minigun.graph"
local options = require "minigun.options"
local router = require "minigun.router"
local stages = require "minigun.stage"

local plan = {}

local run_hooks = { "before_run", "after_run", "after_producer", "on_failure", "on_worker_exit" }

local INLINE <const> = { kind = "inline", n = 1 }

local function cpus()
  return require("minigun.core").cpus()
end

-- The context that a definition names or stands in; nil: there is none of that name.
local function named_context(pipeline, definition)
  local context = definition.context or INLINE
  if context.name and not context.kind then return pipeline.contexts[context.name] end
  return context
end

--- The context that a definition's handler runs in: names resolved, exceptions applied.
---@param pipeline table
---@param definition table
---@return table? context
--- `{ kind =, n =, ordered =, name = }`, the same table for all that share workers; nil: no such name
function plan.context_of(pipeline, definition)
  local context = named_context(pipeline, definition)
  local gathers_only = definition.kind == "accumulator" and not (definition.handler or definition.method)
  if not context or context.kind == "inline" or gathers_only then return context and INLINE end
  if definition.kind == "producer" then return { kind = "processes", n = 1, name = context.name } end
  return context
end

local function resolve_context(pipeline, definition)
  local context = plan.context_of(pipeline, definition)
  if context then return context end
  local names = {}
  for name in pairs(pipeline.contexts) do names[#names + 1] = name end
  table.sort(names)
  local name = definition.context.name
  failure.raise(("stage '%s': there is no context '%s'%s"):format(definition.name, name, options.hint(name, names)),
    definition.at)
end

local function new_stage(definition, kind, handler)
  return {
    name = definition.name, at = definition.at, kind = kind, handler = handler, source = definition.source,
    retries = 0, backoff = 0, outputs = {}, inputs = {}, route = definition.route,
  }
end

local function set_item_options(stage, definition, ordered)
  stage.ordered = ordered -- inline: it waits for its item's next attempt
  stage.retries, stage.backoff, stage.timeout = definition.retries, definition.backoff, definition.timeout
end

-- Adds the stage or, for an accumulator with a handler and for a partitioned pool, the two stages of a definition.
local function add_stages(result, pipeline, definition, contexts)
  local context = resolve_context(pipeline, definition)
  local handler = definition.method and stages.bound(definition, pipeline.object) or definition.handler
  local ordered = context.kind == "inline" and named_context(pipeline, definition).ordered
  local function add(stage, where)
    stage.id = #result.stages + 1
    result.stages[stage.id] = stage
    contexts[stage.id] = where
    return stage
  end
  local function link(before, stage) -- an internal stage of the coordinator, and the user's behind it
    before.outputs[1], stage.inputs[1], stage.behind, before.route = stage.id, before.id, before.id, nil
    before.await = definition.await
    return before, stage
  end
  if definition.kind ~= "accumulator" then
    local by_key = definition.partition and context.kind == "processes"
    local lanes = by_key and add(new_stage(definition, "processor"), INLINE)
    local stage = add(new_stage(definition, definition.kind, handler), context)
    set_item_options(stage, definition, ordered)
    stage.queue, stage.dead_letter, stage.loop = definition.queue, definition.dead_letter, definition.loop
    if lanes then
      lanes.partition, lanes.dead_letter = definition.partition, definition.dead_letter
      return link(lanes, stage)
    end
    stage.await = definition.await
    return stage, stage
  end
  local gather = add(new_stage(definition, "accumulator"), INLINE)
  local batch = definition.batch
  gather.batch = { max_size = batch.max_size, max_wait = batch.max_wait, by = batch.by }
  gather.queue, gather.await, gather.dead_letter = definition.queue, definition.await, definition.dead_letter
  if not handler then return gather, gather end
  local worker = add(new_stage(definition, "processor", handler), context)
  worker.gathers, worker.dead_letter = gather.id, definition.dead_letter
  set_item_options(worker, definition, ordered)
  return link(gather, worker)
end

local function build_stages(pipeline, result, g)
  local contexts, entry, exit = {}, {}, {}
  for _, i in ipairs(g.order) do
    local definition = g.definitions[i]
    entry[i], exit[i] = add_stages(result, pipeline, definition, contexts)
    result.by_name[definition.name] = entry[i]
  end
  for _, i in ipairs(g.order) do
    for _, target in ipairs(g.outputs[i]) do table.insert(exit[i].outputs, entry[target].id) end
    for _, source in ipairs(g.inputs[i]) do table.insert(entry[i].inputs, exit[source].id) end
  end
  for _, stage in ipairs(result.stages) do stage.terminal = #stage.outputs == 0 end
  return contexts, exit
end

local function new_segment(id, context)
  local n = context.kind == "inline" and 1 or context.n or cpus()
  local text = stages.context_text { kind = context.kind, n = n, ordered = context.ordered }
  return {
    id = id, kind = context.kind, n = n, ordered = context.ordered, stages = {},
    context = context.name and ("%s: %s"):format(context.name, text) or text,
    hooks = { before_fork = {}, after_fork = {}, before_exit = {} },
  }
end

local function build_segments(result, contexts)
  local by_context = {}
  for _, stage in ipairs(result.stages) do
    local context = contexts[stage.id]
    local segment = by_context[context]
    if not segment then
      segment = new_segment(#result.segments + 1, context)
      by_context[context] = segment
      result.segments[segment.id] = segment
    end
    stage.segment = segment.id
    table.insert(segment.stages, stage.id)
  end
end

local function unknown_stage(pipeline, hook)
  local names = {}
  for i, definition in ipairs(pipeline.stages) do names[i] = definition.name end
  failure.raise(("hook %s: there is no stage '%s'%s"):format(hook.name, hook.stage, options.hint(hook.stage, names)),
    hook.at)
end

-- Two passes over the hooks in order of definition: pipeline-wide ones come before a stage's own. `handlers`: name ->
-- the stage that runs the handler of the definition of that name.
local function build_hooks(pipeline, result, handlers)
  for _, name in ipairs(run_hooks) do result.hooks[name] = {} end
  for _, stage in ipairs(result.stages) do
    stage.hooks = {}
    for _, name in ipairs(stages.hook_names) do stage.hooks[name] = {} end
  end
  local own = {}
  for _, hook in ipairs(pipeline.hooks) do
    local entry = { f = hook.f, at = hook.at, name = hook.name }
    if hook.stage then
      own[#own + 1] = { entry = entry, stage = handlers[hook.stage] or unknown_stage(pipeline, hook) }
    elseif result.hooks[hook.name] then
      table.insert(result.hooks[hook.name], entry)
    else
      for _, stage in ipairs(result.stages) do table.insert(stage.hooks[hook.name], entry) end
      for _, segment in ipairs(result.segments) do table.insert(segment.hooks[hook.name], entry) end
    end
  end
  for _, hook in ipairs(own) do
    local name = hook.entry.name
    table.insert(hook.stage.hooks[name], hook.entry)
    local of_segment = result.segments[hook.stage.segment].hooks[name]
    if of_segment then table.insert(of_segment, hook.entry) end
  end
end

local function check_dead_letter(result, subject, name, at)
  local target = result.by_name[name]
  if not target or target.kind == "producer" or target.await == false then
    local names = {}
    for other in pairs(router.addresses(result)) do names[#names + 1] = other end
    table.sort(names)
    failure.raise(("%s: option 'dead_letter' names '%s', %s"):format(subject, name, target
      and "which receives no items" or "a stage that there is not" .. options.hint(name, names)), at)
  end
  return target.id
end

-- The stages that what arrives at `id` may come to, by edges and as dead letters.
local function behind(result, id, seen)
  if seen[id] then return seen end
  seen[id] = true
  local stage = result.stages[id]
  for _, target in ipairs(stage.outputs) do behind(result, target, seen) end
  if math.type(stage.dead_letter) == "integer" then behind(result, stage.dead_letter, seen) end
  return seen
end

-- Resolves the names of `dead_letter`. A dead letter that fails must not come back to where it came from: a stage that
-- asks for that is refused, and the run's option is not for the stages behind the one that it names.
local function build_dead_letters(result)
  for _, stage in ipairs(result.stages) do
    if type(stage.dead_letter) == "string" then
      local name, subject = stage.dead_letter, ("stage '%s'"):format(stage.name)
      stage.dead_letter = check_dead_letter(result, subject, name, stage.at)
      if behind(result, stage.dead_letter, {})[stage.id] then
        failure.raise(("%s: option 'dead_letter' names '%s', whose items come to it: a dead letter that fails would " ..
          "come back for ever; name another stage, or a spool"):format(subject, name), stage.at)
      end
    end
  end
  local default, exempt = result.options.dead_letter, {}
  if type(default) == "string" then
    default = check_dead_letter(result, ("pipeline '%s'"):format(result.name), default)
    exempt = behind(result, default, {})
  end
  for id, stage in ipairs(result.stages) do
    if stage.dead_letter == nil and not exempt[id] then stage.dead_letter = default end
  end
end

--- Builds the plan of one run. The pipeline is not changed and can be planned again.
---@param pipeline table
---@param run_options table? options of the run; they override the pipeline's
---@return table plan
--- `name`, `options`, `stages` (by id, in a stable topological order), `by_name`, `segments`, `hooks`; raises at the
--- line of the mistake where the definition cannot run
function plan.build(pipeline, run_options)
  local schema = options.schemas.run
  local checked = options.check(schema, run_options, "run")
  local g = graph.build(pipeline.stages)
  local problem = g.problems[1]
  if problem then
    failure.raise(("pipeline '%s': %s"):format(pipeline.name, problem.message), problem.at)
  end
  local result = {
    name = pipeline.name,
    options = options.fill(schema, checked, pipeline.options),
    stages = {}, by_name = {}, segments = {}, hooks = {},
  }
  local contexts, exit = build_stages(pipeline, result, g)
  build_segments(result, contexts)
  local handlers = {}
  for i, definition in ipairs(g.definitions) do handlers[definition.name] = exit[i] end
  build_hooks(pipeline, result, handlers)
  build_dead_letters(result)
  return result
end

return plan
