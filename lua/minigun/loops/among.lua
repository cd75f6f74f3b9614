--- A loop that runs in a thread of `threads(n)`: while it waits the other threads go on.
--
-- Instead of waiting in it, the thread waits for a descriptor that tells when a step has something to do. In a foreign
-- loop several threads may have loops, and what one thread's step tells may be another one's: that one is woken.
local core = require "minigun.core"
local epoll = require "minigun.loops.epoll"
local waiting = require "minigun.system.waiting"

local among = {}

local LOOK_AGAIN <const> = 0.01 -- seconds, where a library does not say what it waits for

--- Whether the caller is such a thread.
---@return boolean
function among.others() return waiting.may_wait() end

--- Wakes a loop that waits so; nothing happens where it does not.
---@param self table
function among.wake(self)
  if self.among then self.among:wake(0) end
end

local function step(self)
  if self.driver then self.driver:step(0) else epoll.pass(self, 0) end
end

-- Waits until a step has something to do; at most so long.
local function wait(self, timeout)
  local driver, fd, due = self.driver, nil, nil
  if driver and driver.waits then fd, due = driver:waits() end
  if driver and not fd and not driver.waits then due = LOOK_AGAIN end
  local poller = self.among
  assert(poller:wake(due))
  if fd then assert(poller:set(fd, "r")) end
  assert(poller:set(self.poller:fd(), "r"))
  waiting.wait(poller:fd(), timeout)
  poller:wait(0, self.found)
end

local function open(self)
  self.exposed = true
  self.among = assert(core.poller())
  assert(epoll.arm(self))
  return setmetatable({}, { __close = function()
    self.among:close()
    self.among = nil
  end })
end

--- What `loop:run` does there. It ends after `stop`, or when nothing that is watched by this loop is left; one that
-- watches nothing goes on as long as the library's loop has something to wait for.
---@param self table
function among.run(self)
  local _ <close> = open(self)
  local driver, own = self.driver, self.watching > 0
  local function goes_on()
    if self.stopped or self.failed then return false end
    if own or not driver or not driver.is_alive then return self.watching > 0 end
    return driver:is_alive()
  end
  while goes_on() do
    step(self)
    if goes_on() then wait(self) end
  end
end

--- What `loop:step` does there.
---@param self table
---@param timeout number seconds
function among.step(self, timeout)
  local _ <close> = open(self)
  if timeout > 0 then
    step(self) -- what begins with it is watched then
    wait(self, timeout)
  end
  step(self)
end

return among
