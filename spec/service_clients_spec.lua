-- Services: rules V5 and V7, how many clients a server has, what they cost, and who may be one.
local minigun = require "minigun"
local services = require "spec.services"
local support = require "spec.support"

local in_test = services.tests(_ENV)

describe("V5: clients", function()
  in_test("that idle cost next to nothing, and all are forgotten when they end", function(place)
    local n = support.short_or_long(200, 1000)
    local server = place:serve("{ max_clients = 2000 }", { prefix = "prlimit --nofile=4096" })
    local client = place:connect()
    local before = client:call { op = "status" }
    local crowd = place:client(([[
      local clients = {}
      for i = 1, %d do clients[i] = assert(minigun.connect(path, { wait = 5 })) end
      for _, client in ipairs(clients) do assert(client:call(1) == 1) end
      print "there"
      io.stdout:flush()
      minigun.sleep(60)
    ]]):format(n), { prefix = "prlimit --nofile=4096" })
    crowd:prints("there", 30)
    local there = client:call { op = "status" }
    support.sleep(0.1)
    local ticks = services.ticks(server.pid)
    support.sleep(1)
    assert.equal(ticks, services.ticks(server.pid))
    assert.equal(n + 1, there.clients)
    assert.is_true(there.memory + there.shared - before.memory < 50 * n, there.memory - before.memory) -- KiB
    assert.equal(n, there.descriptors - before.descriptors)
    crowd:signal "KILL"
    crowd:wait()
    assert.is_true(support.wait_until(function() return client:call { op = "status" }.clients == 1 end, 5))
    local left = client:call { op = "status" }
    assert.same({ before.descriptors, before.mappings }, { left.descriptors, left.mappings })
  end)

  in_test("beyond max_clients are told that the server is busy, and may wait", function(place)
    place:serve "{ max_clients = 2 }"
    local one, two = place:connect(), place:connect()
    local client, message, errno = minigun.connect(place.path)
    assert.same({ nil, 16 }, { client, errno })
    assert.is_truthy(message:find "the server has 2 clients already", message)
    one:close()
    local three = place:connect()
    assert.equal(3, three:call(3))
    assert.equal(2, two:call(2))
  end)

  in_test("that knock and say nothing keep nobody out", function(place)
    place:serve "{ max_clients = 4 }"
    local knocking = place:client [[
      local core, fds = require "minigun.core", {}
      local unruly = require("spec.programs.build").unruly()
      for i = 1, 20 do fds[i] = assert(unruly.knock(path)) end
      print "there"
      io.stdout:flush()
      minigun.sleep(60)
    ]]
    knocking:prints "there"
    assert.equal(1, place:connect():call(1))
  end)
end)

describe("V7: access", function()
  local nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
  local root = support.run("id -u").stdout == "0\n" and support.run(nobody .. " true").code == 0

  local source = [[
    local client, message = minigun.connect(path)
    print(client and client:call { op = "who" }.uid or message)
  ]]

  -- What a user without right gets.
  local function stranger(place)
    os.execute(("chmod 755 %s"):format(place.directory))
    local build = support.build_dir()
    local client = place:client(source, { prefix = nobody })
    client:wait()
    return client:output() .. client:log():gsub(build, "")
  end

  in_test("is for the server's own user, by the rights of the socket's file", function(place)
    if not root then return pending "not root, or setpriv is not installed" end
    place:serve()
    assert.is_truthy(stranger(place):find "this user may not", stranger(place))
    assert.is_truthy(support.run("stat -c %a " .. place.path).stdout == "600\n")
    assert.equal(0, place:connect():call { op = "who" }.uid)
  end)

  in_test("may be wider, and narrower by `allow`, which says why", function(place)
    if not root then return pending "not root, or setpriv is not installed" end
    local server = place:serve '{ mode = "666" }'
    assert.equal("65534\n", stranger(place))
    server:signal "KILL"
    server:wait()
    place:serve '{ mode = "666", allow = function(peer) return peer.uid == 0, "only root, not " .. peer.uid end }'
    assert.is_truthy(stranger(place):find("only root, not 65534", 1, true))
    assert.equal(1, place:connect():call(1))
  end)

  in_test("is refused where `allow` raises, and the service goes on", function(place)
    local server = place:serve '{ allow = function(peer) if peer.number == 1 then error "mine" end return true end }'
    local client, message = minigun.connect(place.path)
    assert.is_nil(client)
    assert.is_truthy(message:find "cannot tell whether this client may")
    assert.is_truthy(server:log():find "%[error%].*client 1 .*: the option 'allow' has raised: .*mine")
    client, message = minigun.connect(place.path)
    assert.is_nil(client)
    assert.is_truthy(message:find "cannot tell")
  end)

  in_test("to an abstract name is for the same user and root", function(place)
    if not root then return pending "not root, or setpriv is not installed" end
    place.path = "@" .. place.path
    place:serve()
    assert.is_truthy(stranger(place):find "lets in no other; this is user 65534")
  end)
end)
