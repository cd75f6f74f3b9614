--- Inheritance: pipelines made from others, changed stage by stage. Methods of a pipeline (see pipeline.lua).
--
-- An edit says which edges it wants; `impose` then draws in `to` and `from` only those that the default links (see
-- graph.lua) do not give by themselves, so that a plain chain stays one and can be added to.
local failure = require "minigun.failure"
local graph = require "minigun.graph"
local options = require "minigun.options"
local stage = require "minigun.stage"

local inheritance = {}

-- Stand for the neighbours of inserted stages; no stage of a user is called so.
local IN <const>, OUT <const> = "\0in", "\0out"

local function copy(t)
  local result = {}
  for key, value in next, t do result[key] = value end
  return result
end

local function names_of(stages)
  local names = {}
  for i, definition in ipairs(stages) do names[i] = definition.name end
  return names
end

-- The definition of that name, and its place in the list.
local function find(self, method, name)
  options.value(options.types.name, name, method, "the stage")
  for i, definition in ipairs(self.stages) do
    if definition.name == name then return definition, i end
  end
  failure.raise(("%s: there is no stage '%s'%s"):format(method, name, options.hint(name, names_of(self.stages))))
end

local function check_editable(self, method)
  if self.editing then
    failure.raise(("%s is called inside a block whose stages are being inserted; call it behind the block"):format(
      method))
  end
  for _, definition in ipairs(self.stages) do
    for _, option in ipairs { "to", "from" } do
      for _, name in ipairs(definition[option] or {}) do
        if not self.by_name[name] then
          failure.raise(("%s: stage '%s' says %s = '%s', a stage that is not there%s; define it before"):format(method,
            definition.name, option, name, options.hint(name, names_of(self.stages))))
        end
      end
    end
  end
end

-- `definition.options` is what `replace` keeps.
local function set_option(definition, option, value)
  definition[option], definition.options[option] = value, value
end

-- --- edges by name: edges[from][to] = true -----------------------------------------------------------------------

local function edges_of(stages)
  local g, edges = graph.build(stages), {}
  for i, definition in ipairs(stages) do
    edges[definition.name] = {}
    for _, target in ipairs(g.outputs[i]) do edges[definition.name][stages[target].name] = true end
  end
  return edges
end

