--- Blocks: what the workers of a place are lent for their output, and which of them wait for one.
local report = require "minigun.base.protocol"
local supply = require "minigun.policy.supply"

local blocks = {}

local Blocks = {}
Blocks.__index = Blocks
blocks.methods = Blocks

--- Makes what lends blocks to the workers of a place.
---@param place table see contract.lua; with `slots`, and `oldest()`: the worker that has the oldest item
---@return table blocks
function blocks.new(place)
  return setmetatable({
    place = place, port = place.port, pool = place.pool, sizes = supply.sizes(report.UNIT),
    first = place.port.plan.stages[place.plan.stages[1]],
    wants = {},   -- workers that wait for a block: { bytes =, since = }
    lacking = {}, -- workers that may lack one
  }, Blocks)
end

--- A new worker gets its first.
---@param slot table
function Blocks:begin(slot)
  self.lacking[slot] = true
  self:lend(slot, self.sizes.bytes)
end

--- Lends an empty block.
---@param slot table
---@param size integer bytes
---@return boolean ok false: there is none to be had
function Blocks:lend(slot, size) return self.pool:lend(slot.index, size) end

--- A worker waits for a block of at least this size.
---@param slot table
---@param bytes integer
function Blocks:need(slot, bytes)
  self.wants[slot] = { bytes = bytes, since = self.port.now() }
  self.sizes:needed(bytes)
end

--- The worker is gone, or will be.
---@param slot table
function Blocks:forget(slot) self.wants[slot] = nil end

--- How large a block one of the workers waits for.
---@return integer bytes 0: none waits
function Blocks:wanted()
  local most = 0
  for slot, want in pairs(self.wants) do
    if slot.pid then most = math.max(most, want.bytes) end
  end
  return most
end

-- Whether a worker may have a block now. `blocked`: those that receive its output should first catch up.
local function may_have(self, slot, size, blocked, held)
  local place, port, want = self.place, self.port, self.wants[slot]
  local oldest = place.order and place:oldest()
  -- An item that is older than the one that has overdrawn may come back to another worker.
  if want and oldest == slot then port.take_overdraft(slot, place.slots) end
  -- It waits for its receivers, and they may need what it alone may: output that was let through is not held.
  if blocked and held == 0 then port.returned(slot) end
  return (not blocked or held > 0) and port.lend(slot, size, want, place.order and slot ~= oldest)
end

--- Gives workers blocks to fill, unless those that receive their output should first catch up.
---@return boolean lacking whether one still waits for something
function Blocks:supply()
  local place, port, blocked = self.place, self.port, nil
  local first = self.first
  local singly = place.limited and first.kind == "producer"
  for slot in next, self.lacking do
    local want = self.wants[slot]
    local _, lent, held = self.pool:state(slot.index)
    if not slot.pid or not want and supply.enough(lent, singly) then
      self.lacking[slot] = nil
    else
      if blocked == nil then blocked = port.blocked(place) end
      local size = math.max(want and want.bytes or 0, self.sizes.bytes)
      if may_have(self, slot, size, blocked, held) and self:lend(slot, size) and want then
        local s = port.stats[first.id]
        s.waiting_out = s.waiting_out + port.now() - want.since
        self.wants[slot] = nil
      end
    end
  end
  return next(self.lacking) ~= nil
end

return blocks
