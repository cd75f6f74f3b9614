--- Looking at runs and servers of other processes, by their pages of figures (system/page.lua).
local columns = require "minigun.view.columns"
local core = require "minigun.core"
local live = require "minigun.control.live"
local numbers = require "minigun.view.numbers"
local page = require "minigun.system.page"
local servers = require "minigun.view.servers"

local looking = {}

local NAP <const> = 0.05

-- The figures of a page as a status; nil, message: it cannot be read.
local function read(entry)
  local figures, message = page.read(entry.path)
  if not figures then return nil, message end
  return entry.kind == "server" and servers.status(figures) or figures
end

--- All that can be looked at, with their figures.
---@return table[] list of `{ path =, pid =, kind =, number =, status = }`
function looking.list()
  local list = {}
  for _, entry in ipairs(page.list()) do
    entry.status = read(entry)
    if entry.status then list[#list + 1] = entry end
  end
  return list
end

--- The list as text: a line for each.
---@param list table[] of `list`
---@return string
function looking.text(list)
  local lines = { ("%8s  %-8s  %-10s  %-20s  %s"):format("PID", "WHAT", "STATE", "NAME", "SINCE") }
  for _, entry in ipairs(list) do
    local status = entry.status
    lines[#lines + 1] = ("%8d  %-8s  %-10s  %s  %s"):format(entry.pid, entry.kind, status.state,
      columns.fit(status.pipeline, 20, "~"), numbers.duration(status.elapsed))
  end
  return table.concat(lines, "\n") .. "\n"
end

--- Shows one of them until it has ended, or a key closes the view.
---@param entry table of `list`
function looking.show(entry)
  local last = entry.status
  local port
  port = live.port(function()
    local status = core.is_owned(entry.path) and read(entry)
    if not status then last.over, last.state = true, "ended" end
    last = status or last
    return last
  end)
  port.is_over = function() return last.over or false end
  local view <close> = live.open(port)
  while not view:is_closed() do
    view:look()
    if last.over and not view.full then break end
    core.sleep(NAP)
  end
end

return looking
