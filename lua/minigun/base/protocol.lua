--- What a worker tells the coordinator beside items: records on an edge of their own, `report.EDGE`.
--
-- A report that belongs to an item is committed or forgotten with it. Each is an array whose first element is its kind.
-- What the core has a part in comes from the core: it is read here, and written nowhere else in Lua.
local failure = require "minigun.base.failure"
local shared <const> = require "minigun.core".protocol

local report = {
  UNIT = shared.UNIT,   -- bytes of the smallest block
  -- Edges (src/core/record.h).
  EDGE = shared.EDGE,   -- of all reports; items travel on the number of the stage that emitted them
  TO = shared.TO,       -- plus a stage's number: an item sent to that stage, whatever the graph says
  ANY = shared.ANY,     -- as a filter: records of every edge
  PIECE = shared.PIECE, -- as a filter, plus items before them: those of a piece, which is one record
  -- Flags of a chunk (src/core/slot.h).
  TIMED = shared.TIMED,   -- note when items begin
  PRODUCER = shared.PRODUCER,
  SET = shared.SET,       -- one item for a worker with threads
  SINGLY = shared.SINGLY, -- a producer's, that waits for room for each item; else: each item is committed by itself
  -- What is known of the item that a worker had in hand (src/core/slot.h).
  STREAMED = shared.STREAMED,   -- some of its output has been let through
  TIMED_OUT = shared.TIMED_OUT, -- its time-out has ended it
  LOADING = shared.LOADING,     -- the worker was in a load hook, maybe this item's
  -- Its `step`: the part of a batch that was in work; or with STEP_ITEM the number, from 1, of the item in hand, and
  -- STEP_ASIDE where that was in another stage's fold.
  STEP_ITEM = shared.STEP_ITEM, STEP_ASIDE = shared.STEP_ASIDE, STEP_NUMBER = shared.STEP_NUMBER,
  -- What is kept under the number of work (src/lua/lua_ledger.h): the item, where it is a Lua value; what it has come
  -- of; true, where its items are a source's own; attempts at the items of a batch; the death of the worker that had
  -- it.
  VALUE = shared.VALUE, ORIGIN = shared.ORIGIN, SOURCE = shared.SOURCE, TRIED = shared.TRIED, DEATH = shared.DEATH,
  -- What goes through the coordinator of what a worker prints (src/core/relay.h).
  STDOUT = shared.STDOUT, STDERR = shared.STDERR, LOG = shared.LOG,
  -- Kinds of reports.
  COLLECT = 1,    -- { COLLECT, name, value, stage id, where it is not the segment's first }
  COUNT = 2,      -- { COUNT, name, n }
  FAILED = 3,     -- { FAILED, stage id, fields }: see child/main.lua
  STATS = 4,      -- { STATS, { stage id, items in, items out, seconds in its handler, classes of these or nil }... }
  HOOK = 5,       -- { HOOK, name, at, message, traceback }: a hook has raised; the run fails
  LOST = 6,       -- { LOST, stage id, fields }: an item that was emitted cannot go on; the stage can
  RESUMED = 7,    -- { RESUMED, stage id, n, message or nil }: a producer has not passed on n items, see run/resume.lua
  RETURNED = 8,   -- { RETURNED, stage id }: its handler has returned a value, see run/silence.lua
  READY = 9,      -- { READY }: the worker is ready for its first item, where that is asked: see contexts/recycling.lua
}

local FAILURE <const> = { [report.FAILED] = true, [report.LOST] = true }

local function is_count(value) return math.type(value) == "integer" and value >= 0 and value <= 1 << 32 end

-- The fields of a failure that are used as numbers and names.
local function is_failure(fields)
  return type(fields) == "table" and failure.kinds[fields.kind] and is_count(fields.attempt)
    and (fields.message == nil or type(fields.message) == "string")
    and (fields.index == nil or is_count(fields.index)) and (fields.place == nil or is_count(fields.place))
end

local function are_classes(classes)
  if type(classes) ~= "table" then return false end
  for class, n in next, classes do
    if math.type(class) ~= "integer" or not is_count(n) then return false end
  end
  return true
end

local function are_rows(r, plan)
  for k = 2, #r do
    local row = r[k]
    if type(row) ~= "table" or not plan.stages[row[1]] or not math.tointeger(row[2]) or not math.tointeger(row[3])
      or type(row[4]) ~= "number" or row[5] ~= nil and not are_classes(row[5]) then
      return false
    end
  end
  return true
end

--- Whether what was read is a report: its bytes lie in memory that every worker of the run can write to.
---@param r any
---@param plan table
---@return boolean
function report.is_sound(r, plan)
  if type(r) ~= "table" then return false end
  local kind, name = r[1], r[2]
  local stage = math.type(name) == "integer" and plan.stages[name]
  if kind == report.COLLECT then return name ~= nil and (r[4] == nil or plan.stages[r[4]] ~= nil) end
  if kind == report.COUNT then return name ~= nil and type(r[3]) == "number" end
  if FAILURE[kind] then return stage and is_failure(r[3]) or false end
  if kind == report.RESUMED then return stage and is_count(r[3]) end
  if kind == report.HOOK then return type(name) == "string" and type(r[3]) == "string" and type(r[4]) == "string" end
  if kind == report.READY then return true end
  if kind == report.RETURNED then return stage and true or false end
  return kind == report.STATS and are_rows(r, plan)
end

return report
