--- The plain view: a line now and then, for logs and for terminals that can show no more.
local columns = require "minigun.view.columns"
local numbers = require "minigun.view.numbers"
local progress = require "minigun.base.progress"

local plain = {}

local Plain = {}
Plain.__index = Plain

--- Makes a plain view.
---@param port table as that of hud.lua: `status()`, `now()`
---@param write fun(text: string)
---@param every number seconds between two lines
---@return table view
function plain.new(port, write, every)
  return setmetatable({ port = port, write = write, every = every, due = port.now() + every, closed = false }, Plain)
end

--- The line: state, time, and how far each stage is.
---@param status table minigun.Status
---@return string
function plain.line(status)
  local parts = {}
  for i, row in ipairs(status.stages) do
    local waiting = row.pending > 0 and ("/%d"):format(row.items_in) or ""
    parts[i] = ("%s %d%s %s%s"):format(row.name, progress.done(row), waiting,
      numbers.rate(status.over and row.mean or row.rate),
      row.failed > 0 and (", %d failed"):format(row.failed) or "")
  end
  local how = status.part and (", %s%s"):format(numbers.percent(status.part),
    status.left and (", %s left"):format(numbers.duration(status.left)) or "") or ""
  return (columns.cut(("%s %s, %s%s: %s"):format(status.pipeline, status.state, numbers.duration(status.elapsed), how,
    table.concat(parts, " > ")), 1000))
end

--- Writes the line when it is time.
---@param seconds number? that the run would like to sleep; nil: without end
---@return number seconds until it should look again
function Plain:look(seconds)
  local now = self.port.now()
  if now >= self.due then
    self.due = now + self.every
    self.write(plain.line(self.port.status()) .. "\n")
  end
  return math.min(seconds or math.huge, self.due - now)
end

--- Writes the line of the end.
---@param status table
function Plain:finish(status) self.write(plain.line(status) .. "\n") end

return plain
