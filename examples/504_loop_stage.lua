-- A stage with a loop of its own: `p:stage(name, function(input, emit, ctx) ... end)`. What other stages would keep in
-- ctx.state are local variables here, and after the loop is the place for what can only be said at the end: each of
-- the two workers emits its own total then. With `partition` each key is counted by one worker only.
--
-- Expected output:
--   apples: 3 sales, 12 in all
--   pears: 2 sales, 7 in all
--   plums: 1 sale, 20 in all
--   all workers together: 39

local minigun = require "minigun"

local p = minigun.pipeline "sales"
p:producer("sales", {
  { "apples", 5 }, { "pears", 3 }, { "apples", 4 }, { "plums", 20 }, { "pears", 4 }, { "apples", 3 },
})
p:stage("count", { processes = 2, partition = function(sale) return sale[1] end }, function(input, emit, ctx)
  local sums, counts = {}, {}
  for sale in input do
    local fruit, number = sale[1], sale[2]
    sums[fruit] = (sums[fruit] or 0) + number
    counts[fruit] = (counts[fruit] or 0) + 1
  end
  for fruit, sum in pairs(sums) do
    emit { fruit = fruit, sales = counts[fruit], sum = sum }
    ctx:count("all", sum)
  end
end)
local result = p:run()

table.sort(result.items, function(a, b) return a.fruit < b.fruit end)
for _, total in ipairs(result.items) do
  print(("%s: %d sale%s, %d in all"):format(total.fruit, total.sales, total.sales == 1 and "" or "s", total.sum))
end
print("all workers together: " .. result.counters.all)
