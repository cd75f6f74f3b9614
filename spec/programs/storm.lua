-- The long storm, `make storm`: pipelines of every shape run while a program beside them sends SIGKILL, SIGUSR1 and
-- SIGSTOP to random children at random moments, until so many signals have hit. What was produced is compared with what
-- has arrived: each item once in the items, or once in the failures; and what was counted and collected with it.
-- usage: storm.lua [SIGNALS] [SEED]     prints a table; exits with 1 when anything is lost or there twice
local contexts = require "spec.contexts"
local minigun = require "minigun"
local programs = require "spec.programs.build"
local support = require "spec.support"

local target, seed = tonumber(arg[1]) or 10000, tonumber(arg[2]) or os.time()
assert(programs.unruly(), "the storm needs a C compiler")
math.randomseed(seed)

local spin = contexts.work

-- The numbers from 1 to n: from a function, or as pieces that workers count by themselves.
local function source(p, n)
  if math.random(2) == 1 then return contexts.source(p, n) end
  return p:producer("numbers", minigun.range(1, n))
end

-- The same as lines of a file, of which workers read pieces.
local file <const> = os.tmpname()
local function lines(p, n)
  local out <close> = assert(io.open(file, "w"))
  for i = 1, n do out:write(("%-60d\n"):format(i)) end
  return p:producer("lines", minigun.lines(file))
end

local function number(line) return math.tointeger(tonumber(line)) end

-- A handler that passes items on, or arrays of them one by one, and leaves traces that belong to each item.
local function work(seconds)
  return function(item, emit, ctx)
    for _, each in ipairs(type(item) == "table" and item or { item }) do
      spin(seconds)
      ctx:count "handled"
      if each % 10 == 0 then ctx:collect("tens", each) end
      emit(each)
    end
  end
end

local function pass(item, emit) emit(item) end
local TEXT <const> = ("x"):rep(200000)

