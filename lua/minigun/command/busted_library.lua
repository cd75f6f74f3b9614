--- busted's own modules, which `minigun busted` uses where they are installed.
local status = require "minigun.command.status"

--- One of them; ends the command where it is not to be had.
---@param name string
---@return any module
return function(name)
  local found, module = pcall(require, name)
  if not found then
    status.complain(("busted: this needs busted (Debian: lua-busted): %s"):format(tostring(module):match "[^\n]*"),
      status.FAILED)
  end
  return module
end
