--- The file that holds the number of a server's master.
local replacing = require "minigun.system.replacing"

local pid_file = {}

--- Writes it: as a whole, over that of a former master.
---@param self table master
function pid_file.write(self)
  local path = self.options.pid_file
  if not path then return end
  local ok, message = replacing.write(path, self.pid .. "\n")
  if not ok then return self:log("cannot write the pid_file: %s", message) end
  self.pid_written = true
end

--- Removes it, unless it is another master's by now.
---@param self table master
function pid_file.remove(self)
  if not self.pid_written then return end
  local file = io.open(self.options.pid_file)
  local pid = file and file:read "n"
  if file then file:close() end
  if pid == self.pid then os.remove(self.options.pid_file) end
end

return pid_file
