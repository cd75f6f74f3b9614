-- SPDX-License-Identifier: MIT
--- What the clients in Lua of bench/services.lua share: each workload, and what is printed of it.
local core = require "minigun.core"

local measure = {}

local function percentiles(times)
  table.sort(times)
  local n = #times
  print(("items=%d p50_us=%.3f p99_us=%.3f ok=1"):format(n, times[n // 2 + 1] * 1e6, times[n * 99 // 100 + 1] * 1e6))
end

--- Runs a workload.
---@param what string "hot", "cold", "attach", "small", "lists", "large"
---@param n integer
---@param of table `connect()`, `ask(client, value)`, `send(client, value)`, `close(client)`
function measure.run(what, n, of)
  local now, times, list = core.now, {}, {}
  if what == "attach" then
    for i = 1, n do
      local t = now()
      local client = of.connect()
      assert(of.ask(client, i) == i)
      times[i] = now() - t
      of.close(client)
    end
    return percentiles(times)
  end
  local client, ask, send = of.connect(), of.ask, of.send
  if what == "hot" or what == "cold" then
    for i = 1, n do
      if what == "cold" then core.sleep(0.001) end
      local t = now()
      ask(client, i)
      times[i] = now() - t
    end
    return percentiles(times)
  end
  for i = 1, 1000 do list[i] = i end
  local value = what == "large" and ("x"):rep(1 << 20) or what == "lists" and list or nil
  ask(client, 1)
  local t = now()
  for i = 1, n do send(client, value or i) end
  ask(client, 1)
  local rate = n / (now() - t)
  if what == "large" then rate = rate * (1 << 20) / 1e6 elseif what == "lists" then rate = rate * 1000 end
  print(("items=%d rate=%.0f ok=1"):format(n, rate))
end

return measure
