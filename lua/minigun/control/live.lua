--- The live view of a run of this process, and the plain one where the terminal can show no more. The view has the
-- place of the progress line; what is printed meanwhile is kept (system/capture.lua).
local core = require "minigun.core"
local replacing = require "minigun.system.replacing"
local terminal_line = require "minigun.base.terminal_line"

local live = {}

-- What only a view needs is loaded where one is opened.
local NAP <const> = 0.05 -- seconds between two looks while nothing else is to do

local Live = { relays = false, shown = false } -- what a progress line has besides
Live.__index = Live

-- Where the whole screen can be drawn.
local function can_draw()
  local term = os.getenv "TERM"
  return term and term ~= "" and term ~= "dumb" and require("minigun.view.style").colours(os.getenv) > 0
    and (core.terminal(1) or core.terminal(2)) and true or false
end

--- The terminal as hud.lua wants it.
live.screen = { check = core.screen_check, size = core.screen_size, read = core.screen_read, write = core.screen_write }

local function save(lines, status)
  local base = ("minigun-%s-%s"):format(status.pipeline:gsub("[^%w]+", "_"), status.id or status.pid)
  local json = require "minigun.base.json"
  for ending, text in pairs { txt = table.concat(lines, "\n") .. "\n", json = json.encode(status) .. "\n" } do
    local ok, message = replacing.write(("%s.%s"):format(base, ending), text)
    if not ok then return "not saved: " .. message end
  end
  return ("saved as %s.txt and .json"):format(base)
end

--- What a view can do with figures that come from anywhere.
---@param status fun(): table
---@return table port see view/hud.lua
function live.port(status)
  return { status = status, log = function() return {} end, now = core.now,
    glyphs = require("minigun.view.glyphs").of(os.getenv), colours = require("minigun.view.style").colours(os.getenv),
    save = save, is_over = function() return false end }
end

--- Opens a view: the live one where the terminal can show it, or the plain one.
---@param port table see view/hud.lua
---@param every number? seconds: the plain one is wanted, with a line so often
---@return table view
function live.open(port, every)
  local self = setmetatable({ port = port, view = false, kept = false, full = false, watches = false,
    ended = false }, Live)
  if not every and can_draw() and core.screen_open() then
    core.watch_stops(true) -- Ctrl-Z gives the terminal back
    self.watches = true
    self.kept = require("minigun.system.capture").open() or false
    if self.kept then port.log = function() return self.kept:look() end end
    self.view, self.full = require("minigun.view.hud").new(port, live.screen), true
  else
    self.view = require("minigun.view.plain").new(port, function(text) io.stderr:write(text) end, every or 1)
  end
  terminal_line.open(self)
  return self
end

--- Gives the terminal back, and what was printed meanwhile to it. May be called twice; where Ctrl-C has come in the
--- middle, the next call does the rest.
function Live:leave()
  if self.ended then return end
  if self.full then core.screen_close() end
  if self.watches then
    core.watch_stops(false)
    self.watches = false
  end
  if self.kept then self.kept:close() end
  terminal_line.close(self)
  self.ended = true
end

Live.__close = Live.leave

--- Whether it was closed, by a key or as the terminal is gone.
---@return boolean
function Live:is_closed() return self.ended or self.view.closed end

--- Draws when it is time.
---@param seconds number?
---@return number? seconds until it should look again
function Live:look(seconds)
  if self.ended then return seconds end
  local ok, due = xpcall(self.view.look, debug.traceback, self.view, seconds)
  if not ok then -- a view must not end what it shows
    self:leave()
    if tostring(due):find("^[^\n]*interrupted!") then error("interrupted!", 0) end
    io.stderr:write("minigun: the live view has failed and is closed, the run goes on: ", tostring(due), "\n")
    return seconds
  end
  seconds = due
  if self.view.closed then self:leave() end
  return seconds
end

-- What is printed does not come to the screen, so nothing has to give way.
function Live:give_way() return self end
function Live:before_handlers() return self end

--- The run is over: the screen stays, for `finish`.
function Live:close()
  if not self.waits then self:leave() end
end

--- Shows the end of a run until the view is closed by a key, or goes at once.
---@param status table minigun.Status at the end
---@param stays boolean
function Live:finish(status, stays)
  if self.ended then return end
  status.over = true
  self.port.status = function() return status end
  self.port.is_over = function() return true end
  if not self.full then self.view:finish(status) end
  while self.full and stays and not self:is_closed() and not core.interrupted() and not core.terminated() do
    self:look()
    core.sleep(NAP)
  end
  self:leave()
end

-- --- of a run --------------------------------------------------------------------------------------------------------

--- Opens the view of a run.
---@param r table run.run
---@param status (fun(): table)? gives minigun.Status
---@param every number? see live.open
---@return table view
function live.of_run(r, status, every)
  require "minigun.run.snapshot" -- what the status takes, before handlers run
  local port = live.port(status or function() return r.status:snapshot() end)
  port.stop = function() r.state.stop_asked = true end
  port.kill = function() r.state:kill() end
  port.pause = function(on) r:pause(on) end
  return live.open(port, every)
end

return live
