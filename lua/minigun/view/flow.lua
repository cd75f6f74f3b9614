--- The flow of a run as SVG: a box for each stage, in layers, and lines where items go.
local chart = require "minigun.view.chart"
local layers = require "minigun.view.layers"

local flow = {}

local HEIGHT <const>, GAP_X <const>, GAP_Y <const> = 58, 28, 46 -- of a box; between boxes; between layers
local LETTER <const> = 7.6 -- pixels of a letter, about

local function texts_of(stage)
  local facts = {}
  if stage.items_out then
    facts[1] = chart.number(stage.source and stage.items_out or math.max(0, stage.items_in - stage.pending))
    facts[2] = chart.number(stage.mean) .. "/s"
    if stage.failed > 0 then facts[3] = ("%d failed"):format(stage.failed) end
  end
  return { stage.name, ("%s, %s"):format(stage.kind, stage.context), table.concat(facts, " · ") }
end

local function width_of(stage)
  local most = 0
  for _, text in ipairs(texts_of(stage)) do most = math.max(most, utf8.len(text) or #text) end
  return math.max(110, most * LETTER + 16)
end

local function box(stage, x, y, width, bottleneck)
  local texts, class = texts_of(stage), "box"
  if stage.name == bottleneck then class = "box bottleneck" end
  if stage.failed and stage.failed > 0 then class = class .. " bad" end
  local lines = { ('<g><rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d" rx="6"/>'):format(class, x, y, width,
    HEIGHT) }
  for k, text in ipairs(texts) do
    lines[#lines + 1] = ('<text class="%s" x="%.1f" y="%d" text-anchor="middle">%s</text>'):format(
      k == 1 and "name" or "fact", x + width / 2, y + 2 + k * 17, chart.escape(text))
  end
  lines[#lines + 1] = ("<title>%s</title></g>"):format(chart.escape(stage.at or stage.name))
  return table.concat(lines)
end

--- Draws it.
---@param stages table[] rows of a status, in order
---@param edges table[] `{ from =, to =, kind = "bytes" or other }`
---@param bottleneck string? name of the stage to outline
---@return string svg
function flow.svg(stages, edges, bottleneck)
  local result, at, widths, widest = layers.of(stages, edges), {}, {}, 0
  for k, layer in ipairs(result) do
    local sum = -GAP_X
    for _, i in ipairs(layer) do sum = sum + width_of(stages[i]) + GAP_X end
    widths[k] = sum
    widest = math.max(widest, sum)
  end
  for k, layer in ipairs(result) do
    local x, y = 6 + (widest - widths[k]) / 2, 6 + (k - 1) * (HEIGHT + GAP_Y)
    for _, i in ipairs(layer) do
      local width = width_of(stages[i])
      at[stages[i].name] = { x = x, y = y, width = width, stage = stages[i] }
      x = x + width + GAP_X
    end
  end
  local height = #result * (HEIGHT + GAP_Y) - GAP_Y + 12
  local parts = { ('<svg viewBox="0 0 %.0f %d" style="max-width:%.0fpx" role="img" aria-label="flow of items">'):format(
    widest + 12, math.max(height, 12), widest + 12) }
  for _, edge in ipairs(edges) do
    local from, to = at[edge.from], at[edge.to]
    if from and to then
      local x1, y1, x2, y2 = from.x + from.width / 2, from.y + HEIGHT, to.x + to.width / 2, to.y
      parts[#parts + 1] = ('<path class="edge%s" d="M%.1f %d C%.1f %d %.1f %d %.1f %d"/>'):format(
        edge.kind == "bytes" and " bytes" or "", x1, y1, x1, y1 + GAP_Y // 2, x2, y2 - GAP_Y // 2, x2, y2)
    end
  end
  for _, stage in ipairs(stages) do
    local own = at[stage.name]
    parts[#parts + 1] = box(stage, own.x, own.y, own.width, bottleneck)
  end
  parts[#parts + 1] = "</svg>"
  return table.concat(parts)
end

return flow
