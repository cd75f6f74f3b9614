--- Whether two hosts have the same program: a sum over its file, the modules of its own that it has loaded, the stage
-- and the versions.
local core = require "minigun.core"

local code = {}

local FORMAT <const> = 2 -- of chunks and results: see message.lua

local function read(path)
  local file = path and io.open(path, "rb")
  if not file then return "" end
  local text = file:read "a"
  file:close()
  return text or ""
end

-- The modules that lie in the program's directory, or below it: name and path, sorted.
local function own_modules(directory)
  local list = {}
  for name in pairs(package.loaded) do
    local path = type(name) == "string" and package.searchpath(name, package.path)
    local relative = path and path:gsub("^%./", "")
    local inside = relative and (directory == "" and not relative:find "^/" or
      directory ~= "" and path:sub(1, #directory) == directory)
    if inside and not name:find "^minigun" then list[#list + 1] = { name = name, path = path } end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

--- The sum of a program that is loaded.
---@param path string its file
---@param stage string
---@param sha256 fun(text: string): string
---@return string sum
function code.sum(path, stage, sha256)
  local parts = { _VERSION, core.version, tostring(FORMAT), stage, sha256(read(path)) }
  for _, own in ipairs(own_modules(path:match "^(.*/)" or "")) do
    parts[#parts + 1] = own.name .. " " .. sha256(read(own.path))
  end
  return sha256(table.concat(parts, "\n"))
end

return code
