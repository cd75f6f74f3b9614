-- SPDX-License-Identifier: MIT
-- Short commands a second, one for each line: `minigun each` beside GNU parallel, xargs and a loop of the shell; all in
-- one run, in interleaved rounds, medians. Then lines a second of `minigun map` beside a loop of Lua's and awk. What is
-- not installed is left out.
--
-- usage: lua5.4 bench/commands.lua [--runs N] [--jobs N]                     from the top of the tree
local RUNS <const>, JOBS <const> = 5, 300
local options = { runs = RUNS, jobs = JOBS }
for i = 1, #arg, 2 do options[arg[i]:match "^%-%-(.*)"] = tonumber(arg[i + 1]) end

package.path = "./bench/?.lua;./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = ("./%s/?.so;"):format(os.getenv "MINIGUN_BUILD" or "build") .. package.cpath
local core = require "minigun.core"
local median = require "workload".median

-- Name, command, the program that it needs, how many lines of a run's it gets: what is slow need not do them all.
local COMMANDS <const> = {
  { "minigun each, -j 2", "./bin/minigun each -j 2 true", nil, 4 },
  { "minigun each, -j 2, a shell for each", "./bin/minigun each -j 2 'true;:'", nil, 4 },
  { "minigun each, -j 2, with a job log", "./bin/minigun each -j 2 --joblog /dev/null true", nil, 4 },
  { "GNU parallel, -j 2", "parallel -j 2 true", "parallel", 1 },
  { "GNU parallel, -j 2, with a job log", "parallel -j 2 --joblog /dev/null true", "parallel", 1 },
  { "xargs -P 2 -n 1", "xargs -P 2 -n 1 true", "xargs", 4 },
  { "a loop of the shell", "while read -r line; do /bin/true $line; done", nil, 4 },
}
local LINES <const> = {
  { "minigun map 'tonumber(line)^2'", "./bin/minigun map 'tonumber(line)^2'" },
  { "lua5.4, a loop", "lua5.4 -e 'for line in io.lines() do print(tonumber(line)^2) end'" },
  { "awk '{print $1^2}'", "awk '{print $1^2}'", "awk" },
  { "GNU parallel --pipe awk", "parallel -j 2 --pipe \"awk '{print \\$1^2}'\"", "parallel" },
}

local function is_there(program)
  return not program or os.execute(("command -v %s >/dev/null 2>&1"):format(program)) == true
end

-- Lines a second.
local function measure(command, n)
  local start = core.now()
  assert(os.execute(("seq %d | sh -c %s >/dev/null"):format(n, "'" .. command:gsub("'", "'\\''") .. "'")))
  return n / (core.now() - start)
end

local function compare(title, list, size)
  local rates = {}
  for _ = 1, options.runs do
    for i, each in ipairs(list) do
      if is_there(each[3]) then
        rates[i] = rates[i] or {}
        table.insert(rates[i], measure(each[2], math.ceil(size * (each[4] or 1))))
      end
    end
  end
  local own = median(rates[1])
  print(("\n%-42s %12s %10s"):format(title, "a second", "of the 1st"))
  for i, each in ipairs(list) do
    if rates[i] then print(("%-42s %12.0f %10.2f"):format(each[1], median(rates[i]), median(rates[i]) / own)) end
  end
end

compare("commands", COMMANDS, options.jobs)
compare("lines", LINES, 1000000)
