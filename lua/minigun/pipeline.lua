--- The language: a pipeline is a list of definitions, and the methods here append to it.
local contexts = require "minigun.language.contexts"
local failure = require "minigun.base.failure"
local methods = require "minigun.base.methods"
local nesting = require "minigun.language.names"
local options = require "minigun.language.schemas"
local schema = require "minigun.base.schema"
local sources = require "minigun.sources.sources"
local stage = require "minigun.language.stage"

local pipeline = {}

--- Whether this process has made one, for the command.
pipeline.made = false

---@class minigun.Pipeline
--- Every method returns the pipeline, except `run`, `iterate`, `start` and `extend`. The fields are to be read only.
---@field name string
---@field options minigun.PipelineOptions as checked
---@field last minigun.Result? of the last run
---@field stages table definitions, in order
---@field hooks table in order
---@field contexts table the named ones
---@field object any what `bind` was given
---@field at string? where it was made, "file:line"
---@field own_context table? the context among its options
local Pipeline = { __name = "minigun.pipeline" }
schema.Pipeline = Pipeline

Pipeline.__index = Pipeline
methods.suggest(Pipeline, "a pipeline", { "last", "object", "own_context", "runs" })

--- Makes a pipeline, empty or from a table.
---@param name string|table? shown in messages; "pipeline" by default; or the whole pipeline as a table
---@param given table?
--- defaults for its stages and options of its runs, see the schema `root`; those given to `run` override them
---@return table pipeline
function pipeline.new(name, given)
  if debug.getmetatable(name) == Pipeline then
    failure.raise "minigun.pipeline: a name or a table of stages expected, got a pipeline (p:extend() makes a copy)"
  end
  local rows = type(name) == "table" and name
  local shorthand = rows and require "minigun.language.one_liners"
  if rows then name, given = shorthand.head(rows) end
  if name == nil then name = "pipeline" end
  options.value(options.types.name, name, "pipeline", "the name")
  local subject = ("pipeline '%s'"):format(name)
  local checked = options.check(options.schemas.root, given, subject)
  local self = setmetatable({
    name = name, options = checked, at = failure.where(), stages = {}, by_name = {}, hooks = {}, contexts = {},
    own_context = contexts.of(checked, subject), scope = nil, group = nil,
  }, Pipeline)
  if rows then shorthand.fill(pipeline.new, self, rows) end
  pipeline.made = true
  return self
end

local function unused_name(self, label)
  local number = 0
  for _, definition in ipairs(self.stages) do
    if definition.label == label then number = number + 1 end
  end
  local name
  repeat
    number = number + 1
    name = ("%s %d"):format(label, number)
  until not self.by_name[name]
  return name
end

local function define_parsed(self, label, parsed)
  local name = parsed.name or unused_name(self, label)
  if name == "" then failure.raise(("%s: a stage's name must not be empty"):format(label)) end
  local earlier = self.by_name[name]
  if earlier then
    failure.raise(("stage '%s': the name is taken by the stage defined at %s; names are unique in a pipeline, and " ..
      "p:replace('%s', ...) puts another stage in its place"):format(name, earlier.at, name))
  end
  if #self.stages >= options.MAX_STAGES then
    failure.raise(("stage '%s': a pipeline has at most %d stages"):format(name, options.MAX_STAGES))
  end
  local definition = stage.define(label, name, parsed, self)
  table.insert(self.stages, definition)
  self.by_name[name] = definition
  for _, hook in ipairs(stage.hooks_of(definition)) do table.insert(self.hooks, hook) end
  return self
end

local function define(self, label, ...)
  return define_parsed(self, label, stage.arguments(label, ...))
end

