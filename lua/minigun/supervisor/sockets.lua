--- The sockets that a server listens at: opened by the master before the forks, or inherited from the service manager
-- or from the master that was before.
local core = require "minigun.core"

local sockets = {}

local ADVICE <const> = { -- by errno
  [13] = "this user may not: ports below 1024 are for root, a socket in a directory needs the right to write", -- EACCES
  [98] = "another process has it: `ss -lnp` shows which", -- EADDRINUSE
  [99] = "no network interface here has that address", -- EADDRNOTAVAIL
}

local FIRST_INHERITED <const> = 3 -- of LISTEN_FDS

-- Completes what is known of a socket. `address`: as the options have it; what the kernel says is more exact.
local function describe(socket)
  local host, port, family = core.socket_name(socket.fd)
  if not host then return socket end
  if family == "unix" then socket.address, socket.path = "unix:" .. host, host
  else socket.address = (family == "inet6" and "[%s]:%d" or "%s:%d"):format(host, port) end
  return socket
end

--- What a former master has said in the environment, where it has said it to this process: a program that is started
--- from here inherits the variables, and has other files under these numbers.
---@param name string of a variable
---@return string text "" where it has said nothing
function sockets.handed(name)
  return tonumber(os.getenv "MINIGUN_PID") == core.pid() and os.getenv(name) or ""
end

--- What a master says to the one that comes after it.
---@param list table
---@return string text a number for each socket, with an "s" where it is the service manager's
function sockets.to_hand(list)
  local words = {}
  for i, socket in ipairs(list) do words[i] = socket.fd .. (socket.inherited == "systemd" and "s" or "") end
  return table.concat(words, ",")
end

--- The descriptors that this process was started with, to listen at: systemd's LISTEN_FDS, where LISTEN_PID is this
--- process, and those that a former master hands over (MINIGUN_SOCKETS).
---@return table list array of sockets; `inherited`: "systemd" or "master"
function sockets.inherited()
  local list, numbers = {}, {}
  for fd, managed in sockets.handed "MINIGUN_SOCKETS":gmatch "(%d+)(s?)" do
    numbers[tonumber(fd)] = managed == "s" and "systemd" or "master"
  end
  local n = tonumber(os.getenv "LISTEN_FDS") or 0
  if tonumber(os.getenv "LISTEN_PID") == core.pid() then
    for fd = FIRST_INHERITED, FIRST_INHERITED + n - 1 do numbers[fd] = numbers[fd] or "systemd" end
  end
  for fd, from in pairs(numbers) do
    if core.is_listening(fd) then
      local socket = describe { fd = fd, address = "?", inherited = from }
      if socket.path and not socket.path:find "^@" then socket.device, socket.inode = core.path_id(socket.path) end
      list[#list + 1] = socket
    end
  end
  table.sort(list, function(a, b) return a.fd < b.fd end)
  return list
end

-- Whether an inherited socket is at an address of the options.
local function is_at(socket, address)
  if address.path then return socket.path == address.path end
  if socket.path then return false end
  local host, port = core.socket_name(socket.fd)
  return tostring(port) == address.port and (host == address.host or address.host == "localhost")
end

local function open_one(address, backlog)
  local fd, device, inode = core.listen(address.path or address.host, not address.path and address.port or nil, backlog)
  if not fd then return nil, device, inode end
  return describe { fd = fd, address = address.text, path = address.path, device = device, inode = inode, own = true }
end

--- Opens what is to be listened at.
---@param addresses table array of { text =, path = | host =, port = }
---@param backlog integer
---@return table? list array of sockets: fd, address (text), path, inherited; `own`: its file goes with this master
---@return string? message
---@return integer? errno
function sockets.open(addresses, backlog)
  local inherited, list = sockets.inherited(), {}
  for i, address in ipairs(addresses) do
    for k, socket in ipairs(inherited) do
      if is_at(socket, address) then list[i] = table.remove(inherited, k) break end
    end
    local message, errno
    if not list[i] then list[i], message, errno = open_one(address, backlog) end
    if not list[i] then
      sockets.close(list, true)
      sockets.close(inherited)
      local advice = ADVICE[errno] and "; " .. ADVICE[errno] or ""
      return nil, ("cannot listen at %s: %s%s"):format(address.text, message, advice), errno
    end
  end
  return table.move(inherited, 1, #inherited, #list + 1, list)
end

--- Where they listen.
---@param list table
---@return string[] addresses
function sockets.addresses(list)
  local addresses = {}
  for i, socket in ipairs(list) do addresses[i] = socket.address end
  return addresses
end

--- Nothing more may wait at them: called before those that listen take what waits, for the last time.
---@param list table
function sockets.stop(list)
  for _, socket in ipairs(list) do
    if not socket.inherited then core.backlog(socket.fd, 0) end
  end
end

--- This master serves instead of the former one, whose sockets are its own from now on.
---@param list table
function sockets.take_over(list)
  for _, socket in ipairs(list) do socket.own = socket.inherited ~= "systemd" end
end

--- Closes them. `remove`: their files too, but for those of the service manager, and of a former master that serves on.
---@param list table
---@param remove boolean?
function sockets.close(list, remove)
  for i = #list, 1, -1 do
    local socket = table.remove(list, i)
    if remove and socket.own and socket.path and (socket.inode or 0) ~= 0 then
      core.unlisten(socket.path, socket.device, socket.inode)
    end
    core.shut(socket.fd)
  end
end

return sockets
