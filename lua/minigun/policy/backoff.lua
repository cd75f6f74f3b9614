--- Backoff: whether a failed item is tried again, and how long it waits before that. Numbers in, numbers out; chance
-- comes as an argument.
local backoff = {}

--- Seconds to wait after a failed attempt.
---@param given number|table seconds, or a filled table of the schema `backoff`
---@param attempt integer the one that has failed, 1 for the first
---@param chance number from 0 to 1
---@return number seconds
function backoff.delay(given, attempt, chance)
  if type(given) == "number" then return given end
  local seconds = math.min(given.first * given.factor ^ (attempt - 1), given.max)
  return seconds * (1 - given.jitter * chance)
end

--- Whether there is a further attempt.
---@param attempt integer the one that has failed; 0: the end of a loop's input, which is not an item
---@param retries integer further attempts that the stage allows
---@param partial boolean? some of its output has gone on already
---@return boolean
function backoff.allows(attempt, retries, partial)
  return attempt > 0 and attempt <= retries and not partial
end

return backoff
