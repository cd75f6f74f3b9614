-- SPDX-License-Identifier: MIT
-- luv: libuv's thread pool by `new_work` and `queue_work`. Work functions are copied into the threads without
-- upvalues and take scalars and strings, so tables travel as JSON and lists of integers as packed strings,
-- which is the user's own work. At most 1,000 requests are kept queued: all at once would take a GB.
-- usage: UV_THREADPOOL_SIZE=2 lua5.4 bench/peers/luv_work.lua WORKLOAD singly|chunk [ITEMS]
package.path = "./bench/?.lua;" .. package.path
local uv = require "luv"
local workload = require "workload"

local function now() return uv.hrtime() / 1e9 end

--- Sends what `next_input` returns until it is nil, at most `window` at a time, and runs the loop to the end.
local function pump(work_function, after, next_input, window)
  local context
  local function send()
    local input = next_input()
    if input ~= nil then context:queue(input) end
  end
  context = uv.new_work(work_function, function(...)
    after(...)
    send()
  end)
  for _ = 1, window do send() end
  uv.run()
end

local function range(items)
  local i = 0
  return function()
    if i < items then
      i = i + 1
      return i
    end
  end
end

local CHUNK = { W1 = 2000, W2 = 200 }

local function square(x) return (x * x) % 7919 end

local function square_chunk(packed, n)
  local format = ("i4"):rep(n)
  local list = table.pack(string.unpack(format, packed))
  for i = 1, n do list[i] = (list[i] * list[i]) % 7919 end
  return string.pack(format, table.unpack(list, 1, n))
end

