-- Rounds that the core goes through by itself while a producer waits for receivers (lua/minigun/run/rounds.lua): what
-- ends them, or comes in the middle of them, and that nothing is different for it.
local minigun = require "minigun"
local support = require "spec.support"

local N <const> = 600

local ledger_methods = debug.getregistry()["minigun.ledger"].__index

-- Runs f, and returns how often the run has gone over to such rounds, and what f returns. On a busy machine it may be
-- that each turn of a producer is one that is measured, and goes through Lua: then f is run again.
local function counted(f)
  local among, times, result = ledger_methods.among, 0, nil
  ledger_methods.among = function(...)
    times = times + 1
    return among(...)
  end
  for _ = 1, 10 do
    result = table.pack(pcall(f))
    if times > 0 or not result[1] then break end
  end
  ledger_methods.among = among
  if not result[1] then error(result[2], 0) end
  return times, table.unpack(result, 2, result.n)
end

local function numbers(emit)
  for i = 1, N do emit(i) end
end

-- A producer of numbers before a stage of one worker that takes one item at a time.
local function pipeline(handler, options, producer)
  options = options or {}
  options.processes, options.queue = options.processes or 1, 1
  local p = minigun.pipeline "rounds"
  p:producer("numbers", producer or numbers)
  return p:processor("work", options, handler or function(x, emit) emit(x) end)
end

local function sorted(list)
  table.sort(list)
  return list
end

