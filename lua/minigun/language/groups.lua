--- Groups and named contexts: where the stages that a function defines run. Methods of a pipeline (see pipeline.lua).
local context_types = require "minigun.language.context_types"
local contexts = require "minigun.language.contexts"
local failure = require "minigun.base.failure"
local options = require "minigun.language.schemas"

local groups = {}

-- Calls the function that defines a group's stages. `context`: the group's own, false: none; `scope`: what its stages
-- run in, nil: as outside.
local function run_group(self, context, scope, f, what)
  if not options.is_callable(f) then
    failure.raise(("%s: the group needs a function that defines its stages, got %s"):format(what, options.got(f)))
  end
  local outer, outer_group = self.scope, self.group
  local _ <close> = setmetatable({}, { __close = function() self.scope, self.group = outer, outer_group end })
  self.scope = scope or outer
  if context and context.defaults then self.group = { options = context.defaults, outer = outer_group } end
  f(self)
  return self
end

-- The arguments of `p:processes(n, f)`, with n left out or not, as a context and the function.
local function size_and_function(method, size, what, f)
  if f == nil and options.is_callable(size) then size, f = true, size end
  if size == nil then size = true end
  return options.value(context_types.groups[method], size, method, what), f
end

--- A group whose stages run in n threads, coroutines over an event loop: `p:threads([n,] f)`; f defines them. While a
--- handler is in `minigun.sleep`, in `minigun.wait` or waits by means of cqueues, others run. They run in the
--- coordinator; in a group of `processes` or `process_per_batch` in each of its workers.
---@param n minigun.ThreadGroupOptions|integer|boolean
--- how many items are in work at once; true or left out: 16; false: as if there were no group; `{ n = 4, ordered =
--- true, retries = 2 }`: in order, and defaults for the stages inside, as for `processes`
---@param f fun(p: minigun.Pipeline) defines the stages: called at once, with the pipeline
---@return minigun.Pipeline self
function groups:threads(n, f)
  local context
  context, f = size_and_function("threads", n, "the number of threads", f)
  return run_group(self, context, contexts.threads_in(context, self.scope), f, "threads")
end

--- A group whose stages run in n worker processes: `p:processes([n,] f)`; f defines them.
---@param n minigun.PoolGroupOptions|integer|boolean
--- workers; true or left out: one per CPU; false: as if there were no group; `{ n = 4, ordered = true }`: what comes
--- out of the group is in the order of what has come in; `{ n = 4, retries = 2 }`: defaults for the stages inside
---@param f fun(p: minigun.Pipeline) defines the stages: called at once, with the pipeline
---@return minigun.Pipeline self
function groups:processes(n, f)
  local context
  context, f = size_and_function("processes", n, "the number of workers", f)
  return run_group(self, context, context, f, "processes")
end

--- A group in which each item is run by a fresh child process: `p:process_per_batch([size,] f)`; f defines the stages.
---@param size minigun.ForkGroupOptions|integer|boolean
--- `{ max = n }` or n: most children alive at once; true or left out: one per CPU; false: as if there were no group;
--- `{ max = n, ordered = true, retries = 2 }`: in order, and defaults for the stages inside, as for `processes`
---@param f fun(p: minigun.Pipeline) defines the stages: called at once, with the pipeline
---@return minigun.Pipeline self
function groups:process_per_batch(size, f)
  local context
  context, f = size_and_function("process_per_batch", size, "the size", f)
  return run_group(self, context, context, f, "process_per_batch")
end

--- A group each of whose stages runs on other hosts, over a Redis server (docs/cluster.md): `p:cluster(url, [options,]
--- f)`; f defines them. Each is a job of its own there: `minigun worker FILE --stage NAME`.
---@param url string of the server, "redis://host"
---@param given minigun.ClusterGroupOptions?
--- `lease`, `tries`, `limit`, `ordered`; and defaults for the stages inside, as for `processes`
---@param f fun(p: minigun.Pipeline) defines the stages: called at once, with the pipeline
---@return minigun.Pipeline self
function groups:cluster(url, given, f)
  if f == nil and options.is_callable(given) then given, f = nil, given end
  options.value(context_types.redis_url, url, "cluster", "the URL")
  local context = context_types.cluster_context(url, options.check(options.schemas.cluster_group, given, "cluster"))
  return run_group(self, context, context, f, "cluster")
end

--- A group whose stages run in the coordinator itself, also inside another group: `p:inline([options,] f)`; f defines
--- them.
---@param options minigun.GroupOptions? defaults for the stages inside
---@param f fun(p: minigun.Pipeline) defines the stages: called at once, with the pipeline
---@return minigun.Pipeline self
function groups:inline(given, f)
  if f == nil and type(given) ~= "table" then given, f = nil, given end
  local context = { kind = "inline", defaults = options.check(options.schemas.inline_group, given, "inline") }
  return run_group(self, context, context, f, "inline")
end

--- Defines a context by name: `p:context(name, options)`. All stages that say `context = name` share its workers.
---@param name string
---@param options minigun.ContextOptions
--- one of inline, threads, processes, process_per_batch, fork; `ordered`; and defaults for the stages that run in it
---@return minigun.Pipeline self
function groups:context(name, given)
  options.value(options.types.name, name, "context", "the name")
  local subject = ("context '%s'"):format(name)
  local earlier = self.contexts[name]
  if earlier and not earlier.inherited then
    failure.raise(subject .. ": the name is taken, a context is defined once")
  end
  local checked = options.check(options.schemas.context, given, subject)
  local context = contexts.of(checked, subject)
  if not context then
    failure.raise(("%s: say what it is, with one of the options: %s"):format(subject,
      table.concat(contexts.options, ", ")))
  end
  self.contexts[name] = { kind = context.kind, n = context.n, host = context.host, ordered = context.ordered,
    worker = context.worker, name = name, defaults = checked }
  return self
end

return groups
