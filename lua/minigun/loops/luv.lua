--- The loop inside luv's, of which there is one for each Lua state.
local failure = require "minigun.base.failure"
local inherited = require "minigun.loops.inherited"
local library = require "minigun.loops.library"

local adapter = {}

local Driver = {}
Driver.__index = Driver

--- From now on f is called whenever fd is readable.
---@param fd integer the same each time
---@param f function
function Driver:attach(fd, f)
  self.poll = self.poll or assert(self.uv.new_poll(fd))
  assert(self.poll:start("r", f))
end

--- Ends that.
function Driver:detach() self.poll:stop() end

--- Lets luv's loop run until `stop`, or until nothing in it is active.
function Driver:run() self.uv.run() end

--- Ends `run`.
function Driver:stop() self.uv.stop() end

--- Lets luv's loop run once.
---@param timeout number seconds to wait where nothing is ready
function Driver:step(timeout)
  local uv = self.uv
  if timeout == 0 then
    uv.run "nowait"
    return
  end
  self.timer = self.timer or assert(uv.new_timer())
  local ms = math.ceil(timeout * 1000)
  self.timer:start(ms, ms, function() end) -- again: one that is due before it waits would let it wait without end
  uv.run "once"
  self.timer:stop()
end

--- What tells that `step` has something to do: a descriptor, and a time.
---@return integer fd
---@return number? seconds
function Driver:waits()
  self.uv.update_time()
  local ms = self.uv.backend_timeout()
  return self.uv.backend_fd(), ms and ms >= 0 and ms / 1000 or nil
end

--- Whether luv's loop has anything to wait for.
---@return boolean
function Driver:is_alive() return self.uv.loop_alive() end

local function is_idle(uv)
  local active = false
  uv.walk(function(handle) active = active or handle:is_active() end)
  return not active
end

--- Closes the handles. luv (1.44) crashes at the end of a program that has closed a handle and has not run the loop
--- since; where nothing else is in the loop that is seen to here.
function Driver:close()
  for _, handle in pairs { self.poll, self.timer } do handle:close() end
  if (self.poll or self.timer) and is_idle(self.uv) then self.uv.run "nowait" end
  self.poll, self.timer = nil, nil
end

--- Makes a driver for luv's loop.
---@return table driver
function adapter.new()
  local uv = library.load("luv", "luv", "lua-luv")
  local why = inherited.enter "luv"
  if why then failure.raise("loop.new 'luv': " .. why) end
  return setmetatable({ uv = uv }, Driver)
end

--- Makes a driver for the module luv.
---@param object any
---@return table? driver nil: it is another object
function adapter.adopt(object)
  if object ~= nil and object == package.loaded.luv then return adapter.new() end
end

return adapter
