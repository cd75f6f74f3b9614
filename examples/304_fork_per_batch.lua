-- A pool against a fork per batch. A pool's workers live through the run and take many items: for steady work. A fork
-- per batch gives each item a child of its own, which sees all that the coordinator has at that moment, whether or not
-- it could be serialised, and takes what it has allocated or spoilt with it when it ends: for heavy or dirty work.
--
-- Expected output:
--   ~ the coordinator is pid %d+
--   ~ pool: 6 batches in 2 workers or fewer: pids [%d ]+
--   ~ fork per batch: 6 batches in 6 children: pids [%d ]+
--   the children called a function that no serialiser could have sent: 6 times
--   the coordinator's table is as it was: true

local minigun = require "minigun"

local numbers = {}
for n = 1, 60 do
  numbers[n] = n
end

-- Runs 6 batches in the given context; returns the different pids, in order, and how often the function was called.
local function run(context)
  local p = minigun.pipeline "fork_per_batch"
  local seen = {}
  p:producer("numbers", numbers)
  p:batch(10)
  p:map("with a function", function(batch)
    -- A pool gets its items as bytes, which a function has none of; a fork per batch inherits them.
    return { batch = batch, sum = context.process_per_batch and function(a, b) return a + b end or nil }
  end)
  p:processor("work", context, function(item, emit, ctx)
    local sum = 0
    for i, n in ipairs(item.batch) do
      sum = item.sum and item.sum(sum, n) or sum + n
      numbers[i] = nil                          -- the child's copy: no other process sees it
    end
    if item.sum then
      ctx:count("function", 1)
    end
    emit { pid = ctx.pid, sum = sum }
  end)
  local result, pids, total = p:run(), {}, 0
  for _, item in ipairs(result.items) do
    total = total + item.sum
    if not seen[item.pid] then
      seen[item.pid] = true
      pids[#pids + 1] = item.pid
    end
  end
  assert(#result.items == 6 and total == 1830)
  table.sort(pids)
  return pids, result.counters["function"]
end

local stat <close> = assert(io.open "/proc/self/stat")
print(("the coordinator is pid %d"):format(stat:read("n")))
local pool = run { processes = 2 }
assert(#pool <= 2)
print("pool: 6 batches in 2 workers or fewer: pids " .. table.concat(pool, " "))
local forks, calls = run { process_per_batch = { max = 2 } }
print(("fork per batch: 6 batches in %d children: pids %s"):format(#forks, table.concat(forks, " ")))
print(("the children called a function that no serialiser could have sent: %d times"):format(calls))
print("the coordinator's table is as it was: " .. tostring(#numbers == 60))
