-- A reduce in a group of processes folds what the group's other stages emit where that is.
local contexts = require "spec.contexts"
local core = require "minigun.core"
local minigun = require "minigun"
local reduce = require "minigun.policy.reduce"
local support = require "spec.support"

local range = contexts.range
local seed = tonumber(os.getenv "SEED") or os.time()

local function new(given) return minigun.pipeline("folds", given) end
local function add(a, b) return a + b end
local function join(a, b) return a .. b end
local function sum_to(n) return n * (n + 1) // 2 end

-- A file with a line for each note, whichever process makes it.
local function notes()
  local path = os.tmpname()
  local own = { close = function() os.remove(path) end }
  function own.add(text)
    local file = io.open(path, "a")
    file:write(text, "\n")
    file:close()
  end
  function own.list()
    local list = {}
    for line in io.lines(path) do list[#list + 1] = line end
    return list
  end
  return own
end

describe("a part", function()
  local function first_of(item, f, init, combine)
    return reduce.new({ init = init, combine = combine, at = "here:1", name = "r" }, f):first(item)
  end

  it("begins with its first item, or with the initial value and that", function()
    assert.equal(3, first_of(3, add, 10))
    assert.is_false(first_of(false, add, 10))
    assert.equal(13, first_of(3, add, 10, add))
    assert.has_error(function() first_of(3, function() end, 10, add) end)
  end)
end)

describe("a reduce beside its neighbour", function()
  it("folds in the process that has made the item", function()
    local n = 2000
    local result = new():processes(2, function(p)
      p:producer(range(1, n))
      p:map("pid", function() return core.pid() end)
      p:reduce("same", { 0, 0 }, function(counts, pid)
        local k = pid == core.pid() and 1 or 2
        counts[k] = counts[k] + 1
        return counts
      end, { combine = function(a, b) return { a[1] + b[1], a[2] + b[2] } end })
    end):run()
    assert.same({ { n, 0 } }, result.items)
    local s = result.stats.stages
    assert.same({ n, n, n, 1 }, { s.pid.items_in, s.pid.items_out, s.same.items_in, s.same.items_out })
  end)

  it("makes few parts of many quick items, also on a busy machine", function()
    local n, parts = 1000000, 0
    local p = new()
    p:producer(minigun.range(1, n))
    p:processes(2, function(q)
      q:map("twice", function(i) return 2 * i end)
      q:reduce("sum", 0, add, { combine = function(a, b)
        parts = parts + 1
        return a + b
      end })
    end)
    assert.same({ 2 * sum_to(n) }, p:run().items)
    assert.is_true(parts < n / 10000, parts .. " parts")
  end)

  it("gives what it gives elsewhere: several stages before it, filters, stages after it, another one", function()
    local n = 1000
    local function define(p)
      p:producer(range(1, n))
      p:filter("odd", function(i) return i % 2 == 1 end)
      p:processor("twice", { to = { "sum", "texts", "out" } }, function(i, emit)
        emit(i)
        emit(-i)
      end)
      p:reduce("sum", 5, math.max, { from = "twice", to = "end" })
      p:reduce("texts", {}, function(set, i)
        set["k" .. i % 7] = true
        return set
      end, { from = "twice", to = "end", combine = function(a, b)
        for k in pairs(b) do a[k] = true end
        return a
      end })
      p:map("end", { from = { "sum", "texts" } }, function(x) return { x } end)
      p:map("out", { from = "twice" }, function(x) return x end)
    end
    local inline, block = new(), new()
    define(inline)
    block:processes(2, define)
    local a, b = inline:run(), block:run()
    assert.same(contexts.sorted(a:of "out"), contexts.sorted(b:of "out"))
    local function ends(r)
      local list = r:of "end"
      table.sort(list, function(x, y) return type(x[1]) < type(y[1]) end)
      return list
    end
    assert.same(ends(a), ends(b))
    assert.same(n - 1, ends(b)[1][1])
  end)

  it("R43 keeps the order of the items, with one worker and in an ordered group", function()
    local n, list, expected = 600, {}, {}
    for i = 1, n do
      list[i] = i
      expected[i] = i .. ";"
    end
    for _, given in ipairs { { n = 1 }, { n = 3, ordered = true, retries = 3 } } do
      local result = new():processes(given, function(p)
        p:producer(list)
        p:processor("text", function(i, emit, ctx)
          if given.ordered and i % 50 == 0 and ctx.attempt == 1 then error "again" end
          if i % 40 == 0 then core.sleep(0.001) end
          emit(i .. ";")
        end)
        p:reduce("join", "<", join)
      end):run()
      assert.same({ "<" .. table.concat(expected) }, result.items)
    end
  end)

  it("takes items from elsewhere too, and by emit:to and a route", function()
    local result = new():producer("p", { to = { "work", "sum" } }, range(1, 300)):processes(2, function(p)
      p:processor("work", { to = { "sum", "other" }, from = "p", route = function(i)
        return i % 3 == 0 and "other" or "sum"
      end }, function(i, emit)
        if i % 3 == 1 then emit:to("sum", i) else emit(i) end
      end)
      p:reduce("sum", 0, add, { from = { "p", "work" } })
      p:map("other", { from = "work" }, function(i) return i end)
    end):run()
    local other = 0
    for _, i in ipairs(result:of "other") do other = other + i end
    assert.equal(2 * sum_to(300), result:of "sum"[1] + other)
    assert.equal(100, #result:of "other")
  end)

  it("does not run an item again whose function fails: it is called so often as anywhere", function()
    local calls = notes()
    local result = new { failures = "collect" }:processes({ n = 2, retries = 2 }, function(p)
      p:producer(range(1, 400))
      p:processor("mark", function(i, emit, ctx)
        ctx.state.n = (ctx.state.n or 0) + 1
        emit(i)
      end)
      p:after("mark", function(ctx) ctx:count("handled", ctx.state.n or 0) end)
      p:reduce("sum", 0, function(a, b)
        if b % 100 == 0 then
          calls.add(b)
          if b == 100 then error "never" end
          if b == 200 then return nil end
        end
        return a + b
      end, { combine = add })
    end):run()
    assert.same({ sum_to(400) - 300 }, result.items)
    local counted = contexts.counts(calls.list())
    calls.close()
    assert.same({ ["100"] = 3, ["200"] = 3, ["300"] = 1, ["400"] = 1 }, counted)
    assert.equal(400, result.counters.handled)
    table.sort(result.failures, function(a, b) return a.item < b.item end)
    local seen = {}
    for i, failure in ipairs(result.failures) do
      seen[i] = { failure.stage, failure.kind, failure.item, failure.attempts, failure.batch }
    end
    assert.same({ { "sum", "error", 100, 3 }, { "sum", "error", 200, 3 } }, seen)
    assert.matches("folds_spec.lua:%d+: never", result.failures[1].message)
    assert.matches("returned nil", result.failures[2].message)
    local s = result.stats.stages.sum
    assert.same({ 400, 1, 2, 4 }, { s.items_in, s.items_out, s.failed, s.retried })
  end)

  it("keeps a failed item as it came, where its next attempt needs it", function()
    local result = new():processes({ n = 1, retries = 1 }, function(p)
      p:producer(range(1, 50))
      p:map("box", function(i) return { i } end)
      p:reduce("sum", 0, function(a, box)
        local i = box[1]
        box[1] = 1000
        if i == 20 then error "first" end
        return a + i
      end, { combine = add })
    end):run { failures = "collect" }
    assert.equal(1, result.failed)
    assert.same({ 20 }, result.failures[1].item)
    assert.same({ sum_to(50) - 20 }, result.items)
  end)

  it("R46 tries items again, and names them, where a queue after it is full meanwhile", function()
    local n <const> = 60
    local p = new { failures = "collect" }
    p:producer("numbers", { to = { "wrap", "twice", "sum" } }, function(emit)
      for i = 1, n do emit(i) end
    end)
    p:processor("wrap", { to = { "twice", "sum" } }, function(i, emit) emit { wrapped = i } end)
    p:processes(2, function()
      p:processor("twice", { to = "sum" }, function(_, emit)
        for _ = 1, 2 do emit { twice = true } end
      end)
      p:reduce("sum", 0, function(sum, item)
        if type(item) == "table" then error "no number" end
        return sum + 1
      end, { retries = 2, combine = add })
    end)
    p:filter({ process_per_batch = 2, queue = 6 }, function() return true end)
    local result, found = p:run(), { wrapped = 0, twice = 0 }
    assert.same({ n }, result.items)
    for _, failure in ipairs(result.failures) do
      local name = next(failure.item)
      assert.equal(3, failure.attempts)
      found[name] = found[name] + 1
    end
    assert.same({ wrapped = n, twice = 4 * n }, found)
  end)

  it("R47 a worker's death costs an attempt of the item that was in hand, and no other", function()
    for _, where in ipairs { "handler", "function" } do
      local died = notes()
      local function die(at, i)
        if at ~= where or i ~= 150 then return end
        died.add(i)
        os.exit(3)
      end
      local result = new { failures = "collect" }:processes({ n = 2, retries = 1 }, function(p)
        p:producer(range(1, 400))
        p:map("work", function(i)
          die("handler", i)
          return i
        end)
        p:reduce("sum", 0, function(a, b)
          die("function", b)
          return a + b
        end, { combine = add })
      end):run()
      -- In the function that is the reduce's: it is found out by a worker that folds nothing.
      local deaths = #died.list()
      died.close()
      assert.same({ sum_to(400) - 150 }, result.items)
      assert.equal(1, #result.failures)
      local failure = result.failures[1]
      assert.same({ "crash", 3, 150, 2, where == "handler" and "work" or "sum" },
        { failure.kind, failure.code, failure.item, failure.attempts, failure.stage })
      assert.equal(where == "handler" and 2 or 3, deaths)
    end
  end)

  it("loses nothing and counts nothing twice, whenever workers are killed", function()
    math.randomseed(seed)
    for round = 1, support.short_or_long(2, 40) do
      support.deadline(60)
      local n = support.short_or_long(30000, 60000)
      local p = new():producer(range(1, n)):processes({ n = 2, ordered = round % 2 == 0, retries = 1000 }, function(p)
        p:processor("work", { to = { "sum", "out" } }, function(i, emit, ctx)
          emit(i)
          if i % 1000 == 0 then emit(("x"):rep(30000)) end
          ctx:count("seen", 1)
        end)
        p:reduce("sum", 0, function(a, b) return type(b) == "number" and a + b or a end,
          { from = "work", combine = add })
        p:map("out", { from = "work" }, function(x) return x end)
      end)
      local run, kills, started = p:start { max_restarts = 1000000 }, 0, core.now()
      while run:step(0.0005 * math.random(4)) do
        if kills < 30 and core.now() - started < 3 then
          for _, worker in ipairs(run:status().workers) do
            if worker.pid and math.random(3) == 1 then
              core.kill(worker.pid, 9)
              kills = kills + 1
            end
          end
        end
      end
      local result = run:wait()
      local what = ("SEED=%d, round %d, %d kills"):format(seed, round, kills)
      assert.is_true(kills > 0, what)
      assert.same({ sum_to(n) }, result:of "sum", what)
      assert.equal(n, result.counters.seen, what)
      local numbers, texts = 0, 0
      for _, x in ipairs(result:of "out") do
        if type(x) == "number" then numbers = numbers + x else texts = texts + 1 end
      end
      assert.same({ sum_to(n), n // 1000 }, { numbers, texts }, what)
    end
  end)

  it("R48 a time-out is for one item, and for the stage that it was in", function()
    for _, slow in ipairs { "work", "sum" } do
      local function maybe(stage, i)
        if stage == slow and i == 30 then core.sleep(30) end
      end
      local result = new { failures = "collect" }:processes(2, function(p)
        p:producer(range(1, 60))
        p:map("work", { timeout = 0.2 * contexts.patience }, function(i)
          maybe("work", i)
          return i
        end)
        p:reduce("sum", 0, function(a, b)
          maybe("sum", b)
          return a + b
        end, { timeout = 0.2 * contexts.patience, combine = add })
      end):run()
      assert.same({ sum_to(60) - 30 }, result.items)
      assert.equal(1, #result.failures)
      local failure = result.failures[1]
      assert.same({ "timeout", 30, slow }, { failure.kind, failure.item, failure.stage })
    end
  end)

  it("R49 a part that cannot be sent is a failure, which shows it", function()
    local result = new { failures = "collect" }:processes(1, function(p)
      p:producer(range(1, 20))
      p:map("work", function(i) return i end)
      p:reduce("odd", 0, function(_, b) return b < 20 and b or print end, { combine = math.max })
    end):run()
    assert.equal(1, #result.failures)
    local failure = result.failures[1]
    assert.same({ "unserialisable", "odd", true }, { failure.kind, failure.stage, failure.batch })
    assert.matches("function", tostring(failure.item))
  end)

  it("items that cannot be had cost no other", function()
    local Odd = {}
    core.register("folds.odd", Odd, function(o) return o.n end, function(n)
      if n % 7 == 0 then error("seven", 0) end
      return setmetatable({ n = n }, Odd)
    end)
    local result = new { failures = "collect" }:producer(function(emit)
      for i = 1, 100 do emit(setmetatable({ n = i }, Odd)) end
    end):processes(2, function(p)
      p:map("work", function(o) return o.n end)
      p:reduce("sum", 0, add)
    end):run()
    assert.equal(14, #result.failures)
    assert.same({ sum_to(100) - 7 * sum_to(14) }, result.items)
  end)

  it("stands after a loop stage, whose last emissions are in the value too", function()
    local result = new():processes(2, function(p)
      p:producer(range(1, 200))
      p:stage("pairs", function(input, emit)
        local last
        for i in input do
          if last then emit(last + i) end
          last = not last and i or nil
        end
        if last then emit(last) end
      end)
      p:reduce("sum", 0, add)
    end):run()
    assert.same({ sum_to(200) }, result.items)
  end)

  it("leaves what waits after a slow item to workers that have nothing to do", function()
    local n = 400
    local result = new():processes(2, function(p)
      p:producer(range(1, n))
      p:map("work", function(i)
        if i == 100 then core.sleep(0.3) end
        return { core.pid(), i }
      end)
      p:reduce("pids", {}, function(seen, pair)
        seen[pair[1]] = (seen[pair[1]] or 0) + 1
        if pair[2] == 100 then seen.slow = pair[1] end
        return seen
      end, { combine = function(a, b)
        for k, x in pairs(b) do a[k] = k == "slow" and x or (a[k] or 0) + x end
        return a
      end })
    end):run()
    local seen, total = result.items[1], 0
    for pid, count in pairs(seen) do total = total + (pid ~= "slow" and count or 0) end
    assert.equal(n, total)
  end)

  it("is done once in a run with a journal", function()
    local path = os.tmpname()
    os.remove(path)
    local p = new():processes(2, function(p)
      p:producer("numbers", range(1, 100))
      p:map("work", function(i) return i end)
      p:reduce("sum", 0, add)
    end)
    assert.same({ sum_to(100) }, p:run { journal = path }.items)
    assert.same({ 0 }, p:run { journal = path }.items)
    os.remove(path)
  end)
end)
