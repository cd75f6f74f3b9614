-- `ordered = true`: what comes out of a context is in the order of what has come in.
local contexts = require "spec.contexts"
local core = require "minigun.core"
local minigun = require "minigun"
local order = require "minigun.policy.order"
local refusals = require "spec.refusals"
local support = require "spec.support"

local source = contexts.source

local function assert_ascending(list, count)
  for i = 2, #list do
    if list[i] <= list[i - 1] then error(("%d after %d, at place %d"):format(list[i], list[i - 1], i), 2) end
  end
  assert.equal(count, #list)
end

-- The options of a context, ordered.
local function ordered(context, more)
  local merged = contexts.options(context, more)
  merged.ordered = true
  return merged
end

describe("an order", function()
  it("gives on what begins with the oldest, and keeps the rest until that is finished", function()
    local got = {}
    local o = order.new(function(part) got[#got + 1] = part end, 100, function() end)
    o:put(4, 10, "d")
    o:put(3, 10, "c")
    o:put(1, 10, "a")
    assert.same({ { "a" }, 20 }, { got, o.bytes })
    o:finished(3, 1)
    o:finished(1, 1)
    assert.same({ "a" }, got)
    o:finished(2, 1)
    assert.same({ { "a", "c", "d" }, 0 }, { got, o.bytes })
  end)

  it("waits for further attempts at an item", function()
    local got = {}
    local o = order.new(function(part) got[#got + 1] = part end, 100, function() end)
    o:put(1, 1, "1-3")
    o:retry(2)
    o:retry(2)
    o:put(3, 1, "3")
    o:finished(1, 3)
    o:put(4, 1, "4")
    o:finished(4, 1)
    o:settled(2)
    o:retry(2)
    o:settled(2)
    assert.same({ "1-3" }, got)
    o:put(2, 1, "2")
    o:settled(2)
    assert.same({ "1-3", "2", "3", "4" }, got)
  end)

  it("lets nothing but the oldest begin when too much is kept", function()
    local allowed
    local o = order.new(function() end, 100, function(head, limit) allowed = { head, limit } end)
    assert.same({ 1, 1 + o.window }, allowed)
    o:put(2, 100, "b")
    assert.same({ 1, 0 }, allowed)
    o:finished(1, 2)
    assert.same({ 3, 3 + o.window }, allowed)
  end)

  it("holds for any sequence of chunks, failures and attempts", function()
    math.randomseed(7)
    for _ = 1, 300 do
      local got, n, ready = {}, math.random(1, 60), {}
      local o = order.new(function(part) got[#got + 1] = part end, 1 << 30, function() end)
      local at = 1
      while at <= n do
        local size = math.min(math.random(1, 9), n + 1 - at)
        ready[#ready + 1] = { first = at, n = size, done = 0 }
        at = at + size
      end
      while #ready > 0 do
        local i = math.random(#ready)
        local chunk = ready[i]
        local ordinal = chunk.first + chunk.done
        if chunk.again then
          if math.random() < 0.3 then
            o:retry(ordinal)
          else
            o:put(ordinal, 1, ordinal)
            table.remove(ready, i)
          end
          o:settled(ordinal)
        else -- a range of the chunk's items, which may have failures in it
          local stop, begin = ordinal + math.random(0, chunk.n - chunk.done - 1), ordinal
          local after = ordinal
          for each = begin, stop do
            if math.random() < 0.2 then
              after = each + 1
              o:retry(each)
              ready[#ready + 1] = { first = each, n = 1, done = 0, again = true }
            else
              o:put(after, 1, each)
            end
          end
          o:finished(begin, stop - begin + 1)
          chunk.done = chunk.done + stop - begin + 1
          if chunk.done == chunk.n then
            for k, other in ipairs(ready) do
              if other == chunk then table.remove(ready, k) end
            end
          end
        end
      end
      assert_ascending(got, n)
      assert.same({ 0, n + 1 }, { o.bytes, o.head })
    end
  end)
end)

for _, context in ipairs(contexts.all) do
  describe(context.name .. ", ordered", function()
    local n = context.per_item and support.short_or_long(12, 24) or support.short_or_long(100, 300)

    it("R33 gives items in the order of arrival, whichever is finished first", function()
      local p = source(minigun.pipeline "p", n)
      p:processor("work", ordered(context), function(item, emit)
        if item % 10 == 1 then core.sleep(0.004) end
        if item % 3 ~= 0 then -- the others emit nothing
          emit(item)
          emit(item + 0.5)
        end
      end)
      assert_ascending(p:run().items, 2 * (n - n // 3))
    end)

    it("R46 waits for an item that is tried again, and not for one that has failed", function()
      local p = source(minigun.pipeline "p", n)
      p:processor("work", ordered(context, { retries = 2, backoff = 0.003 }), function(item, emit, ctx)
        if item % 7 == 0 and ctx.attempt < 3 or item % 11 == 0 then error "no" end
        emit(item)
      end)
      local result = p:run { failures = "collect" }
      assert.equal(n // 11, #result.failures)
      assert_ascending(result.items, n - n // 11)
    end)

    it("R30 keeps the order of what comes in through a group whose stages fail and are tried again", function()
      local p = source(minigun.pipeline "p", n)
      p:context("own", ordered(context))
      p:processor("first", { context = "own", retries = 1 }, function(item, emit, ctx)
        if item % 5 == 0 and ctx.attempt == 1 then error "no" end
        emit(item + 0.25)
        emit(item + 0.25)
      end)
      p:processor("second", { context = "own", retries = 3, backoff = 0.001 }, function(item, emit, ctx)
        if item // 1 % 4 == 0 and ctx.attempt < 3 then error "no" end
        emit(item // 1)
      end)
      local result, items = p:run(), {}
      for i = 1, #result.items, 2 do
        assert.equal(result.items[i], result.items[i + 1])
        items[#items + 1] = result.items[i]
      end
      assert_ascending(items, n)
    end)

    it("R60 ends with little memory, queues of one item, and output that has to wait", function()
      local p, text = source(minigun.pipeline "p", context.per_item and 12 or 60), ("x"):rep(150000)
      p:processor("grow", ordered(context, { retries = 1, backoff = 0.02, queue = 1 }), function(item, emit, ctx)
        if item % 10 == 1 and ctx.attempt == 1 then error "no" end
        for i = 1, 4 do emit { item + i / 10, text } end
      end)
      p:processor("shrink", { processes = 1, queue = 1, ordered = true }, function(item, emit) emit(item[1]) end)
      assert_ascending(p:run { memory = "4M" }.items, context.per_item and 48 or 240)
    end)

    it("R8 R3 keeps the order for each receiver", function()
      local p = source(minigun.pipeline "p", n)
      p:processor("work", ordered(context, { to = { "left", "right" } }), function(item, emit)
        if item % 10 == 1 then core.sleep(0.003) end
        emit(item)
        emit:to("third", item)
      end)
      for _, name in ipairs { "left", "right", "third" } do
        p:processor(name, { from = name ~= "third" and "work" or nil, await = name == "third" or nil, to = {} },
          function(item, emit) emit(item) end)
      end
      local result = p:run()
      for _, name in ipairs { "left", "right", "third" } do assert_ascending(result:of(name), n) end
    end)
  end)
end

for _, context in ipairs(contexts.forked) do
  describe(context.name .. ", ordered", function()
    local n = context.per_item and support.short_or_long(12, 24) or support.short_or_long(100, 300)

    it("R60 ends where an older item comes back while a younger one has overdrawn the memory", function()
      local again, text = os.tmpname(), ("x"):rep(150000)
      local p = minigun.pipeline "p"
      p:producer { 1, 2 }
      p:processor("grow", ordered(context, { retries = 1, backoff = 0.1 }), function(item, emit, ctx)
        if item == 1 and ctx.attempt == 1 then error "no" end
        if item == 1 then support.write_file(again, "comes back") end
        for i = 1, 20 do
          emit { item, text }
          while item == 2 and i == 10 and support.read_file(again) == "" do minigun.sleep(0.005) end
        end
      end)
      p:processor("shrink", { processes = 1 }, function(item, emit) emit(item[1]) end)
      local items = p:run { memory = "1M" }.items
      os.remove(again)
      assert.same((("1 "):rep(20) .. ("2 "):rep(20)), table.concat(items, " ") .. " ")
    end)

    it("R47 R48 waits for items whose worker has died or was too slow", function()
      local p = source(minigun.pipeline "p", n)
      p:processor("work", ordered(context, { retries = 1, timeout = 0.3 * contexts.patience }),
        function(item, emit, ctx)
          if item % 20 == 3 and ctx.attempt == 1 then os.execute("kill -9 " .. ctx.pid) end
          if item == 6 and ctx.attempt == 1 then core.sleep(60) end
          emit(item)
        end)
      assert_ascending(p:run { max_restarts = 1000 }.items, n)
    end)

    it("R60 keeps what has to wait within the memory, however slow the oldest item is", function()
      local count = context.per_item and 60 or 600
      local p, text = source(minigun.pipeline "p", count), ("x"):rep(context.per_item and 300000 or 30000)
      p:processor("work", ordered(context), function(item, emit)
        if item == 1 then core.sleep(0.3) end
        emit { item, text }
      end)
      p:processor("strip", { inline = true }, function(item, emit) emit(item[1]) end)
      local result = p:run { memory = "4M" }
      assert_ascending(result.items, count)
      assert.is_true(result.stats.memory_most < 6 << 20, result.stats.memory_most) -- of 18 MB
    end)
  end)
end

for _, context in ipairs(contexts.pools) do
  it("R7 " .. context.name .. " with keys gives items in the order of arrival", function()
    local p = source(minigun.pipeline "p", 300)
    p:processor("work", ordered(context, { retries = 1, partition = function(item) return item * 7 // 3 end }),
      function(item, emit, ctx)
        if item % 10 == 1 then core.sleep(0.003) end
        if item % 9 == 0 and ctx.attempt == 1 then error "no" end
        emit { item, ctx.worker }
      end)
    local result, items, worker = p:run(), {}, {}
    for i, item in ipairs(result.items) do
      local key = item[1] * 7 // 3
      items[i], worker[key] = item[1], worker[key] or item[2]
      assert.equal(worker[key], item[2])
    end
    assert_ascending(items, 300)
  end)
end

describe("ordered", function()
  it("is what a context must ask for: without it nothing waits", function()
    for _, context in ipairs { contexts.numbered[3], contexts.numbered[5], contexts.numbered[6] } do
      local path = support.write_file(os.tmpname(), "")
      local p = source(minigun.pipeline "p", 10)
      p:processor("work", context.options, function(item, emit)
        if item == 1 then -- is finished after another one
          for _ = 1, 1000 do
            if support.read_file(path) ~= "" then break end
            minigun.sleep(0.01)
          end
          minigun.sleep(0.05 * support.patience)
        end
        emit(item)
        support.write_file(path, "finished")
      end)
      assert.not_equal(1, p:run().items[1], context.name)
      os.remove(path)
    end
  end)

  it("R29 is an option of a stage, of a group and of a named context, and part of the drawing", function()
    local function slow_first(item, emit)
      if item == 1 then core.sleep(0.05) end
      emit(item)
    end
    for text, define in pairs {
      ["processes(2), ordered"] = function(p) p:map("x", { processes = { n = 2, ordered = true } }, function(i)
        if i == 1 then core.sleep(0.05) end
        return i
      end) end,
      ["process_per_batch(3), ordered"] = function(p)
        p:process_per_batch({ max = 3, ordered = true }, function() p:processor("x", slow_first) end)
      end,
      ["db: processes(4), ordered"] = function(p)
        p:context("db", { processes = 4, ordered = true }):processor("x", { context = "db" }, slow_first)
      end,
    } do
      local p = source(minigun.pipeline "p", 20)
      define(p)
      assert.matches(text, tostring(p), 1, true)
      assert_ascending(p:run().items, 20)
    end
  end)

  it("R56 goes with the context when a stage is replaced", function()
    local base = source(minigun.pipeline "p", 3):map("x", { processes = 2, ordered = true }, tostring)
    assert.matches("processes%(2%), ordered", tostring(base:extend():replace("x", { retries = 1 })))
    assert.not_matches("ordered", tostring(base:extend():replace("x", { processes = 3 })))
    local without = base:extend():replace("x", { ordered = false })
    assert.matches("processes%(2%) ", tostring(without))
    assert.matches("processes%(2%), ordered", tostring(without:replace("x", { ordered = true })))
    assert.matches("threads%(3%), ordered", tostring(without:replace("x", { threads = 3, ordered = true })))
  end)

  it("R70 is refused where it says nothing", function()
    local function noop() end
    local p = minigun.pipeline "p"
    p:context("db", { processes = 2 })
    refusals.check {
      { function() p:processor("a", { context = "db", ordered = true }, noop) end, "stage 'a'", "the context 'db'" },
      { function() p:processes(2, function() p:processor("b", { ordered = true }, noop) end) end,
        "stage 'b'", "give it to the group" },
      { function() p:producer("c", { ordered = true, processes = 1 }, noop) end, "'ordered' is not for a producer" },
      { function() p:run { ordered = true } end, "'ordered' is not for a run", "belongs to a context" },
      { function() p:context("e", { ordered = true }) end, "say what it is" },
    }
  end)

  it("R31 works from pool to pool and after a producer with a child of its own", function()
    local p = minigun.pipeline "p"
    p:processes({ n = 3, ordered = true }, function()
      p:producer("numbers", function(emit)
        for i = 1, 300 do emit(i) end
      end)
      p:processor("first", { retries = 1 }, function(item, emit, ctx)
        if item % 13 == 0 and ctx.attempt == 1 then error "no" end
        emit(item)
      end)
    end)
    p:processor("second", { processes = 2, ordered = true }, function(item, emit)
      if item % 50 == 1 then core.sleep(0.005) end
      emit(item)
    end)
    p:batch(10)
    p:processor("third", { process_per_batch = 2, ordered = true }, function(batch, emit)
      for _, item in ipairs(batch) do emit(item) end
    end)
    assert_ascending(p:run().items, 300)
  end)
end)
