--- The loop inside a controller of cqueues: one coroutine of it waits for the descriptor.
local inherited = require "minigun.loops.inherited"
local library = require "minigun.loops.library"

local adapter = {}

local Driver = {}
Driver.__index = Driver

--- From now on f is called whenever fd is readable.
---@param fd integer
---@param f function
function Driver:attach(fd, f)
  local cqueues, turn = self.cqueues, {}
  self.turn = turn -- of the coroutine that waits now
  self.fd, self.begins = fd, true
  self.controller:wrap(function()
    local object = { pollfd = fd, events = "r" }
    while self.turn == turn do
      cqueues.poll(object)
      if self.turn == turn then f() end
    end
  end)
end

--- Ends that: the coroutine is woken, and returns.
function Driver:detach()
  self.turn = nil
  self.controller:cancel(self.fd)
end

local function step(self, timeout)
  local ok, message = true, nil
  if self.begins then ok, message = self.controller:step(0) end -- a new coroutine is resumed, and nothing waited for
  self.begins = false
  if ok and not self.stopped then ok, message = self.controller:step(timeout) end
  if not ok then error(message, 0) end -- of another coroutine of the program's
end

--- Lets the controller go on until `stop` or its end.
function Driver:run()
  self.stopped = false
  while not self.stopped and not self.controller:empty() do step(self, nil) end
end

--- Ends `run`.
function Driver:stop() self.stopped = true end

--- One step of the controller.
---@param timeout number? seconds; nil: as long as it takes
function Driver:step(timeout)
  self.stopped = false
  step(self, timeout)
end

--- What tells that `step` has something to do: a descriptor, and a time.
---@return integer fd
---@return number? seconds
function Driver:waits() return self.controller:pollfd(), self.controller:timeout() end

--- Whether the controller has anything to wait for.
---@return boolean
function Driver:is_alive() return not self.controller:empty() end

--- Gives the controller's descriptors back, where it was made here.
function Driver:close()
  if self.own then self.controller:close() end
end

local function driver(cqueues, controller, own)
  return setmetatable({ cqueues = cqueues, controller = controller, own = own }, Driver)
end

--- Makes a driver with a controller of its own.
---@return table driver
function adapter.new()
  local cqueues = library.load("cqueues", "cqueues", "lua-cqueues")
  inherited.enter "cqueues"
  return driver(cqueues, library.above_standard(cqueues.new), true)
end

--- Makes a driver for a controller of the program's.
---@param object any
---@return table? driver nil: it is none
function adapter.adopt(object)
  local cqueues = package.loaded.cqueues
  if cqueues and cqueues.type(object) == "controller" then return driver(cqueues, object) end
end

return adapter
