--- A run as a trace: events in the format of Chrome's tracing, for Perfetto and speedscope. A process of the trace is a
-- stage, a thread of it a worker. What workers do is looked at now and then: an event stands for the time that a worker
-- spent in handlers between two looks.
local history = require "minigun.view.history"
local json = require "minigun.base.json"

local trace = {}

local Trace = {}
Trace.__index = Trace

--- Makes an empty one.
---@return table trace
function trace.new() return setmetatable({ history = history.new() }, Trace) end

--- Looks at the run now and then.
---@param status fun(): table gives minigun.Status
---@param elapsed number seconds of the run
---@return number seconds until it should be called again
function Trace:look(status, elapsed) return self.history:look(status, elapsed) end

--- Takes the last figures.
---@param status table
function Trace:finish(status) self.history:finish(status) end

local function microseconds(seconds) return math.floor(seconds * 1e6 + 0.5) end

-- The names of processes and threads.
local function add_names(self, add, status, number)
  for i, stage in ipairs(status.stages) do
    add { ph = "M", name = "process_name", pid = i, args = { name = stage.name } }
    add { ph = "M", name = "process_sort_index", pid = i, args = { sort_index = i } }
  end
  for _, worker in ipairs(self.history.workers) do
    for name in worker.segment:gmatch "[^+]+" do
      if number[name] then
        add { ph = "M", name = "thread_name", pid = number[name], tid = worker.worker,
          args = { name = "worker " .. worker.worker } }
      end
    end
  end
end

local function add_work(self, add, number)
  local before = 0
  for _, sample in ipairs(self.history.samples) do
    for k, worker in pairs(sample.workers) do
      local pid = number[worker.stage]
      if worker.busy > 0 and pid then
        local span = math.min(worker.busy, sample.at - before)
        add { ph = "X", name = worker.stage, cat = "work", pid = pid, tid = self.history.workers[k].worker,
          ts = microseconds(sample.at - span), dur = microseconds(span), args = { process = worker.pid } }
      end
    end
    before = sample.at
  end
end

local function add_counters(self, add, status)
  for _, sample in ipairs(self.history.samples) do
    for i, stage in ipairs(status.stages) do
      local own = sample.stages[i]
      add { ph = "C", name = "items of " .. stage.name, pid = i, ts = microseconds(sample.at),
        args = { pending = own.pending, done = own.done } }
    end
  end
end

--- The trace as JSON.
---@param status table minigun.Status at the end
---@return string
function Trace:json(status)
  local events, number = {}, {}
  local function add(event) events[#events + 1] = json.encode(event) end
  for i, stage in ipairs(status.stages) do number[stage.name] = i end
  add_names(self, add, status, number)
  add_work(self, add, number)
  add_counters(self, add, status)
  return ('{"displayTimeUnit":"ms","otherData":{"pipeline":%s},"traceEvents":[\n%s\n]}\n'):format(
    json.encode(status.pipeline), table.concat(events, ",\n"))
end

return trace
