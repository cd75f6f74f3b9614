-- SPDX-License-Identifier: MIT
-- The log job as a loop in one process, for Lua 5.4 and for LuaJIT.
local by, bad = {}, 0
for line in io.lines(arg[1]) do
  local path, ms = line:match '"%u+ (%S+) [^"]*" .* (%d+)$'
  if path then
    local times = by[path]
    if times then times[#times + 1] = tonumber(ms) else by[path] = { tonumber(ms) } end
  else
    bad = bad + 1
  end
end

local list = {}
for path, times in pairs(by) do
  table.sort(times)
  list[#list + 1] = { path = path, n = #times, p99 = times[math.ceil(0.99 * #times)] }
end
table.sort(list, function(a, b) return a.n > b.n or a.n == b.n and a.path < b.path end)
for i = 1, 10 do print(("%d %d %s"):format(list[i].n, list[i].p99, list[i].path)) end
print(("bad %d"):format(bad))
