--- How far a run and its stages are, by their items: numbers in, numbers out.
local progress = {}

--- How many items a stage has finished; of a source, how many it has emitted.
---@param row table `source`, `items_in`, `items_out`, `pending`
---@return integer
function progress.done(row)
  return row.source and row.items_out or math.max(0, row.items_in - row.pending)
end

--- The part of its work that a run has done: of the sources' items, as far as each stage has got with what it has
--- received.
---@param stages table[] array in topological order of `{ name =, kind = "producer" or another }`
---@param rows table<string, table> by name: `items_in`, `items_out`, `pending`
---@param length integer items of all sources together
---@return number from 0 to 1
function progress.part(stages, rows, length)
  local emitted, part, seen = 0, 1, {}
  for _, each in ipairs(stages) do
    local row = rows[each.name]
    if each.kind == "producer" then emitted = emitted + row.items_out
    elseif row.items_in > 0 and not seen[row] then
      part = part * math.max(0, row.items_in - row.pending) / row.items_in
    end
    seen[row] = true
  end
  return length > 0 and math.min(1, emitted / length * part) or 0
end

return progress
