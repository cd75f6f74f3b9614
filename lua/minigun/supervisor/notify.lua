--- Messages to the service manager (systemd's sd_notify): a datagram to NOTIFY_SOCKET, where there is one.
local core = require "minigun.core"

local notify = {}

--- Tells it something. What goes wrong is no reason to stop serving.
---@param text string "READY=1", several lines
function notify.tell(text)
  local path = os.getenv "NOTIFY_SOCKET"
  if path and path ~= "" then core.notify(path, text) end
end

--- How often it wants to hear from this process, in seconds.
---@return number? seconds nil: it does not
function notify.interval()
  local us, pid = tonumber(os.getenv "WATCHDOG_USEC"), tonumber(os.getenv "WATCHDOG_PID")
  if not us or us <= 0 or pid and pid ~= core.pid() then return nil end
  return us / 1e6 / 2
end

return notify
