--- Admission: what fills up after a stage, how many items wait for one, and how many more may be sent to it. Values in,
-- decisions out.
--
-- `queue = n` counts what waits: queued, in a slice after the item in work, or for the next attempt; not what workers
-- have in work. A place that sends to a limited stage, through stages of the coordinator or directly, begins nothing
-- while that is full, and hands out no more at once than there is room for. So its output passes the limit by what one
-- item for each of its workers emits, at most. Where a place has to stand still, the places that send to it soon stand
-- still, too: `limited` is true of all before a limited stage.
--
-- Of a place these are looked at: `here` (the coordinator's own stages, which call each other), `plan` (`stages`, `n`),
-- `queued`, `full()`, `in_work(stage)`; and its `targets`, `limited`, `per` and `order.window` are set here.
local declared = require "minigun.base.declared"

local admission = {}

-- Items that may wait for a place before a limited stage, where it has no limit of its own: these, and so many for
-- each worker.
local SOME <const>, EACH <const> = 16, 4

local Admission = {}
Admission.__index = Admission

local function some(place) return SOME + EACH * place.n end

--- Makes the admission of a run; `draw` must follow.
---@param stages table array of the plan's stages, in topological order
---@param place_of table from a stage's id to its place
---@param pending table from a stage's id to how many items it has accepted and not finished
---@return table admission
--- `reach[id]`: what fills up after a stage: set of places, and stages' queue limits by id; `limited[id]`: whether
--- there is a limit among them; `per[id]`: how many of its items make one for them; `waits[id]`: what a stage of the
--- coordinator waits for while it is full
function admission.new(stages, place_of, pending)
  return declared({ stages = stages, place_of = place_of, pending = pending, reach = {}, limited = {}, per = {},
    waits = {} }, Admission)
end

-- Whether any of what a stage or a place sends to is limited. The library sets a limit for a reduce itself: that may be
-- passed by a block.
local function leads_to_limit(self, reach)
  for each, limit in pairs(reach) do
    if limit == true then
      if each.limited then return true end
    elseif not self.stages[each].recipe then
      return true
    end
  end
  return false
end

-- The limit of what waits for a stage, or nil. For a stage of the coordinator no more may wait than for the stages
-- directly after it. It calls these, or stands still when they are full, while other stages go on to send to it.
local function limit_of(self, id)
  local stage = self.stages[id]
  local limit = stage.queue
  for _, target in ipairs(self.place_of[id].here and stage.outputs or {}) do
    local place, after = self.place_of[target], nil
    if place.here then after = limit_of(self, target)
    elseif not self.stages[target].recipe then after = self.stages[target].queue or place.limited and some(place) end
    if after then limit = math.min(limit or math.huge, after * (stage.batch and stage.batch.max_size or 1)) end
  end
  return limit
end

-- How many of a stage's items make one item for what it reaches: what batches of the coordinator gather.
local function gathers(self, stage)
  local least
  for _, target in ipairs(stage.outputs) do
    local per = self.place_of[target].here and self.per[target] or 1
    least = math.min(least or per, per)
  end
  return (least or 1) * (stage.batch and self.place_of[stage.id].here and stage.batch.max_size or 1)
end

--- Finds out, for each stage, what fills up after it.
function Admission:draw()
  for id = #self.stages, 1, -1 do
    local stage, own, reach = self.stages[id], self.place_of[id], {}
    for _, target in ipairs(stage.outputs) do
      local place = self.place_of[target]
      if not place.here then reach[place] = true
      else for each, limit in pairs(self.reach[target]) do reach[each] = limit end end
      reach[target] = limit_of(self, target)
    end
    self.reach[id], self.limited[id], self.per[id] = reach, leads_to_limit(self, reach), gathers(self, stage)
    if not own.here and self.limited[id] then own.limited = true end
  end
end

-- Says of each place, the last ones first, whether it is before a limited stage, and how many items of its own make one
-- after it.
local function mark_limited(self, places)
  for i = #places, 1, -1 do
    local place = places[i]
    place.limited, place.per = leads_to_limit(self, place.targets), math.huge
    for _, id in ipairs(place.plan.stages) do place.per = math.min(place.per, self.per[id]) end
    if place.limited and place.order then place.order.window = some(place) end -- what is kept waits too
  end
end

--- What each place and stage waits for while it is full. Items may leave a place and come back to it, so two places
--- could wait for each other. Therefore only the place with the earlier stage waits for places with later stages.
--- Nothing waits for a producer, so producers wait for all that they reach.
---@param places table array
function Admission:draw_waits(places)
  local stages = self.stages
  local function position(each)
    local place = type(each) == "table" and each or self.place_of[each]
    return not place.here and math.min(table.unpack(place.plan.stages)) or each
  end
  local function add(waits, id, at)
    for each, limit in pairs(self.reach[id]) do
      if stages[id].kind == "producer" or position(each) > at then waits[each] = limit end
    end
  end
  for _, place in ipairs(places) do
    for _, id in ipairs(place.plan.stages) do add(place.targets, id, position(place)) end
    place.targets[place] = nil
    for _, id in ipairs(place.plan.stages) do place.targets[id] = nil end -- what is tried again there
  end
  mark_limited(self, places)
  for id in ipairs(stages) do
    if self.place_of[id].here and stages[id].kind ~= "producer" then
      self.waits[id] = {}
      add(self.waits[id], id, id)
    end
  end
end

--- A producer sends to one more place, by emit:to: from now on it waits for this one too.
---@param id integer the producer
---@param target integer the stage that it sends to
function Admission:extend(id, target)
  local place = self.place_of[target]
  if not place.here then self.reach[id][place] = true end
end

--- How many items wait for a stage.
---@param id integer
---@return integer
function Admission:waiting(id)
  return self.pending[id] - self.place_of[id]:in_work(id)
end

--- Whether receivers should first catch up.
---@param targets table set of places, and stages' queue limits by id
---@return boolean
function Admission:is_full(targets)
  local pending <const>, place_of <const> = self.pending, self.place_of
  for target, limit in next, targets do
    if limit == true then
      if target:full() then return true end
    elseif pending[target] >= limit and pending[target] - place_of[target]:in_work(target) >= limit then
      return true
    end
  end
  return false
end

--- How many items a place without a limit of its own may still be sent, where it is before a limited stage.
---@param place table
---@return integer
function admission.room_of(place) return some(place) - place.queued end

--- How many items may be begun whose output goes to these.
---@param targets table set of places, and stages' queue limits by id
---@param per integer items that make one for them
---@return number room below 1: none
function Admission:room(targets, per)
  local room = math.huge
  for target, limit in pairs(targets) do
    if limit == true then
      if target:full() then return 0 end
      if target.limited then room = math.min(room, admission.room_of(target)) end
    else
      local left = limit - self:waiting(target)
      if left <= 0 then return 0 end
      if not self.stages[target].recipe then room = math.min(room, left * per) end
    end
  end
  return room
end

--- Whether a place that a stage reaches, and that it waits for, has anything to do.
---@param id integer the stage
---@return boolean
function Admission:any_at_work(id)
  for place, limit in pairs(self.reach[id]) do
    for _, each in ipairs(limit == true and place.plan.stages or {}) do
      if self.pending[each] > 0 then return true end
    end
  end
  return false
end

return admission
