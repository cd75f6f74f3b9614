-- What must not depend on where a stage runs, beyond the table of R33 in contexts_spec.lua; found by property_spec.lua.
local minigun = require "minigun"
local contexts = require "spec.contexts"

local options, sorted = contexts.options, contexts.sorted

local function new()
  return minigun.pipeline("independence", { failures = "collect" })
end

local function pass(item, emit) emit(item) end

local places = { { name = "inline", options = { inline = true } }, { name = "child", options = { processes = 1 } } }

describe("independence of the context", function()
  for _, place in ipairs(places) do
    local where = (" [producer %s]"):format(place.name)

    it("R33 R49 an item of a producer that cannot be sent is a failure, and the producer goes on" .. where, function()
      local result = new():producer("gen", place.options, function(emit)
        emit(1)
        emit { f = print }
        emit:to("pool", { g = print })
        emit(2)
      end):processor("pool", { processes = 1 }, pass):run()
      assert.same({ 1, 2 }, sorted(result.items))
      assert.equal(2, #result.failures)
      for i, path in ipairs { "item%.f is a function", "item%.g is a function" } do
        local failure = result.failures[i]
        assert.same({ "unserialisable", "gen", 1 }, { failure.kind, failure.stage, failure.attempts })
        assert.matches(path, failure.message)
        assert.is_nil(failure.partial)
        assert.is_true(failure.item ~= nil)
      end
    end)

    it("R6 R33 an item of a producer that its route sends nowhere is a failure with the item" .. where, function()
      local result = new():producer("gen", contexts.options(place, { to = { "a", "b" }, route = function(n)
        return ({ "a", "nowhere", { "a", "b" } })[n]
      end }), { 1, 2, 3 }):consumer("a", { to = {} }, pass):consumer("b", { to = {} }, pass):run()
      assert.same({ { 1, 3 }, { 3 } }, { sorted(result:of "a"), result:of "b" })
      assert.equal(1, #result.failures)
      assert.same({ "error", 2 }, { result.failures[1].kind, result.failures[1].item })
      assert.matches("'nowhere'.*a, b", result.failures[1].message)
    end)

    it("R44 items_out counts what is sent, by emit, by route and by emit:to" .. where, function()
      local result = new():producer("gen", contexts.options(place, { to = { "a", "b" }, route = function(n)
        return n == 1 and { "a", "b" } or n == 2 and {} or "a"
      end }), function(emit)
        for n = 1, 3 do emit(n) end
        emit:to("b", 4)
      end):producer("direct", contexts.options(place, { to = "a" }), function(emit)
        emit(5)
        emit:to("b", 6)
      end):consumer("a", { processes = 1, to = {} }, pass):consumer("b", { processes = 1, to = {} }, pass):run()
      assert.same({ { 1, 3, 5 }, { 1, 4, 6 } }, { sorted(result:of "a"), sorted(result:of "b") })
      local stages = result.stats.stages
      assert.same({ 4, 2 }, { stages.gen.items_out, stages.direct.items_out })
      assert.same({ 3, 3 }, { stages.a.items_in, stages.b.items_in })
    end)
  end

  for _, context in ipairs(contexts.all) do
    local where = (" [%s]"):format(context.name)

    it("R33 R49 what a group emits and cannot send is its stage's failure, the rest arrives" .. where,
      function()
        if context.inline then return end -- there it can
        local p = new():producer("gen", { 1, 2, 3 })
        local method = context.per_item and "process_per_batch" or "processes"
        p[method](p, context.n, function()
          p:processor("first", { to = { "second", "out" } }, pass)
          p:processor("second", function(n, emit)
            emit(n)
            if n == 2 then emit { f = print } end
            if n == 3 then emit:to("out", { f = print }) end
            emit(-n)
          end)
        end)
        p:processor("out", { inline = true, from = { "first", "second" } }, pass)
        local result = p:run()
        assert.same({ -3, -2, -1, 1, 1, 2, 2, 3, 3 }, sorted(result.items))
        assert.equal(2, #result.failures)
        for _, failure in ipairs(result.failures) do
          assert.same({ "unserialisable", "second" }, { failure.kind, failure.stage })
          assert.matches("item%.f is a function", failure.message)
        end
      end)

    it("R49 R72 what is collected and cannot be serialised fails the item, at the user's line" .. where,
      function()
        for _, more in ipairs { 0, 1 } do -- a stage alone, and in a group
          local line
          local p = new():producer { 1, 2 }
          local function block()
            p:processor("work", function(n, emit, ctx)
              emit(n)
              line = debug.getinfo(1, "l").currentline + 1
              if n == 2 then ctx:collect("functions", { g = print }) end
              if n == 1 then ctx:collect("line", line - 1) end
            end)
            for _ = 1, more do p:processor(pass) end
          end
          if context.inline then p:inline(block)
          else p[context.per_item and "process_per_batch" or "processes"](p, context.n, block) end
          local result = p:run()
          if context.inline then
            assert.equal(print, result.collected.functions[1].g)
          else
            assert.same({ 1 }, result.items)
            assert.equal(1, #result.failures)
            local failure = result.failures[1]
            assert.same({ "unserialisable", "work", 2 }, { failure.kind, failure.stage, failure.item })
            local at = ("spec/independence_spec.lua:%d: "):format(result.collected.line[1] + 1)
            assert.equal(at, failure.message:sub(1, #at))
            assert.matches("%.g is a function", failure.message)
            assert.matches("independence_spec.lua:%d+: in", failure.traceback)
          end
        end
      end)

    it("R50 a failure makes run raise when all is done, return, or end early" .. where, function()
      local n = context.per_item and 6 or 40
      local function make()
        return minigun.pipeline "failing":producer("gen", contexts.range(1, n))
          :processor("odd", options(context), function(item, emit)
            if item == 2 or item == 5 then error "bad" end
            emit(item)
          end)
      end
      local p = make()
      local raised, message = pcall(p.run, p)
      assert.is_false(raised)
      assert.matches("^spec/independence_spec.lua:%d+: bad\nin stage 'odd'", message)
      assert.matches("and 1 more failure", message, 1, true)
      assert.same({ n - 2, 2, false }, { #p.last.items, #p.last.failures, p.last.ok })
      local collected = make():run { failures = "collect" }
      assert.same({ n - 2, 2, false }, { #collected.items, #collected.failures, collected.ok })
      local told = {}
      p = make():on_failure(function(failure, ctx) told[#told + 1] = ctx.stage .. failure.item end)
      assert.equal(n - 2, #p:run().items)
      assert.same({ "odd2", "odd5" }, sorted(told))
      p = make()
      raised, message = pcall(p.run, p, { failures = "stop" })
      assert.is_false(raised)
      assert.matches("bad\nin stage 'odd'", message)
    end)

    it("R44 a group counts what its stages send, also by route and emit:to" .. where, function()
      local p = new():producer("gen", { 1, 2, 3, 4 })
      local function block()
        p:processor("a", { to = { "b", "c", "out" }, route = function(n)
          return n == 1 and { "b", "out" } or n == 2 and {} or "c"
        end }, function(n, emit)
          emit(n)
          if n == 4 then emit:to("c", 5) end
        end)
        p:processor("b", { to = "out" }, pass)
        p:processor("c", { to = {} }, pass)
      end
      if context.inline then p:inline(block)
      else p[context.per_item and "process_per_batch" or "processes"](p, context.n, block) end
      local result = p:processor("out", options(contexts.numbered[1]), pass):run()
      assert.same({ { 3, 4, 5 }, { 1, 1 } }, { sorted(result:of "c"), result:of "out" })
      local stages = result.stats.stages
      assert.same({ 4, 5 }, { stages.a.items_in, stages.a.items_out })
      assert.same({ 1, 1, 3, 3 }, { stages.b.items_in, stages.b.items_out, stages.c.items_in, stages.c.items_out })
      assert.same({ 2, 2 }, { stages.out.items_in, stages.out.items_out })
    end)
  end

  it("R28 R33 an inline stage that waits is called for one item after another, also by producers in threads", function()
    for _, place in ipairs { { inline = true }, { threads = 2 }, { processes = 1 } } do
      local busy = 0
      local to_c = { to = "c", threads = place.threads, processes = place.processes }
      local result = new():producer("a", to_c, function(emit)
        for n = 1, 3 do emit(n) end
      end):producer("b", to_c, function(emit)
        for n = 11, 13 do emit(n) end
      end):processor("c", { inline = true }, function(n, emit)
        busy = busy + 1
        assert(busy == 1)
        minigun.sleep(0.001)
        busy = busy - 1
        emit(n)
      end):run()
      assert.same({}, result.failures)
      assert.same({ 1, 2, 3, 11, 12, 13 }, sorted(result.items))
      local stages = result.stats.stages
      assert.same({ 3, 3, 6 }, { stages.a.items_out, stages.b.items_out, stages.c.items_in })
    end
  end)
end)
