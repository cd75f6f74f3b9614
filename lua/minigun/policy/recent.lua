--- Counts of the last seconds: how fast something goes now, and not in the mean of all the time. Values in, values out.
local recent = {}

local SPAN <const>, STEP <const> = 2, 0.2 -- seconds that are looked back at, and between two notes at least

local Recent = {}
Recent.__index = Recent

--- Makes the memory of some counts; they were 0 at the begin.
---@param start number seconds, of the clock that `look` is given
---@return table recent
function recent.new(start)
  return setmetatable({ notes = { { at = start, counts = {} } } }, Recent)
end

--- Notes counts, and gives those with which they are to be compared.
---@param now number seconds
---@param counts table<string, number> kept, so it must not change
---@return number seconds that have gone by since the earlier counts
---@return table<string, number> counts the earlier ones; what is missing was 0
function Recent:look(now, counts)
  local notes = self.notes
  if now - notes[#notes].at >= STEP then notes[#notes + 1] = { at = now, counts = counts } end
  while notes[2] and notes[2].at <= now - SPAN do table.remove(notes, 1) end
  return now - notes[1].at, notes[1].counts
end

return recent
