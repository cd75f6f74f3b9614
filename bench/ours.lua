-- SPDX-License-Identifier: MIT
-- Minigun's side of the benchmarks: the public API with its default settings.
-- usage: lua5.4 bench/ours.lua WORKLOAD [VARIANT] [ITEMS]     from the top of the tree
package.path = "./bench/?.lua;./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./build/?.so;" .. package.cpath
local minigun = require "minigun"
local now = require("minigun.core").now
local workload = require "workload"

--- Producer of 1..items in the coordinator, `handler` in two worker processes, `take` in the coordinator.
local function pool(name, items, handler, take)
  local p = minigun.pipeline(name)
  p:producer("numbers", function(emit)
    for i = 1, items do emit(i) end
  end)
  p:processes(2, function()
    p:processor("work", handler)
  end)
  p:consumer("take", take)
  return p
end

--- Runs a pipeline and gives back the seconds of the run and the CPU seconds used before it.
local function timed(p, options)
  local cpu, start = os.clock(), now()
  local result = p:run(options)
  return now() - start, cpu, result
end

local workloads = {}

function workloads.W1(items)
  items = items or 1000000
  local expected, sum = workload.expected_sum(items), 0
  local p = pool("w1", items, function(x, emit)
    emit((x * x) % 7919)
  end, function(y)
    sum = sum + y
  end)
  local seconds, cpu = timed(p)
  return workload.rate(items, seconds, cpu, sum == expected)
end

function workloads.W2(items)
  items = items or 100000
  local count = 0
  local p = minigun.pipeline "w2"
  p:producer("records", function(emit)
    for i = 1, items do emit(workload.record(i)) end
  end)
  p:processes(2, function()
    p:processor("mark", function(record, emit)
      record.ok = true
      emit(record)
    end)
  end)
  p:consumer("count", function(record)
    if record.ok then count = count + 1 end
  end)
  local seconds, cpu = timed(p)
  return workload.rate(items, seconds, cpu, count == items)
end

local function blobs(items, handler, check)
  items = items or 1000
  local blob, good = workload.blob(), 0
  local p = minigun.pipeline "w3"
  p:producer("blobs", function(emit)
    for _ = 1, items do emit(blob) end
  end)
  p:processes(2, function()
    p:processor("work", handler)
  end)
  p:consumer("check", function(result)
    if check(result) then good = good + 1 end
  end)
  local seconds, cpu = timed(p)
  return workload.rate(items, seconds, cpu, good == items)
end

