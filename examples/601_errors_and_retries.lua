-- What happens to an item whose handler raises, and to one whose worker dies: it gets the further attempts that
-- `retries` allows, then it is a failure, a record that says what, where and why. The other items are not touched.
--
-- Expected output:
--   passed: 1 2 4 5
--   item 2 came through at attempt 3
--   ~ item 3, error after 3 attempts: %S*601_errors_and_retries%.lua:%d+: three is never right
--   ~ item 6, crash after 3 attempts: .*signal 9.*

local minigun = require "minigun"

local p = minigun.pipeline "errors_and_retries"
p:producer("numbers", { 1, 2, 3, 4, 5, 6 })
p:processor("work", { processes = 2, retries = 2, backoff = 0.01 }, function(n, emit, ctx)
  if n == 2 and ctx.attempt < 3 then
    error("not yet")
  elseif n == 3 then
    error("three is never right")
  elseif n == 6 then
    os.execute("kill -KILL " .. ctx.pid)        -- as the kernel does when memory runs out
  end
  emit { n = n, attempt = ctx.attempt }
end)
p:on_failure(function() end)                    -- without this hook `run` would raise at its end
local result = p:run()

table.sort(result.items, function(a, b) return a.n < b.n end)
local passed = {}
for i, item in ipairs(result.items) do
  passed[i] = item.n
end
print("passed: " .. table.concat(passed, " "))
for _, item in ipairs(result.items) do
  if item.attempt > 1 then
    print(("item %d came through at attempt %d"):format(item.n, item.attempt))
  end
end
table.sort(result.failures, function(a, b) return a.item < b.item end)
for _, failure in ipairs(result.failures) do
  print(("item %s, %s after %d attempts: %s"):format(failure.item, failure.kind, failure.attempts,
    failure.message:match("[^\n]*")))
end

-- A failure is a record: it also has the traceback, the worker, its pid and the number of attempts. When a worker
-- dies, by a signal or by `os.exit`, the item that it was processing loses one attempt. A new worker takes its place,
-- and the other items go on. What a failed attempt has emitted is thrown away: every item arrives exactly once, or it
-- is among the failures. When a handler may hang, give its stage a `timeout`.
