-- The module minigun.redis, on TCP and TLS: rules of src/redis/link.h that a unix socket does not show.

local clusters = require "spec.clusters"
local programs = require "spec.programs.build"
local support = require "spec.support"

local missing = clusters.missing()
  or not support.has "openssl" and "openssl is not installed" or nil
local it = clusters.tests(_ENV, nil, missing)

-- A program that connects, says what it has come to, and asks; then what `more` says.
local PROGRAM <const> = [[
  local redis, core = require "minigun.redis", require "minigun.core"
  local link = assert(redis.open { host = %q, port = %q, secure = %s, ca = %q })
  local function wait(done)
    local due = core.now() + 10
    while core.now() < due do
      local wants, why = link:step()
      local found, reply = done()
      if found then return reply end
      if not wants then return why end
      core.wait(link:fd(), wants == "w" and "w" or "r", 0.1)
    end
    return "no answer"
  end
  local problem = wait(function() return link:ready() end)
  if problem then print(problem) return end
  assert(link:send { "PING" })
  print(wait(function() return link:reply() end))
  %s
]]

describe("a link to a Redis server", function()
  local cluster, port, ca

  local function run(host, secure, more, env, redirect)
    local own = support.lua_env()
    for name, value in pairs(env or {}) do own[name] = value end
    local path = cluster:program(PROGRAM:format(host, tostring(port + (secure and 1 or 0)), secure, ca, more or ""))
    return support.run(("exec lua5.4 %s %s"):format(path, redirect or ""), { env = own })
  end

  before_each(function()
    if missing then return end
    port = 20000 + 2 * (require "minigun.core".pid() % 5000)
    local directory = os.tmpname()
    os.remove(directory)
    ca = directory .. ".pem"
    assert.equal(0, support.run(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes " ..
      "-keyout %s -out %s -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"):format(
      directory .. ".key", ca)).code)
    cluster = clusters.start(("--port %d --bind 127.0.0.1 --tls-port %d --tls-cert-file %s --tls-key-file %s " ..
      "--tls-ca-cert-file %s --tls-auth-clients no"):format(port, port + 1, ca, directory .. ".key", ca))
  end)

  after_each(function()
    if not cluster then return end
    cluster:close()
    os.remove(ca)
    os.remove((ca:gsub("pem$", "key")))
    cluster = nil
  end)

  it("is no standard descriptor where the program has closed those", function()
    local path = os.tmpname()
    for _, redirect in ipairs { "<&-", ">&-", "<&- >&- 2>&-" } do
      for _, secure in ipairs { false, true } do
        run("localhost", secure, ("io.open(%q, 'w'):write(link:fd())"):format(path), nil, redirect)
        local fd = tonumber(support.read_file(path))
        assert.is_true(fd ~= nil and fd > 2, ("%s: %s"):format(redirect, fd))
        os.remove(path)
      end
    end
  end)

  it("tries all addresses of its host", function()
    local library = programs.library "two_addresses"
    if not library then return pending "there is no C compiler" end
    local result = run("twofold", false, nil, { LD_PRELOAD = library })
    assert.equal("PONG\n", result.stdout, result.stderr)
  end)

  it("gives up an address of its host that is silent, and takes the next one; so does a set of sentinels", function()
    local library = programs.library "two_addresses"
    if not library then return pending "there is no C compiler" end
    local silent = cluster:spawn(("redis-server --port %d --bind 127.0.0.2 --save '' --dir %s"):format(port,
      cluster.directory), "silent")
    assert(support.wait_until(function() return cluster:said "silent.out":find "Ready to accept" end, 10))
    cluster:signal(silent, "STOP") -- the kernel takes connections for it
    local path = cluster:program(([[
      local core, url = require "minigun.core", require "minigun.base.redis_url"
      for _, text in ipairs { "redis://twofold:%d", "redis+sentinel://twofold:%d/m" } do
        local own, start = require "minigun.cluster.connection".new(assert(url.parse(text))), core.now()
        local reply, fault = own:call { "PING" }
        print(reply or fault.message, core.now() - start < 8, own:is_open())
      end
    ]]):format(port, port))
    local env = support.lua_env()
    env.LD_PRELOAD = library
    local result = support.run("exec lua5.4 " .. path, { env = env })
    assert.equal("PONG\ttrue\ttrue\nit knows no master 'm'\ttrue\tfalse\n", result.stdout, result.stderr)
  end)

  it("speaks TLS, to a server whose certificate is of its host's name", function()
    assert.equal("PONG\n", run("localhost", true).stdout)
    assert.matches("^TLS: .*mismatch", run("127.0.0.1", true).stdout)
  end)

  it("outlives a server that is killed, without a signal", function()
    local result = run("localhost", true, ([[
      os.execute "kill -KILL %d; sleep 0.2"
      assert(link:send { "SET", "a", ("x"):rep(4 << 20) })
      local ok = true
      for _ = 1, 100 do ok = ok and link:step() end
      print(ok, link:fd())
    ]]):format(cluster.server))
    assert.equal(0, result.code)
    assert.equal("PONG\nnil\tnil\n", result.stdout)
  end)
end)
