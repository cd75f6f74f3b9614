-- Clusters: hostile bytes in every stream and hash of a job, clocks that are wrong, versions that differ; and that
-- nothing is left on the server of a job that is over.

local clusters = require "spec.clusters"
local support = require "spec.support"

local seed = tonumber(os.getenv "SEED") or os.time()
io.stdout:write(("spec/cluster_hostile_spec.lua: SEED=%d\n"):format(seed))

local cluster
local it = clusters.tests(_ENV, function(started) cluster = started end)

local function wait_for(f, seconds) assert(support.wait_until(f, seconds or 20)) end

-- A program whose stage takes `seconds` for an item; it says what has come of n items.
local function program(n, seconds, name)
  return cluster:program(([[
    local minigun = require "minigun"
    local p = minigun.pipeline "numbers"
    p:producer("source", minigun.range(1, %d))
    p:processor("work", { cluster = { url = %q, lease = 0.5 } }, function(x, emit)
      minigun.sleep(%g)
      emit(x)
    end)
    local seen, twice, n = {}, 0, 0
    p:each("take", function(x)
      twice, n = twice + (seen[x] and 1 or 0), n + 1
      seen[x] = true
    end)
    local r = p:run { failures = "collect", progress = false }
    print(("n=%%d twice=%%d failed=%%d"):format(n, twice, r.failed))
  ]]):format(n, cluster.url, seconds), name)
end

local function has_job() return cluster:redis "ZCARD mg:jobs:numbers/work" == "1" end

-- Bytes as redis-cli takes them in quotes.
local function random_word()
  local parts = {}
  for i = 1, math.random(0, 12) do parts[i] = ("\\x%02x"):format(math.random(0, 255)) end
  return '"' .. table.concat(parts) .. '"'
end

-- A command that writes nonsense into one of the keys of a job.
local function hostile(tag)
  local word = random_word()
  return ({
    ("XADD %s:in * d %s"):format(tag, word), ("XADD %s:in * %s %s"):format(tag, word, word),
    ("XADD %s:out * i %s s %s d %s"):format(tag, word, random_word(), random_word()),
    ("XADD %s:out * i 1-1 s ok d %s"):format(tag, word), ("XADD %s:out * x %s"):format(tag, word),
    ("XADD %s:dead * x %s"):format(tag, word), ("HSET %s:meta %s %s"):format(tag, word, random_word()),
    ("HSET %s:meta seen %s"):format(tag, word), ("HSET %s:meta begun %s"):format(tag, word),
    ("ZADD mg:jobs:numbers/work 1 %s"):format(word), ("ZADD mg:hosts:numbers/work 1 %s"):format(word),
    ("HSET mg:hosts:numbers/work:facts %s %s"):format(word, random_word()),
  })[math.random(12)]
end

describe("a cluster's server", function()
  it("C7: may hold any bytes: items are results or failures, and neither side ends by an error of its own", function()
    math.randomseed(seed)
    local path = program(300, 0.001)
    local host = cluster:worker(path, nil, "host")
    local submitter = cluster:spawn("lua5.4 " .. path, "submitter")
    wait_for(has_job)
    local tag = ("mg:{%s/work}"):format(cluster:redis "ZRANGE mg:jobs:numbers/work 0 0")
    local lines = {}
    for i = 1, 200 do lines[i] = hostile(tag) end
    local file = support.write_file(cluster.directory .. "/hostile", table.concat(lines, "\n") .. "\n")
    support.run(("redis-cli -s %s/redis.sock < %s"):format(cluster.directory, file))
    wait_for(function() return not support.alive(submitter) end, 40)
    local said = cluster:said "submitter.out"
    local n, failed = said:match "^n=(%d+) twice=0 failed=(%d+)\n$"
    if n then assert.equal(300, n + failed)
    else assert.matches("stage 'work': the cluster at ", cluster:said "submitter.err") end
    assert.is_true(support.alive(host), cluster:said "host.err")
  end)

  it("C9: has nothing of jobs that have ended, were aborted or interrupted, and no more memory in use", function()
    local quick, slow = program(500, 0, "quick"), program(60, 0.02, "slow")
    local function memory() return tonumber(cluster:redis "INFO memory":match "used_memory_dataset:(%d+)") end
    local host = cluster:worker(quick, nil, "host")
    cluster:run(quick) -- scripts are loaded
    local before = memory()
    for _ = 1, 3 do assert.equal("n=500 twice=0 failed=0\n", cluster:run(quick).stdout) end
    cluster:signal(host, "TERM")
    wait_for(function() return not support.alive(host) end)
    for _, ending in ipairs { "abort", "INT", "TERM" } do
      local submitter = cluster:spawn("lua5.4 " .. slow, "submitter")
      wait_for(has_job)
      local job = cluster:redis "ZRANGE mg:jobs:numbers/work 0 0"
      if ending == "TERM" then host = cluster:worker(slow, nil, "slow") end
      wait_for(function() return (tonumber(cluster:redis(("XLEN 'mg:{%s/work}:in'"):format(job))) or 0) > 0 end)
      if ending == "abort" then
        support.run(("%s abort %s numbers/work %s"):format(support.command(), cluster.url, job),
          { env = support.lua_env() })
      else
        cluster:signal(submitter, ending)
      end
      wait_for(function() return not support.alive(submitter) end)
    end
    cluster:signal(host, "TERM")
    wait_for(function() return not support.alive(host) end)
    assert.equal("", cluster:redis "KEYS '*'")
    assert.is_true(memory() - before < 1 << 19, memory() - before)
  end)

  it("C4: may have another clock than the hosts: leases and signs of life are by its own", function()
    if not support.has "faketime" then return pending "faketime is not installed" end
    local path = program(2000, 0.002)
    local function worker(offset, name)
      return cluster:spawn(("faketime -f %s %s worker %s --engine %s --processes 1"):format(offset, support.command(),
        path, cluster.url), name)
    end
    local late, early = worker("-1h", "late"), worker("+1h", "early")
    finally(function() -- what faketime leaves of itself where it is killed
      for _, pid in ipairs { late, early } do
        for _, name in ipairs { "faketime_shm", "sem.faketime_sem" } do
          os.remove(("/dev/shm/%s_%d"):format(name, pid))
        end
      end
    end)
    local result = support.run("exec faketime -f +1h lua5.4 " .. path, { env = support.lua_env(), timeout = 60 })
    assert.equal("n=2000 twice=0 failed=0\n", result.stdout, result.stderr)
    assert.is_true(support.alive(late))
    assert.equal("", result.stderr)
  end)
end)
