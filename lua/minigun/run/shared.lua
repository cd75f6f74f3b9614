--- The run's shared memory: the pool, how much of it may be used and for what, and what is to be done where a worker
-- has damaged it.
local core = require "minigun.core"
local declared = require "minigun.base.declared"
local failure = require "minigun.base.failure"
local machine = require "minigun.system.machine"
local report = require "minigun.base.protocol"

local shared = {}

--- Bytes of a pool that is there for its descriptor only; never touched.
shared.BELL_MEMORY = 2 << 20

local BLOCK <const> = report.UNIT
local INPUTS <const> = 64 -- files that are kept open for pieces of them
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
--- may be held back of one item's output
function shared.new(plan)
  local self = declared({ plan = plan, state = false, outcome = false, pool = false,
    memory = plan.options.memory or default_memory(), queue_bytes = 0, held_most = 0, inputs = {} }, Shared)
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
---@param blocks boolean? items lie in it, also where there are no slots
function Shared:open(slots, blocks)
  local size = slots == 0 and not blocks and shared.BELL_MEMORY or math.max(self.memory * 8, 4 << 30)
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

--- Ends the run because a block does not hold what was announced. Whose damage it is is not known: all workers can
--- write everywhere.
---@param stage table
---@param announced integer
---@param found integer?
function Shared:found_damage(stage, announced, found)
  self.state:fail(("stage '%s': a worker has damaged the run's shared memory: %s announced, %s found"):format(
    stage.name, failure.count(announced, "item"), found or "a damaged one"))
end

--- Ends the run where an entry's block does not hold what was announced.
---@param entry table
function Shared:check(entry)
  local only = entry.only or report.ANY
  local most = entry.count + (only >= report.PIECE and 0 or 1) -- of a piece a part may be meant
  local _, n = self.pool:walk(entry.block, entry.offset, entry.length, only, most)
  if n ~= entry.count then self:found_damage(self.plan.stages[entry.stage], entry.count, n) end
end

--- Takes what a source has open: workers find its file by that as long as pieces of it may come to them.
---@param reader minigun.reader
function Shared:keep(reader)
  local inputs <const> = self.inputs
  inputs[#inputs + 1] = reader
  if #inputs > INPUTS then table.remove(inputs, 1):close() end
end

--- Unmaps it. May be called twice.
---@param keep boolean? true: the pool's descriptor stays open, until `pool:close()`
function Shared:close(keep)
  while self.inputs[1] do table.remove(self.inputs):close() end
  if not self.pool then return end
  self.pool:close(keep)
  self.pool = false
end

return shared
