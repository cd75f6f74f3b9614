-- Jobs from a queue that wants to hear what became of each (a message broker, a table of a database):
-- `on_acknowledged` is told when all that came of a job is finished, or has failed. The service that the jobs ask may
-- be asked ten times in a tenth of a second only (`rate`), and workers are replaced when they are old.
--
-- Expected output:
--   jobs 1 to 30: 27 acknowledged, 3 given back: 10 20 30
--   no more than ten in any tenth of a second

local minigun = require "minigun"

local queue = { acknowledged = {}, given_back = {} }     -- what a client of a broker would be

local p = minigun.pipeline "jobs"
p:producer("queue", minigun.range(1, 30))
p:map("ask", { threads = 8, rate = { 10, per = 0.1 } }, function(job)
  if job % 10 == 0 then error "the service says no" end
  return { job = job }
end)
p:map("compute", { processes = { n = 2, max_age = 60, idle_timeout = 10, nice = 5 } }, function(answer)
  return answer
end)

p:on_acknowledged("queue", function(job, failure)
  table.insert(failure and queue.given_back or queue.acknowledged, job)
end)

local result = p:run { halt = { failures = 10 } }

table.sort(queue.given_back)
print(("jobs 1 to 30: %d acknowledged, %d given back: %s"):format(#queue.acknowledged, #queue.given_back,
  table.concat(queue.given_back, " ")))

print(result.elapsed >= 0.2 and "no more than ten in any tenth of a second" or "the service was asked too often")
