-- Queue limits: `queue = n` limits what waits for a stage, never what its workers have in work, whatever is before it.
local contexts = require "spec.contexts"
local minigun = require "minigun"
local support = require "spec.support"

local function pass(item, emit) emit(item) end

-- What may stand between a producer and a limited stage: `add(p)`; `passes`: so many items may have gone past the limit
-- into workers' hands and the queues there.
local BEFORE <const> = {
  { "a producer", 0, function() end },
  { "an inline stage", 2, function(p) p:processor("pass", { inline = true }, pass) end },
  { "a pool", 30, function(p) p:processor("pass", { processes = 2 }, pass) end },
  { "a pool and an inline stage", 30, function(p)
    p:processor("pass", { processes = 2 }, pass)
    p:processor("pass2", { inline = true }, pass)
  end },
  { "a group of two stages", 30, function(p)
    p:processes(2, function()
      p:processor("pass", pass)
      p:processor("pass2", pass)
    end)
  end },
  { "two pools", 60, function(p)
    p:processor("pass", { processes = 2 }, pass)
    p:processor("pass2", { processes = 2 }, pass)
  end },
  { "a pool with a limit of its own", 10, function(p)
    p:processor("pass", { processes = 2, queue = 2 }, pass)
  end },
  { "an ordered pool", 60, function(p) p:processor("pass", { processes = 2, ordered = true }, pass) end },
  { "forks", 30, function(p) p:processor("pass", { process_per_batch = { max = 2 } }, pass) end, few = true },
  { "threads", 30, function(p) p:processor("pass", { threads = 3 }, pass) end },
  { "threads and an inline stage", 30, function(p)
    p:processor("pass", { threads = 3 }, pass)
    p:processor("pass2", { inline = true }, pass)
  end },
  { "threads, an inline stage and a pool", 80, function(p)
    p:processor("pass", { threads = 3 }, pass)
    p:processor("pass2", { inline = true }, pass)
    p:processor("pass3", { processes = 2 }, pass)
  end },
  { "threads in workers", 40, function(p) p:processor("pass", { processes = 2, threads = 3 }, pass) end },
  { "batches", 30, function(p)
    p:batch(5)
    p:flat_map("parts", { inline = true }, function(batch) return batch end)
  end },
  { "a pool and batches", 60, function(p)
    p:processor("pass", { processes = 2 }, pass)
    p:batch(5)
    p:flat_map("parts", { inline = true }, function(batch) return batch end)
  end },
}

describe("a queue's limit", function()
  for _, context in ipairs(contexts.all) do
    if context.n > 1 then
      it(("R77 keeps no worker idle that could work [%s]"):format(context.name), function()
        local workers = context.workers or context.n
        local result = contexts.source(minigun.pipeline "queue", 3 * workers)
          :processor("work", contexts.options(context, { queue = 1 }), function(_, emit)
            local began = minigun.now()
            minigun.sleep(0.2 * contexts.patience)
            emit { began, minigun.now() }
          end):run()
        assert.equal(workers, contexts.most_at_once(result.items))
      end)
    end
  end

  -- How many items a producer has emitted at most that were not begun after it. The limited stage needs far more time
  -- for an item (`seconds`) than what is before it.
  local function lead(n, seconds, before, options, producer)
    local p = minigun.pipeline "queue"
    p:producer("gen", producer or {}, function(emit)
      for i = 1, n do emit { i, minigun.now() } end
    end)
    before(p)
    p:processor("slow", options, function(item, emit)
      local began = minigun.now()
      minigun.sleep(seconds * contexts.patience)
      emit { item[1], item[2], began }
    end)
    local items, begun, at, most = p:run().items, {}, 1, 0
    assert.equal(n, #items)
    table.sort(items, function(a, b) return a[1] < b[1] end)
    for i, item in ipairs(items) do begun[i] = item[3] end
    table.sort(begun)
    for i, item in ipairs(items) do
      while begun[at] and begun[at] <= item[2] do at = at + 1 end
      most = math.max(most, i - (at - 1))
    end
    return most
  end

  for _, context in ipairs { contexts.all[1], contexts.all[2], contexts.all[4], contexts.all[5] } do
    for _, before in ipairs(BEFORE) do
      it(("R59 R77 holds after %s [%s]"):format(before[1], context.name), function()
        support.deadline(120)
        local n, limit = before.few and support.short_or_long(60, 80) or 160, 3
        local most = lead(n, before.few and 0.004 or 0.001, before[3], contexts.options(context, { queue = limit }))
        -- One more than wait and are in work is in the producer's hand.
        local allowed = limit + (context.workers or context.n) + 1 + before[2]
        assert.is_true(most <= allowed, ("%d items ahead, %d at most expected"):format(most, allowed))
      end)
    end

    it(("R77 holds for a producer that has a process of its own [%s]"):format(context.name), function()
      local most = lead(160, 0.001, function() end, contexts.options(context, { queue = 3 }), { processes = 1 })
      assert.is_true(most <= 3 + (context.workers or context.n) + 3, most)
    end)
  end

  for i, before in ipairs { BEFORE[1], BEFORE[2], BEFORE[3], BEFORE[10] } do
    it(("R59 R77 holds after %s, where keys choose the worker"):format(before[1]), function()
      local options = { processes = 2, queue = 3, partition = function(item) return item[1] % 2 end }
      local most = lead(160, 0.001, before[3], options)
      assert.is_true(most <= 6 + before[2], ("%d items ahead (row %d)"):format(most, i))
    end)
  end

  it("R77 counts batches where batches wait", function()
    local emitted, most = 0, 0
    local p = minigun.pipeline "queue"
    p:producer("gen", function(emit)
      for i = 1, 2000 do
        emitted = i
        emit(i)
      end
    end)
    p:processor("pass", { processes = 2 }, pass)
    p:batch(20)
    p:processor("slow", { processes = 2, queue = 1 }, function(batch, emit)
      minigun.sleep(0.01)
      emit(#batch)
    end)
    local taken = 0
    p:consumer("take", { inline = true }, function(n)
      taken = taken + n
      most = math.max(most, emitted - taken)
    end)
    p:run()
    assert.equal(2000, taken)
    -- Two in work, two that have ended, one that waits, and one for each that sends; all of them 2,000.
    assert.is_true(most <= 20 * 12, most)
  end)

  it("R77 R46 counts what waits for its next attempt", function()
    local result = contexts.source(minigun.pipeline("queue", { failures = "collect" }), 60)
      :processor("pass", { processes = 2 }, pass)
      :processor("work", { processes = 2, queue = 1, retries = 2, backoff = 0.01 }, function(n, emit, ctx)
        if n % 3 == 0 and ctx.attempt < 3 then error "not yet" end
        emit(n)
      end):run()
    assert.equal(60, #result.items)
  end)

  it("R77 R60 holds nothing up for ever where items go in circles", function()
    for _, limit in ipairs { 1, 3 } do
      local result = minigun.pipeline "queue":producer("gen", { to = "a" }, contexts.range(1, 30))
        :processor("a", { processes = 2, queue = limit, to = "b" }, pass)
        :processor("b", { processes = 2, queue = limit }, function(n, emit)
          if n < 1000 then emit:to("a", n + 1000) else emit(n) end
        end):run()
      assert.equal(30, #result.items)
    end
  end)
end)
