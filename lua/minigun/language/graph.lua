--- The graph: from definitions in order to edges, a topological order and a list of what is wrong.
--
-- Edges come from three sources, in this order:
-- 1. `to` and `from` options; both forms mean the same edges, and an edge drawn twice counts once.
-- 2. A stage without `from` receives from the stage defined before it, unless that stage says `to`, both are drawn to
--    by the same stage (branches of a fan-out), both are nested pipelines, or the edge would close a cycle. Producers
--    are passed over: they receive nothing and do not interrupt the chain they stand in. A stage that says `await` has
--    no default input: `emit:to` reaches it.
-- 3. A producer without `to` sends to the next stage that is no producer, unless that says `from`.
--
-- In 2 and 3 a nested pipeline counts as one stage; without entry stages (see below) it has no default input, and
-- counts as a producer if there is one in it. What is in it is linked among itself. Then each edge of a nested pipeline
-- is drawn anew between stages:
-- - into it: to each of its entry stages, those without an input in their own pipeline, that say neither `from` nor
--   `await`;
-- - out of it: from each of its exit stages, those without an output in their own pipeline, that do not say `to`, or
--   {}.
local ends = require "minigun.language.ends"
local mistakes = require "minigun.language.mistakes"
local nesting = require "minigun.language.names"

local graph = {}

-- `by`: the node that says so.
local function add_edge(from, to, by)
  if from.edge[to] then return end
  from.edge[to] = by
  table.insert(from.outputs, to)
  table.insert(to.inputs, from)
end

-- --- nodes, as drawn -----------------------------------------------------------------------------------------------

local function explicit_edges(g)
  for _, node in ipairs(g.tree.nodes) do
    local definition = node.definition
    local function find(option, name)
      local other, choices = nesting.find(g.tree, node.parent, name)
      if other then return other end
      mistakes.add(g, definition.at, "stage '%s': option '%s' names %s '%s'%s", node.name, option,
        choices and "the stage" or "an unknown stage", name, nesting.hint(g.tree, node.parent, name, choices))
    end
    for _, name in ipairs(definition.to or {}) do
      local target = find("to", name)
      if target and target.kind == "producer" then
        mistakes.add(g, definition.at, "stage '%s': option 'to' names '%s', a producer, which receives no items",
          node.name, name)
      elseif target then
        add_edge(node, target, node)
      end
    end
    for _, name in ipairs(definition.from or {}) do
      local source = find("from", name)
      if not source then node.misses_input = true -- which is said, and explains that nothing comes
      elseif node.kind ~= "producer" then add_edge(source, node, node) end
    end
  end
end

-- The edges out of a stage: its own, and those of the pipelines around it whose exit stage it is.
-- f(target, node): `node` is what the edge was drawn from, the stage or a pipeline around it.
local function each_output(stage, f)
  local node = stage
  while true do
    for _, target in ipairs(node.outputs) do f(target, node) end
    if not node.parent.parent or not ends.is_exit(node) then return end
    node = node.parent
  end
end

local function reaches(from, goals, seen)
  if goals[from] then return true end
  seen[from] = true
  local found = false
  each_output(from, function(target)
    for _, entry in ipairs(ends.entries(target)) do
      found = found or not seen[entry] and reaches(entry, goals, seen)
    end
  end)
  return found
end

local function closes_cycle(from, to)
  local goals, seen = {}, {}
  for _, exit in ipairs(ends.exits(from)) do goals[exit] = true end
  for _, entry in ipairs(ends.entries(to)) do
    if not seen[entry] and reaches(entry, goals, seen) then return true end
  end
  return false
end

-- The nodes that send to a node or into it, each by the node beside it.
local function senders(node, level, found)
  for _, source in ipairs(node.inputs) do
    while source.parent and source.parent ~= level and nesting.inside(source, level) do source = source.parent end
    found[source] = true
  end
  for _, child in ipairs(node.children or {}) do senders(child, level, found) end
  return found
end

local function share_input(a, b)
  local of_a, of_b = senders(a, a.parent, {}), senders(b, b.parent, {})
  of_b[b] = nil
  of_a[a] = nil
  for source in pairs(of_b) do
    if of_a[source] then return true end
  end
  return false
end

local function is_open(node) return not node.children or #ends.entries(node) > 0 end

local function produces(node)
  if node.kind == "producer" then return true end
  for _, child in ipairs(node.children or {}) do
    if produces(child) then return true end
  end
  return false
end

local function is_source(node)
  return node.kind == "producer" or node.children and not is_open(node) and produces(node)
end

