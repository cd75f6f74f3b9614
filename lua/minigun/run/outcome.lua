--- What comes out of a run: the result that its caller gets, and the failures that nothing has handled.
local context = require "minigun.handlers.ctx"
local declared = require "minigun.base.declared"
local failure = require "minigun.base.failure"
local results = require "minigun.run.result"
local tallies = require "minigun.policy.tally"

local outcome = {}

local WARNINGS <const> = 100 -- that are kept

local Outcome = {}
Outcome.__index = Outcome

--- Makes what a run fills.
---@param plan table
---@param pid integer the coordinator's
---@param streams boolean the caller takes items one by one, and each may go once it is taken
---@return table outcome
--- `result`; `stats`: the records of stages by id; `unhandled`: a tally of failures
function outcome.new(plan, pid, streams)
  local result, records, terminals, last = results.new(plan, pid), {}, 0, nil
  for id, stage in ipairs(plan.stages) do
    records[id] = result.stats.stages[stage.name]
    if stage.terminal then result.by_stage[stage.name] = {} end
  end
  for _, list in pairs(result.by_stage) do terminals, last = terminals + 1, list end
  if terminals == 1 then result.items = last end
  return declared({ name = plan.name, pid = pid, result = result, stats = records, streams = streams, warned = 0,
    returns = {},            -- stages whose handlers have returned values, by id
    unhandled = tallies.new(),
    apart = terminals > 1 and not streams, -- each terminal stage has a list of its own besides
  }, Outcome)
end

--- Notes something that the user should know and that fails nothing. The first are kept, all are counted.
---@param text string
function Outcome:warn(text)
  local warnings = self.result.stats.warnings
  self.warned = self.warned + 1
  local more = self.warned - WARNINGS
  warnings[math.min(self.warned, WARNINGS + 1)] = more <= 0 and text
    or ("and %s, the last: %s"):format(failure.count(more, "more warning"), text)
end

--- Takes what `ctx` collects and counts.
---@param kind "collect"|"count"
---@param name string
---@param value any
function Outcome:effect(kind, name, value)
  if kind == "count" then
    local counters = self.result.counters
    counters[name] = (counters[name] or 0) + value
    return
  end
  local list = self:collected(name)
  list[#list + 1] = value
end

--- What has been collected under a name.
---@param name any
---@return table values in the order in which they came; those that come are added to it
function Outcome:collected(name)
  local collected = self.result.collected
  local list = collected[name]
  if not list then
    list = {}
    collected[name] = list
  end
  return list
end

--- Makes the ctx of a stage or hook in the coordinator.
---@param fields table what it says
---@param effect function? takes what it collects and counts, instead of the result
---@return table ctx
function Outcome:context(fields, effect)
  fields.pipeline, fields.pid = self.name, self.pid
  return context.new(fields, effect or function(...) self:effect(...) end)
end

--- The lists that the items of a terminal stage are added to, in the order in which they come.
---@param stage table
---@return table items of all terminal stages
---@return table? own its own, where that is another list
function Outcome:lists_of(stage)
  return self.result.items, self.apart and self.result.by_stage[stage.name] or nil
end

--- Takes the items of a terminal stage that lie in a block.
---@param stage table
---@param read function (list, n) puts the items into a list after its first n -> how many the list has then, and what
--- could not be read
---@return integer? n how many items have come
---@return any refused
function Outcome:keep_read(stage, read)
  local items = self.result.items
  local list = self.streams and items or self.result.by_stage[stage.name]
  local before = #list
  local n, refused = read(list, before)
  if not n then return nil, refused end
  if list ~= items then table.move(list, before + 1, n, #items + 1, items) end
  return n - before, refused
end

return outcome
