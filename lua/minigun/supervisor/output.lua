--- What workers write to standard error: it goes through a pipe to the master, which writes it to its own and keeps the
-- last lines, for the message of a worker's death.
local core = require "minigun.core"

local output = {}

local KEPT <const>, LINES <const> = 2048, 10 -- bytes, lines

local Output = {}
Output.__index = Output

--- Makes the pipe of one worker.
---@return table? output `write`: the worker's end
---@return string? message
---@return integer? errno
function output.open()
  local read, write, errno = core.pipe()
  if not read then return nil, write, errno end
  return setmetatable({ read = read, write = write, last = "" }, Output)
end

-- Reads once. false: there is nothing, or nothing more to come.
local function take(self)
  local bytes = core.read_fd(self.read)
  if not bytes then return false end
  if bytes == "" then return false, true end
  core.write_fd(2, bytes)
  self.last = (self.last .. bytes):sub(-KEPT)
  return true
end

--- In the master, after the fork: reads what comes.
---@param loop minigun.Loop
function Output:watch(loop)
  core.shut(self.write)
  self.write = nil
  self.watching = loop:watch_io(self.read, "r", function()
    local _, ended = take(self)
    if ended then self.watching:stop() end
  end)
end

--- In a worker: standard error goes there.
function Output:become()
  core.print_into(self.write)
  core.shut(self.write)
  core.shut(self.read)
end

--- Closes it; what is still there is read before. A process that the worker has started may still hold its end open.
function Output:close()
  if self.watching then self.watching:stop() end
  if not self.write then
    for _ = 1, 64 do
      if not take(self) then break end
    end
  else
    core.shut(self.write)
  end
  core.shut(self.read)
end

--- The last lines, for a message.
---@return string text "" where there are none; begins with a newline
function Output:tail()
  local lines = {}
  for line in self.last:gmatch "[^\n]+" do lines[#lines + 1] = "    " .. line end
  if #lines == 0 then return "" end
  return "; it wrote last:\n" .. table.concat(lines, "\n", math.max(1, #lines - LINES + 1))
end

return output
