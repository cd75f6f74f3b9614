--- The runner: runs pipelines to their end, or streams what comes out of them.
local handle = require "minigun.control.execution"

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
  local self = handle.new(pipeline, given, { streams = true }) -- an item is delivered when the next is asked for
  local ready, at, n, told = {}, 0, 0, false -- ready[at + 1] to ready[n] are to be handed out
  if not handle.begin(self) then
    handle.close_journal(self)
    handle.outcome(self)
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
        ready[at], handed_out = nil, true -- whoever has it may drop it
        return item
      end
      local items = result.items
      ready, at, n = table.move(items, 1, #items, 1, {}), 0, #items
      for i = n, 1, -1 do items[i] = nil end
      if n == 0 then
        if told then return nil end
        told = self.over or not handle.advance(self) and (self.err or #items == 0)
        if told then -- what the last step has brought comes first
          handle.close_journal(self)
          handle.outcome(self)
        end
      end
    end
  end
  return next_item, nil, nil, setmetatable({}, { __close = function(_, err)
    if err == nil and not told then handed() end -- what the body has left by `break`
    handle.conclude(self)
    handle.close_journal(self)
    handle.close(self)
  end })
end

return runner
