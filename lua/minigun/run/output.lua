--- What workers print at a terminal where there is a progress line: it goes through the coordinator, line by line, so
-- that no line tears another one. And what they log, where a function takes that (system/log.lua).
--
-- Each worker has one pipe for what it writes to the terminal, standard output and error alike, so the order of its
-- lines is kept; what it has written before it is killed comes as well. A line that is not ended waits for its end, or
-- for that of the worker.
local core = require "minigun.core"
local log = require "minigun.system.log"
local report = require "minigun.base.protocol"

local output = {}

local STDOUT <const>, STDERR <const>, LOG <const> = report.STDOUT, report.STDERR, report.LOG

local Output = {}
Output.__index = Output

--- Lets what the run's workers print come through the coordinator, from now on. Only before any is forked.
---@param how "direct"|"tag"|"plain" the run's option `output`
---@param line table|false|nil the progress line, which gives way
---@param pool userdata
---@return table? output nil: it is not to
function output.open(how, line, pool)
  local prints = line and how ~= "direct"
  local which = prints and (core.terminal(1) and STDOUT or 0) | (core.terminal(2) and STDERR or 0) or 0
  if log.collects() then which = which | LOG end
  if which == 0 or not pool:relay(which) then return nil end
  if prints then line.relays = true end
  return setmetatable({ line = line or false, pool = pool, tagged = how == "tag", begun = {},
    file = which & STDOUT ~= 0 and io.stdout or io.stderr }, Output)
end

local function write(self, text)
  if self.line then self.line:give_way() end
  self.file:write(text)
  self.file:flush()
end

-- Whole lines, each with its tag.
local function tag(segment, slot, lines)
  local mark = ("[%s %d] "):format(segment.plan.name, slot.number)
  return (lines:gsub("[^\n]*\n", function(line) return mark .. line end))
end

--- Passes on the lines of a worker that are there.
---@param segment table
---@param slot table of the worker
---@param last boolean it has ended
function Output:take(segment, slot, last)
  local parts = { self.begun[slot.index] }
  local text = self.pool:said(slot.index)
  while text do
    parts[#parts + 1] = text
    text = self.pool:said(slot.index)
  end
  local all = table.concat(parts)
  local lines, rest = all:match "^(.*\n)(.*)$"
  if not lines then lines, rest = "", all end
  if last and rest ~= "" then lines, rest = lines .. rest .. "\n", "" end
  self.begun[slot.index] = rest ~= "" and rest or nil
  lines = log.take(lines)
  if lines ~= "" then write(self, self.tagged and tag(segment, slot, lines) or lines) end
end

--- Writes the beginnings of lines whose workers are about to be killed; what these have said since, the pool writes.
function Output:close()
  for _, text in pairs(self.begun) do write(self, text) end
  self.begun = {}
end

return output
