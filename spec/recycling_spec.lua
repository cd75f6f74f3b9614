-- Workers that are recycled, ended when idle, begun on demand and limited: the policy without a process, then each
-- option in runs and executors.
local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local seats = require "minigun.policy.seats"
local support = require "spec.support"

local patience = 20 * contexts.patience

describe("the policy of seats", function()
  local function slot(since, idle_since, hands, ends)
    return { pid = 1, since = since, idle_since = idle_since, hands = hands or 0, ends = ends or false }
  end

  it("is none where nothing is asked", function() assert.is_nil(seats.new {}) end)

  it("ends those that have been idle for so long, and says when the next may be", function()
    local policy = seats.new { idle_timeout = 10 }
    local slots = { slot(0, 0), slot(0, 5), slot(0, 0, 1), slot(0, 0, 0, true), { idle_since = 0, hands = 0 } }
    local ended, due = policy:idle(slots, 10)
    assert.same({ slots[1] }, ended)
    assert.equal(15, due)
    assert.same({ {}, nil }, { policy:idle({ slots[3] }, 100) })
    assert.same({ {} }, { seats.new({ max_age = 1 }):idle(slots, 100) })
  end)

  it("replaces the oldest of those that are too old", function()
    local policy = seats.new { max_age = 10 }
    local slots = { slot(5, 0), slot(3, 0), slot(0, 0, 0, true), slot(12, 0) }
    assert.same({ nil, 13 }, { policy:old({ slots[2] }, 12) })
    assert.equal(slots[2], (policy:old(slots, 16)))
    assert.is_nil((policy:old({ slots[4] }, 16)))
  end)

  it("replaces one that is too large, and asks once a second, and not after a rest", function()
    local asked, policy = 0, seats.new { max_memory = 100 }
    local function memory_of() asked = asked + 1 return 50 + 30 * asked end
    local own = slot(0, 1)
    local function ask(now)
      local found, due = policy:old({ own }, now, memory_of)
      return { found == own, due or false, asked }
    end
    assert.same({ false, false, 1 }, ask(2))
    own.idle_since = 2.5
    assert.same({ false, 3, 1 }, ask(2.6))
    assert.same({ true, false, 2 }, ask(3))
    assert.same({ false, false, 2 }, ask(3.5))
  end)
end)

-- Where the options may stand: an executor, a stage of a run.
local function pid() return core.pid() end

