--- Opening executors: `p:open` and `minigun.executor`.
local execution = require "minigun.control.execution"
local failure = require "minigun.base.failure"
local moving = require "minigun.executor.moving"
local options = require "minigun.language.schemas"
local pool = require "minigun.executor.pool"
local shorthand = require "minigun.language.one_liners"
local stack = require "minigun.base.stack"

local opening = {}

-- Takes the executor's own options out of those that were given.
local function split(given, what)
  local own, rest = {}, {}
  if given ~= nil and type(given) ~= "table" then
    failure.raise(("%s: options must be a table, got %s"):format(what, options.got(given)))
  end
  for name, value in next, given or {} do
    if options.schemas.open.by_name[name] then own[name] = value else rest[name] = value end
  end
  return options.fill(options.schemas.open, options.check(options.schemas.open, own, what)), rest
end

-- `standing`: see plan.build; `heeds`: SIGTERM asks it to end in good order, as any run.
local function open(pipeline, own, given, standing, heeds)
  if given and given.deadline or pipeline.options.deadline then
    failure.raise "option 'deadline' is for a run that ends; of a future there is result(timeout)"
  end
  local self = execution.new(pipeline, given, { patient = true, standing = standing, careless = not heeds },
    pool.Executor)
  self.most, self.futures, self.submitted, self.tidied, self.looked = own.backlog, {}, 0, 0, 0
  self.by_value, self.feeds, self.given_up = false, false, false -- feeds: workers or threads
  moving.prepare(self)
  if not execution.begin(self) then execution.outcome(self) end
  for _, id in ipairs(self.run.answers.stage.outputs) do
    local place = self.run.places.of[id]
    self.entry = self.entry or self.run.plan.stages[id].name
    self.by_value, self.feeds = self.by_value or place.takes == "values", self.feeds or not place.here
  end
  return self
end

--- Opens a pipeline.
---@param pipeline table
---@param given table? options
---@param heeds boolean? SIGTERM asks it to end in good order; else it does what it does without a run
---@return table executor
function opening.pipeline(pipeline, given, heeds)
  local own, rest = split(given, "open")
  for _, name in ipairs { "journal", "job" } do
    if rest[name] ~= nil or pipeline.options[name] ~= nil then
      failure.raise(("open: option '%s' is for runs with producers, which can emit their items again"):format(name))
    end
  end
  return open(pipeline, own, options.check(options.schemas.run, rest, "open"), "lists", heeds)
end

--- Makes an executor of one function.
---@param new function makes a pipeline
---@param f function
---@param given table? options
---@return table executor
function opening.of_function(new, f, given)
  local what = "minigun.executor"
  if not options.is_callable(f) then
    failure.raise(("%s: a function expected, got %s"):format(what, options.got(f)))
  end
  local own, rest = split(given, what)
  local stage, run = shorthand.split(rest, what)
  local p = new("executor", run):processor("call", stage, stack.stands_for(function(item, emit)
    local value = f(item)
    if value ~= nil then emit(value) end
  end, failure.where() or "?"))
  return open(p, own, nil, "value")
end

return opening
