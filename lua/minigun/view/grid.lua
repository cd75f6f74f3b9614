--- A table in rows and columns, as wide as what is in it: columns that do not fit are left out, the least important
-- ones first; rows that do not fit are scrolled.
local columns = require "minigun.view.columns"
local style = require "minigun.view.style"

local grid = {}

local BETWEEN <const> = 2 -- columns between two

--- A column: `title`; `text(row)`; `look(row)`, or plain; `right`: to the right; `rank`: the columns with the highest
--- go first where there is no room; `most`: columns that it may take; `key`: what it is sorted by, or its text.
---@class minigun.view.Column

-- How wide each column is, which are shown, and the texts in them.
local function fit(definitions, rows, width)
  local shown, sizes, texts, all = {}, {}, {}, -BETWEEN
  for i, column in ipairs(definitions) do
    local size, own, text = columns.width(column.title), {}, column.text
    for n, row in ipairs(rows) do
      own[n] = text(row)
      size = math.max(size, columns.width(own[n]))
    end
    sizes[i], shown[i], texts[i] = math.min(size, column.most or size), true, own
    all = all + sizes[i] + BETWEEN
  end
  while all > width do
    local worst
    for i, column in ipairs(definitions) do
      if shown[i] and (not worst or column.rank > definitions[worst].rank) then worst = i end
    end
    if not worst or definitions[worst].rank == 0 then break end
    shown[worst], all = false, all - sizes[worst] - BETWEEN
  end
  return shown, sizes, texts
end

--- Sorts rows by a column; rows that are alike stay in their order.
---@param rows table[]
---@param column minigun.view.Column?
---@param down boolean the largest first
---@return table[] sorted a new array
function grid.sort(rows, column, down)
  if not column then return rows end
  local place, sorted, key = {}, table.move(rows, 1, #rows, 1, {}), column.key or column.text
  for i, row in ipairs(rows) do place[row] = i end
  table.sort(sorted, function(a, b)
    local x, y = key(a), key(b)
    if type(x) ~= type(y) then x, y = tostring(x), tostring(y) end
    if x == y then return place[a] < place[b] end
    if down then return y < x end
    return x < y
  end)
  return sorted
end

--- Draws a table.
---@param canvas table
---@param area table `x`, `y`, `width`, `height`
---@param definitions minigun.view.Column[]
---@param rows table[]
---@param how table
--- `glyphs`; `offset`: rows before the first that is shown; `selected`: a row; `sorted`: the column by which; `empty`:
--- what stands there where there are no rows
---@return integer most rows that can be scrolled away
function grid.draw(canvas, area, definitions, rows, how)
  local glyphs, x0, y0 = how.glyphs, area.x, area.y
  local shown, sizes, texts = fit(definitions, rows, area.width)
  local room = area.height - 1
  local most = math.max(0, #rows - room + (#rows > room and 1 or 0))
  local offset = math.min(how.offset, most)
  local x = x0
  for i, column in ipairs(definitions) do
    if shown[i] then
      local title = columns.fit(column.title, sizes[i], glyphs.cut, column.right)
      canvas:write(x, y0, title, column == how.sorted and style.title or style.cyan, x0 + area.width - x)
      x = x + sizes[i] + BETWEEN
    end
  end
  if not rows[1] then canvas:write(x0, y0 + 1, how.empty or "", style.gray, area.width) end
  local last = math.min(#rows, offset + room)
  if last < #rows then
    last = last - 1
    local text = ("%s %d more"):format(glyphs.more, #rows - last)
    canvas:write(x0, y0 + area.height - 1, text, style.gray, area.width)
  end
  for n = offset + 1, last do
    local row, y = rows[n], y0 + n - offset
    x = x0
    for i, column in ipairs(definitions) do
      if shown[i] then
        local look = column.look and column.look(row) or style.plain
        if row == how.selected and i == 1 then look = style.selected end
        local text = columns.fit(texts[i][n], sizes[i], glyphs.cut, column.right)
        canvas:write(x, y, text, look, x0 + area.width - x)
        x = x + sizes[i] + BETWEEN
      end
    end
  end
  return most
end

return grid
