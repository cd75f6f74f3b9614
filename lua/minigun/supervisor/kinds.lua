--- Sockets as each event loop has them: one that listens, and a connection that was accepted, made of a descriptor.
local core = require "minigun.core"

local kinds = {}

local function copy(fd) return assert(core.copy_fd(fd)) end

local function cqueues_socket(fd) return assert(require("cqueues.socket").fdopen(fd)) end

local function luv_handle(socket_or_path, fd)
  local uv = require "luv"
  local handle = socket_or_path and uv.new_pipe(false) or uv.new_tcp()
  assert(handle:open(fd))
  return handle
end

-- luasocket makes an object before it takes a descriptor; that of the object is closed.
local function luasocket(path, fd, method)
  local socket = path and require("socket.unix").stream() or assert(require("socket").tcp4())
  socket:close()
  socket:setfd(fd)
  local made, message = socket[method](socket)
  if method == "listen" then assert(made, message) end
  socket:settimeout(0)
  return socket
end

local listening = {
  cqueues = function(socket) return cqueues_socket(copy(socket.fd)) end,
  luv = function(socket) return luv_handle(socket.path, copy(socket.fd)) end,
  select = function(socket) return luasocket(socket.path, copy(socket.fd), "listen") end,
}
listening.copas = listening.select

--- A socket that listens.
---@param loop string? the loop's name
---@param socket table `fd`, `path` of a Unix socket
---@return any socket its descriptor where the loop has no kind of its own
function kinds.listening(loop, socket)
  local make = listening[loop]
  return make and make(socket) or socket.fd
end

local function family(fd)
  local _, _, name = core.socket_name(fd)
  return name
end

local connection = {
  cqueues = function(fd)
    local socket = cqueues_socket(fd)
    socket:setmode("b", "bf") -- no translation of line ends; what is written is sent by flush, or when a line is
    return socket
  end,
  luv = function(fd) return luv_handle(family(fd) == "unix", fd) end,
  select = function(fd) return luasocket(family(fd) == "unix", fd, "getpeername") end,
}
connection.copas = connection.select

--- A connection that was accepted; the descriptor is its own.
---@param loop string the loop's name
---@param fd integer
---@param acceptor userdata
---@return any connection
function kinds.connection(loop, fd, acceptor)
  local make = connection[loop]
  if make then return make(fd) end
  local made = acceptor:connection(fd)
  made:settimeout(0)
  return made
end

--- Begins the handler of a connection.
---@param name string the loop's name
---@param loop minigun.Loop
---@param f fun(in_coroutine: boolean) true: it has done with the connection when it returns
function kinds.start(name, loop, f) -- luacheck: ignore 212
  if name == "cqueues" then
    loop:object():wrap(function() f(true) end)
  elseif name == "copas" then
    require("copas").addthread(function() f(true) end)
  else
    f(false)
  end
end

--- Closes a connection.
---@param loop string the loop's name
---@param it any
function kinds.close(loop, it)
  if loop == "luv" then
    if not it:is_closing() then it:close() end
  else
    it:close()
  end
end

return kinds
