-- Items that hang, and items that end every worker that takes them. `timeout` kills a worker whose handler stays too
-- long, `retries` allows further attempts, in another worker. In the end both are failures, and the others have
-- passed.
--
-- Expected output:
--   passed: four one three two
--   hangs: timeout, 2 attempts
--   leaves: crash, 2 attempts, exit code 7

local minigun = require "minigun"

local p = minigun.pipeline "timeouts"
p:producer("jobs", { "one", "two", "hangs", "three", "leaves", "four" })
p:map("work", { processes = 2, timeout = 0.1, retries = 1 }, function(job)
  while job == "hangs" do end
  if job == "leaves" then os.exit(7) end
  return job
end)
local result = p:run { failures = "collect" }

table.sort(result.items)
print("passed: " .. table.concat(result.items, " "))
table.sort(result.failures, function(a, b) return a.item < b.item end)
for _, failure in ipairs(result.failures) do
  print(("%s: %s, %d attempts%s"):format(failure.item, failure.kind, failure.attempts,
    failure.code and ", exit code " .. failure.code or ""))
end
return true -- the failures above are what it shows: the command need not end with status 1
