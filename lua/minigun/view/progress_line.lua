--- The progress line: what a run that takes long shows at a terminal, and takes away again.
--
-- It goes to the standard error output, and only where that is a terminal and this process is in its foreground; from
-- the process that called `run`, never from a child. It is drawn when the run waits or has gone round, ten times a
-- second at most, never wraps, and the cursor stays at its begin. Where the coordinator runs stages of its own, which
-- may print, it is erased before; what workers print comes through the coordinator (run/output.lua).
local columns = require "minigun.view.columns"
local progress = require "minigun.base.progress"
local terminal_line = require "minigun.base.terminal_line"

local progress_line = {}

local FIRST <const> = 0.5   -- seconds of a run without a line
local EVERY <const> = 0.1   -- seconds between two drawings
local ERASE <const> = "\r\27[J" -- to the end of the screen: one that has become narrower has broken the line in two
local DRAW <const> = "\r\27[?7l%s\27[K\27[?7h\r" -- what does not fit is cut off by the terminal, too
local UNKNOWN <const> = 80  -- columns of a terminal that does not know them
local NO <const> = { ["0"] = true, off = true, no = true, ["false"] = true }

local ProgressLine = {}
ProgressLine.__index = ProgressLine

-- Stages of the coordinator other than sources, batches and the like: handlers that may print.
local function has_handlers(run)
  if run.plan.threaded then return true end
  for _, each in ipairs(run.inline) do
    if each.handler and each.kind ~= "producer" and not each.partition then return true end
  end
  return false
end

--- Opens the line of a run; there is one at a time.
---@param run table what is shown of it: `plan`, `started`, `inline`, `result`, `length`, `tally()`
---@param screen table
--- `terminal(fd)` -> columns, or nil where it is none, and whether this process is in its foreground; `now()`: seconds
---@return table? progress_line nil: none is wanted, or there is no terminal
function progress_line.open(run, screen)
  if not terminal_line.is_free() or run.plan.options.progress == false then return nil end
  if NO[(os.getenv "MINIGUN_PROGRESS" or ""):lower()] or os.getenv "TERM" == "dumb" then return nil end
  if not screen.terminal(2) then return nil end
  local self = setmetatable({
    run = run, screen = screen, shown = false, due = run.started + FIRST, length = run.length, relays = false,
    gives_way = screen.terminal(1) ~= nil and has_handlers(run),
  }, ProgressLine)
  terminal_line.open(self)
  return self
end

local function duration(seconds)
  if seconds < 60 then return ("%d s"):format(math.ceil(seconds)) end
  if seconds < 3600 then return ("%d:%02d min"):format(seconds // 60, seconds % 60 // 1) end
  return seconds < 360000 and ("%d:%02d h"):format(seconds // 3600, seconds % 3600 // 60) or "more than 100 h"
end

local function estimate(run, rows, seconds, length)
  local part = length and progress.part(run.plan.stages, rows, length) or 0
  if part <= 0 or seconds <= 0 then return "" end
  local rate = part * length / seconds
  return (", %d %%, %s/s, %s left"):format(part * 100 // 1, rate < 10 and ("%.1f"):format(rate) or rate // 1 | 0,
    duration(seconds / part * (1 - part)))
end

--- The line: how far each stage is.
---@param run table
---@param seconds number since its begin
---@param most integer columns
---@param length integer? how many items the source has
---@return string
function progress_line.text(run, seconds, most, length)
  local parts, seen, rows = {}, {}, run:tally()
  for _, each in ipairs(run.plan.stages) do
    local row = rows[each.name]
    if not seen[each.name] then
      seen[each.name] = true
      local done, all = row.items_in - row.pending, row.items_in
      if each.kind == "producer" then done, all = row.items_out, row.items_out end
      parts[#parts + 1] = each.name .. " " .. (done == all and all or ("%d/%d"):format(math.max(done, 0), all))
    end
  end
  local failed = run.result.failed or #run.result.failures
  local text = ("%s, %.1f s%s%s: %s"):format(run.plan.name, seconds, estimate(run, rows, seconds, length),
    failed > 0 and (", %d failed"):format(failed) or "", table.concat(parts, " > "))
  return (columns.cut(text, most))
end

-- Writes to the terminal, unless another job has it: in its background the line would stand between other programs'
-- output, and where it asks for that this process would be stopped.
local function write(self, text)
  local _, in_front = self.screen.terminal(2)
  if in_front then io.stderr:write(text) end -- one write
  return in_front
end

--- Draws the line when it is time.
---@param seconds number? that the run would like to sleep; nil: without end
---@return number seconds until it should look again
function ProgressLine:look(seconds)
  local now = self.screen.now()
  if now >= self.due then
    local width = self.screen.terminal(2) or 0
    local most = (width > 0 and width or UNKNOWN) - 1
    self.due = now + EVERY
    if most > 0 then
      self.shown = write(self, DRAW:format(progress_line.text(self.run, now - self.run.started, most, self.length)))
    end
  end
  return math.min(seconds or math.huge, self.due - now)
end

--- Erases the line, as other code may print; it comes back soon.
function ProgressLine:give_way()
  if not self.shown then return end
  self.shown = false
  write(self, ERASE)
end

--- The same, where the coordinator's own stages are about to run.
function ProgressLine:before_handlers()
  if self.gives_way then self:give_way() end
end

--- Erases the line for good.
function ProgressLine:close()
  self:give_way()
  terminal_line.close(self)
end

return progress_line
