--- The loop inside an event base of luaevent.
local library = require "minigun.loops.library"

local adapter = {}

local Driver = {}
Driver.__index = Driver

--- From now on f is called whenever fd is readable.
---@param fd integer
---@param f function
function Driver:attach(fd, f)
  local event = self.core
  self.event = self.base:addevent(fd, event.EV_READ, function()
    f()
    if self.stepping then self:stop() end
    return event.EV_READ -- once more
  end)
end

--- Ends that.
function Driver:detach()
  self.event:close()
  self.event = nil
end

--- Lets the base run until `stop`, or until it has no event.
function Driver:run() self.base:loop() end

--- Ends `run`.
function Driver:stop() self.base:loopexit(0) end

--- Lets the base run until something of ours was ready.
---@param timeout number seconds
function Driver:step(timeout)
  local event = self.core
  local timer = self.base:addevent(nil, event.EV_TIMEOUT, function()
    self:stop()
    return event.LEAVE
  end, timeout)
  self.stepping = true
  self.base:loop()
  self.stepping = false
  timer:close()
end

local function driver(core, base) return setmetatable({ core = core, base = base }, Driver) end

--- Makes a driver with a base of its own.
---@return table driver
function adapter.new()
  local core = library.above_standard(function() return library.load("event", "luaevent.core", "lua-event") end)
  return driver(core, library.above_standard(core.new))
end

--- Makes a driver for a base of the program's.
---@param object any
---@return table? driver nil: it is another object
function adapter.adopt(object)
  local core = package.loaded["luaevent.core"]
  if core and type(object) == "userdata" and (debug.getmetatable(object) or {}).__name == "EVENT_BASE_MT" then
    return driver(core, object)
  end
end

return adapter