--- Adds a producer: `p:producer([name,] [options,] source)`.
---@param name string
---@param options minigun.ProducerOptions
---@param source any[]|string|fun(emit: minigun.Emit, ctx: minigun.Ctx)|fun(): any|minigun.Service
--- a handler; an array, whose elements are the items; lines (`minigun.lines(path)`); or what stands after `in` in a
--- generic for (`pairs(t)`, `coroutine.wrap(f)`, a function without parameters), whose first values are the items. An
--- iterator is used up by the first run. A source that waits holds nothing up: `minigun.sleep`, `minigun.wait`,
--- `minigun.lines` and files read line by line let the rest of the run go on. One that waits in another way makes the
--- coordinator stand still, and the run's warnings say so: give it `processes = 1`. A service
--- (`minigun.service(path)`), as the only producer: what comes of a request is its reply, until `service:stop()`.
---@param ... any the further values of a generic for
---@return minigun.Pipeline self
function Pipeline:producer(...) return define(self, "producer", ...) end

--- Adds a processor: `p:processor([name,] [options,] handler)`.
---@param name string
---@param options minigun.ProcessorOptions
---@param handler fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string
--- calls `emit` any number of times. This and every other handler may also be the name of a method of the object that
--- `bind` is given; the stage then needs a name of its own or options.
---@return minigun.Pipeline self
function Pipeline:processor(...) return define(self, "processor", ...) end

--- Adds a consumer, a processor by another name: `p:consumer([name,] [options,] handler)`.
---@param name string
---@param options minigun.ProcessorOptions
---@param handler fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string
--- what it emits goes on as with a processor
---@return minigun.Pipeline self
function Pipeline:consumer(...) return define(self, "consumer", ...) end

--- Adds a stage that collects items into arrays: `p:accumulator([name,] [options,] [handler])`.
---@param name string
---@param options minigun.AccumulatorOptions
---@param handler (fun(batch: any[], emit: minigun.Emit, ctx: minigun.Ctx)|string)?
--- without one the arrays themselves go downstream
---@return minigun.Pipeline self
function Pipeline:accumulator(...) return define(self, "accumulator", ...) end

--- Adds a stage that emits arrays of n items: `p:batch([name,] [n,] [options])`.
---@param name string
---@param n integer most items of a batch, 100 by default
---@param options minigun.AccumulatorOptions?
---@return minigun.Pipeline self
function Pipeline:batch(...)
  local rest = table.pack(...)
  local name = type(rest[1]) == "string" and table.remove(rest, 1) or nil
  local subject = ("stage '%s'"):format(name or unused_name(self, "batch"))
  local size = type(rest[1]) ~= "table" and table.remove(rest, 1) or nil
  local given = rest[1]
  if name and tonumber(name) and size == nil and not (type(given) == "table" and given.max_size) then
    failure.raise(("batch: the string %q would be the stage's name, and the size 100; give the size as a number, " ..
      "p:batch(%s)"):format(name, name))
  end
  if given ~= nil and type(given) ~= "table" then
    failure.raise(("%s: batch takes a name, a size and options, got %s"):format(subject, options.got(given)))
  end
  local merged = {}
  for key, value in next, given or {} do merged[key] = value end
  if size ~= nil then
    if merged.max_size ~= nil then failure.raise(subject .. ": the size is given twice, also as option 'max_size'") end
    merged.max_size = options.value(options.schemas.accumulator.by_name.max_size.type, size, subject, "the size")
  end
  return define_parsed(self, "batch", { name = name, options = merged, rest = { n = 0 } })
end

--- Adds a processor that emits what f returns: `p:map([name,] [options,] f)`.
---@param name string
---@param options minigun.ProcessorOptions
---@param f string|fun(item: any): any its first result is emitted; nil is an error of that item
---@return minigun.Pipeline self
function Pipeline:map(...) return define(self, "map", ...) end

--- Adds a processor that emits every element of the array f returns: `p:flat_map([name,] [options,] f)`.
---@param name string
---@param options minigun.ProcessorOptions
---@param f string|fun(item: any): any[]
---@return minigun.Pipeline self
function Pipeline:flat_map(...) return define(self, "flat_map", ...) end

