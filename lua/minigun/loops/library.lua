--- Another library with an event loop: loaded when it is first asked for, named with its Debian package
-- where it is missing.
local core = require "minigun.core"
local failure = require "minigun.base.failure"

local library = {}

--- Loads a library; raises at the user's line where it is not there.
---@param adapter string
---@param module string
---@param package_name string of Debian
---@return any module what it gives
function library.load(adapter, module, package_name)
  local found, loaded = pcall(require, module)
  if found then return loaded end
  failure.raise(("loop.new '%s' needs the library %s, which cannot be loaded: install %s, or what gives it " ..
    "elsewhere (%s)"):format(adapter, module, package_name, (tostring(loaded):match "^[^\n]*"):gsub(":$", "")))
end

--- Calls a function that makes descriptors: none of them is to become a standard one, where the program was started
--- without these. Raises what it raises.
---@param f function
---@return any made
function library.above_standard(f)
  local filled = core.fill_standard()
  local ok, made = pcall(f)
  core.fill_standard(filled)
  if not ok then error(made, 0) end
  return made
end

return library
