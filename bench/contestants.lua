-- SPDX-License-Identifier: MIT
--- What is measured: the workloads with their metric, and the programs that take part.
local M = {}

--- Workloads in the order of the report. `items`: the nominal number of a full run, nil where it is fixed;
--- `metric`: the key a program prints; `better`: "higher" or "lower"; `once`: an outcome, not a speed.
M.workloads = {
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
  { name = "W5_20", title = "fork per batch, 20 MB heap", items = 500, metric = "rate", unit = "batches/s",
    better = "higher" },
  { name = "W5_500", title = "fork per batch, 500 MB heap", items = 500, metric = "rate", unit = "batches/s",
    better = "higher" },
  { name = "W5mem", title = "private memory of a child that reads 1 % of 500 MB", metric = "private_mb", unit = "MB",
    better = "lower" },
  { name = "W6", title = "two workers up, one item through, all reaped", metric = "ms", unit = "ms", better = "lower" },
  { name = "W7", title = "round trip of one small item, 10,000 times", items = 10000, metric = "p50_us",
    second = "p99_us", unit = "us p50", better = "lower" },
  { name = "W8", title = "a worker is killed while it handles item N/2", items = 1000000, outcome = true },
  { name = "W8out", title = "a worker is killed from outside in mid-run", items = 1000000, outcome = true },
  { name = "W9", title = "1,000,000 integers, in batches of 1,000 between two pools", items = 1000000, metric = "rate",
    unit = "items/s", better = "higher" },
}

--- Workloads at full size, for a contestant that is fast enough.
local function all(...)
  local set = {}
  for _, name in ipairs { ... } do set[name] = 1 end
  return set
end

local function python(label, executable)
  local script = executable .. " bench/peers/python_mp.py"
  local check = executable .. " -c 'import multiprocessing'"
  return { name = label .. " Pool.imap", command = script, variant = "imap", check = check,
      workloads = { W1 = 0.05, W2 = 0.2, W3a = 1, W3b = 1, W4 = 1, W4tail = 1, W6 = 1, W8 = 0.05 } },
    { name = label .. " Pool.map", command = script, variant = "map", check = check,
      workloads = all("W1", "W2", "W4", "W4tail") },
    { name = label .. " Process and Pipe, lists by hand", command = script, variant = "pipe", check = check,
      hand_made = true, workloads = all("W1", "W2", "W7") },
    { name = label .. " Pool.apply", command = script, variant = "apply", check = check, workloads = all "W7" },
    { name = label .. " os.fork", command = script, variant = "fork", check = check,
      workloads = all("W5_20", "W5_500", "W5mem") }
end

--- The Pythons of this machine: the system's, and the one of PATH when it is another.
local function pythons()
  local seen, list = {}, {}
  for _, command in ipairs { "/usr/bin/python3", "python3" } do
    local pipe = io.popen(command .. " -c 'import sys, os; print(os.path.realpath(sys.executable), " ..
      "sys.version.split()[0])' 2>/dev/null")
    local path, version = (pipe:read "l" or ""):match "^(%S+) (%S+)$"
    pipe:close()
    if path and not seen[path] then
      seen[path] = true
      list[#list + 1] = { path = path, version = version }
    end
  end
  return list
end

--- The programs. `variant` is the second word of their command line. `workloads` tells the share of the
--- nominal items each is given: slow ones get fewer, very fast ones more. `hand_made`: the user wrote the batching.
--- `check`: a command that succeeds when the peer is installed.
--- @return table  array of contestants; the first is ours, those with `floor` are the C floor
function M.contestants()
  local lua = "lua5.4"
  local function needs(module) return lua .. " -e 'require \"" .. module .. "\"'" end
  local luv = "env UV_THREADPOOL_SIZE=2 lua5.4 bench/peers/luv_work.lua"
  local cqueues = "lua5.4 bench/peers/cqueues_thread.lua"
  local mce, ruby = "perl bench/peers/mce.pl", "/usr/bin/ruby bench/peers/ruby_parallel.rb"
  local has_mce, has_parallel = "perl -MMCE::Flow -e 1", "/usr/bin/ruby -rparallel -e 1"
  local list = {
    { name = "Minigun", ours = true, command = lua .. " bench/ours.lua", variant = "default",
      check = "env LUA_PATH='./lua/?.lua;./lua/?/init.lua;;' LUA_CPATH='./build/?.so;;' " .. needs "minigun",
      workloads = all("W1", "W2", "W3a", "W3b", "W4", "W4tail", "W5_20", "W5_500", "W5mem", "W6", "W7", "W8",
        "W8out", "W9") },
    { name = "C floor", floor = true, command = "build/bench/floor", variant = "spin",
      check = "test -x build/bench/floor",
      workloads = { W1 = 20, W2 = 20, W3a = 1, W3b = 1, W5_20 = 1, W5_500 = 0.2, W6 = 1, W7 = 1 } },
    { name = "C floor, both sleeping", command = "build/bench/floor", variant = "futex",
      check = "test -x build/bench/floor", workloads = all "W7" },
    { name = "plain Lua loop, one process", command = lua .. " bench/peers/plain.lua", variant = "loop",
      workloads = { W1 = 5, W2 = 1 } },
    { name = "luv, singly", command = luv, variant = "singly", check = needs "luv",
      workloads = all("W1", "W2", "W3a", "W3b", "W4", "W4tail", "W6", "W7") },
    { name = "luv, chunks by hand", command = luv, variant = "chunk", hand_made = true, check = needs "luv",
      workloads = all("W1", "W2") },
    { name = "cqueues.thread, singly", command = cqueues, variant = "singly", check = needs "cqueues.thread",
      workloads = { W1 = 0.5, W2 = 1, W3a = 1, W3b = 1, W6 = 1, W7 = 1 } },
    { name = "cqueues.thread, chunks by hand", command = cqueues, variant = "chunk", hand_made = true,
      check = needs "cqueues.thread", workloads = all("W1", "W2") },
  }
  for _, p in ipairs(pythons()) do
    table.move({ python("Python " .. p.version, p.path) }, 1, 5, #list + 1, list)
  end
  table.move({
    { name = "MCE::Flow, chunk_size 1", command = mce, variant = "singly", check = has_mce,
      workloads = { W1 = 0.1, W2 = 0.2, W3a = 1, W3b = 1, W4 = 1, W4tail = 1, W6 = 1, W7 = 1, W8 = 0.1 } },
    { name = "MCE::Flow, its own chunks", command = mce, variant = "flow", check = has_mce,
      workloads = all("W1", "W2") },
    { name = "MCE::Map", command = mce, variant = "map", check = has_mce, workloads = all("W1", "W4", "W4tail") },
    { name = "Perl fork", command = mce, variant = "fork", check = has_mce,
      workloads = all("W5_20", "W5_500", "W5mem") },
    { name = "Ruby parallel, singly", command = ruby, variant = "singly", check = has_parallel,
      workloads = { W1 = 0.1, W2 = 0.5, W3a = 1, W3b = 1, W4 = 1, W4tail = 1, W6 = 1, W7 = 1, W8 = 0.1 } },
    { name = "Ruby parallel, slices by hand", command = ruby, variant = "chunk", hand_made = true,
      check = has_parallel, workloads = all("W1", "W2") },
    { name = "Ruby fork", command = ruby, variant = "fork", check = has_parallel,
      workloads = all("W5_20", "W5_500", "W5mem") },
  }, 1, 7, #list + 1, list)
  return list
end

return M
