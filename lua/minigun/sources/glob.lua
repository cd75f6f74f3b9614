--- Patterns of paths: `*`, `?` and `[...]`, as the shell expands them.
local core = require "minigun.core"

local glob = {}

--- Adds what a pattern matches, sorted and without directories, to a list.
---@param list string[]
---@param pattern string also a path, which matches itself where it is there
function glob.add(list, pattern)
  if core.readable(pattern) then list[#list + 1] = pattern return end -- whatever its name looks like
  for _, path in ipairs(core.glob(pattern)) do
    if path:sub(-1) ~= "/" then list[#list + 1] = path end
  end
end

--- The files that paths and patterns name. A path is itself, whether it is there or not.
---@param given string[]
---@param none fun(pattern: string)? is called for a pattern that no file matches
---@return string[] paths in the order of `given`, those of a pattern sorted
function glob.expand(given, none)
  local paths = {}
  for _, path in ipairs(given) do
    local before = #paths
    if path:find "[*?[]" then glob.add(paths, path) else paths[before + 1] = path end
    if #paths == before and none then none(path) end
  end
  return paths
end

return glob
