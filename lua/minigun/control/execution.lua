--- The handle of a run: begins it, lets it go on, and sees to its end, for `run`, `iterate` and `start` alike.
local core = require "minigun.core"
local errors = require "minigun.base.traceback"
local fatal = require "minigun.base.fatal"
local failure = require "minigun.base.failure"
local tasks = require "minigun.handlers.tasks"
local run = require "minigun.run.run"
local silence = require "minigun.run.silence"
local signals = require "minigun.system.signals"
local stack = require "minigun.base.stack"
local terminate = require "minigun.system.terminate"

local handle = {}

--- For the command: the result of the last run of this process that is over; and whether it has collected failures that
--- neither a hook nor a dead letter has taken.
handle.last, handle.last_unhandled = nil, false

local Handle = {}

--- Makes the handle of a run that has not begun.
---@param pipeline table
---@param given table? checked options of the run
---@param patient boolean? true: no step may take long, so that the program can do other things in between
---@param class table? metatable of the handle, with handle.close as `__close` and handle.forget as `__gc`
---@return table handle
function handle.new(pipeline, given, patient, class)
  local r = run.new(pipeline, given)
  r.patient, r.guard = patient, not patient and core.guard() or nil
  local self = setmetatable({ run = r, process = core.process(), over = false }, class or Handle)
  terminate.open(self)
  self.lock = setmetatable({}, { __close = function() self.driving = false end }) -- also when Ctrl-C ends it
  return self
end

local function add_stats(self)
  for id, s in pairs(self.chain and self.chain.stats or {}) do
    local stage = self.plan.stages[id]
    -- What came from workers was counted when it was accepted.
    if stage.kind ~= "producer" then self:add_inline(stage, self.stats[id], s) end
  end
  self.counted = true
  for _, segment in ipairs(self.segments) do
    for _, id in ipairs(segment.plan.stages) do
      local s = self.stats[id]
      local workers = segment.plan.n * math.max(1, segment.plan.width)
      s.waiting_in = math.max(0, workers * self.result.elapsed - s.busy - s.waiting_out)
    end
  end
end

