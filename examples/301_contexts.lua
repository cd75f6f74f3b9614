-- Each stage says where it runs, and nothing else changes: in the coordinator itself, in threads of it, in a pool of
-- workers, or in a fresh child for each item.
--
-- Expected output:
--   in the coordinator: 8 items, 1 process
--   in threads: 8 items, the same process
--   in the pool: 8 items, 2 processes or fewer
--   in forks: 8 items, 8 processes
--   sum of the squares: 204

local minigun = require "minigun"

-- A handler that notes which process an item came to, and passes on what f makes of it.
local function noting(f)
  return function(n, emit, ctx)
    ctx:collect(ctx.stage, ctx.pid)             -- arrives in the result from any process
    emit(f(n))
  end
end

local p = minigun.pipeline "contexts"
p:producer("numbers", { 1, 2, 3, 4, 5, 6, 7, 8 })
p:processor("round", { inline = true }, noting(math.floor))
p:processor("fetch", { threads = 4 }, noting(function(n)
  minigun.sleep(0.01)                           -- the other threads go on meanwhile
  return n
end))
p:processor("square", { processes = 2 }, noting(function(n) return n * n end))
p:processor("check", { process_per_batch = { max = 2 } }, noting(function(n) return assert(n > 0 and n) end))

local sum = 0
p:each("sum", { inline = true }, function(n) sum = sum + n end)
local pids = p:run().collected

local function different(list)
  local seen, count = {}, 0
  for _, pid in ipairs(list) do
    if not seen[pid] then
      seen[pid], count = true, count + 1
    end
  end
  return count
end
assert(different(pids.square) <= 2 and different(pids.fetch) == 1)

print(("in the coordinator: %d items, %d process"):format(#pids.round, different(pids.round)))
print(("in threads: %d items, %s"):format(#pids.fetch, pids.fetch[1] == pids.round[1] and "the same process" or "?"))
print(("in the pool: %d items, 2 processes or fewer"):format(#pids.square))
print(("in forks: %d items, %d processes"):format(#pids.check, different(pids.check)))
print("sum of the squares: " .. sum)

-- There are four contexts:
--
-- | context | for |
-- | --- | --- |
-- | inline | short steps, and steps that change variables of your program |
-- | `threads(n)` | steps that wait: n handlers in your process; while one waits, the others go on |
-- | `processes(n)` | steps that compute: the same workers from the first item to the last |
-- | `process_per_batch{ max = n }` | large steps: each item's child sees your program's data without a copy |
--
-- What a child of `process_per_batch` changes or allocates is gone when it ends. Threads help handlers that wait;
-- they do not make computing faster.
--
-- Change the word and run again: results, failures and hooks stay the same. A **processor** is the general stage. Its
-- function, the **handler**, gets the item, `emit`, which it may call any number of times, and `ctx`, a record with
-- the attempt, the stage and the worker.
