-- Load balancing needs no stage of its own: in a pool, work goes to an idle worker. While one worker is busy with a
-- long job the others do the short ones. (Dealing the jobs out in turn would let a third of them wait for it.)
--
-- Expected output:
--   30 jobs are done
--   the worker that had the long one left the others to the other two: true

local minigun = require "minigun"

local jobs = { "long" }
for i = 2, 30 do
  jobs[i] = "short"
end

local p = minigun.pipeline "load_balancer"
p:producer("jobs", jobs)
p:processor("work", { processes = 3 }, function(job, emit, ctx)
  if job == "long" then os.execute "sleep 0.3" end
  emit { job = job, worker = ctx.worker }
end)
local result = p:run()

local count, busy = {}, nil
for _, item in ipairs(result.items) do
  count[item.worker] = (count[item.worker] or 0) + 1
  if item.job == "long" then busy = item.worker end
end
print(#result.items .. " jobs are done")
print("the worker that had the long one left the others to the other two: " .. tostring(count[busy] < #jobs // 3))
