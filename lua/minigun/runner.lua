--- The runner: runs pipelines to their end, or streams what comes out of them.
local handle = require "minigun.handle"

local runner = {}

--- Runs a pipeline to its end.
---@param pipeline table
---@param given table? checked options of the run
---@return table result
--- Raises when the run fails, and when items have failed and nobody handles that.
function runner.run(pipeline, given)
  local self <close> = handle.new(pipeline, given) -- also when Ctrl-C comes while it is being concluded
  if handle.begin(self) then handle.go_on(self) end
  return handle.outcome(self)
end

--- Runs a pipeline and streams the items of its terminal stages.
---@param pipeline table
---@param given table? checked options of the run
---@return function next, nil, nil, table closing the four values of a generic for; leaving the loop stops the run
function runner.iterate(pipeline, given)
  local self = handle.new(pipeline, given)
  local at, told = 0, false
  if not handle.begin(self) then handle.outcome(self) end
  local result <const> = self.run.result
  local function next_item()
    while true do
      local items = result.items
      if at < #items then
        at = at + 1
        if self.run.meter then self.run.meter:give_way() end -- what is done with it may print
        return items[at]
      end
      for i = #items, 1, -1 do items[i] = nil end
      at = 0
      if told then return nil end
      told = self.over or not handle.advance(self) and (self.err or #items == 0)
      if told then handle.outcome(self) end -- what the last step has brought comes first
    end
  end
  return next_item, nil, nil, setmetatable({}, { __close = function()
    handle.conclude(self)
    handle.close(self)
  end })
end

return runner
