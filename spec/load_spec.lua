-- Uneven load: items that take very different times, and which worker gets what is left. Handlers sleep, so that what
-- is counted does not depend on how many processors there are and what else they do.
local contexts = require "spec.contexts"
local minigun = require "minigun"
local support = require "spec.support"

local counts = contexts.counts

local function pipeline(given) return minigun.pipeline("load", given) end

-- Sleeps in the whole process: also where it is a thread's own coroutine that calls.
local function block(seconds) coroutine.wrap(minigun.sleep)(seconds) end

-- Items that have been begun, counted for all processes in a file: n of them, or ten seconds are over.
local function counter(n)
  local path = os.tmpname()
  local function size()
    local file <close> = assert(io.open(path))
    return file:seek "end"
  end
  return {
    begin = function()
      local file <close> = assert(io.open(path, "a"))
      file:write "."
    end,
    wait = function()
      local deadline = minigun.now() + 10 * contexts.patience
      while size() < n and minigun.now() < deadline do block(0.005) end
    end,
    size = size, remove = function() os.remove(path) end,
  }
end

-- Where a pool's stage may stand: `add(p, handler)` adds it; `n`: workers at the same time.
local PLACES <const> = {
  { "a pool", 4, function(p, f) p:processor("work", { processes = 4 }, f) end },
  { "an ordered pool", 4, function(p, f)
    p:processor("work", { processes = 4, ordered = true }, f)
  end, ordered = true },
  { "the first stage of a group", 4, function(p, f)
    p:processes(4, function()
      p:processor("work", f)
      p:processor("pass", function(item, emit) emit(item) end)
    end)
  end },
  { "the second stage of a group", 4, function(p, f)
    p:processes(4, function()
      p:processor("pass", function(item, emit) emit(item) end)
      p:processor("work", f)
    end)
  end },
  { "a pool after a pool", 4, function(p, f)
    p:processor("pass", { processes = 2 }, function(item, emit) emit(item) end)
    p:processor("work", { processes = 4 }, f)
  end },
  { "a nested pipeline's pool", 4, function(p, f)
    p:pipeline("inner", function(inner) inner:processor("work", { processes = 4 }, f) end)
  end },
  { "a loop stage", 4, function(p, f)
    p:stage("work", { processes = 4 }, function(input, emit, ctx)
      for item in input do f(item, emit, ctx) end
    end)
  end },
  { "a pool with retries and a time-out", 4, function(p, f)
    local function first(item, emit, ctx)
      if item % 7 == 0 and ctx.attempt == 1 then error "not yet" end
      f(item, emit, ctx)
    end
    p:processor("work", { processes = 4, retries = 1, timeout = 60 }, first)
  end },
  { "threads in workers", 4, function(p, f) p:processor("work", { processes = 4, threads = 3 }, f) end },
  { "a fork per batch", 4, function(p, f) p:processor("work", { process_per_batch = { max = 4 } }, f) end, few = true },
}

local function name_of(place)
  return ("%s [%s]"):format(place[1], place.few and "process_per_batch" or "processes")
end

-- Runs n items through a stage that waits in `wait(item)`; returns the result, and which worker has begun what when.
local function run(place, n, wait, given)
  local p = contexts.source(pipeline(given), n)
  place[3](p, function(item, emit, ctx)
    local began = minigun.now()
    wait(item)
    ctx:collect("begun", { item = item, at = began, ended = minigun.now(), worker = ctx.pid })
    emit(item)
  end)
  local result = p:run()
  assert.same(contexts.range(1, n), place.ordered and result.items or contexts.sorted(result.items))
  return result, result.collected.begun
end

