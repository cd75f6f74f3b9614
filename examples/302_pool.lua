-- A pool: its workers are forked once, live through the run and handle many items each. `ctx.worker` numbers them,
-- `ctx.state` is a worker's own table for what it keeps from item to item.
--
-- Expected output:
--   workers 1 2 3, each with a pid of its own
--   together they have counted 300 items

local minigun = require "minigun"

local p = minigun.pipeline "pool"
p:producer("numbers", minigun.range(1, 300))
p:consumer("work", { processes = 3 }, function(_, _, ctx)
  ctx.state.items = (ctx.state.items or 0) + 1
end)
p:after("work", function(ctx)                   -- in each worker, after its last item
  ctx:collect("workers", { number = ctx.worker, pid = ctx.pid, items = ctx.state.items or 0 })
end)
local workers = p:run().collected.workers

table.sort(workers, function(a, b) return a.number < b.number end)
local numbers, pids, items = {}, {}, 0
for i, worker in ipairs(workers) do
  assert(not pids[worker.pid])
  numbers[i], pids[worker.pid], items = worker.number, true, items + worker.items
end
print("workers " .. table.concat(numbers, " ") .. ", each with a pid of its own")
print(("together they have counted %d items"):format(items))