-- n: items of a run. draw(p, n) adds the stages; each item passes `work` once. `fails`: items may come to be failures.
local SHAPES <const> = {
  { "one pool", 20000, function(p) p:processor("work", { processes = 4, retries = 1000 }, work(0.00001)) end },
  { "one pool, no retries", 20000, function(p) p:processor("work", { processes = 4 }, work(0.00001)) end,
    fails = true },
  { "two pools in a row", 20000, function(p)
    p:processor("work", { processes = 2, retries = 1000 }, work(0.00001))
    p:processor("second", { processes = 2, retries = 1000 }, pass)
  end },
  { "a block of two stages", 20000, function(p)
    p:processes(3, function()
      p:processor("first", { retries = 1000 }, pass)
      p:processor("work", { retries = 1000 }, work(0.00001))
    end)
  end },
  { "fan-out and fan-in", 10000, function(p)
    p:processor("split", { processes = 2, retries = 1000, route = "round_robin", to = { "work", "other" } }, pass)
    p:processor("work", { processes = 2, retries = 1000, to = "join" }, work(0.00001))
    p:processor("other", { processes = 2, retries = 1000, to = "join" }, work(0.00001))
    p:processor("join", { processes = 1, retries = 1000 }, pass)
  end },
  { "batches between pools", 20000, function(p)
    p:processor("first", { processes = 2, retries = 1000 }, pass)
    p:batch(50)
    p:processor("work", { processes = 2, retries = 1000 }, work(0.00001))
  end },
  { "batches of a producer", 20000, function(p)
    p:batch(50)
    p:processor("work", { processes = 3, retries = 1000 }, work(0.00001))
  end },
  { "a fork per batch", 5000, function(p)
    p:batch(20)
    p:processor("work", { process_per_batch = 4, retries = 1000 }, work(0.00002))
  end },
  { "a nested pipeline", 10000, function(p)
    p:pipeline("inner", function(inner)
      inner:processor("work", { processes = 2, retries = 1000 }, work(0.00001))
      inner:processor("second", { processes = 2, retries = 1000 }, pass)
    end)
  end },
  { "ordered", 20000, function(p)
    p:processor("work", { processes = 4, ordered = true, retries = 1000 }, work(0.00001))
  end, ordered = true },
  { "errors and retries", 10000, function(p)
    p:processor("unsteady", { processes = 2, retries = 1000 }, function(item, emit, ctx)
      if item % 20 == 0 and ctx.attempt == 1 then
        emit(item)
        error "not yet"
      end
      emit(item)
    end)
    p:processor("work", { processes = 2, retries = 1000 }, work(0.00001))
  end },
  { "items of 200 KB", 300, function(p)
    p:processor("grow", { processes = 2, retries = 1000 }, function(item, emit) emit { item, TEXT } end)
    p:processor("work", { processes = 2, retries = 1000 }, function(item, emit, ctx)
      assert(item[2] == TEXT)
      work(0)(item[1], emit, ctx)
    end)
  end, memory = "16 MB" },
  { "output of several blocks", 100, function(p, n)
    p:processor("many", { processes = 3, retries = 1000 }, function(item, emit)
      for i = 0, 2999 do emit { item + i * n, "some bytes that make this item longer than it would be" } end
    end)
    p:processor("work", { processes = 1, retries = 1000 }, function(item, emit, ctx) work(0)(item[1], emit, ctx) end)
  end, times = 3000 },
  { "sent to a stage", 10000, function(p)
    p:processor("send", { processes = 2, retries = 1000, to = {} }, function(item, emit) emit:to("work", item) end)
    p:processor("work", { processes = 2, retries = 1000, await = true }, work(0.00001))
  end },
  { "threads in workers", 3000, function(p)
    p:processes(2, function()
      p:threads(8, function()
        p:processor("work", { retries = 1000 }, function(item, emit, ctx)
          minigun.sleep(0.0005)
          work(0.00001)(item, emit, ctx)
        end)
      end)
    end)
  end },
  { "reduce", 20000, function(p)
    p:processor("work", { processes = 2, retries = 1000 }, work(0.00001))
    p:reduce("sum", 0, function(a, b) return a + b end, { processes = 2, retries = 1000 })
  end, sum = true },
  { "dear items among cheap ones", 3000, function(p) -- what waits after a dear one is taken back
    p:processor("work", { processes = 4, retries = 1000 }, function(item, emit, ctx)
      if item % 100 < 3 then minigun.sleep(0.004) end
      work(0)(item, emit, ctx)
    end)
  end },
  { "dear items, ordered, in a block", 3000, function(p)
    p:processes({ n = 3, ordered = true }, function()
      p:processor("first", { retries = 1000 }, pass)
      p:processor("work", { retries = 1000 }, function(item, emit, ctx)
        if item % 150 == 0 then minigun.sleep(0.006) end
        work(0)(item, emit, ctx)
      end)
    end)
  end, ordered = true },
  { "one item at a time", 10000, function(p) -- rounds without Lua between them, while the producer waits
    p:processor("work", { processes = 3, retries = 1000, queue = 1 }, work(0.00001))
    p:processor("second", { processes = 2, retries = 1000, queue = 1 }, pass)
  end },
  { "one item at a time, no retries", 5000, function(p)
    p:processor("work", { processes = 3, queue = 1 }, work(0.00001))
  end, fails = true },
  { "lines of a file", 20000, function(p)
    p:processor("work", { processes = 4, retries = 1000 }, function(line, emit, ctx)
      work(0.00001)(number(line), emit, ctx)
    end)
  end, source = lines },
  { "lines of a file, ordered, in a block", 20000, function(p)
    p:processes({ n = 3, ordered = true }, function()
      p:map("number", { retries = 1000 }, number)
      p:processor("work", { retries = 1000 }, work(0.00001))
    end)
  end, source = lines, ordered = true },
  { "lines of a file, summed in a block", 20000, function(p)
    p:processes(3, function()
      p:map("number", { retries = 1000 }, number)
      p:processor("work", { retries = 1000 }, work(0.00001))
      p:reduce("sum", 0, function(a, b) return a + b end, { retries = 1000 })
    end)
  end, source = lines, sum = true },
  { "same key, same worker", 10000, function(p)
    p:processor("work", { processes = 3, retries = 1000, partition = function(item) return item % 10 end },
      work(0.00001))
  end },
}

