-- A message router: `route` names the stage that each message goes to, by its type. A type that it does not know is a
-- failure of that one message, and says which targets there are.
--
-- Expected output:
--   books: 4 orders
--   music: 3 orders
--   letter: 4 orders
--   ~ order 8 failed: %S*202_routing.lua:%d+: .*'games', which is none of its targets %(.*books, letter, music%)

local minigun = require "minigun"

local orders = {}
for i, kind in ipairs { "books", "music", "books", "letter", "music", "books", "letter", "games", "letter", "music",
  "books", "letter" } do
  orders[i] = { id = i, kind = kind }
end

local kinds = { "books", "music", "letter" }

local p = minigun.pipeline "orders"
p:producer("orders", orders)
p:processor("sort", { processes = 2, to = kinds, route = function(order) return order.kind end },
  function(order, emit) emit(order) end)
for _, kind in ipairs(kinds) do
  p:consumer(kind, { to = {} }, function(_, _, ctx) ctx:count(ctx.stage) end)
end
local result = p:run { failures = "collect" }

for _, kind in ipairs(kinds) do
  print(("%s: %d orders"):format(kind, result.counters[kind]))
end
for _, failure in ipairs(result.failures) do
  print(("order %d failed: %s"):format(failure.item.id, failure.message))
end
return true -- the failures above are what it shows: the command need not end with status 1

-- An item goes to every stage that `to` names, or only to the stages that `route` returns. `from` says the same from
-- the other end. A stage with `to = {}` sends to no stage: what it emits is in the result. `emit:to(name, item)`
-- sends an item to any stage by its name; a stage with `await = true` gets only what `emit:to` sends to it.
