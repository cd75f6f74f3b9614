--- The run's shared memory: the pool, how much of it may be used and for what, and what is to be done where a worker
-- has damaged it.
local core = require "minigun.core"
local declared = require "minigun.base.declared"
local machine = require "minigun.system.machine"
local report = require "minigun.base.protocol"

local shared = {}

--- Bytes of a pool that is there for its descriptor only; never touched.
shared.BELL_MEMORY = 2 << 20

local BLOCK <const> = report.UNIT
local LIMITS <const> = { [12] = true, [23] = true, [24] = true } -- ENOMEM, ENFILE, EMFILE

local Shared = {}
Shared.__index = Shared

-- A quarter of what the container has.
local function default_memory()
  return math.min(1 << 30, (machine.memory() or 1 << 30) // 4)
end

-- What may wait in a queue, and be held back of an item's output.
local function share(self)
  self.queue_bytes = math.max(BLOCK, math.min(4 << 20, self.memory // 16))
  self.held_most = math.max(BLOCK, self.memory // 4)
end

--- Makes what knows the memory of a run; nothing is mapped yet.
---@param plan table
---@return table shared
--- `pool`, or false; `memory`: bytes that may be used; `queue_bytes`: that a place's queue may hold; `held_most`: that
--- may be held back of one item's output; `overdraft`: the slot of the one worker that may pass the limit, or false
function shared.new(plan)
  local self = declared({ plan = plan, state = false, outcome = false, pool = false,
    memory = plan.options.memory or default_memory(), queue_bytes = 0, held_most = 0, overdraft = false }, Shared)
  share(self)
  return self
end

-- Less could be had than was asked for: blocks are powers of two, and lie where there is room, so the limit is half.
local function have_less(self, size)
  if self.memory <= size // 2 then return end
  if self.plan.options.memory then
    self.outcome:warn(("only %d MiB of shared memory could be had (is the address space limited?): the limit is " ..
      "%d MiB, not %d"):format(size >> 20, size >> 21, self.memory >> 20))
  end
  self.memory = size // 2
  share(self)
end

--- Opens the pool; the run fails where there is none to be had.
---@param slots integer for so many workers
function Shared:open(slots)
  local size = slots == 0 and shared.BELL_MEMORY or math.max(self.memory * 8, 4 << 30)
  local pool, message, errno = core.pool(slots, size, self.memory, machine.cpus())
  if not pool then
    self.state:fail(message .. (LIMITS[errno] and "; is the limit of memory or of open files too low?" or ""))
  end
  self.pool = pool
  if pool:size() < size then have_less(self, pool:size()) end
  self.memory = self.memory + pool:memory() -- what the slots themselves take comes on top
end

--- Opens a pool without slots, for its descriptor, in a run that has no other.
---@return userdata? pool
---@return string? message
---@return integer? errno
function Shared:open_bell()
  local pool, message, errno = core.pool(0, shared.BELL_MEMORY, shared.BELL_MEMORY)
  self.pool = pool or false
  return pool, message, errno
end

--- Whether a worker may be lent a block: within the limit of memory, or as the one worker that may pass it, so that an
--- item in work can always be finished.
---@param slot table
---@param size integer bytes
---@param want table? what it waits for; nil: the block is for later
---@param younger boolean? it is ordered, and what it writes may have to wait for another's: it may not pass the limit
---@return boolean
function Shared:may_lend(slot, size, want, younger)
  local used = self.pool:memory()
  if want then
    if used + size <= self.memory then return true end
    if younger or self.overdraft and self.overdraft ~= slot then return false end
    self.overdraft = slot
    return true
  end
  return used + size <= self.memory // 2
end

--- The worker at a place's oldest item may pass the limit instead of another one of that place, which has to wait for
--- it.
---@param slot table
---@param slots table array of the place's
function Shared:take_overdraft(slot, slots)
  for _, each in ipairs(slots) do
    if self.overdraft == each then self.overdraft = slot end
  end
end

--- The worker that has passed the limit has committed its output, or is gone.
---@param slot table
function Shared:release_overdraft(slot)
  if self.overdraft == slot then self.overdraft = false end
end

--- Ends the run because a block does not hold what was announced. Whose damage it is is not known: all workers can
--- write everywhere.
---@param stage table
---@param announced integer
---@param found integer?
function Shared:found_damage(stage, announced, found)
  self.state:fail(("stage '%s': a worker has damaged the run's shared memory: %d item%s announced, %s found"):format(
    stage.name, announced, announced == 1 and "" or "s", found or "a damaged one"))
end

--- Ends the run where an entry's block does not hold what was announced.
---@param entry table
function Shared:check(entry)
  local _, n = self.pool:walk(entry.block, entry.offset, entry.length, entry.only or report.ANY, entry.count + 1)
  if n ~= entry.count then self:found_damage(self.plan.stages[entry.stage], entry.count, n) end
end

--- Unmaps it. May be called twice.
---@param keep boolean? true: the pool's descriptor stays open, until `pool:close()`
function Shared:close(keep)
  if not self.pool then return end
  self.pool:close(keep)
  self.pool = false
end

return shared
