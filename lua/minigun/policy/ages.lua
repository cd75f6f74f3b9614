--- For how long something is where it is, as far as somebody has looked: a look costs, a run that nobody looks at pays
-- nothing. Values in, values out; times are never too long. They are too short by the time between two looks, or, of a
-- queue that is long for long, between two of its notes.
local ages = {}

local MOST <const> = 32 -- notes of a stage; then every second one goes

local Ages = {}
Ages.__index = Ages

--- Makes the memory of what was seen.
---@return table ages
function ages.new() return setmetatable({ seen = {}, notes = {} }, Ages) end

--- Looks at what is in a place: seconds since it was first seen there.
---@param place any
---@param thing any
---@param now number seconds
---@return number seconds
function Ages:look(place, thing, now)
  local own = self.seen[place]
  if not own or own.thing ~= thing then
    own = { thing = thing, at = now }
    self.seen[place] = own
  end
  return now - own.at
end

--- Looks at a queue: seconds since the first of what is in it was seen to have come, if all leave in the order in
--- which they have come.
---@param place any
---@param came integer how many have come so far
---@param left integer how many of them have left
---@param now number seconds
---@return number? seconds nil: it is empty
function Ages:oldest(place, came, left, now)
  local notes = self.notes[place] or {}
  self.notes[place] = notes
  if #notes == 0 or notes[#notes].came < came then notes[#notes + 1] = { came = came, at = now } end
  while notes[1] and notes[1].came <= left do table.remove(notes, 1) end
  if #notes > MOST then
    local kept = {}
    for i = 1, #notes, 2 do kept[#kept + 1] = notes[i] end
    self.notes[place] = kept
  end
  return notes[1] and now - notes[1].at
end

return ages
