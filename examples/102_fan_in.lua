-- Fan-in: `from` names the stages whose items a stage receives. Two sources are read and converted beside each other,
-- and the numbers meet at the end.
--
-- Expected output:
--   pipeline 'fan_in', 5 stages
--     kilometres  producer  inline        -> convert
--     convert     map       processes(1)  -> collect
--     texts       producer  inline        -> parse
--     parse       map       processes(1)  -> collect
--     collect     each      inline        -> (result)
--   metres: 1500 2000 3000 5000

local minigun = require "minigun"

local p = minigun.pipeline "fan_in"
p:producer("kilometres", { 2, 3 })
p:map("convert", { from = "kilometres", processes = 1 }, function(n) return n * 1000 end)
p:producer("texts", { "1500 m", "5000 m" })
p:map("parse", { from = "texts", processes = 1 }, function(text) return math.tointeger(text:match "%d+") end)

local metres = {}
p:each("collect", { from = { "convert", "parse" } }, function(n) metres[#metres + 1] = n end)

print(p)
p:run()
table.sort(metres)
print("metres: " .. table.concat(metres, " "))
