--- The flow diagram: stages as boxes, with lines between them on which something moves as long as items do.
local columns = require "minigun.view.columns"
local layout = require "minigun.view.layout"
local numbers = require "minigun.view.numbers"
local style = require "minigun.view.style"

local diagram = {}

local LEAST <const>, BESIDE <const> = 14, 8 -- columns of a box: at least, and beside its name
local LONGEST <const> = 32 -- columns of a name
local CYCLE <const>, PIECE <const> = 8, 2 -- cells from one moving piece to the next, and of one

--- Rows of a box by zoom; "list" has none.
diagram.HEIGHTS = { boxes = 4, compact = 3 }

local Diagram = {}
Diagram.__index = Diagram

--- Makes a diagram.
---@param glyphs table
---@return table diagram `picture`: what has been laid out, see layout.lua; `made`: by zoom, what was laid out before
function diagram.new(glyphs)
  return setmetatable({ glyphs = glyphs, zoom = false, key = false, picture = false, ended = {}, frames = {},
    made = {} }, Diagram)
end

--- What a stage is at, for its sign and colour.
---@param row table of a status
---@param status table
---@return string
function diagram.state_of(row, status)
  if row.state == "done" then return row.failed > 0 and "failed" or "done" end
  if status.bottleneck == row.name then return "bottleneck" end
  return row.state
end

--- By what a stage is at: its colour.
diagram.looks = { working = style.green, waiting = style.gray, blocked = style.yellow, bottleneck = style.yellow,
  failed = style.red, done = style.gray }

--- The sign of a stage's kind.
---@param row table
---@param glyphs table
---@return string
function diagram.icon(row, glyphs)
  local icons = glyphs.icons
  if row.route == "choice" then return icons.router end
  if row.context:find "process_per_batch" then return icons.fork end
  return icons[row.kind] or icons.other
end

-- The name without those of the pipelines around it, where a frame has them.
local function title(self, row) return self.framed[row.name] or row.name end

local function width_of(self, row, zoom)
  local width = math.min(LONGEST, columns.width(title(self, row))) + BESIDE
  if zoom == "boxes" then width = math.max(width, columns.width(row.context) + 6, 22) end
  return math.max(LEAST, width)
end

-- Which pipeline around it a stage is in: "outer.inner.stage" in "outer.inner".
local function around(name) return name:match "^(.+)%.[^.]+$" end

