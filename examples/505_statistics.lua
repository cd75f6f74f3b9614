-- What workers can tell: `ctx:count` adds to a counter of the result, `ctx:collect` appends to a list of it; from any
-- process, and once for each item that is done. The run's own numbers are in `result.stats`.
--
-- Expected output:
--   even: 50, odd: 50
--   the largest that any worker has seen: 100
--   square: 100 in, 100 out, 0 failed
--   the two workers together had 100 items and were replaced 0 times
--   done 'statistics': 100 items, 2 largest in a moment

local minigun = require "minigun"

local p = minigun.pipeline "statistics"
p:producer("numbers", minigun.range(1, 100))
p:processor("square", { processes = 2 }, function(n, emit, ctx)
  ctx:count(n % 2 == 0 and "even" or "odd")
  ctx.state.largest = math.max(n, ctx.state.largest or 0)
  emit(n * n)
end)
p:after("square", function(ctx) ctx:collect("largest", ctx.state.largest or 0) end)
local result = p:run()

print(("even: %d, odd: %d"):format(result.counters.even, result.counters.odd))
print("the largest that any worker has seen: " .. math.max(table.unpack(result.collected.largest)))

local square = result.stats.stages.square
print(("square: %d in, %d out, %d failed"):format(square.items_in, square.items_out, square.failed))
local items, restarts = 0, 0
for _, worker in ipairs(result.stats.workers) do
  items, restarts = items + worker.items, restarts + worker.restarts
end
print(("the two workers together had %d items and were replaced %d times"):format(items, restarts))
print((tostring(result):gsub("in [%d.]+ s", "in a moment")))

-- Each worker has its own copy of all variables. Besides items, `ctx:count` and `ctx:collect` send something from any
-- process to the result. `ctx.state` is a table in which a stage keeps values from one item to the next; each worker
-- has its own. `after` is a hook: it runs in each worker after its last item.
