-- SPDX-License-Identifier: MIT
--- The tables of a benchmark run, in Markdown, for the terminal and for docs/performance.md.
local workloads = require "workloads"

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
--- @param runs table   array of figures
--- @param key string
--- @return number|nil median, number|nil least, number|nil greatest
function M.median(runs, key)
  local values = sorted(runs, key)
  local n = #values
  if n == 0 then return nil end
  local middle = n % 2 == 1 and values[n // 2 + 1] or (values[n // 2] + values[n // 2 + 1]) / 2
  return middle, values[1], values[n]
end

local median = M.median

--- A number with about three significant digits, thousands as k, millions as M.
local function short(x)
  if not x then return "" end
  local scaled, suffix = x, ""
  if math.abs(x) >= 1e6 then scaled, suffix = x / 1e6, " M"
  elseif math.abs(x) >= 1e4 then scaled, suffix = x / 1e3, " k" end
  local digits = scaled >= 100 and 0 or scaled >= 10 and 1 or scaled >= 0.1 and 2 or 3
  return ("%." .. digits .. "f%s"):format(scaled, suffix)
end

--- Adds a Markdown table to the lines `out`.
local function add_rows(out, header, rows)
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
    out[#out + 1] = "| " .. table.concat(cells, " | ") .. " |"
  end
  local rule = {}
  for c, width in ipairs(widths) do rule[c] = ("-"):rep(width - 1) .. (c == 1 and "-" or ":") end
  line(header)
  out[#out + 1] = "| " .. table.concat(rule, " | ") .. " |"
  for _, row in ipairs(rows) do line(row) end
end

local function find(programs, flag)
  for _, program in ipairs(programs) do
    if program[flag] then return program.name end
  end
end

local function label(program)
  return program.name .. (program.hand_made and " *" or "")
end

--- How many times better `a` is than `b`.
local function times_better(better, a, b)
  if not a or not b or a == 0 or b == 0 then return "" end
  return short(better == "higher" and a / b or b / a)
end

local function share_of_floor(better, value, floor)
  if not value or not floor then return "" end
  return short(100 * (better == "higher" and value / floor or floor / value)) .. " %"
end

--- CPU seconds per run of nominal size: a program that was given fewer items is scaled up, one with more down;
--- where there is no nominal size, per repetition.
local function nominal_cpu(workload, runs, quick)
  local cpu = median(runs, "cpu_seconds")
  if not cpu then return nil end
  return cpu * (workload.items and workload.items * (quick and 0.1 or 1) or 1) / runs[1].items
end

--- Columns: { title, function(program, entry, median, least, greatest) -> text }, without those that would be empty.
local function speed_columns(workload, per, programs, quick)
  local better = workload.better
  local function value(name)
    return name and per[name] and (median(per[name].runs, workload.metric)) or nil
  end
  local own, batched = find(programs, "ours"), value(find(programs, "batched"))
  local ours, floor = value(own), value(workload.floor or find(programs, "floor"))
  local others = next(per) ~= own or next(per, own) ~= nil
  local columns = {
    { "program", function(program) return label(program) end },
    { workload.unit, function(_, _, middle) return short(middle) end },
    { "least to greatest", function(_, entry, middle, least, greatest)
      if not middle then return entry.failure or "" end
      return short(least) .. " to " .. short(greatest) .. (entry.failure and ", then " .. entry.failure or "")
    end },
    { "CPU s", function(_, entry) return short(nominal_cpu(workload, entry.runs, quick)) end },
  }
  local function add(wanted, title, text)
    if wanted then columns[#columns + 1] = { title, text } end
  end
  if workload.second then
    table.insert(columns, 3, { workload.second[2], function(_, entry)
      return short((median(entry.runs, workload.second[1])))
    end })
  end
  add(floor, "of the floor", function(program, _, middle)
    return not program.floor and share_of_floor(better, middle, floor) or ""
  end)
  add(ours and others, "Minigun is better by", function(program, _, middle)
    return program.ours and "" or times_better(better, ours, middle)
  end)
  add(batched, "with p:batch by", function(program, _, middle)
    return program.batched and "" or times_better(better, batched, middle)
  end)
  return columns
end

local function add_speed_table(out, workload, programs, per, quick)
  local header, rows = {}, {}
  local columns = speed_columns(workload, per, programs, quick)
  for c, column in ipairs(columns) do header[c] = column[1] end
  for _, program in ipairs(programs) do
    local entry = per[program.name]
    if entry then
      local row = {}
      for c, column in ipairs(columns) do row[c] = column[2](program, entry, median(entry.runs, workload.metric)) end
      rows[#rows + 1] = row
    end
  end
  add_rows(out, header, rows)
end

local function add_outcome_table(out, programs, per)
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
  add_rows(out, { "program", "the run", "items", "arrived", "named in failures", "unaccounted", "doubled" }, rows)
end

--- The medians of all figures of a program at every point of a sweep; key "cpu" is made here.
local function medians_of(sweep, name, results)
  local all, failure = {}, nil
  for _, point in ipairs(sweep.points) do
    local entry = (results[sweep.name .. "_" .. point[1]] or {})[name]
    if entry and entry.runs[1] then
      local figures = {}
      for key in pairs(entry.runs[1]) do figures[key] = median(entry.runs, key) end
      figures.cpu = figures.cpu_seconds and figures.cpu_seconds / figures.items * 1e6
      all[point[1]] = figures
    end
    failure = failure or entry and entry.failure
  end
  return next(all) and all, failure
end

--- Programs and their figures at all points, measured and derived: { program, metric, [point key] = number }.
local function sweep_series(sweep, programs, results)
  local list, notes = {}, {}
  for _, metric in ipairs(sweep.metrics) do
    for _, program in ipairs(programs) do
      local all, failure = medians_of(sweep, program.name, results)
      local series, any = { program = program, metric = metric }, false
      for point, figures in pairs(all or {}) do
        series[point] = metric.derive and metric.derive(figures, all, point) or figures[metric.key]
        any = any or series[point] ~= nil
      end
      if any then list[#list + 1] = series end
      if failure and metric == sweep.metrics[1] then notes[#notes + 1] = program.name .. ": " .. failure end
    end
  end
  return list, notes
end

--- How many times better than the others ours is at each point, and ours with p:batch than others with arrays, as
--- series of texts; in the first metric, or in all of an upright table.
local function comparisons(sweep, series)
  local list = {}
  for _, flag in ipairs { "ours", "batched" } do
    for _, own in ipairs(series) do
      for _, other in ipairs(series) do
        local better = own.metric.better
        local like = own.program[flag] and better and other.metric == own.metric and
          (flag == "ours" or other.program.hand_made)
        if like and not (other.program.ours or other.program.batched) and
            (own.metric == sweep.metrics[1] or sweep.upright) then
          local row = { name = ("%s is better than %s by"):format(label(own.program), label(other.program)),
            short_name = ("%s: %s / Minigun"):format(own.metric.label, other.program.name) }
          for _, point in ipairs(sweep.points) do
            row[point[1]] = times_better(better, own[point[1]], other[point[1]])
          end
          list[#list + 1] = row
        end
      end
    end
  end
  return list
end

--- One table for a whole sweep: programs and metrics down and points across, or the other way round.
local function add_sweep_table(out, sweep, programs, results)
  local series, notes = sweep_series(sweep, programs, results)
  local columns = {} -- of the upright form: { title, [point] = text }
  for _, s in ipairs(series) do
    local what = #sweep.metrics > 1 and s.metric.label or ""
    local column = { title = sweep.upright and what .. ": " .. s.program.name or
      label(s.program) .. (what ~= "" and ": " .. what or "") }
    for _, point in ipairs(sweep.points) do column[point[1]] = short(s[point[1]]) end
    columns[#columns + 1] = column
  end
  for _, c in ipairs(comparisons(sweep, series)) do
    c.title = sweep.upright and c.short_name or c.name
    columns[#columns + 1] = c
  end
  local header, rows = { sweep.axis }, {}
  if sweep.upright then
    for _, column in ipairs(columns) do header[#header + 1] = column.title end
    for _, point in ipairs(sweep.points) do
      local row = { point[2] }
      for _, column in ipairs(columns) do row[#row + 1] = column[point[1]] end
      rows[#rows + 1] = row
    end
  else
    for _, point in ipairs(sweep.points) do header[#header + 1] = point[2] end
    for _, column in ipairs(columns) do
      local row = { column.title }
      for _, point in ipairs(sweep.points) do row[#row + 1] = column[point[1]] end
      rows[#rows + 1] = row
    end
  end
  add_rows(out, header, rows)
  for _, note in ipairs(notes) do out[#out + 1] = "\n" .. note end
end

local function versions(about)
  local names, list = {}, {}
  for name in pairs(about.versions) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do list[i] = name .. " " .. about.versions[name] end
  return table.concat(list, ", ")
end

--- The tables of a run, as text.
--- @param run table      machine (see machine.lua, with runs, quick, load_after, minutes), programs (array of name,
---   ours, floor, hand_made, batched), results (workload name -> program name -> { runs, failure })
--- @param heading string  what stands before the title of a workload, "### " in a page
--- @return string
function M.render(run, heading)
  local about, out, drawn = run.machine, {}, {}
  out[1] = ("%s, %d cores, %d MB, %s; %s; commit %s; %d round(s)%s, %.1f minutes; load before %s, after %s."):format(
    about.cpu, about.cores, about.memory_mb, about.kernel, about.date, about.commit, about.runs,
    about.quick and ", a tenth of the items" or "", about.minutes, about.load, about.load_after)
  out[2] = "\n" .. versions(about) .. "."
  for _, workload in ipairs(workloads.workloads) do
    local per = run.results[workload.name]
    local name = workload.sweep or workload.name
    if per and not drawn[name] then
      drawn[name] = true
      out[#out + 1] = ("\n%s%s: %s\n"):format(heading, name, workload.title)
      if workload.sweep then
        add_sweep_table(out, workloads.sweeps[name], run.programs, run.results)
      elseif not next(per) then
        out[#out + 1] = "nothing measured"
      elseif workload.outcome then
        add_outcome_table(out, run.programs, per)
      else
        add_speed_table(out, workload, run.programs, per, about.quick)
      end
    end
  end
  out[#out + 1] = "\n`*`: the user wrote the batching: arrays are passed and the handler loops over them."
  return table.concat(out, "\n") .. "\n"
end

return M
