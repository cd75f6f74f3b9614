-- SPDX-License-Identifier: MIT
--- What is measured. A workload:
---   name, title    of the table; the name is the first word of a program's command line
---   items          the nominal number of a full run, nil where it is fixed
---   metric, unit   the key of the figure that a program prints, and what it is; better: "higher" or "lower"
---   second         { key, unit } of a second figure
---   outcome        true: no speed but what became of the run
---   floor          the program that is its floor, where that is not the one marked so
---   crowd          true: measured while one process spins for each processor
---   rounds         at most so many, where more would tell no more;  heavy: left out of a quick run
---   sweep, point   it is one point of a row of workloads that have one table together
local M = { workloads = {}, sweeps = {} }

local function add(list)
  table.move(list, 1, #list, #M.workloads + 1, M.workloads)
end

--- A row of workloads that differ in one number, or in the kind of value.
--- @param sweep table  name, title, axis (what the points are), points (array of { key, label, items }),
---   metrics (array of { key, label, better }; key "cpu" is processor time per item in us; `derive` makes the figure
---   from the program's medians: function(figures of point, of all points by key, point key)), and `upright` for
---   programs across and points down
local function add_sweep(sweep)
  M.sweeps[sweep.name] = sweep
  for _, point in ipairs(sweep.points) do
    add { { name = sweep.name .. "_" .. point[1], title = sweep.title, sweep = sweep.name, point = point[1],
      items = point[3], rounds = sweep.rounds } }
  end
end

add {
  { name = "W1", title = "1,000,000 integers", items = 1000000, metric = "rate", unit = "items/s", better = "higher" },
  { name = "W2", title = "100,000 records", items = 100000, metric = "rate", unit = "items/s", better = "higher" },
  { name = "W3a", title = "1,000 blobs of 1 MiB, length back", items = 1000, metric = "rate", unit = "blobs/s",
    better = "higher" },
  { name = "W3b", title = "1,000 blobs of 1 MiB, blob back", items = 1000, metric = "rate", unit = "blobs/s",
    better = "higher" },
  { name = "W4", title = "2,000 tasks of 1 ms", items = 2000, metric = "speedup", unit = "times serial",
    better = "higher" },
  { name = "W4tail", title = "2,000 tasks of 0.1 to 10 ms, long tail", items = 2000, metric = "speedup",
    unit = "times serial", better = "higher" },
  { name = "W4two", title = "2,000 tasks of 0.05 ms, 20 of 30 ms among the second half", items = 2000,
    metric = "speedup", unit = "times serial", better = "higher" },
  { name = "W5_20", title = "fork per batch, 20 MB heap", items = 500, metric = "rate", unit = "batches/s",
    better = "higher" },
  { name = "W5_500", title = "fork per batch, 500 MB heap", items = 500, metric = "rate", unit = "batches/s",
    better = "higher", heavy = true },
  { name = "W5mem", title = "private memory of a child that reads 1 % of 500 MB", metric = "private_mb", unit = "MB",
    better = "lower", rounds = 1, heavy = true },
  { name = "W6", title = "two workers up, one item through, all reaped", metric = "ms", unit = "ms", better = "lower" },
  { name = "W7", title = "round trip of one small item, 10,000 times", items = 10000, metric = "p50_us",
    second = { "p99_us", "us p99" }, unit = "us p50", better = "lower" },
  { name = "W7cold", title = "round trip of one small item after a pause of 1 ms, 500 times", items = 500,
    metric = "p50_us", second = { "p99_us", "us p99" }, unit = "us p50", better = "lower", floor = "C pipe" },
  { name = "W7short", title = "round trip of one small item while a process spins on each processor, 1,000 times",
    items = 1000, metric = "p50_us", second = { "p99_us", "us p99" }, unit = "us p50", better = "lower",
    floor = "C pipe", crowd = true },
  { name = "W8", title = "a worker is killed while it handles item N/2", items = 1000000, outcome = true, rounds = 2 },
  { name = "W8out", title = "a worker is killed from outside in mid-run", items = 1000000, outcome = true, rounds = 2 },
  { name = "W9", title = "1,000,000 integers, in batches of 1,000 between two pools", items = 1000000, metric = "rate",
    unit = "items/s", better = "higher" },
  { name = "W10", title = "100,000 records through three stages, two pools and the caller", items = 100000,
    metric = "rate", unit = "items/s", second = { "of_single", "of one pool's rate" }, better = "higher" },
  { name = "W16", title = "1,000,000 lines of a log, counted by path (bench/log/)", items = 1000000, metric = "rate",
    unit = "lines/s", better = "higher", floor = "plain Lua loop" },
  { name = "W16large", title = "8,000,000 lines of a log, counted by path", items = 8000000, metric = "rate",
    unit = "lines/s", better = "higher", floor = "plain Lua loop", rounds = 3, heavy = true },
}

local function of_two_workers(figures, all)
  return figures.rate and all["2"] and all["2"].rate and 100 * figures.rate / all["2"].rate
end

local function ms_per_worker(figures, all, point)
  return point ~= "1" and figures.start_ms and all["1"] and all["1"].start_ms and
    (figures.start_ms - all["1"].start_ms) / (tonumber(point) - 1)
end

local function worker_points()
  local points = {}
  for i, n in ipairs { 1, 2, 4, 16, 64, 256 } do points[i] = { tostring(n), tostring(n), 2000 } end
  return points
end

add_sweep {
  name = "W11", title = "2,000 tasks of 1 ms with 1 to 256 workers", axis = "workers", points = worker_points(),
  rounds = 3,
  metrics = {
    { key = "rate", label = "tasks/s" },
    { key = "kept", label = "% of the rate with 2", derive = of_two_workers },
    { key = "added", label = "ms to start and end each added worker", derive = ms_per_worker },
    { key = "private_kb", label = "KB of private memory per idle worker" },
    { key = "pte_kb", label = "KB of page tables per idle worker" },
  },
}

local function ns_per_part(figures, _, point) return figures.cpu and 1000 * figures.cpu / tonumber(point) end
local function deliveries(figures, _, point) return figures.rate and figures.rate * tonumber(point) end

local CHAIN = { { key = "rate", label = "items/s", better = "higher" },
  { key = "ns", label = "ns of processor time for each stage and item", better = "lower", derive = ns_per_part } }

add_sweep { name = "W13", title = "integers through cheap stages of one group, two workers",
  axis = "stages in the group",
  points = { { "2", "2", 1000000 }, { "4", "4", 500000 }, { "12", "12", 300000 } }, metrics = CHAIN, rounds = 3 }
add_sweep { name = "W14", title = "integers through cheap stages of the program's own process", axis = "stages",
  points = { { "4", "4", 500000 }, { "12", "12", 300000 } }, metrics = CHAIN, rounds = 3 }
add_sweep { name = "W15", title = "each item of a pool to several stages of the program's own process",
  axis = "stages that get each item", points = { { "2", "2", 300000 }, { "8", "8", 100000 } }, rounds = 3,
  metrics = { { key = "deliveries", label = "deliveries/s", better = "higher", derive = deliveries },
    { key = "ns", label = "ns of processor time for each", better = "lower", derive = ns_per_part } } }

-- The number of items is the milliseconds of idleness.
add_sweep {
  name = "W12", title = "two workers idle for 2 s: processor time of all processes, in % of one processor",
  axis = "what the program waits in", rounds = 3, points = { { "sleep", "a producer that sleeps", 2000 },
    { "descriptor", "a producer that waits for a descriptor", 2000 },
    { "start", "p:start(), and nothing arrives", 2000 } },
  metrics = { { key = "percent", label = "%" } },
}

local function value_points()
  local points = {}
  for i, case in ipairs(require "values") do points[i] = { case[1], case[2] } end
  return points
end

add_sweep {
  name = "C1", title = "one value to bytes and back, in ns", axis = "value", points = value_points(), upright = true,
  rounds = 3, metrics = { { key = "encode_ns", label = "encode", better = "lower" },
    { key = "decode_ns", label = "decode", better = "lower" } },
}

--- As many items as take about a quarter of a second by a guess of what one costs a good program.
local function items_for(seconds_each)
  return math.min(1000000, math.floor(0.25 / seconds_each))
end

local function size_points()
  local points = {}
  for i, size in ipairs { 8, 64, 512, 4096, 32768, 262144, 1048576 } do
    local label = size < 1024 and size .. " B" or size < 1 << 20 and size // 1024 .. " KiB" or "1 MiB"
    points[i] = { tostring(size), label, items_for(0.3e-6 + size * 0.3e-9) }
  end
  return points
end

local function cost_points()
  local points = {}
  for i, us in ipairs { 0, 1, 3, 10, 30, 100, 300, 1000 } do
    points[i] = { tostring(us), us == 1000 and "1 ms" or us .. " us", items_for(0.1e-6 + us * 0.5e-6) }
  end
  return points
end

local THROUGHPUT = { { key = "rate", label = "items/s", better = "higher" },
  { key = "cpu", label = "us of processor time per item", better = "lower" } }

add_sweep { name = "S1", title = "strings of 8 bytes to 1 MiB, length back", axis = "size of an item",
  points = size_points(), metrics = THROUGHPUT, rounds = 3 }
add_sweep { name = "S2", title = "integers, and a handler that spins for 0 to 1 ms", axis = "cost of the handler",
  points = cost_points(), metrics = THROUGHPUT, rounds = 3 }

--- Is it asked for? "W3" asks for W3a and W3b, "S1" for all its points, "S1_8" for that one; "W1" not for W10.
--- @param workload table
--- @param wanted string
--- @return boolean
function M.matches(workload, wanted)
  local name = workload.name
  if name == wanted then return true end
  return name:sub(1, #wanted) == wanted and not wanted:find "_" and not name:sub(#wanted + 1):find "^%d"
end

return M
