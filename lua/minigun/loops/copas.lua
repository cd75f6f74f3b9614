--- The loop inside that of copas: one thread of it waits for the descriptor, as if it were a socket.
--
-- What copas waits for it cannot be made to forget (1.1.7): between `detach` and `attach` the socket stays with it, and
-- has no descriptor.
local failure = require "minigun.base.failure"
local inherited = require "minigun.loops.inherited"
local library = require "minigun.loops.library"

local adapter = {}

local NO_DESCRIPTOR <const> = -1 -- select leaves such a socket out

local Driver = {}
Driver.__index = Driver

-- What copas takes for a socket: `receive` says once that there is nothing yet, and is called again when there is.
local function new_socket(self)
  local asked = false
  local socket = { getfd = function() return self.fd end, dirty = function() return false end,
    close = function() end, settimeout = function() return 1 end }
  function socket.receive()
    asked = not asked
    if asked then return nil, "timeout" end
    return 1
  end
  return socket
end

--- From now on f is called whenever fd is readable.
---@param fd integer
---@param f function
function Driver:attach(fd, f)
  self.fd, self.f = fd, f
  if self.waiting then return end
  self.waiting = true
  local copas, socket = self.copas, new_socket(self)
  copas.addthread(function()
    while true do
      copas.receive(socket, 1)
      if self.fd ~= NO_DESCRIPTOR then self.f() end
    end
  end)
end

--- Ends that.
function Driver:detach() self.fd = NO_DESCRIPTOR end

--- Lets copas go on until `stop`, or until nothing of ours is left.
function Driver:run()
  self.stopped = false
  while not self.stopped and self.fd ~= NO_DESCRIPTOR do self.copas.step(nil) end
end

--- Ends `run`.
function Driver:stop() self.stopped = true end

--- One step of copas.
---@param timeout number seconds
function Driver:step(timeout) self.copas.step(timeout) end

--- Makes a driver for the module copas, whose loop is one.
---@return table driver
function adapter.new()
  local copas = library.load("copas", "copas", "lua-copas")
  local why = inherited.enter "copas"
  if why then failure.raise("loop.new 'copas': " .. why) end
  local most = (package.loaded.socket._SETSIZE or 1024) - 1
  return setmetatable({ copas = copas, fd = NO_DESCRIPTOR, most = most }, Driver)
end

--- Makes a driver for the module copas.
---@param object any
---@return table? driver nil: it is another object
function adapter.adopt(object)
  if object ~= nil and object == package.loaded.copas then return adapter.new() end
end

return adapter
