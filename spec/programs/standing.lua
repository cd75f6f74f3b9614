-- Draws histories of executors and compares what comes of each item with a model: items that are submitted, cancelled
-- and waited for at random, while executors are resized and workers killed. Run by spec/executor_property_spec.lua.
--
-- standing.lua random SEED COUNT [ITEMS]   COUNT histories
-- standing.lua points SEED MOMENTS         with the test build: in each history a worker dies at a point of the core
-- standing.lua calls SEED MOST             the same: in each a system call fails; MOST: how many of each
--
-- standing.lua many SEED ITEMS             one history: so many items through 4 workers, of which some are killed
--
-- Prints a line WRONG for each history that went otherwise than the model says, with its seed.
local core = require "minigun.core"
local minigun = require "minigun"
local support = require "spec.support"

local mode, seed, count, items = arg[1], tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4] or 60)
local KILL <const> = core.signal_numbers.KILL
local PATIENCE <const> = 30 * support.patience -- seconds after which something hangs

-- System calls that an executor needs, with an errno of each; spec/programs/fail_calls.lua has all of a run's.
local ENOMEM <const>, EMFILE <const>, EAGAIN <const> = 12, 24, 11
local FAILS <const> = { map_shared = ENOMEM, map_private = ENOMEM, advise = ENOMEM, fork = EAGAIN, pidfd_open = EMFILE,
  eventfd = EMFILE, timerfd = EMFILE, lifeline = EMFILE, epoll_create = EMFILE, epoll_add = ENOMEM, bell_add = ENOMEM,
  epoll_set = ENOMEM, epoll_wait = 4, poll = 4, read = 4, barrier = 1, wiped_page = ENOMEM }

local random = math.random

-- What the handler does with an item, and what the model says: "error", "crash" or a list of values.
local function kind_of(n)
  if n % 13 == 4 then return "error" end
  if n % 29 == 7 then return "crash" end
  return "values"
end

local function values_of(n, fan)
  local list = {}
  for i = 1, fan and n % 4 or 1 do list[i] = n * 10 + i end
  return list
end

local contexts = {
  { processes = 1 }, { processes = 2 }, { processes = 4 }, { threads = 3 }, { inline = true },
  { process_per_batch = { max = 2 } }, { processes = 2, threads = 2 }, { processes = { n = 2, max_items = 5 } },
}

local function merged(a, b)
  local both = {}
  for k, v in pairs(a) do both[k] = v end
  for k, v in pairs(b) do both[k] = v end
  return both
end

