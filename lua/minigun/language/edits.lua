--- Inheritance: pipelines made from others, changed stage by stage. Methods of a pipeline (see pipeline.lua).
local contexts = require "minigun.language.contexts"
local failure = require "minigun.base.failure"
local graph = require "minigun.language.graph"
local nesting = require "minigun.language.names"
local options = require "minigun.language.schemas"
local rewiring = require "minigun.language.edges"
local stage = require "minigun.language.stage"

local inheritance = {}

local function copy(t)
  local result = {}
  for key, value in next, t do result[key] = value end
  return result
end

-- --- copies --------------------------------------------------------------------------------------------------------

-- Stages that share a context in the base share one in the copy; the copy's is an object of its own.
local function copy_stages(base, result)
  local copies, context_of = {}, nil
  function context_of(context)
    if not context then return context end
    if not copies[context] then
      copies[context] = copy(context)
      copies[context].host = context_of(context.host)
    end
    return copies[context]
  end
  for i, definition in ipairs(base.stages) do
    local own = copy(definition)
    own.options, own.context, own.scope = copy(definition.options), context_of(definition.context),
      context_of(definition.scope)
    if own.inner then own.inner, own.own = own.inner:extend(), true end
    result.stages[i], result.by_name[own.name] = own, own
  end
end

--- Makes a pipeline that begins as a copy of this one: `p:extend([name,] [options,] [f])`.
--- A change of the copy does not change the base, and a change of the base does not change the copy. Hooks of the base
--- run before the hooks that the copy adds. A context that the base has named may be defined anew in the copy. An
--- iterator that is the source of a producer is shared, and used up by the first run of either.
---@param name string the copy's, by default the base's
---@param options minigun.PipelineOptions over those of the base
---@param f (fun(p: minigun.Pipeline))? called at once, with the copy
---@return minigun.Pipeline copy
function inheritance:extend(...)
  local name, given, f = ...
  if name ~= nil and type(name) ~= "string" then name, given, f = nil, name, given end
  if f == nil and options.is_callable(given) then given, f = nil, given end
  name = options.value(options.types.name, name or self.name, "extend", "the name")
  local subject = ("pipeline '%s'"):format(name)
  if f ~= nil and not options.is_callable(f) then
    failure.raise(("%s: extend takes a name, options and a function that changes the copy, got %s"):format(
      subject, options.got(f)))
  end
  local result = setmetatable({
    name = name, at = failure.where(), stages = {}, by_name = {}, hooks = {}, contexts = {},
    object = self.object,
  }, getmetatable(self))
  result.options = contexts.merge(options.check(options.schemas.root, given, subject), self.options)
  result.own_context = contexts.of(result.options, subject)
  copy_stages(self, result)
  for i, hook in ipairs(self.hooks) do result.hooks[i] = copy(hook) end
  for context_name, context in next, self.contexts do
    result.contexts[context_name] = copy(context)
    result.contexts[context_name].inherited = true
  end
  if f then f(result) end
  return result
end

-- --- edits ---------------------------------------------------------------------------------------------------------

