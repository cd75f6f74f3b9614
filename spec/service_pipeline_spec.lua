-- A service as the producer of a pipeline: what comes of a request is its reply, wherever the stages stand; rule V8.
local minigun = require "minigun"
local services = require "spec.services"
local support = require "spec.support"

local in_test = services.tests(_ENV)

local function serve(place, context)
  local server = place:launch(("spec/programs/service_pipeline.lua %s %s"):format(support.quote(place.path),
    support.quote(context)))
  server:prints "ready"
  return server
end

local CONTEXTS <const> = { inline = "{}", threads = "{ threads = 3 }", processes = "{ processes = 2, retries = 1 }",
  process_per_batch = "{ process_per_batch = 2, retries = 1 }" }

describe("a pipeline whose producer is a service", function()
  for name, context in pairs(CONTEXTS) do
    in_test("replies with what comes of a request, in context " .. name, function(place)
      local server = serve(place, context)
      local client = place:connect()
      assert.same({ "x" }, client:call "x")
      local two = client:call "two" -- in the order of arrival, which several workers do not keep
      table.sort(two, function(a, b) return a[1] < b[1] end)
      assert.same({ { 1 }, { 2 } }, two)
      assert.is_nil(client:call "none")
      assert.equal(support.pid(), client:call "who"[1].pid)
      local ok, err = pcall(client.call, client, "fail")
      assert.is_false(ok)
      assert.same({ "error", "first" }, { err.kind, err.stage })
      assert.is_truthy(err.message:find "service_pipeline.lua:%d+: boom")
      ok, err = pcall(client.call, client, nil)
      assert.is_false(ok)
      assert.is_truthy(err.message:find "nil cannot be an item")
      local retried = context:find "retries"
      if retried then assert.same({ "die once" }, client:call "die once") end
      local waits, n = {}, support.short_or_long(name == "process_per_batch" and 60 or 300, 5000)
      for i = 1, n do waits[i] = client:submit(i) end
      for i = 1, n do assert(waits[i]:result()[1] == i) end
      assert.same({ "stop" }, client:call "stop")
      assert.is_truthy(services.ends_well(server):find "ready\n1\n")
    end)
  end

  in_test("serves several clients at once, each with its own replies", function(place)
    serve(place, "{ processes = 2 }")
    local clients = {}
    for i = 1, 4 do
      clients[i] = place:client(([[
        local client, waits = assert(minigun.connect(path, { wait = 10 })), {}
        for i = 1, 400 do waits[i] = client:submit { %d, i } end
        for i = 400, 1, -1 do
          local reply = waits[i]:result()[1]
          assert(reply[1] == %d and reply[2] == i)
        end
      ]]):format(i, i))
    end
    for _, client in ipairs(clients) do services.ends_well(client) end
  end)

  in_test("ends in good order at SIGTERM: what is inside is answered, and the socket's file is gone", function(place)
    local server = serve(place, "{ processes = 2 }")
    local client = place:connect()
    local waits = { client:submit { sleep = 0.3 }, client:submit { sleep = 0.3 } }
    assert(support.wait_until(function() return #(support.read_file(place.path .. ".begun") or "") == 2 end))
    server:signal "TERM"
    for _, future in ipairs(waits) do assert.same({ "slept" }, future:result(5)) end
    assert.same({ nil, 15 }, { server:wait() })
    assert.is_truthy(select(2, minigun.connect(place.path)):find "there is no server")
    assert.equal("", server:log())
  end)

  in_test("ends at Ctrl-C and leaves nothing, its workers neither", function(place)
    local server = serve(place, "{ processes = 2 }")
    local client = place:connect()
    assert.same({ "x" }, client:call "x")
    server:signal "INT"
    assert.same({ nil, 2 }, { server:wait() })
    assert.is_true(server:wait_for(function() return #server:left() == 0 end, 3))
    assert.is_truthy(select(2, minigun.connect(place.path)):find "there is no server")
    local ok, err = pcall(client.call, client, "y")
    assert.is_false(ok)
    assert.equal("lost", err.kind)
  end)

  in_test("says that it is run by p:run, as the only producer", function(place)
    local service <close> = assert(minigun.service(place.path))
    local p = minigun.pipeline "p":producer("requests", service):map(function(x) return x end)
    for _, method in ipairs { "start", "iterate" } do
      local ok, err = pcall(function()
        local run = p[method](p)
        if method == "iterate" then run() else run:wait() end
      end)
      assert.is_false(ok)
      assert.is_truthy(tostring(err):find "a service is the only producer of a pipeline", tostring(err))
    end
    assert.error_matches(function() minigun.pipeline "q":producer("requests", service):run() end,
      "no stage takes what would be submitted")
    p = minigun.pipeline("r"):producer { 1 }:producer("requests", service):map(print)
    assert.error_matches(function() p:run() end, "it has a producer")
  end)
end)

describe("V8: a client's death", function()
  in_test("cancels what it has asked for and has not begun; what it has sent is done", function(place)
    serve(place, "{ processes = 1 }")
    local witness = place:connect()
    local client = place:client [[
      local client = assert(minigun.connect(path, { wait = 10 }))
      for i = 1, 50 do client:submit { sleep = 0.2 } end
      client:send { sleep = 0 }
      client:step()
      print "asked"
      io.stdout:flush()
      minigun.sleep(60)
    ]]
    assert(client:wait_for(function() return client:output() == "asked\n" end), client:log())
    local function begun() return #(support.read_file(place.path .. ".begun") or "") end
    assert(support.wait_until(function() return begun() > 0 end))
    client:signal "KILL"
    local began = support.now()
    assert.same({ "x" }, witness:call("x", 20))
    assert.is_true(support.now() - began < 3)
    assert.is_true(begun() < 15, begun()) -- those that had begun by then, and what was sent one way
  end)
end)
