--- SIGTERM during a run: a request to end in good order.
--
-- The coordinator stops its producers, finishes what is inside, runs after_run, and then the process ends by the
-- signal, as one that does not handle it would. Workers leave the deciding to it. A second signal, or the end of the
-- run's `grace`, ends it at once (src/lua/lua_terminate.c, which also says when no handler of ours is there at all).
--
-- A run inside another one (a handler's, a hook's, that of a loop over `iterate`) belongs to what is inside: it goes on
-- to its end. Background runs are all stopped.
local core = require "minigun.core"

local terminate = {}

local SIGTERM <const> = 15

local process, open, depth = nil, 0, 0 -- of this process: open runs, and calls that move one

--- A run is open from now on.
---@param self table its handle
function terminate.open(self)
  if process ~= core.process() then process, open, depth = core.process(), 0, 0 end
  local r = self.run
  r.stops = depth == 0 and (r.patient or open == 0)
  open = open + 1
  core.term_open(r.plan.options.grace)
  self.terminable = true
end

--- The run is moved from now on, until the returned value is closed.
---@return table closing
function terminate.drive()
  depth = depth + 1
  core.term_driving(true)
  return terminate.driven
end

terminate.driven = setmetatable({}, { __close = function()
  depth = depth - 1
  core.term_driving(depth > 0)
end })

--- SIGTERM has come: the run is to stop.
---@param r table the run
function terminate.ask(r)
  local grace = r.plan.options.grace
  r.stops, r.stop_asked, r.end_by = false, true, grace and core.clock() + grace
end

--- Whether the process dies when the run is over.
---@return boolean
function terminate.dies() return open == 1 and core.terminated() end

--- The run is over. Dies of the signal if it was the last and the signal has come; what the run would have raised is
--- told first.
---@param self table handle
---@param text string? what it would have raised
function terminate.close(self, text)
  if not self.terminable or self.process ~= core.process() then return end
  self.terminable = nil
  open = open - 1
  if not core.term_close() then return end
  local r = self.run
  if r.killed then text = "the run did not end within its grace: " .. table.concat(r.result.stats.warnings, "; ") end
  if text then io.stderr:write("minigun: ", text, "\n") end
  core.die_of(SIGTERM)
end

return terminate
