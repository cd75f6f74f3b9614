-- Routing beyond the drawn edges: route, emit:to, await. Every rule in every context, from the one table of contexts.
local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local support = require "spec.support"

local sorted, options = contexts.sorted, contexts.options

local MANY <const> = 40

local function range(n) return contexts.range(1, n) end

local function new(given)
  return minigun.pipeline("routing", given)
end

local function pass(item, emit) emit(item) end

local function odd(item) return item % 2 == 1 end

local function filtered(items, f)
  local list = {}
  for _, item in ipairs(items) do
    if f(item) then list[#list + 1] = item end
  end
  return list
end

for _, context in ipairs(contexts.all) do
  local name = context.name
  -- A fork for each of 20 shows what 40 would.
  local N <const> = context.per_item and support.short_or_long(20, MANY) or MANY
  describe(("[%s]"):format(name), function()
    it("R6 route = \"round_robin\" gives each item to one target in turn", function()
      local r = new():producer("numbers", range(N))
        :processor("deal", options(context, { to = { "a", "b", "c" }, route = "round_robin" }), pass)
        :processor("a", { from = "deal", to = {} }, pass):processor("b", { from = "deal", to = {} }, pass)
        :processor("c", { from = "deal", to = {} }, pass):run()
      assert.same(range(N), sorted(r.items))
      for _, target in ipairs { "a", "b", "c" } do assert.is_true(#r:of(target) > 0, target) end
      if name == "inline" then assert.is_true(#r:of "a" - #r:of "c" <= 1) end
    end)

    it("R6 route = f sends to the targets it names; another name fails the item with the valid ones", function()
      local r = new():producer("numbers", range(N))
        :processor("deal", options(context, { to = { "odd", "even" }, route = function(x)
          if x == 10 then return "evne" end
          if x == 20 then return { "odd", "even" } end
          return odd(x) and "odd" or "even"
        end }), pass)
        :processor("odd", { from = "deal", to = {} }, pass)
        :processor("even", options(context, { from = "deal", to = {} }), pass):run { failures = "collect" }
      local function even(x) return not odd(x) and x ~= 10 end
      assert.same(sorted { 20, table.unpack(filtered(range(N), odd)) }, sorted(r:of "odd"))
      assert.same(filtered(range(N), even), sorted(r:of "even"))
      assert.equal(1, #r.failures)
      assert.equal(10, r.failures[1].item)
      assert.matches("'evne'.*even, odd", r.failures[1].message)
    end)

    it("R8 emit:to reaches that stage only, from any context, whatever the graph says", function()
      for _, target_context in ipairs { {}, { processes = 2 }, { process_per_batch = 2 } } do
        local r = new():producer("numbers", range(N))
          :processor("split", options(context), function(x, emit)
            if odd(x) then emit:to("side", x) else emit(x) end
          end)
          :consumer("main", { to = {} }, pass)
          :processor("side", { await = true, to = {}, processes = target_context.processes,
            process_per_batch = target_context.process_per_batch }, pass):run()
        assert.same(filtered(range(N), odd), sorted(r:of "side"))
        assert.same(filtered(range(N), function(x) return not odd(x) end), sorted(r:of "main"))
        assert.equal(N // 2, r.stats.stages.side.items_in)
        assert.equal(N, r.stats.stages.split.items_out)
      end
    end)

    it("R8 an unknown name is an error at the user's line, with the names there are", function()
      local line = debug.getinfo(1, "l").currentline + 2
      local r = new():producer { 1 }:processor("send", options(context), function(x, emit)
        emit:to("sidee", x)
      end):consumer("side", pass):run { failures = "collect" }
      assert.matches(("routing_spec.lua:%d: .*sidee.*side"):format(line), r.failures[1].message)
    end)

    it("R9 R67 an awaited stage that no stage feeds ends, and a late sender's items still arrive", function()
      local r = new():producer { 1 }:processor("slow", options(context), function(x, emit)
        core.sleep(0.1)
        emit:to("late", x)
      end):processor("never", { await = true, to = {} }, pass)
        :processor("soon", { await = 0.01, to = {} }, pass)
        :processor("late", options(context, { await = true, to = {} }), pass):run()
      assert.same({ 1 }, r:of "late")
      assert.same({}, r:of "never")
    end)

    it("R9 R67 await = seconds loses nothing that comes after that time, await = false takes nothing", function()
      local r = new():producer { 1, 2 }:processor("slow", options(context), function(x, emit)
        core.sleep(0.02)
        emit:to("late", x)
        if x == 2 then emit:to("shut", x) end
      end):processor("late", options(context, { await = 0.001, to = "next" }), function(x, emit)
        emit(x)
        if x < 10 then emit:to("late", x + 10) end
      end):consumer("next", options(context), pass)
        :processor("shut", { await = false, to = {} }, pass):run { failures = "collect" }
      assert.same({ 1, 11 }, sorted(r:of "next"))
      assert.same({}, r:of "shut")
      assert.same({ 1, 2 }, { #r.failures, r.failures[1].item })
      assert.matches("shut", r.failures[1].message)
    end)

    it("R9 R20 an awaited batch is full, and the rest comes when no stage can send any more", function()
      for _, size in ipairs { 6, 7 } do
        local r = new():producer("numbers", range(18)):processor("work", options(context, { to = {} }),
          function(x, emit)
            core.sleep(0.001)
            emit:to("first", x)
          end):processor("first", { await = true }, pass):batch("batches", size):run()
        local sizes = {}
        for i, batch in ipairs(r:of "batches") do sizes[i] = #batch end
        assert.same(size == 6 and { 6, 6, 6 } or { 7, 7, 4 }, sizes)
      end
    end)

    it("R10 a stage with static and dynamic inputs ends when both are exhausted", function()
      local r = new():producer("numbers", range(20))
        :processor("first", options(context), pass)
        :batch("pairs", 7)
        :processor("last", options(context), function(batch, emit)
          for _, x in ipairs(batch) do
            if x <= 20 then emit:to("first", x + 100) else emit(x) end
          end
        end):run()
      assert.same((function()
        local list = {}
        for i = 1, 20 do list[i] = i + 100 end
        return list
      end)(), sorted(r.items))
    end)

    it("a cycle drawn with emit:to ends when it is empty", function()
      local last = context.per_item and support.short_or_long(16, 64) or 64
      local r = new():producer { 1 }:processor("tree", options(context), function(x, emit)
        emit(x)
        if x < last then
          emit:to("tree", 2 * x)
          emit:to("tree", 2 * x + 1)
        end
      end):run()
      assert.same(range(2 * last - 1), sorted(r.items))
    end)

    it("R7 partition sends items with equal keys to the same worker, in their order, also past a death", function()
      local killed
      local r = new { max_restarts = 5 }:producer("numbers", range(N))
        :processor("by_key", options(context, { retries = 1, partition = function(x) return "key" .. x % 7 end }),
          function(x, emit, ctx)
            if x == N - 10 and ctx.attempt == 1 and not context.inline then os.exit(3) end
            emit { key = x % 7, x = x, worker = ctx.worker, again = ctx.attempt > 1 }
          end)
        :consumer("see", { inline = true, to = {} }, pass):run()
      killed = 0
      for _, worker in ipairs(r.stats.workers) do killed = killed + worker.died end
      assert.equal(N, #r.items)
      assert.equal(N, r.stats.stages.by_key.items_in)
      assert.is_true(context.inline or killed == 1)
      if context.per_item then return end
      local worker, last = {}, {}
      for _, item in ipairs(r.items) do
        worker[item.key] = worker[item.key] or item.worker or 0
        assert.equal(worker[item.key], item.worker or 0)
        if not item.again then -- what was tried again came later
          assert.is_true(item.x > (last[item.key] or 0))
          last[item.key] = item.x
        end
      end
    end)

    it("what a failed attempt sent with emit:to does not arrive", function()
      local r = new():producer("numbers", range(10)):processor("send", options(context, { retries = 1 }),
        function(x, emit, ctx)
          emit:to("side", x)
          if ctx.attempt == 1 and x == 5 then error "again" end
        end):processor("side", { await = true, to = {} }, pass):run()
      assert.same(range(10), sorted(r:of "side"))
    end)
  end)
end

describe("routing", function()
  it("emit:to in a producer reaches stages in every context", function()
    for _, given in ipairs { {}, { processes = 1 } } do
      local r = new():producer("numbers", given, function(emit)
        for i = 1, MANY do
          emit:to(odd(i) and "pool" or "fork", i)
          if i % 10 == 0 then emit(i) end
        end
      end):consumer("main", { to = {} }, pass)
        :processor("pool", { await = true, processes = 2, to = {} }, pass)
        :processor("fork", { await = true, process_per_batch = 2, to = {} }, pass):run()
      assert.same(filtered(range(MANY), odd), sorted(r:of "pool"))
      assert.equal(MANY // 2, #r:of "fork")
      assert.equal(MANY // 10, #r:of "main")
    end
  end)

  it("a route in a producer fails the item for which it gives no target, and goes on", function()
    local r = new():producer("numbers", { to = { "a", "b" }, route = function(x) return x == 3 and "c" or "a" end },
      range(5)):consumer("a", { to = {} }, pass):consumer("b", { from = "numbers", to = {} }, pass)
      :run { failures = "collect" }
    assert.same({ 1, 2, 4, 5 }, r:of "a")
    assert.equal(3, r.failures[1].item)
  end)

  it("R6 a route chooses for the batches of a batch stage, and fails one alone", function()
    local seen = {}
    local r = new():producer("numbers", range(8)):batch("pairs", 2, { to = { "a", "b" }, route = function(batch)
      seen[#seen + 1] = batch[2]
      if batch[1] == 3 then error "no way" end
      return batch[1] > 4 and { "a", "b" } or "b"
    end }):consumer("a", { to = {} }, function(batch, emit) emit(batch[1]) end)
      :consumer("b", { from = "pairs", to = {} }, function(batch, emit)
        emit(batch[1])
        batch[1] = 0
      end):run { failures = "collect" }
    assert.same({ 5, 7 }, r:of "a")
    assert.same({ 1, 5, 7 }, r:of "b")
    assert.same({ 2, 4, 6, 8 }, seen)
    assert.equal(1, #r.failures)
    assert.equal("pairs", r.failures[1].stage)
    assert.matches("no way", r.failures[1].message)
  end)

  it("items_out counts what a producer's route has chosen", function()
    local r = new():producer("numbers", { to = { "a", "b" }, route = function(x)
      if x == 3 then error "no way" end
      return x == 2 and { "a", "b" } or "a"
    end }, function(emit)
      for x = 1, 4 do emit(x) end
    end):consumer("a", { to = {} }, pass):consumer("b", { from = "numbers", to = {} }, pass)
      :run { failures = "collect" }
    assert.same({ 4, 3, 1 }, { r.stats.stages.numbers.items_out, r.stats.stages.a.items_in, r.stats.stages.b.items_in })
  end)

  it("a stage of a group sends to a neighbour and to itself through the ledger", function()
    local r = new():producer { 1 }:processes(2, function(p)
      p:processor("a", function(x, emit) emit(x) end)
      p:processor("b", function(x, emit) if x < 50 then emit:to("a", x + 1) else emit(x) end end)
    end):run()
    assert.same({ 50 }, r.items)
  end)

  it("R9 a stage that nothing reaches and that does not say await is refused", function()
    assert.error_matches(function()
      new():producer { 1 }:consumer("a", { to = {} }, pass):consumer("b", pass):run()
    end, "stage 'b'.*await")
  end)

  it("R7 a key that cannot be one fails its item", function()
    local r = new():producer { 1, 2 }:processor("work", { processes = 2, partition = function(x)
      if x == 1 then return {} end
      return x
    end }, pass):run { failures = "collect" }
    assert.same({ 2 }, r.items)
    assert.equal("work", r.failures[1].stage)
    assert.matches("partition", r.failures[1].message)
  end)

  for _, context in ipairs(contexts.all) do
    it("emit:to names the order of its arguments where they are swapped [" .. context.name .. "]", function()
      local r = new():producer { 1 }:processor("a", contexts.options(context), function(x, emit)
        emit:to("item " .. x, "b")
      end):consumer("b", pass):run { failures = "collect" }
      assert.matches('the order is emit:to("stage", item)', r.failures[1].message, 1, true)
      r = new():producer { 1 }:processor("a", contexts.options(context), function(x, emit)
        emit:to("item " .. x, "c")
      end):consumer("b", pass):run { failures = "collect" }
      assert.is_nil(r.failures[1].message:find("the order is", 1, true))
    end)
  end

  it("await = false: the stage is not there for emit:to", function()
    local r = new():producer { 1 }:consumer("a", { to = {} }, function(x, emit) emit:to("b", x) end)
      :consumer("b", { await = false }, pass):run { failures = "collect" }
    assert.matches("'b'", r.failures[1].message)
  end)

  it("wrong routes and awaits are refused at the user's line", function()
    local line = debug.getinfo(1, "l").currentline
    for i, f in ipairs {
      function() return (new():consumer("a", { route = "robin" }, pass)) end,
      function() return (new():consumer("a", { await = "yes" }, pass)) end,
      function() return (new():producer("a", { await = true }, { 1 })) end,
    } do
      local ok, message = pcall(f)
      assert.is_false(ok)
      assert.matches(("routing_spec.lua:%d: stage 'a': option '[ra]"):format(line + 1 + i), message)
    end
  end)
end)
