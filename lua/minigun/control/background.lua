--- Background runs: what `p:start()` returns.
--
-- A background run is moved by the program that started it: at the prompt or in a loop of its own with `step` and
-- `wait`, or by an event loop, which watches `fd()` and calls `step` when it is readable. Between the calls workers go
-- on with what they have been given; nothing else happens.
local core = require "minigun.core"
local failure = require "minigun.base.failure"
local execution = require "minigun.control.execution"
local live = require "minigun.control.live"
local methods = require "minigun.base.methods"
local snapshot = require "minigun.run.snapshot"
local watched = require "minigun.control.watched"

local SLICE <const> = 0.05 -- seconds that a run goes on between two looks of its live view

---@class minigun.Run
--- A background run, moved by `step` and `wait`.
local Run = { __name = "minigun.run", __close = execution.close, __gc = execution.forget }
Run.__index = Run
methods.suggest(Run, "a run")

local function check(self, method)
  if getmetatable(self) ~= Run then
    failure.raise(("run:%s: call it with a colon, on what p:start() has returned"):format(method))
  end
  if self.process ~= core.process() then
    failure.raise(("run:%s: the run belongs to another process, from which this one was forked"):format(method))
  end
end

local function step(self, deadline)
  watched.begin(self)
  local more = execution.go_on(self, deadline)
  watched.arm(self)
  if not more and self.interrupted then execution.outcome(self) end
  return not self.over
end

--- Moves what can be moved, and goes on with that for so many seconds. Takes items from producers, hands them to
--- workers and takes what these have done. `run:step()` does that once and does not wait: a few milliseconds, or as
--- long as one call of a handler in this process takes. With seconds it waits where there is nothing to do, and comes
--- back early only at the end of the run.
---@param seconds number? 0 by default
---@return boolean more false: the run is over; `wait` then gives the result, or raises its error
function Run:step(seconds)
  check(self, "step")
  if seconds ~= nil then failure.check_seconds(seconds, "run:step") end
  if self.over then return false end
  return step(self, core.now() + (seconds or 0))
end

--- Lets the run go on to its end. Raises what `p:run` would raise; may be called again.
---@param timeout number? seconds; nil: no limit
---@return minigun.Result? result nil when the time is over before the run
---@return "timeout"? message
function Run:wait(timeout)
  check(self, "wait")
  if timeout ~= nil then failure.check_seconds(timeout, "run:wait") end
  if not self.over and step(self, timeout and core.now() + timeout) then return nil, "timeout" end
  execution.close(self) -- and with it the descriptor
  return execution.outcome(self)
end

local function state_of(self)
  if self.over then return self.run.outcome.result.ok and "done" or "failed" end
  return self.run.status:state_name()
end

--- All that is known of the run, in numbers; only looks.
---@return minigun.Status status
function Run:status()
  check(self, "status")
  return self.over and snapshot.of(self.run.outcome.result, state_of(self)) or self.run.status:snapshot()
end

--- Opens the live view on the run, and lets the run go on while it is open. `q` closes the view only; it may be opened
--- again. At the end it stays until it is closed. Where there is no terminal that can show it, the run goes to its end
--- with a line each second.
---@return minigun.Run self
function Run:hud()
  check(self, "hud")
  local status = function() return self:status() end
  local view <close> = self.over and live.open(live.port(status)) or live.of_run(self.run, status)
  local more = not self.over
  while more and not view:is_closed() do
    more = step(self, core.now() + (view:look(SLICE) or 0))
  end
  if not more then view:finish(self.run.outcome.result:summary(), true) end
  return self
end

--- The status as one line for the prompt.
---@return string
function Run:__tostring()
  local r, result = self.run, self.run.outcome.result
  if self.over then return tostring(result) end
  local failed = result.failed
  return ("%s '%s': %s, %s%s, %.3f s"):format(state_of(self), r.plan.name, failure.count(#result.items, "item"),
    failed > 0 and failed .. " failed, " or "", failure.count(r.status:workers(), "worker"), core.now() - r.started)
end

--- A descriptor for an event loop: readable when `step` has something to do. Workers, retries, batches that fall due,
--- time-outs and producers that are ready to emit all make it readable; no other timer is needed. Call `step` whenever
--- it is. When `step` has returned false, stop watching it, and then call `wait` or `close`, which close it. It is the
--- run's own (an epoll descriptor): watch it, do nothing else with it.
---@return integer? fd always the same; nil when the run is over
---@return string? message
---@return integer? errno
function Run:fd()
  check(self, "fd")
  return watched.fd(self)
end

--- Ends the producers; what they have emitted is processed, and then the run ends in good order. Takes effect with the
--- next step. `result.stopped` is then true, and that is no error. A producer in a child process ends at its next emit,
--- and is killed when there is none within a second. Work that feeds itself through `emit:to` is inside: it goes on as
--- long as it emits.
---@return minigun.Run self
function Run:stop()
  check(self, "stop")
  if not self.over then
    self.run.state.stop_asked = true
    if not self.driving then watched.arm(self) end
  end
  return self
end

--- Ends the run at once: workers are killed, and what was inside is lost. `result.stats.warnings` says how many items
--- were inside which stage, `result.ok` is false and `result.killed` true. The hook after_run runs. Called from a hook
--- or handler of the run itself it takes effect when that has returned.
---@return minigun.Result? result nil: when it takes effect later
function Run:kill()
  check(self, "kill")
  return execution.kill(self)
end

--- Kills the run if it is not over; nothing of it is left. The same happens at the end of a to-be-closed variable, and
--- when a forgotten run is collected (then without the hook after_run).
function Run:close()
  execution.close(self)
end

-- Begins a run; what `p:start` calls.
local function start(pipeline, given)
  local self = execution.new(pipeline, given, { patient = true }, Run)
  if not execution.begin(self) then execution.outcome(self) end
  return self
end

return { start = start }
