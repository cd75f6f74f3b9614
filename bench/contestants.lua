-- SPDX-License-Identifier: MIT
--- The programs that take part in the benchmarks.
local M = {}

--- Workloads at full size, for a contestant that is fast enough.
local function all(...)
  local set = {}
  for _, name in ipairs { ... } do set[name] = 1 end
  return set
end

local function python()
  local executable = os.execute "test -x /usr/bin/python3" and "/usr/bin/python3" or "python3"
  local script, check = executable .. " bench/peers/python_mp.py", executable .. " -c 'import multiprocessing'"
  return { name = "Python Pool.imap", command = script, variant = "imap", check = check,
      workloads = { W1 = 0.05, W2 = 0.2, W3a = 1, W3b = 1, W4 = 1, W4tail = 1, W4two = 1, W6 = 1, W8 = 0.05 } },
    { name = "Python Pool.map", command = script, variant = "map", check = check, chart = 5,
      workloads = { W1 = 1, W2 = 1, W4 = 1, W4tail = 1, W4two = 1, W11 = 1, W11_256 = false, W12_sleep = 1, S1 = 0.3,
        S2 = 1 } },
    { name = "Python Process and Pipe, lists by hand", command = script, variant = "pipe", check = check, chart = 6,
      hand_made = true, workloads = all("W1", "W2", "W7", "W7cold", "W7short", "S1", "S2") },
    { name = "Python Pool.apply", command = script, variant = "apply", check = check,
      workloads = all("W7", "W7cold", "W7short") },
    { name = "Python futures", command = script, variant = "futures", check = check,
      workloads = all("W4", "W4tail", "W4two") },
    { name = "Python os.fork", command = script, variant = "fork", check = check,
      workloads = { W5_20 = 1, W5_500 = 0.2, W5mem = 1 } }
end

-- The programs of the log job, bench/log/.
local function of_log(name, program, check)
  return { name = name, command = "lua5.4 bench/log/job.lua", variant = program, check = check,
    workloads = all("W16", "W16large") }
end

local function codec(variant)
  return { "lua5.4 bench/codec.lua", variant }
end

--- A serializer that a program may find on a machine.
local function serializer(name, module, check)
  return { name = name, command = codec(module)[1], variant = module, check = check, workloads = all "C1" }
end

