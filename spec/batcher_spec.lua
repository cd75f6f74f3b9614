local minigun = require "minigun"
local batcher = require "minigun.policy.batcher"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local support = require "spec.support"

local range, sorted, options = contexts.range, contexts.sorted, contexts.options

local function new(given)
  return minigun.pipeline("batches", given)
end

local function pass(item, emit) emit(item) end

-- Adds items to a batcher, with a clock that the test sets. Returns the batches that were full.
local function add_all(b, items, clock)
  local full = {}
  for _, item in ipairs(items) do full[#full + 1] = b:add(item, clock) end
  return full
end

local function no_clock() error "the clock was asked" end

describe("the batcher", function()
  it("R20 gives full batches in order of arrival, and the remainder", function()
    local b = batcher.new { max_size = 3 }
    assert.same({ { 1, 2, 3 }, { 4, 5, 6 } }, add_all(b, range(1, 8), no_clock))
    assert.same({ { 7, 8 } }, b:due())
    assert.same({}, b:due())
    assert.is_nil(b:next_due())
  end)

  it("R20 keeps false as an item and makes a new array each time", function()
    local b = batcher.new { max_size = 2 }
    assert.is_nil(b:add(false))
    local first = b:add(false)
    b:add(1)
    local second = b:add(2)
    assert.same({ { false, false }, { 1, 2 } }, { first, second })
    assert.same({ { 5 } }, add_all(batcher.new { max_size = 1 }, { 5 }))
  end)

  it("R22 keeps a batch per key, of any kind of key", function()
    local b = batcher.new { max_size = 2, by = function(item) return item[1] end }
    local t = {}
    assert.same({ { { "a", 1 }, { "a", 3 } }, { { t, 4 }, { t, 6 } } },
      add_all(b, { { "a", 1 }, { false, 2 }, { "a", 3 }, { t, 4 }, { 1.5, 5 }, { t, 6 }, { "a", 7 } }, no_clock))
    assert.same({ { { false, 2 } }, { { 1.5, 5 } }, { { "a", 7 } } }, b:due())
  end)

  it("R22 refuses nil and NaN as a key, and goes on", function()
    local b = batcher.new { max_size = 2, by = function(item) return item ~= 0 and item or nil end }
    assert.has_error(function() b:add(0) end)
    assert.has_error(function() b:add(0 / 0) end)
    assert.is_nil(b:add(1))
    assert.same({ 1, 1 }, b:add(1))
  end)

  it("R21 a batch falls due max_wait after its first item", function()
    local now = 100
    local function clock() return now end
    local b = batcher.new { max_size = 10, max_wait = 5, by = function(item) return item % 2 end }
    assert.is_nil(b:next_due())
    b:add(1, clock)
    now = 102
    b:add(2, clock)
    b:add(3, clock)
    assert.equal(105, b:next_due())
    assert.same({}, b:due(104.9))
    assert.same({ { 1, 3 } }, b:due(105))
    assert.equal(107, b:next_due())
    b:add(5, clock)
    assert.same({ { 2 }, { 5 } }, b:due(107))
    assert.is_nil(b:next_due())
    now = 200
    b:add(7, clock)
    assert.equal(205, b:next_due())
  end)

  it("R22 random items and keys: every item is in one batch, of one key, in order", function()
    local seed = tonumber(os.getenv "SEED") or os.time()
    math.randomseed(seed)
    for _ = 1, 50 do
      local size, keys, batches = math.random(1, 6), math.random(1, 8), {}
      local b = batcher.new { max_size = size, by = function(item) return item.key end }
      local n = math.random(0, 100)
      for i = 1, n do batches[#batches + 1] = b:add { i = i, key = math.random(1, keys) } end
      for _, batch in ipairs(batches) do assert.equal(size, #batch, "SEED=" .. seed) end
      for _, batch in ipairs(b:due()) do batches[#batches + 1] = batch end
      local seen, last = {}, {}
      for _, batch in ipairs(batches) do
        for _, item in ipairs(batch) do
          assert.equal(batch[1].key, item.key, "SEED=" .. seed)
          assert.is_true(item.i > (last[item.key] or 0), "SEED=" .. seed)
          last[item.key] = item.i
          seen[#seen + 1] = item.i
        end
      end
      assert.same(range(1, n), sorted(seen))
    end
  end)
end)

describe("batches", function()
  for _, context in ipairs(contexts.all) do
    local where = " [" .. context.name .. "]"

    it("R20 of n items, the remainder at the end, none for an empty stream" .. where, function()
      local p = new():producer(range(1, 10)):batch(4):processor(options(context), pass)
      local result = p:run()
      table.sort(result.items, function(a, b) return a[1] < b[1] end)
      assert.same({ { 1, 2, 3, 4 }, { 5, 6, 7, 8 }, { 9, 10 } }, result.items)
      assert.same({}, new():producer {}:batch(4):processor(options(context), pass):run().items)
      p = new():producer(range(1, 12)):batch(100):map(options(context), function(b) return #b end)
      assert.same({ 12 }, p:run().items)
    end)

    it("R20 of what a stage in this context emits" .. where, function()
      local result = new():producer(range(1, context.size)):processor(options(context), pass):batch(3):run()
      local all = {}
      for i, batch in ipairs(result.items) do
        assert.equal(i < #result.items and 3 or (context.size - 1) % 3 + 1, #batch)
        table.move(batch, 1, #batch, #all + 1, all)
      end
      assert.same(range(1, context.size), sorted(all))
    end)

    it("R21 max_wait passes on what is there although nothing else arrives" .. where, function()
      local path, sizes = os.tmpname(), {}
      os.remove(path)
      local result = new():producer({ processes = 1 }, function(emit, ctx)
        for i = 1, 3 do
          emit(i)
          core.sleep(0.002)
        end
        local came = support.wait_until(function() return support.read_file(path) end, 5)
        ctx:collect("came", came and true or false)
        emit(4)
      end):processor(options(context), pass):batch { max_size = 100, max_wait = 0.02 }:each(function(batch)
        sizes[#sizes + 1] = #batch
        support.write_file(path, "")
      end):run()
      os.remove(path)
      assert.same({ true }, result.collected.came)
      assert.is_true(sizes[1] <= 3)
    end)

    it("R22 by keeps a batch per key" .. where, function()
      local result = new():producer(range(1, 9)):accumulator({ max_size = 2, by = function(n) return n % 3 end })
        :processor(options(context), pass):run()
      table.sort(result.items, function(a, b) return a[1] < b[1] end)
      assert.same({ { 1, 4 }, { 2, 5 }, { 3, 6 }, { 7 }, { 8 }, { 9 } }, result.items)
    end)

    it("R23 a handler receives each batch and emits what it likes" .. where, function()
      local result = new():producer(range(1, 7)):accumulator("sums", options(context, { max_size = 3 }),
        function(batch, emit, ctx)
          assert(ctx.stage == "sums")
          if (ctx.pid == core.pid()) and #batch == 1 then return end
          local sum = 0
          for _, n in ipairs(batch) do sum = sum + n end
          emit(sum)
          emit(ctx.worker and 0 or -1)
        end):run()
      local mark = context.inline and not context.threads and -1 or 0
      assert.same({ mark, mark, 6, 15 }, sorted(result.items))
    end)
  end

  it("R24 a batch is an ordinary item: one fork for each", function()
    local result = new():producer(range(1, 10)):batch(3):consumer({ process_per_batch = { max = 2 } },
      function(batch, emit, ctx) emit { ctx.pid, #batch } end):run()
    local pids, sizes = {}, {}
    for i, item in ipairs(result.items) do pids[i], sizes[i] = item[1], item[2] end
    assert.same({ 1, 3, 3, 3 }, sorted(sizes))
    assert.equal(4, select(2, contexts.counts(pids)))
  end)

  it("R21 of the only item of a producer in a child that then waits", function()
    local batches = {}
    local result = new():producer({ processes = 1 }, function(emit, ctx)
      emit(1)
      core.sleep(1)
      ctx:collect("second", core.now())
      emit(2)
    end):batch { max_wait = 0.02 }:each(function(batch)
      batches[#batches + 1] = { batch[1], core.now() }
    end):run()
    assert.same({ 1, 2 }, { batches[1][1], batches[2][1] })
    assert.is_true(batches[1][2] < result.collected.second[1])
  end)

  it("R22 an item whose key cannot be had fails, the others go on", function()
    local result = new { failures = "collect" }:producer(range(1, 4)):batch("keyed", {
      by = function(n) return n ~= 2 and n % 2 or error "no key" end,
    }):run()
    assert.same({ { 1, 3 }, { 4 } }, result.items)
    assert.same({ 1, "keyed", 2 }, { #result.failures, result.failures[1].stage, result.failures[1].item })
  end)

  it("batches of batches, and batches inside a group of workers", function()
    local result = new():processes(2, function(p)
      p:producer(range(1, 12))
      p:map(function(n) return n end)
      p:batch(2)
      p:batch(3)
      p:map(function(batch) return #batch * 10 + #batch[1] end)
    end):run()
    assert.same({ 32, 32 }, result.items)
  end)
end)
