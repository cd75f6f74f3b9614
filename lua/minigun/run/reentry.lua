--- What of the coordinator runs now, and the one way back into its loop from inside of that: while a handler of one of
-- its own stages waits, or a stage emits more than its receivers have room for, the rest of the run goes on.
--
-- `enter` is called by
-- 1. transport.lua, hold_back      a stage of the coordinator emits very much in one call: workers catch up
-- 2. producers.lua, let_others     a producer's emit that cannot yield, as it was called through C: everything goes on
-- 3. failures.lua, retry_in_place  the next attempt at an item of an ordered stage is waited for: workers go on
-- 4. here, serve                   a handler waits for a time or a descriptor: all but the coordinator's own stages
--
-- Invariants
-- 1. The coordinator's own stages are not re-entered, except by 2: the stage at work may be where their items come to.
-- 2. The ledger counts as torn in 2 and 4: an error that cuts the loop in two there ends the run, whatever catches it.
--    In 1 and 3 a producer may yield in the middle, while the loop itself goes on.
-- 3. The time limit of the handler that waits raises nothing in 4, but ends the waiting.
local core = require "minigun.core"
local current = require "minigun.handlers.current"
local declared = require "minigun.base.declared"

local reentry = {}

local Reentry = {}
Reentry.__index = Reentry

--- Makes what knows what runs.
---@param process integer the coordinator's
---@param loop table
--- functions of the run's loop: `serve(written)`, `turn() -> busy`, `check_clock() -> seconds until the next time, or
--- nil`, `sleep(seconds, patient)`, see loop.lua
---@return table reentry
--- `in_handler`: one of the coordinator's own stages is being called; `guard`: of Ctrl-C, see system/signals.lua
function reentry.new(process, loop)
  return declared({ process = process, ledger = false, shared = false, threads = false, loop = loop,
    in_handler = false, guard = false }, Reentry)
end

--- Goes through parts of the loop.
---@param part "workers"|"written"|"everything"
--- events of workers are taken, work and blocks are handed out; what is written goes on before that; the whole round
---@return boolean? busy of "everything": whether there was anything to do
function Reentry:enter(part)
  local ledger, loop = self.ledger, self.loop
  if part ~= "everything" then return loop.serve(part == "written") end
  local torn = ledger:torn(true)
  local busy = loop.turn()
  ledger:torn(torn)
  return busy
end

--- Sleeps until something happens, or the seconds are over.
---@param seconds number
---@param patient boolean? a stop of this process is noticed
function Reentry:sleep(seconds, patient) self.loop.sleep(seconds, patient) end

local function left(self, in_handler, task, co, outer, ...)
  self.in_handler = in_handler
  current.restore(task, co, outer)
  return ...
end

--- Calls a function in the middle of which nothing else of the run can go on, whatever it waits for.
---@param f function
---@param ... any its arguments
---@return any what it has returned
function Reentry:forbid(f, ...)
  local in_handler = self.in_handler
  self.in_handler = false
  local task, co, outer = current.forget(self)
  return left(self, in_handler, task, co, outer, f(...))
end

--- Lets the rest of the run go on while a handler of one of the coordinator's own stages waits: workers, threads,
--- time-outs, retries. Its other stages cannot, as that handler's stage may be where their items come to. What
--- handlers/current.lua calls; it may come back early, or at once where nothing could go on.
---@param due number? until then; nil: until the descriptor is ready
---@param fd integer?
---@param mode string? "r" or "w"
function Reentry:serve(due, fd, mode)
  if not self.in_handler or not self.shared.pool or self.process ~= core.process() then return end
  local ledger, loop = self.ledger, self.loop
  local torn, task, co, outer = ledger:torn(true), current.forget(self) -- threads run as if nothing did
  local paused = core.pause_limit(true)
  self.in_handler = false
  while true do
    self:enter "written"
    local seconds = loop.check_clock() or 1
    local _, next_due = self.threads:step()
    seconds = math.min(seconds, next_due or 1)
    local rest = math.min(due and due - core.now() or 1, core.limited() or 1)
    if rest <= 0 or fd and core.wait(fd, mode, 0) ~= false then break end
    loop.sleep(math.min(seconds, rest, fd and 0.01 or 1))
  end
  current.restore(task, co, outer)
  ledger:torn(torn)
  self.in_handler = true
  core.pause_limit(paused)
end

return reentry
