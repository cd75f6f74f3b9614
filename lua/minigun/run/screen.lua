--- The terminal, as a run sees it: a progress line that gives way to what others print, and what workers print where
-- there is one. The line itself is handed in (view/progress_line.lua); without a terminal there is none. And the page
-- of figures (system/page.lua), which is written at the same moments.
local declared = require "minigun.base.declared"
local log = require "minigun.system.log"

local screen = {}

local Screen = {}
Screen.__index = Screen

--- Makes it, without a line.
---@return table screen
function screen.new() return declared({ line = false, output = false, page = false, looks = false }, Screen) end

--- Opens the line. Only before workers are forked.
---@param line table?
---@param how string the run's option `output`
---@param pool userdata|false
function Screen:open(line, how, pool)
  self.line = line or false
  self.looks = self.line or self.page
  self.output = pool and (line or log.collects()) and require("minigun.run.output").open(how, line, pool) or false
end

--- A page of figures is written from now on.
---@param page table
function Screen:show_figures(page)
  self.page, self.looks = page, page
end

--- The line is erased because others may print; it comes back soon.
function Screen:give_way()
  if self.line then self.line:give_way() end
end

--- The same, where the coordinator's own stages are about to run.
function Screen:before_handlers()
  if self.line then self.line:before_handlers() end
end

--- The line is drawn, and the page written, when it is time.
---@param seconds number? that the run would like to sleep; nil: without end
---@return number? seconds until it should look again
function Screen:look(seconds)
  if self.line then seconds = self.line:look(seconds) end
  if self.page then seconds = self.page:look(seconds) end
  return seconds
end

--- Passes on what a worker has printed.
---@param place table
---@param slot table of the worker
---@param last boolean it has ended
function Screen:take(place, slot, last)
  if self.output then self.output:take(place, slot, last) end
end

--- The line is erased for good, and the page is removed.
function Screen:close()
  if self.line then self.line:close() end
  if self.page then self.page:close() end
end

--- Writes the beginnings of lines whose workers are about to be killed.
function Screen:close_output()
  if self.output then self.output:close() end
end

return screen
