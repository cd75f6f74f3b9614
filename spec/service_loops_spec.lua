-- Rule V9 of services: they and their clients stand in every event loop, and in threads a call lets the others go on.
local minigun = require "minigun"
local loops = require "spec.loops"
local services = require "spec.services"
local support = require "spec.support"

local in_test = services.tests(_ENV)

local function serve(place, name)
  local server = place:launch(("spec/programs/service_loop.lua %s %s"):format(support.quote(place.path), name))
  server:prints "ready"
  return server
end

for _, adapter in ipairs(loops.list) do
  describe("V9: in the loop '" .. adapter.name .. "'", function()
    in_test("a service answers, and a client hears, while timers go on", function(place)
      loops.in_test(adapter, pending, function(loop)
        local server = serve(place, adapter.name)
        local client, n, sum, ticks = place:connect(), 200, 0, 0
        local watch = assert(loop:watch_io(client:fd(), "r", function() client:step() end))
        local timer = loop:every(0.005, function() ticks = ticks + 1 end)
        local left = n
        local function hear(future)
          sum, left = sum + future:result(), left - 1
        end
        for i = 1, n do client:submit(i):on_done(hear) end
        local late, others = {}, 0
        for i = 1, 4 do
          late[i] = client:submit "late"
          late[i]:on_done(function() others = others + 1 end)
        end
        loops.run_until(loop, function() return left == 0 and others == 4 end)
        assert.equal(n * (n + 1), sum)
        assert.equal("late", late[4]:result())
        assert.is_true(ticks > 1, ticks) -- more or fewer, by how fast the machine is
        local there
        client:submit("ticks"):on_done(function(future) there = future:result() end)
        loops.run_until(loop, function() return there end)
        assert.is_true(there > 5, there)
        -- What nobody has asked for costs nothing, and the server's end is heard.
        local lost
        server:signal "STOP"
        client:submit(1):on_done(function(future) lost = future:failure() end)
        server:signal "KILL"
        loops.run_until(loop, function() return lost end)
        assert.equal("lost", lost.kind)
        watch:stop()
        timer:stop()
        return loop
      end)
    end)
  end)
end

-- A client whose threads all call at once.
local threaded <const> = [[
  %s
  local client = assert(minigun.connect(path, { wait = 5 }))
  local t = minigun.now()
  local list = {}
  for i = 1, 8 do list[i] = i end
  local replies = minigun.map(list, function(i)
    local first = client:call(i)
    return first == 2 * i and client:call "later" or "wrong"
  end, { threads = 8 })
  for i = 1, 8 do assert(replies[i] == "late") end
  local took = minigun.now() - t
  assert(took < 1.8, took) -- one after the other it takes 2.4
  assert(client:call(4) == 8)
]]

describe("V9: in threads", function()
  for how, head in pairs {
    ["of cqueues, where it is installed"] = "",
    ["of the library's own"] = "package.preload.cqueues = function() error 'hidden' end",
  } do
    in_test("a call lets the others go on, " .. how, function(place)
      serve(place, "epoll")
      services.ends_well(place:client(threaded:format(head)))
    end)
  end

  in_test("that look for a server again find it once", function(place)
    local first = serve(place, "epoll")
    local client = place:client [[
      local client = assert(minigun.connect(path, { wait = 10, reconnect = true }))
      print(client:call(1))
      io.stdout:flush()
      while pcall(client.call, client, 1) do minigun.sleep(0.005) end
      local list = {}
      for i = 1, 8 do list[i] = i end
      local replies = minigun.map(list, function(i) return client:call(i) end, { threads = 8 })
      for i = 1, 8 do assert(replies[i] == 2 * i) end
    ]]
    assert(client:wait_for(function() return client:output() == "2\n" end), client:log())
    first:signal "KILL"
    first:wait()
    support.sleep(0.1)
    serve(place, "epoll")
    services.ends_well(client)
  end)

  in_test("of which one waits for room the others go on", function(place)
    serve(place, "epoll")
    services.ends_well(place:client [[
      local client = assert(minigun.connect(path, { wait = 5, ring = "4K" }))
      local list = {}
      for i = 1, 200 do list[i] = i end
      local replies = minigun.map(list, function(i) return client:call(i) end, { threads = 200 })
      for i = 1, 200 do assert(replies[i] == 2 * i) end
    ]])
  end)

  in_test("a service waits, too", function(place)
    services.ends_well(place:client [[
      local service = assert(minigun.service(path))
      local pid = require("spec.programs.build").unruly().fork()
      if pid == 0 then
        local client = assert(minigun.connect(path, { wait = 5 }))
        for i = 1, 100 do assert(client:call(i) == i) end
        client:send "stop"
        os.exit(0, false)
      end
      local ticks = 0
      local p = minigun.pipeline "p"
      p:producer { 1, 2 }
      p:processor("both", { threads = 2 }, function(which)
        if which == 2 then
          for _ = 1, 10 do
            minigun.sleep(0.002)
            ticks = ticks + 1
          end
          return
        end
        service:serve(function(request)
          if request == "stop" then service:stop() end
          return request
        end)
      end)
      p:run()
      assert(ticks == 10)
      require("spec.programs.build").unruly().wait(pid)
      service:close()
    ]])
  end)
end)

