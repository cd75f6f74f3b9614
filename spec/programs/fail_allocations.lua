-- Run by spec/faults_spec.lua with the test build: makes the Nth allocation of Lua fail, in the coordinator or in a
-- worker, and checks that the run ends with every item or with an error that says so, and that nothing is left over.
-- Prints WRONG lines for what went otherwise. fail_allocations.lua STEP SEED [THREADS]: every STEPth N, about; threads
-- "here", in the coordinator, or "there", in the pool's worker.
local core = require "minigun.core"
local lfs = require "lfs"
local minigun = require "minigun"

local step, seed, threads = tonumber(arg[1]), tonumber(arg[2]), arg[3]
local pool = { processes = threads ~= "here" and 1 or nil, threads = threads and 3 or nil, retries = 2 }
math.randomseed(seed)

-- fail: nil or the allocation of which process fails.
local function run(in_worker, nth, many)
  local p = minigun.pipeline "allocations"
  p:producer("numbers", function(emit)
    for i = 1, 60 do emit(i) end
  end)
  p:processor("pool", pool, function(x, emit, ctx)
    if in_worker and x == 7 and ctx.attempt == 1 then core.faults.allocation(nth, many) end
    ctx:collect("squares", { x * x })
    emit { x }
  end)
  p:processor("inline", { retries = 2 }, function(x, emit) emit(x[1]) end)
  p:batch(10)
  p:processor("fork", { process_per_batch = 1, retries = 2 }, function(batch, emit)
    for _, x in ipairs(batch) do emit(x) end
  end)
  local ok, r = pcall(function()
    if not in_worker then core.faults.allocation(nth, many) end
    -- What fails here fails in each child at its start, too, until as much has been allocated here.
    return p:run { failures = "collect", max_restarts = 1000 }
  end)
  core.faults.reset()
  return ok, r
end

-- A child inherits the count: where it stands just before the one that fails, so do the workers that take its place.
local function is_expected(err)
  return err:find "not enough memory" or err:find "workers died within 5 s, the last by exit code 70"
end

local function problem(ok, r)
  if not ok then return not is_expected(tostring(r)) and "another error: " .. tostring(r) end
  local seen, n = {}, 0
  local function take(x)
    if seen[x] then return ("item %s twice"):format(x) end
    seen[x], n = true, n + 1
  end
  for _, x in ipairs(r.items) do
    local wrong = take(x)
    if wrong then return wrong end
  end
  for _, failure in ipairs(r.failures) do
    local list = failure.item
    if failure.stage == "numbers" then return nil end -- the producer itself: what came after was never made
    if type(list) ~= "table" then list = { list } end
    for _, x in ipairs(list) do
      local wrong = take(x)
      if wrong then return wrong end
    end
  end
  return n ~= 60 and ("%d items of 60, %d failures: %s"):format(n, #r.failures, tostring(r.failures[1]))
end

-- Children, and descriptors (that of the directory among them).
local function left_over()
  local file = assert(io.open(("/proc/%d/task/%d/children"):format(core.pid(), core.pid())))
  local n = select(2, file:read("a"):gsub("%d+", ""))
  file:close()
  for _ in lfs.dir "/proc/self/fd" do n = n + 1 end
  return n
end

core.faults.allocation(1 << 40, 1)
run(false, 1 << 40, 1)
collectgarbage()
local usual = left_over()
local before = core.faults.allocations()
run(false, 1 << 40, 1)
local most, runs, errors = core.faults.allocations() - before, 0, 0
for _, where in ipairs { "coordinator", threads ~= "here" and "worker" or nil } do
  local limit = where == "worker" and 400 or most
  local nth = 1
  while nth <= limit do
    local ok, r = run(where == "worker", nth, 2)
    runs, errors = runs + 1, errors + (ok and 0 or 1)
    local wrong = problem(ok, r)
    if wrong then print(("WRONG: allocation %d in the %s: %s"):format(nth, where, wrong)) end
    collectgarbage()
    local left = left_over()
    if left ~= usual then print(("WRONG: allocation %d in the %s: %d left over"):format(nth, where, left - usual)) end
    nth = nth + math.random(1, 2 * step - 1)
  end
end
print(("%d runs of %d allocations, %d ended with an error"):format(runs, most, errors))
