--- The journal of a run: a spool that says which source items are finished with all that came of them.
--
-- A source item is known by its producer's name and its ordinal, its place in what that producer emits. Records:
--     { "minigun journal", version, pipeline, edges }   each run begins with one; `edges`: see `signature`
--     { "done", ranges, marks }                         by producer: { first, last... } and { ordinal, mark... }
--     { "end" }                                         a run has come to its end: nothing was left to do
-- A mark stands for an item (child/marks.lua); some of the ordinals have one (policy/sources.lua).
--
-- To a run it is a port of four calls: acknowledge, remember, tick, finish.
local core = require "minigun.core"
local failure = require "minigun.base.failure"
local sources = require "minigun.policy.sources"

local journal = {}

local MAGIC <const>, VERSION <const> = "minigun journal", 1
local INTERVAL <const> = 0.005 -- seconds between two records
local AGAIN <const> = 1        -- seconds until the next attempt where a record could not be written
local PATIENCE <const> = 2     -- seconds for the workers of a run that has just been killed to be gone
local EAGAIN <const> = 11
local COMPACT <const> = 1 << 16

local Journal = {}
Journal.__index = Journal

-- --- reading -----------------------------------------------------------------------------------------------------

-- What a pipeline is known by: its edges, and the names of stages that have none.
local function signature(plan)
  local seen, edges = {}, {}
  local function add(text)
    if not seen[text] then edges[#edges + 1] = text end
    seen[text] = true
  end
  for _, stage in ipairs(plan.stages) do
    -- A producer's way of numbering is part of it: in a process each target of a route counts.
    if stage.kind == "producer" then add("producer " .. stage.name) end
    if stage.kind == "producer" and stage.route and plan.segments[stage.segment].kind == "processes" then
      add("dealt " .. stage.name)
    end
    for _, target in ipairs(stage.outputs) do
      local name = plan.stages[target].name
      if name ~= stage.name then add(stage.name .. " -> " .. name) end
    end
  end
  table.sort(edges)
  return edges
end

local function difference(there, here)
  local known = {}
  for _, edge in ipairs(here) do known[edge] = true end
  for _, edge in ipairs(there) do
    if not known[edge] then return edge end
  end
end

-- Joins ranges that touch or overlap; `list` is { first, last... } in any order.
local function compact(list)
  local ranges = {}
  for i = 1, #list, 2 do ranges[#ranges + 1] = { list[i], list[i + 1] } end
  table.sort(ranges, function(a, b) return a[1] < b[1] end)
  local joined = {}
  for _, range in ipairs(ranges) do
    local n = #joined
    if n > 0 and range[1] <= joined[n] + 1 then joined[n] = math.max(joined[n], range[2])
    else joined[n + 1], joined[n + 2] = range[1], range[2] end
  end
  return joined
end

local function take_done(self, ranges, marks)
  for name, list in pairs(ranges) do
    local own = self.done[name] or { ranges = {}, marks = {}, limit = COMPACT }
    self.done[name] = own
    table.move(list, 1, #list, #own.ranges + 1, own.ranges)
    if #own.ranges > own.limit then
      own.ranges = compact(own.ranges)
      own.limit = 2 * #own.ranges + COMPACT
    end
    local of_it = marks and marks[name] or {}
    for i = 1, #of_it, 2 do own.marks[of_it[i]] = of_it[i + 1] end
  end
end

-- Takes a record. Returns what is wrong with it.
local function take(self, record, edges)
  local kind = type(record) == "table" and record[1]
  self.ended = kind == "end" or kind == MAGIC and self.ended
  if kind == MAGIC then
    if record[2] ~= VERSION then return "is of another version of Minigun" end
    self.known = true
    local extra, missing = difference(edges, record[4]), difference(record[4], edges)
    if record[3] ~= self.pipeline then return ("belongs to pipeline '%s'"):format(record[3]) end
    if extra or missing then
      return ("belongs to another form of the pipeline: %s"):format(extra and ("it does not know '%s'"):format(extra)
        or ("it has '%s', which there is not any more"):format(missing))
    end
  elseif kind == "done" then take_done(self, record[2], record[3])
  elseif kind ~= "end" then return "is a spool, but no journal" end
end

-- Reads what runs before have written. Returns what is wrong with it.
local function read(self, edges)
  local reader, message = self.file:reader()
  if not reader then return "cannot be read: " .. message end
  local problem
  repeat
    local more, value, why = reader:next()
    if more and not why then problem = take(self, value, edges)
    elseif more ~= false then problem = "cannot be read: " .. (more and why or value) end
  until not more or problem
  local damage = reader:damage()
  reader:close()
  if problem then return problem end
  if damage.places == 0 and not next(self.done) and not self.known then return nil end -- it is new
  if not self.known then return "is no journal, or its first record is damaged" end
  if damage.places > 0 then
    self.warnings[1] = ("journal '%s': %d damaged record%s (%d bytes) skipped; what they acknowledged is delivered " ..
      "again"):format(self.path, damage.records, damage.records == 1 and "" or "s", damage.bytes)
  end
  for _, own in pairs(self.done) do own.ranges = compact(own.ranges) end
end

-- --- the file ----------------------------------------------------------------------------------------------------

local function hold(file)
  local deadline = core.now() + PATIENCE
  while true do
    local ok, message, errno = file:hold()
    if ok then return nil end
    if errno ~= EAGAIN then return message end
    if core.now() > deadline then return "is that of a run that is not over" end
    core.sleep(0.02)
  end
end

--- Opens the journal of a run, and reads what earlier runs have acknowledged. Raises at the caller's line.
---@param plan table
---@return table journal
---@return table past
--- `done[producer]`: `ranges`, sorted, { first, last... }, and `marks` by ordinal; `ended`: the last run came to its
--- end; `warnings`: those for the result; `path`
function journal.open(plan)
  local given, edges = plan.options.journal, signature(plan)
  local file, message = core.spool_file(given.path, false)
  if not file then failure.raise(("pipeline '%s': option 'journal': %s"):format(plan.name, message)) end
  local self = setmetatable({ file = file, path = given.path, pipeline = plan.name, sync = given.sync, done = {},
    warnings = {}, ended = false, known = false, pending = {}, marks = {}, dirty = false, written = core.now(),
    synced = core.now() },
    Journal)
  local problem = hold(file) or read(self, edges)
  if not problem then
    local ok, why = file:write { MAGIC, VERSION, plan.name, edges }
    problem = not ok and "cannot be begun: " .. why or nil
  end
  if not problem then
    return self, { done = self.done, ended = self.ended, warnings = self.warnings, path = self.path }
  end
  file:close()
  failure.raise(("pipeline '%s': the journal '%s' %s; give it another path, or delete the file to start over"):format(
    plan.name, given.path, problem))
end

--- Acknowledges source items; written soon.
---@param name string the producer
---@param first integer ordinal
---@param last integer
function Journal:acknowledge(name, first, last)
  local own = self.pending[name]
  if not own then
    own = { from = {}, to = {} }
    self.pending[name] = own
  end
  local before, after = own.to[first - 1], own.from[last + 1] -- ranges by their first and last ordinal
  if before then own.to[first - 1], first = nil, before end
  if after then own.from[last + 1], last = nil, after end
  own.from[first], own.to[last] = last, first
  self.dirty = true
end

--- Remembers what an item is like until it is acknowledged.
---@param name string the producer
---@param ordinal integer
---@param mark integer?
function Journal:remember(name, ordinal, mark)
  local own = self.marks[name]
  if not own then
    own = {}
    self.marks[name] = own
  end
  own[ordinal] = mark
end

-- What is pending of a producer, as it is written.
local function flat(own, marks)
  local firsts, ranges, known = {}, {}, nil
  for first in pairs(own.from) do firsts[#firsts + 1] = first end
  table.sort(firsts)
  for _, first in ipairs(firsts) do
    local last, n = own.from[first], #ranges
    ranges[n + 1], ranges[n + 2] = first, last
    local at = sources.marked(first)
    while at <= last do
      if marks and marks[at] then
        known = known or {}
        known[#known + 1], known[#known + 2] = at, marks[at]
      end
      at = sources.marked(at + 1)
    end
  end
  return ranges, known
end

-- Writes what is pending. What could not be written stays so.
local function write(self)
  local ranges, marks = {}, nil
  for name, own in pairs(self.pending) do
    local known
    ranges[name], known = flat(own, self.marks[name])
    if known then
      marks = marks or {}
      marks[name] = known
    end
  end
  local ok, message = self.file:write { "done", ranges, marks }
  if ok and self.sync == "always" then ok, message = self.file:sync() end
  self.problem = not ok and message or nil
  if not ok then return end
  for name, list in pairs(marks or {}) do
    for i = 1, #list, 2 do self.marks[name][list[i]] = nil end
  end
  self.pending, self.dirty = {}, false
end

--- Writes what is pending when its time has come.
---@return number? seconds until then; nil: nothing is pending
function Journal:tick()
  if not self.dirty then return nil end
  local now = core.now()
  local wait = self.written + (self.problem and AGAIN or INTERVAL) - now
  if wait > 0 then return wait end
  self.written = now
  write(self)
  if type(self.sync) == "number" and now - self.synced >= self.sync then
    self.synced = now
    self.file:sync()
  end
  return self.dirty and AGAIN or nil
end

--- Closes the journal after the run.
---@param over boolean whether nothing was left to do
---@return string? warning what could not be written
function Journal:finish(over)
  if self.file:closed() then return nil end
  if self.dirty then write(self) end
  local ok, message = not self.problem, self.problem
  if ok and over then ok, message = self.file:write { "end" } end
  if ok and self.sync ~= "none" then ok, message = self.file:sync() end
  self.file:close()
  return not ok and ("journal '%s': %s; what is not in it will be delivered again"):format(self.path, message) or nil
end

return journal
