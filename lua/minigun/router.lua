--- The policy of `route`: which of a stage's targets an item goes to. Values in, stage ids out; no process.
local router = {}

local function names_of(targets)
  local names = {}
  for name in pairs(targets) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, ", ")
end

local function unknown(stage, name, targets)
  error(("route of stage '%s' gave %s, which is none of its targets (there are: %s)"):format(stage.name,
    type(name) == "string" and "'" .. name .. "'" or "a " .. type(name), names_of(targets)), 0)
end

local function by_function(stage, targets)
  return function(item)
    local answer = stage.route(item)
    if type(answer) ~= "table" then
      return { targets[answer] or unknown(stage, answer, targets) }
    end
    local ids = {}
    for i, name in ipairs(answer) do ids[i] = targets[name] or unknown(stage, name, targets) end
    return ids
  end
end

-- Each process deals for itself; they begin at different targets, as a fork per batch deals once.
local function in_turn(stage, turn)
  local outputs, next_one = stage.outputs, turn
  return function()
    next_one = next_one % #outputs + 1
    return { outputs[next_one] }
  end
end

--- Makes the function that chooses the targets of each item of a stage.
---@param stage table of the plan
---@param stages table of the plan, by id
---@param turn integer? where round_robin begins
---@return function? choose `function(item) -> array of stage ids`; raises for a name that is no target; nil: broadcast
function router.new(stage, stages, turn)
  if not stage.route or stage.route == "broadcast" or stage.terminal then return nil end
  if stage.route == "round_robin" then return in_turn(stage, turn or 0) end
  local targets = {}
  for _, id in ipairs(stage.outputs) do targets[stages[id].name] = id end
  return by_function(stage, targets)
end

--- The stages that `emit:to` can name.
---@param plan table
---@return table ids by name
function router.addresses(plan)
  local ids = {}
  for name, stage in pairs(plan.by_name) do
    if stage.kind ~= "producer" and stage.await ~= false then ids[name] = stage.id end
  end
  return ids
end

--- The id behind a name given to `emit:to`; an error at the line of the user's call where there is none.
---@param ids table from `addresses`
---@param name any
---@param item any
---@param level integer of the user's frame, as for `error`
---@return integer id
function router.resolve(ids, name, item, level)
  local id = ids[name]
  if not id then
    error(("emit:to: there is no stage %s that receives items (there are: %s)"):format(
      type(name) == "string" and "'" .. name .. "'" or "named by a " .. type(name), names_of(ids)), level + 1)
  end
  if item == nil then error("emit:to: nil cannot be emitted", level + 1) end
  return id
end

return router
