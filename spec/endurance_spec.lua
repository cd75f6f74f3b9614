-- Long runs: what a run keeps does not grow with how long it is (R82).
local contexts = require "spec.contexts"
local minigun = require "minigun"
local support = require "spec.support"

local options = contexts.options

local function new(given) return minigun.pipeline("endurance", given) end

local function numbers(n)
  return function(emit)
    for i = 1, n do emit(i) end
  end
end

-- KiB of Lua's memory that are in use.
local function in_use()
  collectgarbage()
  collectgarbage()
  return collectgarbage "count"
end

-- What may hand an item over each time the coordinator is woken, or look at the clock without end, shows only here.
describe("a run that waits", function()
  local WAITS = {
    ["for a worker, with a deadline"] = function(p, seconds)
      p:each("work", { processes = 2, timeout = 60 }, function() support.sleep(seconds) end)
    end,
    ["for a fork"] = function(p, seconds)
      p:each("work", { process_per_batch = 1 }, function() support.sleep(seconds) end)
    end,
    ["for a thread"] = function(p, seconds)
      p:each("work", { threads = 2 }, function() minigun.sleep(seconds) end)
    end,
    ["for a full queue"] = function(p, seconds)
      p:each("work", { processes = 1, queue = 1 }, function() support.sleep(seconds / 3) end)
    end,
    ["for a further attempt"] = function(p, seconds)
      p:processor("work", { inline = true, retries = 1, backoff = seconds }, function(_, _, ctx)
        if ctx.attempt == 1 then error "once" end
      end)
    end,
    ["for a batch"] = function(p, seconds)
      p:accumulator("work", { max_wait = seconds }, function() end)
      p:each("slow", { processes = 1, from = "gen" }, function() support.sleep(seconds) end)
    end,
  }

  for name, define in pairs(WAITS) do
    it("costs next to nothing: " .. name, function()
      local p = new():producer("gen", numbers(3))
      define(p, 0.4 * support.patience)
      local from, cpu = support.now(), os.clock()
      p:run()
      local seconds = support.now() - from
      cpu = os.clock() - cpu
      -- A loop that never sleeps takes all that it gets; here it is some ms, and the forks.
      assert.is_true(cpu < 0.15 * seconds, ("%g s of processor time in %g s"):format(cpu, seconds))
    end)
  end
end)

describe("a long run", function()
  for _, context in ipairs(contexts.kinds) do
    it("R82 keeps the first failures, hears of all and counts all [" .. context.name .. "]", function()
      support.deadline(120)
      local few, many = 600, support.short_or_long(2500, 300000)
      if context.per_item then few, many = 60, support.short_or_long(160, 4000) end
      local heard, letters, waiting, before, after = 0, 0, nil, nil, nil
      local p = new { keep_failures = 40 }
        :producer("gen", numbers(many))
        :processor("work", options(context, { to = {}, dead_letter = "letters" }), function(x) error("no " .. x) end)
        :consumer("letters", { await = true }, function() letters = letters + 1 end)
        :on_failure(function()
          heard = heard + 1
          if heard == few then before = in_use() end
          if heard == many then after, waiting = in_use(), many - letters end
        end)
      local result = p:run { failures = "collect" }
      assert.same({ many, many, many, many }, { heard, letters, result.failed, result.stats.stages.work.failed })
      assert.equal(40, #result.failures)
      assert.is_false(result.ok)
      assert.is_truthy(tostring(result):find(many .. " failed", 1, true))
      -- Each failure that is kept takes 700 bytes, each worker's record 450, and a letter that still waits 700.
      local grown = (after - before) * 1024 - 700 * waiting
      assert.is_true(grown < (many - few) * (context.per_item and 200 or 40), grown .. " bytes more")
    end)
  end

  it("R82 raises with the true count, whatever is kept", function()
    local p = new { keep_failures = 2 }:producer("gen", numbers(2500)):each("work", function(x)
      if x % 2 == 0 then error("even " .. x, 0) end
    end):each("more", { processes = 1 }, function(x) if x % 625 == 0 then error "never" end end)
    local ok, message = pcall(p.run, p)
    assert.is_false(ok)
    assert.is_truthy(message:find("^even 2\n"), message)
    assert.is_truthy(message:find "and 1249 more failures: 1249 of kind error in stage 'work'", message)
    assert.same({ 2, 1250 }, { #p.last.failures, p.last.failed })
    assert.has_error(function() p:run { keep_failures = 0 } end)
    assert.same({ 0, 1250 }, { #p.last.failures, p.last.failed })
    local background = p:start { failures = "collect", keep_failures = 1 }
    background:wait()
    assert.equal(1250, background:status().failed)
    assert.is_truthy(tostring(background):find "1250 failed")
  end)

  for _, context in ipairs(contexts.forked) do
    it("R82 has one record for each worker's slot, however many processes fill it" .. " [" .. context.name .. "]",
      function()
        local deaths = context.per_item and 0 or 6
        local result = new():producer("gen", numbers(60)):processor("work", options(context, { retries = 9 }),
          function(x, emit, ctx)
            if deaths > 0 and x % 10 == 0 and ctx.attempt == 1 then os.exit(3) end
            emit(x)
          end):run { max_restarts = 100 }
        assert.same(contexts.range(1, 60), contexts.sorted(result.items))
        local workers = result.stats.workers
        assert.is_true(#workers <= context.n)
        local died, items = 0, 0
        for _, worker in ipairs(workers) do died, items = died + worker.died, items + worker.items end
        assert.equal(deaths, died)
        assert.equal(context.per_item and 60 or context.n + deaths, contexts.forks(result))
        assert.is_true(items >= 60 and items <= 60 + deaths)
      end)
  end

  it("R82 keeps the first warnings and says how many more there were", function()
    local path = os.tmpname()
    local spool = assert(minigun.spool(path))
    local p = new():producer("gen", numbers(350)):each("work", { dead_letter = spool }, function() error "no" end)
      :before_run(function() spool:close() end)
    os.remove(path)
    local result = p:run { failures = "collect" }
    local warnings = result.stats.warnings
    assert.same({ 350, 101 }, { result.failed, #warnings })
    assert.is_truthy(warnings[1]:find "^stage 'work': a dead letter")
    assert.is_truthy(warnings[101]:find "^and 250 more warnings, the last: stage 'work': a dead letter", warnings[101])
  end)
end)
