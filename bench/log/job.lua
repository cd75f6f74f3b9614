-- SPDX-License-Identifier: MIT
-- The log job with one program: lua5.4 bench/log/job.lua W16|W16large PROGRAM [LINES]     from the top of the tree
-- Prints rate=, items=, ok= as the other programs of the benchmarks do.
package.path = "./bench/?.lua;" .. package.path
local workload = require "workload"

local DIRECTORY <const> = "build/bench"

local function quote(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

--- Shell commands by the name of the program; %s is the log.
local PROGRAMS <const> = {
  minigun = "lua5.4 bench/log/minigun.lua %s",
  plain = "lua5.4 bench/log/plain.lua %s",
  luajit = "luajit bench/log/plain.lua %s",
  mawk = "mawk -f bench/log/part.awk %s | mawk -f bench/log/merge.awk",
  go = DIRECTORY .. "/log_go %s",
  parallel_mawk = "parallel --pipepart -a %s --block -2 mawk -f bench/log/part.awk | mawk -f bench/log/merge.awk",
  parallel_lua = "parallel --pipepart -a %s --block -2 lua5.4 bench/log/part.lua | mawk -f bench/log/merge.awk",
  python = "python3 bench/log/ranges.py %s",
}

-- The ten paths with most requests, and how many lines are none: what each program prints.
local function summary(by, bad)
  local list = {}
  for path, times in pairs(by) do
    table.sort(times)
    list[#list + 1] = { path = path, n = #times, p99 = times[math.ceil(0.99 * #times)] }
  end
  table.sort(list, function(a, b) return a.n > b.n or a.n == b.n and a.path < b.path end)
  local lines = {}
  for i = 1, 10 do lines[i] = ("%d %d %s\n"):format(list[i].n, list[i].p99, list[i].path) end
  return table.concat(lines) .. ("bad %d\n"):format(bad)
end

local AGENTS <const> = { "Mozilla/5.0 (X11; Linux x86_64)", "curl/7.88.1", "Googlebot/2.1" }
local KINDS <const>, VERBS <const> = { "item", "cart", "search", "user", "static" }, { "GET", "GET", "GET", "POST" }

-- Writes a log of so many lines, and beside it what is to be found in it.
local function write_log(name, lines)
  math.randomseed(42)
  local paths, by, bad, buffer = {}, {}, 0, {}
  for i = 1, 400 do paths[i] = ("/%s/%d"):format(KINDS[i % 5 + 1], i) end
  local file <close> = assert(io.open(name .. ".new", "w"))
  for n = 1, lines do
    local path = paths[math.min(400, math.floor(400 * math.random() ^ 3) + 1)]
    local ms = math.floor(5 + 20 * -math.log(1 - math.random()) * (#path % 4 + 1))
    if n % 100003 == 0 then
      buffer[#buffer + 1], bad = ("garbage line %d\n"):format(n), bad + 1
    else
      by[path] = by[path] or {}
      table.insert(by[path], ms)
      buffer[#buffer + 1] = ('10.0.%d.%d - - [29/Nov/2026:10:%02d:%02d +0000] "%s %s HTTP/1.1" %d %d "-" "%s" %d\n')
        :format(n % 256, n * 7 % 256, n // 60 % 60, n % 60, VERBS[n % 4 + 1], path, n % 97 == 0 and 500 or 200,
        n % 5000, AGENTS[n % 3 + 1], ms)
    end
    if #buffer == 1000 or n == lines then
      file:write(table.concat(buffer))
      buffer = {}
    end
  end
  local found <close> = assert(io.open(name .. ".found", "w"))
  found:write(summary(by, bad))
  assert(os.rename(name .. ".new", name))
end

local function read(path)
  local file <close> = io.open(path)
  return file and file:read "a"
end

-- `lines`: as many as a full run has, where the command line names none.
local function run(lines, program)
  local name, command = ("%s/log_%d"):format(DIRECTORY, lines), assert(PROGRAMS[program], "no such program")
  os.execute("mkdir -p " .. DIRECTORY)
  if not read(name .. ".found") then write_log(name, lines) end
  local before, timed = os.clock(), ("TIMEFORMAT='seconds %%R'; time { %s; }"):format(command:format(name))
  local pipe <close> = assert(io.popen("exec bash -c " .. quote(timed) .. " 2>&1"))
  local said = pipe:read "a"
  local printed, seconds = said:match "^(.*)seconds (%d+%.%d+)\n$"
  local ok = printed == read(name .. ".found")
  if not ok then io.stderr:write(said) end
  return workload.rate(lines, tonumber(seconds) or math.huge, before, ok)
end

workload.main({
  W16 = function(lines, program) return run(lines or 1000000, program) end,
  W16large = function(lines, program) return run(lines or 8000000, program) end,
}, arg)
