--- The live view ("head-up display"): what is seen of a run, and what keys do. It knows the run by a port, and the
-- terminal by functions that it is handed; so it can be tried without either.
--
-- Its port has `status()` -> minigun.Status with `over` at the end, `log()` -> lines, `now()` -> seconds, `glyphs`,
-- `colours`, `is_over()`, and of what can be done with the run `pause(on)`, `stop()`, `kill()`, and `save(lines,
-- status)` -> message; `owns`: the run belongs to the view, so closing the view during the run asks. Its screen has
-- `check()` -> shown, anew; `size()` -> columns, rows; `read()` -> bytes; `write(bytes, after)` -> how many it has
-- taken.
local diagram = require "minigun.view.diagram"
local keys = require "minigun.view.keys"
local painter = require "minigun.view.painter"
local scene = require "minigun.view.scene"
local style = require "minigun.view.style"

local hud = {}

local FRAME <const> = 0.1    -- seconds between two frames
local FIGURES <const> = 0.4  -- ... between two looks at the run
local BEAT <const> = 0.2     -- ... between two steps of what moves
local MESSAGE <const> = 3    -- ... that a message stays
local ZOOMS <const> = { "list", "compact", "boxes" }
local LEVELS <const> = { "debug", "info", "warning", "error" }

local Hud = {}
Hud.__index = Hud

--- Makes a view; nothing is drawn yet.
---@param port table
---@param screen table
---@return table hud `closed`: it is to be closed
function hud.new(port, screen)
  local now = port.now()
  return setmetatable({
    port = port, screen = screen, painter = painter.new(style.codes(port.colours)), glyphs = port.glyphs,
    diagram = diagram.new(port.glyphs), due = now, began = now, figures_due = now, status = false, closed = false,
    drawn = false, stale = true, beat = 0, width = 0, height = 0,
    tab = 1, zoom = "auto", pan_x = 0, pan_y = 0, offsets = { 0, 0, 0, 0, 0 }, sorts = {}, selected = nil, log = {},
    level = "debug", follow = true, rows = {}, frozen = false, help = false, question = nil, detail = nil,
    searching = nil, message = nil, message_until = 0, pending = "", sent = 0,
  }, Hud)
end

local function say(self, text) self.message, self.message_until = text, self.port.now() + MESSAGE end

-- --- keys ------------------------------------------------------------------------------------------------------------

local function ask(self, text, yes) self.question = { text = text, yes = yes } end

local function stop(self)
  if self.status.over then return end
  if not self.port.stop then return say(self, "this view cannot stop the run") end
  ask(self, "Stop the run? What is inside is finished.", function() self.port.stop() end)
end

local function close(self)
  if self.port.owns and not self.status.over then
    return ask(self, "Stop the run and close the view?", function()
      self.port.stop()
      self.closed = true
    end)
  end
  self.closed = true
end

local function find_row(self)
  for i, row in ipairs(self.rows) do
    if row.name == self.selected then return i end
  end
end

