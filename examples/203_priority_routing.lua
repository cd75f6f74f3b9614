-- Priorities: urgent jobs have workers of their own, so that they never wait for the others. The first of the
-- ordinary jobs is slow, and one worker has them all; the urgent ones come last and are done first.
--
-- Expected output:
--   3 urgent jobs, 4 ordinary
--   first done: URGENT f, URGENT g, URGENT h

local minigun = require "minigun"

local p = minigun.pipeline "priority_routing"
p:producer("jobs", {
  to = { "urgent", "ordinary" },
  route = function(job) return job:find "^URGENT" and "urgent" or "ordinary" end,
}, { "a", "b", "c", "d", "URGENT f", "URGENT g", "URGENT h" })

p:map("urgent", { processes = 2, to = "log" }, function(job) return job end)
p:map("ordinary", { processes = 1, to = "log" }, function(job)
  if job == "a" then os.execute "sleep 0.3" end
  return job
end)

local log = {}
p:each("log", function(job) log[#log + 1] = job end)
local stages = p:run().stats.stages

print(("%d urgent jobs, %d ordinary"):format(stages.urgent.items_in, stages.ordinary.items_in))
local first = { table.unpack(log, 1, 3) }
table.sort(first)
print("first done: " .. table.concat(first, ", "))
