--- Execution: begins a run, lets it go on, and sees to its end, for `run`, `iterate` and `start` alike.
local core = require "minigun.core"
local current = require "minigun.handlers.current"
local errors = require "minigun.base.traceback"
local fatal = require "minigun.base.fatal"
local failure = require "minigun.base.failure"
local hooks = require "minigun.run.hooks"
local log = require "minigun.system.log"
local run = require "minigun.run.run"
local silence = require "minigun.run.silence"
local signals = require "minigun.system.signals"
local stack = require "minigun.base.stack"
local terminal_line = require "minigun.base.terminal_line"
local terminate = require "minigun.system.terminate"
local watchers = require "minigun.control.watchers"

local execution = {}

local PLAIN_EVERY <const> = 5 -- seconds between two lines of a plain progress

--- For the command: the result of the last run of this process that is over; and whether it has collected failures that
--- neither a hook nor a dead letter has taken.
execution.last, execution.last_unhandled = nil, false

local Execution = {}

-- Tells the log of a run, at the level debug: text, and further values.
local function tell(r, text, fields)
  log.write { level = "debug", text = text, pipeline = r.plan.name, pid = core.pid(), fields = fields }
end

local function tell_begin(r)
  tell(r, "begins", { run = r.outcome.result.id, stages = r.outcome.result.stats.order })
end

