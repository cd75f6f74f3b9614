-- Workers that stay: an executor is given items one by one, and each has a future. The program does other things
-- meanwhile, asks for results in any order, takes back what is not needed any more, and changes the number of workers.
--
-- Expected output:
--   12! = 479001600
--   as they come: 0.01 0.05 0.10
--   cancelled before it had begun
--   7 workers of 3, and nothing is lost: 5050
--   a failure is the future's own: examples/709_executor.lua:14: no factorial of -1

local minigun = require "minigun"

local function factorial(n)
  if n < 0 then error("no factorial of " .. n) end
  return n < 2 and 1 or n * factorial(n - 1)
end

local pool <close> = minigun.executor(factorial, { processes = 3 })

print("12! = " .. pool:call(12))

do -- threads are for waiting: three futures, in the order in which they are settled
  local sleepers <close> = minigun.executor(function(seconds)
    minigun.sleep(seconds)
    return seconds
  end, { threads = 3 })
  local order = {}
  for future in minigun.as_completed { sleepers:submit(0.10), sleepers:submit(0.01), sleepers:submit(0.05) } do
    order[#order + 1] = ("%.2f"):format(future:result())
  end
  print("as they come: " .. table.concat(order, " "))
end

do -- with one worker the second item waits in the backlog, and can be taken back
  local one <close> = minigun.executor(function(seconds) minigun.sleep(seconds) end, { processes = 1 })
  local busy, waiting = one:submit(0.05), one:submit(60)
  if waiting:cancel() then print(waiting:failure().kind .. " before it had begun") end
  busy:result()
end

local futures, sum = {}, 0
for i = 1, 100 do
  futures[i] = pool:submit(1, { priority = i % 2 })
  if i == 50 then pool:resize(7) end
end
for i, future in ipairs(futures) do sum = sum + i * future:result() end
print("7 workers of 3, and nothing is lost: " .. sum)

local ok, failure = pcall(pool.call, pool, -1)
print("a failure is the future's own: " .. (ok and "none" or failure.message))
