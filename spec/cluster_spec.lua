-- Clusters, rules C1 to C12: stages on other hosts, over a Redis server. "Hosts" are processes of this machine.

local clusters = require "spec.clusters"
local engines = require "minigun.cluster.engine"
local support = require "spec.support"

local cluster
local it = clusters.tests(_ENV, function(started) cluster = started end)

-- A program with a stage "work" that runs where CONTEXT says; it prints what has come of n items, each by its number.
local function program(body, options, n)
  return ([[
    local minigun = require "minigun"
    local p = minigun.pipeline "numbers"
    p:producer("source", function(emit) for i = 1, %d do emit(i) end end)
    p:processor("work", %s, function(x, emit, ctx) %s end)
    local seen, twice, n = {}, 0, 0
    p:each("take", function(x)
      if seen[x] then twice = twice + 1 end
      seen[x], n = true, n + 1
    end)
    local r = p:run { failures = "collect", progress = false }
    table.sort(r.failures, function(a, b) return tostring(a.item) < tostring(b.item) end)
    print(("n=%%d twice=%%d failed=%%d counted=%%d"):format(n, twice, r.failed, r.counters.all or 0))
    for _, failure in ipairs(r.failures) do
      print(("%%s %%s %%s %%s"):format(failure.kind, failure.item, failure.attempts, failure.message:match "[^\n]*"))
    end
  ]]):format(n or 2000, options, body)
end

local function in_cluster(more) return ("{ cluster = { url = %q%s } }"):format(cluster.url, more or "") end

