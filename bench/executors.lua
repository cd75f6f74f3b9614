-- SPDX-License-Identifier: MIT
-- Executors beside Python's concurrent.futures, in one run, in interleaved rounds; medians. The work is nothing, so
-- what is measured is the way there and back.
--
-- usage: lua5.4 bench/executors.lua [--runs N] [--scale F]       from the top of the tree
--
-- hot: one call after the other; cold: after 1 ms of rest; futures: so many are submitted, then asked for their
-- results; map: a list.
package.path = "./bench/?.lua;" .. package.path
local median = require "workload".median

local options = { runs = 3, scale = 1 }
for i = 1, #arg, 2 do options[arg[i]:match "^%-%-(.*)"] = tonumber(arg[i + 1]) end

local build = os.getenv "MINIGUN_BUILD" or "build"
local LUA <const> = ("LUA_PATH='./lua/?.lua;./lua/?/init.lua;;' LUA_CPATH='./%s/?.so;;' lua5.4 " ..
  "bench/executors/futures.lua"):format(build)
local has_python = os.execute "/usr/bin/python3 -c 'import concurrent.futures' 2>/dev/null"
local PYTHON <const> = has_python and "/usr/bin/python3 bench/executors/futures.py" or nil

local CONTESTANTS <const> = {
  { "minigun, processes", LUA .. " processes" }, { "minigun, threads", LUA .. " threads" },
  { "concurrent.futures, processes", PYTHON and PYTHON .. " processes" },
  { "concurrent.futures, threads", PYTHON and PYTHON .. " threads" },
}
local WORKLOADS <const> = {
  { "hot", 20000, 1, "us p50", "p50_us" }, { "cold", 500, 1, "us p50", "p50_us" },
  { "futures", 50000, 2, "a second", "rate" }, { "map", 50000, 2, "a second", "rate" },
}

local function figure(contestant, workload)
  local n = math.max(20, workload[2] * options.scale // 1 | 0)
  local pipe = assert(io.popen(("%s %s %d %d 2>&1"):format(contestant[2], workload[1], n, workload[3])))
  local text = pipe:read "a"
  pipe:close()
  return tonumber(text:match(workload[5] .. "=([%d.]+)")), text
end

local figures = {}
for _ = 1, options.runs do
  for w, workload in ipairs(WORKLOADS) do
    for c, contestant in ipairs(CONTESTANTS) do
      local found, text
      if contestant[2] then found, text = figure(contestant, workload) end
      if contestant[2] and not found then io.stderr:write(contestant[1], ", ", workload[1], ": ", text, "\n") end
      figures[c .. w] = figures[c .. w] or {}
      table.insert(figures[c .. w], found)
    end
  end
end

local head, line = { "| |" }, { "| --- |" }
for _, workload in ipairs(WORKLOADS) do
  head[#head + 1] = (" %s, %s |"):format(workload[1], workload[4])
  line[#line + 1] = " ---: |"
end
print(table.concat(head))
print(table.concat(line))
for c, contestant in ipairs(CONTESTANTS) do
  local row = { ("| %s |"):format(contestant[1]) }
  for w in ipairs(WORKLOADS) do
    local found = median(figures[c .. w])
    row[#row + 1] = not found and " – |" or (found < 1000 and " %.1f |" or " %.0f |"):format(found)
  end
  print(table.concat(row))
end
