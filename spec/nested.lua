--- What the specs of nested pipelines share.
local contexts = require "spec.contexts"
local minigun = require "minigun"

local nested = {}

--- A pipeline called "outer".
function nested.new(given)
  return minigun.pipeline("outer", given)
end

--- A handler that adds a mark to each item that passes: items tell their way.
---@param name string
function nested.mark(name)
  return function(item, emit) emit(item .. name) end
end

--- Adds stages that mark, one for each word.
---@param inner table pipeline
---@param names string
function nested.chain(inner, names)
  for name in names:gmatch "%S+" do inner:processor(name, nested.mark(name)) end
  return inner
end

--- Fills a pipeline with two entries and two exits: a -> c, b -> d.
---@param inner table pipeline
function nested.lanes(inner)
  local mark = nested.mark
  return inner:processor("a", { to = "c" }, mark "a"):processor("b", { to = "d" }, mark "b")
    :processor("c", { to = {} }, mark "c"):processor("d", { from = "b" }, mark "d")
end

--- The edges between stages as text: "gen>x.a x.a>x.b".
---@param p table pipeline
---@return string
function nested.edges(p)
  local g, list = require("minigun.language.graph").build(p.stages, p), {}
  assert(#g.problems == 0, g.problems[1] and g.problems[1].message)
  for _, i in ipairs(g.order) do
    local targets = {}
    for k, target in ipairs(g.outputs[i]) do targets[k] = g.nodes[target].name end
    if #targets > 0 then list[#list + 1] = g.nodes[i].name .. ">" .. table.concat(targets, ",") end
  end
  return table.concat(list, " ")
end

--- The items of a run, sorted.
---@param p table pipeline
---@return table
function nested.items(p)
  return contexts.sorted(p:run().items)
end

--- Puts a function that defines stages into a context.
---@param p table pipeline
---@param context table of spec/contexts.lua
---@param f function
function nested.within(p, context, f)
  if context.threads then return p:threads(context.n, f) end
  if context.inline then return p:inline(f) end
  if context.per_item then return p:process_per_batch(context.options.process_per_batch, f) end
  return p:processes(context.n, f)
end

-- --- random nestings -----------------------------------------------------------------------------------------------

--- A random pipeline as data: an array of nodes in order of definition.
---@param depth integer how deep pipelines may be nested in it
---@param list table contexts to choose from
---@return table nodes
--- `{ name =, from = { earlier nodes }, entry =, exit =, before = "", after = "", context =, inner = nodes? }`;
--- `before` and `after`: marks put on before and after it
function nested.random(depth, list)
  local nodes = {}
  for i = 1, math.random(3) do
    local node = { name = "n" .. i, from = {}, exit = true, before = "", after = "" }
    node.context = list[math.random(#list)]
    for k = 1, i - 1 do
      if math.random(2) == 1 then
        node.from[#node.from + 1] = nodes[k]
        nodes[k].exit = false
      end
    end
    node.entry = #node.from == 0
    if depth > 0 and math.random(3) > 1 then node.inner = nested.random(depth - 1, list) end
    nodes[i] = node
  end
  return nodes
end

--- What comes out of it, computed level by level.
---@param nodes table
---@param input table items
---@return table items
function nested.expected(nodes, input)
  local outputs, result = {}, {}
  for _, node in ipairs(nodes) do
    local taken = node.entry and table.move(input, 1, #input, 1, {}) or {}
    for _, source in ipairs(node.from) do
      table.move(outputs[source], 1, #outputs[source], #taken + 1, taken)
    end
    for i, item in ipairs(taken) do taken[i] = item .. node.before end
    if node.inner then
      taken = nested.expected(node.inner, taken)
    else
      for i, item in ipairs(taken) do taken[i] = item .. node.name end
    end
    for i, item in ipairs(taken) do taken[i] = item .. node.after end
    outputs[node] = taken
    if node.exit then table.move(taken, 1, #taken, #result + 1, result) end
  end
  return result
end

--- Defines the same stages, between a producer "gen" and a stage "end". Every one says `to`, so that nothing is linked
--- by default.
---@param p table pipeline
---@param nodes table
---@param inside boolean? true: `nodes` are those of a nested pipeline
---@return table p
function nested.define(p, nodes, inside)
  for _, node in ipairs(nodes) do
    local from, to = {}, {}
    for i, source in ipairs(node.from) do from[i] = source.name end
    if not inside and #from == 0 then from = { "gen" } end
    for _, other in ipairs(nodes) do
      for _, source in ipairs(other.from) do
        if source == node then to[#to + 1] = other.name end
      end
    end
    if not inside and node.exit then to[#to + 1] = "end" end
    local given = { from = #from > 0 and from or nil, to = to }
    if not node.inner or math.random(2) == 1 then given = contexts.options(node.context, given) end
    if node.inner then
      p:pipeline(node.name, given, function(q) nested.define(q, node.inner, true) end)
    else
      p:processor(node.name, given, nested.mark(node.name))
    end
  end
  return p
end

return nested