-- Branches are recognised by the edges that the user drew, so all links are chosen before the first is added.
local function default_edges(parent)
  local links, before, producers = {}, nil, {}
  local function link(from, to)
    if not (from.children and to.children) then links[#links + 1] = { from, to } end
  end
  for _, node in ipairs(parent.children) do
    local definition = node.definition
    if node.children then default_edges(node) end
    if is_source(node) then
      if not definition.to then producers[#producers + 1] = node end
    else
      local takes = definition.await == nil and is_open(node)
      if not definition.from and takes then
        if before and not before.definition.to and not share_input(before, node) then link(before, node) end
        for _, producer in ipairs(producers) do link(producer, node) end
      end
      before = node
      if takes or definition.from then producers = {} end
    end
  end
  for _, each in ipairs(links) do
    if not closes_cycle(each[1], each[2]) then add_edge(each[1], each[2], each[2]) end
  end
end

-- --- stages, as run ------------------------------------------------------------------------------------------------

-- What a stage says itself, or, for an entry stage of a nested pipeline, what that says.
local function await_of(node)
  while node.parent do
    if node.definition.await ~= nil then return node.definition.await end
    if not ends.is_entry(node) then return nil end
    node = node.parent
  end
end

-- The same of `route` and the exit stages: the value, and the node that says it.
local function route_of(node)
  while node.parent do
    local route = node.definition.options and node.definition.options.route
    if route ~= nil then return route, node end
    if not ends.is_exit(node) then return nil end
    node = node.parent
  end
end

local function draw_stages(g)
  local index = {}
  for _, node in ipairs(g.tree.nodes) do
    if not node.children then
      g.nodes[#g.nodes + 1] = node
      index[node] = #g.nodes
    end
  end
  for i, node in ipairs(g.nodes) do
    node.await, node.groups, g.outputs[i], g.inputs[i] = await_of(node), {}, {}, g.inputs[i] or {}
    node.route, node.routed_by = route_of(node)
    local edge = {}
    each_output(node, function(target, from)
      local group = ends.entries(target)
      if #group == 0 then
        mistakes.add(g, from.edge[target].definition.at,
          "stage '%s': it sends to '%s', a pipeline in which every stage " ..
          "has an input of its own; name one of them, as in '%s.name'", from.name, target.name, target.name)
      end
      group.name = target.name
      table.insert(node.groups, group)
      for k, entry in ipairs(group) do
        local other = index[entry]
        group[k] = other
        if not edge[other] then
          edge[other] = true
          table.insert(g.outputs[i], other)
          g.inputs[other] = g.inputs[other] or {}
          table.insert(g.inputs[other], i)
        end
      end
    end)
  end
end

-- Of the stages whose inputs are all placed, the one defined first comes next: for a chain that is the order of
-- definition. What remains without such a stage is on a cycle or after one.
local function topological_order(g)
  local waiting, placed, order, at = {}, {}, {}, 1
  for i in ipairs(g.nodes) do waiting[i] = #g.inputs[i] end
  while at <= #g.nodes do -- none before `at` can come next
    local next = at + 1
    if not placed[at] and waiting[at] == 0 then
      placed[at], order[#order + 1] = true, at
      for _, target in ipairs(g.outputs[at]) do
        waiting[target] = waiting[target] - 1
        if waiting[target] == 0 then next = math.min(next, target) end
      end
    end
    at = next
  end
  local complete = #order == #g.nodes
  for i in ipairs(g.nodes) do
    if not placed[i] then order[#order + 1] = i end
  end
  return order, complete
end

local function sort_edges(g)
  local rank = {}
  for position, i in ipairs(g.order) do rank[i] = position end
  local function by_rank(a, b) return rank[a] < rank[b] end
  local function by_first(a, b) return (rank[a[1]] or 0) < (rank[b[1]] or 0) end
  for i, node in ipairs(g.nodes) do
    table.sort(g.outputs[i], by_rank)
    table.sort(g.inputs[i], by_rank)
    for _, group in ipairs(node.groups) do table.sort(group, by_rank) end
    table.sort(node.groups, by_first)
  end
end

--- Draws the edges between the definitions as they were written, nested pipelines as single nodes. Never raises.
---@param definitions table see `build`
---@return table tree see language/names.lua; its nodes have `outputs` and `inputs`, arrays of nodes
function graph.draw(definitions)
  local g = { tree = nesting.tree(definitions), problems = {} }
  explicit_edges(g)
  default_edges(g.tree.root)
  return g.tree
end

--- Draws the graph of a list of definitions. Never raises: what is wrong is listed.
---@param definitions table
--- array of `{ name =, kind =, to = names?, from = names?, await =, at = "file:line", inner = pipeline? }`, names
--- unique
---@param pipeline table? whose they are
---@return table g
--- `nodes`: all stages, those of nested pipelines too, in order of definition (see language/names.lua). Each has
--- `await`,
--- `route`, its own or that of a pipeline around it, `routed_by` (the node that says `route`), and `groups` (for
--- each edge as drawn, an array of the indices that it leads to, with `name`). `tree`: that of the nodes; `order`:
--- indices of `nodes`, stable topological (by definition where the graph leaves a choice); `outputs`, `inputs`: index
--- -> array of indices in that order, each once; `problems`: array of `{ message =, at = "file:line" or nil for the
--- whole }`, the most basic first
function graph.build(definitions, pipeline)
  local g = { tree = nesting.tree(definitions, pipeline), nodes = {}, outputs = {}, inputs = {}, problems = {} }
  mistakes.check_names(g)
  explicit_edges(g)
  default_edges(g.tree.root)
  draw_stages(g)
  local complete
  g.order, complete = topological_order(g)
  mistakes.check_flow(g, complete)
  sort_edges(g)
  return g
end

--- What a node sends and receives as an exit or entry stage of the pipelines around it.
---@param node table as from `draw`
---@return table senders names
---@return table targets names
function graph.through(node)
  local sources, targets, stage = {}, {}, node
  each_output(node, function(target, from)
    if from ~= stage then targets[#targets + 1] = target.name end
  end)
  while node.parent.parent and ends.is_entry(node) do
    node = node.parent
    for _, source in ipairs(node.inputs) do sources[#sources + 1] = source.name end
  end
  return sources, targets
end

return graph
