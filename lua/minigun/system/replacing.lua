--- Replaces a file whole: a reader finds the old file or the new file, never a part. What is no file, as /dev/stdout,
-- is written to.
local core = require "minigun.core"

local EISDIR <const> = 21
local STREAMS <const> = { ["/dev/stdout"] = io.stdout, ["/dev/stderr"] = io.stderr }

local replacing = {}

-- The name that a file has until it is whole; its own where it is no file, or one that this process has open.
local function new_name(path)
  local there, regular = core.readable(path)
  local is_open = path:find "^/dev/std" or path:find "^/dev/fd/" or path:find "^/proc/"
  return (there and not regular or is_open) and path or ("%s.%d.new"):format(path, core.pid())
end

--- Says why a file could not be written.
---@param path string
---@return string? message nil: it can be
function replacing.problem(path)
  if select(3, core.readable(path)) == EISDIR then return "it is a directory" end
  local own = new_name(path)
  if own == path then return nil end
  local file, message = io.open(own, "wb")
  if not file then return message end
  file:close()
  os.remove(own)
end

-- What is no file is written to as it is. Standard output may be a file, too, which goes on with what is printed: it
-- is neither cut nor opened anew.
local function add(path, text)
  local own = io.type(STREAMS[path]) == "file" and STREAMS[path]
  local file, message = own, nil
  if not own then file, message = io.open(path, "ab") end
  if not file then return nil, message end
  local ok, fault = file:write(text)
  if ok then ok, fault = file:flush() end
  if not own then file:close() end
  return ok and true or nil, fault
end

--- Writes a file.
---@param path string
---@param text string
---@return boolean? ok nil: the file is as it was
---@return string? message
function replacing.write(path, text)
  local own = new_name(path)
  if own == path then return add(path, text) end
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
