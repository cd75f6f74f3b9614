--- What is known of a run's stages before it begins: what each is, where it runs, which stage sends to which. Plain
-- values, for statistics and for what a person looks at.
local description = {}

local HERE <const> = { inline = true, threads = true } -- kinds of contexts inside the coordinator

-- Whether items go from one stage to the other as bytes: between processes.
local function cross(plan, one, other)
  local from, to = plan.segments[one.segment], plan.segments[other.segment]
  return from ~= to and not (HERE[from.kind] and HERE[to.kind])
end

-- How many items of a stage can be at work at once.
local function places_of(plan, stage)
  local segment = plan.segments[stage.segment]
  if HERE[segment.kind] then return segment.kind == "threads" and segment.n or 1 end
  for _, group in ipairs(segment.groups or {}) do
    for _, id in ipairs(group.stages) do
      if id == stage.id then return segment.n * group.n end
    end
  end
  return segment.n
end

-- What was said about a stage: of a batch, also what its handler was given.
local function add_options(fields, stage, segment)
  if stage.retries > 0 then fields.retries = stage.retries end
  fields.timeout = stage.timeout or fields.timeout
  fields.ordered = stage.ordered or segment.ordered or fields.ordered
  if stage.batch and not stage.batch.numbered then
    fields.max_size, fields.max_wait = stage.batch.max_size, stage.batch.max_wait
  end
  for name, list in next, stage.hooks do
    if list[1] then
      fields.hooks = fields.hooks or {}
      table.insert(fields.hooks, name)
      table.sort(fields.hooks)
    end
  end
end

--- What is known of each stage as the user knows it, which may be several of the plan: a batch is gathered in one, and
--- handled in another. The one that runs the handler says where that is.
---@param plan table
---@return table by_name fields, see minigun.StageStats
---@return string[] order
function description.stages(plan)
  local by_name, order, runs = {}, {}, {}
  for _, stage in ipairs(plan.stages) do
    local name = stage.name
    local fields, here = by_name[name], HERE[plan.segments[stage.segment].kind]
    if not fields then
      fields = { name = name, kind = stage.label, at = stage.at, queue = stage.queue, gathers = true,
        source = stage.kind == "producer" or nil, terminal = nil, route = nil }
      by_name[name], order[#order + 1], runs[name] = fields, name, stage
    elseif not here then
      runs[name] = stage
    end
    if stage.handler ~= nil or stage.reduces or stage.recipe then fields.gathers = nil end
    add_options(fields, stage, plan.segments[stage.segment])
    fields.terminal = fields.terminal or stage.terminal or nil
    if stage.route then
      fields.route = stage.route == "round_robin" and "round_robin" or "choice"
    end
  end
  for name, stage in pairs(runs) do
    by_name[name].context, by_name[name].workers = plan.segments[stage.segment].context, places_of(plan, stage)
  end
  return by_name, order
end

--- The edges between stages.
---@param plan table
---@return minigun.Edge[]
function description.edges(plan)
  local list = {}
  local function add(stage, id, kind)
    local from, to = stage.name, plan.stages[id].name
    if from ~= to then list[#list + 1] = { from = from, to = to, kind = kind } end
  end
  for _, stage in ipairs(plan.stages) do
    for _, id in ipairs(stage.outputs) do
      add(stage, id, cross(plan, stage, plan.stages[id]) and "bytes" or "value")
    end
    if math.type(stage.dead_letter) == "integer" then add(stage, stage.dead_letter, "dead_letter") end
  end
  return list
end

return description
