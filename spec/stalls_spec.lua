-- No sleep is without something that will end it: a run that nothing can move any more fails and says what it has, and
-- where less memory can be had than was asked for the limit follows.
local contexts = require "spec.contexts"
local core = require "minigun.core"
local minigun = require "minigun"
local support = require "spec.support"

describe("a run that nothing can move any more", function()
  local open = core.pool

  after_each(function() core.pool = open end)

  for _, context in ipairs(contexts.forked) do
    it("R60 fails, and says what it has and what it waits for [" .. context.name .. "]", function()
      support.deadline(30)
      function core.pool(slots, _, ...) return open(slots, 4 << 20, ...) end
      local p = minigun.pipeline("stalled"):producer { 1, 2, 3 }
        :processor("work", contexts.options(context), function(_, emit) emit(("x"):rep(8 << 20)) end)
      local ok, message = pcall(p.run, p)
      assert.is_false(ok)
      local said = "'work' has %d+ in its queue and [1-9]%d* in hand, and waits for a block of %d+ bytes"
      assert.is_truthy(message:find("^the run stands still, and nothing is left that could move it: " .. said), message)
    end)
  end

  it("R60 does not take a wait for one: a slow worker, a thread and a producer that wait for a program", function()
    local p = minigun.pipeline "patient"
    p:producer("gen", { processes = 1, to = "work" }, function(emit)
      support.sleep(0.7)
      emit(1)
    end)
    p:producer("pipe", { to = "wait" }, function(emit)
      for line in minigun.lines(assert(io.popen "sleep 0.7; echo one")) do emit(line) end
    end)
    p:processor("work", { processes = 1 }, function(x, emit)
      support.sleep(0.7)
      emit(x)
    end)
    p:processor("wait", { threads = 2, from = "pipe" }, function(x, emit)
      local program = io.popen "sleep 0.7; echo two"
      minigun.wait(program)
      program:close()
      emit(x)
    end)
    assert.same({ 1, "one" }, (function(items)
      table.sort(items, function(a) return a == 1 end)
      return items
    end)(p:run().items))
  end)
end)

-- Each prints "ok" when all has come.
local PROGRAMS = {
  ["large items that one call emits"] = [[
    local p = minigun.pipeline "h"
    p:producer(given):flat_map("w", { processes = 2 }, function(n)
      local list = {}
      for i = 1, 40 do list[i] = ("x"):rep(700000 + n) end
      return list
    end)
    local n = 0
    p:each("see", { inline = true }, function(s) n = n + 1 end)
    p:run()
    print(n == 80 and "ok" or n)]],
  ["batches of large items through pools"] = [[
    local p = minigun.pipeline "h"
    p:producer(given):flat_map("w", { processes = 1 }, function(n)
      local list = {}
      for i = 1, 60 do list[i] = ("x"):rep(300000) end
      return list
    end):batch(10):map("count", { processes = 2 }, function(batch) return #batch end)
    local sum = 0
    for _, n in ipairs(p:run().items) do sum = sum + n end
    print(sum == 120 and "ok" or sum)]],
  ["forks"] = [[
    local p = minigun.pipeline "h"
    p:producer(given):map("w", { process_per_batch = 2 }, function(n) return ("x"):rep(3000000) end)
      :map("length", { processes = 1 }, function(s) return #s end)
    local items = p:run().items
    print(items[1] == 3000000 and items[2] == 3000000 and "ok" or #items)]],
}

describe("large items between workers, the coordinator and threads", function()
  for name, options in pairs {
    ["none"] = { {}, {} }, ["one of the threads"] = { {}, { queue = 1 } },
    ["one of each"] = { { queue = 2 }, { queue = 3 } },
  } do
    it("R60 all arrive, where what is before the threads fills its queue: with limits of queues, " .. name, function()
      support.deadline(30)
      local p = minigun.pipeline("large", { memory = 1 << 21 }):producer(contexts.range(1, 40))
      p:map("grow", { processes = 2 }, function(i) return { i, ("x"):rep(150000) } end)
      p:processor("deal", options[1], function(x, emit) emit(x) end)
      options[2].threads = 1
      p:processor("think", options[2], function(x, emit)
        minigun.sleep(0.001)
        emit(x)
      end)
      p:map("number", function(x) return x[1] end)
      assert.same(contexts.range(1, 40), contexts.sorted(p:run().items))
    end)
  end

  it("R60 all arrive, where the workers after it wait for the threads after them", function()
    support.deadline(30)
    local p = minigun.pipeline("large", { memory = 1 << 21 }):producer(minigun.range(1, 40))
    p:processor("grow", { threads = 1, queue = 5 }, function(i, emit)
      emit { i, ("x"):rep(150000) }
      for _ = 1, 2 do emit { i, "" } end
    end)
    p:processor("deal", function(x, emit) emit(x) end)
    p:processor("double", { processes = 1 }, function(x, emit) for _ = 1, 2 do emit(x) end end)
    p:processor("think", { threads = 1, queue = 1 }, function(x, emit)
      minigun.sleep(0.001)
      emit(x[1])
    end)
    local counts = contexts.counts(p:run().items)
    for i = 1, 40 do assert.equal(6, counts[i]) end
  end)
end)

describe("under a limit of the address space", function()
  for name, source in pairs(PROGRAMS) do
    it("R60 the limit of memory follows what can be had: " .. name, function()
      if support.under then return pending "a sanitizer needs the address space itself" end
      support.deadline(100)
      for _, kib in ipairs(support.short_or_long({ 200000, 60000, 25000 }, { 700000, 200000, 60000, 25000 })) do
        local done = support.run_lua(("local minigun, given = require 'minigun', { 1, 2 }\n%s"):format(source),
          { timeout = 40, limit = kib })
        local said = ("%d KiB: %s%s"):format(kib, done.stdout, done.stderr)
        assert.is_false(done.timed_out, said)
        if kib >= 200000 then assert.equal("ok\n", done.stdout, said) end
        assert.is_truthy(done.stdout == "ok\n" or done.stderr:find "memory", said)
        assert.is_nil(done.stderr:find "attempt to", said)
      end
    end)
  end
end)
