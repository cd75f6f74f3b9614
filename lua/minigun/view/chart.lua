--- Charts as SVG: lines over time, and bars of what workers were at. Colours are classes: the page says what they are.
local chart = {}

local WIDTH <const>, LEFT <const>, RIGHT <const> = 900, 70, 10 -- of a chart, and of its margins
local COLOURS <const> = 8 -- that the page has: c1, c2, ...

--- A text for HTML and SVG.
---@param text any
---@return string
function chart.escape(text)
  return (tostring(text):gsub("[%c]", " "):gsub('[&<>"]', { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;",
    ['"'] = "&quot;" }))
end

local escape <const> = chart.escape

--- A number as people read it: "12", "3.4 k", "5.6 M".
---@param n number
---@return string
function chart.number(n)
  for _, unit in ipairs { { 1e9, " G" }, { 1e6, " M" }, { 1e4, " k", 1e3 } } do
    if math.abs(n) >= unit[1] then return ("%.3g%s"):format(n / (unit[3] or unit[1]), unit[2]) end
  end
  if n == math.floor(n) or n >= 100 then return ("%.0f"):format(n) end
  return ("%.3g"):format(n)
end

--- Seconds as people read them.
---@param seconds number
---@return string
function chart.seconds(seconds)
  if seconds == 0 then return "0" end
  if seconds < 0.001 then return ("%.3g us"):format(seconds * 1e6) end
  if seconds < 1 then return ("%.3g ms"):format(seconds * 1e3) end
  if seconds < 120 then return ("%.3g s"):format(seconds) end
  if seconds < 7200 then return ("%d min %02d s"):format(seconds // 60, math.floor(seconds % 60)) end
  return ("%d h %02d min"):format(seconds // 3600, math.floor(seconds % 3600 // 60))
end

--- The class of the colour of the nth line.
---@param n integer
---@return string
function chart.colour(n) return "c" .. (n - 1) % COLOURS + 1 end

local function x_of(at, to) return LEFT + (WIDTH - LEFT - RIGHT) * (to > 0 and at / to or 0) end

-- The number of a quarter of the time below a chart.
local function time_at(quarter, to, y)
  return ('<text class="axis" x="%.1f" y="%d" text-anchor="%s">%s</text>'):format(x_of(to * quarter / 4, to), y,
    quarter == 0 and "start" or quarter == 4 and "end" or "middle", escape(chart.seconds(to * quarter / 4)))
end

-- The lines and numbers of the two axes.
local function axes(parts, height, to, most, unit)
  for k = 0, 4 do
    local y = 10 + (height - 30) * (1 - k / 4)
    parts[#parts + 1] = ('<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>'):format(LEFT, WIDTH - RIGHT, y, y)
    parts[#parts + 1] = ('<text class="axis" x="%d" y="%.1f" text-anchor="end">%s</text>'):format(LEFT - 6, y + 4,
      escape(chart.number(most * k / 4) .. (k == 4 and unit or "")))
    parts[#parts + 1] = time_at(k, to, height - 4)
  end
end

local function open(height, label)
  return { ('<svg viewBox="0 0 %d %d" role="img" aria-label="%s">'):format(WIDTH, height, escape(label)) }
end

-- The value at the top of a chart, and the greatest of all. A few points far above the others, as of a source that is
-- quick at the begin, would press all else to the ground: they are cut off.
local function scale_of(series)
  local values = {}
  for _, each in ipairs(series) do
    for _, point in ipairs(each.points) do values[#values + 1] = point[2] end
  end
  table.sort(values, function(a, b) return a > b end)
  local greatest = values[1] or 0
  local usual = (values[1 + math.max(1, #values // 50)] or 0) * 1.1
  local top = usual > 0 and greatest > 3 * usual and usual or greatest
  return top > 0 and top or 1, greatest
end

--- Lines over time.
---@param label string what the chart shows
---@param series table[] `{ name =, points = { { at, value }, ... } }`
---@param to number seconds at the right edge
---@param unit string after the greatest value
---@return string svg
function chart.lines(label, series, to, unit)
  local height, most, greatest = 220, scale_of(series)
  local parts = open(height, label)
  axes(parts, height, to, most, unit)
  if greatest > most then
    parts[#parts + 1] = ('<text class="axis" x="%d" y="22" text-anchor="end">cut off at the top: up to %s%s</text>')
      :format(WIDTH - RIGHT, escape(chart.number(greatest)), unit)
  end
  for n, each in ipairs(series) do
    local points = {}
    for i, point in ipairs(each.points) do
      points[i] = ("%.1f,%.1f"):format(x_of(point[1], to), 10 + (height - 30) * (1 - math.min(1, point[2] / most)))
    end
    if points[1] then
      parts[#parts + 1] = ('<polyline class="line %s" points="%s"><title>%s</title></polyline>'):format(chart.colour(n),
        table.concat(points, " "), escape(each.name))
    end
  end
  parts[#parts + 1] = "</svg>"
  return table.concat(parts)
end

--- Bars of what workers were at: the darker, the more of the time in handlers.
---@param label string
---@param rows table[] `{ name =, bars = { { from, to, share = 0 to 1, class =, title = }, ... } }`
---@param to number seconds at the right edge
---@return string svg
function chart.timeline(label, rows, to)
  local height = #rows * 18 + 30
  local parts = open(height, label)
  for n, row in ipairs(rows) do
    local y = (n - 1) * 18 + 4
    parts[#parts + 1] = ('<text class="axis" x="%d" y="%d" text-anchor="end">%s</text>'):format(LEFT - 6, y + 11,
      escape(row.name))
    for _, bar in ipairs(row.bars) do
      local x = x_of(bar[1], to)
      parts[#parts + 1] = ('<rect class="bar %s" x="%.1f" y="%d" width="%.1f" height="14" opacity="%.2f"><title>%s' ..
        '</title></rect>'):format(bar.class, x, y, math.max(0.5, x_of(bar[2], to) - x), 0.12 + 0.88 * bar.share,
        escape(bar.title))
    end
  end
  for k = 0, 4 do parts[#parts + 1] = time_at(k, to, height - 6) end
  parts[#parts + 1] = "</svg>"
  return table.concat(parts)
end

return chart
