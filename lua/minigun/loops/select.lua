--- The loop over luasocket's select: for a program whose loop is that call.
local library = require "minigun.loops.library"

local adapter = {}

local Driver = {}
Driver.__index = Driver

--- From now on f is called whenever fd is readable.
---@param fd integer
---@param f function
function Driver:attach(fd, f)
  self.list, self.f = { { getfd = function() return fd end } }, f
end

--- Ends that.
function Driver:detach() self.list = nil end

--- Waits and calls until `stop` or nothing is left.
function Driver:run()
  self.stopped = false
  while self.list and not self.stopped do self:step(nil) end
end

--- Ends `run`.
function Driver:stop() self.stopped = true end

--- One call of select.
---@param timeout number? seconds; nil: as long as it takes
function Driver:step(timeout)
  if not self.list then return end
  local ready = self.socket.select(self.list, nil, timeout)
  if ready[1] then self.f() end
end

--- What tells that `step` has something to do: what is attached alone.
function Driver:waits() return nil end

--- Makes a driver.
---@return table driver
function adapter.new()
  local socket = library.load("select", "socket", "lua-socket")
  return setmetatable({ socket = socket, most = (socket._SETSIZE or 1024) - 1 }, Driver)
end

--- Makes a driver for the module socket.
---@param object any
---@return table? driver nil: it is another object
function adapter.adopt(object)
  if object ~= nil and object == package.loaded.socket then return adapter.new() end
end

return adapter