-- Runs the hooks after_run. Returns what there is to say of those that raise: array of texts.
local function after_run(self)
  local r, texts = self.run, {}
  local result = r.result
  for _, hook in ipairs(r.plan.hooks.after_run) do
    local ok, caught = errors.call(hook.f, result)
    if core.interrupted() and not self.interrupted then
      self.interrupted, result.ok, result.error = true, false, "interrupted!"
    elseif not ok then
      local text = r.hook_text(hook.name, hook.at, caught)
      texts[#texts + 1] = text
      result.ok, result.error = false, result.error and result.error .. "\n" .. text or text
    end
  end
  return texts
end

--- Ends the run: closes it, fills in the result and runs after_run. What there is to raise is kept for `outcome`.
---@param self table handle
---@param err any the error that ended it, if one did
function handle.conclude(self, err)
  if self.over then return end
  self.over = true
  local r = self.run
  local result = r.result
  if r.killed then r:note_inside() end
  self.interrupted = core.interrupted() ~= nil -- it has ended the run, whatever the error is
  r:close(self.watched) -- by an event loop: `watched` keeps the descriptor
  result.elapsed = core.now() - r.started
  add_stats(r)
  if self.interrupted then err = "interrupted!" end
  local looked, problem = errors.call(silence.look, r, not err and not r.killed)
  if not looked then err = problem.raised end -- of a hook
  if fatal.is(err) then err = err.text end
  result.error = err and errors.text(err)
  result.stopped, result.killed = r.stop_asked, r.killed
  result.ok = not err and not r.killed and result.failed == 0
  r.pipeline.last, handle.last = result, result
  if r.resume then r.resume:count(r.finishing or false) end
  self.err, self.after = err, after_run(self)
  if r.guard then
    if core.interrupted() then signals.settle() end
    r.guard:close()
  end
  handle.last_unhandled = not err and r.unhandled.n > 0 and r.plan.options.failures == "collect"
  if not r.streams then handle.close_journal(self) end
end

-- What there is to say of failures that nobody handles; nil: nothing.
local function unhandled(r)
  if r.unhandled.n > 0 and r.plan.options.failures ~= "collect" then return r.unhandled:summary() end
end

-- What the run of a handle has to say to its caller; nil: nothing.
local function told(self)
  local err = self.err or unhandled(self.run)
  if err == nil and #self.after == 0 then return nil end
  return table.concat(err and { errors.text(err), table.unpack(self.after) } or self.after, "\n")
end

--- Closes the run's journal, when its result goes to the caller, or does not.
---@param self table handle
function handle.close_journal(self)
  local r = self.run
  local delivered = not r.killed and not told(self)
  r:close_journal(delivered and (r.streams or not terminate.dies()))
  terminate.close(self, told(self))
end

--- Returns the result of a run that is over, or raises what it has to say to its caller.
---@param self table handle
---@return table result
function handle.outcome(self)
  if self.interrupted then return signals.interrupted() end
  local text = told(self)
  if not text then return self.run.result end
  error(stack.final(text), 0)
end

local debug_traceback <const> = debug.traceback

-- An error that is no user's function's: of the library's own, or of what the program does to it.
local function traceback(err)
  if type(err) == "string" and not core.interrupted() then return debug_traceback(err, 2) end
  return err
end

-- Calls f, a part of the run's work; concludes the run when that was the last, or when it raises.
local function drive(self, f, ...)
  local r <const> = self.run
  if self.driving then failure.raise "the run is being stepped already (by a caller of this function)" end
  local _ <close> = self.lock
  local _ <close> = terminate.drive()
  self.driving = true
  local task, co, outer = tasks.forget(r) -- in a thread of another run: the stages of this one must not make it wait
  local guard <close> = r.patient and core.guard() or nil -- of Ctrl-C, see system/signals.lua
  r.guard = guard or r.guard
  local ok, more = xpcall(f, traceback, ...)
  if core.process() ~= self.process then
    error("the run belongs to another process: this one was forked in a handler or hook, and came back out of it", 0)
  end
  tasks.restore(task, co, outer)
  self.driving = false
  if ok and core.interrupted() then ok, more = false, nil end
  if not ok then handle.conclude(self, more) elseif not more then handle.conclude(self) end
  return not self.over
end

local function begin(r)
  r:begin()
  return true
end

--- Begins the run.
---@param self table handle
---@return boolean more false: it has failed at once
function handle.begin(self)
  return drive(self, begin, self.run)
end

--- One round of the run; sleeps when there is nothing to do.
---@param self table handle
---@return boolean more
function handle.advance(self)
  return drive(self, self.run.step, self.run)
end

local function go_on(self, deadline)
  local r = self.run
  repeat
    if not r:step(deadline and math.max(0, deadline - core.now())) then return false end
  until deadline and core.now() >= deadline
  return true
end

--- Lets the run go on until it is over or the time has come.
---@param self table handle
---@param deadline number? of the monotonic clock, in seconds; nil: to its end
---@return boolean more
function handle.go_on(self, deadline)
  return drive(self, go_on, self, deadline)
end

--- Ends the run at once, as killed.
---@param self table handle
---@return table? result nil: it is being stepped, and ends when that is over
function handle.kill(self)
  if not self.over then
    self.run.killed, self.run.stopping = true, true
    if self.driving then return nil end
    handle.conclude(self)
  end
  return self.run.result
end

--- Gives everything back; a run that is not over is killed. May be called twice.
---@param self table handle
function handle.close(self)
  if self.process ~= core.process() then return end
  if not self.over then handle.kill(self) end
  if self.driving then return end
  self.run:close()
  self.run:close_journal(false) -- unless that has been done
  if self.watched then self.watched:close() end
end

--- The same for a handle that is collected: it may be any moment of the program, so no hook runs.
---@param self table handle
function handle.forget(self)
  if self.process ~= core.process() or self.driving then return end
  terminate.close(self)
  self.over = true
  local ended, problem = pcall(self.run.close, self.run)
  local closed, other = pcall(self.run.close_journal, self.run, false)
  if self.watched then self.watched:close() end
  if not (ended and closed) then error(ended and other or problem, 0) end -- Lua makes a warning of it
end

Handle.__close, Handle.__gc = handle.close, handle.forget

return handle