describe("the engine of a stage", function()
  it("tells a server a script once for all engines of a connection, and again where that has forgotten it", function()
    local told, forgets = {}, false
    local link = { sums = {} }
    function link:call(words)
      told[#told + 1] = words[1] == "SCRIPT" and words[2] or words[1]
      if words[1] == "SCRIPT" then return "sum" end
      if words[1] == "EVALSHA" and forgets then return nil, { code = "NOSCRIPT", message = "no", again = false } end
      return 1
    end
    local function done() return engines.new(link, "p", "s", "job"):done("code", { "1-1", "ok", "" }) end
    for _ = 1, 3 do assert.equal(1, done()) end
    assert.same({ "LOAD", "EVALSHA", "EVALSHA", "EVALSHA" }, told)
    told, forgets = {}, true
    assert.equal(1, done())
    assert.same({ "EVALSHA", "EVAL" }, told)
    told, forgets = {}, false
    for _ = 1, 2 do assert.equal(1, done()) end
    assert.same({ "LOAD", "EVALSHA", "EVALSHA" }, told)
  end)

  it("says at once what is done where the server knows the script, and hears the answer later", function()
    local told, answer = {}, 1
    local link = { sums = {}, ahead = false }
    function link:call(words)
      told[#told + 1] = words[1]
      return words[1] == "SCRIPT" and "sum" or 1
    end
    function link:send_ahead(commands)
      told[#told + 1] = "ahead " .. commands[1][1]
      self.ahead = commands
      return true
    end
    function link:calls(commands)
      told[#told + 1] = commands == self.ahead and "answer" or "other"
      return { answer }
    end
    local engine, results = engines.new(link, "p", "s", "job"), { "1-1", "ok", "" }
    assert.is_false(engine:send_done("code", results))
    assert.equal(1, engine:done("code", results, false))
    assert.same({ "SCRIPT", "EVALSHA" }, told)
    told = {}
    assert.equal(1, engine:done("code", results, engine:send_done("code", results)))
    assert.same({ "ahead EVALSHA", "answer" }, told)
    told, answer = {}, { code = "NOSCRIPT", message = "no" }
    assert.equal(1, engine:done("code", results, engine:send_done("code", results)))
    assert.same({ "ahead EVALSHA", "answer", "EVALSHA" }, told)
  end)

  it("never takes an answer to what was sent ahead for that to another call", function()
    local connection = require "minigun.cluster.connection"
    local own = connection.new(assert(require "minigun.base.redis_url".parse(cluster.url)))
    assert.is_false(own:send_ahead { { "PING" } })
    local commands = { { "ECHO", "ahead" } }
    assert.equal("PONG", own:call { "PING" })
    assert.is_true(own:send_ahead(commands))
    assert.same({ "ahead" }, own:calls(commands))
    assert.is_true(own:send_ahead(commands))
    assert.equal("other", own:call { "ECHO", "other" })
    assert.equal(2, own.dials)
    assert.is_true(own:send_ahead(commands))
    own:close()
    assert.same({ "ahead" }, own:calls(commands))
    own:close()
  end)

  it("keeps its connection where a job goes while a call waits for its chunks", function()
    local connection = require "minigun.cluster.connection"
    local own = connection.new(assert(require "minigun.base.redis_url".parse(cluster.url)))
    local engine = engines.new(own, "p", "s", "job")
    assert(engine:create { code = "x", by = "me", limit = 1, lease = 1000, tries = 1 })
    cluster:spawn(("sh -c 'until redis-cli -s %s/redis.sock CLIENT LIST | grep -q flags=b; do :; done; " ..
      "redis-cli -s %s/redis.sock UNLINK %q'"):format(cluster.directory, cluster.directory, engine.input), "unlink")
    local entries, fault = engine:take("me", 1, 10000)
    assert.is_nil(entries)
    assert.same({ true, false, true }, { fault.code == "UNBLOCKED" or fault.code == "NOGROUP", fault.again,
      own:is_open() })
    own:close()
  end)
end)

describe("a stage in a cluster", function()
  local BODY <const> = [[ctx:count("all", 1) ctx:collect("some", x) if x % 500 == 0 then error("no " .. x) end
    emit(x * 2) if x % 3 == 0 then emit(-x) end]]

  it("C1: gives what it gives inline and in processes", function()
    local results = {}
    for i, options in ipairs { "{ retries = 1 }", "{ processes = 2, retries = 1 }",
      ("{ cluster = %q, retries = 1 }"):format(cluster.url) } do
      local path = cluster:program(program(BODY, options))
      if i == 3 then cluster:worker(path) end
      results[i] = cluster:run(path).stdout
    end
    assert.matches("^n=2661 twice=0 failed=4 counted=1996\n", results[1])
    assert.equal(results[1], results[2])
    assert.equal(results[1], results[3])
  end)

  it("C1: keeps the order, and its handler has item_id, emit:to and what hooks have opened", function()
    local path = cluster:program(([[
      local minigun = require "minigun"
      local p = minigun.pipeline "numbers"
      p:producer("source", { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 })
      p:processor("work", { cluster = { url = %q, ordered = true }, to = "take" }, function(x, emit, ctx)
        if x %% 3 == 0 then minigun.sleep(0.05) end
        if x == 10 then emit:to("other", ctx.item_id) end
        emit(x .. "/" .. tostring(ctx.state.opened))
      end)
      p:after_fork("work", function(ctx) ctx.state.opened = "yes" end)
      local list = {}
      p:each("take", function(x) list[#list + 1] = x end)
      p:each("other", { await = true }, function(x) print(x) end)
      p:run()
      print(table.concat(list, " "))
    ]]):format(cluster.url))
    cluster:worker(path)
    local result = cluster:run(path)
    assert.matches("work/%d%-1#%d+\n", result.stdout)
    assert.matches("1/yes 2/yes 3/yes 4/yes 5/yes 6/yes 7/yes 8/yes 9/yes 10/yes\n", result.stdout, 1, true)
  end)

  it("tells what a worker host is for, and when the server cannot be reached", function()
    local path = cluster:program(program("emit(x)", '{ cluster = "redis://127.0.0.1:1" }'))
    local host = cluster:spawn(("%s worker %s --processes 2"):format(support.command(), path), "told")
    support.wait_until(function() return cluster:said "told.err":find("tried again", 1, true) end, 20)
    cluster:signal(host, "TERM")
    assert.matches("stage 'work' of '[^']*' for the runs at redis://127.0.0.1:1, 2 processes", cluster:said "told.err")
    assert.matches("redis://127.0.0.1:1: cannot connect: Connection refused", cluster:said "told.err")
  end)

  it("C2, C4: loses nothing and gives nothing twice where children of a worker host are killed", function()
    local path = cluster:program(program([[if x % 50 == 0 then minigun.sleep(0.02) end emit(x)]],
      ("{ cluster = %q, retries = 5 }"):format(cluster.url), 4000))
    local host = cluster:worker(path)
    local killer = cluster:spawn(([[sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; pkill -KILL -P %d; done']])
      :format(host), "killer")
    assert.equal("n=4000 twice=0 failed=0 counted=0\n", cluster:run(path).stdout)
    assert.is_true(killer > 0 and support.alive(host))
  end)

  it("C2: loses nothing and gives nothing twice where a worker host is killed, and another is frozen", function()
    local path = cluster:program(program([[if x % 20 == 0 then minigun.sleep(0.01) end emit(x)]],
      in_cluster ", lease = 1", 6000))
    local first, second = cluster:worker(path), cluster:worker(path)
    cluster:worker(path)
    cluster:spawn(([[sh -c 'sleep 0.5; kill -KILL %d; kill -STOP %d; sleep 2.5; kill -CONT %d']]):format(first, second,
      second), "killer")
    assert.equal("n=6000 twice=0 failed=0 counted=0\n", cluster:run(path).stdout)
  end)

  it("C2: loses nothing and gives nothing twice where the server is killed and comes back with its file", function()
    cluster:close()
    cluster = clusters.start "--appendonly yes --appendfsync everysec"
    local path = cluster:program(program([[if x % 20 == 0 then minigun.sleep(0.01) end emit(x)]],
      in_cluster ", lease = 1", 6000))
    cluster:worker(path)
    cluster:spawn(([[sh -c 'sleep 0.4; kill -KILL %d; sleep 0.3; exec redis-server --port 0 --unixsocket ]] ..
      [[%s/redis.sock --dir %s --appendonly yes']]):format(cluster.server, cluster.directory, cluster.directory),
      "again")
    assert.equal("n=6000 twice=0 failed=0 counted=0\n", cluster:run(path).stdout)
  end)

  it("C5: an item that ends its host again and again is a failure in the end, and others come", function()
    local text = program([[if x == 150 then os.execute("kill -KILL " .. minigun_host) end emit(x)]],
      in_cluster ", lease = 0.3, tries = 2", 300)
    local path = cluster:program(text:gsub("local p =",
      "minigun_host = io.open('/proc/self/stat'):read 'a':match '^%%d+' %0", 1), nil)
    cluster:spawn(([[sh -c 'while :; do ./bin/minigun worker %s --engine %s --processes 1; done']]):format(path,
      cluster.url), "hosts")
    local result = cluster:run(path)
    local n, failed = result.stdout:match "n=(%d+) twice=0 failed=(%d+)"
    assert.equal("299 1", n .. " " .. failed, result.stdout .. result.stderr)
    assert.matches("crash 150 ", result.stdout, 1, true)
  end)

  it("C6: refuses a program that is another one, with both sums and status 78", function()
    local path = cluster:program(program("emit(x)", in_cluster(), 10))
    local other = cluster:program(program("emit(x + 1)", in_cluster(), 10), "other")
    cluster:spawn("lua5.4 " .. path, "submitter")
    assert(support.wait_until(function() return cluster:redis "ZCARD mg:jobs:numbers/work" == "1" end, 10))
    local result = support.run(("./bin/minigun worker %s --engine %s"):format(other, cluster.url))
    assert.equal(78, result.code, result.stderr)
    assert.matches("its sum is %x+, that of this one %x+\n", result.stderr)
  end)

  it("C6: refuses a worker of another version of the library, which has done nothing then", function()
    local path = cluster:program(program("emit(x)", in_cluster(", lease = 1"), 10))
    local submitter = cluster:spawn("lua5.4 " .. path, "submitter")
    assert(support.wait_until(function() return cluster:redis "ZCARD mg:jobs:numbers/work" == "1" end, 10))
    local other = [[lua5.4 -e 'require("minigun.core").version = "0.0.1"' bin/minigun worker]]
    local result = support.run(("%s %s --engine %s"):format(other, path, cluster.url), { env = support.lua_env() })
    assert.equal(78, result.code, result.stderr)
    assert.matches("its sum is %x+, that of this one %x+\n", result.stderr)
    cluster:worker(path)
    assert(support.wait_until(function() return not support.alive(submitter) end, 30))
    assert.matches("n=10 twice=0 failed=0", cluster:said "submitter.out", 1, true)
  end)

  it("C7: hostile bytes in a stream are failures of items, never executed, never a crash", function()
    local path = cluster:program(program("emit(x)", in_cluster(), 250))
    local submitter = cluster:spawn("lua5.4 " .. path, "submitter")
    assert(support.wait_until(function() return cluster:redis "ZCARD mg:jobs:numbers/work" == "1" end, 10))
    local job = cluster:redis "ZRANGE mg:jobs:numbers/work 0 -1"
    local out = ("'mg:{%s/work}:out'"):format(job)
    for _, bytes in ipairs { "''", "'\\xc1'", "'return 1'", "'\\x91\\x81\\xa3out\\x01'" } do
      cluster:redis(("XADD %s '*' i 1-1 s ok d %s"):format(out, bytes))
    end
    for _, fields in ipairs { "x y", "i nonsense s ok d x", "i 999-1 s ok d x" } do
      cluster:redis(("XADD %s '*' %s"):format(out, fields))
    end
    cluster:worker(path)
    assert(support.wait_until(function() return not support.alive(submitter) end, 30))
    local said = cluster:said "submitter.out"
    local n, failed = said:match "n=(%d+) twice=0 failed=(%d+)"
    assert.equal(250, n and n + failed, said .. cluster:said "submitter.err")
    assert.is_true(tonumber(failed) >= 1 and tonumber(failed) <= 100)
    assert.matches("what a worker has sent of it cannot be read", said, 1, true)
  end)

  it("C7: a result says of an item what can have come of it, or is none", function()
    local message, core = require "minigun.cluster.message", require "minigun.core"
    local function result(fields, n)
      local whole = { each = 1, out = message.elements { core.encode "x" }, more = {}, busy = 0 }
      for name, value in pairs(fields) do whole[name] = value end
      return message.result(core.encode(whole), n or 1, { other = 1, none = "there is none" }, { after = 7 })
    end
    local function more(...) return result { more = { { 1, 0, ... } } } end
    assert.equal(1, result({}).outputs)
    assert.equal(2, result({ each = { 0, 2 } }, 2).outputs)
    for _, fields in ipairs { { each = { 1, 1 } }, { each = { -1 } }, { each = { "1" } }, { each = {} },
      { each = { math.maxinteger } }, { each = { 1 << 33 } }, { out = 1 },
      { more = false }, { busy = "x" }, { more = { 1 } }, { more = { { 2, 0, "count", "n", 1 } } },
      { more = { { 1, 2, "count", "n", 1 } } }, { more = { { 0, 0, "count", "n", 1 } } } } do
      local found, problem = result(fields)
      assert.is_nil(found)
      assert.equal("it is no result of this chunk", problem)
    end
    assert.equal("crash", more("failed", "crash", "no", 1).more[1][4])
    for _, wrong in ipairs { { "failed", "unheard of", "no", 1 }, { "failed", 1, "no", 1 }, { "failed", "crash", 1, 1 },
      { "failed", "crash", "no", "1" }, { "to", "none", core.encode(1) }, { "to", "nowhere", core.encode(1) },
      { "to", "other", "\xc1" }, { "routed", "other", core.encode(1) }, { "routed", 7, core.encode(1) },
      { "routed", "after", "\xc1" }, { "to", "other", 1 }, { "collect", "c", 1 }, { "collect", 1, core.encode(1) },
      { "count", "n", "1" }, { "unheard of" }, {} } do
      assert.is_nil(more(table.unpack(wrong)))
    end
    assert.equal(7, more("to", "other", core.encode(7)).more[1][5])
    assert.same({ 1, 0, "routed", 7, 8 }, more("routed", "after", (core.encode(8))).more[1])
  end)

  it("C7: outputs of a result are as many strings as it says, or none of it counts", function()
    local core = require "minigun.core"
    local pool <close> = assert(core.pool(0, 1 << 21, 1 << 21))
    local message = require "minigun.cluster.message"
    local list = {}
    for i, size in ipairs { 0, 1, 31, 32, 255, 256, 65535, 65536 } do list[i] = ("x"):rep(size) end
    local bytes = message.elements(list)
    assert.same(list, message.items(message.array(#list, bytes)))
    local block, length = pool:records(bytes, #list, 7, false)
    local back, n = pool:strings(block, 0, length, 7)
    assert.same({ bytes, #list }, { back, n })
    assert.same({ "", 0 }, { pool:strings(block, 0, length, 8) })
    pool:release(block)
    for _, wrong in ipairs { { bytes, #list + 1 }, { bytes, #list - 1 }, { bytes:sub(1, -2), #list }, { "", 1 },
      { "", 0 }, { "\xd9", 1 }, { "\xda\1", 1 }, { "\xdb\1\1\1", 1 }, { "\xdb\xff\xff\xff\xff", 1 }, { "\1", 1 },
      { "\x91\xa1x", 1 }, { bytes, -1 }, { bytes, math.maxinteger } } do
      assert.is_nil((pool:records(wrong[1], wrong[2], 7, false)))
    end
  end)

  it("C9: leaves nothing on the server, and never puts more there than the limit says", function()
    local path = cluster:program(program("emit(x)", in_cluster ", limit = 3", 3000))
    local submitter = cluster:spawn("lua5.4 " .. path, "submitter")
    assert(support.wait_until(function() return cluster:redis "ZCARD mg:jobs:numbers/work" == "1" end, 10))
    local input = ("'mg:{%s/work}:in'"):format(cluster:redis "ZRANGE mg:jobs:numbers/work 0 -1")
    support.wait_until(function() return cluster:redis("XLEN " .. input) == "3" end, 10)
    support.sleep(0.3)
    assert.equal("3", cluster:redis("XLEN " .. input))
    local host = cluster:worker(path)
    assert(support.wait_until(function() return not support.alive(submitter) end, 30))
    assert.equal("n=3000 twice=0 failed=0 counted=0\n", cluster:said "submitter.out")
    cluster:signal(host, "TERM")
    assert(support.wait_until(function() return not support.alive(host) end, 10))
    assert.equal("", cluster:redis "KEYS 'mg:{*'")
    assert.equal("", cluster:redis "KEYS 'mg:jobs:*'")
  end)

  it("C9: removes a job whose run is interrupted", function()
    local path = cluster:program(program("minigun.sleep(0.1) emit(x)", in_cluster(), 1000))
    cluster:worker(path)
    local result = support.run("timeout --foreground -s INT 1.5 lua5.4 " .. path, { env = support.lua_env() })
    assert.is_true(result.code ~= 0)
    assert.equal("", cluster:redis "KEYS 'mg:{*'")
  end)

  it("C10: says after five seconds that no worker is there, and goes on when one comes", function()
    local path = cluster:program(program("emit(x)", in_cluster(), 100))
    local submitter = cluster:spawn("lua5.4 " .. path, "submitter")
    assert(support.wait_until(function() return cluster:said "submitter.err" ~= "" end, 15))
    assert.matches("no worker for stage 'work' of 'numbers' at redis+unix://", cluster:said "submitter.err", 1, true)
    assert.matches("start one with: minigun worker FILE --stage work --engine redis+unix://",
      cluster:said "submitter.err", 1, true)
    cluster:worker(path)
    assert(support.wait_until(function() return not support.alive(submitter) end, 30))
    assert.equal("n=100 twice=0 failed=0 counted=0\n", cluster:said "submitter.out")
  end)

  it("C12: names what is wrong with the engine in one line, before anything is forked", function()
    cluster:redis "CONFIG SET requirepass secret"
    for url, what in pairs {
      ["redis://127.0.0.1:1"] = "cannot connect: Connection refused", ["http://x"] = "begins with redis://",
      ["redis://u:secret@x"] = "a password does not belong there", ["redis+unix:///nonexistent"] = "No such file",
      [cluster.url] = "NOAUTH", ["redis://nonexistent.invalid"] = "the host's name is not found",
      ["redis+sentinel://127.0.0.1:1/m"] = "cannot connect",
    } do
      local path = cluster:program(program("emit(x)", ("{ cluster = %q }"):format(url), 1))
      local result = cluster:run(path)
      assert.is_true(result.code ~= 0, url)
      assert.matches(what, result.stderr, 1, true)
      assert.matches("stage 'work': ", result.stderr, 1, true)
    end
    local path = cluster:program(program("emit(x)", ("{ cluster = %q }"):format(cluster.url), 1))
    local result = support.run("lua5.4 " .. path, { env = { MINIGUN_REDIS_PASSWORD = "wrong",
      LUA_PATH = support.lua_env().LUA_PATH, LUA_CPATH = support.lua_env().LUA_CPATH } })
    assert.matches("WRONGPASS", result.stderr, 1, true)
  end)
end)
