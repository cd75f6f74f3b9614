--- Replaces a file whole: a reader finds the old file or the new file, never a part.
local core = require "minigun.core"

local replacing = {}

--- The name that a file has until it is whole.
---@param path string
---@return string
function replacing.name(path) return ("%s.%d.new"):format(path, core.pid()) end

--- Writes a file.
---@param path string
---@param text string
---@return boolean? ok nil: the file is as it was
---@return string? message
function replacing.write(path, text)
  local own = replacing.name(path)
  local file, message = io.open(own, "wb")
  if not file then return nil, message end
  local ok, fault = file:write(text)
  local closed, other = file:close()
  if ok then ok, fault = closed, other end
  if ok then ok, fault = os.rename(own, path) end
  if not ok then os.remove(own) end
  return ok and true or nil, fault
end

return replacing
