local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local stats = require "minigun.base.stats"

local range, options = contexts.range, contexts.options

local function new(given)
  return minigun.pipeline("stats", given)
end

local function pass(item, emit) emit(item) end

-- { items in, items out, failed, retried } of a stage
local function sums(result, name)
  local s = result.stats.stages[name]
  return { s.items_in, s.items_out, s.failed, s.retried }
end

describe("the histogram of times", function()
  it("gives quantiles that are right to a tenth", function()
    local h = stats.histogram()
    assert.same({}, stats.quantiles(h.classes, { 0.5 }))
    for ms = 1, 1000 do h:add(ms / 1000, 1) end
    assert.equal(1000, h.count)
    local shares = { 0, 0.01, 0.5, 0.9, 0.99, 1 }
    local times = stats.quantiles(h.classes, shares)
    for i = 2, 5 do
      local share, time = shares[i], times[i]
      assert.is_true(math.abs(time - share) <= 0.1 * share, ("quantile %g is %g"):format(share, time))
    end
    assert.is_true(#times == 6 and times[1] <= times[6])
  end)

  it("counts n observations at once, and very short and very long times", function()
    local h = stats.histogram()
    h:add(0, 90)
    h:add(10000, 10)
    assert.equal(100, h.count)
    local times = stats.quantiles(h.classes, { 0.5, 0.95 })
    assert.is_true(times[1] < 1e-6 and times[2] > 5000)
  end)
end)

describe("R44 statistics", function()
  for _, context in ipairs(contexts.all) do
    local where = " [" .. context.name .. "]"

    it("of a stage agree with what was produced" .. where, function()
      local size = context.per_item and 10 or 100
      local result = new { failures = "collect" }:producer("gen", range(1, size))
        :processor("double", options(context), function(n, emit)
          emit(n)
          emit(-n)
        end)
        :filter("positive", options(context), function(n) return n > 0 end)
        :processor("fragile", options(context, { retries = 1 }), function(n, emit, ctx)
          if n % 10 == 0 then error "for good" end
          if n % 10 == 1 and ctx.attempt == 1 then error "once" end
          emit(n)
        end)
        :each("last", options(context), function() end):run()
      local tenth = size // 10
      assert.same({ 0, size, 0, 0 }, sums(result, "gen"))
      assert.same({ size, 2 * size, 0, 0 }, sums(result, "double"))
      assert.same({ 2 * size, size, 0, 0 }, sums(result, "positive"))
      assert.same({ size, size - tenth, tenth, 2 * tenth }, sums(result, "fragile"))
      assert.same({ size - tenth, 0, 0, 0 }, sums(result, "last"))
      assert.equal(tenth, #result.failures)
    end)

    it("of fan-out, fan-in and a terminal stage" .. where, function()
      local size = context.per_item and 4 or 12
      local result = new():producer("gen", range(1, size))
        :processor("top", options(context, { to = { "left", "right" } }), pass)
        :processor("left", options(context, { to = "join" }), pass)
        :processor("right", options(context, { to = "join" }), pass)
        :processor("join", options(context), pass):run()
      for _, name in ipairs { "top", "left", "right" } do assert.same({ size, size, 0, 0 }, sums(result, name)) end
      assert.same({ 2 * size, 2 * size, 0, 0 }, sums(result, "join"))
    end)

    it("of batches, with and without a handler" .. where, function()
      local result = new():producer("gen", range(1, 10))
        :accumulator("plain", { max_size = 4 })
        :flat_map("flat", options(context), function(batch) return batch end)
        :accumulator("handled", options(context, { max_size = 3 }), function(batch, emit) emit(#batch) end):run()
      assert.same({ 10, 3, 0, 0 }, sums(result, "plain"))
      assert.same({ 3, 10, 0, 0 }, sums(result, "flat"))
      assert.same({ 10, 4, 0, 0 }, sums(result, "handled"))
    end)

    it("of time: busy is the handlers', and quantiles are there" .. where, function()
      local result = new():producer("gen", range(1, 8)):each("work", options(context), function()
        contexts.work(0.002)
      end):run()
      local s = result.stats.stages.work
      assert.is_true(s.busy >= 0.016 and s.busy < 10, s.busy .. " s")
      local median = s.p50
      assert.is_true(median >= 0.0018 and median < 0.1, median .. " s")
      assert.is_true(result.elapsed >= 0.016 / context.n)
      local busy = 0
      for _, worker in ipairs(result.stats.workers) do busy = busy + worker.busy end
      assert.is_true(context.inline or math.abs(busy - s.busy) < 1e-6)
    end)

    it("of time, of each stage of a group by itself" .. where, function()
      local p = new():producer("gen", range(1, 12))
      local function group()
        p:processor("quick", function(item, emit)
          contexts.work(0.001)
          emit(item)
        end):processor("slow", function() contexts.work(0.004) end)
      end
      local n = context.per_item and { max = context.n } or context.n
      if context.hosted then
        p:processes(2, function() p:threads(3, group) end)
      elseif context.threads then p:threads(n, group)
      elseif context.inline then p:inline(group)
      else p[context.per_item and "process_per_batch" or "processes"](p, n, group) end
      local s = p:run().stats.stages
      for name, seconds in pairs { quick = 0.001, slow = 0.004 } do
        assert.equal(12, s[name].observed)
        assert.is_true(s[name].busy >= 12 * seconds, ("%s: %g s"):format(name, s[name].busy))
        assert.is_true(s[name].p50 >= 0.9 * seconds)
      end
      assert.is_true(s.quick.p50 < s.slow.p50)
    end)

    it("of time, of very many quick calls about right" .. where, function()
      if context.per_item then return end
      local n = 1500
      local s = new():producer("gen", range(1, n)):each("work", options(context), function()
        contexts.work(0.00002)
      end):run().stats.stages.work
      assert.is_true(s.busy >= n * 0.00002 * 0.8, s.busy .. " s")
      assert.is_true(s.observed >= n - 64 and s.observed <= n, s.observed .. " observations")
    end)
  end

  it("of the stages of a group", function()
    for _, block in ipairs { { "processes", 2 }, { "process_per_batch", 2 } } do
      local p = new { failures = "collect" }:producer("gen", range(1, 20))
      p[block[1]](p, block[2], function()
        p:processor("a", function(n, emit)
          emit(n)
          emit(n + 100)
        end)
        p:filter("b", function(n) return n % 2 == 0 end)
        p:processor("c", function(n, emit)
          if n == 10 then error "ten" end
          emit(n)
        end)
      end)
      local result = p:run()
      assert.same({ 20, 40, 0, 0 }, sums(result, "a"))
      assert.same({ 40, 20, 0, 0 }, sums(result, "b"))
      assert.same({ 20, 19, 1, 0 }, sums(result, "c"))
      assert.equal(19, #result.items)
    end
  end)

  it("of a group whose stages also send and receive outside", function()
    local result = new():producer("one", { to = "a" }, range(1, 10)):producer("two", { to = "b" }, range(11, 40))
      :processes(2, function(p)
        p:processor("a", { to = { "b", "out" } }, pass)
        p:processor("b", { to = "out" }, pass)
      end):processor("out", pass):run()
    assert.same({ 10, 10, 0, 0 }, sums(result, "a"))
    assert.same({ 40, 40, 0, 0 }, sums(result, "b"))
    assert.same({ 50, 50, 0, 0 }, sums(result, "out"))
  end)

  it("of an inline stage with inputs inside and outside", function()
    local result = new():producer("gen", { to = { "pool", "in" } }, range(1, 10))
      :processor("pool", { processes = 1 }, pass)
      :processor("in", { from = { "gen", "pool" } }, pass):processor("last", pass):run()
    assert.same({ 20, 20, 0, 0 }, sums(result, "in"))
    assert.same({ 20, 20, 0, 0 }, sums(result, "last"))
  end)

  it("of producers in children", function()
    local result = new():producer("a", { processes = 1 }, range(1, 1000)):producer("b", { fork = 1 }, range(1, 7))
      :processor("work", { processes = 2 }, pass):run()
    assert.same({ 0, 1000, 0, 0 }, sums(result, "a"))
    assert.same({ 0, 7, 0, 0 }, sums(result, "b"))
    assert.same({ 1007, 1007, 0, 0 }, sums(result, "work"))
  end)

  it("of a stage with a queue limit", function()
    local result = new():producer("gen", range(1, 20)):processor("work", { processes = 2, queue = 2 }, pass):run()
    assert.same({ 0, 20, 0, 0 }, sums(result, "gen"))
    assert.same({ 20, 20, 0, 0 }, sums(result, "work"))
    assert.is_true(result.stats.stages.work.queue_most <= 4)
  end)

  it("of workers: pid, items, restarts", function()
    for _, context in ipairs(contexts.forked) do
      local result = new():producer(range(1, 12)):processor("work", options(context), function(_, emit, ctx)
        emit(ctx.pid)
      end):run()
      local by_pid = contexts.counts(result.items)
      local total = 0
      for _, worker in ipairs(result.stats.workers) do
        total = total + worker.items
        assert.equal(context.per_item and worker.restarts + 1 or by_pid[worker.pid] or 0, worker.items)
        assert.equal(0, worker.died)
        assert.is_true(worker.worker >= 1 and worker.worker <= context.n)
        local at_once = context.hosted and context.workers or 1
        assert.is_true(worker.busy >= 0 and worker.lived * at_once >= worker.busy)
        if not context.per_item then assert.equal(0, worker.restarts) end
      end
      assert.equal(12, total)
      assert.equal(context.per_item and 12 or context.n, contexts.forks(result))
      assert.is_true(#result.stats.workers <= context.n)
    end
  end)

  it("waiting_in is large where nothing comes, waiting_out where nothing is taken", function()
    local result = new { memory = "1M" }:producer("gen", function(emit)
      for i = 1, 60 do emit(i) end
    end):processor("fast", { processes = 1 }, function(_, emit) emit(("x"):rep(60000)) end)
      :each("slow", { processes = 1 }, function() core.sleep(0.003 * contexts.patience) end):run()
    local s = result.stats.stages
    assert.is_true(s.fast.waiting_out > 0.02, s.fast.waiting_out .. " s waiting for output")
    result = new():producer(function(emit)
      core.sleep(0.05)
      emit(1)
    end):each("idle", { processes = 1 }, function() end):run()
    assert.is_true(result.stats.stages.idle.waiting_in >= 0.045)
  end)
end)
