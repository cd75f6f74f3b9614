--- Addresses: what the names of stages mean to `emit:to` and as answers of a route, once a pipeline is planned.
local nesting = require "minigun.language.names"
local router = require "minigun.policy.route"

local addresses = {}

--- What names mean as answers of a stage's route.
---@param tree table of nodes
---@param where table the node of the pipeline that the route is given in
---@param stage table of the plan
---@param receivers fun(node: table): table the ids of the stages that receive what is sent to a node
---@return table answers name -> array of those ids that are targets of the stage; nil: none is
function addresses.answers(tree, where, stage, receivers)
  local outputs = {}
  for _, id in ipairs(stage.outputs) do outputs[id] = true end
  return setmetatable({}, { __index = function(self, name)
    local ids, node = {}, nesting.find(tree, where, name)
    for _, id in ipairs(node and receivers(node) or {}) do
      if outputs[id] then ids[#ids + 1] = id end
    end
    if #ids == 0 then return nil end
    self[name] = ids
    return ids
  end })
end

--- What names mean to the `emit:to` of the stages of a pipeline.
---@param tree table of nodes
---@param where table the node of that pipeline
---@param receivers fun(node: table): table the ids of the stages that receive what is sent to a node
---@return table addresses name -> a stage's id, or array of ids; or a string: the error that this name is
function addresses.new(tree, where, receivers)
  return setmetatable({}, { __index = function(self, name)
    local node, choices = nesting.find(tree, where, name)
    local ids = receivers(node)
    if #ids == 0 then
      if choices then return "emit:to: the stage '" .. name .. "'" .. nesting.hint(tree, where, name, choices) end
      return ("emit:to: there is no stage %s that receives items (there are: %s)"):format(
        type(name) == "string" and router.shown(name) or "named by " .. router.shown(name),
        router.list(nesting.names(tree, where, function(each) return #receivers(each) > 0 end)))
    end
    self[name] = #ids == 1 and ids[1] or ids
    return self[name]
  end })
end

return addresses