--- Puts another handler into a stage's place: `p:replace(name, [options,] [handler])`. Its edges stay, unless `to` or
--- `from` say otherwise.
---@param name string the stage; of one in a nested pipeline "outer.inner", here and in the methods below
---@param options minigun.ProcessorOptions|minigun.ProducerOptions|minigun.AccumulatorOptions|integer
--- an option that is not given keeps its value; a context replaces the old one; hooks are added and run after the old
--- ones; of a batch also its size
---@param handler any
--- of the form that the stage's method takes (of a `map`: `function(item) -> item`; of a producer: a source; of a
--- nested pipeline: a pipeline or a function that fills one); without one the old handler stays
---@return minigun.Pipeline self
function inheritance:replace(name, ...)
  local node = rewiring.writable(self, (rewiring.find(self, "replace", name)))
  local earlier, holder, place = node.definition, node.parent.pipeline, rewiring.place_of(node)
  local label, parsed = earlier.label, stage.arguments(earlier.label, earlier.name, ...)
  local own = earlier.own
  if parsed.name ~= earlier.name then -- a function where the initial value should be
    failure.raise(("replace: stage '%s': of a reduce, give an initial value and a function, or options"):format(name))
  end
  if select("#", ...) == 0 then
    failure.raise(("replace: stage '%s': give options, a handler, or both"):format(name))
  end
  if label == "batch" and math.type(parsed.rest[1]) then
    parsed.options = copy(parsed.options or {})
    parsed.options.max_size, parsed.rest = parsed.rest[1], { n = 0 }
  elseif label == "batch" and parsed.rest.n > 0 then
    label = "accumulator"
  elseif label == "pipeline" and parsed.rest.n > 0 then
    parsed.rest[1], own = nesting.inner(getmetatable(self).__new, holder, earlier.name, parsed.rest[1])
  end
  local definition = stage.define(label, earlier.name, parsed, holder, earlier)
  definition.own = own
  holder.stages[place], holder.by_name[earlier.name] = definition, definition
  for _, hook in ipairs(stage.hooks_of(definition)) do table.insert(holder.hooks, hook) end
  return self
end