local function check(shape, n, result)
  local seen, count, failed = {}, 0, 0
  local function take(item)
    if seen[item] then return ("item %s is there twice"):format(item) end
    seen[item], count = true, count + 1
  end
  if shape.sum then
    local expected = n * (n + 1) // 2
    if #result.items ~= 1 or result.items[1] ~= expected then return ("a sum of %s"):format(result.items[1]) end
    for i = 1, n do take(i) end
    result.items = {}
  end
  for i, item in ipairs(result.items) do
    local wrong = take(item)
    if wrong then return wrong end
    if shape.ordered and item ~= i then return ("item %s at place %d"):format(item, i) end
  end
  for _, failure in ipairs(result.failures) do
    failed = failed + 1
    local wrong = take(failure.item)
    if wrong then return wrong end
    if failure.kind ~= "crash" or not shape.fails then return tostring(failure) end
  end
  local all = n * (shape.times or 1)
  if count ~= all then return ("%d items of %d"):format(count, all) end
  if result.counters.handled ~= all - failed then return ("counted %s"):format(result.counters.handled) end
  local tens = {}
  for _, item in ipairs(result.collected.tens or {}) do
    if tens[item] or item % 10 ~= 0 then return ("%s is collected twice"):format(item) end
    tens[item] = true
  end
  for i = 10, all, 10 do
    if not tens[i] and failed == 0 then return ("%d is not collected"):format(i) end
  end
end

local environment = support.env_words(programs.env())
local total = { runs = 0, signals = 0, deaths = 0, failures = 0, wrong = 0 }

local function storm(shape, pace)
  local flag = support.write_file(os.tmpname(), "")
  local n, deaths = shape[2], 0
  local p = minigun.pipeline "storm"
  local draw = shape.source or source
  draw(p, n)
  shape[3](p, n)
  p:on_worker_exit(function(exit) deaths = deaths + (exit.expected and 0 or 1) end)
  local killer = assert(io.popen(("env %s lua5.4 spec/programs/killer.lua %d 1000000 %g %d any %s"):format(environment,
    support.pid(), pace, math.random(1 << 30), flag)))
  local ok, result = pcall(p.run, p, { max_restarts = 1000000000, failures = "collect", memory = shape.memory })
  os.remove(flag)
  local signals = killer:read "n"
  killer:close()
  local wrong = not ok and tostring(result) or check(shape, n, result)
  shape.runs, shape.signals = (shape.runs or 0) + 1, (shape.signals or 0) + signals
  shape.deaths = (shape.deaths or 0) + deaths
  shape.failures = (shape.failures or 0) + (ok and #result.failures or 0)
  if wrong then
    shape.wrong = (shape.wrong or 0) + 1
    print(("WRONG: %s: %s"):format(shape[1], wrong))
  end
  return signals
end

print(("storm: %d signals, seed %d"):format(target, seed))
local round = 0
repeat
  round = round + 1
  for _, shape in ipairs(SHAPES) do
    total.signals = total.signals + storm(shape, ({ 0.001, 0.003, 0.01 })[round % 3 + 1])
  end
until total.signals >= target
os.remove(file)
print(("%-26s %6s %8s %8s %9s %6s"):format("shape", "runs", "signals", "deaths", "failures", "wrong"))
total.signals = 0
for _, shape in ipairs(SHAPES) do
  local row = { shape[1] }
  for _, key in ipairs { "runs", "signals", "deaths", "failures", "wrong" } do
    row[#row + 1] = shape[key] or 0
    total[key] = total[key] + (shape[key] or 0)
  end
  print(("%-26s %6d %8d %8d %9d %6d"):format(table.unpack(row)))
end
print(("%-26s %6d %8d %8d %9d %6d"):format("all", total.runs, total.signals, total.deaths, total.failures, total.wrong))
os.exit(total.wrong == 0)