-- The frames of nested pipelines, where no box of others is in between.
local function frame_nested(self, status)
  local by_name, boxes, height = {}, self.picture.boxes, diagram.HEIGHTS[self.zoom]
  for _, row in ipairs(status.stages) do
    local name, box = around(row.name), boxes[row.name]
    if name then
      local frame = by_name[name] or { name = name, left = box.x, top = box.y, right = 0, bottom = 0 }
      by_name[name] = frame
      frame.left, frame.top = math.min(frame.left, box.x - 1), math.min(frame.top, box.y - 1)
      frame.right = math.max(frame.right, box.x + box.width)
      frame.bottom = math.max(frame.bottom, box.y + height)
    end
  end
  self.frames = {}
  for _, frame in pairs(by_name) do
    local free = true
    for name, box in pairs(boxes) do
      local inside = name:sub(1, #frame.name + 1) == frame.name .. "."
      if not inside and box.x <= frame.right and box.x + box.width > frame.left and box.y <= frame.bottom
        and box.y + height > frame.top then free = false end
    end
    if free then self.frames[#self.frames + 1] = frame end
  end
  table.sort(self.frames, function(a, b) return a.name < b.name end)
end

--- Lays the diagram out anew where it is another one, or another zoom.
---@param status table
---@param zoom "boxes"|"compact"
function Diagram:prepare(status, zoom)
  local names = {}
  for i, row in ipairs(status.stages) do names[i] = row.name end
  local key = #status.edges .. "\0" .. table.concat(names, "\0")
  if key ~= self.key then self.key, self.ended, self.made = key, {}, {} end
  local made = self.made[zoom]
  self.zoom = zoom
  if made then
    self.picture, self.frames, self.framed = made.picture, made.frames, made.framed
    return
  end
  self.framed = {}
  for _, row in ipairs(status.stages) do
    if around(row.name) then self.framed[row.name] = row.name:match "[^.]+$" end
  end
  local stages = {}
  for i, row in ipairs(status.stages) do stages[i] = { name = row.name, width = width_of(self, row, zoom) } end
  self.picture = layout.new(stages, status.edges, diagram.HEIGHTS[zoom])
  frame_nested(self, status)
  self.made[zoom] = { picture = self.picture, frames = self.frames, framed = self.framed }
end

-- The first of a line's cells that a moving piece is on, from 0 to CYCLE - 1; nil: nothing moves.
local function moves(self, way, i, rows, beat)
  local row = rows[way.edge.from]
  if way.edge.kind == "dead_letter" or row.state == "done" or row.rate <= 0 then return nil end
  if row.route == "round_robin" and (beat // CYCLE + i) % math.max(1, self.fans[row.name]) ~= 0 then return nil end
  return (beat + 3 * i) % CYCLE
end

-- The look of each line now: `moving` as above, `look`, and how far it has gone gray since its source has ended.
local function look_at_ways(self, rows, beat)
  self.fans = {}
  for _, way in ipairs(self.picture.ways) do
    self.fans[way.edge.from] = (self.fans[way.edge.from] or 0) + 1
  end
  for i, way in ipairs(self.picture.ways) do
    local row, edge = rows[way.edge.from], way.edge
    way.moving = moves(self, way, i, rows, beat)
    way.gray = row.state == "done" and beat - (self.ended[row.name] or beat) or -1
    if edge.kind == "dead_letter" then way.look = row.failed > 0 and style.red or style.gray
    else way.look = (row.rate > 0 or row.state == "done") and style.cyan or style.gray end
  end
end

local function draw_cell(self, canvas, cell, x, y)
  local thick, look, moving, dashed = false, style.gray, false, true
  for _, through in ipairs(cell.ways) do
    local way = through.way
    thick, dashed = thick or way.edge.kind == "bytes", dashed and way.edge.kind == "sent"
    if way.moving and (through.at - way.moving) % CYCLE < PIECE then moving = true end
    if (way.look ~= style.gray and through.at > way.gray) then look = way.look end
  end
  local glyphs = self.glyphs
  local char = glyphs.lines[(thick or moving) and 2 or 1][cell.sides]
  if cell.arrow then char = glyphs.arrow
  elseif dashed and not moving then char = glyphs.dashed[cell.sides] or char end
  canvas:put(x + cell.x, y + cell.y, char, moving and style.moving or look)
end

-- What waits for a stage, as a bar of its limit, or as a number; and what has failed in it.
local function load_of(row, glyphs, width)
  local parts = {}
  if row.queue then
    parts[1] = numbers.bar(row.pending / row.queue, math.max(2, math.min(8, width - 14)), glyphs) .. " "
      .. numbers.count(row.pending) .. "/" .. numbers.count(row.queue)
  elseif not row.source then
    parts[1] = numbers.count(row.pending) .. " wait"
  else
    parts[1] = numbers.count(row.items_out) .. " out"
  end
  return table.concat(parts, " ")
end

local function draw_box(self, canvas, row, status, x, y, box)
  local glyphs, zoom = self.glyphs, self.zoom
  local state = diagram.state_of(row, status)
  local look, height = diagram.looks[state], diagram.HEIGHTS[zoom]
  local selected = self.selected == row.name
  canvas:erase(x, y, box.width, height)
  canvas:frame(x, y, box.width, height, glyphs, look)
  local inner = box.width - 4
  canvas:write(x + 2, y + 1, diagram.icon(row, glyphs), look)
  local name = columns.fit(title(self, row), inner - 4, glyphs.cut)
  canvas:write(x + 4, y + 1, name, selected and style.selected or style.bold)
  canvas:write(x + box.width - 3, y + 1, glyphs.states[state], look)
  if zoom == "boxes" then
    canvas:write(x + 1, y, " " .. row.context .. " ", style.blue, box.width - 2)
    local at = canvas:write(x + 2, y + 2, load_of(row, glyphs, inner), style.plain, inner)
    local function add(sign, n, own)
      local text = sign .. numbers.count(n)
      if n > 0 and at + columns.width(text) < x + box.width - 2 then at = canvas:write(at + 1, y + 2, text, own) end
    end
    add(glyphs.states.failed, row.failed, style.red)
    add(glyphs.again, row.retried, style.yellow)
  end
  local rate = " " .. numbers.rate(status.over and row.mean or row.rate) .. " "
  canvas:write(x + box.width - 2 - #rate, y + height - 1, rate, look)
end

--- Draws the diagram into the canvas, with its left upper corner at (x, y), as far as the canvas is not clipped.
---@param canvas table
---@param status table
---@param x integer
---@param y integer
---@param beat integer how far things have moved
function Diagram:draw(canvas, status, x, y, beat)
  local rows, picture = {}, self.picture
  for _, row in ipairs(status.stages) do
    rows[row.name] = row
    if row.state == "done" and not self.ended[row.name] then self.ended[row.name] = beat end
  end
  for _, frame in ipairs(self.frames) do
    local width, height = frame.right - frame.left + 1, frame.bottom - frame.top + 1
    canvas:frame(x + frame.left - 1, y + frame.top - 1, width, height, { frame = self.glyphs.nest }, style.blue,
      frame.name)
  end
  look_at_ways(self, rows, beat)
  for _, cell in ipairs(picture.cells) do draw_cell(self, canvas, cell, x - 1, y - 1) end
  for _, row in ipairs(status.stages) do
    local box = picture.boxes[row.name]
    draw_box(self, canvas, row, status, x + box.x - 1, y + box.y - 1, box)
  end
end

return diagram
