--- The scene: one picture of the whole screen, from a status and the state of the view (hud.lua). Values in, a canvas
-- out.
local canvas = require "minigun.view.canvas"
local columns = require "minigun.view.columns"
local diagram = require "minigun.view.diagram"
local grid = require "minigun.view.grid"
local numbers = require "minigun.view.numbers"
local style = require "minigun.view.style"
local tabs = require "minigun.view.tabs"

local scene = {}

local LEAST_WIDTH <const>, LEAST_HEIGHT <const> = 60, 10
local HELP_WIDTH <const> = 64
local SUMS <const> = 44 -- columns that their names take
local COUNT <const> = numbers.count

--- The tabs, by number.
scene.TABS = { "Stages", "Workers", "Failures", "Log", "Totals" }

local TITLES <const> = { "PROCESS STATISTICS", "WORKERS", "FAILURES", "LOG", "TOTALS" }

-- Lines of the help; of what only some views can do with what they show (hud.lua), with the name of that.
local HELP <const> = {
  "1-5 Tab    stages, workers, failures, log, totals",
  "W e l      workers, errors, log",
  "up down    choose a row; page up, page down, home, end",
  "Enter      details of the stage        /  find a stage",
  "o O        sort by the next column, the other way round",
  "v          log: lines from the next level on",
  "w a s d    move the diagram            0  back to the centre",
  "+ - c      larger, smaller, compact",
  "space      stop drawing, and go on     r  draw anew",
  { "p          pause the sources, and go on", "pause" },
  { "x Q        stop the run in good order", "stop" },
  { "K          kill the run", "kill" },
  { "S          save what is seen, as text and JSON", "save" },
  "q          close the view",
  "h          this help; any key closes it",
}

