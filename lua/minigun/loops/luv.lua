--- The loop inside luv's, of which there is one for each Lua state.
local failure = require "minigun.base.failure"
local inherited = require "minigun.loops.inherited"
local library = require "minigun.loops.library"

local adapter = {}

local Driver = {}
Driver.__index = Driver

--- From now on f is called whenever fd is readable.
---@param fd integer
---@param f function
function Driver:attach(fd, f)
  self.poll = assert(self.uv.new_poll(fd))
  assert(self.poll:start("r", f))
end

--- Ends that.
function Driver:detach()
  self.poll:close()
  self.poll = nil
end

--- Lets luv's loop run until `stop`, or until nothing in it is active.
function Driver:run() self.uv.run() end

--- Ends `run`.
function Driver:stop() self.uv.stop() end

--- Lets luv's loop run once.
---@param timeout number seconds to wait where nothing is ready
function Driver:step(timeout)
  if timeout == 0 then
    self.uv.run "nowait"
    return
  end
  local timer = self.uv.new_timer()
  timer:start(math.ceil(timeout * 1000), 0, function() end)
  self.uv.run "once"
  timer:close()
end

--- Makes a driver for luv's loop.
---@return table driver
function adapter.new()
  local uv = library.load("luv", "luv", "lua-luv")
  if inherited.unusable.luv then failure.raise("loop.new 'luv': " .. inherited.unusable.luv) end
  return setmetatable({ uv = uv }, Driver)
end

--- Makes a driver for the module luv.
---@param object any
---@return table? driver nil: it is another object
function adapter.adopt(object)
  if object ~= nil and object == package.loaded.luv then return adapter.new() end
end

return adapter