--- The programs. `variant` is the second word of their command line. `workloads` tells the share of the nominal
--- items each is given: slow ones get fewer, very fast ones more; a workload's name goes before that of its sweep,
--- and false leaves it out. `hand_made`: the user wrote the batching. `check`: a command that succeeds when the peer
--- is installed. `other`: command and variant where they are others for a workload. `chart`: its place in the chart.
--- `ours`, `batched` (ours with p:batch) and `floor` stand at one program each.
--- @return table  array of contestants
function M.contestants()
  local lua, ours = "lua5.4", "lua5.4 bench/ours.lua"
  local log = { "lua5.4 bench/log/job.lua", "minigun" }
  local function needs(module) return lua .. " -e 'require \"" .. module .. "\"'" end
  local luv = "env UV_THREADPOOL_SIZE=2 lua5.4 bench/peers/luv_work.lua"
  local cqueues = "lua5.4 bench/peers/cqueues_thread.lua"
  local mce, ruby = "perl bench/peers/mce.pl", "/usr/bin/ruby bench/peers/ruby_parallel.rb"
  local has_mce, has_parallel = "perl -MMCE::Flow -e 1", "/usr/bin/ruby -rparallel -e 1"
  local list = {
    { name = "Minigun", ours = true, command = ours, variant = "default", chart = 1,
      workloads = all("W1", "W2", "W3a", "W3b", "W4", "W4tail", "W4two", "W5_20", "W5_500", "W5mem", "W6", "W7",
        "W7cold", "W7short", "W8", "W8out", "W9", "W10", "W11", "W12", "W13", "W14", "W15", "W16", "W16large", "C1",
        "S1", "S2"),
      other = { C1 = codec("minigun"), W16 = log, W16large = log } },
    { name = "Minigun, p:batch", batched = true, hand_made = true, command = ours, variant = "batch", chart = 2,
      workloads = all("W1", "W2", "S1", "S2") },
    { name = "Minigun, arrays by hand", hand_made = true, command = ours, variant = "hand",
      workloads = all("W1", "W2") },
    { name = "C floor", floor = true, command = "build/bench/floor", variant = "spin",
      check = "test -x build/bench/floor",
      workloads = { W1 = 20, W2 = 20, W3a = 1, W3b = 1, W4 = 1, W4tail = 1, W5_20 = 1, W5_500 = 0.2, W6 = 1, W7 = 1,
        C1 = 1, S1 = 1 },
      other = { C1 = codec("floor") } },
    { name = "C pipe", command = "build/bench/ping", variant = "pipe", check = "test -x build/bench/ping",
      workloads = all("W7", "W7cold", "W7short") },
    { name = "C futex", command = "build/bench/ping", variant = "futex", check = "test -x build/bench/ping",
      workloads = all("W7", "W7cold", "W7short") },
    { name = "plain Lua loop, one process", command = lua .. " bench/peers/plain.lua", variant = "loop",
      workloads = { W1 = 5, W2 = 1, W13 = 5, W14 = 5, W15 = 5 } },
    { name = "luv, singly", command = luv, variant = "singly", check = needs "luv",
      workloads = all("W1", "W2", "W3a", "W3b", "W4", "W4tail", "W6", "W7", "W7cold", "W7short") },
    { name = "luv, chunks by hand", command = luv, variant = "chunk", hand_made = true, check = needs "luv", chart = 3,
      workloads = all("W1", "W2", "S1", "S2") },
    { name = "cqueues.thread, singly", command = cqueues, variant = "singly", check = needs "cqueues.thread",
      workloads = { W1 = 0.5, W2 = 1, W3a = 1, W3b = 1, W6 = 1, W7 = 1, W7cold = 1, W7short = 1 } },
    { name = "cqueues.thread, chunks by hand", command = cqueues, variant = "chunk", hand_made = true, chart = 4,
      check = needs "cqueues.thread", workloads = all("W1", "W2", "S1", "S2") },
  }
  table.move({ python() }, 1, 6, #list + 1, list)
  table.move({
    { name = "MCE::Flow, chunk_size 1", command = mce, variant = "singly", check = has_mce,
      workloads = { W1 = 0.1, W2 = 0.2, W3a = 1, W3b = 1, W4 = 1, W4tail = 1, W6 = 1, W7 = 1, W7cold = 1, W7short = 1,
        W8 = 0.1, W11 = 1, W11_256 = false } },
    { name = "MCE::Flow, its own chunks", command = mce, variant = "flow", check = has_mce, chart = 7,
      workloads = { W1 = 1, W2 = 1, S1 = 0.5, S2 = 1 } },
    { name = "MCE::Map", command = mce, variant = "map", check = has_mce, workloads = all("W1", "W4", "W4tail") },
    { name = "Perl fork", command = mce, variant = "fork", check = has_mce,
      workloads = { W5_20 = 1, W5_500 = 0.2, W5mem = 1 } },
    { name = "Ruby parallel, singly", command = ruby, variant = "singly", check = has_parallel,
      workloads = { W1 = 0.1, W2 = 0.5, W3a = 1, W3b = 1, W4 = 1, W4tail = 1, W6 = 1, W7 = 1, W7cold = 1, W7short = 1,
        W8 = 0.1 } },
    { name = "Ruby parallel, slices by hand", command = ruby, variant = "chunk", hand_made = true,
      check = has_parallel, workloads = all("W1", "W2") },
    { name = "Ruby fork", command = ruby, variant = "fork", check = has_parallel,
      workloads = { W5_20 = 1, W5_500 = 0.2, W5mem = 1 } },
    serializer("cjson", "cjson", needs "cjson"),
    serializer("cmsgpack", "cmsgpack", needs "cmsgpack"),
    serializer("MessagePack in Lua", "MessagePack", needs "MessagePack"),
    of_log("plain Lua loop", "plain"),
    of_log("LuaJIT loop", "luajit", "luajit -v"),
    of_log("mawk", "mawk", "mawk -W version"),
    of_log("Go loop", "go", "test -x build/bench/log_go"),
    of_log("GNU parallel and mawk", "parallel_mawk", "parallel --version && mawk -W version"),
    of_log("GNU parallel and Lua", "parallel_lua", "parallel --version && mawk -W version"),
    of_log("Python multiprocessing", "python", "python3 -c 'import multiprocessing'"),
  }, 1, 17, #list + 1, list)
  return list
end

return M
