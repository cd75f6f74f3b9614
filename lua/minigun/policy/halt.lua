--- Halt: whether a run ends because too many items have failed. Numbers in, a decision out.
local halt = {}

local ENOUGH <const> = 100 -- items that have come, before which a share means nothing

--- What follows from a failure.
---@param options table? `failures`: how many are borne; or `share`, of the items that have come; `when`: "now", "soon"
---@param failed integer items that have failed for good
---@param came integer items that the sources have emitted
---@return "now"|"soon"|nil
function halt.after(options, failed, came)
  if not options then return nil end
  local most = options.failures
  if options.share then
    if came < ENOUGH then return nil end
    most = came * options.share
  end
  return failed > most and options.when or nil
end

return halt
