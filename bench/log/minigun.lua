-- SPDX-License-Identifier: MIT
-- The log job with Minigun, as its README has it: lines, map and reduce in a group of workers; then the times of each
-- path are sorted in workers, too.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = ("./%s/?.so;"):format(os.getenv "MINIGUN_BUILD" or "build") .. package.cpath
local minigun = require "minigun"

local p = minigun.pipeline "access log"
p:producer("lines", minigun.lines(arg[1]))
p:processes(function()
  p:map("parse", function(line)
    local path, ms = line:match '"%u+ (%S+) [^"]*" .* (%d+)$'
    if not path then error("cannot parse: " .. line) end
    return { path = path, ms = tonumber(ms) }
  end)
  p:reduce("by path", function() return {} end, function(by, request)
    local times = by[request.path]
    if times then times[#times + 1] = request.ms else by[request.path] = { request.ms } end
    return by
  end, { combine = function(a, b)
    for path, times in pairs(b) do
      local own = a[path]
      if own then table.move(times, 1, #times, #own + 1, own) else a[path] = times end
    end
    return a
  end })
end)
p:processor("paths", function(by, emit)
  for path, times in pairs(by) do emit { path = path, times = times } end
end)
p:map("percentile", { processes = 2 }, function(found)
  table.sort(found.times)
  return { path = found.path, n = #found.times, p99 = found.times[math.ceil(0.99 * #found.times)] }
end)
local result = p:run { failures = "collect" }

local list = result.items
table.sort(list, function(a, b) return a.n > b.n or a.n == b.n and a.path < b.path end)
for i = 1, 10 do print(("%d %d %s"):format(list[i].n, list[i].p99, list[i].path)) end
print(("bad %d"):format(result.failed))
