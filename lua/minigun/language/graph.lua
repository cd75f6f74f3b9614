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
-- In 2 and 3 a nested pipeline counts as one stage; without entries (see below) it has no default input, and counts as
-- a producer if there is one in it. What is in it is linked among itself. Then each edge of a nested pipeline is drawn
-- anew between stages:
-- - into it: to each of its entries, the stages without an input in their own pipeline, that say neither `from` nor
--   `await`;
-- - out of it: from each of its exits, the stages without an output in their own pipeline, that do not say `to`, or {}.
local nesting = require "minigun.language.names"

local graph = {}

-- `by`: the node that says so.
local function add_edge(from, to, by)
  if from.edge[to] then return end
  from.edge[to] = by
  table.insert(from.outputs, to)
  table.insert(to.inputs, from)
end

local function problem(g, at, text, ...)
  local message = text:format(...)
  local last = g.problems[#g.problems]
  if not last or last.message ~= message then table.insert(g.problems, { at = at, message = message }) end
end

-- --- nodes, as drawn -----------------------------------------------------------------------------------------------

local function explicit_edges(g)
  for _, node in ipairs(g.tree.nodes) do
    local definition = node.definition
    local function find(option, name)
      local other, choices = nesting.find(g.tree, node.parent, name)
      if other then return other end
      problem(g, definition.at, "stage '%s': option '%s' names %s '%s'%s", node.name, option,
        choices and "the stage" or "an unknown stage", name, nesting.hint(g.tree, node.parent, name, choices))
    end
    for _, name in ipairs(definition.to or {}) do
      local target = find("to", name)
      if target and target.kind == "producer" then
        problem(g, definition.at, "stage '%s': option 'to' names '%s', a producer, which receives no items",
          node.name, name)
      elseif target then
        add_edge(node, target, node)
      end
    end
    for _, name in ipairs(definition.from or {}) do
      local source = find("from", name)
      if source and node.kind ~= "producer" then add_edge(source, node, node) end
    end
  end
end

local function linked_inside(list, parent)
  for _, other in ipairs(list) do
    if nesting.inside(other, parent) then return true end
  end
  return false
end

local function is_entry(node)
  local definition = node.definition
  return node.kind ~= "producer" and not definition.from and definition.await == nil
    and not linked_inside(node.inputs, node.parent)
end

local function is_exit(node)
  local to = node.definition.to
  return (not to or #to == 0) and not linked_inside(node.outputs, node.parent)
end

local function collect(node, belongs, list)
  if not node.children then list[#list + 1] = node end
  for _, child in ipairs(node.children or {}) do
    if belongs(child) then collect(child, belongs, list) end
  end
  return list
end

-- The stages that receive what is sent to a node, and those that emit what it sends.
local function entries(node) return collect(node, is_entry, {}) end
local function exits(node) return collect(node, is_exit, {}) end

-- The edges out of a stage: its own, and those of the pipelines around it that it is an exit of.
-- f(target, node): `node` is what the edge was drawn from, the stage or a pipeline around it.
local function each_output(stage, f)
  local node = stage
  while true do
    for _, target in ipairs(node.outputs) do f(target, node) end
    if not node.parent.parent or not is_exit(node) then return end
    node = node.parent
  end
end

local function reaches(from, goals, seen)
  if goals[from] then return true end
  seen[from] = true
  local found = false
  each_output(from, function(target)
    for _, entry in ipairs(entries(target)) do
      found = found or not seen[entry] and reaches(entry, goals, seen)
    end
  end)
  return found
end

local function closes_cycle(from, to)
  local goals, seen = {}, {}
  for _, exit in ipairs(exits(from)) do goals[exit] = true end
  for _, entry in ipairs(entries(to)) do
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

local function is_open(node) return not node.children or #entries(node) > 0 end

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

-- Branches are told by the edges the user drew, so all links are chosen before the first is added.
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

-- What a stage says itself, or, for an entry of a nested pipeline, what that says.
local function await_of(node)
  while node.parent do
    if node.definition.await ~= nil then return node.definition.await end
    if not is_entry(node) then return nil end
    node = node.parent
  end
end

-- The same of `route` and the exits: the value, and the node that says it.
local function route_of(node)
  while node.parent do
    local route = node.definition.options and node.definition.options.route
    if route ~= nil then return route, node end
    if not is_exit(node) then return nil end
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
      local group = entries(target)
      if #group == 0 then
        problem(g, from.edge[target].definition.at, "stage '%s': it sends to '%s', a pipeline in which every stage " ..
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
  local waiting, placed, order = {}, {}, {}
  for i in ipairs(g.nodes) do waiting[i] = #g.inputs[i] end
  local found = true
  while found do
    found = false
    for i in ipairs(g.nodes) do
      if not placed[i] and waiting[i] == 0 then
        placed[i], found = true, true
        order[#order + 1] = i
        for _, target in ipairs(g.outputs[i]) do waiting[target] = waiting[target] - 1 end
        break
      end
    end
  end
  local complete = #order == #g.nodes
  for i in ipairs(g.nodes) do
    if not placed[i] then order[#order + 1] = i end
  end
  return order, complete
end

local function find_cycle(g)
  local state, path = {}, {}
  local function visit(i)
    state[i] = "open"
    path[#path + 1] = i
    for _, target in ipairs(g.outputs[i]) do
      if state[target] == "open" then
        local first = #path
        while path[first] ~= target do first = first - 1 end
        return table.move(path, first, #path, 1, {})
      end
      local cycle = not state[target] and visit(target)
      if cycle then return cycle end
    end
    path[#path] = nil
    state[i] = "done"
  end
  for i in ipairs(g.nodes) do
    local cycle = not state[i] and visit(i)
    if cycle then return cycle end
  end
end

-- The pipeline, root or nested, that has all of these stages in it.
local function around(g, list)
  local where = g.nodes[list[1]].parent
  for _, i in ipairs(list) do
    while not nesting.inside(g.nodes[i], where) do where = where.parent end
  end
  return where
end

-- The message names an edge that was drawn anew, else the edge that was defined last: before it there was no cycle.
-- Where a nested pipeline does not hold the whole cycle it is named for what is in it.
local function report_cycle(g, cycle)
  local where, names, blamed, last = around(g, cycle), {}, nil, 0
  for k, i in ipairs(cycle) do
    local node = g.nodes[i]
    names[k] = node.name
    while node.parent ~= where do node = node.parent end
    local edit, before = node.definition.rerouted, blamed and blamed.definition.rerouted
    if edit and not before or i > last and (edit or not before) then blamed, last = node, i end
  end
  names[#names + 1] = names[1]
  problem(g, blamed.definition.rerouted or blamed.definition.at, "stage '%s': the edges form a cycle: %s; a cycle " ..
    "never ends", blamed.name, table.concat(names, " -> "))
end

local function report_unreached(g, node)
  while node.parent.parent and is_entry(node) do node = node.parent end
  local before
  for k, other in ipairs(node.parent.children) do
    if other == node then break end
    if other.kind ~= "producer" or node.parent.children[k + 1] == node then before = other end
  end
  local definition = node.definition
  local why = "no stage is defined before it"
  if definition.from then
    why = "what it says in 'from' is not there"
  elseif before and before.definition.to then
    why = ("'%s', defined before it, says 'to' and does not name it"):format(before.name)
  elseif before and before.children and node.children then
    why = ("'%s', defined before it, is a nested pipeline too, and two of them are not linked by themselves"):format(
      before.name)
  elseif before and #exits(before) == 0 then
    why = ("every stage of '%s', defined before it, sends elsewhere"):format(before.name)
  elseif before then
    why = ("it is not linked to '%s', defined before it, as that would close a cycle"):format(before.name)
  end
  problem(g, definition.at, "stage '%s': no stage sends it anything: %s; say 'from', name it in a 'to', or say " ..
    "'await = true' if emit:to reaches it", node.name, why)
end

local function check_names(g)
  for _, pair in ipairs(g.tree.twice) do
    local own, qualified = pair[1].definition, pair[2].definition
    if #own.name < #qualified.name then own, qualified = qualified, own end -- the one with a dot of its own is to blame
    problem(g, own.at, "stage '%s': the name is taken by the stage defined at %s, which its pipeline's name qualifies",
      pair[1].name, qualified.at)
  end
  for _, node in ipairs(g.tree.nodes) do
    if node.children and #node.children == 0 then
      problem(g, node.definition.at, "stage '%s': the nested pipeline has no stages", node.name)
    end
  end
end

local function check_flow(g, complete)
  if not complete then return report_cycle(g, find_cycle(g)) end
  local producers = 0
  for _, node in ipairs(g.nodes) do
    if node.kind == "producer" then producers = producers + 1 end
  end
  if producers == 0 then
    local what = #g.nodes == 0 and "it has no stages" or "nothing would ever flow"
    return problem(g, nil, "there is no producer: %s", what)
  end
  for i, node in ipairs(g.nodes) do
    if node.kind ~= "producer" and #g.inputs[i] == 0 and node.await == nil then report_unreached(g, node) end
  end
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
  check_names(g)
  explicit_edges(g)
  default_edges(g.tree.root)
  draw_stages(g)
  local complete
  g.order, complete = topological_order(g)
  check_flow(g, complete)
  sort_edges(g)
  return g
end

--- What a node sends and receives as an exit or entry of the pipelines around it.
---@param node table as from `draw`
---@return table senders names
---@return table targets names
function graph.through(node)
  local sources, targets, stage = {}, {}, node
  each_output(node, function(target, from)
    if from ~= stage then targets[#targets + 1] = target.name end
  end)
  while node.parent.parent and is_entry(node) do
    node = node.parent
    for _, source in ipairs(node.inputs) do sources[#sources + 1] = source.name end
  end
  return sources, targets
end

--- The stages that receive what is sent to a node: itself, or the entries of a nested pipeline.
---@param node table
---@return table nodes array
function graph.entries(node) return entries(node) end

return graph
