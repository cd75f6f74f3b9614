--- The state of a run: exactly one at a time (the drawing is at the head of run.lua), and what has been asked of it.
local core = require "minigun.core"
local declared = require "minigun.base.declared"
local fatal = require "minigun.base.fatal"

local state = {}

-- From a state to those that may follow it.
local FOLLOWS <const> = {
  NEW = { RUNNING = true, ABORTED = true },
  RUNNING = { STOPPING = true, DRAINED = true, ABORTED = true },
  STOPPING = { DRAINED = true, ABORTED = true },
  DRAINED = { FINISHING = true, ABORTED = true },
  FINISHING = { OVER = true, ABORTED = true },
  ABORTED = { OVER = true },
  OVER = {},
}

local State = {}
State.__index = State

--- Makes the state of a run that has not begun.
---@param grace number? seconds that it has to end after SIGTERM
---@return table state
--- `name`; `aborted`: it ends, or has ended, before everything was done; `failed`: the error that has done that, or
--- false; `killed`, `stop_asked`: the user has asked for it; `heeds_term`: SIGTERM asks for it; `end_by`: when the run
--- is killed, by the clock that does not count stops, or false; `late`: what to say then, or false; `passed`: by each
--- state, whether it has been in that: with all keys, so that to go on to another state takes no memory
function state.new(grace)
  local passed = {}
  for name in pairs(FOLLOWS) do passed[name] = false end
  return declared({ grace = grace or false, ledger = false, name = "NEW", aborted = false, failed = false,
    killed = false, stop_asked = false, heeds_term = false, end_by = false, late = false, passed = passed }, State)
end

--- Goes on to another state.
---@param name string
function State:become(name)
  if not FOLLOWS[self.name][name] then error(("a run that is %s cannot become %s"):format(self.name, name), 2) end
  self.passed[self.name], self.name = true, name
end

--- Raises unless the run is in one of some states: what follows counts on that.
---@param ... string
function State:must_be(...)
  for i = 1, select("#", ...) do
    if self.name == select(i, ...) then return end
  end
  error(("the run is %s; expected: %s"):format(self.name, table.concat({ ... }, ", ")), 2)
end

--- Whether producers are still to be told to end.
---@return boolean
function State:must_stop() return self.stop_asked and self.name == "RUNNING" end

--- Whether all that came in was finished: the run was told to end after that, or is over.
---@return boolean
function State:is_finished() return self.passed.DRAINED == true end

--- SIGTERM has come: the run is to stop, within its grace.
function State:ask_to_stop()
  local by = self.grace and core.clock() + self.grace
  self.heeds_term, self.stop_asked = false, true
  if by and not (self.end_by and self.end_by < by) then self.end_by, self.late = by, false end
end

--- Ends the run with its next round: it does nothing more.
function State:abort()
  if self.aborted or self.name == "OVER" then return end
  self:become "ABORTED"
  self.aborted = true
  if self.ledger then self.ledger:changed(true) end -- rounds that the core goes through end
end

--- Its time is over: ends it, with an error where that was a deadline.
function State:time_is_over()
  self.killed = true
  if self.late then self:fail(self.late) end
  self:abort()
end

--- Ends the run because the user asks for it.
function State:kill()
  self.killed = true
  self:abort()
end

--- Ends the run with an error; also where a user's function that has led here catches it, as each round looks first.
---@param text string
function State:fail(text)
  self.failed = self.failed or fatal.new(text)
  self:abort()
  error(self.failed, 0)
end

--- The run is over, however it has ended.
function State:close()
  if self.name == "OVER" then return end
  if self.name ~= "FINISHING" then self:abort() end
  self:become "OVER"
end

return state
