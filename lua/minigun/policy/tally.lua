--- The failures of a run: the first are kept, all are counted. Values in, values out.
local failure = require "minigun.base.failure"

local tally = {}

local Tally = {}
Tally.__index = Tally

--- Makes a tally: what a run has to raise at its end, whose size does not grow with the number of failures.
---@return table tally `n`: how many failures there were
function tally.new()
  return setmetatable({ n = 0, first = nil, counts = {}, groups = {} }, Tally)
end

--- Counts one failure; the first is kept whole.
---@param record minigun.Failure
function Tally:add(record)
  self.n = self.n + 1
  if self.n == 1 then
    self.first = record
    return
  end
  local group = record.kind .. (record.stage and (" in stage '%s'"):format(record.stage) or "")
  if not self.counts[group] then table.insert(self.groups, group) end
  self.counts[group] = (self.counts[group] or 0) + 1
end

--- The error of a whole run: its first failure in full, the others counted by kind and stage.
---@return string? text nil where there is none
function Tally:summary()
  if self.n == 0 then return nil end
  local text, rest, parts = tostring(self.first), self.n - 1, {}
  if rest == 0 then return text end
  for i, group in ipairs(self.groups) do parts[i] = ("%d of kind %s"):format(self.counts[group], group) end
  return ("%s\nand %s: %s"):format(text, failure.count(rest, "more failure"), table.concat(parts, ", "))
end

return tally
