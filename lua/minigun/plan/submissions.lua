--- Submissions: the definition of the stage that stands for what submits items to a standing run. To the rest of the
-- library it is a producer that sends to all entry stages.
local ends = require "minigun.language.ends"
local failure = require "minigun.base.failure"
local graph = require "minigun.language.graph"

local submissions = {}

local NAME <const> = "submit"

local function refuse_producers(pipeline, nodes)
  for _, node in ipairs(nodes) do
    if node.kind == "producer" then
      failure.raise(("pipeline '%s': open: it has a producer, '%s'; what is opened gets its items by submit: take " ..
        "the producer out, p:remove('%s'), or run the pipeline with p:run or p:start"):format(pipeline.name, node.name,
        node.name))
    end
  end
end

--- The definitions of a pipeline, and the stage that submits.
---@param pipeline table
---@param standing "value"|"lists" see plan.build
---@return table definitions
function submissions.add(pipeline, standing)
  local tree, names = graph.draw(pipeline.stages), {}
  refuse_producers(pipeline, tree.nodes)
  for _, node in ipairs(ends.entries(tree.root)) do names[#names + 1] = node.name end
  if #names == 0 then
    failure.raise(("pipeline '%s': open: no stage takes what would be submitted; add one, p:map(f) say"):format(
      pipeline.name))
  end
  local name = NAME
  while tree.by_name[name] do name = name .. "'" end
  return { { label = "producer", kind = "producer", name = name, at = pipeline.at or "?", options = {}, hooks = {},
    to = names, submits = standing, handler = function() end }, table.unpack(pipeline.stages) }
end

return submissions