-- A line for each stage, and one for the run.
local function tell_end(r)
  local result = r.outcome.result
  for _, name in ipairs(result.stats.order) do
    local s = result.stats.stages[name]
    tell(r, ("stage '%s': %d in, %d out, %d failed, %d retried, busy %.3f s"):format(name, s.items_in, s.items_out,
      s.failed, s.retried, s.busy))
  end
  tell(r, tostring(result):match "[^\n]*", { run = result.id, ok = result.ok, elapsed = result.elapsed,
    failed = result.failed, items = #result.items })
end

-- Whether a view is wanted, by the run's options or by the environment: true, "leave" or false.
local function wants_view(options)
  if not terminal_line.is_free() then return false end
  local said = options.hud
  if said == nil then
    local value = os.getenv "MINIGUN_HUD"
    said = value == "leave" and "leave" or value == "1"
  end
  return said
end

-- What is seen of a run at the terminal: the live view, a progress line, or nothing. `view`: the execution's.
local function open_view(view, of, r)
  view.hud = wants_view(r.plan.options)
  local is_plain = not view.hud and r.plan.options.progress == "plain" and terminal_line.is_free()
  if view.hud or is_plain then
    view.live = require("minigun.control.live").of_run(r, nil, is_plain and PLAIN_EVERY or nil)
    if view.live.full then view.live.port.owns = true end
    return view.live
  end
  return core.terminal(2)
    and require("minigun.view.progress_line").open(of, { terminal = core.terminal, now = core.now })
end

-- A pipeline, and those that are nested in it, know their executions: inside of these they cannot be changed.
local function note(self, pipeline)
  pipeline.runs = pipeline.runs or setmetatable({}, { __mode = "k" })
  pipeline.runs[self] = true
  for _, definition in ipairs(pipeline.stages) do
    if definition.inner then note(self, definition.inner) end
  end
end

--- Makes the execution of a run, which has not begun.
---@param pipeline table
---@param given table? checked options of the run
---@param how table?
--- `patient`, `streams`, `standing`: see run.new; `careless`: SIGTERM does to the process what it does without a run
---@param class table? metatable of the execution, with execution.close as `__close` and execution.forget as `__gc`
---@return table execution
function execution.new(pipeline, given, how, class)
  local patient = how and how.patient or false
  watchers.check(pipeline.options, given)
  local seen, view = false, { live = false, hud = false } -- what looks at the run's figures; what is seen of it
  local r = run.new(pipeline, given, { patient = patient, streams = how and how.streams,
    open_page = function(...)
      seen = watchers.open(...)
      return seen
    end,
    standing = how and how.standing,
    open_line = not patient and function(...) return open_view(view, ...) end or nil })
  if not patient then r.reentry.guard = core.guard() end
  local self = setmetatable({ run = r, process = core.process(), patient = patient, over = false, view = view,
    finish_watchers = function(result)
      if seen then seen:finish(result:summary()) end
    end }, class or Execution)
  note(self, pipeline)
  self.terminable = not (how and how.careless) -- until it is over
  if self.terminable then r.state.heeds_term = terminate.open(r.plan.options.grace, patient) end
  self.lock = setmetatable({}, { __close = function() self.driving = false end }) -- also when Ctrl-C ends it
  return self
end

-- The run is over; where a signal asks for that (system/terminate.lua), so is the process. `text`: what the run would
-- have raised.
local function end_terminable(self, text)
  if not self.terminable or self.process ~= core.process() then return end
  self.terminable = false
  terminate.close(text, self.run.outcome.result, self.interrupted)
end

-- Runs the hooks after_run. Returns what there is to say of those that raise: array of texts.
local function after_run(self)
  local r, texts = self.run, {}
  local result = r.outcome.result
  for _, hook in ipairs(r.plan.hooks.after_run) do
    local ok, caught = errors.call(hook.f, result)
    if core.interrupted() and not self.interrupted then
      self.interrupted, result.ok, result.error = true, false, "interrupted!"
    elseif not ok then
      local text = hooks.text(hook.name, hook.at, caught)
      texts[#texts + 1] = text
      result.ok, result.error = false, result.error and result.error .. "\n" .. text or text
    end
  end
  return texts
end

-- Closes the run and completes its numbers. Returns the error that has ended it, if one did.
local function close_run(self, err)
  local r, own = self.run, self.run.state
  if own.killed then r.status:note_inside() end
  if self.view.live then self.view.live.waits = true end
  self.interrupted = core.interrupted() ~= nil -- it has ended the run, whatever the error is
  local ended_early = own.aborted or own.passed.STOPPING or own.name == "STOPPING"
  if err then own:abort() end
  r:close(self.watched) -- by an event loop: `watched` keeps the descriptor
  r.outcome.result.elapsed = core.now() - r.started
  r.status:complete()
  if self.interrupted then err = "interrupted!" end
  local looked, problem = errors.call(silence.look, r.plan.stages, r.outcome, r.failures, not err and not own.killed,
    ended_early)
  if not looked then err = problem.raised end -- of a hook
  if fatal.is(err) then err = err.text end
  return err
end

--- Ends the run: closes it, fills in the result and runs after_run. What there is to raise is kept for `outcome`.
---@param self table execution
---@param err any the error that ended it, if one did
function execution.conclude(self, err)
  if self.over then return end
  self.over = true
  local r = self.run
  local own, result, guard = r.state, r.outcome.result, r.reentry.guard
  err = close_run(self, err)
  result.error = err and errors.text(err)
  result.stopped, result.killed = own.stop_asked or nil, own.killed or nil
  result.ok = not err and not own.killed and result.failed == 0
  r.pipeline.last, execution.last = result, result
  if r.resume then r.resume:count(own:is_finished()) end
  if log.wants "debug" then tell_end(r) end
  self.err, self.after = err, {} -- one of these hooks may ask for them
  self.after = after_run(self)
  self.finish_watchers(result)
  if self.view.live then
    self.view.live:finish(result:summary(), not err and self.view.hud ~= "leave" and not own.killed)
  end
  if guard then
    if core.interrupted() then signals.settle() end
    guard:close()
  end
  execution.last_unhandled = not err and r.outcome.unhandled.n > 0 and r.plan.options.failures == "collect"
  if not r.outcome.streams then execution.close_journal(self) end
end

-- What there is to say of failures that nothing handles; nil: nothing.
local function unhandled(r)
  if r.outcome.unhandled.n > 0 and r.plan.options.failures ~= "collect" then return r.outcome.unhandled:summary() end
end

-- What an execution has to say to its caller; nil: nothing.
local function verdict(self)
  local err = self.err or unhandled(self.run)
  if err == nil and #self.after == 0 then return nil end
  return table.concat(err and { errors.text(err), table.unpack(self.after) } or self.after, "\n")
end

--- Closes the run's journal, when its result goes to the caller, or does not.
---@param self table execution
function execution.close_journal(self)
  local r, text = self.run, verdict(self)
  local delivered = not r.state.killed and not text
  r:close_journal(delivered and (r.outcome.streams or not terminate.dies()))
  end_terminable(self, text)
end

--- Returns the result of a run that is over, or raises what it has to say to its caller.
---@param self table execution
---@return table result
function execution.outcome(self)
  if self.interrupted then return signals.interrupted() end
  local text = verdict(self)
  if not text then return self.run.outcome.result end
  error(stack.final(text), 0)
end

local debug_traceback <const> = debug.traceback

-- An error that comes from no function of the user's: the library's own, or of what the program does to it.
local function traceback(err)
  if type(err) == "string" and not core.interrupted() then return debug_traceback(err, 2) end
  return err
end

--- Calls f, a part of the run's work; concludes the run when that was the last, or when it raises.
---@param self table execution
---@param f function -> whether there is more to do
---@param ... any its arguments
---@return boolean more
function execution.drive(self, f, ...)
  local r <const> = self.run
  if self.driving then failure.raise "the run is being stepped already (by a caller of this function)" end
  local _ <close> = self.lock
  local _ <close> = terminate.drive()
  self.driving = true
  -- In a thread of another run: the stages of this one must not make it wait.
  local task, co, outer = current.forget(r.reentry)
  local guard <close> = self.patient and core.guard() or nil -- of Ctrl-C, see system/signals.lua
  if guard then r.reentry.guard = guard end
  local ok, more = xpcall(f, traceback, ...)
  if core.process() ~= self.process then
    error("the run belongs to another process: this one was forked in a handler or hook, and came back out of it", 0)
  end
  current.restore(task, co, outer)
  self.driving = false
  if ok and core.interrupted() then ok, more = false, nil end
  if not ok then execution.conclude(self, more) elseif not more then execution.conclude(self) end
  return not self.over
end

local drive <const> = execution.drive

local function begin(r)
  if log.wants "debug" then tell_begin(r) end
  r:begin()
  return true
end

--- Begins the run.
---@param self table execution
---@return boolean more false: it has failed at once
function execution.begin(self)
  return drive(self, begin, self.run)
end

--- One round of the run; sleeps when there is nothing to do.
---@param self table execution
---@return boolean more
function execution.advance(self)
  return drive(self, self.run.loop.step, self.run.loop)
end

local function go_on(self, deadline)
  local r = self.run
  repeat
    if not r.loop:step(deadline and math.max(0, deadline - core.now())) then return false end
  until deadline and core.now() >= deadline
  return true
end

--- Lets the run go on until it is over or the deadline has come.
---@param self table execution
---@param deadline number? of the monotonic clock, in seconds; nil: to its end
---@return boolean more
function execution.go_on(self, deadline)
  return drive(self, go_on, self, deadline)
end

--- Ends the run at once, as killed.
---@param self table execution
---@return table? result nil: it is being stepped, and ends when that is over
function execution.kill(self)
  if not self.over then
    self.run.state:kill()
    if self.driving then return nil end
    execution.conclude(self)
  end
  return self.run.outcome.result
end

--- Gives everything back; a run that is not over is killed. May be called twice.
---@param self table execution
function execution.close(self)
  if self.process ~= core.process() then return end
  if not self.over then execution.kill(self) end
  if self.driving then return end
  self.run:close()
  self.run:close_journal(false) -- unless that has been done
  if self.watched then self.watched:close() end
  if self.view.live then self.view.live:leave() end -- the same
end

--- The same for an execution that is collected. That may be at any moment of the program, so no hook runs.
---@param self table execution
function execution.forget(self)
  if self.process ~= core.process() or self.driving then return end
  end_terminable(self)
  self.over = true
  local ended, problem = pcall(self.run.close, self.run)
  local closed, other = pcall(self.run.close_journal, self.run, false)
  if self.watched then self.watched:close() end
  if not (ended and closed) then error(ended and other or problem, 0) end -- Lua makes a warning of it
end

Execution.__close, Execution.__gc = execution.close, execution.forget

return execution
