--- How a process has ended, for messages.
local core = require "minigun.core"

local endings = {}

local names = {}
for name, number in pairs(core.signal_numbers) do names[number] = "SIG" .. name end

--- Says it.
---@param ended minigun.Ended
---@return string text "was killed by signal 9 (SIGKILL)"
function endings.text(ended)
  if ended.signal then
    return ("was killed by signal %d%s%s"):format(ended.signal,
      names[ended.signal] and " (" .. names[ended.signal] .. ")" or "", ended.core and ", core dumped" or "")
  end
  return ended.code and ("ended with exit code %d"):format(ended.code) or "ended, it is not known how"
end

return endings