local function help_of(port)
  local lines = {}
  for _, line in ipairs(HELP) do
    if type(line) == "string" then lines[#lines + 1] = line
    elseif port[line[2]] then lines[#lines + 1] = line[1] end
  end
  return lines
end

-- What a run is at, and the look of that.
local function state_of(status, view)
  if status.over then
    if status.state == "failed" then return "FINISHED, FAILED", style.bar_red end
    return "FINISHED", style.bar_blue
  elseif view.frozen then return "PAUSED", style.bar_yellow
  elseif status.state == "paused" then return "SOURCES PAUSED", style.bar_yellow
  elseif status.state == "stopping" then return "STOPPING", style.bar_yellow end
  return "RUNNING", style.bar_green
end

local function draw_bar(c, status, view)
  local y = c.height
  local text, look = state_of(status, view)
  if status.stale then text, look = ("%s, figures %d s old"):format(text, status.stale // 1), style.bar_yellow end
  c:fill(1, y, c.width, " ", style.bar)
  local x = c:write(1, y, " " .. text .. " ", look)
  local right = status.over and " Press [q] to exit... " or " [h] Help [q] Quit [space] Pause "
  if view.message then right = " " .. view.message .. " " end
  if view.searching then right = " find: " .. view.searching .. "_ " end
  local room = c.width - x - columns.width(right)
  if room < 10 then right, room = columns.cut(right, math.max(0, c.width - x - 12)), 12 end
  c:write(x + 1, y, "Pipeline: " .. status.pipeline, style.bar, math.max(1, room - 1))
  c:write(c.width - columns.width(right) + 1, y, right, style.bar)
end

-- --- the flow --------------------------------------------------------------------------------------------------------

local function draw_list(c, area, status, view)
  local y = area.y
  for i = 1 + math.max(0, math.min(view.pan_y, #status.stages - area.height)), #status.stages do
    local row = status.stages[i]
    if y >= area.y + area.height then break end
    local state = diagram.state_of(row, status)
    local text = ("%s %s"):format(diagram.icon(row, view.glyphs), row.name)
    c:write(area.x, y, columns.fit(text, math.max(1, area.width - 14), view.glyphs.cut), style.bold)
    c:write(area.x + area.width - 12, y, view.glyphs.states[state], diagram.looks[state])
    c:write(area.x + area.width - 9, y, numbers.rate(status.over and row.mean or row.rate), style.green, 9)
    y = y + 1
  end
end

-- Which zoom is seen: the one that was chosen, or the largest that fits.
local function zoom_of(status, view, area)
  if view.zoom ~= "auto" then return view.zoom end
  view.diagram:prepare(status, "boxes")
  local picture = view.diagram.picture
  return picture.height <= area.height and picture.width <= area.width and "boxes" or "compact"
end

-- Where a picture begins: in the middle, or as it was moved, not beyond its edges.
local function begin_at(size, room, pan)
  if size <= room then return (room - size) // 2, 0 end
  local most = size - room
  local at = math.max(0, math.min(most, most // 2 + pan))
  return -at, at - most // 2
end

local function draw_flow(c, width, height, status, view, beat)
  local area = { x = 2, y = 2, width = width - 2, height = height - 2 }
  c:frame(1, 1, width, height, view.glyphs, style.cyan, "FLOW DIAGRAM", style.title)
  c:clip(area.x, area.y, area.width, area.height)
  local zoom = #status.stages > 0 and zoom_of(status, view, area) or "list"
  if zoom == "list" then
    draw_list(c, area, status, view)
  else
    view.diagram:prepare(status, zoom)
    view.diagram.selected = view.selected
    local picture = view.diagram.picture
    local x, y
    x, view.pan_x = begin_at(picture.width, area.width, view.pan_x)
    if picture.height + 1 <= area.height then y, view.pan_y = 1, 0
    elseif picture.height <= area.height then y, view.pan_y = 0, 0
    else
      local most = picture.height - area.height
      view.pan_y = math.max(0, math.min(most, view.pan_y))
      y = -view.pan_y
    end
    view.diagram:draw(c, status, area.x + x, area.y + y, beat)
  end
  c:unclip()
end

-- --- the tables ------------------------------------------------------------------------------------------------------

local function draw_tabs(c, x, y, width, view, status)
  local limit = x + width
  for i, name in ipairs(scene.TABS) do
    local n = i == 3 and status.failed > 0 and ("(%s)"):format(COUNT(status.failed)) or ""
    local text = (" %d %s%s "):format(i, name, n)
    if x + #text <= limit then x = c:write(x, y, text, i == view.tab and style.selected or style.gray) end
  end
end

-- Items of the sources in a second: now, or where all of them have ended on average.
local function throughput(status)
  local sources, ended = 0, 0
  for _, row in ipairs(status.stages) do
    if row.source then sources, ended = sources + 1, ended + (row.state == "done" and 1 or 0) end
  end
  local over = status.over or sources > 0 and ended == sources
  return over and numbers.rate(status.mean) .. " mean" or numbers.rate(status.rate)
end

local function draw_sums(c, x, y, width, status, view)
  local wide = width >= SUMS
  local first, second = "%s, %s", "%s produced, %s consumed"
  if wide then first, second = "Runtime: %-11s Throughput: %s", "Produced: %-10s Consumed: %s" end
  c:write(x, y, first:format(numbers.duration(status.elapsed), throughput(status)), style.plain, width)
  local failed = status.failed > 0 and ("  Failed: %s"):format(COUNT(status.failed)) or ""
  local at = c:write(x, y + 1, second:format(COUNT(status.produced), COUNT(status.consumed)), style.plain, width)
  if at + #failed <= x + width then c:write(at, y + 1, failed, style.red) end
  local text = status.bottleneck and ("Bottleneck: " .. status.bottleneck) or ""
  if status.part and not status.over then
    local bar = numbers.bar(status.part, math.max(4, math.min(30, width - 30)), view.glyphs)
    text = ("%s %s%s"):format(bar, numbers.percent(status.part),
      status.left and (", %s left"):format(numbers.duration(status.left)) or "")
  end
  c:write(x, y + 2, text, status.part and not status.over and style.green or style.yellow, width)
end

--- The rows of the tab that is seen, and its columns.
---@param status table
---@param view table
---@return table[] rows
---@return minigun.view.Column[] definitions
---@return string empty
function scene.table_of(status, view)
  if view.tab == 1 then return status.stages, tabs.stages(status, view.glyphs), "no stages" end
  if view.tab == 2 then return status.workers, tabs.workers(), "no workers: all stages run in the coordinator" end
  if view.tab == 3 then return status.failures, tabs.failures(), "nothing has failed" end
  if view.tab == 4 then
    return tabs.log_rows(view.log, view.level), tabs.log(), ("nothing was written, from level %s on"):format(view.level)
  end
  return tabs.totals(status), tabs.pairs(), ""
end

local function draw_table(c, left, width, height, status, view)
  c:frame(left, 1, width, height, view.glyphs, style.cyan, TITLES[view.tab], style.title)
  local x, room = left + 2, width - 4
  draw_tabs(c, x, 2, room, view, status)
  draw_sums(c, x, 3, room, status, view)
  local rows, definitions, empty = scene.table_of(status, view)
  local sort = view.sorts[view.tab]
  local by = sort and definitions[sort.column]
  rows = grid.sort(rows, by, sort and sort.down or false)
  view.rows = rows
  local selected
  for i, row in ipairs(rows) do
    if view.tab == 1 and row.name == view.selected then
      selected = row
      local seen = height - 9
      if i <= view.offsets[1] then view.offsets[1] = i - 1
      elseif i > view.offsets[1] + seen then view.offsets[1] = i - seen end
    end
  end
  if view.tab == 4 and view.follow then view.offsets[4] = math.huge end
  local most = grid.draw(c, { x = x, y = 7, width = room, height = height - 7 }, definitions, rows,
    { glyphs = view.glyphs, offset = view.offsets[view.tab], selected = selected, sorted = by, empty = empty })
  view.offsets[view.tab] = math.max(0, math.min(view.offsets[view.tab], most))
end

-- --- boxes over all --------------------------------------------------------------------------------------------------

local function box(c, width, height, glyphs, title)
  width, height = math.min(width, c.width), math.min(height, c.height)
  local x, y = (c.width - width) // 2 + 1, (c.height - height) // 2 + 1
  c:erase(x, y, width, height)
  c:frame(x, y, width, height, glyphs, style.yellow, title, style.title)
  return x + 2, y + 1, width - 4, height - 2
end

local function draw_lines(c, width, lines, glyphs, title)
  local x, y, room, height = box(c, width, #lines + 2, glyphs, title)
  for i = 1, math.min(#lines, height) do c:write(x, y + i - 1, lines[i], style.plain, room) end
end

-- What was said about a stage, in a line; nil: nothing.
local function options_of(row)
  local parts = {}
  local function add(text, value)
    if value then parts[#parts + 1] = text:format(value) end
  end
  add("batches of %d", row.max_size)
  add("or %g s", row.max_wait)
  add("%d retries", row.retries)
  add("time-out %g s", row.timeout)
  if row.ordered then parts[#parts + 1] = "ordered" end
  add("route %s", row.route)
  add("hooks %s", row.hooks and table.concat(row.hooks, " "))
  return parts[1] and table.concat(parts, ", ")
end

-- What is known of a stage, as lines.
local function details(row, status)
  local lines = {
    ("%s, %s, defined at %s"):format(row.kind, row.context, row.at),
    options_of(row) or "no options",
    ("in %d, out %d, waiting %d%s, most %d%s"):format(row.items_in, row.items_out, row.pending,
      row.queue and (" of %d"):format(row.queue) or "", row.queue_most,
      row.oldest and ", the oldest for " .. numbers.duration(row.oldest) or ""),
    ("failed %d, retried %d"):format(row.failed, row.retried),
    ("rate %s now, %s on average"):format(numbers.rate(row.rate), numbers.rate(row.mean)),
    ("busy %s, waits for items %s, for room %s"):format(numbers.percent(row.busy_share), numbers.percent(row.in_share),
      numbers.percent(row.out_share)),
    ("p50 %s, p90 %s, p95 %s, p99 %s of %d measured"):format(numbers.time(row.p50), numbers.time(row.p90),
      numbers.time(row.p95), numbers.time(row.p99), row.observed),
  }
  for _, edge in ipairs(status.edges) do
    if edge.from == row.name then lines[#lines + 1] = ("sends to %s (%s)"):format(edge.to, edge.kind) end
    if edge.to == row.name then lines[#lines + 1] = ("gets from %s (%s)"):format(edge.from, edge.kind) end
  end
  local shown = 0
  for i = #status.failures, 1, -1 do
    local failed = status.failures[i]
    if failed.stage == row.name and shown < 5 then
      shown = shown + 1
      local item = failed.item and failed.item .. ": " or ""
      lines[#lines + 1] = "failed: " .. item .. failed.message:match "[^\n]*"
    end
  end
  return lines
end

local function draw_over(c, status, view)
  if view.help then
    draw_lines(c, HELP_WIDTH, help_of(view.port), view.glyphs, "Help")
  elseif view.question then
    draw_lines(c, 56, { view.question.text, "", "[y] yes   [n] no" }, view.glyphs, "Sure?")
  elseif view.detail then
    for _, row in ipairs(status.stages) do
      if row.name == view.detail then draw_lines(c, 76, details(row, status), view.glyphs, row.name) end
    end
  end
end

local function draw_small(c, status, view)
  local text = ("%s %s, %s; %dx%d is too small, %dx%d is needed"):format((state_of(status, view)), status.pipeline,
    numbers.duration(status.elapsed), c.width, c.height, LEAST_WIDTH, LEAST_HEIGHT)
  c:write(1, 1, text, style.plain)
end

--- Moves what moves in a screen that has been drawn, and changes nothing else.
---@param before table the canvas
---@param status table
---@param view table
---@param beat integer
---@return table canvas
function scene.move(before, status, view, beat)
  if before.width < LEAST_WIDTH or before.height < LEAST_HEIGHT or view.help or view.question or view.detail then
    return before
  end
  local c = before:copy()
  local left = c.width * 2 // 5
  c:erase(2, 2, left - 2, c.height - 3)
  draw_flow(c, left, c.height - 1, status, view, beat)
  return c
end

--- Draws the whole screen.
---@param status table minigun.Status, with `over`: the run is over
---@param view table see hud.lua
---@param width integer
---@param height integer
---@param beat integer
---@return table canvas
function scene.draw(status, view, width, height, beat)
  local c = canvas.new(width, height)
  if width < LEAST_WIDTH or height < LEAST_HEIGHT then
    draw_small(c, status, view)
    return c
  end
  local left = width * 2 // 5
  draw_flow(c, left, height - 1, status, view, beat)
  draw_table(c, left + 1, width - left, height - 1, status, view)
  draw_bar(c, status, view)
  draw_over(c, status, view)
  return c
end

return scene
