--- Hooks of the language: functions that are called at points of a run. Methods of a pipeline (see pipeline.lua).
local failure = require "minigun.base.failure"
local options = require "minigun.language.schemas"

local hooks = {}

local function add_hook(self, name, f, at, stage_name)
  table.insert(self.hooks, { name = name, f = f, at = at, stage = stage_name })
end

local function require_callable(f, hook)
  options.value(options.types.callable, f, "hook " .. hook, "the handler")
end

local function run_hook(name)
  return function(self, f)
    require_callable(f, name)
    add_hook(self, name, f, failure.where() or "?")
    return self
  end
end

local function fork_hook(name)
  return function(self, stage_name, f)
    if f == nil and options.is_callable(stage_name) then stage_name, f = nil, stage_name end
    if stage_name ~= nil then options.value(options.types.name, stage_name, "hook " .. name, "the stage") end
    require_callable(f, name)
    add_hook(self, name, f, failure.where() or "?", stage_name)
    return self
  end
end

local function stage_hook(name)
  return function(self, stage_name, f)
    options.value(options.types.name, stage_name, "hook " .. name, "the stage")
    require_callable(f, name)
    add_hook(self, name, f, failure.where() or "?", stage_name)
    return self
  end
end

--- Hook in the coordinator, before any producer or fork.
---@param f fun(ctx: minigun.Ctx)
---@return minigun.Pipeline self
hooks.before_run = run_hook "before_run"
--- Hook in the coordinator, last of all, also after a run that failed.
---@param f fun(result: minigun.Result)
---@return minigun.Pipeline self
hooks.after_run = run_hook "after_run"
--- Hook in the coordinator, when the last producer has ended.
---@param f fun(ctx: minigun.Ctx)
---@return minigun.Pipeline self
hooks.after_producer = run_hook "after_producer"
--- Hook in the coordinator, when an item has failed for good.
---@param f fun(failure: minigun.Failure, ctx: minigun.Ctx): "stop"? "stop" ends the run
---@return minigun.Pipeline self
hooks.on_failure = run_hook "on_failure"
--- Hook in the coordinator, when nothing of a source's item is in flight any more: all that came of it is finished, or
--- has failed: `p:on_acknowledged([producer,] f)`. For queues and tables that are told which items are done. A failure
--- that it hears of is handled. For producers that run in the coordinator.
---@param producer string
---@param f fun(item: any, failure: minigun.Failure?) the item as it was emitted; the first failure of what came of it
---@return minigun.Pipeline self
hooks.on_acknowledged = fork_hook "on_acknowledged"
--- Hook in the coordinator, when a child has ended.
---@param f fun(exit: minigun.Exit)
---@return minigun.Pipeline self
hooks.on_worker_exit = run_hook "on_worker_exit"
--- Hook where the stage runs, once per worker, before its first item.
---@param stage string
---@param f fun(ctx: minigun.Ctx)
---@return minigun.Pipeline self
hooks.before = stage_hook "before"
--- Hook where the stage runs, once per worker, after its last item.
---@param stage string
---@param f fun(ctx: minigun.Ctx)
---@return minigun.Pipeline self
hooks.after = stage_hook "after"
--- Hook in the coordinator, immediately before each fork: `p:before_fork([stage,] f)`. This and the next two are for
--- a stage's workers; where all the stages that such a hook is for run in the coordinator, that is their worker: it is
--- called there, once, so a handler that needs what `after_fork` opens may run anywhere.
---@param stage string
---@param f fun(ctx: minigun.Ctx)
---@return minigun.Pipeline self
hooks.before_fork = fork_hook "before_fork"
--- Hook in the child, first of all: `p:after_fork([stage,] f)`. Of a stage in the coordinator: once, see `before_fork`.
---@param stage string
---@param f fun(ctx: minigun.Ctx)
---@return minigun.Pipeline self
hooks.after_fork = fork_hook "after_fork"
--- Hook in the child, after the last item of one that ends in good order: `p:before_exit([stage,] f)`.
---@param stage string
---@param f fun(ctx: minigun.Ctx)
---@return minigun.Pipeline self
hooks.before_exit = fork_hook "before_exit"

return hooks
