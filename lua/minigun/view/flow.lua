--- The flow of a run as SVG: a box for each stage, in layers, and lines where items go.
local chart = require "minigun.view.chart"
local layout = require "minigun.view.layout"
local progress = require "minigun.base.progress"

local flow = {}

local CELL <const> = 12    -- pixels of a cell of the layout
local HEIGHT <const> = 60  -- of a box: whole cells
local LETTER <const> = 7.6 -- of a letter, about

local function texts_of(stage)
  local facts = {}
  if stage.items_out then
    facts[1] = chart.number(progress.done(stage))
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
  local list = {}
  for i, stage in ipairs(stages) do list[i] = { name = stage.name, width = math.ceil(width_of(stage) / CELL) } end
  local picture = layout.new(list, edges, HEIGHT // CELL)
  local function corner(name)
    local own = picture.boxes[name]
    return own.x * CELL, own.y * CELL, own.width * CELL
  end
  local width, height = (picture.width + 2) * CELL, (picture.height + 2) * CELL
  local parts = { ('<svg viewBox="0 0 %d %d" style="max-width:%dpx" role="img" aria-label="flow of items">'):format(
    width, height, width) }
  for _, way in ipairs(picture.ways) do
    local points, cells = {}, way.cells
    local function add(cell, down) points[#points + 1] = ("%d,%d"):format(cell.x * CELL, (cell.y + down) * CELL) end
    add(cells[1], 0) -- from the box above
    for _, cell in ipairs(cells) do add(cell, 0.5) end
    add(cells[#cells], 1) -- to the box below
    parts[#parts + 1] = ('<polyline class="edge%s" points="%s"/>'):format(way.edge.kind == "bytes" and " bytes" or "",
      table.concat(points, " "))
  end
  for _, stage in ipairs(stages) do
    local x, y, box_width = corner(stage.name)
    parts[#parts + 1] = box(stage, x, y, box_width, bottleneck)
  end
  parts[#parts + 1] = "</svg>"
  return table.concat(parts)
end

return flow
