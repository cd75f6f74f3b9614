-- Run by spec/faults_spec.lua with the test build: makes a worker die at each point of the core, at several moments of
-- a run, and checks what arrives. Prints a line a point; a line that begins with WRONG for each run that went wrong.
local core = require "minigun.core"
local minigun = require "minigun"

-- die_at_points.lua MOMENTS [THREADS]: how many moments of each point; threads in each worker.
local moments, threads = tonumber(arg[1]), tonumber(arg[2])
local N <const> = moments > 2 and 300 or 100 -- items
local MANY <const> = moments > 2 and 2000 or 800 -- items of a stage of its own, some of which are slow
local LONG <const> = 40000 -- two of these fill a block: the item's output must be held back

local function run()
  local p = minigun.pipeline "points"
  p:producer("numbers", function(emit)
    for i = 1, N do emit(i) end
  end)
  local where = { processes = 2, threads = threads, retries = 3, ordered = true }
  where.to, where.from = { "some", "sum" }, "numbers" -- the other producer's go elsewhere
  p:processor("first", where, function(x, emit, ctx)
    if threads then minigun.sleep(0.0002 * (x % 3)) end
    if x % 77 == 0 and ctx.attempt == 1 then
      emit(-x) -- forgotten with the attempt
      error "first attempt"
    end
    emit(x)
    if x % 50 == 0 then
      emit(("x"):rep(LONG))
      emit(("y"):rep(LONG))
    end
    ctx:count("first", 1)
  end)
  p:batch("some", { max_size = 7, from = "first", to = "second" })
  where.from, where.to = "some", nil
  p:stage("second", where, function(input, emit, ctx)
    for batch in input do
      for _, x in ipairs(batch) do emit(x) end
    end
    emit("end of " .. ctx.worker)
  end)
  p:reduce("sum", 0, function(sum, x) return sum + (type(x) == "number" and x or 1000000) end,
    { processes = 2, retries = 3, from = "first", combine = function(a, b) return a + b end })
  -- What waits after its slow item is taken back, as soon as the other worker has nothing to do.
  p:producer("many", { to = "uneven" }, minigun.range(1, MANY)) -- as pieces, which are cut then
  p:processor("uneven", { processes = 2, retries = 3, from = "many" }, function(x, emit)
    if x % (MANY // 4) == MANY // 5 then minigun.sleep(0.01) end
    emit(x)
  end)
  -- What its items make is folded beside them.
  p:producer("terms", { to = "term" }, minigun.range(1, MANY))
  p:processes({ n = 2, retries = 3 }, function()
    p:processor("term", { from = "terms", to = "total" }, function(x, emit)
      if x % (MANY // 4) == 1 then minigun.sleep(0.01) end
      emit(x)
      if x % (MANY // 4) == 0 then emit(("x"):rep(2 * LONG)) end
    end)
    p:reduce("total", 0, function(sum, x) return sum + (type(x) == "number" and x or 1000000) end,
      { from = "term", combine = function(a, b) return a + b end })
  end)
  return p:run { failures = "collect" }
end

local function problem(r)
  local seen, numbers, texts, last, long = {}, 0, { x = 0, y = 0, e = 0 }, 0, N // 50
  for _, item in ipairs(r:of "second") do
    if type(item) == "number" then
      if seen[item] then return ("item %d twice"):format(item) end
      if item < 1 then return ("item %d of a failed attempt"):format(item) end
      if item < last then return ("item %d after item %d"):format(item, last) end
      seen[item], numbers, last = true, numbers + 1, item
    else
      texts[item:sub(1, 1)] = texts[item:sub(1, 1)] + 1
    end
  end
  if r:of "sum"[1] ~= 2 * long * 1000000 + N * (N + 1) // 2 then return "the sum is " .. tostring(r:of "sum"[1]) end
  if r:of "total"[1] ~= 4000000 + MANY * (MANY + 1) // 2 then return "the total is " .. tostring(r:of "total"[1]) end
  if numbers ~= N then return ("%d items of %d"):format(numbers, N) end
  if texts.x ~= long or texts.y ~= long then
    return ("%d and %d long items of %d"):format(texts.x, texts.y, long)
  end
  for _, failure in ipairs(r.failures) do
    if not failure.at_end then return tostring(failure) end
  end
  local loops = 2 * (threads or 1)
  -- A worker that dies at the end of its loops' input is one failure, whether it has one loop or one in each thread.
  if texts.e + #r.failures * (threads or 1) ~= loops then
    return ("%d ends of loops, %d failures"):format(texts.e, #r.failures)
  end
  local uneven = {}
  for _, item in ipairs(r:of "uneven") do
    if uneven[item] then return ("item %d twice of the uneven ones"):format(item) end
    uneven[item] = true
  end
  if #r:of "uneven" ~= MANY then return ("%d uneven items of %d"):format(#r:of "uneven", MANY) end
  if r.counters.first ~= N then return ("counted %s of %d"):format(r.counters.first, N) end
end

local function deaths(r)
  local n = 0
  for _, worker in ipairs(r.stats.workers) do n = n + worker.died end
  return n
end

run()
local points, names = core.faults.points(), {}
for name in pairs(points) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do
  local died = 0
  local i = 0
  repeat -- a point that is not passed in every run needs more runs
    i = i + 1
    core.faults.reset()
    local nth = math.max(1, (i * 2 - 1) % (moments * 2) * points[name] // (moments * 2))
    if i > moments and i % 2 == 0 then nth = 1 end
    core.faults.die(name, nth)
    local r = run()
    died = died + deaths(r)
    local wrong = problem(r)
    if wrong then print(("WRONG: died at %s the %dth time: %s"):format(name, nth, wrong)) end
  until i >= moments and died > 0 or i >= 20 * moments
  print(("%s: %d passes, %d deaths"):format(name, points[name], died))
end
