--- Event loops of workers, and sockets as each of them has them: one that listens, and a connection that was accepted,
-- made of a descriptor.
local core = require "minigun.core"
local loops = require "minigun.loop"

local kinds = {}

local native = {
  cqueues = function() return require("cqueues").new() end,
  luv = function() return require "luv" end,
  copas = function() return require "copas" end,
  select = function() return require "socket" end,
}

local libraries = { cqueues = "cqueues", luv = "luv", copas = "copas", select = "socket", event = "luaevent.core" }

--- Why a loop cannot be had, found out without loading its library, which may make descriptors.
---@param name string?
---@return string? message nil: it can
function kinds.missing(name)
  local library = libraries[name]
  if not library or package.loaded[library] or package.preload[library] then return nil end
  if package.searchpath(library, package.path) or package.searchpath(library, package.cpath) then return nil end
  return ("the loop '%s' needs the library '%s', which is not installed (lua-%s in Debian)"):format(name, library,
    name == "select" and "socket" or name)
end

-- Whoever connects must not bring down a loop of select: one descriptor too high is an error of the loop. So there is
-- none, and connections beyond wait as they do where a worker has no descriptors left.
local function stay_below_limit()
  assert(core.limit_descriptors(require("socket")._SETSIZE or 1024))
end

--- Makes the loop of a worker.
---@param name string
---@return minigun.Loop loop
---@return any native the library's own: a controller of cqueues, the module luv, copas or socket; nil for the others
function kinds.make_loop(name)
  if name == "select" or name == "copas" then stay_below_limit() end
  local made = native[name] and assert(loops.new(name)) and native[name]()
  if made then return assert(loops.adopt(made)), made end
  return assert(loops.new(name))
end

local function copy(fd) return assert(core.copy_fd(fd)) end

local function cqueues_socket(fd) return assert(require("cqueues.socket").fdopen(fd)) end

local function luv_handle(socket_or_path, fd)
  local uv = require "luv"
  local handle = socket_or_path and uv.new_pipe(false) or uv.new_tcp()
  assert(handle:open(fd))
  return handle
end

-- luasocket makes an object before it takes a descriptor, and only its own calls make it one that listens or is
-- connected. Those would change the socket (`listen` its backlog), so the object's class is set here. It may need a
-- descriptor of its own for a moment; one that needs none does not know its family.
local function luasocket(path, fd, class)
  local tcp = require "socket"
  local socket = assert(path and require("socket.unix").stream() or not path and (tcp.tcp4() or tcp.tcp()))
  socket:close()
  socket:setfd(fd)
  local name = (path and "unixstream{%s}" or "tcp{%s}"):format(class)
  debug.setmetatable(socket, assert(debug.getregistry()[name], "this luasocket has no " .. name))
  socket:settimeout(0)
  return socket
end

local listening = {
  cqueues = function(socket) return cqueues_socket(copy(socket.fd)) end,
  luv = function(socket) return luv_handle(socket.path, copy(socket.fd)) end,
  select = function(socket) return luasocket(socket.path, copy(socket.fd), "server") end,
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
  select = function(fd) return luasocket(family(fd) == "unix", fd, "client") end,
}
connection.copas = connection.select

--- A connection that was accepted; the descriptor is its own.
---@param loop string the loop's name
---@param fd integer
---@param acceptor userdata
---@return any connection nil: its library cannot have it, the descriptor is closed
---@return string? message
function kinds.connection(loop, fd, acceptor)
  local make = connection[loop]
  if make then
    local ok, made = pcall(make, fd)
    if ok then return made end
    core.shut(fd)
    return nil, tostring(made)
  end
  local made = acceptor:connection(fd)
  made:settimeout(0)
  return made
end

--- Begins the handler of a connection.
---@param name string the loop's name
---@param own any what `make_loop` has given
---@param f fun(in_coroutine: boolean) true: it has done with the connection when it returns
function kinds.start(name, own, f)
  if name == "cqueues" then
    own:wrap(function() f(true) end)
  elseif name == "copas" then
    own.addthread(function() f(true) end)
  else
    f(false)
  end
end

--- Whether a connection, whose handler is a callback, is closed.
---@param loop string the loop's name
---@param it any
---@return boolean
function kinds.is_closed(loop, it)
  if loop == "luv" then return it:is_closing() end
  return loop ~= "cqueues" and loop ~= "copas" and it:getfd() < 0
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
