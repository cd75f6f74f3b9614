--- The graph: from definitions in order to edges, a topological order and a list of what is wrong.
--
-- Edges come from three sources, in this order:
-- 1. `to` and `from` options; both forms mean the same edges, and an edge drawn twice counts once.
-- 2. A stage without `from` receives from the stage defined before it, unless that one says `to`, both are drawn to by
--    the same stage (branches of a fan-out), or the edge would close a cycle. Producers are passed over: they receive
--    nothing and do not interrupt the chain they stand in.
--    A stage that says `await` has no default input: `emit:to` reaches it.
-- 3. A producer without `to` sends to the next non-producer, unless that one says `from`.
local options = require "minigun.options"

local graph = {}

local function add_edge(g, from, to, at)
  if g.edge[from][to] then return end
  g.edge[from][to] = at or true
  table.insert(g.outputs[from], to)
  table.insert(g.inputs[to], from)
end

local function problem(g, at, text, ...)
  table.insert(g.problems, { at = at, message = text:format(...) })
end

local function explicit_edges(g)
  local index, names = {}, {}
  for i, definition in ipairs(g.definitions) do
    index[definition.name] = i
    names[i] = definition.name
  end
  for i, definition in ipairs(g.definitions) do
    for _, name in ipairs(definition.to or {}) do
      local target = index[name]
      if not target then
        problem(g, definition.at, "stage '%s': option 'to' names an unknown stage '%s'%s",
          definition.name, name, options.hint(name, names))
      elseif g.definitions[target].kind == "producer" then
        problem(g, definition.at, "stage '%s': option 'to' names '%s', a producer, which receives no items",
          definition.name, name)
      else
        add_edge(g, i, target, definition.at)
      end
    end
    for _, name in ipairs(definition.from or {}) do
      local source = index[name]
      if not source then
        problem(g, definition.at, "stage '%s': option 'from' names an unknown stage '%s'%s",
          definition.name, name, options.hint(name, names))
      elseif definition.kind ~= "producer" then
        add_edge(g, source, i, definition.at)
      end
    end
  end
end

local function share_input(g, a, b)
  for _, source in ipairs(g.inputs[a]) do
    if g.edge[source][b] then return true end
  end
  return false
end

local function reaches(g, from, to, seen)
  if from == to then return true end
  seen = seen or {}
  seen[from] = true
  for _, next_stage in ipairs(g.outputs[from]) do
    if not seen[next_stage] and reaches(g, next_stage, to, seen) then return true end
  end
  return false
end

-- Branches are told by the edges the user drew, so all links are chosen before the first is added.
local function default_edges(g)
  local links, before, producers = {}, nil, {}
  for i, definition in ipairs(g.definitions) do
    if definition.kind == "producer" then
      if not definition.to then producers[#producers + 1] = i end
    else
      if not definition.from and definition.await == nil then
        if before and not g.definitions[before].to and not share_input(g, before, i) then
          links[#links + 1] = { before, i }
        end
        for _, producer in ipairs(producers) do links[#links + 1] = { producer, i } end
      end
      before = i
      if definition.await == nil or definition.from then producers = {} end
    end
  end
  for _, link in ipairs(links) do
    if not reaches(g, link[2], link[1]) then add_edge(g, link[1], link[2]) end
  end
end

-- Of the stages whose inputs are all placed, the one defined first comes next: for a chain that is the order of
-- definition. What remains without such a stage is on a cycle or behind one.
local function topological_order(g)
  local waiting, placed, order = {}, {}, {}
  for i in ipairs(g.definitions) do waiting[i] = #g.inputs[i] end
  local found = true
  while found do
    found = false
    for i in ipairs(g.definitions) do
      if not placed[i] and waiting[i] == 0 then
        placed[i], found = true, true
        order[#order + 1] = i
        for _, target in ipairs(g.outputs[i]) do waiting[target] = waiting[target] - 1 end
        break
      end
    end
  end
  local complete = #order == #g.definitions
  for i in ipairs(g.definitions) do
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
  for i in ipairs(g.definitions) do
    local cycle = not state[i] and visit(i)
    if cycle then return cycle end
  end
end

-- The blame goes to an edge that was drawn anew, else to the one that was defined last: before it there was no cycle.
local function report_cycle(g, cycle)
  local names, blamed = {}, cycle[1]
  for k, i in ipairs(cycle) do
    names[k] = g.definitions[i].name
    local edit, before = g.definitions[i].rerouted, g.definitions[blamed].rerouted
    if edit and not before or i > blamed and (edit or not before) then blamed = i end
  end
  names[#names + 1] = names[1]
  local definition = g.definitions[blamed]
  problem(g, definition.rerouted or definition.at, "stage '%s': the edges form a cycle: %s; a cycle never ends",
    definition.name, table.concat(names, " -> "))
end

local function report_unreached(g, i)
  local definition = g.definitions[i]
  local before
  for k = 1, i - 1 do
    if g.definitions[k].kind ~= "producer" or k == i - 1 then before = g.definitions[k] end
  end
  local why = "no stage is defined before it"
  if definition.from then
    why = "what it says in 'from' is not there"
  elseif before and before.to then
    why = ("'%s', defined before it, says 'to' and does not name it"):format(before.name)
  elseif before then
    why = ("it is not linked to '%s', defined before it, as that would close a cycle"):format(before.name)
  end
  problem(g, definition.at, "stage '%s': no stage sends it anything: %s; say 'from', name it in a 'to', or say " ..
    "'await = true' if emit:to reaches it", definition.name, why)
end

local function check_flow(g, complete)
  if not complete then return report_cycle(g, find_cycle(g)) end
  local producers = 0
  for _, definition in ipairs(g.definitions) do
    if definition.kind == "producer" then producers = producers + 1 end
  end
  if producers == 0 then
    local what = #g.definitions == 0 and "it has no stages" or "nothing would ever flow"
    return problem(g, nil, "there is no producer: %s", what)
  end
  for i, definition in ipairs(g.definitions) do
    local fed = definition.kind == "producer" or #g.inputs[i] > 0 or definition.await ~= nil
    if not fed then report_unreached(g, i) end
  end
end

--- Draws the graph of a list of definitions. Never raises: what is wrong is listed.
---@param definitions table array of `{ name =, kind =, to = names?, from = names?, at = "file:line" }`, names unique
---@return table g
--- `order`: indices of `definitions`, stable topological (by definition where the graph leaves a choice);
--- `outputs`, `inputs`: index -> array of indices in that order, each once;
--- `problems`: array of `{ message =, at = "file:line" or nil for the whole }`, the most basic first
function graph.build(definitions)
  local g = { definitions = definitions, outputs = {}, inputs = {}, edge = {}, problems = {} }
  for i in ipairs(definitions) do
    g.outputs[i], g.inputs[i], g.edge[i] = {}, {}, {}
  end
  explicit_edges(g)
  default_edges(g)
  local complete
  g.order, complete = topological_order(g)
  check_flow(g, complete)
  local rank = {}
  for position, i in ipairs(g.order) do rank[i] = position end
  local function by_rank(a, b) return rank[a] < rank[b] end
  for i in ipairs(definitions) do
    table.sort(g.outputs[i], by_rank)
    table.sort(g.inputs[i], by_rank)
  end
  return g
end

return graph
