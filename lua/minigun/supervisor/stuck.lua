--- Policy: which workers are stuck. Values in, decisions out.
--
-- A worker that waits for others owes nothing; any other must beat. What counts is the time in which the master itself
-- was awake and saw no new beat. So a machine that was suspended, and a master that was stopped, kill no worker, and no
-- clock of a worker is believed.
local stuck = {}

local NOTICE <const> = 1 -- seconds between the notice, which writes a traceback, and the kill

local Stuck = {}
Stuck.__index = Stuck

--- Makes the policy.
---@param timeout number|false seconds
---@return table stuck
function stuck.new(timeout) return setmetatable({ timeout = timeout, seen = {} }, Stuck) end

--- Looks at one worker.
---@param worker any
---@param beat number what its line says; only whether it has changed counts
---@param waits boolean it waits for others
---@param now number seconds of a clock that stands still while the master does
---@return "notice"|"kill"|nil decision each is given once
function Stuck:look(worker, beat, waits, now)
  local seen = self.seen[worker]
  if not seen or waits or seen.beat ~= beat then
    self.seen[worker] = { beat = beat, since = now }
    return nil
  end
  local idle = now - seen.since
  if not self.timeout or idle < self.timeout then return nil end
  if not seen.noticed then
    seen.noticed = now
    return "notice"
  elseif not seen.killed and now - seen.noticed >= NOTICE then
    seen.killed = true
    return "kill"
  end
end

--- Forgets a worker that has ended.
---@param worker any
function Stuck:forget(worker) self.seen[worker] = nil end

return stuck
