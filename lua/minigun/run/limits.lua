--- Limits: how many items wait for a stage, and how many more may be sent to it. Methods of a run (see run.lua).
--
-- `queue = n` counts what waits: queued, in a slice behind the item in work, or for the next attempt; not what workers
-- have in work. A segment that sends to a limited stage, through stages of the coordinator or directly, begins nothing
-- while that is full, and hands out no more at once than there is room for; so what comes out of it passes the limit by
-- one item for each of its workers at most, times what an item emits. Where a segment has to stand still, whoever sends
-- to it stands still soon, too: `limited` is true of all before a limited stage.
local limits = {}

-- Items that may wait for a segment without a limit of its own before a limited stage: those, and so many per worker.
local SOME <const>, EACH <const> = 16, 4

local function some(segment) return SOME + EACH * segment.plan.n end

--- How many items wait for a stage.
---@param id integer
---@return integer
function limits:waiting(id)
  local segment = self.segment_of[id]
  return self.ledger.pending[id] - (segment and segment:in_work(id) or 0)
end

--- Whether any of what a stage or a segment sends to is limited. A reduction's own limit, which the library has set,
--- may be passed by a block.
---@param reach table set of segments, and stages' queue limits by id
---@return boolean
function limits:leads_to_limit(reach)
  for each, limit in pairs(reach) do
    if limit == true then
      if each.limited then return true end
    elseif not self.plan.stages[each].fold then
      return true
    end
  end
  return false
end

--- The limit of what waits for a stage. For one of the coordinator no more may wait than for those directly after it:
--- it calls them, or stands still when they are full, while others go on to send to it.
---@param id integer
---@return integer? limit
function limits:limit_of(id)
  local stages = self.plan.stages
  local stage = stages[id]
  local limit = stage.queue
  for _, target in ipairs(not self.segment_of[id] and stage.outputs or {}) do
    local segment, after = self.segment_of[target], nil
    if not segment then after = self:limit_of(target)
    elseif not stages[target].fold then after = stages[target].queue or segment.limited and some(segment) end
    if after then limit = math.min(limit or math.huge, after * (stage.batch and stage.batch.max_size or 1)) end
  end
  return limit
end

--- Says of each segment, the last ones first, whether it is before a limited stage, and how many items of its own make
--- one behind it. May be called again.
function limits:mark_limited()
  for i = #self.segments, 1, -1 do
    local segment = self.segments[i]
    segment.limited, segment.per = self:leads_to_limit(segment.targets), math.huge
    for _, id in ipairs(segment.plan.stages) do
      segment.per = math.min(segment.per, self.per[id])
    end
    if segment.limited and segment.order then segment.order.window = some(segment) end -- what is kept waits too
  end
end

--- How many of a stage's items make one item for those whom it reaches: what batches of the coordinator gather.
---@param stage table
---@return integer
function limits:gathers(stage)
  local least
  for _, target in ipairs(stage.outputs) do
    local per = not self.segment_of[target] and self.per[target] or 1
    least = math.min(least or per, per)
  end
  return (least or 1) * (stage.batch and not self.segment_of[stage.id] and stage.batch.max_size or 1)
end

--- How many items a segment without a limit of its own may still be sent, where it is before a limited stage.
---@param segment table
---@return integer
function limits.room_of(segment) return some(segment) - segment.queued end

--- How many items may be begun whose output goes to these.
---@param targets table set of segments, and stages' queue limits by id
---@param per integer items that make one for them
---@return number room below 1: none
function limits:room(targets, per)
  local room = math.huge
  for target, limit in pairs(targets) do
    if limit == true then
      if target:full() then return 0 end
      if target.limited then room = math.min(room, limits.room_of(target)) end
    else
      local left = limit - self:waiting(target)
      if left <= 0 then return 0 end
      if not self.plan.stages[target].fold then room = math.min(room, left * per) end
    end
  end
  return room
end

return limits
