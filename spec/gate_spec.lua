-- What a stage and a run may be told about time and failures: rate and delay of a stage, deadline and halt of a run,
-- and the hook on_acknowledged. The policies first, without a process; then each in every context.
local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local gate = require "minigun.policy.gate"
local halt = require "minigun.policy.halt"
local support = require "spec.support"

local options, range, sorted = contexts.options, contexts.range, contexts.sorted

describe("the policy of a gate", function()
  it("lets no more than n through in any `per` seconds", function()
    local own = gate.new({ n = 3, per = 10 }, nil)
    local dues = {}
    for i, now in ipairs { 0, 0, 5, 5, 5, 30, 30, 30, 30 } do dues[i] = own:reserve(now) end
    assert.same({ 0, 0, 5, 10, 10, 30, 30, 30, 40 }, dues)
    for i = 1, #dues - 3 do assert.is_true(dues[i + 3] - dues[i] >= 10) end
  end)

  it("lets none through before its delay, and all in their order", function()
    local own = gate.new(nil, 2)
    for i = 1, 3 do own:keep(i, own:reserve(i)) end
    assert.equal(3, own:due())
    assert.is_nil(own:next(2.9))
    assert.equal(1, own:next(4))
    assert.equal(2, own:next(4))
    assert.is_nil(own:next(4))
    assert.same({ 5, 1 }, { own:due(), own.n })
    assert.equal(3, own:next(5))
    assert.is_nil(own:due())
  end)
end)

describe("the policy of a halt", function()
  it("bears so many failures, or such a share of what is finished after the first hundred", function()
    local now, soon = { failures = 2, when = "now" }, { failures = { share = 0.05 }, when = "soon" }
    assert.same({ nil, "now" }, { halt.after(now, 2, 2), halt.after(now, 3, 3) })
    assert.is_nil(halt.after(soon, 50, 99))
    assert.is_nil(halt.after(soon, 5, 100))
    assert.equal("soon", halt.after(soon, 6, 100))
    assert.is_nil(halt.after(nil, 1000, 1000))
  end)
end)

