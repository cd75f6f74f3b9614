--- SIGTERM during a run, and under the command line the first Ctrl-C: a request to end in good order.
--
-- The coordinator stops its producers, finishes what is inside, runs after_run, and then the process ends by the
-- signal, as one that does not handle it would. Workers leave the deciding to it. A second signal, or the end of the
-- run's `grace`, ends it at once (src/lua/lua_terminate.c, which also says when no handler of ours is there at all).
--
-- A run inside another one (a handler's, a hook's, that of a loop over `iterate`) belongs to what is inside: it goes on
-- to its end. Background runs are all stopped.
local core = require "minigun.core"
local terminal_line = require "minigun.base.terminal_line"

local terminate = {}

local process, open, depth = nil, 0, 0 -- of this process: open runs, and calls that move one

--- From now on the first Ctrl-C is such a request, too; a second one ends at once (src/lua/lua_signal.c).
function terminate.heed_interrupts()
  local erase = core.terminal(2) and os.getenv "TERM" ~= "dumb" and terminal_line.ERASE or ""
  core.interrupt_asks(erase .. "minigun: Ctrl-C: finishing what has begun; a second Ctrl-C ends it at once\n")
end

--- A run is open from now on.
---@param grace number? seconds that it has for its end
---@param patient boolean? it is moved in between other things that the program does
---@return boolean heeds the signal asks this run to stop
function terminate.open(grace, patient)
  if process ~= core.process() then process, open, depth = core.process(), 0, 0 end
  local heeds = depth == 0 and (patient or open == 0)
  open = open + 1
  core.term_open(grace, open == 1 and core.interrupt_hold(true))
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

--- The signal that has asked for the end, or nil.
---@return integer? signal
function terminate.asked() return core.terminated() end

--- Whether the process is to die when the run is over.
---@return boolean
function terminate.dies() return open == 1 and terminate.asked() ~= nil end

--- A run that was opened is over. Dies of the signal if it was the last and the signal has come; what the run would
--- have raised is printed first.
---@param text string? what it would have raised
---@param result table? of the run
---@param interrupted boolean? a second Ctrl-C has ended it: the caller raises that
function terminate.close(text, result, interrupted)
  open = open - 1
  local signal = core.term_close(interrupted)
  if open == 0 and not signal then core.interrupt_hold(false) end
  if not signal then return end
  if result and result.killed then
    text = "the run was ended before everything was finished: " .. table.concat(result.stats.warnings, "; ")
  end
  if text then io.stderr:write("minigun: ", text, "\n") end
  core.die_of(signal)
end

return terminate