--- Adds a processor that passes on the items for which f returns true: `p:filter([name,] [options,] f)`.
---@param name string
---@param options minigun.ProcessorOptions
---@param f string|fun(item: any): any anything but nil and false counts as true
---@return minigun.Pipeline self
function Pipeline:filter(...) return define(self, "filter", ...) end

--- Adds a consumer that calls f and emits nothing: `p:each([name,] [options,] f)`.
---@param name string
---@param options minigun.ProcessorOptions
---@param f fun(item: any)|string
---@return minigun.Pipeline self
function Pipeline:each(...) return define(self, "each", ...) end

--- Adds a stage with a loop of its own: `p:stage([name,] [options,] handler)`.
---@param name string
---@param options minigun.ProcessorOptions
---@param handler fun(input: minigun.Input, emit: minigun.Emit, ctx: minigun.Ctx)|string
--- `for item in input do ... end`, once in each worker or thread. `input()` waits for the next item; the one before is
--- finished then, and what was emitted by then belongs to it. At the end of the stream it gives nil; what the handler
--- emits after that (totals, the rest) arrives too. A handler that returns earlier, or raises, is called again for the
--- next item. Its local variables die with its worker: a warning names each worker that died in the middle of a loop.
--- In `process_per_batch` the stream is one item.
---@return minigun.Pipeline self
function Pipeline:stage(...) return define(self, "stage", ...) end

--- Adds a whole pipeline as one stage: `p:pipeline([name,] [options,] function_or_pipeline)`.
--- Items go to its entry stages (those without an input in their own pipeline) and come from its exit stages (those
--- without an output there); producers inside produce. Stages inside are called "name.stage" from outside, and run in
--- the context that the nested pipeline stands in, unless they have one of their own. See "Pipelines in pipelines" in
--- docs/how-it-works.md.
---@param name string by default that of the pipeline that is given
---@param options minigun.NestedOptions
---@param function_or_pipeline minigun.Pipeline|fun(inner: minigun.Pipeline)
--- a function that defines the stages of a new pipeline, called at once; or a pipeline, which may be nested more than
--- once, and run by itself; its own run options are for that only
---@return minigun.Pipeline self
function Pipeline:pipeline(...)
  local parsed = stage.arguments("pipeline", ...)
  local given = parsed.rest[1]
  local ready = options.got(given) == "a pipeline"
  parsed.name = parsed.name or ready and given.name or unused_name(self, "pipeline")
  local inner, own = nesting.inner(pipeline.new, self, parsed.name, given)
  parsed.rest[1] = inner
  define_parsed(self, "pipeline", parsed)
  self.by_name[parsed.name].own = own
  return self
end

--- Adds a stage that folds all items into one value and emits that at the end: `p:reduce([name,] init, f [, options])`.
--- Workers fold parts of the items; their values are combined in the order of the items, and `f` must be associative.
--- Where its values and the items are of different kinds, `combine` says how two values become one. In a group of
--- processes items of the group's other stages are folded by the worker that has made them, which is cheap. If a worker
--- dies then, what its handlers have done in the last tenth of a second is done once more.
---@param name string must be there where `init` is a word, which would be taken for the name
---@param init any
--- the value to begin with, and what is emitted where there is no item; a table is copied; a function is called and
--- makes it. With `combine` each worker begins with it, perhaps many times: it must change nothing, as 0 does in a sum
---@param f fun(value: any, item: any): any gives the next value, never nil; it may change `value` and return it
---@param options minigun.ReduceOptions?
---@return minigun.Pipeline self
function Pipeline:reduce(...) return define(self, "reduce", ...) end

-- Methods of other files, which are loaded when one of them is first called.
local function later(load, names)
  for name in names:gmatch "%S+" do
    Pipeline[name] = function(...) return load()[name](...) end
  end
end

later(function() return require "minigun.language.groups" end,
  "threads processes process_per_batch cluster inline context")