local function range(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

-- What each item that is not in `items` has come to.
local function failed(result)
  local list = {}
  for _, failure in ipairs(result.failures) do list[failure.item] = failure.kind end
  return list
end

describe("a producer that waits for receivers", function()
  it("gets many of its items taken and done without a round in Lua", function()
    local fewest = math.huge -- how many it is depends on when the kernel lets the worker run
    for _ = 1, 3 do
      local times, result = counted(function() return pipeline():run() end)
      assert.same(range(N), result.items)
      assert.same({ N, N }, { result.stats.stages.work.items_in, result.stats.stages.work.items_out })
      assert.is_true(times > 0)
      fewest = math.min(fewest, times)
    end
    assert.is_true(fewest < 3 * N / 4, fewest)
  end)

  it("is so in a run with a page of figures too, which is written all the while", function()
    local seen, pages, name = {}, 0, ("/%d-"):format(require("minigun.core").pid())
    local times, result = counted(function()
      return pipeline(function(_, emit)
        minigun.sleep(0.002)
        local page, elapsed = require "minigun.system.page", 0
        for _, each in ipairs(page.list()) do
          local figures = each.path:find(name, 1, true) and page.read(each.path) -- nil: it is just being written
          elapsed = figures and figures.elapsed or elapsed
        end
        emit(elapsed)
      end):run { observe = true }
    end)
    for _, elapsed in ipairs(result.items) do
      if not seen[elapsed] then seen[elapsed], pages = true, pages + 1 end
    end
    assert.is_true(times > 0)
    assert.is_true(pages >= 3, pages .. " states of the page in more than a second")
  end)

  it("is gone on with by the run itself where its workers say more than items", function()
    local times, result = counted(function()
      return pipeline(function(x, emit, ctx)
        ctx:count "seen"
        if x % 100 == 0 then ctx:collect("hundreds", x) end
        emit(x)
      end):run()
    end)
    assert.is_true(times > 0)
    assert.same({ range(N), N, N // 100 }, { result.items, result.counters.seen, #result.collected.hundreds })
  end)

  -- What a worker may do with an item: the handler, options of the stage and of the run, the kind of failure of each
  -- 100th item (nil: it is among the items all the same).
  local WORKERS <const> = {
    { "raises", function() error "no" end, {}, "error" },
    { "raises at the first attempt", function(ctx) if ctx.attempt == 1 then error "no" end end, { retries = 1 } },
    { "dies", function() os.exit(3) end, {}, "crash" },
    { "dies at the first attempt", function(ctx) if ctx.attempt == 1 then os.exit(3) end end, { retries = 1 } },
    { "is late", function() minigun.sleep(10) end, { timeout = 0.05 }, "timeout" },
    { "is slow", function() minigun.sleep(0.02) end, {} },
  }
  for _, row in ipairs(WORKERS) do
    it(("keeps what becomes of items apart where a worker %s"):format(row[1]), function()
      local times, result = counted(function()
        return pipeline(function(x, emit, ctx)
          if x % 100 == 0 then row[2](ctx) end
          emit(x)
        end, row[3]):run { failures = "collect", max_restarts = 100 }
      end)
      local expected = {}
      for x = 100, row[4] and N or 0, 100 do expected[x] = row[4] end
      assert.is_true(times > 0)
      assert.same(expected, failed(result))
      for x in pairs(expected) do result.items[#result.items + 1] = x end
      assert.same(range(N), sorted(result.items))
    end)
  end

  it("says what it has raised, and what it cannot send", function()
    local times, ok, message = counted(function()
      return pcall(function()
        return pipeline(nil, nil, function(emit)
          numbers(emit)
          error "the source is broken"
        end):run()
      end)
    end)
    assert.is_true(times > 0)
    assert.is_false(ok)
    assert.matches("the source is broken", tostring(message), 1, true)
    local _, result = counted(function()
      return pipeline(nil, nil, function(emit)
        for i = 1, N do emit(i == N // 2 and print or i) end
      end):run { failures = "collect" }
    end)
    assert.same({ N - 1, "unserialisable" }, { #result.items, result.failures[1].kind })
  end)

  it("sends to a stage of its choice, and to several at once", function()
    local times, result = counted(function()
      local p = minigun.pipeline "rounds"
      p:producer("numbers", { to = { "one", "both" } }, function(emit)
        for i = 1, N do
          if i % 3 == 0 then emit:to("one", i) else emit(i) end
        end
      end)
      p:processor("one", { processes = 1, queue = 1 }, function(x, emit) emit(x) end)
      p:processor("both", { processes = 1, queue = 1 }, function(x, emit) emit(x) end)
      return p:run()
    end)
    assert.is_true(times > 0)
    assert.equal(N + N - N // 3, #result.items)
  end)

  it("waits while a handler of the coordinator runs, raises, or yields to who has called the run", function()
    local taken, values = {}, 0
    local run = coroutine.wrap(function()
      local p = pipeline()
      p:consumer("take", function(x)
        if x % 50 == 7 then coroutine.yield(x) end
        if x % 100 == 0 then error "no" end
        taken[#taken + 1] = x
      end)
      local times, result = counted(function() return p:run { failures = "collect" } end)
      return "end", times, result
    end)
    local said, times, result = run()
    while said ~= "end" do
      assert.equal(7, said % 50)
      values = values + 1
      said, times, result = run()
    end
    assert.is_true(times > 0)
    assert.same({ N // 50, N // 100, N - N // 100 }, { values, #result.failures, #taken })
  end)

  it("ends when the run is to end: at a deadline, at a failure", function()
    local function endless(emit)
      for i = 1, math.huge do emit(i) end
    end
    local p = pipeline(nil, nil, endless)
    local times, ok, message = counted(function() return pcall(p.run, p, { deadline = 0.1 }) end)
    assert.is_true(times > 0)
    assert.is_false(ok)
    assert.matches("its deadline of 0.1 s", tostring(message), 1, true)
    assert.error_matches(function()
      pipeline(function(x) if x == 300 then error "enough" end end, nil, endless):run { failures = "stop" }
    end, "enough")
  end)

  for _, signal in ipairs { "TERM", "INT" } do
    it(("leaves at SIG%s"):format(signal), function()
      local done = support.run(("timeout --foreground -s %s 0.25 env %s lua5.4 -e %s"):format(signal,
        support.env_words(support.lua_env()), support.quote [[
          local minigun = require "minigun"
          local p = minigun.pipeline "rounds"
          p:producer("numbers", function(emit) for i = 1, math.huge do emit(i) end end)
          p:processor("work", { processes = 1, queue = 1 }, function(x, emit) emit(x) end)
          p:consumer("take", function() end)
          p:run()
        ]]), { timeout = 20 })
      assert.equal(124, done.code, done.stderr) -- timeout says so when its command has left
      assert.equal(0, #support.children())
    end)
  end
end)