for _, context in ipairs(contexts.all) do
  local where = " [" .. context.name .. "]"

  describe("rate and delay" .. where, function()
    it("no more than so many begin in any window, and nothing is lost", function()
      local n, per = 12, 0.1
      local result = minigun.pipeline("rate"):producer(range(1, n)):map("limited",
        options(context, { rate = { 4, per = per } }), function(i) return { i, core.now() } end):run()
      local times, seen = {}, {}
      for i, pair in ipairs(result.items) do
        seen[i], times[i] = pair[1], pair[2]
      end
      table.sort(times)
      assert.same(range(1, n), sorted(seen))
      assert.is_true(times[n] - times[1] >= 2 * per - 0.05, "it took " .. times[n] - times[1])
    end)

    it("each item waits for its delay, and the run for them", function()
      local result = minigun.pipeline("delay"):producer(function(emit)
        for i = 1, 4 do emit { i, core.now() } end
      end):map("later", options(context, { delay = 0.05 }), function(pair)
        return { pair[1], core.now() - pair[2] }
      end):run()
      assert.equal(4, #result.items)
      for _, pair in ipairs(result.items) do assert.is_true(pair[2] >= 0.049, pair[2]) end
    end)

    it("hold for futures too, and fail nothing", function()
      local pool <close> = minigun.executor(function(i) return i end, options(context, { rate = { 2, per = 0.02 } }))
      local futures = {}
      for i = 1, 6 do futures[i] = pool:submit(i) end
      for i = 1, 6 do assert.equal(i, futures[i]:result(20 * contexts.patience)) end
    end)
  end)

  describe("on_acknowledged" .. where, function()
    it("hears of each item once, when all that came of it is finished or has failed", function()
      local heard, taken = {}, {}
      local p = minigun.pipeline "jobs"
      p:producer("jobs", function(emit)
        for i = 1, 12 do emit { id = i } end
      end)
      p:processor("split", options(context), function(job, emit)
        if job.id == 5 then error("five", 0) end
        for _ = 1, job.id % 3 do emit(job.id) end
      end)
      p:batch(4, { max_wait = 0.01 })
      p:each("take", function(batch)
        for _, id in ipairs(batch) do taken[id] = (taken[id] or 0) + 1 end
      end)
      p:on_acknowledged("jobs", function(job, failure)
        assert(not heard[job.id], "twice")
        heard[job.id] = failure and failure.message or taken[job.id] or 0
      end)
      local result = p:run()
      local expected = {}
      for i = 1, 12 do expected[i] = i == 5 and "five" or i % 3 end
      assert.same(expected, heard)
      assert.equal(1, result.failed)
    end)
  end)

  describe("deadline and halt" .. where, function()
    it("a run that is late ends with an error that says so, and leaves nothing", function()
      local p = minigun.pipeline "late"
      p:producer(function(emit)
        for i = 1, 400 do emit(i) end
      end):each("slow", options(context), function() support.sleep(0.01) end)
      local start = core.now()
      local ok, message = pcall(p.run, p, { deadline = 0.1 })
      assert.is_false(ok)
      assert.matches("has not ended within its deadline of 0%.1 s", message)
      assert.is_true(core.now() - start < 2 * contexts.patience)
      assert.is_true(p.last.killed)
      assert.matches("killed: ", table.concat(p.last.stats.warnings, "\n"))
    end)

    it("too many failures end it, now or soon", function()
      for _, when in ipairs { "now", "soon" } do
        local p = minigun.pipeline "halted"
        p:producer(function(emit)
          for i = 1, 5000 do emit(i) end
        end):each("fails", options(context, { queue = 4 }), function() error("no", 0) end)
        local result = p:run { failures = "collect", halt = { failures = 3, when = when } }
        assert.is_true(result.failed > 3 and result.failed < 3000, result.failed)
        assert.matches("the run was ended, as 4 items have failed", table.concat(result.stats.warnings, "\n"))
      end
    end)
  end)
end

describe("cancel", function()
  it("takes out an item that waits at the gate of the first stage, or, with kill, for its next attempt", function()
    for _, context in ipairs(contexts.kinds) do
      local pool <close> = minigun.executor(function(n) return n end, options(context, { delay = 60 }))
      local future = pool:submit(1)
      pool:step(0.02)
      assert.is_true(future:cancel(), context.name)
      local own <close> = minigun.executor(function() error("again", 0) end,
        options(context, { retries = 1, backoff = 60 }))
      future = own:submit(1)
      own:step(0.1)
      assert.is_true(support.wait_until(function()
        own:step(0.01)
        return not future:cancel() and future:cancel { kill = true }
      end, 10), context.name)
      for _, each in ipairs { pool, own } do
        local status
        support.wait_until(function() -- until the end of a worker that was killed has been seen
          each:step(0.02)
          status = each:status()
          return status.begun == 0
        end, 10)
        assert.same({ 0, 0, 0 }, { status.waiting, status.begun, status.failed })
      end
    end
  end)
end)

describe("on_acknowledged", function()
  it("hears of items of a run with a journal, once each, and of none that an earlier run has finished", function()
    local path, heard, fails = os.tmpname(), {}, true
    os.remove(path)
    local function run()
      local p = minigun.pipeline("journaled"):producer("jobs", range(1, 6)):map("work", { processes = 2 }, function(n)
        return n
      end):each("take", function(n)
        if fails and n == 4 then error("four", 0) end
      end):on_acknowledged(function(n, failure) heard[#heard + 1] = failure and -n or n end)
      return p:run { journal = path }
    end
    run()
    assert.same({ -4, 1, 2, 3, 5, 6 }, sorted(heard))
    heard, fails = {}, false
    run()
    os.remove(path)
    assert.same({}, heard)
  end)

  it("is for producers that run in the coordinator", function()
    local p = minigun.pipeline("x"):producer("p", { processes = 1 }, function(emit) emit(1) end):each(print)
    p:on_acknowledged("p", print)
    assert.has_error(function() p:run() end)
    assert.has_error(function()
      minigun.pipeline("x"):producer { 1 }:each("e", print):on_acknowledged("e", print):run()
    end)
    assert.has_error(function() minigun.pipeline("x"):on_acknowledged(1) end)
  end)

  it("an error in it fails the run, with its line", function()
    local p = minigun.pipeline("x"):producer("p", { 1 }):each(function() end)
    p:on_acknowledged(function() error "mine" end)
    local ok, message = pcall(p.run, p)
    assert.is_false(ok)
    assert.matches("gate_spec%.lua:%d+: mine", message)
  end)
end)

describe("the options", function()
  it("refuse what they are not", function()
    local function stage(given)
      return function() minigun.pipeline("x"):map("m", given, function(n) return n end) end
    end
    for _, rate in ipairs { 0, -1, "x", { 1.5 }, { 2, per = 0 }, { 2, pre = 1 } } do
      assert.has_error(stage { rate = rate })
    end
    assert.has_error(stage { delay = -1 })
    assert.has_no.errors(stage { rate = 0.5, delay = 0 })
    for _, given in ipairs { { failures = -1 }, { failures = "x%" }, { when = "now" },
      { failures = 1, when = "later" } } do
      assert.has_error(function() minigun.pipeline("x", { halt = given }) end)
    end
    assert.has_error(function() minigun.pipeline("x", { deadline = 0 }) end)
    assert.has_error(function() minigun.executor(print, { deadline = 1 }) end)
  end)
end)
