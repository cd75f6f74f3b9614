--- `minigun bench`: what items and processes cost on this machine, and from which cost on workers pay.
local failure = require "minigun.base.failure"
local minigun = require "minigun"

local ROUNDS <const> = 3
local NUMBERS <const>, RECORDS <const>, FORKS <const>, TRIPS <const> = 300000, 50000, 100, 2000

local bench = {
  name = "bench",
  summary = "measure what items and processes cost on this machine",
  about = [[
    Measures pipelines of this machine, medians of three, in some seconds: microseconds for each item inline and
    in workers, for a process, for a round trip; and says from which cost of an item on workers pay.]],
}

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

-- Microseconds for each of n: f runs them.
local function each(n, f)
  local list = {}
  for i = 1, ROUNDS do
    collectgarbage()
    local start = minigun.now()
    f(n)
    list[i] = (minigun.now() - start) * 1e6 / n
  end
  return median(list)
end

local function number(i) return i end
local function record(i) return { id = i, name = "user" .. i, tags = { "a", "b", "c" }, score = i * 0.5 } end

-- Runs n items through a stage that gives them back.
local function pipeline(make, context)
  return function(n)
    local count = 0
    local p = minigun.pipeline "bench"
    p:producer(function(emit) for i = 1, n do emit(make(i)) end end)
    p:map("step", context, function(item) return item end)
    p:each(function() count = count + 1 end)
    p:run { progress = false }
    assert(count == n)
  end
end

local function trips(n)
  local p = minigun.pipeline "bench"
  p:producer { 1 }
  p:map("there", { processes = 1 }, function(i) return i + 1 end)
  p:processor("back", function(i, emit) if i <= n then emit:to("there", i) end end)
  p:run { progress = false }
end

---@return integer status
function bench.run()
  local cpus = minigun.cpus()
  local pool = { processes = math.max(cpus, 2) }
  local function line(text, us) print(("%-58s %10.2f us"):format(text, us)) end
  print(("minigun %s, %s, %s"):format(minigun.version, _VERSION, failure.count(cpus, "processor")))
  local inline = each(NUMBERS, pipeline(number, {}))
  local numbers = each(NUMBERS, pipeline(number, pool))
  local records = each(RECORDS, pipeline(record, pool))
  line("a number through a stage in this process", inline)
  line(("a number through %d workers and back"):format(pool.processes), numbers)
  line(("a record of four fields through %d workers and back"):format(pool.processes), records)
  line("a number to a worker and back, one at a time", each(TRIPS, trips))
  line("a process for each item", each(FORKS, pipeline(number, { process_per_batch = cpus })))
  if cpus < 2 then
    print "Workers do not pay on one processor, except to wait, or to survive crashes."
  else
    -- In one process an item costs what its handler takes; in workers that, shared out, and what it takes to send it.
    print(("A stage pays in %d workers where a number takes its handler more than %.1f us, a record more than %.1f us.")
      :format(cpus, numbers * cpus / (cpus - 1), records * cpus / (cpus - 1)))
  end
  return 0
end

return bench
