-- SPDX-License-Identifier: MIT
-- The benchmark driver: every program in one run, in interleaved rounds, medians, one table per workload.
--
-- usage: lua5.4 bench/run.lua [W1 W3 ...] [--runs N] [--quick] [--only TEXT] [--out FILE] [--timeout SECONDS]
--        lua5.4 bench/run.lua --write-docs [--out FILE]
--   W3            all workloads whose name begins so (W3a, W3b), S1 all its points; none named: all
--   --runs N      rounds (default 5)            --quick   one round with a tenth of the items
--   --only TEXT   only programs whose name contains TEXT (more than once: any of them)
--   --out FILE    where the results go as JSON (default bench/results.json)
--   --write-docs  measures nothing: puts the tables of FILE into docs/performance.md and the chart beside it
--
-- Each measurement is a process of its own that measures itself with a monotonic clock and prints one line of
-- key=value. CPU seconds are those of the process and of all children it reaped (bash's `time`), less what it
-- had used before its measurement began, scaled to the nominal number of items.
package.path = "./bench/?.lua;" .. package.path
local contestants = require "contestants"
local json = require "json"
local machine = require "machine"
local tables = require "tables"
local workloads = require "workloads"

local function usage(message)
  io.stderr:write("bench/run.lua: ", message, "\n",
    "usage: lua5.4 bench/run.lua [W1 ...] [--runs N] [--quick] [--only TEXT] [--out FILE] [--timeout SECONDS]\n",
    "       lua5.4 bench/run.lua --write-docs [--out FILE]\n")
  os.exit(2)
end

local function parse(argv)
  local options = { runs = nil, quick = false, only = {}, workloads = {}, out = "bench/results.json", timeout = 180 }
  local i = 1
  local function value(name)
    i = i + 1
    return argv[i] or usage(name .. " needs a value")
  end
  local function number(name)
    return math.tointeger(value(name)) or usage(name .. " needs a whole number")
  end
  while argv[i] do
    local word = argv[i]
    if word == "--quick" then options.quick = true
    elseif word == "--runs" then options.runs = number(word)
    elseif word == "--timeout" then options.timeout = number(word)
    elseif word == "--only" then table.insert(options.only, (value(word):lower()))
    elseif word == "--out" then options.out = value(word)
    elseif word == "--write-docs" then options.write_docs = true
    elseif word:match "^%u%d" then table.insert(options.workloads, word)
    else usage("unknown argument '" .. word .. "'") end
    i = i + 1
  end
  options.runs = options.runs or (options.quick and 1 or 5)
  return options
end

local function shell_quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Runs one command; returns its key=value figures, or nil and what went wrong.
local function measure(command, timeout)
  local script = ("TIMEFORMAT='bench_cpu %%U %%S'; time timeout -k 2 %d %s"):format(timeout, command)
  local pipe = assert(io.popen("bash -c " .. shell_quote(script) .. " 2>&1 </dev/null"))
  local figures, cpu, last = {}, 0, "printed nothing"
  for line in pipe:lines() do
    local user, sys = line:match "^bench_cpu ([%d.]+) ([%d.]+)$"
    if user then
      cpu = tonumber(user) + tonumber(sys)
    elseif line:match "^[%l%d_]+=%S+" and line:match "items=" then
      for key, value in line:gmatch "([%l%d_]+)=(%S+)" do figures[key] = tonumber(value) or value end
    elseif line:match "%S" then
      last = line
    end
  end
  local _, _, code = pipe:close()
  if code == 124 or code == 137 then return nil, ("no end within %d s"):format(timeout) end
  if not figures.items then return nil, ("exit %d: %s"):format(code, last) end
  if figures.ok == 0 then return nil, "WRONG RESULT", figures end
  figures.cpu_seconds = math.max(0, cpu - (figures.cpu_before or 0))
  figures.exit_code = code
  return figures
end

local function chosen_workloads(options)
  local list = {}
  for _, workload in ipairs(workloads.workloads) do
    local take = #options.workloads == 0 and not (options.quick and workload.heavy)
    for _, name in ipairs(options.workloads) do
      take = take or workloads.matches(workload, name)
    end
    if take then list[#list + 1] = workload end
  end
  if not list[1] then usage "no such workload" end
  return list
end

local function succeeds(command)
  return os.execute(command .. " >/dev/null 2>&1") == true
end

--- The programs that are here; says of the others why they are not measured.
local function present_contestants(options)
  local list, known = {}, {}
  for _, contestant in ipairs(contestants.contestants()) do
    local take = #options.only == 0
    for _, text in ipairs(options.only) do
      take = take or contestant.name:lower():find(text, 1, true) ~= nil
    end
    if take then
      local check = contestant.check
      if check and known[check] == nil then known[check] = succeeds(check) end
      if not check or known[check] then
        list[#list + 1] = contestant
      else
        print(("skipped: %s (this fails: %s)"):format(contestant.name, check))
      end
    end
  end
  return list
end

--- The share of the nominal items that a program is given; nil when it has no part in the workload.
local function share(workload, contestant)
  local own = contestant.workloads[workload.name]
  if own == nil then own = contestant.workloads[workload.sweep] end
  return own or nil
end

local function run_one(workload, contestant, options)
  local items = workload.items and
    math.max(10, math.floor(workload.items * share(workload, contestant) * (options.quick and 0.1 or 1)))
  local other = contestant.other and contestant.other[workload.sweep or workload.name]
  local command = ("%s%s %s %s %s"):format(workload.crowd and "build/bench/ping crowd " or "",
    other and other[1] or contestant.command, workload.name, other and other[2] or contestant.variant, items or "")
  return measure(command, options.timeout)
end

--- All rounds. Every second round goes backwards, so that a slow drift of the machine favours nobody.
--- @return table  workload name -> contestant name -> { runs = {figures...}, failure = text or nil }
local function run_all(chosen, programs, options)
  local results = {}
  local at_terminal = os.execute "test -t 2" == true
  for round = 1, options.runs do
    for _, workload in ipairs(chosen) do
      local per = results[workload.name] or {}
      results[workload.name] = per
      for n = 1, round <= (workload.rounds or round) and #programs or 0 do
        local contestant = programs[round % 2 == 1 and n or #programs + 1 - n]
        local entry = per[contestant.name] or { runs = {} }
        if share(workload, contestant) and not entry.failure then
          per[contestant.name] = entry
          if at_terminal then
            io.stderr:write(("\r\27[K%d/%d %s %s"):format(round, options.runs, workload.name, contestant.name))
          end
          local figures, problem = run_one(workload, contestant, options)
          if figures then table.insert(entry.runs, figures) else entry.failure = problem end
        end
      end
    end
  end
  if at_terminal then io.stderr:write "\r\27[K" end
  return results
end

--- What the tables and the chart need to know of the programs.
local function described(programs)
  local list = {}
  for i, p in ipairs(programs) do
    list[i] = { name = p.name, ours = p.ours, floor = p.floor, hand_made = p.hand_made, batched = p.batched,
      chart = p.chart }
  end
  return list
end

local function main()
  local options = parse(arg)
  if options.write_docs then return require("page").write(options.out) end
  local chosen, programs = chosen_workloads(options), present_contestants(options)
  local about, began = machine.describe(), os.time()
  about.runs, about.quick = options.runs, options.quick
  local run = { machine = about, programs = described(programs), results = run_all(chosen, programs, options) }
  about.load_after, about.minutes = machine.load(), (os.time() - began) / 60
  io.write(tables.render(run, ""))
  local file = assert(io.open(options.out, "w"))
  file:write(json.encode(run))
  file:close()
  print("\nresults: " .. options.out)
end

main()
