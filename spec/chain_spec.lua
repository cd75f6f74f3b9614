local chain = require "minigun.handlers.chain"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local support = require "spec.support"

-- A chain over plain tables, and what its port was told.
---@param definitions table array of { handler = or batch =, to = { ids }, out = true }
---@param process integer? whose chain it is
local function new(definitions, process)
  local port = { delivered = {}, failures = {}, effects = {}, clock = 0, process = process or core.process(),
    addresses = {} }
  local stages = {}
  for id, definition in ipairs(definitions) do
    stages[id] = { id = id, name = "stage " .. id, handler = definition.handler, batch = definition.batch,
      outputs = definition.to or {}, terminal = definition.out or false, keeps_item = definition.keeps,
      direct = definition.direct and { handler = definition.handler, f = definition.direct, folds = definition.folds,
        nothing = function() error("it gives nothing", 0) end } }
  end
  function port.deliver(stage, item) table.insert(port.delivered, { stage.id, item }) end
  function port.failed(stage, item, caught, how)
    table.insert(port.failures, { id = stage.id, item = item, caught = caught, attempt = how.attempt,
      partial = how.partial })
  end
  function port.effect(kind, name, value) table.insert(port.effects, { kind, name, value }) end
  function port.context(_, effect) return { collect = function(_, ...) effect("collect", ...) end } end
  function port.now() return port.clock end
  return chain.new(stages, port), port
end

-- Runs these items, as records of a block, through a stage.
local function push_all(links, id, list)
  local pool <close> = assert(core.pool(1, 1 << 20, 1 << 20))
  local writer = core.writer(pool, 1, function(w, need)
    if need > 0 then assert(w:open(need)) end
  end, error, 1, 1)
  for _, item in ipairs(list) do writer(item) end
  local block, offset, length = writer:take()
  local n = links.calls:push_all(id, pool:cursor(block, offset, length, 1))
  pool:release(block)
  writer:close()
  return n
end

-- What a chain has counted of a stage, without its times.
local function counts(links, id)
  local s = links:counts(id)
  return { items_in = s.items_in, items_out = s.items_out, failed = s.failed }
end

