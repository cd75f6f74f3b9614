-- Services: rules V4 and V6, and what else may go wrong: deaths at every instruction, clients that are stopped, slow or
-- hostile, no descriptors, no memory, system calls that fail. Servers and clients are processes of their own.
local minigun = require "minigun"
local programs = require "spec.programs.build"
local services = require "spec.services"
local support = require "spec.support"

local in_test = services.tests(_ENV)

local function run_program(place, words, build, timeout)
  return support.run(("LUA_PATH=%s LUA_CPATH=%s lua5.4 spec/programs/%s"):format(
    support.quote "./lua/?.lua;./lua/?/init.lua;./?.lua;;", support.quote("./" .. build .. "/?.so;;"),
    words:gsub("%%D", (place.directory:gsub("%%", "%%%%")))), { timeout = timeout })
end

describe("V4: a death", function()
  for _, build in ipairs { support.build_dir(), "build-faults" } do
    local what = build == "build-faults" and "between two stores" or "at any moment"
    in_test(what .. " loses no reply silently, mixes up none, gives none twice, and leaves nothing", function(place)
      local seed = tonumber(os.getenv "SEED") or os.time() % 100000
      local done = run_program(place, ("service_deaths.lua %%D %d %d"):format(support.short_or_long(10, 1000), seed),
        build, support.short_or_long(60, 600))
      assert.is_nil((done.stdout .. done.stderr):match "WRONG[^\n]*", ("SEED=%d\n%s%s"):format(seed, done.stdout,
        done.stderr))
      assert.equal("", done.stderr)
      local deaths, answered = done.stdout:match "(%d+) deaths, (%d+) answered"
      assert.is_true(tonumber(deaths) >= support.short_or_long(16, 2000), done.stdout)
      assert.is_true(tonumber(answered) > 100, done.stdout)
    end, support.short_or_long(90, 700))
  end

  in_test("of a client is noticed at once, and ends its open requests only", function(place)
    place:serve()
    local witness = place:connect()
    local client = place:client [[
      local client = assert(minigun.connect(path, { wait = 5 }))
      for i = 1, 20 do client:submit { op = "next", i } end
      print(client:call(1))
      io.stdout:flush()
      for i = 1, 20 do client:submit { op = "next", 20 + i } end
      minigun.sleep(60)
    ]]
    assert(client:wait_for(function() return client:output() == "1\n" end), client:log())
    assert.equal(2, witness:call { op = "status" }.clients)
    client:signal "KILL"
    assert.is_true(support.wait_until(function() return witness:call { op = "status" }.clients == 1 end, 3))
  end)
end)

