--- What a run was at, moment by moment: a bounded number of samples, however long it takes.
local progress = require "minigun.base.progress"

local history = {}

local History = {}
History.__index = History

local FIRST <const> = 0.05 -- seconds between the first samples
local MOST <const> = 240   -- samples; then every second one is dropped, and the time between them is doubled

--- Makes an empty one.
---@return table history
--- `samples`: { at = seconds of the run, stages = { [i] = { done =, pending = } }, workers = { [i] = { pid =, stage =
--- the one in hand, or its first, busy = seconds in handlers since the sample before } } }; `workers`: { segment =,
--- worker = } of each
function history.new()
  return setmetatable({ samples = {}, workers = {}, every = FIRST, due = FIRST, busy = {} }, History)
end

local function thin(self)
  local kept = {}
  for i = 2, #self.samples, 2 do
    local sample, before = self.samples[i], self.samples[i - 1]
    for k, worker in pairs(sample.workers) do
      local earlier = before.workers[k]
      if earlier then worker.busy = worker.busy + earlier.busy end
    end
    kept[#kept + 1] = sample
  end
  self.samples, self.every = kept, self.every * 2
end

-- The time that a worker has spent in handlers since it was looked at; a new process begins anew.
local function busy_since(self, key, worker)
  local before = self.busy[key]
  self.busy[key] = { pid = worker.pid, busy = worker.busy }
  return math.max(0, worker.busy - (before and before.pid == worker.pid and before.busy or 0))
end

--- Whether the next sample is due.
---@param elapsed number seconds of the run
---@return boolean
function History:is_due(elapsed) return elapsed >= self.due end

--- Looks at the run, where that is due.
---@param status fun(): table gives minigun.Status
---@param elapsed number seconds of the run
---@return number seconds until it should be called again
function History:look(status, elapsed)
  if self:is_due(elapsed) then self:take(status()) end
  return math.max(0, self.due - elapsed)
end

--- Takes the last figures.
---@param status table minigun.Status at the end
function History:finish(status)
  if status.elapsed > self.due - self.every then self:take(status) end
end

--- Takes a sample.
---@param status table minigun.Status
function History:take(status)
  local sample = { at = status.elapsed, stages = {}, workers = {} }
  for i, stage in ipairs(status.stages) do
    sample.stages[i] = { done = progress.done(stage), pending = stage.pending }
  end
  for i, worker in ipairs(status.workers) do
    local key = worker.segment .. "\0" .. worker.worker
    self.workers[i] = self.workers[i] or { segment = worker.segment, worker = worker.worker }
    sample.workers[i] = { pid = worker.pid, stage = worker.stage or worker.segment:match "^[^+]*",
      busy = busy_since(self, key, worker) }
  end
  table.insert(self.samples, sample)
  if #self.samples > MOST then thin(self) end
  self.due = status.elapsed + self.every
end

return history
