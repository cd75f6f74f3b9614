-- `max_items`: a worker ends after so many items and a fresh one takes its place, and nothing else is different.
local contexts = require "spec.contexts"
local fake = require "spec.fake_pool"
local minigun = require "minigun"
local support = require "spec.support"

local range, sorted = contexts.range, contexts.sorted

-- How many items each process has had, from `result.collected.pid`; the most of one.
local function by_process(result)
  local most, counts, processes = 0, contexts.counts(result.collected.pid)
  for _, n in pairs(counts) do most = math.max(most, n) end
  return most, processes
end

-- The 60 items have come, those of each of the five keys in their order, and no process has had more than four.
local function assert_in_order(result)
  local last = {}
  for _, x in ipairs(result.items) do
    assert.is_true((last[x % 5] or 0) < x)
    last[x % 5] = x
  end
  assert.equal(60, #result.items)
  assert.is_true(by_process(result) <= 4)
end

local function pass(x, emit, ctx)
  ctx:collect("pid", ctx.pid)
  emit(x)
end

describe("max_items", function()
  it("is how many items a worker gets at most; each item arrives once", function()
    for _, shape in ipairs { { n = 1, max_items = 1 }, { n = 2, max_items = 1 }, { n = 1, max_items = 7 },
      { n = 2, max_items = 10 }, { n = 3, max_items = 1000 } } do
      local count = shape.max_items == 1 and support.short_or_long(15, 60) or 60
      local result = minigun.pipeline "p":producer(range(1, count)):processor("work", { processes = shape }, pass):run()
      local most, processes = by_process(result)
      assert.same(range(1, count), sorted(result.items))
      assert.is_true(most <= shape.max_items)
      assert.is_true(processes >= count // shape.max_items)
      assert.same({}, result.stats.warnings)
      for _, each in ipairs(result.stats.workers) do assert.equal(0, each.died) end
    end
  end)

  it("holds for groups, named contexts, pipelines, groups of several stages, and what is in order", function()
    local context = { n = 2, max_items = 5, ordered = true }
    local function check(p)
      local result = p:run()
      assert.same(range(1, 40), result.items)
      assert.equal(5, (by_process(result)))
    end
    local function add(x, emit) emit(x) end
    check(minigun.pipeline "group":producer(range(1, 40)):processes(context, function(p)
      p:processor("a", pass):processor("b", add)
    end))
    check(minigun.pipeline "named":context("c", { processes = context }):producer(range(1, 40))
      :processor("a", { context = "c" }, pass))
    check(minigun.pipeline("whole", { processes = context }):producer(range(1, 40)):processor("a", pass))
    check(minigun.pipeline "beside":producer(range(1, 40))
      :processor("a", { processes = { n = 2, max_items = 5 }, ordered = true }, pass))
  end)

  it("counts batches, and items of threads in workers", function()
    local result = minigun.pipeline "p":producer(range(1, 60)):batch(6)
      :processor("work", { processes = { n = 2, max_items = 2 } }, function(batch, emit, ctx)
        ctx:collect("pid", ctx.pid)
        for _, x in ipairs(batch) do emit(x) end
      end):run()
    assert.same(range(1, 60), sorted(result.items))
    assert.is_true(by_process(result) <= 2)
    result = minigun.pipeline "p":producer(range(1, 60))
      :processor("work", { threads = 4, processes = { n = 2, max_items = 9 } }, function(x, emit, ctx)
        minigun.sleep(0.001)
        pass(x, emit, ctx)
      end):run()
    assert.same(range(1, 60), sorted(result.items))
    assert.is_true(by_process(result) <= 9)
  end)

  it("ends the loops of a worker before it, so that nothing that they keep is lost", function()
    for _, beside in ipairs { {}, { threads = 3 } } do
      local options = { processes = { n = 2, max_items = 4 }, threads = beside.threads }
      local result = minigun.pipeline "p":producer(range(1, 50)):stage("sum", options, function(input, emit)
        local sum = 0
        for x in input do sum = sum + x end
        emit(sum)
      end):run()
      local sum = 0
      for _, x in ipairs(result.items) do sum = sum + x end
      assert.equal(1275, sum)
      assert.same({}, result.stats.warnings)
    end
    local result = minigun.pipeline "two":producer(range(1, 50))
      :processes({ n = 2, max_items = 4 }, function(p)
        p:stage("pairs", function(input, emit)
          for x in input do emit { x, input() } end
        end)
        p:stage("flat", function(input, emit)
          local kept = {}
          for pair in input do kept[#kept + 1] = pair end
          for _, pair in ipairs(kept) do for _, x in pairs(pair) do emit(x) end end
        end)
      end):run()
    assert.same(range(1, 50), sorted(result.items))
  end)

  it("leaves items of a key to one worker after the other, in their order", function()
    local result = minigun.pipeline "p":producer(range(1, 60)):processor("work",
      { processes = { n = 3, max_items = 4 }, partition = function(x) return x % 5 end }, pass):run()
    assert_in_order(result)
  end)

  it("ends a loop before the items of its keys that are left; the next worker's loop gets those", function()
    local result = minigun.pipeline "p":producer(range(1, 60)):stage("work",
      { processes = { n = 2, max_items = 4 }, partition = function(x) return x % 5 end }, function(input, emit, ctx)
        local kept = {}
        for x in input do kept[#kept + 1] = x end
        for _, x in ipairs(kept) do pass(x, emit, ctx) end
      end):run()
    assert_in_order(result)
    assert.same({}, result.stats.warnings)
  end)

  it("counts further attempts; what fails or kills its worker costs what it costs elsewhere", function()
    local result = minigun.pipeline("p"):producer(range(1, 40))
      :processor("work", { processes = { n = 2, max_items = 6 }, retries = 1 }, function(x, emit, ctx)
        ctx:collect("pid", ctx.pid)
        if x % 10 == 3 and ctx.attempt == 1 then error "once" end
        if x % 20 == 7 then os.exit(3) end
        emit(x)
      end):run { failures = "collect" }
    local failed = {}
    for _, failure in ipairs(result.failures) do failed[#failed + 1] = failure.item end
    assert.same({ 7, 27 }, sorted(failed))
    assert.equal(38, #result.items)
    assert.is_true(by_process(result) <= 6)
  end)

  it("is refused where it is no whole number of at least 1", function()
    for _, wrong in ipairs { 0, -1, 1.5, "many" } do
      assert.has_error(function()
        minigun.pipeline "p":processor("a", { processes = { n = 1, max_items = wrong } }, pass)
      end)
    end
    assert.has_error(function()
      minigun.pipeline "p":processor("a", { threads = { n = 1, max_items = 2 } }, pass)
    end)
  end)

  it("R47 bears workers that are killed at any moment", function()
    support.deadline(60)
    local died = 0
    for _ = 1, support.short_or_long(2, 30) do
      local n = 300
      local result = minigun.pipeline("p", { max_restarts = 1000 }):producer(range(1, n))
        :processor("work", { processes = { n = 2, max_items = 20 }, retries = 5 }, function(x, emit, ctx)
          if math.random(60) == 1 then os.execute("kill -9 " .. ctx.pid) end
          emit(x)
        end):run { failures = "collect" }
      assert.equal(n, #result.items + #result.failures)
      local seen = {}
      for _, x in ipairs(result.items) do seen[x] = (seen[x] or 0) + 1 end
      for _, count in pairs(seen) do assert.equal(1, count) end
      for _, each in ipairs(result.stats.workers) do died = died + each.died end
    end
    assert.is_true(died > 0)
  end)
end)

describe("a place whose workers are for so many items", function()
  it("gives each no more, and forks another when there is work", function()
    local place, pool = fake.place(1, { items_per_worker = 2 })
    fake.push(place, 5)
    place:dispatch()
    fake.done(place, 1, 1, true, 0.00001)
    place:dispatch()
    assert.same({ { 1 } }, fake.hands(place))
    fake.done(place, 1, 1, true, 0.00001)
    assert.is_false((place:dispatch()))
    assert.is_false(place.ledger:idles(place.id))
    assert.same({ "spawn 1" }, pool:take_calls())
    place:on_exit(place.slots[1], 1001, 0, 0, true)
    assert.same({}, pool:take_calls())  -- nothing is forked before there is need of it
    place:dispatch()
    assert.same({ "spawn 1" }, pool:take_calls())
    assert.same({ { 2 } }, fake.hands(place))
    assert.equal(3, place.ledger:pending(1))
  end)

  it("does not count what comes back from a worker", function()
    local place = fake.place(2, { items_per_worker = 2 })
    fake.push(place, 2)
    place:dispatch()
    fake.done(place, 1, 1, true, 0.0001)
    fake.done(place, 2, 1, true, 0.0001)
    fake.push(place, 1)
    place:dispatch()                            -- worker 1 has had both
    assert.same({ { 1 }, {} }, fake.hands(place))
    fake.push(place, 1)
    place:dispatch()
    fake.done(place, 2, 1, true, 0.0001)
    fake.push(place, 1)
    assert.is_false((place:dispatch()))           -- nobody may have more
    assert.equal(1, (place.ledger:queued(place.id)))
  end)

  it("takes its one item as a value, forked for it, where it is for one", function()
    local place, pool = fake.place(1, { items_per_worker = 1 })
    assert.same({ "values", true }, { place.takes, place.fresh })
    assert.same({}, pool:take_calls())
    place.ledger:accept_value(1, "x", 1)
    place:dispatch()
    assert.same({ "spawn 1" }, pool:take_calls())
    assert.same({ { 1 } }, fake.hands(place))
  end)
end)
