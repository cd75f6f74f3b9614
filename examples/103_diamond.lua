-- Fan-out and fan-in: every number goes to both arms, and both arms' results come together again. Edges are drawn with
-- `to` and `from`; the arms run in pools of their own.
--
-- Expected output:
--   double: 2 4 6 8
--   square: 1 4 9 16

local minigun = require "minigun"

local p = minigun.pipeline "diamond"
p:producer("numbers", { to = { "double", "square" } }, { 1, 2, 3, 4 })
p:map("double", { processes = 2, to = "join" }, function(n) return { arm = "double", value = 2 * n } end)
p:map("square", { processes = 2, to = "join" }, function(n) return { arm = "square", value = n * n } end)

local values = { double = {}, square = {} }
p:each("join", { inline = true }, function(item) table.insert(values[item.arm], item.value) end)
p:run()

for _, arm in ipairs { "double", "square" } do
  table.sort(values[arm])                       -- items arrive in the order in which the workers finish
  print(arm .. ": " .. table.concat(values[arm], " "))
end
