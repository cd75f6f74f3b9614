--- Looking at runs and servers of other processes, by their pages of figures (system/page.lua).
local columns = require "minigun.view.columns"
local core = require "minigun.core"
local live = require "minigun.control.live"
local numbers = require "minigun.view.numbers"
local page = require "minigun.system.page"
local servers = require "minigun.view.servers"

local looking = {}

local NAP <const> = 0.05 -- seconds between two looks at keys
local OLD <const> = 2    -- seconds after which figures are old: the process is in a long call, or is stopped

-- The figures of a page as a status; nil, message: it cannot be read.
local function read(entry)
  local figures, message = page.read(entry.path)
  if not figures then return nil, message end
  return entry.kind == "server" and servers.status(figures) or figures
end

--- All that can be looked at, with their figures.
---@return table[] list of `{ path =, pid =, kind =, number =, status = }`
---@return string? message why nothing is looked at
function looking.list()
  local list = {}
  local entries, message = page.list()
  for _, entry in ipairs(entries) do
    entry.status = read(entry)
    if entry.status then list[#list + 1] = entry end
  end
  return list, message
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
  local last, changed_at = entry.status, core.now()
  local port
  port = live.port(function()
    local status, now = core.is_owned(entry.path) and read(entry), core.now()
    if not status then last.over, last.state, last.stale = true, "ended", nil end
    if status and status.elapsed ~= last.elapsed then changed_at = now end
    last = status or last
    if not last.over and now - changed_at > OLD then last.stale = now - changed_at end
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
