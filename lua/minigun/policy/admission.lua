--- Admission: what fills up after a stage or place, so that it has to wait. Drawn once, from the graph; the ledger
-- looks at it (src/core/ledger_limits.c). Values in, decisions out.
--
-- `queue = n` counts what waits: queued, in a slice after the item in work, or for the next attempt; not what workers
-- have in work. A place that sends to a limited stage, through stages of the coordinator or directly, begins nothing
-- while that is full, and hands out no more at once than there is room for. So its output passes the limit by what one
-- item for each of its workers emits, at most. Where a place has to stand still, the places that send to it soon stand
-- still, too: `limited` is true of all before a limited stage.
--
-- Of a place these are looked at: `here` (the coordinator's own stages, which call each other), `plan` (`stages`, `n`);
-- and its `targets`, `limited`, `per` and `order.window` are set here.
local declared = require "minigun.base.declared"
local terms = require "minigun.policy.terms"

local admission = {}

local Admission = {}
Admission.__index = Admission

-- Items that may wait for a place before a limited stage, where it has no limit of its own.
local function some(place) return terms.some + terms.each * place.n end

--- Makes the admission of a run; `draw` must follow.
---@param stages table array of the plan's stages, in topological order
---@param place_of table from a stage's id to its place
---@return table admission
--- `reach[id]`: what fills up after a stage: set of places, and stages' queue limits by id; `limited[id]`: whether
--- there is a limit among them; `per[id]`: how many of its items make one for them; `waits[id]`: what a stage of the
--- coordinator waits for while it is full
function admission.new(stages, place_of)
  return declared({ stages = stages, place_of = place_of, places = {}, reach = {}, limited = {}, per = {}, waits = {},
    known = {} }, Admission) -- `known`: what limit_of has found out, as long as no further place is limited
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
  local stage, known = self.stages[id], self.known[id]
  if known ~= nil then return known or nil end
  local limit = stage.queue
  for _, target in ipairs(self.place_of[id].here and stage.outputs or {}) do
    local place, after = self.place_of[target], nil
    if place.here then after = limit_of(self, target)
    elseif not self.stages[target].recipe then after = self.stages[target].queue or place.limited and some(place) end
    if after then limit = math.min(limit or math.huge, after * (stage.batch and stage.batch.max_size or 1)) end
  end
  self.known[id] = limit or false
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
    if not own.here and self.limited[id] and not own.limited then own.limited, self.known = true, {} end
  end
end

-- Says of each place, the last ones first, whether it is before a limited stage, and how many items of its own make one
-- after it.
local function mark_limited(self, places)
  for i = #places, 1, -1 do
    local place = places[i]
    place.limited, place.per = leads_to_limit(self, place.targets), math.huge
    for _, id in ipairs(place.plan.stages) do place.per = math.min(place.per, self.per[id]) end
    if place.limited and place.order then -- what is kept waits too
      place.order.window = some(place)
      place.order:tell()
    end
  end
end

--- What each place and stage waits for while it is full. Items may leave a place and come back to it, so two places
--- could wait for each other. Therefore only the place with the earlier stage waits for places with later stages.
--- Nothing waits for a producer, so producers wait for all that they reach.
---@param places table array
function Admission:draw_waits(places)
  local stages = self.stages
  self.places = places
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

-- Whether what waits for these has to wait for this place.
local function is_full(waits, place, ledger)
  local full = waits[place] and ledger:full(place.id)
  for _, id in ipairs(place.plan.stages) do
    full = full or waits[id] and ledger:pending(id) >= waits[id]
  end
  return full
end

--- Whether work of a stage of the coordinator waits for a place, or for one that waits for it: then that must go on,
--- however much the coordinator has.
---@param place table
---@param ledger userdata
---@param seen table? set of places that are known not to be
---@return boolean
function Admission:is_waited_for(place, ledger, seen)
  seen = seen or {}
  seen[place] = true
  for id, waits in pairs(self.waits) do
    if ledger:pending(id) > 0 and is_full(waits, place, ledger) then return true end
  end
  for _, other in ipairs(self.places) do
    if not seen[other] and is_full(other.targets, place, ledger) and self:is_waited_for(other, ledger, seen) then
      return true
    end
  end
  return false
end

--- A producer sends to one more place, by emit:to: from now on it waits for this one too.
---@param id integer the producer
---@param target integer the stage that it sends to
---@param ledger userdata
function Admission:extend(id, target, ledger)
  local place, reach = self.place_of[target], self.reach[id]
  if place.here or reach[place] then return end
  reach[place] = true
  ledger:limit("reach", id, place.id, 0, 0)
end

--- Tells the ledger what fills up, once all is drawn.
---@param ledger userdata
---@param places table array
function Admission:tell(ledger, places)
  local function add(what, which, limits)
    for each, limit in pairs(limits) do
      if limit == true then ledger:limit(what, which, each.id, 0, 0)
      else ledger:limit(what, which, 0, each, limit) end
    end
  end
  for id in ipairs(self.stages) do
    add("reach", id, self.reach[id])
    if self.waits[id] then add("waits", id, self.waits[id]) end
    ledger:per(id, self.per[id])
  end
  for _, place in ipairs(places) do
    add("targets", place.id, place.targets)
    ledger:limited(place.id, place.limited, place.per)
  end
end

return admission