describe("futures of clients", function()
  in_test("that several requests have in common are not cancelled with one of them", function(place)
    local server = place:launch("-e " .. support.quote(([[
      local minigun = require "minigun"
      local pool = minigun.executor(function(s) minigun.sleep(s) return "slept" end, { processes = 1 })
      local service = assert(minigun.service(%q))
      print "ready"
      io.stdout:flush()
      local busy = pool:submit(0.5) -- so the other one has not begun
      local shared = pool:submit(0.01)
      service:serve(function() return shared end)
    ]]):format(place.path)))
    server:prints "ready"
    local first, second = place:connect(), place:connect()
    local gone, stays = first:submit(1), second:submit(1)
    assert.is_false(gone:cancel())
    first:close()
    assert.equal("lost", gone:failure().kind)
    assert.equal("slept", stays:result(10))
    assert.equal("slept", second:call(1, 10))
  end)

  in_test("of several services are waited for together", function(place)
    local one = serve(place, "epoll")
    local first = place:connect()
    place.path = place.directory .. "/other"
    local other = serve(place, "epoll")
    local second = place:connect()
    local seen = {}
    for future in minigun.as_completed({ first:submit "late", second:submit(1), second:submit "late" }, 10) do
      seen[#seen + 1] = future:result()
    end
    assert.same({ 2, "late", "late" }, seen)
    local done, others = minigun.wait_all({ first:submit "late", second:submit(1) }, { first = "done" })
    assert.same({ 1, 1 }, { #done, #others })
    one:signal "STOP"
    other:signal "STOP"
    done = minigun.wait_all({ first:submit(1), second:submit(2) }, { timeout = 0.02 })
    assert.equal(0, #done)
    one:signal "CONT"
    other:signal "CONT"
    assert.equal(6, first:call(3))
  end)

  in_test("are waited for together with those of a pool", function(place)
    serve(place, "epoll")
    local client, pool <close> = place:connect(), minigun.executor(function(x) return x end, { processes = 1 })
    local seen, n = {}, 0
    for future in minigun.as_completed({ pool:submit "own", client:submit "late", client:submit(1) }, 20) do
      seen[future:result()], n = true, n + 1
    end
    assert.equal(3, n)
    assert.is_true(seen.own and seen.late and seen[2])
  end)

  in_test("raise what a function of on_done raises, in what moves the client", function(place)
    serve(place, "epoll")
    local client = place:connect()
    client:submit(1):on_done(function() error "mine" end)
    local ok, err = pcall(client.call, client, 2)
    assert.is_false(ok)
    assert.is_truthy(tostring(err):find "service_loops_spec.lua:%d+: mine", tostring(err))
    assert.equal(6, client:call(3))
    local late = client:submit "late"
    assert.same({ nil, "timeout" }, { late:result(0.01) })
    assert.equal("late", late:result())
  end)
end)