function workloads.W3a(items)
  return blobs(items, function(blob, emit) emit(#blob) end, function(n) return n == 1 << 20 end)
end

function workloads.W3b(items)
  return blobs(items, function(blob, emit) emit(blob) end, function(blob) return #blob == 1 << 20 end)
end

local function tasks(items, uneven)
  items = items or 2000
  local list = workload.tasks(items, workload.loops_per_ms(now), uneven)
  local serial, done = workload.serial_seconds(list, now), 0
  local p = minigun.pipeline "w4"
  p:producer("tasks", list)
  p:processes(2, function()
    p:processor("burn", function(loops, emit) emit(workload.burn(loops)) end)
  end)
  p:consumer("count", function() done = done + 1 end)
  local seconds, cpu = timed(p)
  local figures = workload.rate(items, seconds, cpu, done == items)
  figures.speedup = serial / seconds
  return figures
end

function workloads.W4(items) return tasks(items, false) end
function workloads.W4tail(items) return tasks(items, true) end

local function fork_per_batch(batches, megabytes)
  batches = batches or 500
  local heap, total, n = workload.heap(megabytes), 0, batches * 100
  local p = minigun.pipeline "w5"
  p:producer("numbers", function(emit)
    for i = 1, n do emit(i) end
  end)
  p:batch(100)
  p:process_per_batch({ max = 2 }, function()
    p:processor("sum", function(batch, emit)
      local sum = 0
      for i = 1, #batch do sum = sum + batch[i] end
      emit(sum)
    end)
  end)
  p:consumer("total", function(sum) total = total + sum end)
  local seconds, cpu = timed(p)
  return workload.rate(batches, seconds, cpu, total == n * (n + 1) // 2 and #heap > 0)
end

function workloads.W5_20(batches) return fork_per_batch(batches, 20) end
function workloads.W5_500(batches) return fork_per_batch(batches, 500) end

function workloads.W5mem()
  local heap, private = workload.heap(500), nil
  local p = minigun.pipeline "w5_memory"
  p:producer("one", { true })
  p:process_per_batch({ max = 1 }, function()
    p:processor("read", function(_, emit)
      workload.read_one_percent(heap)
      emit(workload.private_mb())
    end)
  end)
  p:consumer("keep", function(mb) private = mb end)
  local _, cpu = timed(p)
  return { items = 1, private_mb = private, cpu_before = cpu, ok = private and 1 or 0 }
end

function workloads.W6()
  local cpu, times = os.clock(), {}
  for i = 1, 20 do
    local start, results = now(), 0
    pool("w6", 1, function(x, emit) emit(x * x) end, function() results = results + 1 end):run()
    times[i] = (now() - start) * 1000
    assert(results == 1)
  end
  return { items = 20, ms = workload.median(times), cpu_before = cpu, ok = 1 }
end

-- With `queue = 1` the pool has at most one item in hand, so `emit` returns only when the former item's
-- result has been handled: the time between two returns is one round trip.
function workloads.W7(items)
  items = items or 10000
  local times, sent, handled, most = {}, 0, 0, 0
  local p = minigun.pipeline "w7"
  p:producer("ping", function(emit)
    local last
    for i = 1, items + 1 do
      emit(i)
      local t = now()
      sent = sent + 1
      most = math.max(most, sent - handled)
      if last then times[#times + 1] = t - last end
      last = t
    end
  end)
  p:processor("pong", { processes = 1, queue = 1 }, function(x, emit) emit((x * x) % 7919) end)
  p:consumer("handle", function() handled = handled + 1 end)
  local _, cpu = timed(p)
  local p50, p99 = workload.percentiles(times)
  return { items = items, p50_us = p50, p99_us = p99, in_flight = most, cpu_before = cpu,
    ok = handled == items + 1 and most <= 2 and 1 or 0 }
end

--- W1 with a murder. Every result carries its item's number, so a lost one and a doubled one are told apart.
local function crash(items, in_worker, in_coordinator)
  items = items or 1000000
  local seen, arrived, doubled = {}, 0, 0
  local p = pool("w8", items, function(x, emit)
    in_worker(x, items)
    emit(x * 8192 + (x * x) % 7919)
  end, function(y)
    local x = y // 8192
    if seen[x] then doubled = doubled + 1 else arrived = arrived + 1 end
    seen[x] = true
    in_coordinator(arrived, items)
  end)
  local seconds, cpu, result = timed(p, { failures = "collect" })
  local failed = {}
  for _, failure in ipairs(result.failures) do failed[#failed + 1] = failure.kind end
  local missing = items - arrived - #failed
  return { items = items, seconds = seconds, arrived = arrived, failures = #failed, doubled = doubled,
    missing = missing, kinds = failed[1] and table.concat(failed, ","):gsub("%s", "_") or "none",
    outcome = "completes", cpu_before = cpu, ok = missing == 0 and doubled == 0 and 1 or 0 }
end

local function nothing() end

function workloads.W8(items)
  return crash(items, function(x, n)
    if x == n // 2 then os.execute "kill -9 $PPID" end
  end, nothing)
end

function workloads.W8out(items)
  local killed
  return crash(items, nothing, function(arrived, n)
    if killed or arrived < n // 4 then return end
    killed = true
    local file <close> = assert(io.open "/proc/thread-self/children")
    os.execute("kill -9 " .. assert(file:read "a":match "%d+", "no worker is alive"))
  end)
end

function workloads.W9(items)
  items = items or 1000000
  local sum = 0
  local p = minigun.pipeline "w9"
  p:producer("numbers", function(emit)
    for i = 1, items do emit(i) end
  end)
  p:processor("single", { processes = 1 }, function(x, emit) emit(x) end)
  p:batch(1000)
  p:processor("add", { processes = 1 }, function(batch, emit)
    local part = 0
    for i = 1, #batch do part = part + batch[i] end
    emit(part)
  end)
  p:consumer("take", function(part) sum = sum + part end)
  local seconds, cpu = timed(p)
  return workload.rate(items, seconds, cpu, sum == items * (items + 1) // 2)
end

workload.main(workloads, arg)
