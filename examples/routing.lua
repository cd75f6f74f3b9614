-- Choosing targets: `route` sends each order to the stage that its kind names, round robin deals a stage's items out.
--
--   minigun run examples/routing.lua
--
-- Expected output:
--   books: 4 orders
--   music: 3 orders
--   desk 1: 2 letters
--   desk 2: 2 letters
--   order 8 failed: there is no stage for games

local minigun = require "minigun"

local orders = {}
for i, kind in ipairs { "books", "music", "books", "letter", "music", "books", "letter", "games", "letter", "music",
  "books", "letter" } do
  orders[i] = { id = i, kind = kind }
end

local p = minigun.pipeline "orders"

p:producer("orders", orders)

p:processor("sort", { processes = 2, to = { "books", "music", "letter" }, route = function(order)
  return order.kind
end }, function(order, emit) emit(order) end)

local function count(name)
  return function(_, _, ctx) ctx:count(name) end
end

p:consumer("books", { from = "sort", to = {} }, count "books")
p:consumer("music", { from = "sort", to = {}, processes = 1 }, count "music")

p:processor("letter", { from = "sort", to = { "desk 1", "desk 2" }, route = "round_robin" },
  function(order, emit) emit(order) end)
p:consumer("desk 1", { from = "letter", to = {} }, count "desk 1")
p:consumer("desk 2", { from = "letter", to = {} }, count "desk 2")

local result = p:run { failures = "collect" }

for _, name in ipairs { "books", "music" } do
  print(("%s: %d orders"):format(name, result.counters[name]))
end
for _, name in ipairs { "desk 1", "desk 2" } do
  print(("%s: %d letters"):format(name, result.counters[name]))
end
local failure = result.failures[1]
print(("order %d failed: there is no stage for %s"):format(failure.item.id, failure.item.kind))
