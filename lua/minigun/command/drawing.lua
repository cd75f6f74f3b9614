--- A pipeline as a drawing in the languages of other tools: Graphviz, Mermaid, JSON. Stages with their contexts as
-- frames; nested pipelines as frames with their name.
local contexts = require "minigun.language.contexts"
local json = require "minigun.base.json"
local flow = require "minigun.view.flow"
local glyphs = require "minigun.view.glyphs"
local graph = require "minigun.language.graph"
local plan = require "minigun.plan.plan"
local sketch = require "minigun.view.sketch"

local drawing = {}

local function kind_of(definition)
  local batch = definition.batch
  return batch and ("%s of %d"):format(definition.label, batch.max_size) or definition.label
end

local function context_of(node)
  local context = plan.context_of(node)
  if not context then return nil, "inline" end
  return context, (context.name and context.name .. ": " or "") .. contexts.text(context)
end

--- A pipeline as plain values.
---@param p table pipeline
---@return table description
--- `name`; `stages` in order: `name`, `kind`, `context`, `inside` (names of the nested pipelines around it, from the
--- outside in), `to` (names of stages); `edges`: { from, to }. What is empty is left out
function drawing.describe(p)
  local g = graph.build(p.stages, p)
  local description = { name = p.name, stages = {}, edges = {} }
  local frames = {}
  for _, i in ipairs(g.order) do
    local node, to, inside = g.nodes[i], {}, {}
    for k, target in ipairs(g.outputs[i]) do
      to[k] = g.nodes[target].name
      table.insert(description.edges, { from = node.name, to = to[k] })
    end
    local parent = node.parent
    while parent and parent.parent do
      table.insert(inside, 1, parent.name)
      parent = parent.parent
    end
    local context, text = context_of(node)
    local frame = context and context.kind ~= "inline" and context or nil
    if frame and not frames[frame] then
      frames[frame] = #frames + 1
      frames[#frames + 1] = frame
    end
    table.insert(description.stages, { name = node.name, kind = kind_of(node.definition), context = text,
      to = to[1] and to, inside = inside[1] and inside, frame = frame and frames[frame] or nil })
  end
  description.edges = description.edges[1] and description.edges
  return description
end

-- --- frames within frames --------------------------------------------------------------------------------------------

-- The stages as a tree: nested pipelines, in them contexts, in them stages.
local function tree_of(description)
  local root = { children = {} }
  local function child(of, key, text, kind)
    of.by_key = of.by_key or {}
    local found = of.by_key[key]
    if not found then
      found = { text = text, kind = kind, children = {} }
      of.by_key[key] = found
      table.insert(of.children, found)
    end
    return found
  end
  for number, each in ipairs(description.stages) do
    local at, path = root, ""
    for _, name in ipairs(each.inside or {}) do
      path = path .. "/" .. name
      at = child(at, path, name, "pipeline")
    end
    if each.frame then at = child(at, each.frame, each.context, "context") end
    table.insert(at.children, { stage = each, number = number })
  end
  return root
end

-- Calls enter(frame, number, depth), leave(depth) and put(stage, number, depth) for all of a tree.
local function walk(root, enter, put, leave)
  local count = 0
  local function visit(frame, depth)
    for _, each in ipairs(frame.children) do
      if each.stage then put(each.stage, each.number, depth)
      else
        count = count + 1
        enter(each, count, depth)
        visit(each, depth + 1)
        leave(depth)
      end
    end
  end
  visit(root, 1)
end

local function numbers_of(description)
  local numbers = {}
  for number, each in ipairs(description.stages) do numbers[each.name] = number end
  return numbers
end

-- --- languages -----------------------------------------------------------------------------------------------------

local function quoted(text) return '"' .. text:gsub('[\\"]', "\\%0"):gsub("\n", "\\n") .. '"' end

--- In Graphviz' language.
---@param description table of `describe`
---@return string
function drawing.dot(description)
  local lines = { ("digraph %s {"):format(quoted(description.name)), "  rankdir=TB;",
    "  node [shape=box, style=rounded, fontname=\"sans-serif\"];" }
  local function add(depth, text, ...) lines[#lines + 1] = ("  "):rep(depth) .. text:format(...) end
  walk(tree_of(description), function(frame, number, depth)
    add(depth, "subgraph cluster_%d {", number)
    add(depth + 1, "label=%s; style=%s;", quoted(frame.text), frame.kind == "context" and "dashed" or "solid")
  end, function(each, number, depth)
    add(depth, "s%d [label=%s];", number, quoted(each.name .. "\n" .. each.kind))
  end, function(depth) add(depth, "}") end)
  local numbers = numbers_of(description)
  for _, edge in ipairs(description.edges or {}) do add(1, "s%d -> s%d;", numbers[edge.from], numbers[edge.to]) end
  lines[#lines + 1] = "}"
  return table.concat(lines, "\n")
end

--- In Mermaid's language.
---@param description table of `describe`
---@return string
function drawing.mermaid(description)
  local lines = { "flowchart TB" }
  local function text(s) return '"' .. s:gsub('"', "#quot;"):gsub("\n", "<br>") .. '"' end
  local function add(depth, form, ...) lines[#lines + 1] = ("  "):rep(depth) .. form:format(...) end
  walk(tree_of(description), function(frame, number, depth)
    add(depth, "subgraph f%d[%s]", number, text(frame.text))
  end, function(each, number, depth)
    add(depth, "s%d[%s]", number, text(each.name .. "\n" .. each.kind))
  end, function(depth) add(depth, "end") end)
  local numbers = numbers_of(description)
  for _, edge in ipairs(description.edges or {}) do add(1, "s%d --> s%d", numbers[edge.from], numbers[edge.to]) end
  return table.concat(lines, "\n")
end

local STYLE <const> = [[
<style>text{font-family:sans-serif;fill:#1b1f24}.box{fill:#f6f8fa;stroke:#57606a}.name{font-size:13px;font-weight:600}
.fact{font-size:11px;fill:#57606a}.edge{fill:none;stroke:#57606a}</style>]]

--- As boxes and lines of characters, of more than ASCII where the terminal shows them.
---@param description table of `describe`
---@return string
function drawing.ascii(description)
  return sketch.text(description.stages, description.edges or {}, glyphs.of(os.getenv))
end

--- As a picture, SVG.
---@param description table of `describe`
---@return string
function drawing.svg(description)
  return (flow.svg(description.stages, description.edges or {}):gsub("^<svg (.-)>", function(attributes)
    return ('<svg xmlns="http://www.w3.org/2000/svg" %s>%s'):format(attributes, STYLE)
  end))
end

--- As JSON.
---@param description table of `describe`
---@return string
function drawing.json(description) return json.encode(description) end

return drawing
