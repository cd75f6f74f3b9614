-- Clusters and how a server is reached: TLS, users with few rights, a set of sentinels. Certificates are made here.

local clusters = require "spec.clusters"
local support = require "spec.support"

local it = clusters.tests(_ENV)
local cluster

local function program(url, n, body)
  return ([[
    local minigun = require "minigun"
    local p = minigun.pipeline "numbers"
    p:producer("source", function(emit) for i = 1, %d do emit(i) end end)
    p:processor("work", { cluster = { url = %q, lease = 2 } }, function(x, emit) %s end)
    local seen, twice, n = {}, 0, 0
    p:each("take", function(x)
      if seen[x] then twice = twice + 1 end
      seen[x], n = true, n + 1
    end)
    local r = p:run { failures = "collect", progress = false }
    print(("n=%%d twice=%%d failed=%%d"):format(n, twice, r.failed))
  ]]):format(n, url, body or "emit(x)")
end

local function openssl(words)
  local result = support.run(("cd %s && openssl %s"):format(cluster.directory, words))
  assert.equal(0, result.code, result.stderr)
end

-- An authority NAME.crt, and a certificate of HOST that it has signed, NAME-server.crt.
local function authority(name, host)
  openssl(("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=%s " ..
    "-keyout %s.key -out %s.crt"):format(name, name, name))
  openssl(("req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=%s -keyout %s-server.key " ..
    "-out %s.csr"):format(host, name, name))
  support.write_file(cluster.directory .. "/names", "subjectAltName=DNS:" .. host)
  openssl(("x509 -req -days 2 -in %s.csr -CA %s.crt -CAkey %s.key -CAcreateserial -extfile names -out %s-server.crt")
    :format(name, name, name, name))
end

local function said_by(url)
  local result = cluster:run(cluster:program(program(url, 1)), 20)
  assert.is_true(result.code ~= 0, url)
  local line = result.stderr:match "stage 'work': the cluster at [^\n]*"
  return assert(line, result.stderr)
end

describe("a cluster's server", function()
  it("C12: is reached by TLS, with a valid certificate of its name alone", function()
    cluster = clusters.start()
    authority("good", "localhost")
    authority("bad", "localhost")
    authority("other", "elsewhere.example")
    local secure, plain, wrong = clusters.free_port(), clusters.free_port(), clusters.free_port()
    local d = cluster.directory
    local serve = "redis-server --save '' --dir %s --port %s --tls-port %s --tls-cert-file %s/%s-server.crt " ..
      "--tls-key-file %s/%s-server.key --tls-ca-cert-file %s/%s.crt --tls-auth-clients no"
    cluster:spawn(serve:format(d, plain, secure, d, "good", d, "good", d, "good"), "secure")
    cluster:spawn(serve:format(d, 0, wrong, d, "other", d, "other", d, "other"), "wrong")
    local url = ("rediss://localhost:%s?ca=%s/good.crt"):format(secure, d)
    local path = cluster:program(program(url, 500, "emit(('x'):rep(1000) .. x)"), "good")
    support.wait_until(function() return cluster:said "secure.out":find "Ready to accept" end, 10)
    support.wait_until(function() return cluster:said "wrong.out":find "Ready to accept" end, 10)
    cluster:spawn(("%s worker %s --processes 2"):format(support.command(), path), "worker")
    assert.equal("n=500 twice=0 failed=0\n", cluster:run(path).stdout)

    for address, what in pairs {
      [("rediss://localhost:%s?ca=%s/bad.crt"):format(secure, d)] = "TLS: .*certificate",
      [("rediss://localhost:%s?ca=%s/other.crt"):format(wrong, d)] = "TLS: hostname mismatch",
      [("rediss://localhost:%s"):format(secure)] = "TLS: .*certificate",
      [("rediss://localhost:%s?ca=%s/none.crt"):format(secure, d)] = "TLS: cannot read the authorities '",
      [("rediss://localhost:%s?ca=%s/good.crt"):format(plain, d)] = "TLS: .*; does the server speak TLS",
      [("redis://localhost:%s"):format(secure)] = "connection.*; where it speaks TLS, say rediss://",
    } do
      assert.matches(what, said_by(address))
    end
  end)

  it("C7: needs no more of a user than the rights in the documentation, and these are few", function()
    cluster = clusters.start()
    local rights = support.read_file "docs/cluster.md":match "ACL SETUSER minigun on >PASSWORD ([^\n]*)"
    cluster:redis("ACL SETUSER minigun on >secret " .. rights)
    local url = "redis+unix://minigun@" .. cluster.directory .. "/redis.sock"
    local path = cluster:program(program(url, 500))
    local env = support.lua_env()
    env.MINIGUN_REDIS_PASSWORD = "secret"
    local file = support.write_file(cluster.directory .. "/password", "secret\n")
    cluster:spawn(("env MINIGUN_REDIS_PASSWORD_FILE=%s %s worker %s --processes 2"):format(file, support.command(),
      path), "worker")
    local result = support.run("exec lua5.4 " .. path, { env = env, timeout = 30 })
    assert.equal("n=500 twice=0 failed=0\n", result.stdout, result.stderr .. cluster:said "worker.err")
    local function as_user(words)
      return support.run(("exec redis-cli -s %s/redis.sock --user minigun --pass secret --no-auth-warning %s"):format(
        cluster.directory, words)).stdout
    end
    for _, words in ipairs { "FLUSHALL", "KEYS '*'", "GET other", "CONFIG GET '*'", "XADD o '*' a b", "SHUTDOWN" } do
      assert.matches("NOPERM", as_user(words))
    end
    env.MINIGUN_REDIS_PASSWORD = "wrong"
    result = support.run("exec lua5.4 " .. path, { env = env, timeout = 30 })
    assert.matches("stage 'work': the cluster at [^\n]*WRONGPASS", result.stderr)
    assert.is_truthy(rights:find("+@stream", 1, true))
    cluster:redis("ACL SETUSER weak on >secret " .. rights:gsub("%+@stream", ""))
    result = support.run("exec lua5.4 " .. cluster:program(program(url:gsub("minigun@", "weak@"), 1)), {
      env = { MINIGUN_REDIS_PASSWORD = "secret", LUA_PATH = env.LUA_PATH, LUA_CPATH = env.LUA_CPATH } })
    assert.matches("stage 'work': the cluster at [^\n]*NOPERM", result.stderr)
  end)
end)

describe("a set of sentinels", function()
  it("C2: gives another master where one is killed, and each item comes once", function()
    if not support.has "redis-sentinel" then return pending "no redis-sentinel" end
    cluster = clusters.start()
    local servers = cluster:sentinels(false)
    local path = cluster:program(program(servers.url, 6000, "if x % 20 == 0 then minigun.sleep(0.01) end emit(x)"))
    for i = 1, 2 do cluster:spawn(("%s worker %s --processes 2"):format(support.command(), path), "worker" .. i) end
    local submitter = cluster:spawn("lua5.4 " .. path, "submitter")
    support.sleep(0.7)
    cluster:signal(servers[1].pid, "KILL")
    assert(support.wait_until(function() return not support.alive(submitter) end, 50),
      cluster:said "submitter.err" .. cluster:said "worker1.err")
    assert.equal("n=6000 twice=0 failed=0\n", cluster:said "submitter.out", cluster:said "submitter.err")
    assert.is_true(servers:master() > 1)
  end)
end)
