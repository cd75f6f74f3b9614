--- Tasks with cqueues: a loop of tasks.lua whose tasks are coroutines of a controller (that of loops/cqueues.lua), so
-- that cqueues' sockets, conditions and `cqueues.sleep` let others run too.
local adapter = require "minigun.loops.cqueues"
local core = require "minigun.core"
local failure = require "minigun.base.failure"

local controller = {}

local Controlled = {}
Controlled.__index = Controlled
local kinds, ended

--- Says what these loops have in common with the library's own.
---@param class table of that, which is inherited
---@param yields table what a task yields: `PARK`, it waits for nothing; `WAIT`, for what its fields say
---@param tell_end function (loop, task, ok, err): a task has ended
function controller.inherit(class, yields, tell_end)
  setmetatable(Controlled, { __index = class })
  kinds, ended = yields, tell_end
end

-- Waits for a descriptor or a time. The controller's clock goes on while this process is stopped, core.clock does not.
-- A controller goes on knowing a descriptor for which no task waits any more, also when
-- it is closed and its number used again, unless it is cancelled.
local function poll_for(self, task, cqueues, left_over)
  local fd, due = task.fd, task.due and math.max(0, task.due - core.clock())
  if left_over and (not due or left_over < due) then due = left_over end
  if not fd then
    repeat
      cqueues.poll(due)
      due = math.min(task.due or math.huge, task.deadline or math.huge) - core.clock()
    until due <= 0
    return
  end
  self.waits[fd] = (self.waits[fd] or 0) + 1
  cqueues.poll({ pollfd = fd, events = task.mode }, due)
  self.waits[fd] = self.waits[fd] > 1 and self.waits[fd] - 1 or nil
  if not self.waits[fd] then self.controller:cancel(fd) end
  return core.wait(fd, task.mode, 0) ~= false
end

-- What the controller's coroutine does for a task: resumes it, and waits for it. The wait of a controller may fail (a
-- descriptor was closed meanwhile): then there is another such coroutine for the rest, and the task finds out itself.
local function drive(self, task, cqueues)
  local answer = table.pack()
  while coroutine.status(task.co) ~= "dead" and not self.failed do -- then the step ends with an error
    local got = table.pack(self:enter(task, task.co, table.unpack(answer, 1, answer.n)))
    local what = got[2]
    if coroutine.status(task.co) == "dead" then return ended(self, task, got[1], what) end
    local left_over = task.deadline and math.max(0, task.deadline - core.clock())
    answer = table.pack()
    if what == kinds.PARK then
      task.parked = true
      while task.parked do task.condition:wait() end
    elseif what == cqueues._POLL then
      repeat
        got[got.n + 1] = left_over
        answer = table.pack(cqueues.poll(table.unpack(got, 3, got.n + 1)))
        local late = not left_over or answer[1] ~= left_over
        left_over = left_over and task.deadline - core.clock()
      until late or left_over <= 0
    elseif what == kinds.WAIT then
      answer = table.pack(poll_for(self, task, cqueues, left_over))
    else
      cqueues.poll(0)
    end
  end
end

-- To wake it a controller writes to a descriptor of its own. Where the program has closed that, and opened a file under
-- its number, nothing is to come into that file: the next step fails, and says so.
local function is_whole(self)
  local device, inode = core.file_id(self.controller:pollfd())
  return device == self.device and inode == self.inode
end

function Controlled:begin(task)
  if not is_whole(self) then return end
  local cqueues = require "cqueues"
  task.condition = task.condition or require "cqueues.condition".new()
  self.controller:wrap(function()
    self.driven[coroutine.running()] = task
    drive(self, task, cqueues)
  end)
end

function Controlled:unpark(task)
  if not task.parked or not is_whole(self) then return end
  task.parked = false
  task.condition:signal()
end

function Controlled:drop(_) return self end -- its coroutine in the controller finds the task dead

function Controlled:run_ready()
  while true do
    local ok, message, _, thread = self.controller:step(0)
    if ok then return end
    local task = thread and self.driven[thread]
    if not task then failure.raise("the event loop of cqueues has failed: " .. tostring(message)) end
    if self.tasks[task] then self:begin(task) end
  end
end

function Controlled:timeout() return (select(2, self.driver:waits())) end
function Controlled:fd() return (self.driver:waits()) end
function Controlled:shut() self.driver:close() end

--- Makes a loop with a controller of its own; raises where there is no descriptor left.
---@return table loop
function controller.new()
  local driver = adapter.new()
  local device, inode = core.file_id(driver.controller:pollfd())
  return setmetatable({ driver = driver, controller = driver.controller, tasks = {}, entered = 0, outer = {},
    waits = {}, device = device, inode = inode, driven = setmetatable({}, { __mode = "k" }) }, Controlled)
end

return controller
