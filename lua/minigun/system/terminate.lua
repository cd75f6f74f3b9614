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
---@param grace number? seconds that it has for its end
---@param patient boolean? it is moved in between other things that the program does
---@return boolean heeds the signal asks this run to stop
function terminate.open(grace, patient)
  if process ~= core.process() then process, open, depth = core.process(), 0, 0 end
  local heeds = depth == 0 and (patient or open == 0)
  open = open + 1
  core.term_open(grace)
  return heeds
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

--- Whether the process is to die when the run is over.
---@return boolean
function terminate.dies() return open == 1 and core.terminated() end

--- A run that was opened is over. Dies of the signal if it was the last and the signal has come; what the run would
--- have raised is printed first.
---@param text string? what it would have raised
---@param result table? of the run
function terminate.close(text, result)
  open = open - 1
  if not core.term_close() then return end
  if result and result.killed then
    text = "the run did not end within its grace: " .. table.concat(result.stats.warnings, "; ")
  end
  if text then io.stderr:write("minigun: ", text, "\n") end
  core.die_of(SIGTERM)
end

return terminate
