-- SPDX-License-Identifier: MIT
--- Inputs and arithmetic shared by the Lua programs of the benchmarks: one definition of each workload, so
--- that every program is given the same values. Loaded with `package.path = "./bench/?.lua;" .. package.path`
--- from the top of the tree.
local M = {}

--- The sum of (x*x) % 7919 for 1..n, what W1 has to find.
--- @param n integer
--- @return integer
function M.expected_sum(n)
  local sum = 0
  for i = 1, n do sum = sum + (i * i) % 7919 end
  return sum
end

--- The record of W2.
--- @param i integer  1..n
--- @return table
function M.record(i)
  return { id = i, name = "user" .. i, tags = { "a", "b", "c" }, score = i * 0.5 }
end

--- The blob of W3: 1 MiB. Programs make it once and send it again and again.
--- @return string
function M.blob()
  return ("x"):rep(1 << 20)
end

--- The strings of S1, all different: up to 64 MiB of them, which programs send in turn.
--- @param size integer  bytes of each
--- @param items integer  how many will be sent
--- @return table
function M.strings(size, items)
  local list, filler = {}, ("x"):rep(math.max(0, size - 8))
  for i = 1, math.min(items, (64 << 20) // size) do list[i] = ("%08d"):format(i) .. filler end
  return list
end

--- The sum of packed integers of four bytes each, as workers of peers send them back.
--- @param packed string
--- @return integer
function M.sum_packed(packed)
  local n, sum = #packed // 4, 0
  local list = table.pack(string.unpack(("i4"):rep(n), packed))
  for i = 1, n do sum = sum + list[i] end
  return sum
end

--- How many items a user who makes the batches by hand would put into one: 128 KiB of strings, or 2 ms of work; never
--- more than 2,000.
--- @param size integer|nil  bytes of an item
--- @param us number|nil  what the handler takes for one
--- @return integer
function M.chunk(size, us)
  local n = size and 131072 // size or us > 0 and 2000 // us or 2000
  return math.tointeger(math.max(1, math.min(2000, n)))
end

--- The work of one W4 task: a busy loop without allocation.
--- @param loops integer
--- @return integer
function M.burn(loops)
  local a = 1
  for _ = 1, loops do a = (a * 1103515245 + 12345) % 2147483648 end
  return a
end

--- How many loops of `burn` take one millisecond here, by processor time: the fastest of seven tries, since noise
--- only slows.
--- @return integer
function M.loops_per_ms()
  local best = math.huge
  for _ = 1, 7 do
    local start = os.clock()
    M.burn(200000)
    best = math.min(best, os.clock() - start)
  end
  return math.floor(200000 / (best * 1000))
end

--- The W4 tasks, as loop counts. Even: 1 ms each. Uneven: 0.1 ms / u with u uniform, cut at 10 ms (a long
--- tail, mean 0.56 ms), the same in every program. "two": of two costs, 0.05 ms, and 30 ms for each fiftieth of
--- the second half, as with a cache that sometimes misses.
--- @param n integer
--- @param per_ms integer  loops of one millisecond
--- @param uneven boolean|"two"
--- @return table  array of n integers
function M.tasks(n, per_ms, uneven)
  local tasks, seed = {}, 42
  for i = 1, n do
    local ms = 1
    if uneven == "two" then
      ms = i > n // 2 and i % 50 == 0 and 30 or 0.05
    elseif uneven then
      seed = (seed * 1103515245 + 12345) % 2147483648
      ms = math.min(10, 0.1 * 2147483648 / (seed + 1))
    end
    tasks[i] = math.max(1, math.floor(ms * per_ms))
  end
  return tasks
end

--- Seconds that all W4 tasks take one after another in this process.
--- @param tasks table
--- @param now function  a clock
--- @return number
function M.serial_seconds(tasks, now)
  local start = now()
  for i = 1, #tasks do M.burn(tasks[i]) end
  return now() - start
end

--- A Lua heap of the given size: an array of small tables with a string each.
--- @param megabytes number
--- @return table
function M.heap(megabytes)
  collectgarbage "stop"
  local heap, n = {}, 0
  while collectgarbage "count" < megabytes * 1024 do
    for _ = 1, 1000 do
      n = n + 1
      heap[n] = { id = n, name = "name of entry " .. n }
    end
  end
  collectgarbage "restart"
  return heap
end

--- Reads every hundredth entry of a heap.
--- @param heap table
--- @return integer
function M.read_one_percent(heap)
  local sum = 0
  for i = 1, #heap, 100 do sum = sum + heap[i].id + #heap[i].name end
  return sum
end

--- Private memory of the calling process, in MB (/proc/self/smaps_rollup, clean and dirty).
--- @return number
function M.private_mb()
  return M.sum_of_lines("/proc/self/smaps_rollup", "^Private_%a+:%s+(%d+) kB") / 1024
end

--- p50 and p99 in microseconds of an array of seconds, which is sorted in place.
--- @param times table
--- @return number p50, number p99
function M.percentiles(times)
  table.sort(times)
  local n = #times
  return times[math.ceil(n * 0.5)] * 1e6, times[math.ceil(n * 0.99)] * 1e6
end

--- The middle value of an array of numbers, which is sorted in place.
--- @param values table
--- @return number
function M.median(values)
  table.sort(values)
  return values[math.ceil(#values / 2)]
end

--- Puts a text between two marks of a page, in the place of what is there.
--- @param path string
--- @param first string  the mark before it
--- @param last string  the mark after it
--- @param text string
function M.put_between(path, first, last, text)
  local file = assert(io.open(path))
  local page = file:read "a"
  file:close()
  local _, before = page:find(first, 1, true)
  local after = page:find(last, 1, true)
  assert(before and after, path .. " has lost its marks")
  file = assert(io.open(path, "w"))
  file:write(page:sub(1, before), text, page:sub(after))
  file:close()
end

--- Processor seconds that processes of one thread have used so far, to the nanosecond.
--- @param pids table  array; "self" is the calling process
--- @return number
function M.cpu_of(pids)
  local ns = 0
  for _, pid in ipairs(pids) do ns = ns + M.sum_of_lines("/proc/" .. pid .. "/schedstat", "^%d+") end
  return ns / 1e9
end

--- The children of the calling process.
--- @return table  array of process ids
function M.children()
  local pids = {}
  local file <close> = assert(io.open "/proc/thread-self/children")
  for pid in file:read "a":gmatch "%d+" do pids[#pids + 1] = pid end
  return pids
end

--- The sum of some lines of a file of /proc.
--- @param path string
--- @param pattern string  of a line; its capture is a number
--- @return number
function M.sum_of_lines(path, pattern)
  local sum = 0
  for line in io.lines(path) do sum = sum + (tonumber(line:match(pattern)) or 0) end
  return sum
end

--- Prints the figures of a measurement as one line of key=value, keys sorted.
--- @param figures table
function M.report(figures)
  local keys, line = {}, {}
  for key in pairs(figures) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do
    local value = figures[key]
    if math.type(value) == "float" then value = ("%.6f"):format(value) end
    line[i] = key .. "=" .. tostring(value)
  end
  print(table.concat(line, " "))
end

--- Figures of a throughput workload.
--- @param items integer
--- @param seconds number
--- @param cpu_before number  CPU seconds the program had used when the measurement began
--- @param ok boolean  the results were right
--- @return table
function M.rate(items, seconds, cpu_before, ok)
  return { items = items, seconds = seconds, rate = items / seconds, cpu_before = cpu_before, ok = ok and 1 or 0 }
end

--- Runs the workload that the command line names: `prog WORKLOAD [VARIANT] [ITEMS]`. A workload's function
--- gets (items or nil, variant, point) and returns its figures; S1_64 is point "64" of S1. Exits without closing
--- the state, because freeing a big heap would be counted as CPU time.
--- @param workloads table  name -> function(items, variant) -> figures
--- @param argv table
function M.main(workloads, argv)
  local name, point = argv[1], nil
  if name and not workloads[name] then name, point = name:match "^(%w+)_(.+)$" end
  local run = workloads[name]
  if not run then
    io.stderr:write(argv[0], ": no workload ", tostring(argv[1]), " here\n")
    os.exit(2)
  end
  M.report(run(tonumber(argv[3]), argv[2], point))
  os.exit(true, false)
end

return M
