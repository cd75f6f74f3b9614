--- Mistakes in a graph: names that are taken, cycles, stages that nothing reaches. Each is listed with the place of the
-- definition to blame; nothing raises.
local ends = require "minigun.language.ends"
local nesting = require "minigun.language.names"

local mistakes = {}

--- Lists a mistake, unless the one before says the same.
---@param g table the graph, with `problems`
---@param at string? "file:line"; nil: of the whole
---@param text string for string.format
function mistakes.add(g, at, text, ...)
  local message = text:format(...)
  local last = g.problems[#g.problems]
  if not last or last.message ~= message then table.insert(g.problems, { at = at, message = message }) end
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
  mistakes.add(g, blamed.definition.rerouted or blamed.definition.at, "stage '%s': the edges form a cycle: %s; a " ..
    "cycle never ends", blamed.name, table.concat(names, " -> "))
end

local function report_unreached(g, node)
  while node.parent.parent and ends.is_entry(node) do node = node.parent end
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
  elseif before and #ends.exits(before) == 0 then
    why = ("every stage of '%s', defined before it, sends elsewhere"):format(before.name)
  elseif before then
    why = ("it is not linked to '%s', defined before it, as that would close a cycle"):format(before.name)
  end
  mistakes.add(g, definition.at, "stage '%s': no stage sends it anything: %s; say 'from', name it in a 'to', or say " ..
    "'await = true' if emit:to reaches it", node.name, why)
end

--- Lists names that are taken, and nested pipelines without stages.
---@param g table
function mistakes.check_names(g)
  for _, pair in ipairs(g.tree.twice) do
    local own, qualified = pair[1].definition, pair[2].definition
    if #own.name < #qualified.name then own, qualified = qualified, own end -- the one with a dot of its own is to blame
    mistakes.add(g, own.at, "stage '%s': the name is taken by the stage defined at %s, which its pipeline's name " ..
      "qualifies", pair[1].name, qualified.at)
  end
  for _, node in ipairs(g.tree.nodes) do
    if node.children and #node.children == 0 then
      mistakes.add(g, node.definition.at, "stage '%s': the nested pipeline has no stages", node.name)
    end
  end
end

--- Lists what keeps items from flowing: a cycle, no producer, stages that nothing reaches.
---@param g table
---@param complete boolean whether there is a topological order
function mistakes.check_flow(g, complete)
  if not complete then return report_cycle(g, find_cycle(g)) end
  local produces = false
  for _, node in ipairs(g.nodes) do produces = produces or node.kind == "producer" end
  if not produces then
    local what = #g.nodes == 0 and "it has no stages" or "nothing would ever flow"
    return mistakes.add(g, nil, "there is no producer: %s", what)
  end
  for i, node in ipairs(g.nodes) do
    local needs = node.kind ~= "producer" and node.await == nil and not node.misses_input
    if needs and #g.inputs[i] == 0 then report_unreached(g, node) end
  end
end

return mistakes
