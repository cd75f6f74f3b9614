-- reduce: one value from a stream, made in workers and combined in the coordinator.
local contexts = require "spec.contexts"
local core = require "minigun.core"
local minigun = require "minigun"
local reduce = require "minigun.policy.reduce"
local refusals = require "spec.refusals"
local support = require "spec.support"

local range, options = contexts.range, contexts.options
local seed = tonumber(os.getenv "SEED") or os.time()

local function new(given) return minigun.pipeline("reduce", given) end
local function pass(item, emit) emit(item) end
local function add(a, b) return a + b end
local function join(a, b) return a .. b end

-- Counts words in a table that it changes, and puts two such tables together.
local function count(counts, word)
  counts[word] = (counts[word] or 0) + 1
  return counts
end

local function merge(a, b)
  for word, n in pairs(b) do a[word] = (a[word] or 0) + n end
  return a
end

describe("parts of a reduce", function()
  local function recipe_of(init, f, combine)
    return reduce.new({ init = init, combine = combine, at = "here:1", name = "r" }, f)
  end

  local function combining(recipe) return reduce.of_parts(recipe, 2, function() return 0 end) end

  it("R43 combines parts in their order, in whatever order they come", function()
    math.randomseed(seed)
    for _ = 1, 100 do
      local n, parts = math.random(0, 30), {}
      for i = 1, n do table.insert(parts, math.random(1, i), { i, string.char(96 + i), 1, 0.001 }) end
      local c, most = combining(recipe_of("<", join)), 0
      for _, part in ipairs(parts) do
        c:add(part)
        most = math.max(most, #c:values())
      end
      assert.equal("<" .. ("abcdefghijklmnopqrstuvwxyz{|}~"):sub(1, n), c:finish(), "SEED=" .. seed)
      assert.is_true(most <= n // 2 + 1)
      assert.is_true(#c:values() <= 1)
    end
  end)

  it("R43 has the initial value once, or in each part where there is a function that combines them", function()
    local c = combining(recipe_of(10, add))
    assert.equal(10, c:finish())
    c = combining(recipe_of(10, add))
    for i = 1, 3 do c:add { i, i, 1, 0 } end
    assert.equal(16, c:finish())
    c = combining(recipe_of(10, add, add))
    assert.equal(10, c:finish())
    c = combining(recipe_of(10, add, add))
    for i = 1, 3 do c:add { i, i, 1, 0 } end
    assert.equal(6, c:finish())
  end)

  it("R43 goes on where parts are missing, and where combining has failed", function()
    local c = combining(recipe_of("", function(a, b)
      if b == "x" then error "no x" end
      return a .. b
    end))
    for _, i in ipairs { 9, 2, 1, 5, 6, 10 } do c:add { i, tostring(i), 1, 0 } end
    assert.same({ "12", "56", "910" }, c:values())
    assert.has_error(function() c:add { 3, "x", 1, 0 } end)
    c:add { 4, "4", 1, 0 }
    assert.equal("12456910", c:finish())
  end)

  it("makes batches large enough for the work, and for what combining costs", function()
    local now = 0
    local c = reduce.of_parts(recipe_of(0, function(a, b)
      now = now + 0.01
      return a + b
    end), 4, function() return now end)
    assert.equal(2, c:size()) -- one call
    c:add { 1, 5, 1, 0.1 } -- none: that tells nothing
    assert.equal(2, c:size())
    c:add { 3, 5, 1001, 0.001 } -- a microsecond each
    assert.equal(2000, c:size())
    for i = 4, 40 do c:add { i, 5, 1000, 0.001 } end -- 10 ms to combine two
    assert.equal(65535, c:size())
    c = combining(recipe_of(0, add, add))
    assert.equal(1, c:size())
    c:add { 1, 5, 1, 10 }
    assert.equal(1, c:size())
  end)

  it("copies a table that is the initial value, with all that it shares", function()
    local shared = {}
    local init = setmetatable({ shared, shared, { [shared] = 1 } }, { __index = { a = 1 } })
    init.me = init
    local recipe = recipe_of(init, add)
    local a, b = recipe.start(), recipe.start()
    assert.not_equal(a, b)
    assert.not_equal(a, init)
    assert.same({ true, true, true, 1, true }, { a.me == a, a[1] == a[2], a[3][a[1]] == 1, a.a, a[1] ~= shared })
  end)
end)

describe("reduce", function()
  for _, context in ipairs(contexts.all) do
    local where = " [" .. context.name .. "]"
    local n = math.max(8, context.size)

    it("R43 gives what it gives inline, for values and for what workers emit" .. where, function()
      local list = range(1, n)
      for _, upstream in ipairs { { inline = true }, { processes = 2 }, { processes = 2, ordered = true } } do
        local result = new():producer(list):processor(upstream, pass):reduce("sum", 100, add, context.options):run()
        assert.same({ n * (n + 1) // 2 + 100 }, result.items)
        local s = result.stats.stages.sum
        assert.same({ n, 1, 0 }, { s.items_in, s.items_out, s.failed })
        local words = new():producer(list):processor(upstream, function(i, emit) emit("w" .. i % 10) end)
          :reduce("words", {}, count, options(context, { combine = merge })):run()
        local expected = {}
        for i = 1, n do count(expected, "w" .. i % 10) end
        assert.same({ expected }, words.items)
      end
    end)

    it("R43 keeps the order of the items for a function that is associative and not commutative" .. where, function()
      local list = {}
      for i = 1, n do list[i] = tostring(i) end
      local result = new():producer(list):reduce("<", join, context.options):run()
      assert.same({ "<" .. table.concat(list) }, result.items)
      result = new():producer(list):processor({ processes = 2, ordered = true }, pass)
        :reduce("join", "<", join, context.options):run()
      assert.same({ "<" .. table.concat(list) }, result.items)
    end)

    it("R43 emits the initial value where there is no item" .. where, function()
      local result = new():producer {}:reduce("sum", 7, add, context.options):run()
      assert.same({ 7 }, result.items)
      local made = 0
      result = new():producer {}:reduce("list", function() made = made + 1; return { made } end, add, context.options)
        :run()
      assert.same({ { 1 } }, result.items)
      result = new():producer { 1 }:filter(function() return false end):reduce(false, add, context.options):run()
      assert.same({ false }, result.items)
    end)

    it("R54 leaves the initial value as it is for the next run" .. where, function()
      local init = { a = 5 }
      local p = new():producer { "a", "b" }:reduce(init, count, options(context, { combine = merge }))
      for _ = 1, 2 do p:run() end
      assert.same({ a = 5 }, init)
      local begun = new():producer { "a", "b", "a" }:reduce(function() return {} end, count,
        options(context, { combine = merge }))
      for _ = 1, 2 do assert.same({ { a = 2, b = 1 } }, begun:run().items) end
    end)

    it("R43 sends its value on, to several stages, to another reduce" .. where, function()
      local result = new():producer(range(1, 8)):reduce("sum", 0, add, options(context, { to = { "double", "max" } }))
        :map("double", options(context), function(x) return 2 * x end)
        :reduce("max", 1, math.max, options(context, { from = { "sum", "double" } })):run()
      assert.same({ 72 }, result.items)
    end)

    it("R45 an item for which the function raises fails, the others are in the value" .. where, function()
      local bad = { [3] = true, [4] = true, [7] = true, [n] = true }
      local function careful(a, b)
        if bad[b] then error("bad " .. b) end
        return a + b
      end
      local result = new { failures = "collect" }:producer(range(1, n)):reduce("sum", 0, careful,
        options(context, { combine = add })):run()
      assert.same({ n * (n + 1) // 2 - 14 - n }, result.items)
      local failed = {}
      for i, failure in ipairs(result.failures) do
        failed[i] = failure.item
        assert.same({ "sum", "error", 1 }, { failure.stage, failure.kind, failure.attempts })
        assert.matches("^spec/reduce_spec.lua:%d+: bad " .. failure.item .. "$", failure.message)
        assert.matches("reduce_spec", failure.traceback)
        assert.is_nil(failure.batch)
      end
      assert.same({ 3, 4, 7, n }, contexts.sorted(failed))
      local s = result.stats.stages.sum
      assert.same({ n, 1, 4 }, { s.items_in, s.items_out, s.failed })
    end)

    it("R46 an item is tried again so many times, and only its own attempts count" .. where, function()
      local path = os.tmpname()
      local function flaky(a, b)
        if b % 5 == 0 then -- each try adds a line, whichever process it is in
          local file = io.open(path, "a+")
          local _, tries = file:read "a":gsub("%f[%d]" .. b .. "\n", "")
          file:write(b, "\n")
          file:close()
          if tries < 2 or b == 10 then error("not yet " .. b) end
        end
        return a + b
      end
      local result = new { failures = "collect" }:producer(range(1, 16)):reduce("sum", 0, flaky,
        options(context, { retries = 2, combine = add })):run()
      os.remove(path)
      assert.same({ 16 * 17 // 2 - 10 }, result.items)
      assert.equal(1, #result.failures)
      assert.same({ 10, 3 }, { result.failures[1].item, result.failures[1].attempts })
      local s = result.stats.stages.sum
      assert.same({ 1, 6 }, { s.failed, s.retried })
    end)

    it("R45 a function that returns nil is an error of the item" .. where, function()
      local result = new { failures = "collect" }:producer(range(1, 4)):reduce("sum", 0, function(a, b)
        if b ~= 2 then return a + b end
      end, options(context, { combine = add })):run()
      assert.same({ 8 }, result.items)
      assert.matches("spec/reduce_spec.lua:%d+: stage 'sum': the function returned nil", result.failures[1].message)
      assert.equal(2, result.failures[1].item)
    end)

    it("R51 failed items become dead letters" .. where, function()
      local result = new():producer(range(1, 6)):reduce("sum", 0, function(a, b)
        if b == 4 then error "four" end
        return a + b
      end, options(context, { dead_letter = "letters", to = {}, combine = add })):map("letters",
        { await = true, inline = true }, function(letter) return letter.item end):run()
      assert.same({ { 17 }, { 4 } }, { result:of "sum", result:of "letters" })
    end)

    it("R6 its value goes where its route says, and fails where that is nowhere" .. where, function()
      local function run(route)
        return new { failures = "collect" }:producer(range(1, 4))
          :reduce("sum", 0, add, options(context, { to = { "a", "b" }, route = route, retries = 1 }))
          :map("a", { from = "sum" }, function(sum) return sum end)
          :map("b", { from = "sum" }, function(sum) return -sum end):run()
      end
      assert.same({ -10 }, run(function(sum) return sum == 10 and "b" or "a" end).items)
      local result = run(function() return "c" end)
      assert.same({}, result.items)
      assert.same({ 1, 10, "sum" }, { #result.failures, result.failures[1].item, result.failures[1].stage })
      assert.matches("route of stage 'sum'", result.failures[1].message)
    end)

    it("R18 R40 stands in a nested pipeline, with hooks of that" .. where, function()
      local inner = minigun.pipeline "inner"
      inner:map("square", function(x) return x * x end)
      inner:reduce("sum", 0, add, context.options)
      inner:before("sum", function(ctx) ctx:count "before" end)
      local result = new():producer(range(1, 10)):pipeline("a", inner):pipeline("b", { from = "a" }, inner):run()
      assert.same({ 385 * 385 }, result.items)
      assert.is_true(result.counters.before >= 2)
    end)

    it("R34 hooks run where the function runs, once per worker" .. where, function()
      local p = new():producer(range(1, n)):reduce("sum", 0, add, options(context, {
        before = function(ctx) ctx:collect("before", ctx.pid) end, after = function(ctx) ctx:count "after" end,
      }))
      p:after_fork("sum", function(ctx) ctx:collect("forked", ctx.pid) end)
      local result = p:run()
      local _, pids = contexts.counts(result.collected.before)
      assert.equal(#result.collected.before, pids)
      assert.equal(pids, result.counters.after)
      if context.inline then
        assert.same({ core.pid() }, result.collected.before)
      else
        assert.same(contexts.sorted(result.collected.before), contexts.sorted(result.collected.forked))
      end
    end)

    it("R10 waits for items that are sent with emit:to by stages that still run" .. where, function()
      local result = new():producer("p", { to = { "sum", "slow" } }, range(1, 5))
        :reduce("sum", 0, add, options(context, { from = "p", to = {} }))
        :processor("slow", { from = "p", to = {}, processes = 1 }, function(item, emit)
          core.sleep(0.005)
          emit:to("sum", 100 * item)
        end):run()
      assert.same({ 15 + 1500 }, result:of "sum")
    end)

    it("R9 with await = true is reached by emit:to alone" .. where, function()
      local result = new():producer(range(1, 5)):processor(function(item, emit) emit:to("sum", item) end)
        :reduce("sum", 0, add, options(context, { await = true })):run()
      assert.same({ 15 }, result:of "sum")
    end)

    it("R10 an item that comes after its value has been emitted fails by name" .. where, function()
      local result = new { failures = "collect" }:producer(range(1, 5)):reduce("sum", 0, add, context.options)
        :processor("after", { processes = 1 }, function(sum, emit)
          emit:to("sum", sum)
          emit(sum)
        end):run()
      assert.same({ 15 }, result.items)
      assert.equal(1, #result.failures)
      assert.same({ "sum", 15 }, { result.failures[1].stage, result.failures[1].item })
      assert.matches("stage 'sum' has emitted its value already", result.failures[1].message)
    end)
  end

  for _, context in ipairs(contexts.forked) do
    local where = " [" .. context.name .. "]"
    local many = context.per_item and support.short_or_long(24, 60) or 60

    it("R47 an item at which its worker dies fails, the others are in the value" .. where, function()
      local result = new { failures = "collect" }:producer(range(1, many)):processor({ processes = 1 }, pass)
        :reduce("sum", 0, function(a, b)
          if b == 20 then os.exit(3) end
          return a + b
        end, options(context, { combine = add })):run()
      assert.same({ many * (many + 1) // 2 - 20 }, result.items)
      assert.equal(1, #result.failures)
      local failure = result.failures[1]
      assert.same({ "crash", 3, 20, 1, "sum" },
        { failure.kind, failure.code, failure.item, failure.attempts, failure.stage })
    end)

    it("R48 a timeout is for one item, not for its batch" .. where, function()
      local result = new { failures = "collect" }:producer(range(1, many)):processor({ processes = 1 }, pass)
        :reduce("sum", 0, function(a, b)
          core.sleep(b == 20 and 30 or 0.01)
          return a + b
        end, options(context, { timeout = 0.4 * contexts.patience, combine = add })):run()
      assert.same({ many * (many + 1) // 2 - 20 }, result.items)
      assert.equal(1, #result.failures)
      assert.same({ "timeout", 20 }, { result.failures[1].kind, result.failures[1].item })
    end)

    it("R49 a part that cannot be sent fails with all of its items" .. where, function()
      local result = new { failures = "collect" }:producer(range(1, 20)):reduce("odd", 0, function(a, b)
        return b == 7 and print or type(a) == "number" and a + b or a
      end, options(context, { combine = add })):run()
      local sum, failed = result.items[1], 0
      assert.equal(1, #result.failures)
      local failure = result.failures[1]
      assert.same({ "unserialisable", "odd" }, { failure.kind, failure.stage })
      local items = failure.batch and failure.item or { failure.item }
      for _, item in ipairs(items) do failed = failed + item end
      assert.equal(210, sum + failed)
    end)
  end

  it("R49 an item of the coordinator that cannot be sent fails alone", function()
    local list = { 1, 2, print, 4, { deep = { print } }, 6, print }
    local function check(stage, p)
      local result = p:reduce("sum", 0, add, { processes = 2 }):run()
      assert.same({ 13 }, result.items)
      local said = {}
      for i, failure in ipairs(result.failures) do
        assert.same({ "unserialisable", stage }, { failure.kind, failure.stage })
        local item = failure.item -- a table that a stage emits may be a copy
        assert.is_true(item == print or item.deep[1] == print)
        said[i] = failure.message:match "^spec/reduce_spec%.lua:%d+: (.*)"
      end
      assert.same({ "item is a function", "item is a function", "item.deep[1] is a function" }, contexts.sorted(said))
      local s = result.stats.stages
      assert.equal(3, s[stage].failed)
      assert.same({ stage == "sum" and 7 or 4, 1 }, { s.sum.items_in, s.sum.items_out })
    end
    check("producer 1", new { failures = "collect" }:producer(list))
    check("sum", new { failures = "collect" }:producer(list):map(function(item) return item end))
    assert.equal(21, new { memory = "64M" }:producer(range(1, 6)):map(function(n)
      local t = { n }
      for _ = 1, 120 do t = { t } end
      return t
    end):reduce("deep", 0, function(a, t)
      while type(t) == "table" do t = t[1] end
      return a + t
    end, { processes = 1, combine = add }):run().items[1])
  end)

  it("R27 makes a value in a fork per batch what cannot be sent there", function()
    local list = {}
    for i = 1, 5 do list[i] = function() return i end end
    local result = new():producer(list):reduce(0, function(a, f) return a + f() end,
      { process_per_batch = 2, combine = add }):run()
    assert.same({ 15 }, result.items)
  end)

  it("R26 forks a child for each batch, and the pool works in all of its workers", function()
    local function pids(given, n)
      given.combine = merge
      return new():producer(range(1, n)):reduce({}, function(seen)
        core.sleep(0.0005)
        return count(seen, core.pid())
      end, given):run().items[1]
    end
    for _, given in ipairs { { processes = 4 }, { process_per_batch = 2 } } do
      local n = given.processes and 200 or 60
      local seen, total, workers = pids(given, n), 0, 0
      for pid, some in pairs(seen) do
        assert.not_equal(core.pid(), pid)
        total, workers = total + some, workers + 1
      end
      assert.equal(n, total)
      assert.is_true(given.processes and workers == 4 or not given.processes and workers > 4, workers)
    end
  end)

  it("R30 stands in a group beside other stages of the same workers", function()
    local result = new():processes(2, function(p)
      p:producer(range(1, 100))
      p:map("twice", function(x) return 2 * x end)
      p:reduce("sum", 0, add)
      p:map("half", function(x) return x // 2 end)
    end):run()
    assert.same({ 5050 }, result.items)
    local s = result.stats.stages
    assert.same({ 100, 100, 100, 1, 1, 1 }, { s.twice.items_in, s.twice.items_out, s.sum.items_in, s.sum.items_out,
      s.half.items_in, s.half.items_out })
  end)

  it("R10 with await = false emits at the end of its input, whatever else goes on", function()
    local order = {}
    new():producer("p", { to = { "sum", "slow" } }, { 1, 2 })
      :reduce("sum", 0, add, { processes = 1, from = "p", to = "note", await = false })
      :each("note", { from = "sum" }, function(sum) order[#order + 1] = "sum " .. sum end)
      :each("slow", { processes = 1, from = "p" }, function() core.sleep(0.2) end)
      :on_worker_exit(function() order[#order + 1] = "end" end):run()
    assert.same({ "sum 3", "end", "end" }, order)
  end)

  it("R45 a failure of what combines is named with the part", function()
    local result = new { failures = "collect" }:producer(range(1, 3)):reduce("sum", 0, add, {
      processes = 1, combine = function() error "cannot combine" end }):run()
    for _, failure in ipairs(result.failures) do
      assert.matches("cannot combine", failure.message)
      assert.equal("sum", failure.stage)
    end
    local named = 0
    for _, failure in ipairs(result.failures) do
      for _, part in ipairs(failure.batch and failure.item or { failure.item }) do named = named + part end
    end
    assert.equal(6, (result.items[1] or 0) + named)
    assert.is_true(#result.failures > 0)
  end)

  it("R45 an initial value that cannot be made fails the items", function()
    for _, context in ipairs(contexts.all) do
      local result = new { failures = "collect" }:producer { 5 }:reduce("sum", function() error "none" end, add,
        options(context, { combine = add })):run()
      assert.same({}, result.items)
      assert.equal(5, result.failures[1].item)
      assert.matches("none", result.failures[1].message)
    end
  end)

  it("R60 with large items and little memory", function()
    local text = ("x"):rep(200000)
    local result = new { memory = "1M" }:producer(range(1, 60)):map({ processes = 2 }, function() return text end)
      :reduce(0, function(a, b) return a + #b end, { processes = 2, combine = add }):run()
    assert.same({ 60 * 200000 }, result.items)
  end)

  it("R59 an endless source does not fill the memory: batches are bounded", function()
    local n = 200000
    local result = new { memory = "4M" }:producer(function(emit) for i = 1, n do emit(i) end end)
      :map({ processes = 1 }, function(i) return { i, "some text that takes room" } end)
      :reduce(0, function(a, b) return a + b[1] end, { processes = 1, combine = add }):run()
    assert.same({ n * (n + 1) // 2 }, result.items)
    assert.is_true(result.stats.memory_most < 8 << 20, result.stats.memory_most)
  end)

  it("R53 p:iterate streams its value, run:stop lets it emit what came until then", function()
    local values = {}
    for value in new():producer(range(1, 50)):reduce(0, add, { processes = 2 }):iterate() do
      values[#values + 1] = value
    end
    assert.same({ 1275 }, values)
    local run = new():producer(function(emit)
      local i = 0
      while true do
        i = i + 1
        emit(1)
      end
    end):map({ processes = 1 }, function(x) return x end):reduce("sum", 0, add, { processes = 1 }):start()
    support.wait_until(function()
      run:step()
      return support.stage_of(run, "sum").items_in > 100
    end)
    local result = run:stop():wait()
    assert.equal(result.stats.stages.sum.items_in, result.items[1])
  end)
end)

describe("reduce at random", function()
  local contexts_of = { { inline = true }, { processes = 1 }, { processes = 3 }, { processes = 2, ordered = true },
    { process_per_batch = 2 }, { threads = 3 } }

  -- Items that fail and items that end their worker; what the others come to, and what is expected of them.
  local function try()
    local up, where = contexts_of[math.random(#contexts_of)], contexts_of[math.random(#contexts_of)]
    local n = (up.process_per_batch or where.process_per_batch) and math.random(0, 40) or math.random(0, 400)
    local retries, fate, pad = math.random(0, 2), {}, ("x"):rep(math.random(0, 3) == 0 and 5000 or 0)
    local forked = where.processes or where.process_per_batch
    for i = 1, n do
      local chance = math.random()
      fate[i] = chance < 0.02 and "error" or chance < 0.03 and forked and "exit" or nil
    end
    local p = new { failures = "collect", max_restarts = 1 << 30, memory = math.random(0, 1) == 0 and "1M" or nil }
    p:producer(range(1, n)):map(up, function(i) return { i, pad } end)
    if math.random(0, 2) == 0 then p:batch(math.random(1, 50)):flat_map(function(batch) return batch end) end
    p:reduce("sum", { n = 0, sum = 0 }, function(value, item)
      if forked then value.n = value.n + 1 end -- left behind when it raises, in a part that is made anew
      if fate[item[1]] == "error" then error "no" end
      if fate[item[1]] == "exit" then os.exit(3) end
      if not forked then value.n = value.n + 1 end
      value.sum = value.sum + item[1]
      return value
    end, options({ options = where }, { retries = retries, combine = function(a, b)
      return { n = a.n + b.n, sum = a.sum + b.sum }
    end }))
    local result = p:run()
    assert.equal(1, #result.items)
    local value = result.items[1]
    for _, failure in ipairs(result.failures) do
      local items = failure.batch and failure.item or { failure.item }
      assert.is_true(failure.batch or fate[failure.item[1]] ~= nil)
      assert.equal(retries + 1, failure.attempts)
      for _, item in ipairs(items) do value = { n = value.n + 1, sum = value.sum + item[1] } end
    end
    assert.same({ n = n, sum = n * (n + 1) // 2 }, value)
  end

  it("R43 R47 has every item in its value or in the failures, once", function()
    math.randomseed(seed)
    for i = 1, support.short_or_long(5, 300) do
      local ok, message = pcall(try)
      if not ok then error(("SEED=%d, number %d: %s"):format(seed, i, tostring(message))) end
    end
  end)
end)

describe("reduce in other words", function()
  it("minigun.reduce makes one value of a list", function()
    assert.equal(5050, minigun.reduce(range(1, 100), 0, add))
    assert.equal("abc", minigun.reduce({ "a", "b", "c" }, "", join, { processes = 2, memory = "8M" }))
    assert.same({ a = 2, b = 1 }, minigun.reduce({ "a", "b", "a" }, {}, count, { combine = merge }))
    assert.equal(1, minigun.reduce({}, 1, add, { inline = true }))
    assert.has_error(function() minigun.reduce({ 1 }, 0, function() error "x" end) end)
  end)

  it("the table form has it", function()
    local result = minigun.pipeline { source = range(1, 10),
      { "square", map = function(x) return x * x end, processes = 2 },
      { "sum", reduce = add, init = 0, combine = add },
      { reduce = join, init = "<", inline = true },
    }:run()
    assert.same({ "<385" }, result.items)
  end)

  it("it takes a method's name", function()
    local object = { factor = 3, add = function(self, a, b) return a + self.factor * b end }
    local p = new():producer(range(1, 4)):reduce("sum", 0, "add", { processes = 2, combine = add }):bind(object)
    assert.same({ 30 }, p:run().items)
  end)

  it("R55 replace changes options, or initial value and function", function()
    local p = new():producer(range(1, 4)):reduce("sum", 0, add)
    assert.same({ 10 }, p:extend():replace("sum", { processes = 2 }):run().items)
    assert.same({ 24 }, p:extend():replace("sum", 1, function(a, b) return a * b end):run().items)
    assert.same({ "1234" }, p:extend():replace("sum", "", join, { processes = 2 }):run().items)
    assert.same({ 10 }, p:run().items)
    assert.has_error(function() p:extend():replace("sum", add) end)
  end)

  it("R13 refuses what it cannot do, at the caller's line", function()
    refusals.check {
      { function() new():reduce("sum", nil, add) end, "an initial value expected, got nil" },
      { function() new():reduce("sum", 0) end, "the handler must be a function(value, item) -> value, got nil" },
      { function() new():reduce("sum", 0, 7) end, "the handler must be a function(value, item) -> value, got 7" },
      { function() new():reduce("sum", add) end, 'reduce: with "sum" and a function the initial value is missing' },
      { function() new():reduce("sum", add, { combine = add }) end, "the initial value is missing" },
      { function() new():reduce("sum", 0, add, {}, 5) end,
        "unexpected argument: 5; the order is name, initial value, function, options" },
      { function() new():reduce("sum", 0, add, { combine = true }) end,
        "option 'combine' must be a function, got true" },
      { function() new():reduce("sum", 0, add, { max_size = 3 }) end, "unknown option 'max_size'" },
      { function() minigun.reduce(7, 0, add) end, "minigun.reduce: a list expected, got 7" },
      { function() minigun.reduce({}, nil, add) end, "minigun.reduce: an initial value expected, got nil" },
      { function() minigun.reduce({}, 0) end, "minigun.reduce: a function expected, got nil" },
      { function() minigun.pipeline { source = {}, { map = add, init = 0 } } end, "unknown option 'init'" },
    }
  end)

  it("R10 a text may be the initial value, with a name in front or where it cannot be a name", function()
    local function append(text, item) return text .. item end
    for want, p in pairs {
      ["12"] = new():producer { 1, 2 }:reduce("", append), [">12"] = new():producer { 1, 2 }:reduce(">", append),
      ["a12"] = new():producer { 1, 2 }:reduce("name", "a", append),
    } do
      assert.same({ want }, p:run().items)
    end
  end)
end)
