-- SPDX-License-Identifier: MIT
-- cqueues.thread: each worker is a thread with its own Lua state and one socket to its maker. The socket moves
-- bytes and lines; anything else is the user's own work: singly one number or JSON text a line, in chunks packed
-- strings or JSON after a length. Two coroutines of the main thread, one writes to the workers, one reads.
-- usage: lua5.4 bench/peers/cqueues_thread.lua WORKLOAD singly|chunk [ITEMS]
package.path = "./bench/?.lua;" .. package.path
local cqueues = require "cqueues"
local thread = require "cqueues.thread"
local workload = require "workload"

local now = cqueues.monotime
local CHUNK = { W1 = 2000, W2 = 200 }

-- A worker: one message in, one message out until the stream ends. `handle_source` is Lua text that returns a
-- function(string) -> string, because functions lose their upvalues on the way. Framing "line" or "length".
local function worker(con, handle_source, framing, flush)
  local handle = load(handle_source)()
  con:setmode("bf", "bf")
  con:setmaxline(1 << 22)
  con:setbufsiz(1 << 16, 1 << 16)
  if framing == "line" then
    for line in con:lines "*l" do
      con:write(handle(line), "\n")
      if flush == "each" then con:flush() end
    end
  else
    while true do
      local head = con:read(4)
      if not head or #head < 4 then break end
      local result = handle(con:read((string.unpack("<I4", head))))
      con:write(string.pack("<I4", #result), result)
      if flush == "each" then con:flush() end
    end
  end
  con:flush()
  con:shutdown "w"
end

local function start_workers(n, handle_source, framing, flush)
  local workers = {}
  for i = 1, n do
    local thr, con = thread.start(worker, handle_source, framing, flush)
    con:setmode("bf", "bf")
    con:setmaxline(1 << 22)
    con:setbufsiz(1 << 16, 1 << 16)
    workers[i] = { thread = thr, con = con }
  end
  return workers
end

local function read_message(con, framing)
  if framing == "line" then return con:read "*l" end
  local head = con:read(4)
  if not head or #head < 4 then return nil end
  return con:read((string.unpack("<I4", head)))
end

local function write_message(con, framing, message)
  if framing == "line" then return con:write(message, "\n") end
  return con:write(string.pack("<I4", #message), message)
end

--- Two workers; messages from `next_message` in turn to each, results to `take`.
local function run(handle_source, framing, flush, next_message, take)
  local workers = start_workers(2, handle_source, framing, flush)
  local loop = cqueues.new()
  loop:wrap(function()
    local turn = 0
    for message in next_message do
      local con = workers[turn % 2 + 1].con
      turn = turn + 1
      assert(write_message(con, framing, message))
      if flush == "each" then con:flush() end
    end
    for _, w in ipairs(workers) do
      w.con:flush()
      w.con:shutdown "w"
    end
  end)
  for _, w in ipairs(workers) do
    loop:wrap(function()
      for message in function() return read_message(w.con, framing) end do take(message) end
    end)
  end
  assert(loop:loop())
  for _, w in ipairs(workers) do assert(w.thread:join()) end
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

local SQUARE = [[return function(text)
  local x = math.tointeger(text)
  return (x * x) % 7919
end]]

local SQUARE_CHUNK = [[return function(packed)
  local n = #packed // 4
  local format = ("i4"):rep(n)
  local list = table.pack(string.unpack(format, packed))
  for i = 1, n do list[i] = (list[i] * list[i]) % 7919 end
  return string.pack(format, table.unpack(list, 1, n))
end]]

local MARK = [[
local cjson = require "cjson"
return function(text)
  local records = cjson.decode(text)
  for i = 1, #records do records[i].ok = true end
  return cjson.encode(records)
end]]

local function w1_chunk(items)
  local sum, next_id = 0, range(items)
  run(SQUARE_CHUNK, "length", "full", function()
    local list = {}
    for i in next_id do
      list[#list + 1] = i
      if #list == CHUNK.W1 then break end
    end
    if list[1] then return string.pack(("i4"):rep(#list), table.unpack(list)) end
  end, function(packed) sum = sum + workload.sum_packed(packed) end)
  return sum
end

local workloads = {}

function workloads.W1(items, variant)
  items = items or 1000000
  local expected = workload.expected_sum(items)
  local sum, cpu, start = 0, os.clock(), now()
  if variant == "chunk" then
    sum = w1_chunk(items)
  else
    run(SQUARE, "line", "full", range(items), function(line) sum = sum + math.tointeger(line) end)
  end
  return workload.rate(items, now() - start, cpu, sum == expected)
end

function workloads.W2(items, variant)
  items = items or 100000
  local cjson = require "cjson"
  local size = variant == "chunk" and CHUNK.W2 or 1
  local count, next_id, cpu, start = 0, range(items), os.clock(), now()
  run(MARK, "line", "full", function()
    local records = {}
    for id in next_id do
      records[#records + 1] = workload.record(id)
      if #records == size then break end
    end
    if records[1] then return cjson.encode(records) end
  end, function(text)
    local records = cjson.decode(text)
    for i = 1, #records do
      if records[i].ok then count = count + 1 end
    end
  end)
  return workload.rate(items, now() - start, cpu, count == items)
end

local function blobs(items, handle_source, check)
  items = items or 1000
  local blob, next_id, good = workload.blob(), range(items), 0
  local cpu, start = os.clock(), now()
  run(handle_source, "length", "each", function() return next_id() and blob end, function(result)
    if check(result) then good = good + 1 end
  end)
  return workload.rate(items, now() - start, cpu, good == items)
end

function workloads.W3a(items)
  return blobs(items, "return function(s) return tostring(#s) end", function(s) return s == "1048576" end)
end

function workloads.W3b(items)
  return blobs(items, "return function(s) return s end", function(s) return #s == 1 << 20 end)
end

local function start_once()
  local start, i, results = now(), 0, 0
  run(SQUARE, "line", "full", function()
    i = i + 1
    if i <= 2 then return "7" end
  end, function() results = results + 1 end)
  assert(results == 2)
  return (now() - start) * 1000
end

function workloads.W6()
  local cpu, times = os.clock(), {}
  for i = 1, 20 do times[i] = start_once() end
  return { items = 20, ms = workload.median(times), cpu_before = cpu, ok = 1 }
end

local function ping(items, pause)
  local con = start_workers(1, SQUARE, "line", "each")[1].con
  local times, cpu = {}, os.clock()
  for i = 1, items do
    if pause then cqueues.sleep(0.001) end
    local start = now()
    con:write(i, "\n")
    con:flush()
    assert(con:read "*l")
    times[i] = now() - start
  end
  local p50, p99 = workload.percentiles(times)
  return { items = items, p50_us = p50, p99_us = p99, cpu_before = cpu, ok = 1 }
end

function workloads.W7(items) return ping(items or 10000, false) end
function workloads.W7cold(items) return ping(items or 500, true) end
workloads.W7short = workloads.W7

-- A message: the number of strings, then the strings; one string alone is the message.
local LENGTHS = [[return function(packed)
  local n = string.unpack("i4", packed)
  if n == 1 then return string.pack("i4", #packed - 4) end
  local list = table.pack(string.unpack(("s4"):rep(n), packed, 5))
  for i = 1, n do list[i] = #list[i] end
  return string.pack(("i4"):rep(n), table.unpack(list, 1, n))
end]]

function workloads.S1(items, _, size)
  size = math.tointeger(tonumber(size))
  items = items or 1000
  local strings, chunk, sum, sent = workload.strings(size, items), workload.chunk(size), 0, 0
  local cpu, start = os.clock(), now()
  run(LENGTHS, "length", "each", function()
    local list = {}
    for i = sent, math.min(sent + chunk, items) - 1 do list[#list + 1] = strings[i % #strings + 1] end
    sent = sent + #list
    if #list == 1 then return string.pack("i4", 1) .. list[1] end
    if list[1] then return string.pack("i4" .. ("s4"):rep(#list), #list, table.unpack(list)) end
  end, function(packed) sum = sum + workload.sum_packed(packed) end)
  return workload.rate(items, now() - start, cpu, sum == items * size)
end

local BURN = [[local loops = %d
return function(packed)
  local n = #packed // 4
  local format = ("i4"):rep(n)
  local list = table.pack(string.unpack(format, packed))
  for i = 1, n do
    local a, x = 1, list[i]
    for _ = 1, loops do a = (a * 1103515245 + 12345) %% 2147483648 end
    list[i] = (x * x) %% 7919
  end
  return string.pack(format, table.unpack(list, 1, n))
end]]

function workloads.S2(items, _, cost)
  items, cost = items or 1000, tonumber(cost)
  local loops, expected = math.floor(cost * workload.loops_per_ms() / 1000), workload.expected_sum(items)
  local chunk, sum, sent = workload.chunk(nil, cost), 0, 0
  local cpu, start = os.clock(), now()
  run(BURN:format(loops), "length", "each", function()
    local list = {}
    for i = sent + 1, math.min(sent + chunk, items) do list[#list + 1] = i end
    sent = sent + #list
    if list[1] then return string.pack(("i4"):rep(#list), table.unpack(list)) end
  end, function(packed) sum = sum + workload.sum_packed(packed) end)
  return workload.rate(items, now() - start, cpu, sum == expected)
end

workload.main(workloads, arg)
