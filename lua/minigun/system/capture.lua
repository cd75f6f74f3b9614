--- What this process and its children print, kept while a view has the whole screen: in a file without a name, in place
-- of standard output and standard error output as far as these are terminals. It is read by and by, and written out
-- where it belongs at the end. A file, as a pipe would make the program wait for its own view.
local core = require "minigun.core"

local capture = {}

local OUT <const>, ERR <const> = 1, 2
local KEPT <const>, PART <const> = 1000, 1 << 16 -- lines that are kept; bytes that are read at once

local Capture = {}
Capture.__index = Capture

--- Begins to keep what is printed.
---@return table? capture nil: there is no file to be had
---@return string? message
function capture.open()
  local which = (core.terminal(1) and OUT or 0) | (core.terminal(2) and ERR or 0)
  local file, message = io.tmpfile()
  local reader = file and io.open(("/proc/self/fd/%d"):format(core.fileno(file)), "rb")
  if not reader then return nil, message or "there is no /proc" end
  local self = setmetatable({ which = which, file = file, reader = reader, lines = {}, rest = "",
    saved = { [OUT] = which & OUT ~= 0 and core.copy_fd(1) or nil,
      [ERR] = which & ERR ~= 0 and core.copy_fd(2) or nil },
  }, Capture)
  io.stdout:flush()
  if which ~= 0 then core.print_into(core.fileno(file), which) end
  core.screen_keep(core.fileno(file), self.saved[OUT] or -1, self.saved[ERR] or -1) -- also where the process ends
  return self
end

--- The last lines that were printed.
---@return string[] lines the same table each time
function Capture:look()
  local lines = self.lines
  while true do
    local text = self.reader:read(PART)
    if not text then break end
    text = self.rest .. text
    local from = 1
    for line, after in text:gmatch "([^\n]*)\n()" do
      lines[#lines + 1], from = line:gsub("\r", ""), after
    end
    self.rest = text:sub(from)
  end
  if #lines > 2 * KEPT then
    table.move(lines, #lines - KEPT + 1, #lines, 1)
    for i = #lines, KEPT + 1, -1 do lines[i] = nil end
  end
  self.reader:seek("cur", 0) -- or the end that was seen stays one
  return lines
end

--- Prints go to the terminal again, what was kept first. May be called twice; where Ctrl-C has come in the middle, the
--- next call does the rest.
function Capture:close()
  if self.closed then return end
  core.screen_keep(-1, -1, -1)
  io.stdout:flush()
  local to = self.saved[OUT] or self.saved[ERR]
  for _, which in ipairs { OUT, ERR } do
    if self.saved[which] then core.print_into(self.saved[which], which) end
  end
  self.written = self.written or 0 -- bytes
  self.reader:seek("set", self.written)
  for text in function() return to and self.reader:read(PART) end do
    self.written = self.written + #text
    core.write_line(to, text)
  end
  self.closed = true
  for _, fd in pairs(self.saved) do core.shut(fd) end
  self.reader:close()
  self.file:close()
end

return capture
