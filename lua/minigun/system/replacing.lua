--- Replaces a file whole: a reader finds the old file or the new file, never a part. What is no file, as /dev/stdout,
-- is written to.
local core = require "minigun.core"

local EISDIR <const> = 21

local replacing = {}

-- The name that a file has until it is whole.
local function new_name(path) return core.is_stream(path) and path or ("%s.%d.new"):format(path, core.pid()) end

--- Says why a file could not be written.
---@param path string
---@return string? message nil: it can be
function replacing.problem(path)
  local own = new_name(path)
  if own == path then return nil end
  local file, message = io.open(own, "wb")
  if not file then return message end
  file:close()
  os.remove(own)
  local there, fault, errno = io.open(path, "r+")
  if there then there:close() end
  return errno == EISDIR and fault or nil
end

--- Writes a file.
---@param path string
---@param text string
---@return boolean? ok nil: the file is as it was
---@return string? message
function replacing.write(path, text)
  local own = new_name(path)
  local file, message = io.open(own, "wb")
  if not file then return nil, message end
  local ok, fault = file:write(text)
  local closed, other = file:close()
  if ok then ok, fault = closed, other end
  if own ~= path then
    if ok then ok, fault = os.rename(own, path) end
    if not ok then os.remove(own) end
  end
  return ok and true or nil, fault
end

return replacing
