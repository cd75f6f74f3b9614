-- Three sources of one pipeline: an array, an iterator and a handler in a child process of its own. All of them feed
-- the next stage that is no producer, and the statistics know them apart.
--
-- Expected output:
--   coroutine: 3
--   handler: 4
--   table: 2
--   9 items, sum 1072

local minigun = require "minigun"

local p = minigun.pipeline "several_producers"
p:producer("table", { 1, 2 })
p:producer("coroutine", coroutine.wrap(function()
  for n = 1, 3 do coroutine.yield(10 * n) end
end))
p:producer("handler", { processes = 1 }, function(emit)
  for n = 1, 4 do emit(100 * n) end
end)
p:map("add one", { processes = 2 }, function(n) return n + 1 end)
p:filter("all", function(n) return n ~= 0 end)
local result = p:run()

for _, name in ipairs { "coroutine", "handler", "table" } do
  print(("%s: %d"):format(name, result.stats.stages[name].items_out))
end
local sum = 0
for _, n in ipairs(result.items) do
  sum = sum + n
end
print(("%d items, sum %d"):format(#result.items, sum))
