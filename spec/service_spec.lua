-- Services: rules V1 to V4 and V8. A server and its clients are always different processes.
local core = require "minigun.core"
local loops = require "spec.loops"
local minigun = require "minigun"
local services = require "spec.services"
local support = require "spec.support"
local values = require "spec.values"

local in_test = services.tests(_ENV)

describe("V1: between processes", function()
  in_test("values of every kind come back as they went", function(place)
    place:serve()
    local client, seed = place:connect(), tonumber(os.getenv "SEED") or os.time()
    math.randomseed(seed)
    local some = { "", 0, -1, 1 << 62, 0.5, true, false, ("x"):rep(70000), {}, { {} }, { a = { 1, 2.5, "z" } } }
    for _, value in ipairs(some) do
      assert.is_true(values.same(value, client:call(value)), tostring(value))
    end
    assert.is_nil(client:call(nil))
    for i = 1, support.short_or_long(150, 20000) do
      local value = values.random()
      assert(values.same(value, client:call(value)), ("SEED=%d: value %d"):format(seed, i))
    end
  end)

  in_test("messages of any size come back whole", function(place)
    place:serve '{ ring = "64K" }'
    local client = place:connect()
    local most = support.short_or_long(4 << 20, 256 << 20)
    local text = ("0123456789abcdef"):rep(most // 16)
    for _, n in ipairs { 0, 1, 31, 32, 255, 256, 16000, 16384, 16385, 65536, 65537, 1 << 20, most } do
      local sent = text:sub(1, n)
      assert(client:call(sent) == sent, n .. " bytes")
    end
  end, 200)

  in_test("messages come in order, each once", function(place)
    place:serve()
    local client, n = place:connect(), support.short_or_long(5000, 100000)
    for i = 1, n do assert(client:send { op = "next", i }) end
    assert.same({ n, 0 }, client:call { op = "count" })
    for i = 1, n do
      if client:call(i) ~= i then error("reply " .. i) end
    end
  end, 120)

  in_test("many clients at once each get their own replies", function(place)
    local server = place:serve()
    local clients, n, each = {}, support.short_or_long(8, 64), support.short_or_long(300, 10000)
    for i = 1, n do
      clients[i] = place:client(([[
        local client <close> = assert(minigun.connect(path, { wait = 20 }))
        local own, waits = %d << 32, {}
        for i = 1, %d do
          waits[#waits + 1] = client:submit(own + i)
          assert(client:send { op = "next", i })
          if #waits == 50 or i == %d then
            for k, future in ipairs(waits) do assert(future:result() == own + i - #waits + k) end
            waits = {}
          end
        end
        assert(client:call { op = "count" }[2] == 0)
      ]]):format(i, each, each))
    end
    for _, client in ipairs(clients) do services.ends_well(client) end
    for _, own in ipairs(place:connect():call { op = "counts" }) do assert.same({ each, 0 }, { own[2], own[3] }) end
    assert.equal("", server:log())
  end, 300)

  in_test("objects travel with their type; what cannot travel fails where it is", function(place)
    place:serve()
    local client = place:connect()
    local ok, err = pcall(client.call, client, print)
    assert.is_false(ok)
    assert.equal("unserialisable", err.kind)
    assert.error_matches(function() client:send(print) end, "the message cannot be sent: item is a function")
    ok, err = pcall(client.call, client, { op = "unserialisable" })
    assert.is_false(ok)
    assert.equal("unserialisable", err.kind)
    ok, err = pcall(client.call, client, { op = "fail" })
    assert.is_false(ok)
    assert.equal("error", err.kind)
    assert.is_truthy(tostring(err):find "service_server.lua:%d+: boom")
    assert.is_truthy(err.asked_at == nil or err.asked_at:find "service_spec")
    assert.equal(1, client:call(1))
  end)
end)

describe("V1: objects with hooks", function()
  in_test("travel; a hook may use the very connection that its object comes by", function(place)
    local server = place:launch("-e " .. support.quote(([[
      local minigun = require "minigun"
      local Box = {}
      minigun.register("box", Box, function(box) return { box.text } end, function(kept)
        if kept[1] == "bad" then return nil, "refused by the hook" end
        return setmetatable({ text = kept[1] .. "!" }, Box)
      end)
      local service = assert(minigun.service(%q, { ring = "4K" }))
      print "ready"
      io.stdout:flush()
      service:serve(function(request) return request end)
    ]]):format(place.path)))
    server:prints "ready"
    local client = place:connect()
    local Box, inside = {}, {}
    minigun.register("box", Box, function(box)
      if box.asks then inside[#inside + 1] = client:call(box.asks) end
      return { box.text }
    end, function(kept)
      inside[#inside + 1] = client:call(#kept[1])
      return setmetatable({ text = kept[1] }, Box)
    end)
    local reply = client:call { setmetatable({ text = "a", asks = "inner" }, Box), ("x"):rep(3000) }
    assert.equal("a!", reply[1].text)
    assert.equal(Box, getmetatable(reply[1]))
    assert.same({ "inner", 2 }, { inside[1], inside[#inside] }) -- dump is called again where its buffer grows
    reply = client:call(setmetatable({ text = ("long"):rep(5000) }, Box)) -- in parts
    assert.equal(20001, #reply.text)
    local ok, err = pcall(client.call, client, setmetatable({ text = "bad" }, Box))
    assert.is_false(ok)
    assert.equal("unserialisable", err.kind)
    assert.is_truthy(err.message:find "refused by the hook", err.message)
    assert.equal(1, client:call(1))
  end)
end)

describe("V2: the ring", function()
  in_test("takes any length at any place, full and empty", function(place)
    place:serve '{ ring = "4K" }'
    local client, count = place:connect { ring = "4K" }, 0
    local text = ("abcdefgh"):rep(2000)
    -- Frames of all lengths one after the other begin at each place of the ring.
    for round = 1, support.short_or_long(2, 20) do
      for n = 0, 1100, round == 1 and 1 or 7 do
        if client:call(text:sub(1, n)) ~= text:sub(1, n) then error(n) end
        count = count + 1
      end
    end
    for _, n in ipairs { 4061, 4062, 4063, 4064, 4065, 4077, 4080, 4096, 8192, 12000 } do
      assert(client:call(text:sub(1, n)) == text:sub(1, n), n)
    end
    assert.is_true(count > 1000)
  end)

  in_test("that is full keeps what is in it, and makes its sender wait", function(place)
    place:serve '{ ring = "4K" }'
    local client = place:connect { ring = "4K" }
    local waits = client:submit { op = "sleep", 0.3 }
    local n, future, message = 0
    repeat
      future, message = client:submit(("x"):rep(100), { wait = false })
      n = n + 1
    until not future
    assert.equal("full", message)
    assert.error_matches(function() client:submit(1, { wiat = false }) end, "did you mean 'wait'")
    assert.is_true(n > 10 and n < 60)
    for i = 1, 200 do client:send { op = "next", i } end -- waits for room
    assert.equal(0.3, waits:result())
    assert.same({ 200, 0 }, client:call { op = "count" })
  end)
end)

describe("V3: a client", function()
  in_test("may come before its server", function(place)
    local client = place:client [[
      local client = assert(minigun.connect(path, { wait = 10 }))
      print(client:call "first")
    ]]
    support.sleep(0.2)
    place:serve()
    assert.equal("first\n", services.ends_well(client))
  end)

  in_test("is told clearly why it cannot attach", function(place)
    local client, message, errno = minigun.connect(place.path)
    assert.is_nil(client)
    assert.equal(2, errno)
    assert.is_truthy(message:find("cannot connect to the service '" .. place.path .. "': there is no server", 1, true))
    support.write_file(place.path, "")
    client, message = minigun.connect(place.path)
    assert.is_nil(client)
    assert.is_truthy(message:find "no server listens there")
    assert.error_matches(function() minigun.connect "" end, "the path of a socket")
    assert.error_matches(function() minigun.connect(place.path, { waits = 1 }) end, "did you mean 'wait'")
  end)

  in_test("finds a server again that ends and comes back, and never loses a request silently", function(place)
    local server = place:serve()
    local client = place:connect { reconnect = true }
    assert.equal(1, client:call(1))
    local waits = client:submit { op = "sleep", 60 }
    support.sleep(0.05)
    server:signal "KILL"
    local ok, err = pcall(waits.result, waits, 5)
    assert.is_false(ok)
    assert.equal("lost", err.kind)
    server:wait()
    place:serve()
    assert.equal(2, client:call(2))
    local other = place:connect()
    assert.is_nil(other:call { op = "stop" })
    support.wait_until(function() return not pcall(other.call, other, 1) end)
    ok, err = pcall(other.call, other, 1)
    assert.is_false(ok)
    assert.equal("lost", err.kind)
    local sent, message = other:send(1)
    assert.is_nil(sent)
    assert.is_truthy(message:find "the service was closed", message)
  end)
end)

describe("V4: a path", function()
  in_test("is taken over where nobody listens, and refused where somebody does", function(place)
    local first = place:serve()
    local service, message, errno = minigun.service(place.path)
    assert.same({ nil, 98 }, { service, errno })
    local cannot = "cannot open the service '%s': "
    assert.equal(cannot:format(place.path) .. "a server listens there already, or it is no socket", message)
    local beyond = place.path .. ".none/socket"
    assert.same({ nil, cannot:format(beyond) .. "No such file or directory; make its directory first", 2 },
      { minigun.service(beyond) })
    first:signal "KILL"
    first:wait()
    local second = place:serve()
    assert.equal(1, place:connect():call(1))
    second:signal "KILL"
    second:wait()
    service = assert(minigun.service(place.path))
    assert.is_truthy(tostring(service):find "0 clients")
    service:close()
    assert.is_nil(support.read_file("/proc/net/unix"):find(place.path, 1, true))
    assert.is_truthy(select(2, minigun.connect(place.path)):find "there is no server")
    service:close()
  end)

  in_test("for which several servers reach at once is one's alone", function(place)
    for round = 1, support.short_or_long(3, 30) do
      local list, winner = {}, nil
      for i = 1, 5 do
        list[i] = place:launch("spec/programs/service_server.lua " .. support.quote(place.path))
      end
      for _, each in ipairs(list) do
        each:wait_for(function() return each:output():find "ready" or each:log():find "listens there already" end)
        if each:output():find "ready" then
          assert(not winner, "two servers listen there")
          winner = each
        end
      end
      assert(winner, "no server has come up")
      assert.equal(round, place:connect():call(round))
      winner:signal "KILL" -- its file stays, for the next round
      for _, each in ipairs(list) do each:wait() end
    end
  end, 120)

  in_test("is given back at Ctrl-C, which ends a server as any other program", function(place)
    local server = place:serve()
    local client = place:connect()
    assert.equal(1, client:call(1))
    server:signal "INT"
    assert.same({ nil, 2 }, { server:wait() })
    assert.equal("interrupted!\n", server:log())
    assert.is_truthy(select(2, minigun.connect(place.path)):find "there is no server")
  end)

  in_test("that is no socket is left alone", function(place)
    support.write_file(place.path, "mine")
    local service, message = minigun.service(place.path)
    assert.is_nil(service)
    assert.is_truthy(message:find "no socket")
    assert.equal("mine", support.read_file(place.path))
    service, message = minigun.service(place.directory .. "/missing/s")
    assert.is_nil(service)
    assert.is_truthy(message:find "No such file")
    service, message = minigun.service("/" .. ("x"):rep(200))
    assert.is_nil(service)
    assert.is_truthy(message:find "too long")
  end)

  in_test("may be an abstract name, which needs no file", function(place)
    place.path = "@" .. place.path
    local server = place:serve()
    local client = place:connect()
    assert.equal(1, client:call(1))
    server:signal "KILL"
    server:wait()
    place:serve()
    assert.equal(2, place:connect():call(2))
  end)
end)

describe("V8: a handler", function()
  in_test("hears by its descriptor of what a step has left, and of nothing when all is done", function(place)
    local service, loop = assert(minigun.service(place.path)), assert(require("minigun.loop").new "epoll")
    local n, steps = 0, 0
    service:on_request(function() n = n + 1 end)
    local client = place:client [[
      local c = assert(minigun.connect(path, { wait = 5 }))
      support.wait_until(function() return support.read_file(path .. ".go") end)
      for i = 1, 200 do c:send(i) end
      print "sent"
      io.stdout:flush()
      minigun.sleep(60)
    ]]
    assert(loop:watch_io(service:fd(), "r", function()
      steps = steps + 1
      service:step()
    end))
    loops.run_until(loop, function() return service:clients() == 1 end)
    support.write_file(place.path .. ".go", "")
    client:prints "sent" -- so one step finds them all
    loops.run_until(loop, function() return n == 200 end)
    local before = steps
    loop:after(0.2, function() loop:stop() end)
    loop:run()
    assert.is_true(steps - before < 5, steps - before)
    loop:close()
    service:close()
  end)

  in_test("hears by its descriptor of what an interrupted serve has left, too", function(place)
    local server = place:client [[
      local core, loops = require "minigun.core", require "spec.loops"
      local service, loop, n = assert(minigun.service(path)), assert(require("minigun.loop").new "epoll"), 0
      print "ready"
      io.stdout:flush()
      print(pcall(service.serve, service, function()
        n = n + 1
        if n == 1 then support.wait_until(function() return support.read_file(path .. ".go") end) end
        if n == 10 then core.kill(core.pid(), 2) end
      end))
      service:on_request(function() n = n + 1 end)
      assert(loop:watch_io(service:fd(), "r", function() service:step() end))
      loops.run_until(loop, function() return n == 200 end)
      print "all"
    ]]
    server:prints "ready"
    local client = place:connect()
    for i = 1, 200 do client:send(i) end
    support.write_file(place.path .. ".go", "")
    server:prints "all"
    assert.matches("ready\nfalse\tinterrupted!\nall\n", server:output())
  end)

  in_test("is asked for no more of a client than max_requests at once, and for the rest when some are answered",
    function(place)
      place:serve "{ max_requests = 2 }"
      local client, other, futures, order = place:connect(), place:connect(), {}, {}
      for i = 1, 6 do
        futures[i] = client:submit { op = "later", 0.4 - i * 0.05 }
        futures[i]:on_done(function() order[#order + 1] = i end)
      end
      assert.equal(0.01, other:call { op = "later", 0.01 })
      for i = 6, 1, -1 do assert.equal(0.4 - i * 0.05, futures[i]:result(20)) end
      assert.is_true(order[1] <= 2, order[1]) -- the last would be first if all were at work at once
    end)

  in_test("sees its client", function(place)
    place:serve()
    local client = place:connect()
    local who = client:call { op = "who" }
    assert.same({ pid = support.pid(), uid = core.own_user(), number = client.number },
      { pid = who.pid, uid = who.uid, number = who.number })
  end)
end)