-- Moves the selection of stages, or scrolls another table.
local function move(self, by)
  if self.tab ~= 1 then
    self.follow = false
    self.offsets[self.tab] = math.max(0, self.offsets[self.tab] + by)
    return
  end
  local at = (find_row(self) or (by > 0 and 0 or #self.rows + 1)) + by
  local row = self.rows[math.max(1, math.min(#self.rows, at))]
  self.selected = row and row.name
end

local function zoom(self, by)
  local at = 2
  for i, name in ipairs(ZOOMS) do
    if name == (self.zoom == "auto" and self.diagram.zoom or self.zoom) then at = i end
  end
  self.zoom = ZOOMS[math.max(1, math.min(#ZOOMS, at + by))]
end

local function sort_by_next(self)
  local own = self.sorts[self.tab] or { column = 0, down = true }
  local _, definitions = scene.table_of(self.status, self)
  own.column = own.column + 1
  self.sorts[self.tab] = definitions[own.column] and own or nil
end

local function next_level(self)
  for i, level in ipairs(LEVELS) do
    if level == self.level then
      self.level = LEVELS[i % #LEVELS + 1]
      return say(self, "log from level " .. self.level .. " on")
    end
  end
end

local function pause_sources(self)
  if not self.port.pause or self.status.over then return say(self, "this view cannot pause the sources") end
  self.port.pause(self.status.state ~= "paused")
  self.figures_due = 0
end

local function save(self)
  if not self.port.save then return say(self, "this view cannot save") end
  local c = scene.draw(self.status, self, self.width, self.height, self.beat)
  say(self, self.port.save(c:lines(), self.status))
end

local ACTIONS <const> = {
  q = close, ["ctrl-c"] = close, Q = stop, x = stop,
  K = function(self)
    if not self.port.kill or self.status.over then return say(self, "this view cannot kill the run") end
    ask(self, "Kill the run? What is inside is lost.", function() self.port.kill() end)
  end,
  space = function(self) self.frozen = not self.frozen end,
  h = function(self) self.help = true end,
  r = function(self) self.painter:forget() end,
  up = function(self) move(self, -1) end, down = function(self) move(self, 1) end,
  ["page up"] = function(self) move(self, -10) end, ["page down"] = function(self) move(self, 10) end,
  home = function(self) move(self, -1e9) end,
  ["end"] = function(self)
    move(self, 1e9)
    self.follow = true
  end,
  w = function(self) self.pan_y = self.pan_y - 2 end, s = function(self) self.pan_y = self.pan_y + 2 end,
  a = function(self) self.pan_x = self.pan_x - 2 end, d = function(self) self.pan_x = self.pan_x + 2 end,
  ["0"] = function(self) self.pan_x, self.pan_y, self.zoom = 0, 0, "auto" end,
  c = function(self) self.zoom = self.zoom == "compact" and "auto" or "compact" end,
  ["+"] = function(self) zoom(self, 1) end, ["-"] = function(self) zoom(self, -1) end,
  tab = function(self) self.tab = self.tab % #scene.TABS + 1 end,
  ["back tab"] = function(self) self.tab = (self.tab - 2) % #scene.TABS + 1 end,
  W = function(self) self.tab = 2 end, e = function(self) self.tab = 3 end, l = function(self) self.tab = 4 end,
  ["/"] = function(self) self.tab, self.searching = 1, "" end,
  enter = function(self) self.detail = self.tab == 1 and self.selected or nil end,
  o = sort_by_next,
  O = function(self)
    local own = self.sorts[self.tab]
    if own then own.down = not own.down end
  end,
  v = next_level, p = pause_sources, S = save,
}
ACTIONS.H, ACTIONS["?"], ACTIONS.R, ACTIONS["ctrl-l"], ACTIONS.C = ACTIONS.h, ACTIONS.h, ACTIONS.r, ACTIONS.r, ACTIONS.c
for i in ipairs(scene.TABS) do
  ACTIONS[tostring(i)] = function(self) self.tab = i end
end

local function search(self, key)
  if key == "enter" or key == "escape" then self.searching = nil return end
  if key == "backspace" then self.searching = self.searching:sub(1, (utf8.offset(self.searching, -1) or 1) - 1)
  elseif utf8.len(key) == 1 then self.searching = self.searching .. key end
  for _, row in ipairs(self.status.stages) do
    if row.name:lower():find(self.searching:lower(), 1, true) then
      self.selected = row.name
      return
    end
  end
end

--- Does what a key says.
---@param key string see keys.lua
function Hud:key(key)
  if self.question then
    local question = self.question
    self.question = nil
    if key == "y" or key == "Y" then question.yes() end
  elseif self.searching then
    search(self, key)
  elseif self.help or self.detail then
    self.help, self.detail = false, nil
    if key == "q" or key == "Q" or key == "ctrl-c" then ACTIONS[key](self) end
  elseif ACTIONS[key] then
    ACTIONS[key](self)
  end
end

-- --- frames ----------------------------------------------------------------------------------------------------------

-- Gives the terminal what it has not taken yet. Returns whether it has all.
local function send(self)
  while self.sent < #self.pending do
    local taken = self.screen.write(self.pending, self.sent)
    if not taken then
      self.closed = true -- the terminal is gone
      return false
    end
    if taken == 0 then return false end
    self.sent = self.sent + taken
  end
  self.pending, self.sent = "", 0
  return true
end

local function look_at_run(self, now)
  if self.frozen and self.status and not self.port.is_over() or now < self.figures_due then return end
  self.status, self.figures_due, self.stale = self.port.status(), now + FIGURES, true
  if not self.frozen then self.log = self.port.log() end
end

-- The canvas of this moment; nil: it is the last one.
local function draw(self, now, anew)
  local width, height = self.screen.size()
  if width == 0 then width, height = 120, 40 end
  if width ~= self.width or height ~= self.height then self.pan_x, self.pan_y = 0, 0 end
  if width ~= self.width or height ~= self.height or anew then self.stale = true end
  local beat = self.frozen and self.beat or math.floor((now - self.began) / BEAT)
  local moved = beat ~= self.beat
  self.width, self.height, self.beat = width, height, beat
  if self.stale then self.drawn = scene.draw(self.status, self, width, height, beat)
  elseif moved then self.drawn = scene.move(self.drawn, self.status, self, beat)
  else return nil end
  self.stale = false
  return self.drawn
end

--- Draws a frame, if the terminal has taken the one before, and does what was typed.
function Hud:frame()
  local now = self.port.now()
  local shown, anew = self.screen.check()
  if anew then self.painter:forget() self.pending, self.sent = "", 0 end
  look_at_run(self, now)
  if not shown then return end -- reading in the background of a terminal would stop the process
  local typed = self.screen.read()
  if not typed then self.closed = true end
  for _, key in ipairs(keys.of(typed or "")) do self:key(key) end
  self.stale = self.stale or typed ~= "" or self.message ~= nil
  look_at_run(self, now) -- a key may have asked for it
  if self.closed or not send(self) then return end
  if now > self.message_until then self.message = nil end
  local c = draw(self, now, anew)
  if c then self.pending = self.painter:paint(c) end
  send(self)
end

--- Draws when it is time. What a progress line can, so a run may have this in its place.
---@param seconds number? that the run would like to sleep; nil: without end
---@return number seconds until it should look again
function Hud:look(seconds)
  local now = self.port.now()
  if now >= self.due then
    self.due = now + FRAME
    if not self.closed then self:frame() end
  end
  return math.min(seconds or math.huge, self.due - now)
end

return hud