describe("V6: a client that", function()
  in_test("is stopped holds up nobody else, and goes on later", function(place)
    place:serve '{ ring = "16K" }'
    local witness = place:connect()
    local client = place:client [[
      local client = assert(minigun.connect(path, { wait = 5, ring = "16K" }))
      local waits = {}
      for i = 1, 400 do waits[i] = client:submit(("x"):rep(1000) .. i) end
      print "asked"
      io.stdout:flush()
      for i = 1, 400 do assert(waits[i]:result() == ("x"):rep(1000) .. i) end
      print(client:call "well")
    ]]
    support.sleep(0.02 * math.random()) -- in the middle of it, at best
    client:signal "STOP"
    local began, n = support.now(), 0
    repeat
      assert.equal(n, witness:call(n, 5))
      n = n + 1
    until support.now() - began > 0.15
    client:signal "CONT"
    assert.is_truthy(services.ends_well(client):find "well")
  end)

  in_test("does not read its replies costs the server one of them, not all", function(place)
    place:serve '{ ring = "64K" }'
    local witness = place:connect()
    local before = witness:call { op = "status" }.memory
    local client = place:client [[
      local core, client = require "minigun.core", assert(minigun.connect(path, { wait = 5 }))
      local text = ("x"):rep(1 << 20)
      for i = 1, 64 do client.channel:send(core.protocol.CALL, i, text) end
      while not client.channel:flush() do client.channel:wait(2, 0.05) end
    ]]
    support.sleep(0.5)
    for i = 1, 100 do assert.equal(i, witness:call(i, 5)) end
    assert.is_true(witness:call { op = "status" }.memory - before < 20 << 10)
    client:signal "KILL"
  end)

  in_test("is slow gets its replies also while others keep the server busy", function(place)
    place:serve '{ ring = "4K" }'
    local busy = {}
    for i = 1, 2 do
      busy[i] = place:client [[
        local client, waits = assert(minigun.connect(path, { wait = 5 })), {}
        print "there"
        io.stdout:flush()
        while true do
          for i = 1, 30 do waits[i] = client:submit(i) end
          for i = 1, 30 do waits[i]:result() end
        end
      ]]
      busy[i]:prints "there"
    end
    local client, text = place:connect { ring = "4K" }, ("x"):rep(40000) -- in 40 parts there and back
    for i = 1, 5 do assert.equal(text .. i, client:call(text .. i, 10)) end
    for _, each in ipairs(busy) do each:signal "KILL" end
  end)

  in_test("writes whatever it likes ends its own connection and harms no other", function(place)
    local hostile = programs.program "hostile_client"
    if not hostile then return pending "there is no C compiler" end
    local server = place:serve '{ ring = "64K", max_message = 1000000 }'
    local witness, seed = place:connect(), tonumber(os.getenv "SEED") or os.time()
    local done
    for i = 1, support.short_or_long(2, 60) do
      done = support.run(("%s %s 200 %d"):format(hostile, place.path, seed + i))
      assert.equal("", done.stderr, ("SEED=%d"):format(seed))
      assert.is_true(tonumber(done.stdout) > 20)
      for k = 1, 50 do assert.equal(k, witness:call(k, 5)) end
    end
    assert.is_true(support.wait_until(function() return witness:call { op = "status" }.clients == 1 end))
    local names = server:log()
    assert.is_truthy(names:find("%[warning%] %(pid %d+%): service '[^']+': client %d+ %(process %d+, user %d+%): " ..
      "the other side has written something that is no message"), names:sub(1, 500))
    assert.is_nil(names:find "lua5.4")
  end, 200)

  in_test("sends more than max_message is told so", function(place)
    place:serve '{ max_message = 100000 }'
    local client = place:connect()
    assert.equal(99000, #client:call(("x"):rep(99000)))
    local ok, err = pcall(client.call, client, ("x"):rep(200000))
    assert.is_false(ok)
    assert.equal("lost", err.kind)
    assert.is_truthy(err.message:find "too large %(max_message%)")
    assert.equal(1, place:connect():call(1))
  end)
end)

describe("a service", function()
  in_test("that has no descriptor left turns clients away, and takes them again", function(place)
    place:serve("{}", { prefix = "prlimit --nofile=64" })
    local clients, client, message, errno = {}
    repeat
      client, message, errno = minigun.connect(place.path)
      clients[#clients + 1] = client
    until not client or #clients > 100
    assert.equal(16, errno)
    assert.is_truthy(message:find "no descriptor left" or message:find "Too many open files", message)
    assert.is_true(#clients > 30 and #clients < 64, #clients)
    for i, each in ipairs(clients) do assert.equal(i, each:call(i)) end
    for i = 1, 10 do clients[i]:close() end
    assert.equal(1, place:connect():call(1))
    for _, each in ipairs(clients) do each:close() end
  end)

  in_test("needs no /dev/shm", function(place)
    local without = [[unshare -m sh -c 'umount -l /dev/shm 2>/dev/null; exec "$@"' sh]]
    if support.run(without .. " true").code ~= 0 then return pending "not root, or unshare is not there" end
    place.path = "@" .. place.path -- whose directory may lie there
    place:serve("{}", { prefix = without })
    local text = ("x"):rep(3 << 20)
    assert.is_true(place:connect():call(text) == text)
  end)

  in_test("that has no memory for a message, or for a client, says so to that one and goes on", function(place)
    if support.under then return pending "a sanitizer needs more memory" end
    local server = place:serve("{}", { prefix = "prlimit --as=48000000" })
    local witness, client = place:connect(), place:connect()
    assert.equal(4 << 20, #client:call(("x"):rep(4 << 20)))
    local ok, err = pcall(client.call, client, ("x"):rep(36 << 20))
    assert.is_false(ok)
    assert.is_truthy(err.message:find "Cannot allocate memory" or err.message:find "not enough memory", err.message)
    assert.equal(1, witness:call(1))
    local clients, message = {}
    repeat
      clients[#clients + 1], message = minigun.connect(place.path)
    until message or #clients > 500
    assert.is_truthy(message:find "the server has no memory for a further client", message)
    assert.equal(2, witness:call(2))
    for _, each in ipairs(clients) do each:close() end
    assert.equal(3, place:connect():call(3))
    assert.is_nil(server:log():find "lua5.4:")
  end)

  in_test("and its clients end in a clear error, whichever system call fails", function(place)
    local done = run_program(place, "service_calls.lua %D", "build-faults", 60)
    assert.equal("", done.stderr)
    assert.is_nil(done.stdout:match "WRONG[^\n]*", done.stdout)
    local runs, failed = done.stdout:match "(%d+) runs, (%d+) with an error"
    assert.is_true(tonumber(runs) > 60 and tonumber(failed) > 8, done.stdout)
  end)
end)
