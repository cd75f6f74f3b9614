--- Halt: whether a run ends because too many items have failed. Numbers in, a decision out.
local halt = {}

local ENOUGH <const> = 100 -- finished items before which a share means nothing

--- What follows from a failure.
---@param options table?
--- `failures`: how many are borne, or `{ share = }` of the finished items; `when`: "now", "soon"
---@param failed integer items that have failed for good
---@param finished integer of the sources' items, well or not
---@return "now"|"soon"|nil
function halt.after(options, failed, finished)
  if not options then return nil end
  local most = options.failures
  if type(most) == "table" then
    if finished < ENOUGH then return nil end
    most = finished * most.share
  end
  return failed > most and options.when or nil
end

return halt