-- In the order of the stages.
local function targets_of(stages, edges, name)
  local list = {}
  for _, definition in ipairs(stages) do
    if edges[name][definition.name] then list[#list + 1] = definition.name end
  end
  return list
end

local function senders_of(stages, edges, name)
  local list = {}
  for _, definition in ipairs(stages) do
    if edges[definition.name][name] then list[#list + 1] = definition.name end
  end
  return list
end

local function same(a, b)
  return table.concat(a, "\0") == table.concat(b, "\0")
end

-- Draws what the default links do not give. Ends: each round draws one end of an edge or more, and when all are drawn
-- no default link is left.
local function impose(self, edges)
  local stages, drawn = self.stages, { to = {}, from = {} }
  local function draw(definition, option, present, wanted)
    if drawn[option][definition] or same(present, wanted) then return false end
    drawn[option][definition] = true
    set_option(definition, option, wanted)
    return true
  end
  repeat
    local present, changed = edges_of(stages), false
    for _, definition in ipairs(stages) do
      local name = definition.name
      changed = draw(definition, "to", targets_of(stages, present, name), targets_of(stages, edges, name)) or changed
      if definition.kind ~= "producer" then
        changed = draw(definition, "from", senders_of(stages, present, name), senders_of(stages, edges, name))
          or changed
      end
    end
  until not changed
end

-- A route function's answers know the old names of its targets.
local function rename_target(definition, old, new)
  local route = definition.route
  if not options.is_callable(route) then return end
  set_option(definition, "route", function(item)
    local answer, names = route(item), {}
    if answer ~= old and type(answer) ~= "table" then return answer end
    for _, name in ipairs(type(answer) == "table" and answer or { answer }) do
      if name == old then table.move(new, 1, #new, #names + 1, names) else names[#names + 1] = name end
    end
    return names
  end)
end

-- --- copies --------------------------------------------------------------------------------------------------------

-- Stages that share a context in the base share one in the copy; the copy's is an object of its own.
local function copy_stages(base, result)
  local contexts = {}
  local function context_of(context)
    if context == nil then return nil end
    contexts[context] = contexts[context] or copy(context)
    return contexts[context]
  end
  for i, definition in ipairs(base.stages) do
    local own = copy(definition)
    own.options, own.context, own.scope = copy(definition.options), context_of(definition.context),
      context_of(definition.scope)
    result.stages[i], result.by_name[own.name] = own, own
  end
end

--- Makes a pipeline that begins as a copy of this one: `p:extend([name,] [options,] [block])`.
--- Whatever is changed in the copy, the base stays as it is, and the other way round; hooks of the base run before
--- those that the copy adds. A context that the base has named may be defined anew in the copy. An iterator that is the
--- source of a producer is shared, and used up by the first run of either.
---@param name string the copy's, by default the base's
---@param options minigun.RunOptions of its runs, over those of the base
---@param block (fun(p: minigun.Pipeline))? called at once, with the copy
---@return minigun.Pipeline copy
function inheritance:extend(...)
  local name, given, block = ...
  if name ~= nil and type(name) ~= "string" then name, given, block = nil, name, given end
  if block == nil and options.is_callable(given) then given, block = nil, given end
  name = options.value(options.types.name, name or self.name, "extend", "the name")
  local subject = ("pipeline '%s'"):format(name)
  if block ~= nil and not options.is_callable(block) then
    failure.raise(("%s: extend takes a name, options and a block (a function that changes the copy), got %s"):format(
      subject, options.got(block)))
  end
  local result = setmetatable({
    name = name, options = copy(self.options), stages = {}, by_name = {}, hooks = {}, contexts = {},
    object = self.object,
  }, getmetatable(self))
  for key, value in next, options.check(options.schemas.run, given, subject) do result.options[key] = value end
  copy_stages(self, result)
  for i, hook in ipairs(self.hooks) do result.hooks[i] = copy(hook) end
  for context_name, context in next, self.contexts do
    result.contexts[context_name] = copy(context)
    result.contexts[context_name].inherited = true
  end
  if block then block(result) end
  return result
end

-- --- edits ---------------------------------------------------------------------------------------------------------

--- Puts another handler into a stage's place: `p:replace(name, [options,] [handler])`. Its edges stay, unless `to` or
--- `from` say otherwise.
---@param name string the stage
---@param options minigun.ProcessorOptions|minigun.ProducerOptions|minigun.AccumulatorOptions|integer
--- those not given are kept, a context takes the place of the old one, hooks run behind those that are there; of a
--- batch also its size
---@param handler any
--- of the form that the stage's method takes (of a `map`: `function(item) -> item`; of a producer: a source); without
--- one the old handler stays
---@return minigun.Pipeline self
function inheritance:replace(name, ...)
  local earlier, place = find(self, "replace", name)
  local label, parsed = earlier.label, stage.arguments(earlier.label, name, ...)
  if select("#", ...) == 0 then
    failure.raise(("replace: stage '%s': give options, a handler, or both"):format(name))
  end
  if label == "batch" and math.type(parsed.rest[1]) then
    parsed.options = copy(parsed.options or {})
    parsed.options.max_size, parsed.rest = parsed.rest[1], { n = 0 }
  elseif label == "batch" and parsed.rest.n > 0 then
    label = "accumulator"
  end
  local definition = stage.define(label, name, parsed, self.scope, earlier)
  self.stages[place], self.by_name[name] = definition, definition
  for _, hook in ipairs(stage.hooks_of(definition)) do table.insert(self.hooks, hook) end
  return self
end

local function without(names, name)
  local list = {}
  for _, other in ipairs(names) do
    if other ~= name then list[#list + 1] = other end
  end
  return list
end

-- What chose the removed stage's targets goes to those who sent to it.
local function hand_route_back(self, definition, senders, targets, edges)
  local function has_others(sender) return next(edges[sender], next(edges[sender])) ~= nil end
  for _, sender in ipairs(senders) do
    if definition.route ~= "broadcast" and #targets > 1 and has_others(sender) then
      failure.raise(("remove: stage '%s' chooses its targets with 'route', and '%s' sends to other stages too; " ..
        "reroute '%s' first"):format(definition.name, sender, sender))
    end
  end
  for _, sender in ipairs(senders) do
    local other = self.by_name[sender]
    if has_others(sender) then
      rename_target(other, definition.name, targets)
    else
      set_option(other, "route", definition.route)
    end
  end
end

--- Takes a stage out, with its hooks; those who sent to it send to whom it sent to: `p:remove(name)`.
---@param name string
---@return minigun.Pipeline self
function inheritance:remove(name)
  local definition, place = find(self, "remove", name)
  check_editable(self, "remove")
  local stages, edges = self.stages, edges_of(self.stages)
  local senders, targets = senders_of(stages, edges, name), targets_of(stages, edges, name)
  hand_route_back(self, definition, senders, targets, edges)
  table.remove(stages, place)
  self.by_name[name] = nil
  for _, other in ipairs(stages) do
    if other.to then set_option(other, "to", without(other.to, name)) end
    local from = other.from and without(other.from, name)
    if from then set_option(other, "from", #from > 0 and from or nil) end
    edges[other.name][name] = nil
  end
  for _, sender in ipairs(senders) do
    for _, target in ipairs(targets) do edges[sender][target] = true end
  end
  local hooks = {}
  for _, hook in ipairs(self.hooks) do
    if hook.stage ~= name then hooks[#hooks + 1] = hook end
  end
  self.hooks = hooks
  impose(self, edges)
  return self
end

-- Calls what defines stages, and takes them off the end of the list; nothing is left of them where it raises.
local function collect(self, method, scope, ...)
  local first, count, outer, hooks, done = ..., #self.stages, self.scope, #self.hooks, false
  local block = select("#", ...) == 1 and options.is_callable(first) and first
  if not block then options.value(options.types.name, first, method, "the name of the new stage") end
  local new = {}
  local _ <close> = setmetatable({}, { __close = function()
    self.scope, self.editing = outer, nil
    table.move(self.stages, count + 1, #self.stages, 1, new)
    for i = #self.stages, count + 1, -1 do
      if not done then self.by_name[self.stages[i].name] = nil end
      self.stages[i] = nil
    end
    if not done then
      for i = #self.hooks, hooks + 1, -1 do self.hooks[i] = nil end
    end
  end })
  self.scope, self.editing = outer or scope, true
  if block then block(self) else self:processor(...) end
  done = true
  return new
end

-- The edges with the new stages: linked as if they stood written between the two neighbours IN and OUT, which are names
-- of stages there are, or several stages each.
local function link(self, new, edges, enter, leave, neighbours)
  local function real(name) return neighbours[name] or { name } end
  local list = table.move(new, 1, #new, 2, { enter })
  list[#list + 1] = leave
  local inner = edges_of(list)
  for _, definition in ipairs(new) do edges[definition.name] = {} end
  for from, targets in next, inner do
    for to in next, targets do
      for _, a in ipairs(real(from)) do
        for _, b in ipairs(real(to)) do edges[a][b] = true end
      end
    end
  end
  for _, definition in ipairs(new) do
    for _, to in ipairs(definition.to or {}) do
      if self.by_name[to] then edges[definition.name][to] = true end
    end
    for _, from in ipairs(definition.from or {}) do
      if self.by_name[from] then edges[from][definition.name] = true end
    end
  end
  return inner
end

local function place_stages(self, new, place)
  table.move(self.stages, place, #self.stages, place + #new)
  table.move(new, 1, #new, place, self.stages)
end

--- Puts stages behind another: `p:insert_after(name, new_name, [options,] handler)`.
---@param name string the stage that sends to the new one, which sends to whom that one sent to, and takes over its
--- `route`
---@param new_name string
---@param options minigun.ProcessorOptions
---@param handler fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string
--- of a processor. Or instead of the last three a block, a function that defines any stages: they are put there in
--- order. Without a context of their own they run in the block that the stage `name` was defined in.
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, name: string, block: fun(p: minigun.Pipeline)): minigun.Pipeline
function inheritance:insert_after(name, ...)
  local anchor, place = find(self, "insert_after", name)
  check_editable(self, "insert_after")
  local edges = edges_of(self.stages)
  local targets = targets_of(self.stages, edges, name)
  local new = collect(self, "insert_after", anchor.scope, ...)
  edges[name] = {}
  local inner = link(self, new, edges, { name = name, kind = anchor.kind }, { name = OUT, kind = "processor" },
    { [OUT] = targets })
  if not inner[name][OUT] then
    for _, definition in ipairs(new) do
      if inner[definition.name][OUT] and definition.options.route == nil then
        set_option(definition, "route", anchor.route)
      end
    end
    set_option(anchor, "route", "broadcast")
  end
  place_stages(self, new, place + 1)
  impose(self, edges)
  return self
end

--- Puts stages before another: `p:insert_before(name, new_name, [options,] handler)`.
---@param name string the stage that receives from the new one; who sent to it sends to the new one
---@param new_name string
---@param options minigun.ProcessorOptions
---@param handler fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string
--- of a processor; or a block instead of the last three, as for `insert_after`
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, name: string, block: fun(p: minigun.Pipeline)): minigun.Pipeline
function inheritance:insert_before(name, ...)
  local anchor, place = find(self, "insert_before", name)
  check_editable(self, "insert_before")
  if anchor.kind == "producer" then
    failure.raise(("insert_before: stage '%s' is a producer, which receives no items; use insert_after"):format(name))
  end
  local edges = edges_of(self.stages)
  local senders = senders_of(self.stages, edges, name)
  local new = collect(self, "insert_before", anchor.scope, ...)
  for _, sender in ipairs(senders) do edges[sender][name] = nil end
  local inner = link(self, new, edges, { name = IN, kind = "processor" }, { name = name, kind = anchor.kind },
    { [IN] = senders })
  if not inner[IN][name] then
    for _, sender in ipairs(senders) do
      rename_target(self.by_name[sender], name, targets_of(new, inner, IN))
    end
  end
  place_stages(self, new, place)
  impose(self, edges)
  return self
end

--- Draws the edges out of a stage anew: `p:reroute(from, to)`. A stage that receives nothing any more is refused when
--- the pipeline runs: remove it, or send it something. A `route` function stays, and has to name the new targets.
---@param from string the stage
---@param to string|string[] those who receive its items, and nobody else; `{}`: terminal
---@return minigun.Pipeline self
function inheritance:reroute(from, to)
  local definition = find(self, "reroute", from)
  check_editable(self, "reroute")
  local names = options.value(options.types.names(true), to, "reroute", "the targets")
  local edges = edges_of(self.stages)
  edges[from] = {}
  for _, name in ipairs(names) do
    local target = find(self, "reroute", name)
    if target == definition or target.kind == "producer" then
      failure.raise(("reroute: stage '%s' cannot send to '%s', %s"):format(from, name,
        target == definition and "itself" or "a producer, which receives no items"))
    end
    edges[from][name] = true
  end
  set_option(definition, "to", names)
  definition.rerouted = failure.where()
  impose(self, edges)
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
