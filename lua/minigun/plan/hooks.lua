--- Hooks of a plan: which stages and segments each hook of a definition is called for, and in which order.
--
-- Hooks for a whole pipeline come before a stage's own, those of an outer pipeline before those of one inside it (at
-- the end of the run it is the other way round), and else it is the order of definition.
local failure = require "minigun.base.failure"
local nesting = require "minigun.language.names"
local stages = require "minigun.language.stage"

local hooks = {}

local RUN_HOOKS <const> = { "before_run", "after_run", "after_producer", "on_failure", "on_worker_exit" }
local HEARING <const> = "on_acknowledged"
-- Of these, those that a nested pipeline's run before those of the pipelines around it.
local AT_THE_END <const> = { after_run = true, after_producer = true }

local function unknown_stage(b, where, hook)
  local _, choices = nesting.find(b.g.tree, where, hook.stage)
  failure.raise(("hook %s: there is %s '%s'%s"):format(hook.name, choices and "a stage" or "no stage", hook.stage,
    nesting.hint(b.g.tree, where, hook.stage, choices)), hook.at)
end

-- The ids of the stages of a node, or inside it.
local function ids_inside(b, node)
  local ids = {}
  for id, each in ipairs(b.nodes) do
    if each == node or nesting.inside(each, node) then ids[#ids + 1] = id end
  end
  return ids
end

-- A hook of the run: those of a nested pipeline hear of its own stages and producers. Where a pipeline is nested twice
-- each of its hooks runs once.
local function add_run_hook(b, entries, where, hook)
  local entry = entries[hook]
  if not entry then
    entry = { f = hook.f, at = hook.at, name = hook.name, stages = where.parent and {} or nil, producers = {} }
    entries[hook] = entry
    table.insert(b.result.hooks[hook.name], entry)
  end
  for _, id in ipairs(ids_inside(b, where)) do
    if entry.stages then entry.stages[id] = true end
    if b.result.stages[id].kind == "producer" then table.insert(entry.producers, id) end
  end
end

-- A hook for all stages of a pipeline.
local function add_wide_hook(b, where, hook)
  local entry, segments = { f = hook.f, at = hook.at, name = hook.name }, {}
  b.hook_of[entry] = hook
  for _, id in ipairs(ids_inside(b, where)) do
    local stage = b.result.stages[id]
    table.insert(stage.hooks[hook.name], entry)
    segments[stage.segment] = true
  end
  for id, segment in ipairs(b.result.segments) do
    local of_segment = segments[id] and segment.hooks[hook.name]
    if of_segment and not b.has[of_segment][hook] then
      b.has[of_segment][hook] = true
      table.insert(of_segment, entry)
    end
  end
end

-- A hook of one stage, or of a nested pipeline: that is, in each segment, of its first or last stage.
local function add_own_hook(b, where, hook)
  local node = nesting.find(b.g.tree, where, hook.stage) or unknown_stage(b, where, hook)
  local entry, chosen = { f = hook.f, at = hook.at, name = hook.name }, {}
  for _, id in ipairs(ids_inside(b, node)) do
    local stage = b.result.stages[id]
    local runs_handler = b.runs[b.nodes[id]] == stage
    if runs_handler and (hook.name == "after" or not chosen[stage.segment]) then chosen[stage.segment] = stage end
  end
  for id, segment in ipairs(b.result.segments) do
    if chosen[id] then
      table.insert(chosen[id].hooks[hook.name], entry)
      if segment.hooks[hook.name] then
        local own = { f = hook.f, at = hook.at, name = hook.name, stage = chosen[id].id }
        b.hook_of[own] = hook
        table.insert(segment.hooks[hook.name], own)
      end
    end
  end
end

-- A hook that hears of the items of producers: those of a pipeline, or the one that it names.
local function add_hearing(b, where, hook)
  local node, found = where, false
  if hook.stage then node = nesting.find(b.g.tree, where, hook.stage) or unknown_stage(b, where, hook) end
  for _, id in ipairs(ids_inside(b, node)) do
    local stage = b.result.stages[id]
    if stage.kind == "producer" then
      if b.result.segments[stage.segment].kind ~= "inline" then
        failure.raise(("hook on_acknowledged: the producer '%s' runs in a process of its own; it must run in the " ..
          "coordinator, where the hook does"):format(stage.name), hook.at)
      end
      stage.hears, found = stage.hears or {}, true
      table.insert(stage.hears, { f = hook.f, at = hook.at, name = hook.name })
    end
  end
  if not found then
    failure.raise(("hook on_acknowledged: %s is no producer, and has none"):format(hook.stage
      and ("'%s'"):format(hook.stage) or "the pipeline"), hook.at)
  end
end

-- The pipelines of a tree, each before those inside it, and each after them.
local function pipelines_of(where, inward, outward)
  inward[#inward + 1] = where
  for _, node in ipairs(where.children) do
    if node.pipeline then pipelines_of(node, inward, outward) end
  end
  outward[#outward + 1] = where
  return inward, outward
end

-- The coordinator is the worker of its own stages: a hook about forks all of whose stages run in it is called there,
-- once. Other hooks of that kind are for the children only.
local function build_coordinator_hooks(b)
  local seen = {}
  local function keep_new(kinds)
    for _, segment in ipairs(b.result.segments) do
      for name, list in pairs(kinds[segment.kind] and segment.hooks or {}) do
        local kept = {}
        for _, entry in ipairs(list) do
          if kinds.processes or not seen[b.hook_of[entry]] then kept[#kept + 1] = entry end
        end
        for _, entry in ipairs(list) do seen[b.hook_of[entry]] = true end
        segment.hooks[name] = kept
      end
    end
  end
  keep_new { processes = true, process_per_batch = true }
  keep_new { threads = true } -- which start before the coordinator's other stages
  keep_new { inline = true }
end

--- Puts the hooks of all pipelines into the plan.
---@param b table what plan.build has made so far: `result`, `g`, `nodes`, `runs`; `has`, `hook_of`
function hooks.build(b)
  local result, entries = b.result, {}
  for _, name in ipairs(RUN_HOOKS) do result.hooks[name] = {} end
  for _, stage in ipairs(result.stages) do
    stage.hooks = {}
    for _, name in ipairs(stages.hook_names) do stage.hooks[name] = {} end
  end
  for _, segment in ipairs(result.segments) do
    for _, list in pairs(segment.hooks) do b.has[list] = {} end
  end
  local inward, outward = pipelines_of(b.g.tree.root, {}, {})
  local function each_hook(pipelines, f)
    for _, where in ipairs(pipelines) do
      for _, hook in ipairs(where.pipeline.hooks) do f(where, hook) end
    end
  end
  each_hook(inward, function(where, hook)
    if hook.name == HEARING then return add_hearing(b, where, hook) end
    if not hook.stage and not result.hooks[hook.name] then add_wide_hook(b, where, hook) end
    if result.hooks[hook.name] and not AT_THE_END[hook.name] then add_run_hook(b, entries, where, hook) end
  end)
  each_hook(inward, function(where, hook)
    if hook.stage and hook.name ~= HEARING then add_own_hook(b, where, hook) end
  end)
  build_coordinator_hooks(b)
  each_hook(outward, function(where, hook)
    if AT_THE_END[hook.name] then add_run_hook(b, entries, where, hook) end
  end)
  local producers = {}
  for id, stage in ipairs(result.stages) do
    if stage.kind == "producer" then producers[#producers + 1] = id end
  end
  for _, entry in ipairs(result.hooks.after_producer) do
    if #entry.producers == 0 then entry.producers = producers end
  end
end

return hooks