-- The processes that have worked, in their order.
local function pids_of(options, seconds, f, enough)
  local pool <close> = minigun.executor(f or pid, options)
  local seen, list, deadline = {}, {}, core.now() + seconds
  repeat
    local own = pool:call(1, patience)
    if not seen[own] then list[#list + 1] = own end
    seen[own] = true
  until core.now() > deadline or enough and #list >= enough
  return list
end

for _, threads in ipairs { false, 2 } do
  describe("workers" .. (threads and " with threads" or ""), function()
    local function with(processes) return { processes = processes, threads = threads or nil } end

    it("max_age: are replaced one at a time, and nothing is lost", function()
      local most = 0
      local pool <close> = minigun.executor(pid, with { n = 2, max_age = 0.05 })
      local seen, n, deadline = {}, 0, core.now() + 0.3
      repeat
        core.sleep(0.001)
        local own = pool:call(1, patience)
        most = math.max(most, #support.children())
        if not seen[own] then seen[own], n = true, n + 1 end
      until core.now() > deadline and n >= 4
      assert.is_true(most <= 3, most .. " at once")
      assert.equal(0, pool:status().failed)
    end)

    it("max_age: the next one is ready before the old one ends", function()
      local p = minigun.pipeline "ready"
      p:map("slow to start", with { n = 1, max_age = 0.1 }, function(n) return { n, core.now() } end)
      p:before("slow to start", function() core.sleep(0.2) end)
      local pool <close> = p:open()
      local last, gap = nil, 0
      for i = 1, math.huge do
        local at = pool:call(i, patience)[1][2]
        if last then gap = math.max(gap, at - last) end
        last = at
        if i > 20 and pool.run.places.list[1].processes.spawned >= 3 then break end
        support.sleep(0.005)
      end
      assert.is_true(gap < 0.15, ("nothing was done for %.3f s"):format(gap))
    end)

    it("max_memory: one that has grown is replaced", function()
      if support.under then return pending "memory is what that build makes of it" end
      local list = pids_of(with { n = 1, max_memory = "32M" }, patience, function()
        _G.kept = _G.kept or ("x"):rep(40 << 20)
        support.sleep(0.01)
        return core.pid()
      end, 2)
      assert.is_true(#list >= 2, #list .. " processes")
    end)

    it("idle_timeout and lazy: there are workers while there is work", function()
      local pool <close> = minigun.executor(pid, with { n = 2, idle_timeout = 0.05, lazy = true })
      assert.equal(0, #support.children())
      local first = pool:call(1, patience)
      assert.is_true(support.wait_until(function()
        pool:step(0.01)
        return #support.children() == 0
      end, patience))
      assert.are_not.equal(first, pool:call(1, patience))
    end)

    for _, limit in ipairs { "idle_timeout", "max_age" } do
      it(limit .. ": a worker's loops end before it, so that nothing that they keep is lost", function()
        local seen, stop = 0, false
        local p = minigun.pipeline "loops":producer(function(emit)
          while not stop do
            seen = seen + 1
            emit(seen)
            minigun.sleep(seen % 10 == 0 and 0.1 or 0.002)
          end
        end)
        p:processes({ n = 2, [limit] = 0.05 }, function()
          p:processor("first", { threads = threads or nil }, function(n, emit) emit(n) end)
          for _, name in ipairs { "once", "twice" } do
            p:stage(name, function(input, emit)
              local kept = {}
              for n in input do kept[#kept + 1] = n end
              for _, n in ipairs(kept) do emit(n) end
            end)
          end
        end)
        local deaths, deadline = 0, core.now() + patience
        p:on_worker_exit(function()
          deaths = deaths + 1
          stop = deaths >= 3 or core.now() > deadline
        end)
        local result = p:run()
        assert.same(contexts.range(1, seen), contexts.sorted(result.items))
        assert.same({}, result.stats.warnings)
        assert.is_true(deaths >= 3, deaths .. " workers have ended")
      end)
    end

    it("memory_limit: an allocation beyond it fails with its item, and the worker goes on", function()
      if support.under then return pending "memory is what that build makes of it" end
      local pool <close> = minigun.executor(function(n) return #("x"):rep(n) end, with { n = 1, memory_limit = "32M" })
      assert.equal(1000, pool:call(1000, patience))
      local ok, record = pcall(pool.call, pool, 256 << 20)
      assert.is_false(ok)
      assert.equal("error", record.kind)
      assert.matches("not enough memory", record.message)
      assert.equal(1000, pool:call(1000, patience))
    end)

    it("nice and affinity: each worker steps back, and has a processor of its own if there are enough", function()
      local function about()
        local stat, status = assert(io.open "/proc/self/stat"), assert(io.open "/proc/self/status")
        local nice, fields = nil, 0
        for word in stat:read("a"):match("%) (.*)"):gmatch "%S+" do
          fields = fields + 1
          if fields == 17 then nice = tonumber(word) end
        end
        local cpus = status:read("a"):match "Cpus_allowed_list:%s*(%S+)"
        stat:close()
        status:close()
        return { nice, cpus, core.cpus() }
      end
      local before, n = about(), core.cpus()
      for workers = 1, n + 1, n do
        local pool <close> = minigun.executor(about, with { n = workers, nice = 3, affinity = true })
        local got = pool:call(1, patience)
        assert.equal(before[1] + 3, got[1])
        if workers <= n then assert.equal(1, got[3]) else assert.equal(before[2], got[2]) end
      end
    end)
  end)
end

describe("the options of workers", function()
  it("are those of a run's stages and groups too, and of forks per batch as far as they have a meaning", function()
    local p = minigun.pipeline "run"
    p:producer(contexts.range(1, 60))
    p:map("a", { processes = { n = 2, max_age = 0.02, lazy = true, nice = 1 } }, function(n)
      support.sleep(0.002)
      return n
    end)
    p:map("b", { process_per_batch = { max = 2, memory_limit = "64M", nice = 1 } }, function(n) return n end)
    local result = p:run()
    assert.same(contexts.range(1, 60), contexts.sorted(result.items))
    assert.is_true(result.ok)
    assert.has_error(function()
      minigun.pipeline("x"):map({ process_per_batch = { max = 2, max_age = 1 } }, pid)
    end)
    assert.has_error(function() minigun.pipeline("x"):map({ threads = { n = 2, nice = 1 } }, pid) end)
    assert.has_error(function() minigun.pipeline("x"):map({ processes = { n = 2, nice = -1 } }, pid) end)
  end)

  it("each worker keeps the items of its keys", function()
    local p = minigun.pipeline "keys"
    p:map("keyed", { processes = { n = 2, max_age = 0.03 }, partition = function(n) return n % 4 end }, function(n)
      support.sleep(0.001)
      return n
    end)
    local pool <close> = p:open()
    local futures = {}
    for i = 1, 150 do futures[i] = pool:submit(i) end
    for i = 1, 150 do assert.same({ i }, futures[i]:result(patience)) end
  end)
end)