describe("a chain", function()
  it("calls the stages one after the other and delivers at the end", function()
    local links, port = new {
      { handler = function(n, emit) emit(n + 1) emit(n + 2) end, to = { 2 } },
      { handler = function(n, emit) emit(n * 10) end, out = true },
    }
    links.calls:push(1, 1, 1)
    assert.same({ { 2, 20 }, { 2, 30 } }, port.delivered)
    assert.same({ items_in = 1, items_out = 2, failed = 0 }, counts(links, 1))
    assert.same({ items_in = 2, items_out = 2, failed = 0 }, counts(links, 2))
  end)

  -- A map as the language makes it, whose function is called instead of the handler as soon as nothing is watched.
  local function map_of(f, definition)
    function definition.handler(item, emit)
      local value = f(item)
      if value == nil then error("it gives nothing", 0) end
      emit(value)
    end
    definition.direct = f
    return definition
  end

  it("calls the function of a map itself, to the same effect", function()
    local n = 1000 -- more than are watched, or copied
    local function f(i)
      if i % 10 == 1 then return nil end
      if i % 10 == 2 then error("no " .. i, 0) end
      return i % 2 == 0 and { i } or i
    end
    local function out(definition)
      local links, port = new { definition, { handler = function(item, emit) emit(item) end, out = true } }
      for i = 1, n do links.calls:push(1, i, 1) end
      for _, failure in ipairs(port.failures) do failure.caught = failure.caught.message end
      return { port.delivered, port.failures, counts(links, 1), counts(links, 2) }
    end
    for _, where in ipairs { { to = { 2 } }, { to = { 2, 2 } }, { out = true }, { to = { 2 }, out = true } } do
      local plain = map_of(f, { to = where.to, out = where.out })
      plain.direct = nil
      assert.same(out(plain), out(map_of(f, { to = where.to, out = where.out })))
    end
  end)

  it("calls the function of a map in a coroutine that yields", function()
    local links, port = new {
      map_of(function(i) return coroutine.isyieldable() and coroutine.yield(i) or -i end, { to = { 2 } }),
      map_of(function(i) return coroutine.isyieldable() and coroutine.yield(i) or i end, { out = true }),
    }
    for i = 1, 300 do links.calls:push(1, i, 1) end
    local run = coroutine.wrap(function() links.calls:push(1, 7, 1) end)
    assert.equal(7, run())
    assert.equal(8, run(8))
    run(9)
    assert.same({ 2, 9 }, port.delivered[301])
  end)

  it("keeps the value of a fold, one of many items at a time", function()
    local links
    links = new { { direct = function(value, item)
      if item == 5 then error "five" end
      return item ~= 6 and value .. item or nil
    end, folds = true, handler = function(item) links.calls:fold(1, "0" .. item) end } }
    assert.same({ 0 }, { links.calls:folded(1) })
    for i = 1, 9 do links.calls:push(1, i, 1) end
    assert.same({ 7, "01234789" }, { links.calls:folded(1) })
    assert.same({ 0 }, { links.calls:folded(1) })
    links.calls:push(1, 3, 1)
    assert.same({ 1, "03" }, { links.calls:folded(1) })
    assert.same({ items_in = 10, items_out = 0, failed = 2 }, counts(links, 1))
  end)

  it("has what has failed as it came, whatever the handler did to it", function()
    local large = {}
    for i = 1, 20 do large["k" .. i] = i end
    local items = { {}, { 1, 2, 3 }, { a = 1, [2] = "two", c = false, [1.5] = 0 }, large, { deep = { { 1 } } },
      setmetatable({ 1 }, { __name = "with one" }) }
    local function spoil(item)
      for key in pairs(item) do item[key] = nil end
      item.spoilt = true
      error "spoilt"
    end
    for _, yields in ipairs { false, true } do
      local links, port = new {
        { handler = function(k, emit)
          emit { 1 } -- which leaves the chain, too
          emit(core.copy(items[k]))
        end, to = { 2 }, out = true },
        { handler = function(item)
          if yields then coroutine.yield() end
          if not rawequal(item[1], 1) or getmetatable(item) or #item == 3 then spoil(item) end
        end, keeps = true },
      }
      for k in ipairs(items) do
        local run = coroutine.wrap(function()
          links.calls:push(1, k, 1)
          return true
        end)
        while not run() do end
        assert.same(items[k], port.failures[k].item)
      end
    end
  end)

  it("keeps nothing of what it has passed on", function()
    local alive = setmetatable({}, { __mode = "k" })
    local links, port = new {
      { handler = function(_, emit) emit {} end, to = { 2 } },
      { handler = function(item, emit)
        alive[item] = true
        emit {}
        emit {}
      end, out = true },
    }
    function port.deliver(_, item) alive[item] = true end
    links.calls:push(1, {}, 1)
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(alive))
    links.calls:push(2, {}, 1)
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(alive))
  end)

  it("sends to every receiver, inside and outside", function()
    local function pass(n, emit) emit(n) end
    local links, port = new {
      { handler = pass, to = { 2, 3, 9 } }, { handler = pass, out = true }, { handler = pass, out = true },
    }
    links.calls:push(1, 7, 1)
    assert.same({ { 2, 7 }, { 3, 7 }, { 1, 7 } }, port.delivered)
  end)

  it("passes on what was emitted when the handler has returned, in order", function()
    local trace = {}
    local links = new {
      { handler = function(_, emit)
        emit(1)
        emit(2)
        trace[#trace + 1] = "first returns"
      end, to = { 2 } },
      { handler = function(n) trace[#trace + 1] = n end },
    }
    links.calls:push(1, 0, 1)
    assert.same({ "first returns", 1, 2 }, trace)
  end)

  it("R46 forgets what a handler emitted and collected that raises", function()
    local links, port = new { { handler = function(n, emit, ctx)
      emit(n)
      ctx:collect("seen", n)
      if n == 2 then error "two" end
    end, out = true } }
    for n = 1, 3 do links.calls:push(1, n, 1) end
    assert.same({ { 1, 1 }, { 1, 3 } }, port.delivered)
    assert.same({ { "collect", "seen", 1 }, { "collect", "seen", 3 } }, port.effects)
    assert.equal(1, #port.failures)
    assert.same({ 1, 2, 1 }, { port.failures[1].id, port.failures[1].item, port.failures[1].attempt })
    assert.is_truthy(port.failures[1].caught.message:find "^spec/chain_spec.lua:%d+: two$")
    assert.is_truthy(port.failures[1].caught.traceback:find("chain_spec.lua", 1, true))
    assert.is_nil(port.failures[1].caught.traceback:find("minigun/chain.lua", 1, true))
    assert.same({ items_in = 3, items_out = 2, failed = 1 }, counts(links, 1))
  end)

  it("a failure after a stage is not that stage's", function()
    local after = 0
    local links, port = new {
      { handler = function(n, emit)
        emit(n)
        emit(n + 1)
        after = after + 1
      end, to = { 2 } },
      { handler = function(n, emit)
        if n == 1 then error "one" end
        emit(n)
      end, out = true },
    }
    links.calls:push(1, 1, 1)
    assert.equal(1, after)
    assert.same({ { 2, 2 } }, port.delivered)
    assert.same({ 1, 2, 1 }, { #port.failures, port.failures[1].id, port.failures[1].item })
    assert.equal(0, links:counts(1).failed)
  end)

  it("errors that are no strings become texts", function()
    local values = { 42, { 1 }, setmetatable({}, { __tostring = function() return "shown" end }), true }
    local links, port = new { { handler = function(i) error(values[i]) end } }
    for i = 1, #values do links.calls:push(1, i, 1) end
    links.calls:push(1, 9, 1)
    for i, failure in ipairs(port.failures) do
      assert.is_string(failure.caught.message)
      assert.equal(i <= #values and values[i] or support.raised_nil, failure.caught.raised)
    end
    assert.equal("shown", port.failures[3].caught.message)
    assert.equal(5, #port.failures)
  end)

  it("an error's broken __tostring does not escape", function()
    local links, port = new { { handler = function()
      error(setmetatable({}, { __tostring = function() error "again" end }))
    end } }
    links.calls:push(1, 1, 1)
    assert.equal(1, #port.failures)
    assert.is_string(port.failures[1].caught.message)
  end)

  it("an endless recursion is a failure of its item", function()
    -- In an interpreter of its own: the stack that it leaves behind would make every later fork of this one slow.
    local result = support.run_lua [[
      local function deeper(...) return 1 + deeper(1, ...) end
      local result = require "minigun".pipeline("deep", { failures = "collect" }):producer { 1, 2 }
        :processor(function(n, emit)
          if n == 1 then deeper() end
          emit(n)
        end):run()
      print(#result.failures, result.items[1], result.failures[1].message:match "stack overflow")
    ]]
    assert.equal("1\t2\tstack overflow\n", result.stdout)
  end)

  it("push_all runs all a cursor gives, and goes on after a failure", function()
    local links, port = new { { handler = function(n, emit)
      emit(n)
      if n % 3 == 0 then error "three" end
    end, out = true } }
    assert.equal(7, push_all(links, 1, { 1, 2, 3, 4, 6, 7, 9 }))
    assert.same({ { 1, 1 }, { 1, 2 }, { 1, 4 }, { 1, 7 } }, port.delivered)
    local failed = {}
    for i, failure in ipairs(port.failures) do failed[i] = failure.item end
    assert.same({ 3, 6, 9 }, failed)
  end)

  it("push_all does with items of a stage that hardly emits what push does with each", function()
    local seed = tonumber(os.getenv "SEED") or os.time()
    math.randomseed(seed)
    local acts, items = {
      function(n, emit) emit(n) end,
      function(n, emit) for i = 1, 3 do emit(n + i) end end,
      function(n) error("no " .. n, 0) end,
      function(n, emit)
        emit(n)
        error("late " .. n, 0)
      end,
      function(n, _, ctx) ctx:collect("kept", n) end,
      function(n) return n end,
      function(n, emit) emit(coroutine.yield(n)) end,
      function(n) error("after " .. coroutine.yield(n), 0) end,
      function(n) coroutine.yield(n) end,
    }, {}
    for i = 1, 1500 do items[i] = math.random(10) > 1 and 0 or i * #acts + math.random(#acts) - 1 end
    local function out(run)
      local links, port = new { { handler = function(n, emit, ctx)
        if n > 0 then return acts[n % #acts + 1](n, emit, ctx) end
      end, out = true } }
      local waited = {}
      for n in coroutine.wrap(function() run(links) end) do waited[#waited + 1] = n end
      for _, failure in ipairs(port.failures) do failure.caught = failure.caught.message end
      local said = counts(links, 1)
      said.items_in = nil -- of a cursor its user counts them
      return { port.delivered, port.failures, port.effects, waited, said, links.calls:number(1) }
    end
    assert.same(out(function(links)
      for _, item in ipairs(items) do links.calls:push(1, item, 1) end
    end), out(function(links) assert.equal(#items, push_all(links, 1, items)) end), "SEED=" .. seed)
  end)

  it("refuses a stage more than it was told of", function()
    local functions = setmetatable({}, { __index = function() return print end })
    local calls = core.chain(2, 1, print, core.process(), functions)
    calls:link(1, 0, print, {})
    assert.error_matches(function() calls:link(2, 0, print, {}) end, "more links than were announced")
  end)

  it("push_all says of no failure that it is partial because of the call before, which has emitted as a stream",
    function()
      local links, port = new { { handler = function(n, emit)
        if n % 10 == 8 then
          for _ = 1, 8192 do emit(n) end -- so many as are kept at most
        end
        if n % 10 == 9 then error("no " .. n, 0) end
      end } }
      assert.equal(600, push_all(links, 1, contexts.range(1, 600)))
      assert.same({ 60, 60 * 8192 }, { #port.failures, counts(links, 1).items_out })
      for _, failure in ipairs(port.failures) do assert.is_nil(failure.partial) end
    end)

  it("push_all passes over an item that cannot be had, among many of a stage that emits nothing", function()
    local Refused, loads, sum = {}, 0, 0
    core.register("chain.refused", Refused, function() return 1 end, function()
      loads = loads + 1
      return nil, "not here"
    end)
    local links, port = new { { handler = function(n) sum = sum + n end } }
    local items = {}
    for i = 1, 600 do items[i] = i % 200 == 100 and setmetatable({}, Refused) or 1 end
    assert.equal(600, push_all(links, 1, items))
    assert.same({ 597, 3, 600 }, { sum, #port.failures, links.calls:number(1) })
    assert.is_true(port.failures[3].caught.unreadable)
    assert.equal(3, loads)
  end)

  it("push_all gives false as an item to the handler", function()
    local seen = {}
    local links = new { { handler = function(item) seen[#seen + 1] = tostring(item) end } }
    push_all(links, 1, { 1, false, 2 })
    assert.same({ "1", "false", "2" }, seen)
  end)

  it("an item that emits very much is let through, and its failure says so", function()
    local links, port = new { { handler = function(n, emit)
      for i = 1, n do emit(i) end
      if n > 1 then error "late" end
    end, out = true } }
    links.calls:push(1, 20000, 1)
    links.calls:push(1, 1, 1)
    assert.is_true(#port.delivered > 10000 and #port.delivered <= 20001)
    assert.is_true(port.failures[1].partial)
    links.calls:push(1, 5, 1)
    assert.is_falsy(port.failures[2].partial)
    for i = 1, #port.delivered - 2 do assert(port.delivered[i][2] == i) end
  end)

  it("ends a traceback at the stage, also in the middle of a stream", function()
    local links, port = new {
      { handler = function(n, emit)
        for i = 1, n do emit(i) end
        emit(n)
      end, to = { 2 } },
      { handler = function(i)
        if i == 9000 then error "far" end
      end },
    }
    for _ = 1, 300 do links.calls:push(1, 1, 1) end -- it is trusted now
    links.calls:push(1, 20000, 1)
    assert.equal(1, #port.failures)
    local lines = select(2, port.failures[1].caught.traceback:gsub("chain_spec%.lua:%d+: in", ""))
    assert.equal(1, lines, port.failures[1].caught.traceback)
  end)

  it("R52 emit refuses nil, a late call and another process, at the caller's line", function()
    local kept
    local links, port = new { { handler = function(n, emit)
      kept = emit
      if n == 1 then emit(nil) end
      emit(n)
    end, out = true } }
    links.calls:push(1, 1, 1)
    assert.is_truthy(port.failures[1].caught.message:find "^spec/chain_spec.lua:%d+: nil cannot be emitted")
    local function late() kept(5) end
    local ok, message = pcall(late)
    assert.is_false(ok)
    assert.equal(debug.getinfo(late, "S").linedefined, tonumber(message:match "^spec/chain_spec.lua:(%d+): "))
    assert.same({}, port.delivered)
    local foreign, other = new({ { handler = function(n, emit) emit(n) end, out = true } }, core.process() + 1)
    foreign.calls:push(1, 2, 1)
    assert.matches("in another process", other.failures[1].caught.message)
    assert.same({}, other.delivered)
  end)

  it("effects outside of handlers are passed on at once", function()
    local ctx, links, port, during
    links, port = new { { handler = function(_, _, c)
      ctx = c
      ctx:collect("inside", 1)
      during = #port.effects
    end } }
    links.calls:push(1, 1, 1)
    assert.equal(0, during)
    assert.same({ { "collect", "inside", 1 } }, port.effects)
    ctx:collect("outside", 2)
    assert.same({ "collect", "outside", 2 }, port.effects[2])
  end)

  it("R20 gathers batches, passes on full ones and flushes the rest", function()
    local links, port = new { { batch = { max_size = 2 }, to = { 2 } },
      { handler = function(batch, emit) emit(#batch) end, out = true } }
    push_all(links, 1, { 1, 2, 3 })
    assert.same({ { 2, 2 } }, port.delivered)
    links.calls:push(1, 4, 1)
    links.calls:push(1, 5, 1)
    links:flush_batches(1)
    links:flush_batches(1)
    assert.same({ { 2, 2 }, { 2, 2 }, { 2, 1 } }, port.delivered)
  end)

  it("R21 flushes the batches whose time has come", function()
    local links, port = new { { batch = { max_size = 10, max_wait = 1 }, out = true } }
    links.calls:push(1, "a", 1)
    links:flush_batches(1, 0.5)
    assert.same({}, port.delivered)
    links:flush_batches(1, 1)
    assert.same({ { 1, { "a" } } }, port.delivered)
  end)

  it("goes through a thousand stages, and to many receivers of each", function()
    local definitions = {}
    for id = 1, 1000 do
      definitions[id] = { handler = function(n, emit) emit(n + 1) end, to = { id + 1 } }
    end
    definitions[1000] = { handler = function(n, emit)
      emit(n)
      emit(n + 1)
    end, out = true }
    local links, port = new(definitions)
    links.calls:push(1, 1, 1)
    assert.same({ { 1000, 1000 }, { 1000, 1001 } }, port.delivered)
    assert.same({ items_in = 1, items_out = 1, failed = 0 }, counts(links, 999))
  end)

  it("keeps the order of what is for all and what is for one stage, also of a stream", function()
    local seen = {}
    local links, port = new {
      { handler = function(n, emit)
        for i = 1, n do
          if i % 3 == 0 then emit:to("b", i) else emit(i) end
        end
        if n == 5 then error "late" end
      end, to = { 2 } },
      { handler = function(item) seen[#seen + 1] = item end },
    }
    port.addresses[1] = { b = 2 }
    function port.send_to(stage, id, item, sent)
      assert.same({ 1, 2, true }, { stage.id, id, sent })
      seen[#seen + 1] = item
    end
    for _, n in ipairs { 5, 7, 20000 } do
      seen = {}
      links.calls:push(1, n, 1)
      assert.equal(n == 5 and 0 or n, #seen)
      for i = 1, #seen do assert(seen[i] == i) end
    end
    assert.equal(1, #port.failures)
  end)

  describe("whose handlers yield", function()
    -- Two stages: the first emits an item and the next one, the second yields each item, and emits what that gives.
    local function waiting()
      return new {
        { handler = function(n, emit)
          emit(n)
          emit(n + 1)
        end, to = { 2 } },
        { handler = function(n, emit) emit(coroutine.yield(n)) end, out = true },
      }
    end

    local function resume(co, ...)
      local ok, value = coroutine.resume(co, ...)
      return ok and value or tostring(value)
    end

    it("goes on where it was", function()
      local links, port = waiting()
      local co = coroutine.create(function()
        links.calls:push(1, 1, 1)
        links.calls:push(1, 5, 1)
        return "end"
      end)
      local said = { resume(co) }
      for i = 1, 4 do said[#said + 1] = resume(co, i * 10) end
      assert.same({ 1, 2, 5, 6, "end" }, said)
      assert.same({ { 2, 10 }, { 2, 20 }, { 2, 30 }, { 2, 40 } }, port.delivered)
      assert.same({}, port.failures)
    end)

    it("goes on in the middle of a stream, and with what a cursor gives", function()
      local links, port = new {
        { handler = function(n, emit)
          for i = 1, 10000 do emit(i) end
          emit(-n)
        end, to = { 2 } },
        { handler = function(n, emit)
          if n % 5000 == 0 then coroutine.yield(n) end
          if n < 0 then emit(n) end
        end, out = true },
      }
      local co, said = coroutine.create(function()
        push_all(links, 1, { 1, 2 })
        return "end"
      end), {}
      repeat said[#said + 1] = resume(co) until coroutine.status(co) == "dead"
      assert.same({ 5000, 10000, 5000, 10000, "end" }, said)
      assert.same({ { 2, -1 }, { 2, -2 } }, port.delivered)
    end)

    it("fails the item of a call that another one, in another coroutine, has overtaken", function()
      local links, port = waiting()
      local function one(n)
        return coroutine.create(function()
          links.calls:push(1, n, 1)
          return "end"
        end)
      end
      local first, second, third = one(1), one(10), one(100)
      assert.same({ 1, 10 }, { resume(first), resume(second) })
      assert.equal(2, resume(first, "a")) -- fails; the next item
      assert.equal("end", resume(first, "b"))
      assert.matches("have not ended", port.failures[1].caught.message)
      assert.equal(1, port.failures[1].item)
      assert.matches("was given up", resume(second, "c"))
      assert.same({ 100, 101, "end" }, { resume(third), resume(third, "d"), resume(third, "e") })
      assert.same({ { 2, "b" }, { 2, "d" }, { 2, "e" } }, port.delivered)
    end)

    it("fails an item whose handler has left a coroutine in the middle of an emit", function()
      local left
      local links, port = new {
        { handler = function(n, emit)
          left = coroutine.create(function()
            for i = 1, 10000 do emit(i) end
          end)
          assert(coroutine.resume(left))
          if n == 2 then emit(1) end
        end, to = { 2 } },
        { handler = function() coroutine.yield() end },
      }
      links.calls:push(1, 1, 1)
      assert.matches("have not ended", port.failures[1].caught.message)
      assert.is_false((coroutine.resume(left)))
      links.calls:push(1, 2, 1)
      assert.matches("emit called after", port.failures[2].caught.message)
    end)
  end)

  it("forgets, when it begins anew, for which stage something was that an error has left there", function()
    local links, port = new {
      { handler = function(n, emit)
        emit(n)
        if n == 1 then emit:to("c", "left") else emit "for both" end
      end, to = { 2, 3 } },
      { handler = function(item, emit) emit(item) end, out = true },
      { handler = function(item, emit) emit(item) end, out = true },
    }
    port.addresses[1] = { c = 3 }
    port.delivered = false -- deliver raises
    links:begin(1, 1)
    assert.is_false((pcall(links.calls.take, links.calls, 1, 1)))
    port.delivered = {}
    links:begin(1, 1)
    links.calls:take(1, 2)
    assert.same({ { 2, 2 }, { 3, 2 }, { 2, "for both" }, { 3, "for both" } }, port.delivered)
  end)
end)
