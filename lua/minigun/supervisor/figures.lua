--- The page of figures of a server (system/page.lua), which `minigun top` reads.
local page = require "minigun.system.page"

local figures = {}

--- Writes the page from now on. A server without one serves all the same.
---@param loop table of the master
---@param status fun(): table what the page shows
---@return table page
function figures.open(loop, status)
  local made = page.new("server", status)
  loop:every(page.EVERY, function() made:look() end)
  return made
end

return figures
