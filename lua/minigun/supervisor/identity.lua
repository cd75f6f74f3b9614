--- The user and group that workers become.
local core = require "minigun.core"

local identity = {}

local ENOENT <const> = 2

-- Why a name is of no use.
local function missing(kind, name, message, errno)
  if errno == ENOENT then return ("there is no %s '%s' on this machine"):format(kind, name), errno end
  return ("%s (%s '%s')"):format(message, kind, name), errno
end

--- Looks a user and a group up.
---@param name string? of the user
---@param group_name string? nil: the user's
---@return table? identity nil without a message: nothing is to be changed
---@return string? message
---@return integer? errno
function identity.find(name, group_name)
  local user, group, message, errno
  if name then
    user, group, errno = core.user(name)
    if not user then return nil, missing("user", name, group, errno) end
  end
  if group_name then
    group, message, errno = core.group(group_name)
    if not group then return nil, missing("group", group_name, message, errno) end
  end
  return group and { user = user, group = group, name = name } or nil
end

return identity
