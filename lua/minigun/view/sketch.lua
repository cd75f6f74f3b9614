--- The flow of a pipeline that does not run, as text: boxes with name, kind and context, and lines where items go.
local canvas = require "minigun.view.canvas"
local columns = require "minigun.view.columns"
local layout = require "minigun.view.layout"
local style = require "minigun.view.style"

local sketch = {}

local HEIGHT <const> = 4 -- rows of a box

--- Draws it.
---@param stages table[] in order: `name`, `kind`, `context`
---@param edges table[] `{ from = name, to = name }`
---@param glyphs table of glyphs.lua
---@return string text
function sketch.text(stages, edges, glyphs)
  local list = {}
  for i, stage in ipairs(stages) do
    local most = math.max(columns.width(stage.name), columns.width(stage.kind), columns.width(stage.context) + 2)
    list[i] = { name = stage.name, width = most + 4 }
  end
  local picture = layout.new(list, edges, HEIGHT)
  local own = canvas.new(picture.width, picture.height)
  for _, cell in ipairs(picture.cells) do
    own:put(cell.x, cell.y, cell.arrow and glyphs.arrow or glyphs.lines[1][cell.sides], style.plain)
  end
  for _, stage in ipairs(stages) do
    local box = picture.boxes[stage.name]
    own:erase(box.x, box.y, box.width, HEIGHT)
    own:frame(box.x, box.y, box.width, HEIGHT, glyphs, style.plain, stage.context)
    own:write(box.x + 2, box.y + 1, stage.name, style.plain)
    own:write(box.x + 2, box.y + 2, stage.kind, style.plain)
  end
  return table.concat(own:lines(), "\n")
end

return sketch