-- What chose the removed stage's targets goes to the stages that sent to it.
local function hand_route_back(self, name, route, senders, targets, through, edges)
  local function has_others(sender) return next(edges[sender], next(edges[sender])) ~= nil end
  for _, sender in ipairs(senders) do
    if route ~= "broadcast" and #targets > 1 and has_others(sender) then
      failure.raise(("remove: stage '%s' chooses its targets with 'route', and '%s' sends to other stages too; " ..
        "reroute '%s' first"):format(name, sender, sender))
    end
  end
  for _, sender in ipairs(senders) do
    if has_others(sender) then
      rewiring.rename_target(self, sender, name, table.move(through, 1, #through, #targets + 1, copy(targets)))
    else
      rewiring.set_option(self, sender, "route", route)
    end
  end
end

-- Takes a stage's name, and those of stages in it, out of the options and hooks of all others.
local function forget(self, name)
  local function is_meant(tree, where, other)
    local node = nesting.find(tree, where, other)
    local gone = tree.by_name[name]
    return node == gone or node and nesting.inside(node, gone)
  end
  local tree = rewiring.tree_of(self)
  for _, node in ipairs(tree.nodes) do
    for _, option in ipairs { "to", "from" } do
      local names, kept = node.definition[option], {}
      for _, other in ipairs(names or {}) do
        if not is_meant(tree, node.parent, other) then kept[#kept + 1] = other end
      end
      if names and #kept < #names then
        rewiring.set_option(self, node.name, option, (option == "to" or #kept > 0) and kept or nil)
      end
    end
  end
  tree = rewiring.tree_of(self)
  local function clear(where)
    local hooks = {}
    for _, hook in ipairs(where.pipeline.hooks) do
      if not (hook.stage and is_meant(tree, where, hook.stage)) then hooks[#hooks + 1] = hook end
    end
    where.pipeline.hooks = hooks
  end
  local where = tree.by_name[name].parent -- its own pipeline and those around it; in others there are no such hooks
  while where do
    clear(where)
    where = where.parent
  end
end

-- Edges that lead into a nested pipeline or out of it become its own, and those inside it are forgotten.
local function merge_inside(tree, edges, name)
  local gone, inside = tree.by_name[name], {}
  for _, node in ipairs(tree.nodes) do inside[node.name] = nesting.inside(node, gone) end
  for from, targets in next, edges do
    for to in next, copy(targets) do
      if inside[from] or inside[to] then
        targets[to] = nil
        local a, b = inside[from] and name or from, inside[to] and name or to
        if a ~= b then edges[a][b] = true end
      end
    end
  end
  for other in next, inside do
    if inside[other] then edges[other] = nil end
  end
  edges[name][name] = nil
end

--- Takes a stage out, with its hooks; the stages before it then send to the stages after it: `p:remove(name)`.
---@param name string
---@return minigun.Pipeline self
function inheritance:remove(name)
  local definition
  name, definition = rewiring.find(self, "remove", name)
  rewiring.check_editable(self, "remove")
  local edges, tree = rewiring.edges_of(self.stages)
  merge_inside(tree, edges, name)
  local senders, targets = rewiring.senders_of(tree, edges, name), rewiring.targets_of(tree, edges, name)
  local senders_through, targets_through = graph.through(tree.by_name[name])
  hand_route_back(self, name, definition.options.route or "broadcast", senders, targets, targets_through, edges)
  local node = rewiring.writable(self, name)
  forget(self, name)
  table.remove(node.parent.pipeline.stages, rewiring.place_of(node))
  node.parent.pipeline.by_name[definition.name] = nil
  edges[name] = nil
  for _, others in next, edges do others[name] = nil end
  local function draw(from, to)
    for _, sender in ipairs(from) do
      for _, target in ipairs(to) do
        if edges[sender] and edges[target] then edges[sender][target] = true end -- not to what goes, in a cycle
      end
    end
  end
  -- A stage that has nothing else in its nested pipeline becomes an exit or entry stage of that by itself.
  for _, sender in ipairs(senders) do
    if next(edges[sender]) then draw({ sender }, targets_through) end
  end
  for _, target in ipairs(targets) do
    if #rewiring.senders_of(tree, edges, target) > 0 then draw(senders_through, { target }) end
  end
  draw(senders, targets)
  draw(senders_through, targets_through)
  rewiring.impose(self, edges)
  return self
end

--- Draws the edges out of a stage anew: `p:reroute(from, to)`. A stage that receives nothing any more is refused when
--- the pipeline runs: remove it, or send it something. A `route` function stays, and has to name the new targets.
---@param from string the stage
---@param to string|string[] the stages that receive its items from now on, no others; `{}`: terminal
---@return minigun.Pipeline self
function inheritance:reroute(from, to)
  from = rewiring.find(self, "reroute", from)
  rewiring.check_editable(self, "reroute")
  local names = options.value(options.types.names(true), to, "reroute", "the targets")
  local edges, tree = rewiring.edges_of(self.stages)
  local before = rewiring.targets_of(tree, edges, from)
  edges[from] = {}
  for i, name in ipairs(names) do
    local target, definition = rewiring.find(self, "reroute", name)
    if target == from or definition.kind == "producer" then
      failure.raise(("reroute: stage '%s' cannot send to '%s', %s"):format(from, target,
        target == from and "itself" or "a producer, which receives no items"))
    end
    edges[from][target], names[i] = true, target
  end
  local node = rewiring.writable(self, from)
  local now = rewiring.tree_of(self)
  for i, name in ipairs(names) do names[i] = nesting.say(now, now.by_name[from].parent, now.by_name[name]) end
  rewiring.set_option(self, from, "to", names)
  node.definition.rerouted = failure.where()
  for _, target in ipairs(before) do -- one without an input would become an entry stage of its pipeline
    if tree.by_name[target].parent.parent and #rewiring.senders_of(tree, edges, target) == 0 then
      rewiring.set_option(self, target, "from", {})
    end
  end
  rewiring.impose(self, edges)
  return self
end

-- --- objects -------------------------------------------------------------------------------------------------------

local object_type = {
  text = "an object (a table or userdata with methods)",
  check = function(value)
    local meta = debug.getmetatable(value)
    local indexed = type(value) == "userdata" and type(meta) == "table" and meta.__index ~= nil
    return (type(value) == "table" or indexed) and options.got(value) ~= "a pipeline", value
  end,
}

--- Binds the object whose methods are the handlers that are given by name: `p:bind(object)`.
--- A stage defined with a string in place of its handler, `p:processor("parse", "parse_line")`, calls that method:
--- `object:parse_line(item, emit, ctx)`, of a producer `object:lines(emit, ctx)`, of `map` and the like
--- `object:parse_line(item)`. Methods are looked up when the pipeline runs. What a method in a worker changes in the
--- object is changed in that worker's copy. The last object bound counts; `extend` hands it on to the copy.
---@param object table|userdata
---@return minigun.Pipeline self
function inheritance:bind(object)
  self.object = options.value(object_type, object, "bind", "the object")
  return self
end

return inheritance
