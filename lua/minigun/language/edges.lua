--- Rewiring: a pipeline's stages by their qualified names, and its edges as data that can be changed and drawn again.
--
-- An edit says which edges it wants; `impose` then draws in `to` and `from` only those that the default links (see
-- language/graph.lua) do not give by themselves, so that a plain chain stays one and can be added to.
-- `definition.options` is changed along: it is what `replace` keeps.
local failure = require "minigun.base.failure"
local graph = require "minigun.language.graph"
local nesting = require "minigun.language.names"
local options = require "minigun.language.schemas"

local rewiring = {}

--- The tree of a pipeline's stages.
---@param self table pipeline
---@return table tree see names.lua
function rewiring.tree_of(self) return nesting.tree(self.stages, self) end

--- The stage that is meant by a name, which may be inside a nested pipeline; raises where there is none.
---@param self table pipeline
---@param method string that was called, for the message
---@param name any
---@return string name qualified
---@return table definition
function rewiring.find(self, method, name)
  options.value(options.types.name, name, method, "the stage")
  local tree = rewiring.tree_of(self)
  local node, choices = nesting.find(tree, tree.root, name)
  if node then return node.name, node.definition end
  failure.raise(("%s: there is %s '%s'%s"):format(method, choices and "a stage" or "no stage", name,
    nesting.hint(tree, tree.root, name, choices)))
end

--- The node of a stage, whose definition may be changed: of the nested pipelines around it, those that are not this
--- pipeline's own are copied first.
---@param self table pipeline
---@param name string qualified
---@return table node
function rewiring.writable(self, name)
  while true do
    local node, shared = rewiring.tree_of(self).by_name[name], nil
    local where = node.parent
    while where.parent do
      if not where.definition.own then shared = where.definition end
      where = where.parent
    end
    if not shared then return node end
    shared.inner, shared.own = shared.inner:extend(), true
  end
end

--- The place of a stage in the list of its pipeline.
---@param node table
---@return integer
function rewiring.place_of(node)
  for i, definition in ipairs(node.parent.pipeline.stages) do
    if definition == node.definition then return i end
  end
end

--- Changes an option of a stage.
---@param self table pipeline
---@param name string qualified
---@param option string
---@param value any
function rewiring.set_option(self, name, option, value)
  local definition = rewiring.writable(self, name).definition
  definition[option], definition.options[option] = value, value
end

--- Raises where a pipeline cannot be edited now: in the middle of an edit, or where an edge leads to no stage.
---@param self table pipeline
---@param method string that was called, for the message
function rewiring.check_editable(self, method)
  if self.editing then
    failure.raise(("%s is called inside a function whose stages are being inserted; call it after that"):format(
      method))
  end
  local tree = rewiring.tree_of(self)
  for _, node in ipairs(tree.nodes) do
    for _, option in ipairs { "to", "from" } do
      for _, name in ipairs(node.definition[option] or {}) do
        local found, choices = nesting.find(tree, node.parent, name)
        if not found then
          failure.raise(("%s: stage '%s' says %s = '%s', a stage that is not there%s; define it before"):format(method,
            node.name, option, name, nesting.hint(tree, node.parent, name, choices)))
        end
      end
    end
  end
end

-- --- edges by name: edges[from][to] = true; nested pipelines are drawn as single nodes -------------------------------

--- The edges between stages, nested pipelines as single nodes.
---@param stages table definitions
---@return table edges `edges[from][to] = true`, by qualified names
---@return table tree that they belong to
function rewiring.edges_of(stages)
  local tree, edges = graph.draw(stages), {}
  for _, node in ipairs(tree.nodes) do
    edges[node.name] = {}
    for _, target in ipairs(node.outputs) do edges[node.name][target.name] = true end
  end
  return edges, tree
end

--- The stages that a stage sends to.
---@param tree table
---@param edges table
---@param name string
---@return table names array, in the order of the stages
function rewiring.targets_of(tree, edges, name)
  local list = {}
  for _, node in ipairs(tree.nodes) do
    if edges[name][node.name] then list[#list + 1] = node.name end
  end
  return list
end

--- The stages that send to a stage.
---@param tree table
---@param edges table
---@param name string
---@return table names array, in the order of the stages
function rewiring.senders_of(tree, edges, name)
  local list = {}
  for _, node in ipairs(tree.nodes) do
    if edges[node.name] and edges[node.name][name] then list[#list + 1] = node.name end
  end
  return list
end

local function same(a, b)
  return table.concat(a, "\0") == table.concat(b, "\0")
end

--- Draws the edges that the default links do not give. It comes to an end: each round draws one end of an edge or more,
--- and when all are drawn no default link is left.
---@param self table pipeline
---@param edges table
function rewiring.impose(self, edges)
  local drawn = { to = {}, from = {} }
  local function draw(tree, node, option, present, wanted)
    local name = node.name
    if drawn[option][name] or same(present, wanted) then return false end
    drawn[option][name] = true
    for i, other in ipairs(wanted) do wanted[i] = nesting.say(tree, node.parent, tree.by_name[other]) end
    rewiring.set_option(self, name, option, wanted)
    return true
  end
  repeat
    local present, tree = rewiring.edges_of(self.stages)
    local changed = false
    for _, node in ipairs(tree.nodes) do
      local name = node.name
      if edges[name] then -- otherwise it is inside a nested pipeline that has been inserted
        local now, wanted = rewiring.targets_of(tree, present, name), rewiring.targets_of(tree, edges, name)
        changed = draw(tree, node, "to", now, wanted) or changed
        local takes = node.definition.from or next(rewiring.senders_of(tree, edges, name))
        if node.kind ~= "producer" and takes then -- otherwise the sender says `to`; `from = {}` is no entry stage
          now, wanted = rewiring.senders_of(tree, present, name), rewiring.senders_of(tree, edges, name)
          changed = draw(tree, node, "from", now, wanted) or changed
        end
      end
    end
  until not changed
end

--- Lets a stage's route name other targets, which are there, as the old one is.
---@param self table pipeline
---@param sender string qualified name
---@param old string
---@param new table names array
function rewiring.rename_target(self, sender, old, new)
  local route = rewiring.writable(self, sender).definition.route
  if not options.is_callable(route) then return end
  local tree, said = rewiring.tree_of(self), {}
  local where, gone = tree.by_name[sender].parent, tree.by_name[old]
  for i, name in ipairs(new) do said[i] = nesting.say(tree, where, tree.by_name[name]) end
  local function is_old(name) return nesting.find(tree, where, name) == gone end
  rewiring.set_option(self, sender, "route", function(item)
    local answer, names = route(item), {}
    if not is_old(answer) and type(answer) ~= "table" then return answer end
    for _, name in ipairs(type(answer) == "table" and answer or { answer }) do
      if is_old(name) then table.move(said, 1, #said, #names + 1, names) else names[#names + 1] = name end
    end
    return names
  end)
end

return rewiring
