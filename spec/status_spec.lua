-- The snapshot of a run: run:status(), result:summary(), result.stats; and the decisions in it.
local ages = require "minigun.policy.ages"
local bottleneck = require "minigun.policy.bottleneck"
local core = require "minigun.core"
local minigun = require "minigun"
local recent = require "minigun.policy.recent"
local stats = require "minigun.base.stats"
local support = require "spec.support"

-- Asserts that a value is made of plain tables, numbers, strings and booleans; `known`: a metatable that they may have.
local function assert_plain(value, path, known)
  if type(value) == "table" then
    local meta = getmetatable(value)
    assert.is_true(meta == nil or meta == known, path)
    for key, each in next, value do assert_plain(each, ("%s.%s"):format(path, key), known) end
  else
    assert.is_truthy(({ number = true, string = true, boolean = true })[type(value)], path .. ": " .. type(value))
  end
end

local function row_of(snapshot, name)
  for _, row in ipairs(snapshot.stages) do
    if row.name == name then return row end
  end
end

local function names_of(rows)
  local names = {}
  for i, row in ipairs(rows) do names[i] = row.name end
  return table.concat(names, " ")
end

local function all_kinds()
  local p = minigun.pipeline "all"
  p:producer("list", { 1, 2, 3, 4, 5, 6, 7, 8 })
  p:map("double", { processes = 2, queue = 5 }, function(n) return 2 * n end)
  p:batch("some", 2)
  p:processor("each", { threads = 2 }, function(batch, emit, ctx)
    ctx:count("batches")
    ctx:collect("sizes", #batch)
    for _, n in ipairs(batch) do emit(n) end
  end)
  p:accumulator("handled", { max_size = 3, processes = 1 }, function(batch, emit) emit(#batch) end)
  p:consumer("odd", { inline = true, dead_letter = "dead" }, function(n) if n == 2 then error "two" end end)
  p:each("dead", { await = true, inline = true }, function() end)
  return p
end

describe("a run in numbers", function()
  it("is plain, in order, the same at the end from the run and from its result", function()
    local run = all_kinds():start()
    assert_plain(run:status(), "begin")
    local result = run:wait()
    local status, summary = run:status(), result:summary()
    assert.same(status, summary)
    assert_plain(summary, "summary")
    assert_plain(result.stats, "stats", stats.Record)
    assert.same(result.stats, minigun.decode(minigun.encode(result.stats)))
    assert.same(summary, minigun.decode(minigun.encode(summary)))
    assert.equal("list double some each handled odd dead", names_of(summary.stages))
    assert.same(result.stats.order, { "list", "double", "some", "each", "handled", "odd", "dead" })
  end)

  it("says of each stage what it is, where it runs, and what it has done", function()
    local summary = all_kinds():run():summary()
    local said = {}
    for i, row in ipairs(summary.stages) do
      said[i] = table.concat({ row.name, row.kind, row.context, row.workers, row.items_in, row.items_out, row.failed },
        " ")
    end
    assert.same({ "list producer inline 1 0 8 0", "double map processes(2) 2 8 8 0", "some batch inline 1 8 4 0",
      "each processor threads(2) 2 4 8 0", "handled accumulator processes(1) 1 8 3 0", "odd consumer inline 1 3 0 1",
      "dead each inline 1 1 0 0" }, said)
    assert.same({ true, 5, true, true }, { summary.stages[1].source, summary.stages[2].queue,
      summary.stages[3].gathers, summary.stages[6].terminal })
    assert.is_nil(summary.stages[5].gathers)
    assert.matches("status_spec.lua:%d+$", summary.stages[2].at)
    assert.same({ 2, 3 }, { summary.stages[3].max_size, summary.stages[5].max_size })
    local edges = {}
    for i, edge in ipairs(summary.edges) do edges[i] = ("%s %s %s"):format(edge.from, edge.to, edge.kind) end
    assert.same({ "list double bytes", "double some bytes", "some each value", "each handled value",
      "handled odd bytes", "odd dead dead_letter" }, edges)
    assert.same({ 8, 4, 1, 4, "failed" }, { summary.produced, summary.consumed, summary.failed,
      summary.counters.batches, summary.state })
    assert.equal(4, summary.collected.sizes)
    assert.matches("^%d+%-%d+%-%d+$", summary.id)
    local failure = summary.failures[1]
    assert.same({ "odd", "2", "error", 1 }, { failure.stage, failure.item, failure.kind, failure.attempts })
  end)

  it("tells while a run goes on what is where, how fast it goes now, and what each worker is at", function()
    support.deadline(60)
    local list = {}
    for i = 1, 300 do list[i] = i end
    local p = minigun.pipeline("live"):producer("list", list)
    p:map("slow", { processes = 2 }, function(n)
      core.sleep(0.004)
      return n
    end)
    local run <close> = p:start()
    local status
    repeat
      assert.is_true(run:step(0.05))
      status = run:status()
    until status.items > 40 and status.workers[1].cpu
    local slow, worker = row_of(status, "slow"), status.workers[1]
    assert.same({ 300, "running", "slow", 2 }, { status.total, status.state, status.bottleneck, status.alive })
    assert.is_true(status.part > 0.1 and status.part < 1 and status.left > 0)
    assert.equal(slow.items_in - slow.items_out, slow.pending)
    assert.is_true(slow.rate > 0 and slow.mean > 0 and slow.busy_share > 0.5 and slow.p50 >= 0.003)
    assert.is_true(slow.p50 <= slow.p90 and slow.p90 <= slow.p95 and slow.p95 <= slow.p99)
    assert.equal("working", slow.state)
    assert.equal("done", row_of(status, "list").state)
    assert.same({ "slow", 1, "working", "slow", 0 }, { worker.segment, worker.worker, worker.state, worker.stage,
      worker.restarts })
    assert.is_true(worker.item >= 1 and worker.item <= 300 and worker.in_hand >= 1 and worker.age > 0)
    assert.is_true(worker.held >= 0 and slow.oldest >= worker.held and slow.oldest < worker.age)
    assert.is_true(worker.memory > 100000 and worker.cpu >= 0 and worker.cpu <= 2)
    run:wait()
    assert.equal(0, run:status().alive)
  end)

  it("tells of an item that hangs for how long it has been where it is, and of what waits for a batch", function()
    support.deadline(60)
    local p = minigun.pipeline("hangs"):producer("list", { 1, 2, 3, 4, 5, 6, 7 })
    p:map("work", { processes = 2 }, function(n)
      while n == 3 do core.sleep(1) end
      return n
    end)
    p:batch("some", { max_size = 10 })
    local run <close> = p:start()
    local status
    repeat
      assert.is_true(run:step(0.1))
      status = run:status()
    until (row_of(status, "work").oldest or 0) > 0.5 and (row_of(status, "some").oldest or 0) > 0.5
    local held = {}
    for i, worker in ipairs(status.workers) do held[i] = worker.held or 0 end
    assert.is_true(math.max(held[1], held[2]) > 0.5 and math.min(held[1], held[2]) == 0)
    assert.is_nil(row_of(status, "list").oldest)
    run:kill()
    assert.is_nil(row_of(run:status(), "work").oldest)
  end)

  it("knows what emit:to has sent where no edge leads", function()
    for _, context in ipairs { { inline = true }, { threads = 2 }, { processes = 2 }, { process_per_batch = 2 },
      { processes = { n = 2, ordered = true } }, { processes = 2, retries = 1 } } do
      local p = minigun.pipeline("sends"):producer("list", { 1, 2, 3 })
      context.to = { "next" }
      p:processor("here", context, function(n, emit) emit(n) if n == 2 then emit:to("far", n) end end)
      p:each("next", { inline = true }, function() end)
      p:each("far", { await = true, inline = true }, function() end)
      local edges = {}
      for _, edge in ipairs(p:run():summary().edges) do
        if edge.kind == "sent" then edges[#edges + 1] = edge.from .. " " .. edge.to end
      end
      assert.same({ "here far" }, edges)
    end
  end)

  it("draws what a group has sent from the last of its stages, and nothing twice", function()
    local p = minigun.pipeline("group"):producer("list", { 1, 2, 3, 4 })
    p:processes(2, function()
      p:processor("first", function(n, emit) emit(n) emit:to("far", n) end)
      p:processor("last", function(n, emit) emit:to("far", n) emit:to("next", n) emit(n) end)
    end)
    p:each("next", { inline = true }, function() end)
    p:each("far", { await = true, processes = 1 }, function() end)
    local edges = {}
    for i, edge in ipairs(p:run():summary().edges) do edges[i] = ("%s %s %s"):format(edge.from, edge.to, edge.kind) end
    table.sort(edges)
    assert.same({ "first last value", "last far sent", "last next bytes", "list first bytes" }, edges)
  end)

  it("says what was asked for of a stage", function()
    local p = minigun.pipeline("asked"):producer("list", { 1 })
    p:map("work", { processes = 2, ordered = true, retries = 3, timeout = 7 }, function(n) return n end)
    p:before("work", function() end):after("work", function() end)
    local work = row_of(p:run():summary(), "work")
    assert.same({ 3, 7, true, { "after", "before" } }, { work.retries, work.timeout, work.ordered, work.hooks })
  end)

  it("counts the handler's time of a stage in the coordinator, too", function()
    local summary = minigun.pipeline("inline"):producer("list", { 1, 2, 3, 4 })
      :each("work", { inline = true }, function() core.sleep(0.01) end):run():summary()
    local work = row_of(summary, "work")
    assert.is_true(work.busy >= 0.04 and work.p50 >= 0.009 and work.observed == 4)
    assert.equal("work", summary.bottleneck)
  end)

  it("has the last hundred failures, in words", function()
    local list = {}
    for i = 1, 250 do list[i] = i end
    local summary = minigun.pipeline("fails", { failures = "collect" }):producer(list)
      :each("work", { inline = true }, function(n) error("no " .. n, 0) end):run():summary()
    assert.same({ 100, "no 151", "no 250", 250 }, { #summary.failures, summary.failures[1].message,
      summary.failures[100].message, summary.failed })
  end)
end)

describe("the bottleneck", function()
  local function row(name, share, more)
    more = more or {}
    more.name, more.busy_share = name, share
    return more
  end

  it("is the stage that works most, and more than it waits", function()
    assert.equal("b", bottleneck.of { row("a", 0.6), row("b", 0.9), row("c", 0.2) })
    assert.is_nil(bottleneck.of { row("a", 0.3), row("b", 0.45) })
    assert.is_nil(bottleneck.of {})
    assert.equal("a", bottleneck.of { row("a", 1), row("b", 1) })
  end)

  it("is never a source, nor a batch without a handler", function()
    assert.equal("c", bottleneck.of { row("a", 1, { source = true }), row("b", 1, { gathers = true }), row("c", 0.5) })
  end)
end)

describe("how long something is where it is", function()
  it("begins anew with each thing", function()
    local own = ages.new()
    local said = {}
    for i, thing in ipairs { "a", "a", "b", "b", "a" } do said[i] = own:look("place", thing, i * 10) end
    assert.same({ 0, 10, 0, 10, 0 }, said)
  end)

  it("is known of the first of a queue, and never too long, whenever one has looked", function()
    local random = math.random
    for _ = 1, 100 do
      local own, came, left, times, far = ages.new(), 0, 0, {}, random(1, 4)
      for now = 1, 500 do
        for _ = 1, random(0, 3) do came, times[came + 1] = came + 1, now end
        left = math.min(came, left + random(0, far))
        if random(3) == 1 or now == 500 then
          local age, real = own:oldest("queue", came, left, now), left < came and now - times[left + 1] or nil
          assert.equal(real ~= nil, age ~= nil)
          assert.is_true(not real or age <= real and age >= 0)
        end
      end
      assert.is_true(#own.notes.queue <= 33)
    end
  end)

  it("is exact where one looks often and few wait", function()
    local own = ages.new()
    local said = {}
    for now = 1, 10 do said[now] = own:oldest("queue", now, math.max(0, now - 3), now) end
    assert.same({ 0, 1, 2, 2, 2, 2, 2, 2, 2, 2 }, said)
    assert.is_nil(own:oldest("queue", 10, 10, 11))
  end)
end)

describe("counts of the last seconds", function()
  it("are compared with those of two seconds before, or with the begin", function()
    local notes = recent.new(10)
    local seconds, earlier = notes:look(10.5, { n = 5 })
    assert.same({ 0.5, {} }, { seconds, earlier })
    for i = 6, 40 do seconds, earlier = notes:look(10 + i / 10, { n = i }) end
    assert.is_true(seconds >= 2 and seconds < 2.4, seconds)
    assert.is_true(math.abs(earlier.n - (40 - seconds * 10)) < 0.01)
  end)

  it("are few, however often one looks", function()
    local notes = recent.new(0)
    for i = 1, 100000 do notes:look(i / 10000, { n = i }) end
    assert.is_true(#notes.notes <= 12, #notes.notes)
  end)
end)
