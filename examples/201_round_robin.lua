-- Round robin deals items out in turn, like cards: each target gets the same share, whatever the items are.
--
-- Expected output:
--   north: 1 4 7 10
--   east: 2 5 8
--   south: 3 6 9

local minigun = require "minigun"

local names = { "north", "east", "south" }

local p = minigun.pipeline "round_robin"
p:producer("cards", { to = names, route = "round_robin" }, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 })

local hands = {}
for _, name in ipairs(names) do
  hands[name] = {}
  p:each(name, { to = {} }, function(card) table.insert(hands[name], card) end)
end
p:run()

for _, name in ipairs(names) do
  print(name .. ": " .. table.concat(hands[name], " "))
end
