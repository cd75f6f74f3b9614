-- SPDX-License-Identifier: MIT
-- What bench/executors.lua measures, by minigun.executor.
--
-- usage: futures.lua processes|threads hot|cold|futures|map ITEMS WORKERS
local minigun = require "minigun"
local now = minigun.now

local kind, what, n, workers = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])
local pool <close> = minigun.executor(function(x) return x end, { [kind] = workers, backlog = 1000000 })
for i = 1, 100 do pool:call(i) end

if what == "hot" or what == "cold" then
  local times = {}
  for i = 1, n do
    if what == "cold" then minigun.sleep(0.001) end
    local start = now()
    pool:call(i)
    times[i] = now() - start
  end
  table.sort(times)
  print(("p50_us=%.3f p99_us=%.3f"):format(times[n // 2 + 1] * 1e6, times[n * 99 // 100 + 1] * 1e6))
  return
end

local start, list = now(), {}
if what == "futures" then
  for i = 1, n do list[i] = pool:submit(i) end
  for i = 1, n do assert(list[i]:result() == i) end
else
  for i = 1, n do list[i] = i end
  assert(#pool:map(list) == n)
end
print(("rate=%.0f"):format(n / (now() - start)))
