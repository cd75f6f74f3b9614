--- The line that a process may have at the terminal, below what is printed: code that prints must erase it first.
local terminal_line = {
  ERASE = "\r\27[J", -- to the end of the screen: one that has become narrower has broken the line in two
}

local current           -- the one that is open; in a child: that of its parent
local forbidden = false -- this is a child
local through = false   -- ... whose output goes through the coordinator

--- Opens the line of this process; there is one at a time.
---@param line table
--- `shown`: whether it is on the screen; `relays`: whether what children print comes through this process
---@return boolean ok false: there is one already, or this is a child
function terminal_line.open(line)
  if current or forbidden then return false end
  current = line
  return true
end

--- Whether one could be opened.
---@return boolean
function terminal_line.is_free() return not (current or forbidden) end

--- Closes it.
---@param line table
function terminal_line.close(line)
  if current == line then current = nil end
end

--- Whether this process is a worker of a run.
---@return boolean
function terminal_line.is_child() return forbidden end

--- Says that this process is a child: it has none.
function terminal_line.forbid() forbidden, through = true, current ~= nil and current.relays end

--- What to put before a text for the terminal: it erases the line where there is one.
---@return string
function terminal_line.before_text()
  return current and not through and (forbidden or current.shown) and terminal_line.ERASE or ""
end

return terminal_line