later(function() return require "minigun.language.hooks" end, "before_run after_run after_producer on_failure " ..
  "on_acknowledged on_worker_exit before after before_fork after_fork before_exit")
later(function() return require "minigun.language.edits" end, "extend replace remove reroute bind")
later(function() return require "minigun.language.inserts" end, "insert_after insert_before")
Pipeline.__new = pipeline.new -- for edits, which fill one that is nested

local function checked_for_run(self, given, method)
  if self.scope then
    failure.raise(("pipeline '%s': %s is called inside a function that defines its stages"):format(self.name, method))
  end
  return options.check(options.schemas.run, given, method)
end

-- The producer that is a service, and that.
local function served_by(self)
  for _, definition in ipairs(self.stages) do
    local service = sources.service_of(definition.handler)
    if service then return definition, service end
  end
end

--- Runs the pipeline to its end: `p:run([options])`; one whose producer is a service, until that is stopped. Raises for
--- failed items that no hook, dead letter or option handles, see `failures`.
---@param options minigun.RunOptions? of this run; they override the pipeline's
---@return minigun.Result result
function Pipeline:run(given)
  local checked = checked_for_run(self, given, "run")
  local producer, service = served_by(self)
  if service then return require("minigun.executor.serving").run(self, producer, service, given) end
  return require("minigun.control.to_end").run(self, checked)
end

--- Starts the pipeline in the background: workers are forked, producers made ready, and the call returns:
--- `p:start([options])`.
---@param options minigun.RunOptions? of this run
---@return minigun.Run run
function Pipeline:start(given)
  local checked = checked_for_run(self, given, "start")
  return require("minigun.control.background").start(self, checked)
end

--- Opens the pipeline as a run that stands: `p:open([options])`. It has no producers of its own: items are submitted
--- one by one, and each has a future, whose `result` is the list of all that has come of it out of the terminal stages.
---@param options minigun.OpenOptions? of `run`, and `backlog`
---@return minigun.Executor executor
function Pipeline:open(given)
  if self.scope then
    failure.raise(("pipeline '%s': open is called inside a function that defines its stages"):format(self.name))
  end
  return require("minigun.executor.opening").pipeline(self, given)
end

--- Runs the pipeline and streams the items of its terminal stages, for a generic for: `p:iterate([options])`.
---@param options minigun.RunOptions? of this run
---@return fun(): any iterator and the further values of a generic for; leaving the loop stops the run
function Pipeline:iterate(given)
  local checked = checked_for_run(self, given, "iterate")
  return require("minigun.control.to_end").iterate(self, checked)
end

--- The pipeline as a drawing: a line for each stage, in topological order, with kind, context and targets; then a line
--- for each mistake that would keep it from running. Stages of nested pipelines are called "outer.inner".
---@return string text
function Pipeline:__tostring() return require("minigun.plan.text").of(self) end

-- All other methods change the pipeline.
local CHANGES_NOTHING <const> = { run = true, start = true, iterate = true, open = true, extend = true }

-- Inside of a run, in a worker too, a change would do nothing for the run, and in a worker nothing at all.
local function refuse_inside(self, name)
  for execution in next, self.runs or {} do
    if execution.driving and not execution.over then
      failure.raise(("p:%s: a run of pipeline '%s' is going on here, in whose handler or hook nothing of the " ..
        "pipeline can be changed; define all of it before, or change a copy (p:extend())"):format(name, self.name))
    end
  end
end

-- What goes for all methods: `p.map(f)`, with a dot, is recognised, and so is a change inside of a run.
for name, method in pairs(Pipeline) do
  if name:find "^%l" then
    Pipeline[name] = function(self, ...)
      if getmetatable(self) ~= Pipeline then
        failure.raise(("call %s with a colon, on a pipeline: p:%s(...)"):format(name, name))
      end
      if not CHANGES_NOTHING[name] then refuse_inside(self, name) end
      return method(self, ...)
    end
  end
end

return pipeline
