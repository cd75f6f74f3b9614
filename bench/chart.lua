-- SPDX-License-Identifier: MIT
--- The chart of docs/throughput.svg: items/s against the size of an item (S1) and against the cost of the handler (S2),
--- both axes logarithmic. Its greys are legible on white and on black, for viewers that do not say which they have.
local tables = require "tables"
local workloads = require "workloads"

local WIDTH, HEIGHT = 980, 520
local TOP, BOTTOM = 128, 462                 -- of the panels
local PANELS = { { name = "S1", left = 66, right = 470 }, { name = "S2", left = 556, right = 960 } }

-- By the place that a program has in the chart: colour, width, dashes.
local STYLES = {
  { "#e8590c", 3.2 }, { "#e8590c", 1.8, "7 4" }, { "#2f9e44", 1.8 }, { "#1c7ed6", 1.8 }, { "#ab47bc", 1.8 },
  { "#ab47bc", 1.8, "7 4" }, { "#b08900", 1.8 },
}

local HEAD = [[
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, 'DejaVu Sans', sans-serif"
  font-size="12" role="img" aria-label="Throughput against item size and against handler cost">
<style>
  text { fill: #6e7781 } .title { font-size: 14px; font-weight: 600 } .grid { stroke: #8b949e; stroke-opacity: .3 }
  @media (prefers-color-scheme: light) { text { fill: #24292f } }
  @media (prefers-color-scheme: dark) { text { fill: #d0d7de } }
</style>
]]

local function escape(text)
  return (text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }))
end

local function text(out, x, y, words, more)
  out[#out + 1] = ('<text x="%.1f" y="%.1f"%s>%s</text>'):format(x, y, more or "", escape(words))
end

local function line(out, x1, y1, x2, y2, more)
  out[#out + 1] = ('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"%s/>'):format(x1, y1, x2, y2, more)
end

local function stroke(style)
  return (' fill="none" stroke="%s" stroke-width="%.1f"%s stroke-linejoin="round"'):format(style[1], style[2],
    style[3] and ' stroke-dasharray="' .. style[3] .. '"' or "")
end

--- The medians of a program over the points of a sweep: { { logarithm of x, items/s, x }, ... }. A cost of 0 stands
--- half a decade left of 1.
local function series_of(sweep, program, results)
  local list = {}
  for _, point in ipairs(sweep.points) do
    local entry = (results[sweep.name .. "_" .. point[1]] or {})[program.name]
    local rate = entry and tables.median(entry.runs, "rate")
    local x = tonumber(point[1])
    if rate then list[#list + 1] = { x == 0 and -0.5 or math.log(x, 10), rate, x } end
  end
  return list
end

--- The decades that hold all rates.
local function range_of(all)
  local least, most = math.huge, -math.huge
  for _, s in ipairs(all) do
    for _, p in ipairs(s.points) do least, most = math.min(least, p[2]), math.max(most, p[2]) end
  end
  return math.floor(math.log(least, 10)), math.ceil(math.log(most, 10))
end

local DECADES = { [0] = "1", "10", "100", "1 k", "10 k", "100 k", "1 M", "10 M", "100 M", "1 G" }

local function draw_panel(out, panel, run, programs)
  local sweep, all = workloads.sweeps[panel.name], {}
  for _, program in ipairs(programs) do
    all[#all + 1] = { style = STYLES[program.chart], points = series_of(sweep, program, run.results) }
  end
  local low, high = range_of(all)
  local first, last = sweep.points[1][1], sweep.points[#sweep.points][1]
  local from = first == "0" and -0.5 or math.log(tonumber(first), 10)
  local to = math.log(tonumber(last), 10)
  local function x_of(l) return panel.left + (l - from) / (to - from) * (panel.right - panel.left) end
  local function y_of(rate) return BOTTOM - (math.log(rate, 10) - low) / (high - low) * (BOTTOM - TOP) end

  text(out, panel.left, TOP - 14, "Items per second against the " .. sweep.axis, ' class="title"')
  for decade = low, high do
    local y = y_of(10.0 ^ decade)
    line(out, panel.left, y, panel.right, y, ' class="grid"')
    text(out, panel.left - 8, y + 4, DECADES[decade], ' text-anchor="end"')
  end
  for _, point in ipairs(sweep.points) do
    local x = x_of(point[1] == "0" and -0.5 or math.log(tonumber(point[1]), 10))
    line(out, x, TOP, x, BOTTOM, ' class="grid"')
    text(out, x, BOTTOM + 18, (point[2]:gsub(" us$", " µs")), ' text-anchor="middle"')
  end
  if panel.name == "S2" then -- what two workers could do at best
    local start = math.max(0, math.log(2e6, 10) - high)
    line(out, x_of(start), y_of(2e6 / 10 ^ start), x_of(to), y_of(2e6 / 10 ^ to),
      ' stroke="#8b949e" stroke-width="1.2" stroke-dasharray="2 3"')
  end
  for i = #all, 1, -1 do -- ours is drawn last, above the others
    local path = {}
    for n, p in ipairs(all[i].points) do
      path[n] = ("%.1f,%.1f"):format(x_of(p[1]), y_of(p[2]))
      out[#out + 1] = ('<circle cx="%.1f" cy="%.1f" r="%.1f" fill="%s"/>'):format(x_of(p[1]), y_of(p[2]),
        i == 1 and 3.6 or 2.6, all[i].style[1])
    end
    out[#out + 1] = ('<polyline points="%s"%s/>'):format(table.concat(path, " "), stroke(all[i].style))
  end
end

local function draw_legend(out, programs)
  local entries = { table.unpack(programs) }
  entries[#entries + 1] = { name = "2 / cost: two workers, no overhead", style = { "#8b949e", 1.2, "2 3" } }
  for i, program in ipairs(entries) do
    local x, y = 66 + (i - 1) % 3 * 305, 24 + (i - 1) // 3 * 22
    line(out, x, y - 4, x + 30, y - 4, stroke(program.style or STYLES[program.chart]))
    text(out, x + 38, y, program.name)
  end
end

--- @param run table  what bench/run.lua has written
--- @return string|nil  SVG; nil when the run has no sweeps
return function(run)
  local programs, out = {}, { HEAD:format(WIDTH, HEIGHT) }
  for _, program in ipairs(run.programs) do
    local measured = program.chart
    for _, panel in ipairs(PANELS) do
      measured = measured and series_of(workloads.sweeps[panel.name], program, run.results)[1]
    end
    if measured then programs[#programs + 1] = program end
  end
  if not programs[1] then return nil end
  table.sort(programs, function(a, b) return a.chart < b.chart end)
  draw_legend(out, programs)
  for _, panel in ipairs(PANELS) do draw_panel(out, panel, run, programs) end
  text(out, 66, HEIGHT - 16, ("Two workers on %d processors. Strings travel to a worker and their length comes back; "
    .. "integers travel both ways. %s, commit %s"):format(run.machine.cores, run.machine.date:sub(1, 10),
      run.machine.commit), ' font-size="11"')
  out[#out + 1] = "</svg>\n"
  return table.concat(out, "\n")
end
