--- The invariants of a loop's records (epoll.lua), asserted after each pass where $MINIGUN_CHECK is set, as in all
-- specs.
local checks = {}

local function has(list, value)
  for _, each in ipairs(list) do
    if each == value then return true end
  end
  return false
end

-- That a watch stands where its kind has its watches, and there only once.
local places = {
  io = function(self, watch) return has(self.by_fd[watch.fd] or {}, watch) end,
  timer = function(self, watch) return self.timers[watch.place] == watch end,
  signal = function(self, watch) return has(self.signals[watch.number].list, watch) end,
  process = function(_, watch) return has(watch.entry.list, watch) end,
}

--- Asserts them.
---@param self table the loop
function checks.loop(self)
  local n = 0
  for watch in pairs(self.all) do
    n = n + 1
    assert(watch.loop == self, "a watch that has ended is among the loop's")
    assert(places[watch.kind](self, watch), "a watch is not where its kind is looked for")
  end
  assert(n == self.watching, "the number of watches is wrong")
  for fd, list in pairs(self.by_fd) do
    assert(list[1], "a descriptor is watched for no one")
    for _, watch in ipairs(list) do assert(watch.fd == fd and watch.loop, "a watch that has ended has a descriptor") end
  end
  for _, entry in pairs(self.signals) do assert(entry.list[1], "a signal is watched for no one") end
  for pid, entry in pairs(self.processes) do assert(entry.pid == pid and entry.process, "a process is not watched") end
  for i = 1, self.timers.n do assert(self.timers[i].place == i, "a timer does not know its place") end
end

return checks
