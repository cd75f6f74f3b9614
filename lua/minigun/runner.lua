--- The runner: runs pipelines to their end, or streams what comes out of them.
local chain = require "minigun.chain"
local core = require "minigun.core"
local failure = require "minigun.failure"
local run = require "minigun.run"
local signals = require "minigun.signals"

local runner = {}

local function add_inline_stats(self)
  for id, s in pairs(self.chain and self.chain.stats or {}) do
    local all, stage = self.stats[id], self.plan.stages[id]
    local handled = stage.batch and self.plan.stages[stage.outputs[1]]
    if stage.kind ~= "producer" then -- what came from workers was counted when it was accepted
      if not stage.gathers then all.items_in = all.items_in + s.items_in end
      if not (handled and handled.gathers == id) then all.items_out = all.items_out + s.items_out end
    end
  end
  for _, segment in ipairs(self.segments) do
    for _, id in ipairs(segment.plan.stages) do
      local s = self.stats[id]
      s.waiting_in = math.max(0, segment.plan.n * self.result.elapsed - s.busy - s.waiting_out)
    end
  end
end

-- Closes the run, fills in the result, and runs after_run. Returns the error of the run, if any.
local function conclude(self, err)
  self:close()
  local r = self.result
  r.elapsed = core.now() - self.started
  add_inline_stats(self)
  r.error = err and tostring(err)
  r.ok = not err and #r.failures == 0
  self.pipeline.last = r
  for _, hook in ipairs(self.plan.hooks.after_run) do
    local ok, caught = xpcall(hook.f, chain.caught, r)
    if not ok and not err then
      local _
      _, err = pcall(self.hook_failed, self, hook.name, hook.at, chain.as_caught(caught))
    end
  end
  return err
end

-- Raises what the run has to say to its caller.
local function raise(self, err)
  if signals.is_interrupt(err) then return signals.interrupted() end
  if err then error(type(err) == "table" and err.run_failed and tostring(err) or err, 0) end
  local failures = {}
  for _, record in ipairs(self.result.failures) do
    if not record.dead_letter then failures[#failures + 1] = record end
  end
  local handled = #self.plan.hooks.on_failure > 0 or self.plan.options.failures == "collect"
  if #failures > 0 and not handled then error(failure.summary(failures), 0) end
end

local function traceback(err)
  if type(err) == "string" and not signals.is_interrupt(err) then return debug.traceback(err, 2) end
  return err
end

--- Runs a pipeline to its end.
---@param pipeline table
---@param given table? checked options of the run
---@return table result
--- Raises when the run fails, and when items have failed and nobody handles that.
function runner.run(pipeline, given)
  local self <close> = run.new(pipeline, given) -- also when Ctrl-C comes while it is being concluded
  local ok, err = xpcall(function()
    self:begin()
    while self:step() do end
  end, traceback)
  err = conclude(self, not ok and err or nil)
  raise(self, err)
  return self.result
end

--- Runs a pipeline and streams the items of its terminal stages.
---@param pipeline table
---@param given table? checked options of the run
---@return function next, nil, nil, table closing the four values of a generic for; leaving the loop stops the run
function runner.iterate(pipeline, given)
  local self = run.new(pipeline, given)
  local at, ended, over = 0, false, false
  local function finish(err)
    if over then return end
    over = true
    return raise(self, conclude(self, err))
  end
  local function advance()
    local ok, more = xpcall(self.step, traceback, self)
    if not ok then finish(more) else return more end
  end
  local ok, err = xpcall(self.begin, traceback, self)
  if not ok then finish(err) end
  local function next_item()
    while true do
      local items = self.result.items
      if at < #items then
        at = at + 1
        return items[at]
      end
      for i = #items, 1, -1 do items[i] = nil end
      at = 0
      if over then return nil end
      if ended or not advance() then
        ended = true -- what the last step has brought comes first
        if #self.result.items == 0 then
          finish()
          return nil
        end
      end
    end
  end
  return next_item, nil, nil, setmetatable({}, { __close = function()
    if not over then
      over = true
      conclude(self)
    end
    self:close()
  end })
end

return runner
