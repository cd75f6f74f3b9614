--- What a worker tells the coordinator beside items: records on an edge of their own, `report.EDGE`.
--
-- A report that belongs to an item is committed or forgotten with it. Each is an array whose first element is its kind.
local report = {
  EDGE = 0xfffe,  -- of all reports; items travel on the number of the stage that emitted them
  TO = 0x8000,    -- plus a stage's number: an item sent to that stage, whatever the graph says
  ANY = 0xffff,   -- as a filter: records of every edge
  COLLECT = 1,    -- { COLLECT, name, value }
  COUNT = 2,      -- { COUNT, name, n }
  FAILED = 3,     -- { FAILED, stage id, fields }: see worker.lua
  STATS = 4,      -- { STATS, { stage id, items in, items out }... }
  HOOK = 5,       -- { HOOK, name, at, message, traceback }: a hook has raised; the run fails
  LOST = 6,       -- { LOST, stage id, fields }: an item that was emitted cannot go on; the stage can
  SET = 4,        -- flag of a chunk: one item for a worker with threads (MG_CHUNK_SET)
  RESUMED = 7,    -- { RESUMED, stage id, n, message or nil }: a producer has not passed on n items, see lineage.lua
  RETURNED = 8,   -- { RETURNED, stage id }: its handler has returned a value, see silence.lua
  LOOSE = 2,      -- flag of a chunk: a producer's (MG_CHUNK_LOOSE in src/slot.h)
  TIMED = 1,      -- flag of a chunk: note when items begin (MG_CHUNK_TIMED)
}

return report