describe("uneven load", function()
  for _, place in ipairs(PLACES) do
    it(("R76 slow items after quick ones go to all that could work, in %s"):format(name_of(place)), function()
      support.deadline(120)
      local quick, slow, seconds = place.few and 4 or 60, 12, 0.12
      local _, begun = run(place, quick + slow, function(item) if item > quick then block(seconds) end end)
      local by, first, last = {}, math.huge, 0
      for _, each in ipairs(begun) do
        if each.item > quick then
          by[#by + 1] = each.worker
          first, last = math.min(first, each.at), math.max(last, each.ended)
        end
      end
      assert.equal(slow, #by)
      local most = 0
      for _, n in pairs(counts(by)) do most = math.max(most, n) end
      -- Three are each one's share. One more is a third more than the ideal; alone it would be twelve.
      assert.is_true(place.few or most <= 4, ("%d slow items with one worker"):format(most))
      assert.is_true(place.few or last - first < 1.3 * slow / place[2] * seconds + contexts.patience, last - first)
    end)

    it(("R76 nothing waits after one slow item while a worker has nothing to do, in %s"):format(name_of(place)),
      function()
      support.deadline(120)
      local n, straggler = place.few and 12 or 400, place.few and 3 or 290
      local others = counter(n - 1)
      local _, begun = run(place, n, function(item) if item == straggler then others.wait() else others.begin() end end)
      others.remove()
      local stop, late = nil, 0
      for _, each in ipairs(begun) do
        if each.item == straggler then stop = each.ended end
      end
      for _, each in ipairs(begun) do late = late + (each.at >= stop and 1 or 0) end
      assert.equal(0, late)
    end)
  end

  it("R76 of two costs the dear items are spread over all workers", function()
    support.deadline(60)
    local _, begun = run(PLACES[1], 3000, function(item)
      if item > 1500 and item % 62 == 0 then block(0.1) end
    end)
    local by = {}
    for _, each in ipairs(begun) do
      if each.item > 1500 and each.item % 62 == 0 then by[#by + 1] = each.worker end
    end
    assert.equal(24, #by)
    for _, n in pairs(counts(by)) do assert.is_true(n <= 8, n) end -- six each; within 1.3
  end)

  it("R7 R76 what belongs to one worker stays with it, however long that takes", function()
    support.deadline(60)
    local p = contexts.source(pipeline(), 200)
    p:processor("work", { processes = 3, partition = function(item) return item % 3 end }, function(item, emit, ctx)
      if item == 5 then minigun.sleep(0.5) end
      emit { item, ctx.pid }
    end)
    local of, last = {}, {}
    for _, item in ipairs(p:run().items) do
      local key = item[1] % 3
      assert.equal(of[key] or item[2], item[2])
      assert.is_true(item[1] > (last[key] or 0))
      of[key], last[key] = item[2], item[1]
    end
  end)

  it("R47 R76 a worker that dies in a slow item costs that item, not those that were taken back", function()
    support.deadline(60)
    local p = contexts.source(pipeline { failures = "collect" }, 400)
    p:processor("work", { processes = 3 }, function(item, emit)
      if item == 290 then
        minigun.sleep(0.3)
        os.exit(3)
      end
      emit(item)
    end)
    local result = p:run()
    assert.equal(399, #result.items)
    assert.same({ "crash", 290 }, { result.failures[1].kind, result.failures[1].item })
    assert.is_nil(result.failures[2])
  end)

  it("R76 a reduction's workers share what is left", function()
    local p = contexts.source(pipeline(), 300)
    p:reduce("sum", 0, function(sum, item)
      if item == 100 then minigun.sleep(0.3) end
      return sum + item
    end, { processes = 3, combine = function(a, b) return a + b end })
    assert.same({ 300 * 301 // 2 }, p:run().items)
  end)

  it("R76 a journal acknowledges what was taken back as it does everything", function()
    local path = os.tmpname()
    os.remove(path)
    local result = run(PLACES[1], 400, function(item) if item % 90 == 0 then block(0.1) end end, { journal = path })
    assert.equal(400, #result.items)
    local again = contexts.source(pipeline { journal = path }, 400)
    again:processor("work", { processes = 4 }, function(item, emit) emit(item) end)
    assert.equal(0, #again:run().items)
    os.remove(path)
  end)
end)

describe("uneven load, where the system has no barrier for other processes", function()
  -- A child calls it once, to join; the coordinator to take something back.
  for _, refused in ipairs { "worker", "coordinator" } do
    it(("R76 R79 nothing is lost, nor there twice, where it refuses the %s"):format(refused), function()
      support.deadline(120)
      local n, late, calls
      -- On a busy machine slices may be so small that there is nothing to take back, and so no barrier.
      for _ = 1, 5 do
        local done = support.run(([[LUA_PATH="./lua/?.lua;./lua/?/init.lua;;" LUA_CPATH="./build-faults/?.so;;" \
        lua5.4 -e '
        local core, minigun = require "minigun.core", require "minigun"
        local of_child = %q == "worker"
        if of_child then core.faults.call("barrier", 1, 1) end
        local p = minigun.pipeline "p"
        p:producer("gen", function(emit)
          if not of_child then core.faults.call("barrier", 1, 1) end
          for i = 1, 400 do emit(i) end
        end)
        local path = os.tmpname()
        local function others(more)
          local file <close> = io.open(path, "a")
          file:write(more)
          return file:seek "end"
        end
        p:processor("work", { processes = 3 }, function(item, emit)
          local began = minigun.now()
          if item == 290 then
            while others "" < 399 and minigun.now() < began + 10 do minigun.sleep(0.005) end
          else
            others "."
          end
          emit { item, began, minigun.now() }
        end)
        local seen, n, stop, late = {}, 0, nil, 0
        local items = p:run().items
        os.remove(path)
        for _, item in ipairs(items) do
          assert(not seen[item[1] ])
          seen[item[1] ], n = true, n + 1
          if item[1] == 290 then stop = item[3] end
        end
        for _, item in ipairs(items) do late = late + (item[2] >= stop and 1 or 0) end
        print(n, late, core.faults.calls().barrier)']]):format(refused), { timeout = 100 })
        assert.equal(0, done.code, done.stderr)
        n, late, calls = done.stdout:match "(%d+)%s+(%d+)%s+(%d+)"
        assert.same({ "400", "0" }, { n, late }, done.stdout)
        if refused == "worker" or tonumber(calls) > 1 then break end
      end
      if refused == "worker" then assert.equal("0", calls) else assert.is_true(tonumber(calls) > 1, calls) end
    end)
  end
end)
