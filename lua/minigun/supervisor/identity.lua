--- The user and group that workers become.
local core = require "minigun.core"

local identity = {}

--- Looks a user and a group up.
---@param name string? of the user
---@param group_name string? nil: the user's
---@return table? identity nil without a message: nothing is to be changed
---@return string? message
---@return integer? errno
function identity.find(name, group_name)
  local user, group, errno
  if name then
    user, group, errno = core.user(name)
    if not user then return nil, ("there is no user '%s'"):format(name), errno end
  end
  if group_name then
    group, errno = core.group(group_name)
    if not group then return nil, ("there is no group '%s'"):format(group_name), errno end
  end
  return group and { user = user, group = group, name = name } or nil
end

return identity
