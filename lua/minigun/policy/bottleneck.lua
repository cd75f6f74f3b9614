--- The bottleneck: which stage keeps a run from being faster. Values in, a value out.
local bottleneck = {}

-- The share of its time that a stage must spend in its handler: one that waits more than it works, for items or for
-- the stages after it, holds nothing up.
local LEAST <const> = 0.5

--- The stage that neither waits for items nor for room: the one whose workers spend the largest share of their time in
--- its handler. Never a source, which is as slow as what it reads, and never a batch, which waits to be full.
---@param rows table[] of stages: `name`, `source`, `gathers`, `busy_share` from 0 to 1
---@return string? name nil: none works half of the time, so what is slow is the source, or another part of the machine
---@return number? share
function bottleneck.of(rows)
  local name, share = nil, LEAST
  for _, row in ipairs(rows) do
    if not row.source and not row.gathers and row.busy_share >= share then
      if row.busy_share > share or not name then name, share = row.name, row.busy_share end
    end
  end
  return name, name and share
end

return bottleneck
