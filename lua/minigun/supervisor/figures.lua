--- The page of figures of a server (system/page.lua), which `minigun top` reads.
local page = require "minigun.system.page"

local figures = {}

--- Writes the page from now on. A server without one serves all the same.
---@param master table
function figures.open(master)
  master.page = page.new("server", function() return master:status() end)
  master.loop:every(page.EVERY, function() master.page:look() end)
end

return figures