-- Draws an executor: `pool`; `fan`: several values may come of an item; `forked`: its handlers may die.
local function draw()
  local context = contexts[random(#contexts)]
  if mode == "points" then context = contexts[random(2, 3)] end
  local forked = not (context.inline or context.threads and not context.processes)
  local drawn = { fan = random(3) == 1, forked = forked, resizes = not context.inline and random(2) == 1,
    retries = random(0, 1) * 2, text = "" }
  for key, value in pairs(context) do drawn.text = ("%s%s=%s "):format(drawn.text, key, tostring(value)) end
  local parent = support.pid()
  local function check(n)
    if kind_of(n) == "error" then error("error of " .. n, 0) end
    if kind_of(n) == "crash" and support.pid() ~= parent then os.exit(5) end
    if n % 11 == 0 then minigun.sleep(0.001) end
  end
  local given = { retries = drawn.retries, backlog = random(2) == 1 and random(8) or nil, max_restarts = 100000 }
  if random(2) == 1 then
    drawn.fan = false
    drawn.pool = minigun.executor(function(n)
      check(n)
      return { values_of(n)[1] }
    end, merged(context, given))
    return drawn
  end
  local p = minigun.pipeline("drawn", { max_restarts = 100000 })
  p:processor("first", merged(context, { retries = drawn.retries }), function(n, emit)
    check(n)
    for _, value in ipairs(values_of(n, drawn.fan)) do emit(value) end
  end)
  drawn.batched = random(2) == 1
  if drawn.batched then p:batch("some", random(4), { max_wait = 0.002 }):flat_map("apart", function(b) return b end) end
  if random(2) == 1 then p:map("after", contexts[random(#contexts)], function(n) return n end) end
  drawn.resizes = false
  drawn.pool = p:open { backlog = given.backlog }
  return drawn
end

-- Kills one of the workers.
local function kill_one()
  local children = support.children()
  local pid = children[random(math.max(1, #children))]
  if pid then pcall(core.kill, pid, KILL) end
  return pid and 1 or 0
end

local function own_values(list, n)
  local own = {}
  for _, value in ipairs(list) do
    if value // 10 == n then own[#own + 1] = value end
  end
  return own
end

-- What is wrong with what came of an item; nil: nothing. `kills`: how many workers were killed.
local function problem_of(drawn, n, future, spare)
  if not future:done() then return "it is not settled" end
  local expected, record = kind_of(n), future:failure()
  if expected == "crash" and not drawn.forked then expected = "values" end
  if not record then
    if expected ~= "values" then return "it should have failed" end
    local got, want = future:result() or {}, values_of(n, drawn.fan)
    if drawn.batched then got = own_values(got, n) end -- with what came of the others in its batch
    table.sort(got)
    if table.concat(got, " ") ~= table.concat(want, " ") then return "it gave " .. table.concat(got, " ") end
  elseif record.kind == "crash" and expected ~= "crash" and spare.n > 0 then
    spare.n = spare.n - 1
  elseif record.kind ~= expected then
    return ("it failed with %s: %s"):format(record.kind, record.message)
  elseif record.item ~= n then
    return "its failure shows item " .. tostring(record.item)
  end
end

-- One history. Returns what is wrong with it; and whether it ended with an error, which only a fault may cause.
local function history(kills)
  local drawn = draw()
  local pool, futures, cancelled, killed = drawn.pool, {}, {}, 0
  local deadline = core.now() + PATIENCE
  for n = 1, items do
    futures[n] = pool:submit(n, random(3) == 1 and { priority = random(3) } or nil)
    local act = random(12)
    if act == 1 then
      local at = random(n)
      if futures[at]:cancel(random(2) == 1 and { kill = true } or nil) then cancelled[at] = true end
    elseif act == 2 then pool:step(random(3) == 1 and 0.002 or 0)
    elseif act == 3 then futures[random(n)]:done()
    elseif act == 4 and drawn.resizes then pool:resize(random(5))
    elseif act == 5 and kills then killed = killed + kill_one()
    elseif act == 6 then pcall(futures[n].result, futures[n], 0.001) end
  end
  local settled, others = minigun.wait_all(futures, { timeout = deadline - core.now() })
  if #others > 0 then return ("%s: %d of %d futures hang: %s"):format(drawn.text, #others, #futures, tostring(pool)) end
  local status = pool:status()
  local result = pool:close()
  -- A death costs each item that the worker had in hand an attempt: with threads those are several.
  local hosted = drawn.forked and drawn.text:find "threads" and 20 or 0
  local failed, spare = 0, { n = hosted + killed * (drawn.text:find "threads" and 2 or 1) * (drawn.batched and 8 or 1) }
  if mode == "points" then spare.n = math.huge end -- each worker that comes to the point dies there
  for n, future in ipairs(futures) do
    local wrong
    if cancelled[n] then
      wrong = future:failure().kind ~= "cancelled" and "it was cancelled, and is not"
    else
      wrong = problem_of(drawn, n, future, spare)
      failed = failed + (future:failure() and 1 or 0)
    end
    if wrong then return ("%s: item %d: %s"):format(drawn.text, n, wrong) end
  end
  if #settled ~= #futures or status.waiting > 0 then return "some wait still" end
  if result.failed ~= failed and not (drawn.batched and result.failed < failed) then -- a batch fails for several
    return ("%s: the result counts %d failures, there were %d"):format(drawn.text, result.failed, failed)
  end
end

-- Many items through four workers that are killed now and then.
local function many()
  local pool = minigun.executor(function(n)
    if n % 1000 == 0 then minigun.sleep(0.001) end
    return { n, -n }
  end, { processes = 4, retries = 1000, max_restarts = 1000000 })
  local waiting, first, most, kills, begin = {}, 1, 0, 0, nil
  for n = 1, count do
    waiting[n] = pool:submit(n)
    if n % (count // 50) == 0 then kills = kills + kill_one() end
    if n - first == 20000 or n == count then
      for i = first, n do
        local got = waiting[i]:result()
        if got[1] ~= i or got[2] ~= -i then return ("item %d got the result of %s"):format(i, tostring(got[1])) end
        waiting[i] = nil
      end
      first = n + 1
      collectgarbage()
      begin, most = begin or collectgarbage "count", math.max(most, collectgarbage "count")
    end
  end
  if most > begin + 4096 then return ("memory has grown from %d to %d KiB"):format(begin // 1, most // 1) end
  local result = pool:close()
  if result.failed > 0 then return tostring(result.failures[1]) end
  if kills < 40 then return kills .. " kills only" end
end

local function left_over()
  collectgarbage()
  collectgarbage()
  return ("%d children, %d descriptors, %d mappings"):format(#support.children(), support.descriptor_count(),
    support.shared_mappings())
end

local function run(own_seed, kills)
  math.randomseed(own_seed)
  local ok, wrong = pcall(history, kills)
  collectgarbage()
  return ok, wrong
end

io.stdout:setvbuf "line"
run(seed, false)
local usual, runs, errors = left_over(), 0, 0

local function judge(own_seed, what, ok, wrong)
  runs = runs + 1
  local left = left_over()
  if left ~= usual then
    print(("WRONG: seed %d, %s: left over: %s instead of %s"):format(own_seed, what, left, usual))
  end
  usual = left
  if ok and wrong then print(("WRONG: seed %d, %s: %s"):format(own_seed, what, wrong)) end
  if not ok then
    errors = errors + 1
    if mode ~= "calls" then print(("WRONG: seed %d, %s: %s"):format(own_seed, what, tostring(wrong))) end
  end
end

if mode == "random" then
  for i = 1, count do judge(seed + i, "kills", run(seed + i, true)) end
elseif mode == "many" then
  judge(seed, "many", pcall(many))
else
  core.faults.reset()
  run(seed, false)
  local names = {}
  for name in pairs(mode == "points" and core.faults.points() or FAILS) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    for i = 1, count do
      local nth, own_seed = mode == "points" and i * 3 or random(3), seed + i
      core.faults.reset()
      if mode == "points" then core.faults.die(name, nth) else core.faults.call(name, nth, FAILS[name]) end
      print(("%s %d"):format(name, nth))
      judge(own_seed, ("%s, the %dth time"):format(name, nth), run(own_seed, mode == "points"))
      core.faults.reset()
    end
  end
end
print(("%d histories, %d ended with an error"):format(runs, errors))
