-- SPDX-License-Identifier: MIT
-- Minigun's side of the benchmarks: the public API with its default settings.
-- usage: lua5.4 bench/ours.lua WORKLOAD [default|batch|hand] [ITEMS]     from the top of the tree
-- With "batch" a `p:batch` stands before the pool, with "hand" the producer emits arrays: the handler loops over them.
package.path = "./bench/?.lua;./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = ("./%s/?.so;"):format(os.getenv "MINIGUN_BUILD" or "build") .. package.cpath
local minigun = require "minigun"
local now = minigun.now
local workload = require "workload"

--- A source of make(1)..make(items), or of the numbers themselves.
local function source_of(items, make)
  return function(emit)
    if make then
      for i = 1, items do emit(make(i)) end
    else
      for i = 1, items do emit(i) end
    end
  end
end

--- The same in arrays of `size`.
local function arrays_of(items, size, make)
  return function(emit)
    for first = 1, items, size do
      local list, last = {}, math.min(first + size - 1, items)
      if make then
        for i = first, last do list[#list + 1] = make(i) end
      else
        for i = first, last do list[#list + 1] = i end
      end
      emit(list)
    end
  end
end

--- Producer in the coordinator, `handler` in two worker processes, `take` in the coordinator.
local function pool(source, handler, take)
  local p = minigun.pipeline "bench"
  p:producer("source", source)
  p:processes(2, function()
    p:processor("work", handler)
  end)
  p:consumer("take", take)
  return p
end

--- make(1)..make(items) through two workers, in the form that the variant says: `single` has the handlers for items,
--- `array` those for arrays of `size` items, with a loop in them.
local function pool_of(variant, items, make, size, single, array)
  if variant == "hand" then return pool(arrays_of(items, size, make), array.work, array.take) end
  if variant ~= "batch" then return pool(source_of(items, make), single.work, single.take) end
  local p = minigun.pipeline "bench"
  p:producer("source", source_of(items, make))
  p:batch(size)
  p:processes(2, function()
    p:processor("work", array.work)
  end)
  p:consumer("take", array.take)
  return p
end

--- What adds up what it is given, one by one and in arrays, and what tells the sum.
local function adder()
  local sum = 0
  return function(y) sum = sum + y end, function(list)
    for i = 1, #list do sum = sum + list[i] end
  end, function() return sum end
end

--- Runs a pipeline and gives back the seconds of the run and the CPU seconds used before it.
local function timed(p, options)
  local cpu, start = os.clock(), now()
  local result = p:run(options)
  return now() - start, cpu, result
end

local workloads = {}

function workloads.W1(items, variant)
  items = items or 1000000
  local expected, add, add_list, sum = workload.expected_sum(items), adder()
  local p = pool_of(variant, items, nil, 1000, {
    work = function(x, emit) emit((x * x) % 7919) end,
    take = add,
  }, {
    work = function(list, emit)
      for i = 1, #list do list[i] = (list[i] * list[i]) % 7919 end
      emit(list)
    end,
    take = add_list,
  })
  local seconds, cpu = timed(p)
  return workload.rate(items, seconds, cpu, sum() == expected)
end

local function mark(record, emit)
  record.ok = true
  emit(record)
end

function workloads.W2(items, variant)
  items = items or 100000
  local count = 0
  local p = pool_of(variant, items, workload.record, 100, {
    work = mark,
    take = function(record)
      if record.ok then count = count + 1 end
    end,
  }, {
    work = function(list, emit)
      for i = 1, #list do list[i].ok = true end
      emit(list)
    end,
    take = function(list)
      for i = 1, #list do
        if list[i].ok then count = count + 1 end
      end
    end,
  })
  local seconds, cpu = timed(p)
  return workload.rate(items, seconds, cpu, count == items)
end

local function blobs(items, handler, check)
  items = items or 1000
  local blob, good = workload.blob(), 0
  local p = pool(function(emit)
    for _ = 1, items do emit(blob) end
  end, handler, function(result)
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
  local list = workload.tasks(items, workload.loops_per_ms(), uneven)
  local serial, done = workload.serial_seconds(list, now), 0
  local p = pool(list, function(loops, emit) emit(workload.burn(loops)) end, function() done = done + 1 end)
  local seconds, cpu = timed(p)
  local figures = workload.rate(items, seconds, cpu, done == items)
  figures.speedup = serial / seconds
  return figures
end

function workloads.W4(items) return tasks(items, false) end
function workloads.W4tail(items) return tasks(items, true) end
function workloads.W4two(items) return tasks(items, "two") end

local function fork_per_batch(batches, megabytes)
  batches = batches or 500
  local heap, total, n = workload.heap(megabytes), 0, batches * 100
  local p = minigun.pipeline "w5"
  p:producer("numbers", source_of(n))
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
    pool(source_of(1), function(x, emit) emit(x * x) end, function() results = results + 1 end):run()
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

--- After a pause of 1 ms, when all processes sleep. The producer is a thread, so that the coordinator goes on.
function workloads.W7cold(items)
  items = items or 500
  local times, sent_at = {}, nil
  local p = minigun.pipeline "w7"
  p:threads(1, function()
    p:producer("ping", function(emit)
      for i = 1, items do
        repeat minigun.sleep(0.001) until #times == i - 1
        sent_at = now()
        emit(i)
      end
    end)
  end)
  p:processor("pong", { processes = 1 }, function(x, emit) emit((x * x) % 7919) end)
  p:consumer("handle", function() times[#times + 1] = now() - sent_at end)
  local _, cpu = timed(p)
  local p50, p99 = workload.percentiles(times)
  return { items = items, p50_us = p50, p99_us = p99, cpu_before = cpu, ok = #times == items and 1 or 0 }
end

workloads.W7short = workloads.W7 -- with a crowd around it, which is not the program's business

--- W1 with a murder. Every result carries its item's number, so a lost one and a doubled one are told apart.
local function crash(items, in_worker, in_coordinator)
  items = items or 1000000
  local seen, arrived, doubled = {}, 0, 0
  local p = pool(source_of(items), function(x, emit)
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
    os.execute("kill -9 " .. assert(workload.children()[1], "no worker is alive"))
  end)
end

function workloads.W9(items)
  items = items or 1000000
  local sum = 0
  local p = minigun.pipeline "w9"
  p:producer("numbers", source_of(items))
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

--- Two pools in a row and the caller at the end, beside the first pool alone in the same process.
function workloads.W10(items)
  items = items or 100000
  local alone, count = 0, 0
  local single = timed(pool(source_of(items, workload.record), mark, function() alone = alone + 1 end))
  local p = minigun.pipeline "w10"
  p:producer("records", source_of(items, workload.record))
  p:processor("parse", { processes = 2 }, mark)
  p:processor("enrich", { processes = 2 }, function(record, emit)
    record.total = record.score * #record.tags
    emit(record)
  end)
  p:consumer("sink", function(record)
    if record.ok and record.total == record.score * 3 then count = count + 1 end
  end)
  local seconds, cpu = timed(p)
  local figures = workload.rate(items, seconds, cpu, count == items and alone == items)
  figures.single_rate = items / single
  figures.of_single = single / seconds
  return figures
end

--- The numbers through n stages that add one to each: of a group, or of the coordinator.
local function chain(items, n, define)
  local sum = 0
  local p = minigun.pipeline "chain"
  p:producer("numbers", source_of(items))
  define(p, function()
    for i = 1, n do p:processor("add" .. i, function(x, emit) emit(x + 1) end) end
  end)
  p:consumer("take", function(x) sum = sum + x end)
  local seconds, cpu = timed(p)
  return workload.rate(items, seconds, cpu, sum == items * (items + 1) // 2 + n * items)
end

function workloads.W13(items, _, n)
  return chain(items or 500000, math.tointeger(tonumber(n)), function(p, stages) p:processes(2, stages) end)
end

function workloads.W14(items, _, n)
  return chain(items or 500000, math.tointeger(tonumber(n)), function(_, stages) stages() end)
end

--- Each item of a pool goes to n stages of the coordinator.
function workloads.W15(items, _, n)
  items, n = items or 100000, math.tointeger(tonumber(n))
  local sum, names = 0, {}
  for i = 1, n do names[i] = "take" .. i end
  local p = minigun.pipeline "fan"
  p:producer("numbers", source_of(items))
  p:processor("work", { processes = 2, to = names }, function(x, emit) emit(x) end)
  for i = 1, n do p:consumer(names[i], { from = "work" }, function(x) sum = sum + x end) end
  local seconds, cpu = timed(p)
  return workload.rate(items, seconds, cpu, sum == n * items * (items + 1) // 2)
end

--- One item through a pool of n workers, to its end: what the pool costs, nearly.
local function start_and_end(n)
  local p, done = minigun.pipeline "start", 0
  p:producer("one", { 1 })
  p:processor("work", { processes = n }, function(x, emit) emit(x) end)
  p:consumer("take", function() done = done + 1 end)
  local seconds = timed(p)
  assert(done == 1)
  return seconds * 1000
end

--- Private memory and page tables of a worker that has done nothing, in KB, the mean of all n.
local function idle_memory(n)
  local private, tables, workers = 0, 0, nil
  local p = minigun.pipeline "memory"
  p:producer("look", function(emit)
    minigun.sleep(0.05)
    workers = workload.children()
    for _, pid in ipairs(workers) do
      private = private + workload.sum_of_lines("/proc/" .. pid .. "/smaps_rollup", "^Private_%a+:%s+(%d+) kB")
      tables = tables + workload.sum_of_lines("/proc/" .. pid .. "/status", "^VmPTE:%s+(%d+) kB")
    end
    emit(1)
  end)
  p:processor("work", { processes = n }, function(x, emit) emit(x) end)
  p:run()
  assert(#workers == n)
  return private / n, tables / n
end

function workloads.W11(items, _, workers)
  items = items or 2000
  local n, starts, done = math.tointeger(tonumber(workers)), {}, 0
  for i = 1, n < 64 and 7 or 3 do starts[i] = start_and_end(n) end
  local private_kb, pte_kb = idle_memory(n)
  local p = minigun.pipeline "w11"
  p:producer("tasks", workload.tasks(items, workload.loops_per_ms(), false))
  p:processor("burn", { processes = n }, function(loops, emit) emit(workload.burn(loops)) end)
  p:consumer("count", function() done = done + 1 end)
  local seconds, cpu = timed(p)
  local figures = workload.rate(items, seconds, cpu, done == items)
  figures.start_ms, figures.private_kb, figures.pte_kb = workload.median(starts), private_kb, pte_kb
  return figures
end

--- Two idle workers. The processor time of all processes is taken while `wait` lets the time go by.
local function idle(seconds, wait, start)
  local percent, done = nil, 0
  local p = minigun.pipeline "idle"
  local source <close> = assert(io.popen("sleep " .. seconds + 0.5)) -- its end is the first thing to read
  local function observe()
    minigun.sleep(0.1)
    local pids = workload.children()
    pids[#pids + 1] = "self"
    local cpu, began = workload.cpu_of(pids), now()
    wait(source, seconds)
    percent = 100 * (workload.cpu_of(pids) - cpu) / (now() - began)
  end
  p:threads(1, function()
    p:producer("wait", function(emit)
      if start then minigun.wait(source) else observe() end
      emit(1)
    end)
  end)
  p:processor("work", { processes = 2 }, function(x, emit) emit(x) end)
  p:consumer("take", function() done = done + 1 end)
  local cpu = os.clock()
  if start then
    local run = p:start()
    wait = function(_, s)
      local ends = now() + s
      repeat
        if minigun.wait(run:fd(), "r", ends - now()) then run:step() end
      until now() >= ends
    end
    run:step(0.1)
    observe()
    run:wait()
  else
    p:run()
  end
  return { items = math.floor(seconds * 1000), percent = percent, cpu_before = cpu, ok = done == 1 and 1 or 0 }
end

local waits = {
  sleep = function(_, seconds) minigun.sleep(seconds) end,
  descriptor = function(source, seconds) minigun.wait(source, "r", seconds) end,
}

function workloads.W12(milliseconds, _, form)
  return idle((milliseconds or 2000) / 1000, waits[form], form == "start")
end

function workloads.S1(items, variant, size)
  size = math.tointeger(tonumber(size))
  items = items or 1000
  local strings = workload.strings(size, items)
  local add, add_list, sum = adder()
  local n = #strings
  local p = pool_of(variant, items, function(i) return strings[i % n + 1] end, workload.chunk(size), {
    work = function(s, emit) emit(#s) end,
    take = add,
  }, {
    work = function(list, emit)
      for i = 1, #list do list[i] = #list[i] end
      emit(list)
    end,
    take = add_list,
  })
  local seconds, cpu = timed(p)
  return workload.rate(items, seconds, cpu, sum() == items * size)
end

function workloads.S2(items, variant, cost)
  items, cost = items or 1000, tonumber(cost)
  local loops, expected = math.floor(cost * workload.loops_per_ms() / 1000), workload.expected_sum(items)
  local add, add_list, sum = adder()
  local burn = workload.burn
  local p = pool_of(variant, items, nil, workload.chunk(nil, cost), {
    work = function(x, emit)
      if loops > 0 then burn(loops) end
      emit((x * x) % 7919)
    end,
    take = add,
  }, {
    work = function(list, emit)
      for i = 1, #list do
        if loops > 0 then burn(loops) end
        list[i] = (list[i] * list[i]) % 7919
      end
      emit(list)
    end,
    take = add_list,
  })
  local seconds, cpu = timed(p)
  return workload.rate(items, seconds, cpu, sum() == expected)
end

workload.main(workloads, arg)
