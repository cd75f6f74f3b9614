--- Runs pipelines to their end, or streams what comes out of them.
local execution = require "minigun.control.execution"

local to_end = {}

--- Runs a pipeline to its end.
---@param pipeline table
---@param given table? checked options of the run
---@return table result
--- Raises when the run fails, and when items have failed and nothing handles that.
function to_end.run(pipeline, given)
  local self <close> = execution.new(pipeline, given) -- also when Ctrl-C comes while it is being concluded
  if execution.begin(self) then execution.go_on(self) end
  return execution.outcome(self)
end

--- Runs a pipeline and streams the items of its terminal stages.
---@param pipeline table
---@param given table? checked options of the run
---@return function next, nil, nil, table closing the four values of a generic for; leaving the loop stops the run
function to_end.iterate(pipeline, given)
  local self = execution.new(pipeline, given, { streams = true }) -- an item is delivered when the next is asked for
  local ready, at, n, reported = {}, 0, 0, false -- ready[at + 1] to ready[n] are to be handed out
  if not execution.begin(self) then
    execution.close_journal(self)
    execution.outcome(self)
  end
  local result <const> = self.run.outcome.result
  local handed_out = false
  local function handed()
    if self.run.resume and handed_out then self.run.resume:hand_items(1) end
    handed_out = false
  end
  local function next_item()
    handed()
    while true do
      if at < n then
        at = at + 1
        self.run.screen:give_way() -- what is done with it may print
        local item = ready[at]
        ready[at], handed_out = nil, true -- the program may drop it
        return item
      end
      local items = result.items
      ready, at, n = table.move(items, 1, #items, 1, {}), 0, #items
      for i = n, 1, -1 do items[i] = nil end
      if n == 0 then
        if reported then return nil end
        reported = self.over or not execution.advance(self) and (self.err or #items == 0)
        if reported then -- what the last step has brought comes first
          execution.close_journal(self)
          execution.outcome(self)
        end
      end
    end
  end
  return next_item, nil, nil, setmetatable({}, { __close = function(_, err)
    if err == nil and not reported then handed() end -- what the body has left by `break`
    execution.conclude(self)
    execution.close_journal(self)
    execution.close(self)
  end })
end

return to_end
