--- Segments of a plan: which stages share workers, how many of these there are, and what they do for each other.
local contexts = require "minigun.language.contexts"
local failure = require "minigun.base.failure"
local options = require "minigun.language.schemas"

local segments = {}

local SEATS <const> = 64 -- workers that a context of a standing run may have at least, see executor:resize

local function new_segment(id, context, cpus)
  local n = context.kind == "inline" and 1 or context.n or cpus()
  local worker = context.worker or {}
  local text = contexts.text { kind = context.kind, n = n, ordered = context.ordered }
  return {
    id = id, kind = context.kind, n = n, ordered = context.ordered, stages = {}, width = 0, name = "",
    items_per_worker = context.kind == "process_per_batch" and 1 or worker.max_items or math.huge, worker = worker,
    context = context.name and ("%s: %s"):format(context.name, text) or text,
    hooks = { before_fork = {}, after_fork = {}, before_exit = {} },
  }
end

-- Adds a stage to the threads of a segment's workers that run it; its other stages are one thread of each worker.
local function add_to_group(segment, groups, context, id)
  local group = groups[context]
  if not group then
    group = { n = context.kind == "threads" and context.n or 1, stages = {} }
    groups[context] = group
    segment.groups[#segment.groups + 1] = group
    segment.width = segment.width + group.n
  end
  table.insert(group.stages, id)
end

local forks <const> = { processes = true, process_per_batch = true }

local function share_out(b, cpus)
  local by_context, hosts, groups, result, placed = {}, {}, {}, b.result, b.contexts
  for _, context in ipairs(placed) do
    if context.host then hosts[context.host] = true end
  end
  local processes = 0
  for _, stage in ipairs(result.stages) do
    local context = placed[stage.id]
    local workers = context.host or context
    -- Each stage of a cluster is a job of its own there.
    local segment = context.kind ~= "cluster" and by_context[workers] or nil
    if not segment then
      segment = new_segment(#result.segments + 1, workers, cpus)
      by_context[workers] = segment
      result.segments[segment.id] = segment
      processes = processes + (forks[segment.kind] and segment.n or 0)
      if processes > options.MAX_PROCESSES then
        failure.raise(("stage '%s': with %s the run would have %d workers; %d are possible in all"):format(stage.name,
          segment.context, processes, options.MAX_PROCESSES), stage.at)
      end
      segment.groups = hosts[workers] and {} -- `width`: items that one of its workers may have in hand
    end
    stage.segment = segment.id
    table.insert(segment.stages, stage.id)
    segment.name = (segment.name == "" and "" or segment.name .. "+") .. stage.name
    if segment.groups then add_to_group(segment, groups, context, stage.id) end
    if segment.width > options.MAX_THREADS then
      failure.raise(("stage '%s': with its threads a worker of %s would have %d; %d are possible"):format(stage.name,
        segment.context, segment.width, options.MAX_THREADS), stage.at)
    end
  end
end

-- The number of workers of a standing run may change, so it has more seats for them; and one more than there are
-- workers where the next one is to be ready before an old one ends.
local function add_seats(result)
  for _, segment in ipairs(result.segments) do
    local seats = result.standing and forks[segment.kind] and math.max(segment.n, SEATS) or segment.n
    if segment.worker.max_age or segment.worker.max_memory then seats = seats + 1 end
    if seats > segment.n then segment.seats = seats end
  end
end

-- A reduce whose items come from stages of the same workers folds them there, and takes other items as ever. `folds`,
-- of a segment: the stages that work for such a reduce; `beside`, of a stage: those that take its items there.
local function add_folds(result)
  for _, segment in ipairs(result.segments) do
    segment.folds = {}
    local together = segment.kind == "processes" and not segment.groups
    for _, id in ipairs(together and segment.stages or {}) do
      local worker = result.stages[id]
      local gather, folds = worker.recipe and result.stages[worker.gathers], false
      for _, input in ipairs(gather and gather.inputs or {}) do
        local before = result.stages[input]
        if before.segment == segment.id and before.kind ~= "producer" then
          before.beside = before.beside or {}
          before.beside[gather.id], folds = true, true
        end
      end
      if folds then table.insert(segment.folds, id) end
    end
  end
end

--- Builds the segments of a plan, whose stages are there.
---@param b table what the plan is built from, see plan.lua
---@param cpus fun(): integer
function segments.build(b, cpus)
  share_out(b, cpus)
  add_folds(b.result)
  add_seats(b.result)
end

return segments
