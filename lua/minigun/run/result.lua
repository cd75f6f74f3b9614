--- The result of a run: data, with a line of text for the prompt.
local core = require "minigun.core"
local description = require "minigun.run.description"
local failure = require "minigun.base.failure"
local stats = require "minigun.base.stats"

local result = {}

---@class minigun.Result
---@field pipeline string its name
---@field id string of the run: when it began, process, and which of its runs
---@field pid integer of the process that it ran in
---@field started number when it began, in seconds since 1970
---@field ok boolean nothing has failed
---@field items any[] what the terminal stages have emitted, in order of arrival
---@field collected table<string, any[]> what `ctx:collect` was given
---@field counters table<string, number> what `ctx:count` has added up
---@field failures minigun.Failure[] the first that have failed: as many as the run's option `keep_failures`
---@field failed integer how many items have failed for good, those in `failures` and all others
---@field stats minigun.Stats
---@field elapsed number seconds
---@field error string? what has ended the run before its end
---@field resumed integer? in a run with a journal: items that were acknowledged before and not passed on
---@field stopped boolean? `run:stop()` was called
---@field killed boolean? `run:kill()` was called
local Result = { __name = "minigun.result" }
Result.__index = Result

core.register(stats.Record.__name, stats.Record)

local runs = 0 -- of this process

--- Makes the result of a run that begins.
---@param plan table
---@param pid integer
---@return table result
function result.new(plan, pid)
  local now = os.time()
  runs = runs + 1
  local stages, order = description.stages(plan)
  for _, name in ipairs(order) do stats.stage(stages[name]) end
  return setmetatable({
    pipeline = plan.name, items = {}, by_stage = {}, collected = {}, counters = {}, failures = {}, failed = 0,
    id = ("%d-%d-%d"):format(now, pid, runs), pid = pid, started = now,
    stats = { stages = stages, order = order, edges = description.edges(plan), workers = {}, warnings = {},
      memory_most = 0, memory_limit = 0 }, elapsed = 0, ok = false,
  }, Result)
end

--- The items that a terminal stage emitted.
---@param stage string
--- its name; of a stage in a nested pipeline "outer.inner", or the end of that where no other terminal stage has it; or
--- the name of a nested pipeline: of all terminal stages in it, one after the other
---@return any[] items in order of arrival
function Result:of(stage)
  if getmetatable(self) ~= Result then failure.raise 'call result:of with a colon, on a result: result:of("stage")' end
  local items = self.by_stage[stage]
  if items then return items end
  if type(stage) ~= "string" then stage = failure.show(stage) end
  local names, ends, inside = {}, {}, {}
  for name in pairs(self.by_stage) do
    names[#names + 1] = name
    if name:sub(-#stage - 1) == "." .. stage then ends[#ends + 1] = name end
    if name:sub(1, #stage + 1) == stage .. "." then inside[#inside + 1] = name end
  end
  for _, list in ipairs { names, ends, inside } do table.sort(list) end
  if #inside > 0 then
    local all = {}
    for _, name in ipairs(inside) do table.move(self.by_stage[name], 1, #self.by_stage[name], #all + 1, all) end
    return all
  end
  if #ends == 1 then return self.by_stage[ends[1]] end
  failure.raise(("result:of: '%s' is %s"):format(stage, #ends > 1
    and "ambiguous: say '" .. table.concat(ends, "' or '") .. "'"
    or "not a terminal stage" .. require("minigun.base.schema").hint(stage, names)))
end

--- The run in numbers: plain data, as `run:status()` gives it while the run goes on.
---@return minigun.Status summary
function Result:summary()
  if getmetatable(self) ~= Result then failure.raise "call result:summary with a colon, on a result" end
  return require("minigun.run.snapshot").of(self, self.ok and "done" or "failed")
end

-- What the last stages have taken, where nothing came out of them: "24 taken by 'save'".
local function taken(self)
  local parts = {}
  for name in pairs(self.by_stage) do
    local s = self.stats.stages[name]
    if s and s.items_in > 0 then parts[#parts + 1] = ("%d taken by '%s'"):format(s.items_in, name) end
  end
  table.sort(parts)
  return parts
end

--- One line: what was run, how much came out or was taken by the last stages, how long it took; then one for each
--- warning.
---@return string
function Result:__tostring()
  local n = #self.items
  local parts = { failure.count(n, "item") }
  if self.failed > 0 then parts[#parts + 1] = ("%d failed"):format(self.failed) end
  for name in pairs(self.collected) do parts[#parts + 1] = ("%d %s"):format(#self.collected[name], name) end
  table.sort(parts, function(a, b) return a == parts[1] and b ~= parts[1] end)
  if self.stopped then parts[#parts + 1] = "stopped early" end
  if self.killed then parts[#parts + 1] = "killed" end
  if self.error then parts[#parts + 1] = "stopped: " .. self.error:match("[^\n]*") end
  if n == 0 then
    for _, part in ipairs(taken(self)) do parts[#parts + 1] = part end
  end
  local lines = { ("%s '%s': %s in %.3f s"):format(self.ok and "done" or "FAILED", self.pipeline,
    table.concat(parts, ", "), self.elapsed) }
  for _, warning in ipairs(self.stats.warnings) do lines[#lines + 1] = "  warning: " .. warning end
  return table.concat(lines, "\n")
end

return result
