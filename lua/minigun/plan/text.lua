--- A pipeline as text, for the prompt.
local contexts = require "minigun.language.contexts"
local failure = require "minigun.base.failure"
local graph = require "minigun.language.graph"
local plan = require "minigun.plan.plan"

local text = {}

local function describe_kind(definition)
  local kind, batch = definition.label, definition.batch
  if not batch then return kind end
  kind = ("%s of %d"):format(kind, batch.max_size)
  return batch.max_wait and ("%s or %gs"):format(kind, batch.max_wait) or kind
end

local function describe_context(node)
  local context, unknown = plan.context_of(node)
  if not context then return ("context '%s', not defined"):format(unknown) end
  return (context.name and context.name .. ": " or "") .. contexts.text(context)
end

--- A pipeline as text: a line for each stage, then one for each mistake that would keep it from running.
---@param pipeline table
---@return string text
function text.of(pipeline)
  local g = graph.build(pipeline.stages, pipeline)
  local rows, widths = {}, { 0, 0, 0 }
  for _, i in ipairs(g.order) do
    local node, targets = g.nodes[i], {}
    for k, target in ipairs(g.outputs[i]) do targets[k] = g.nodes[target].name end
    local row = { node.name, describe_kind(node.definition), describe_context(node),
      #targets > 0 and table.concat(targets, ", ") or "(result)" }
    for column in ipairs(widths) do
      widths[column] = math.max(widths[column], utf8.len(row[column]) or #row[column])
    end
    rows[#rows + 1] = row
  end
  local count = #g.nodes
  local lines = { ("pipeline '%s', %s"):format(pipeline.name, failure.count(count, "stage")) }
  for _, row in ipairs(rows) do
    for column, width in ipairs(widths) do
      row[column] = row[column] .. (" "):rep(width - (utf8.len(row[column]) or #row[column]))
    end
    lines[#lines + 1] = ("  %s  %s  %s  -> %s"):format(table.unpack(row))
  end
  for _, problem in ipairs(g.problems) do
    lines[#lines + 1] = ("  ! %s%s"):format(problem.at and problem.at .. ": " or "", problem.message)
  end
  return table.concat(lines, "\n")
end

return text