local function w1_chunk(items)
  local sum, first, context = 0, 1, nil
  local formats = { [CHUNK.W1] = ("i4"):rep(CHUNK.W1), [items % CHUNK.W1] = ("i4"):rep(items % CHUNK.W1) }
  local function send()
    if first > items then return end
    local last = math.min(first + CHUNK.W1 - 1, items)
    local list = {}
    for i = first, last do list[#list + 1] = i end
    context:queue(string.pack(formats[#list], table.unpack(list)), #list)
    first = last + 1
  end
  context = uv.new_work(square_chunk, function(packed)
    local list = table.pack(string.unpack(formats[#packed // 4], packed))
    for i = 1, #packed // 4 do sum = sum + list[i] end
    send()
  end)
  for _ = 1, 8 do send() end
  uv.run()
  return sum
end

local function mark_records(json)
  local cjson = require "cjson"
  local records = cjson.decode(json)
  for i = 1, #records do records[i].ok = true end
  return cjson.encode(records)
end

local workloads = {}

function workloads.W1(items, variant)
  items = items or 1000000
  local expected = workload.expected_sum(items)
  local sum, cpu, start = 0, os.clock(), now()
  if variant == "chunk" then
    sum = w1_chunk(items)
  else
    pump(square, function(y) sum = sum + y end, range(items), 1000)
  end
  return workload.rate(items, now() - start, cpu, sum == expected)
end

function workloads.W2(items, variant)
  items = items or 100000
  local cjson = require "cjson"
  local size = variant == "chunk" and CHUNK.W2 or 1
  local count, next_id, cpu, start = 0, range(items), os.clock(), now()
  pump(mark_records, function(json)
    local records = cjson.decode(json)
    for i = 1, #records do
      if records[i].ok then count = count + 1 end
    end
  end, function()
    local records = {}
    for id in next_id do
      records[#records + 1] = workload.record(id)
      if #records == size then break end
    end
    if records[1] then return cjson.encode(records) end
  end, size == 1 and 1000 or 8)
  return workload.rate(items, now() - start, cpu, count == items)
end

local function blobs(items, work_function, check)
  items = items or 1000
  local blob, next_id, good = workload.blob(), range(items), 0
  local cpu, start = os.clock(), now()
  pump(work_function, function(result)
    if check(result) then good = good + 1 end
  end, function() return next_id() and blob end, 8)
  return workload.rate(items, now() - start, cpu, good == items)
end

function workloads.W3a(items)
  return blobs(items, function(blob) return #blob end, function(n) return n == 1 << 20 end)
end

function workloads.W3b(items)
  return blobs(items, function(blob) return blob end, function(blob) return #blob == 1 << 20 end)
end

local function tasks(items, uneven)
  items = items or 2000
  local list = workload.tasks(items, workload.loops_per_ms(), uneven)
  local serial = workload.serial_seconds(list, now)
  local i, done, cpu, start = 0, 0, os.clock(), now()
  pump(function(loops)
    local a = 1
    for _ = 1, loops do a = (a * 1103515245 + 12345) % 2147483648 end
    return a
  end, function() done = done + 1 end, function()
    i = i + 1
    return list[i]
  end, 100)
  local figures = workload.rate(items, now() - start, cpu, done == items)
  figures.speedup = serial / figures.seconds
  return figures
end

function workloads.W4(items) return tasks(items, false) end
function workloads.W4tail(items) return tasks(items, true) end

-- The pool's threads start at the first request and live as long as the process: start and end cannot be
-- measured from inside, so W6 is a new interpreter's first two requests without its end.
function workloads.W6()
  local done, cpu, start = 0, os.clock(), now()
  pump(square, function() done = done + 1 end, range(2), 2)
  return { items = 1, ms = (now() - start) * 1000, cpu_before = cpu, ok = done == 2 and 1 or 0 }
end

local function ping(items, pause)
  local times, cpu, start, i = {}, os.clock(), nil, 0
  pump(square, function() times[#times + 1] = now() - start end, function()
    i = i + 1
    if i > items then return end
    if pause then uv.sleep(1) end
    start = now()
    return i
  end, 1)
  local p50, p99 = workload.percentiles(times)
  return { items = items, p50_us = p50, p99_us = p99, cpu_before = cpu, ok = #times == items and 1 or 0 }
end

function workloads.W7(items) return ping(items or 10000, false) end
function workloads.W7cold(items) return ping(items or 500, true) end
workloads.W7short = workloads.W7

local function lengths_chunk(packed, n)
  if n == 1 then return string.pack("i4", #packed) end
  local list = table.pack(string.unpack(("s4"):rep(n), packed))
  for i = 1, n do list[i] = #list[i] end
  return string.pack(("i4"):rep(n), table.unpack(list, 1, n))
end

function workloads.S1(items, _, size)
  size = math.tointeger(tonumber(size))
  items = items or 1000
  local strings, chunk, sum, sent = workload.strings(size, items), workload.chunk(size), 0, 0
  local context
  local cpu, start = os.clock(), now()
  local function send()
    local list = {}
    for i = sent, math.min(sent + chunk, items) - 1 do list[#list + 1] = strings[i % #strings + 1] end
    sent = sent + #list
    if #list == 1 then
      context:queue(list[1], 1)
    elseif list[1] then
      context:queue(string.pack(("s4"):rep(#list), table.unpack(list)), #list)
    end
  end
  context = uv.new_work(lengths_chunk, function(packed)
    sum = sum + workload.sum_packed(packed)
    send()
  end)
  for _ = 1, 8 do send() end
  uv.run()
  return workload.rate(items, now() - start, cpu, sum == items * size)
end

local function burn_chunk(packed, loops)
  local n = #packed // 4
  local format = ("i4"):rep(n)
  local list = table.pack(string.unpack(format, packed))
  for i = 1, n do
    local a, x = 1, list[i]
    for _ = 1, loops do a = (a * 1103515245 + 12345) % 2147483648 end
    list[i] = (x * x) % 7919
  end
  return string.pack(format, table.unpack(list, 1, n))
end

function workloads.S2(items, _, cost)
  items, cost = items or 1000, tonumber(cost)
  local loops, expected = math.floor(cost * workload.loops_per_ms() / 1000), workload.expected_sum(items)
  local chunk, sum, sent, context = workload.chunk(nil, cost), 0, 0, nil
  local cpu, start = os.clock(), now()
  local function send()
    local list = {}
    for i = sent + 1, math.min(sent + chunk, items) do list[#list + 1] = i end
    if not list[1] then return end
    sent = sent + #list
    context:queue(string.pack(("i4"):rep(#list), table.unpack(list)), loops)
  end
  context = uv.new_work(burn_chunk, function(packed)
    sum = sum + workload.sum_packed(packed)
    send()
  end)
  for _ = 1, 8 do send() end
  uv.run()
  return workload.rate(items, now() - start, cpu, sum == expected)
end

workload.main(workloads, arg)
