-- What a run costs the coordinator beside its handlers, for costs_spec.lua: costs.lua CASE
-- Says how many calls of the system the coordinator has made (the test build counts them), how often it has waited, how
-- many milliseconds of the processor it has taken, and how often it has handed something over to a worker.
local core = require "minigun.core"
local execution = require "minigun.control.execution"
local minigun = require "minigun"

local cases = {}

local function numbers(n)
  return function(emit) for i = 1, n do emit(i) end end
end

local function pass(item, emit) emit(item) end

-- Many quick items, by what the stage's context is.
local function quick(options, n)
  return function()
    return minigun.pipeline "costs":producer("gen", numbers(n)):processor("work", options, pass)
      :each("end", { inline = true }, function() end)
  end
end

cases["quick inline"] = quick({ inline = true }, 20000)
cases["quick processes"] = quick({ processes = 2 }, 20000)
cases["quick ordered"] = quick({ processes = 2, ordered = true }, 20000)
cases["quick threads"] = quick({ threads = 4 }, 20000)
cases["quick hosted"] = quick({ processes = 2, threads = 4 }, 4000)
cases["quick forks"] = quick({ process_per_batch = 2 }, 100)

cases["quick pools"] = function()
  return minigun.pipeline "costs":producer("gen", numbers(20000)):processor("a", { processes = 2 }, pass)
    :processor("b", { processes = 2 }, pass):each("end", { inline = true }, function() end)
end

cases["quick batches"] = function()
  return minigun.pipeline "costs":producer("gen", numbers(20000)):batch("batch", 100)
    :each("work", { processes = 2 }, function() end)
end

-- Nothing but waiting, for a second: what waits, and for what.
local function waits(options, handler, source)
  return function()
    return minigun.pipeline "costs":producer("gen", source or { 1 })
      :processor("work", options, handler or function() core.sleep(1) end)
  end
end

cases["waits for a worker"] = waits { processes = 2 }
cases["waits for a worker with a time-out"] = waits { processes = 2, timeout = 60 }
cases["waits for a fork"] = waits { process_per_batch = 1 }
cases["waits for a thread"] = waits({ threads = 2 }, function() minigun.sleep(1) end)
cases["waits for threads in a worker"] = waits({ processes = 1, threads = 2 }, function() minigun.sleep(1) end)
cases["waits for a source that sleeps"] = waits({ processes = 1 }, pass, function(emit)
  emit(1)
  minigun.sleep(1)
end)
cases["waits for lines of a pipe"] = waits({ threads = 2 }, function() end, minigun.lines(assert(io.popen "sleep 1")))
cases["waits in the middle of threads' items"] = waits({ threads = 4 }, function() minigun.sleep(0.5) end,
  { 1, 2, 3, 4, 5, 6, 7, 8 })
cases["waits for a program"] = waits({ inline = true }, function() minigun.command { "sleep", 1 } end)
cases["waits for a queue"] = waits({ processes = 1, queue = 1 }, function() core.sleep(0.25) end, { 1, 2, 3, 4 })
cases["waits for a further attempt"] = waits({ processes = 1, retries = 1, backoff = 1 }, function(_, _, ctx)
  if ctx.attempt == 1 then error "once" end
end)
cases["waits for a batch"] = function()
  return minigun.pipeline "costs":producer("gen", { processes = 1 }, function(emit)
    emit(1)
    core.sleep(1)
  end):accumulator("batch", { max_size = 9, max_wait = 0.5 }, pass):each("work", { processes = 1 }, function() end)
end

local function calls()
  local n = 0
  for _, count in pairs(core.faults.calls()) do n = n + count end
  return n
end

for _, name in ipairs(arg) do
  local p = cases[name]()
  collectgarbage()
  local before, cpu, switches = calls(), core.worked()
  local run <close> = execution.new(p, { failures = "collect" })
  if execution.begin(run) then execution.go_on(run, core.now() + 60) end
  local result = execution.outcome(run)
  local cpu_after, switches_after = core.worked()
  assert(result.ok, tostring(result))
  local chunks = 0
  for _, place in ipairs(run.run.places.list) do chunks = chunks + (place.chunks or 0) end
  print(("%s: %d calls, %d waits, %d ms, %d chunks"):format(name, calls() - before, switches_after - switches,
    (cpu_after - cpu) * 1000 // 1, chunks))
end
if not arg[1] then
  local names = {}
  for name in pairs(cases) do names[#names + 1] = name end
  table.sort(names)
  print(table.concat(names, "\n"))
end
