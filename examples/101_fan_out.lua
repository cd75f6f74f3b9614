-- Fan-out: `to` names several targets, and each of them receives every item.
--
-- Expected output:
--   pipeline 'fan_out', 4 stages
--     orders   producer  inline        -> archive, mail, total
--     archive  consumer  processes(1)  -> (result)
--     mail     consumer  processes(2)  -> (result)
--     total    consumer  inline        -> (result)
--   archived: 3, mailed: 3
--   total: 60

local minigun = require "minigun"

local p = minigun.pipeline "fan_out"
p:producer("orders", { to = { "archive", "mail", "total" } }, { 10, 20, 30 })
p:consumer("archive", { processes = 1 }, function(_, _, ctx) ctx:count "archived" end)
p:consumer("mail", { processes = 2 }, function(_, _, ctx) ctx:count "mailed" end)

local total = 0
p:consumer("total", function(order) total = total + order end)

print(p)
local counters = p:run().counters
print(("archived: %d, mailed: %d"):format(counters.archived, counters.mailed))
print("total: " .. total)
