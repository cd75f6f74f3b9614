-- SPDX-License-Identifier: MIT
--- The tables of a benchmark run, in Markdown, so that they can be put into docs/performance.md as they are.
local M = {}

local function sorted(runs, key)
  local values = {}
  for _, figures in ipairs(runs) do
    if type(figures[key]) == "number" then values[#values + 1] = figures[key] end
  end
  table.sort(values)
  return values
end

--- The median of one figure over all runs of a program, with its least and greatest value; nil if there is none.
local function median(runs, key)
  local values = sorted(runs, key)
  local n = #values
  if n == 0 then return nil end
  local middle = n % 2 == 1 and values[n // 2 + 1] or (values[n // 2] + values[n // 2 + 1]) / 2
  return middle, values[1], values[n]
end

--- A number with about three significant digits, thousands as k, millions as M.
local function short(x)
  if not x then return "" end
  local scaled, suffix = x, ""
  if math.abs(x) >= 1e6 then scaled, suffix = x / 1e6, " M"
  elseif math.abs(x) >= 1e4 then scaled, suffix = x / 1e3, " k" end
  local digits = scaled >= 100 and 0 or scaled >= 10 and 1 or scaled >= 0.1 and 2 or 3
  return ("%." .. digits .. "f%s"):format(scaled, suffix)
end

local function print_rows(header, rows)
  local widths = {}
  for c in ipairs(header) do
    widths[c] = utf8.len(header[c])
    for _, row in ipairs(rows) do widths[c] = math.max(widths[c], utf8.len(row[c])) end
  end
  local function line(row)
    local cells = {}
    for c, text in ipairs(row) do
      local padding = (" "):rep(widths[c] - utf8.len(text))
      cells[c] = c == 1 and text .. padding or padding .. text
    end
    print("| " .. table.concat(cells, " | ") .. " |")
  end
  local rule = {}
  for c, width in ipairs(widths) do rule[c] = ("-"):rep(width - 1) .. (c == 1 and "-" or ":") end
  line(header)
  print("| " .. table.concat(rule, " | ") .. " |")
  for _, row in ipairs(rows) do line(row) end
end

local function find(programs, flag)
  for _, program in ipairs(programs) do
    if program[flag] then return program.name end
  end
end

--- How many times better `a` is than `b`.
local function times_better(workload, a, b)
  if not a or not b or a == 0 or b == 0 then return "" end
  return short(workload.better == "higher" and a / b or b / a)
end

local function share_of_floor(workload, value, floor)
  if not value or not floor then return "" end
  return short(100 * (workload.better == "higher" and value / floor or floor / value)) .. " %"
end

--- CPU seconds per run of nominal size: a program that was given fewer items is scaled up, one with more down;
--- where there is no nominal size, per repetition.
local function nominal_cpu(workload, runs, quick)
  local cpu = median(runs, "cpu_seconds")
  if not cpu then return nil end
  return cpu * (workload.items and workload.items * (quick and 0.1 or 1) or 1) / runs[1].items
end

local function speed_table(workload, programs, per, quick)
  local function value(name)
    return name and per[name] and (median(per[name].runs, workload.metric)) or nil
  end
  local ours, floor = value(find(programs, "ours")), value(find(programs, "floor"))
  local header = { "program", workload.unit, "least to greatest", "CPU s", "of the floor", "Minigun is better by" }
  if workload.second then table.insert(header, 3, "us p99") end
  local rows = {}
  for _, program in ipairs(programs) do
    local entry = per[program.name]
    if entry then
      local middle, least, greatest = median(entry.runs, workload.metric)
      local row = { program.name .. (program.hand_made and " *" or ""), short(middle),
        middle and short(least) .. " to " .. short(greatest) or entry.failure or "",
        short(nominal_cpu(workload, entry.runs, quick)),
        not program.floor and share_of_floor(workload, middle, floor) or "",
        program.ours and "" or times_better(workload, ours, middle) }
      if entry.failure and middle then row[3] = row[3] .. ", then " .. entry.failure end
      if workload.second then table.insert(row, 3, short((median(entry.runs, workload.second)))) end
      rows[#rows + 1] = row
    end
  end
  print_rows(header, rows)
end

local function outcome_table(programs, per)
  local rows = {}
  for _, program in ipairs(programs) do
    local entry = per[program.name]
    if entry then
      local last = entry.runs[#entry.runs] or {}
      local kinds, outcomes = {}, {}
      for _, figures in ipairs(entry.runs) do
        if not kinds[figures.outcome] then outcomes[#outcomes + 1] = figures.outcome end
        kinds[figures.outcome] = true
      end
      local missing = last.items and last.items - last.arrived - last.failures
      rows[#rows + 1] = { program.name, entry.failure or table.concat(outcomes, ", "), tostring(last.items or ""),
        tostring(last.arrived or ""), tostring(last.failures or ""), tostring(missing or ""),
        tostring(last.doubled or "") }
    end
  end
  print_rows({ "program", "the run", "items", "arrived", "named in failures", "unaccounted", "doubled" }, rows)
end

--- Prints one table for each workload.
--- @param about table      the machine and the run
--- @param workloads table  array, see contestants.lua
--- @param programs table   array of the contestants measured
--- @param results table    workload name -> contestant name -> { runs, failure }
function M.print(about, workloads, programs, results)
  print(("%s, %d cores, %d MB, %s, %s; %s; commit %s; %d round(s)%s; load before %s, after %s"):format(about.cpu,
    about.cores, about.memory_mb, about.kernel, about.lua:match "^Lua [%d.]+" or about.lua, about.date, about.commit,
    about.runs, about.quick and ", a tenth of the items" or "", about.load, about.load_after))
  for _, workload in ipairs(workloads) do
    print(("\n%s: %s\n"):format(workload.name, workload.title))
    if not next(results[workload.name]) then
      print "nothing measured"
    elseif workload.outcome then
      outcome_table(programs, results[workload.name])
    else
      speed_table(workload, programs, results[workload.name], about.quick)
    end
  end
  print "\n* the user wrote the batching: arrays are passed and the handler loops over them\n"
end

return M
