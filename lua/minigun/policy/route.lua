--- The policy of `route`: which of a stage's targets an item goes to. Values in, stage ids out; no process.

local router = {}

--- A name, for messages.
---@param name any
---@return string
function router.shown(name)
  return type(name) == "string" and "'" .. name .. "'" or "a " .. type(name)
end

--- Names, for messages.
---@param names table array, which is sorted
---@return string
function router.list(names)
  table.sort(names)
  return table.concat(names, ", ")
end

local function unknown(stage, name)
  local names = {}
  for i, group in ipairs(stage.groups) do names[i] = group.name end
  error(("%s: route of stage '%s' gave %s, which is none of its targets (there are: %s)"):format(stage.at, stage.name,
    router.shown(name), router.list(names)), 0)
end

local function by_function(stage)
  local answers = stage.answers
  return function(item)
    local answer = stage.route(item)
    if type(answer) ~= "table" then return answers[answer] or unknown(stage, answer) end
    local ids = {}
    for _, name in ipairs(answer) do
      local more = answers[name] or unknown(stage, name)
      table.move(more, 1, #more, #ids + 1, ids)
    end
    return ids
  end
end

-- Each process deals its items out for itself. Processes begin at different targets, as a fork per batch deals once.
local function in_turn(stage, turn)
  local groups, next_one = stage.groups, turn
  return function()
    next_one = next_one % #groups + 1
    return groups[next_one]
  end
end

--- Makes the function that chooses the targets of each item of a stage.
---@param stage table of the plan, with a route that is not "broadcast"
---@param turn integer? where round_robin begins
---@return function? choose
--- `function(item) -> array of stage ids`, which is to be left as it is; raises for a name that is no target; nil:
--- broadcast
function router.new(stage, turn)
  if stage.terminal then return nil end
  if stage.route == "round_robin" then return in_turn(stage, turn or 0) end
  return by_function(stage)
end

--- Raises, at the line of the user's call, where `emit.to` is called with a dot.
---@param emit any what stands before the dot, if it was a colon
---@param level integer of the user's frame, as for `error`
function router.check_colon(emit, level)
  if type(emit) == "table" or type(emit) == "userdata" then return end
  error('call emit:to with a colon: emit:to("stage", item)', level + 1)
end

--- The stages that a name given to `emit:to` stands for; an error at the line of the user's call where there is none.
---@param addresses table from plan/addresses.lua
---@param name any
---@param item any
---@param level integer of the user's frame, as for `error`
---@return table ids array
function router.resolve(addresses, name, item, level)
  local ids = addresses[name]
  if type(ids) == "string" then
    local swapped = type(item) == "string" and type(addresses[item]) ~= "string"
    error(swapped and ids .. '; the order is emit:to("stage", item)' or ids, level + 1)
  end
  if item == nil then error("emit:to: nil cannot be emitted", level + 1) end
  return type(ids) == "table" and ids or { ids }
end

return router
