--- The progress line: what a run that takes long shows at a terminal, and takes away again.
--
-- It goes to the standard error output, and only where that is a terminal; from the process that called `run`, never
-- from a child. It is drawn when the run waits or has gone round, ten times a second at most, and the cursor stays at
-- its begin. Where the coordinator runs stages of its own, which may print, it is erased before.
local core = require "minigun.core"

local meter = {}

local FIRST <const> = 0.5   -- seconds of a run without a line
local EVERY <const> = 0.1   -- seconds between two drawings
local SOON <const> = 0.02   -- the same, when it was erased meanwhile
local ERASE <const> = "\r\27[K"
local NO <const> = { ["0"] = true, off = true, no = true, ["false"] = true }

local Meter = {}
Meter.__index = Meter

local current           -- the one that is open; in a child: that of its parent
local forbidden = false -- this is a child

--- Says that this process is a child: it draws none.
function meter.forbid()
  forbidden = true
end

--- What to put before a text for the terminal: it erases the line where there is one.
---@return string
function meter.before_text()
  return current and (forbidden or current.shown) and ERASE or ""
end

-- Stages of the coordinator other than sources, batches and the like: handlers that may print.
local function has_handlers(run)
  if run.plan.threaded then return true end
  for _, stage in ipairs(run.inline) do
    if stage.handler and stage.kind ~= "producer" and not stage.partition then return true end
  end
  return false
end

--- Opens the line of a run; there is one at a time.
---@param run table
---@return table? meter nil: none is wanted, or there is no terminal
function meter.open(run)
  if current or forbidden or run.plan.options.progress == false then return nil end
  if NO[(os.getenv "MINIGUN_PROGRESS" or ""):lower()] then return nil end
  local columns = core.terminal(2)
  if not columns then return nil end
  current = setmetatable({
    run = run, columns = columns > 0 and columns or 80, shown = false, drawn = 0, due = run.started + FIRST,
    gives_way = core.terminal(1) ~= nil and has_handlers(run),
  }, Meter)
  return current
end

--- The line: how far each stage is.
---@param run table
---@param seconds number since its begin
---@param columns integer at most
---@return string
function meter.text(run, seconds, columns)
  local parts, seen, rows = {}, {}, run:tally()
  for _, stage in ipairs(run.plan.stages) do
    local row = rows[stage.name]
    if not seen[stage.name] then
      seen[stage.name] = true
      local done, all = row.items_in - row.pending, row.items_in
      if stage.kind == "producer" then done, all = row.items_out, row.items_out end
      parts[#parts + 1] = stage.name .. " " .. (done == all and all or ("%d/%d"):format(math.max(done, 0), all))
    end
  end
  local failed = run.result.failed
  local text = ("%s, %.1f s%s: %s"):format(run.plan.name, seconds, failed > 0 and (", %d failed"):format(failed) or "",
    table.concat(parts, " > ")):gsub("%c", "?")
  if utf8.len(text) and utf8.len(text) > columns then text = text:sub(1, utf8.offset(text, columns + 1) - 1) end
  return utf8.len(text) and text or text:sub(1, columns)
end

--- Draws the line when it is time.
---@param seconds number? that the run would like to sleep; nil: without end
---@return number seconds until it should look again
function Meter:look(seconds)
  local now = core.now()
  if now >= self.due then
    local text = meter.text(self.run, now - self.run.started, self.columns - 1)
    io.stderr:write(("\r%s\27[K\r"):format(text)) -- one write
    self.shown, self.drawn, self.due = true, now, now + EVERY
  end
  return math.min(seconds or math.huge, self.due - now)
end

--- Erases the line because others may print; it comes back soon.
function Meter:give_way()
  if not self.shown then return end
  io.stderr:write(ERASE)
  self.shown, self.due = false, math.min(self.due, self.drawn + SOON)
end

--- The same, where the coordinator's own stages are about to run.
function Meter:before_handlers()
  if self.gives_way then self:give_way() end
end

--- Erases the line for good.
function Meter:close()
  self:give_way()
  if current == self then current = nil end
end

return meter
