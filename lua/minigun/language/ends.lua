--- The open ends of pipelines, once their edges are drawn: the stages that take what is sent to a pipeline, and those
-- that emit what it sends.
local nesting = require "minigun.language.names"

local ends = {}

local function linked_inside(list, parent)
  for _, other in ipairs(list) do
    if nesting.inside(other, parent) then return true end
  end
  return false
end

--- Whether a node has no input in its own pipeline, and takes one.
---@param node table
---@return boolean
function ends.is_entry(node)
  local definition = node.definition
  return node.kind ~= "producer" and not definition.from and definition.await == nil
    and not linked_inside(node.inputs, node.parent)
end

--- Whether a node has no output in its own pipeline.
---@param node table
---@return boolean
function ends.is_exit(node)
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

--- The stages that receive what is sent to a node.
---@param node table
---@return table stages array of nodes
function ends.entries(node) return collect(node, ends.is_entry, {}) end

--- The stages that emit what a node sends.
---@param node table
---@return table stages array of nodes
function ends.exits(node) return collect(node, ends.is_exit, {}) end

return ends
