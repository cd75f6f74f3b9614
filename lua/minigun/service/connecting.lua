--- How a client finds its server, which may not be there yet, or be busy.
local core = require "minigun.core"
local waiting = require "minigun.system.waiting"

local connecting = {}

local FIRST <const>, MOST <const> = 0.001, 0.05 -- seconds between two attempts, doubled each time
local ANSWER <const> = 10                       -- seconds in which a server that listens is to answer
local EPERM <const>, ENOENT <const>, EAGAIN <const>, EACCES <const> = 1, 2, 11, 13
local EBUSY <const>, EPIPE <const>, ETIMEDOUT <const>, ECONNREFUSED <const> = 16, 32, 110, 111
local LATER <const> = { [ENOENT] = true, [EAGAIN] = true, [EPIPE] = true, [ECONNREFUSED] = true, [EBUSY] = true }
local HINTS <const> = {
  [ENOENT] = "there is no server; start it first, or give wait = seconds",
  [ECONNREFUSED] = "no server listens there any more; start it, or give wait = seconds",
  [EACCES] = "this user may not: the rights of the socket, or of a directory above it, do not let it",
  [EPIPE] = "the server ended before it had answered",
  [ETIMEDOUT] = "the server has not answered",
  [EAGAIN] = "the server does not get round to its clients",
}

-- Asks once, and waits for the answer. Returns the connection and its number, or nil, message, errno.
local function ask(path, how)
  local channel, message, errno = core.channel(path, how.ring or 0, how.ring or 0, how.max_message)
  if not channel then return nil, message, errno end
  local deadline <const> = core.now() + math.max(ANSWER, how.wait)
  local number, status
  repeat
    number, message, status = channel:answer()
    if number == false then waiting.readable(channel:fd(), math.max(0, deadline - core.now())) end
  until number ~= false or core.now() >= deadline
  if number then return channel, number end
  channel:close()
  if number == false then return nil, nil, ETIMEDOUT end
  if status == "busy" then return nil, message, EBUSY end
  if type(status) == "string" then return nil, message, EPERM end
  return nil, message, status
end

-- A while, in which other threads go on.
local function pause(seconds)
  if not waiting.may_wait() then return core.sleep(seconds) end
  local poller <const> = assert(core.poller())
  local _ <close> = setmetatable({}, { __close = function() poller:close() end })
  waiting.wait(poller:fd(), seconds)
end

--- Connects.
---@param path string
---@param how table checked options
---@return userdata? channel
---@return integer|string number the client's, or the message
---@return integer? errno
function connecting.connect(path, how)
  local deadline, delay = core.now() + how.wait, FIRST
  while true do
    local channel, number, errno = ask(path, how)
    if channel then return channel, number end
    if not LATER[errno] or core.now() >= deadline then
      return nil, ("cannot connect to the service '%s': %s"):format(path, HINTS[errno] or number), errno
    end
    pause(math.min(delay, math.max(0, deadline - core.now())))
    delay = math.min(2 * delay, MOST)
  end
end

return connecting
