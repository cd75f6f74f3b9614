-- Run by spec/faults_spec.lua with the test build: full collections of Lua at arbitrary allocations, while everything
-- that the core binds to Lua is in use, in the coordinator and in its workers. What the binding forgets to anchor is
-- gone then. Prints WRONG lines for what did not come out as it went in.
-- collect.lua SEED FROM TO: one round with every n from FROM to TO, see core.faults.collect
local core = require "minigun.core"
local minigun = require "minigun"
local values = require "spec.values"

local seed, from, to = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3])
local checks, n = 0, nil

local function check(ok, what)
  checks = checks + 1
  if not ok then print(("WRONG: n = %d: %s"):format(n, what)) end
end

-- Types without and with hooks, whose hooks allocate.
local Plain, Boxed = {}, {}
Plain.__index = Plain
minigun.register("plain", Plain)
minigun.register("boxed", Boxed, function(object) return { text = ("<"):rep(20) .. object.text, list = { {}, {} } } end,
  function(value) return setmetatable({ text = value.text:sub(21) }, Boxed) end)

local function odd_values(i)
  local shared = { tostring(i):rep(30) }
  return { shared, shared, setmetatable({ x = { i } }, Plain), setmetatable({ text = "text" .. i }, Boxed),
    { [1.5] = "float", [true] = {}, [("long key "):rep(9)] = i } }
end

local function is_odd(value, i)
  return value[1] == value[2] and value[1][1] == tostring(i):rep(30) and getmetatable(value[3]) == Plain
    and value[3].x[1] == i and value[4].text == "text" .. i and value[5][1.5] == "float"
    and value[5][("long key "):rep(9)] == i
end

local function codec()
  for i = 1, 12 do
    local value = values.random()
    local bytes, references = core.encode(value)
    check(values.same(value, (core.decode(bytes, references))), "a value there and back")
    check(is_odd(core.decode(core.encode(odd_values(i))), i), "objects there and back")
    local at = math.random(#bytes)
    local ok = pcall(core.decode, bytes:sub(1, at - 1) .. string.char(math.random(0, 255)) .. bytes:sub(at + 1))
    check(ok, "damaged bytes raise")
    local _, message = pcall(core.encode, { { ["a" .. i] = { print } } })
    check(tostring(message):find("a" .. i, 1, true), "no path in: " .. tostring(message))
  end
end

local function spools()
  local path = os.tmpname()
  do
    local spool <close> = assert(minigun.spool(path))
    for i = 1, 20 do assert(spool:write(odd_values(i))) end
    assert(minigun.spool(path)) -- and one that is left to the collector
    local file = assert(io.open(path, "r+b"))
    file:seek("set", 60)
    file:write "\xff\xff"
    file:close()
    local count = 0
    for value in spool:records() do
      count = count + 1
      check(value[4].text:find "^text%d+$", "a record of a spool")
      if count == 10 then
        spool:records()() -- another reader, which is left to the collector
      end
    end
    check(count == 19 and spool:damage().places == 1, "a spool of 20 records, one damaged, has " .. count)
  end
  os.remove(path)
end

-- Items of every kind through every kind of context.
local function run(options, wanted, define)
  local p = minigun.pipeline "collect"
  p:producer("numbers", options.source or {}, function(emit)
    for i = 1, 60 do emit { i = i, odd = odd_values(i) } end
  end)
  define(p)
  options.run = options.run or {}
  options.run.failures, options.run.memory = "collect", options.memory
  local r = p:run(options.run)
  local sum = 0
  for _, item in ipairs(r.items) do
    if type(item) == "number" then sum = sum + item
    elseif #item > 0 then
      for _, one in ipairs(item) do sum = sum + one.i end
    else
      sum = sum + item.i
      check(is_odd(item.odd, item.i), "an item")
    end
  end
  for _, failure in ipairs(r.failures) do sum = sum + failure.item.i end
  check(sum == wanted, ("%d instead of %d, %d failures: %s"):format(sum, wanted, #r.failures, tostring(r.failures[1])))
  return r
end

local ALL <const> = 60 * 61 // 2

local function pass(item, emit, ctx)
  ctx:collect("seen", { tostring(item.i) })
  ctx:count("passed", 1)
  if item.i % 20 == 0 then error({ code = item.i }, 0) end
  if item.i % 30 == 7 and ctx.attempt == 1 then error("once " .. item.i) end
  if item.i % 9 == 1 then emit:to("beside", item) else emit(item) end
end

local function waiting(item, emit)
  minigun.sleep(0.0001)
  if item.i % 16 == 0 then
    local pipe <close> = assert(io.popen "echo x")
    minigun.wait(pipe, "r", 5)
    check(pipe:read "l" == "x", "a pipe")
  end
  emit(item)
end

local function pipelines()
  local r = run({ memory = 1 << 18 }, ALL, function(p)
    p:processor("pool", { processes = 2, retries = 1 }, pass)
    p:processor("beside", { await = true, inline = true, to = {} }, function(item, emit) emit(item) end)
  end)
  check(#r.collected.seen == 57, "what was collected")
  run({ source = { processes = 1 } }, ALL, function(p)
    p:processor("threads", { processes = 1, threads = 4 }, waiting):batch(7)
    p:processor("forks", { process_per_batch = 2 }, function(batch, emit) emit(batch) end)
  end)
  run({}, ALL, function(p)
    p:threads(5, function() p:processor("here", waiting) end)
    p:map("by key", { processes = 2, partition = function(item) return tostring(item.i % 5) end },
      function(item) return item end)
    p:batch("keys", { max_size = 9, by = function(item) return "key" .. item.i % 3 end })
    p:stage("loop", { processes = 1 }, function(input, emit)
      for batch in input do emit(batch) end
    end)
  end)
  run({ memory = 1 << 17 }, ALL, function(p)
    p:filter("keep", { processes = { n = 2, ordered = true }, timeout = 60 }, function() return true end)
    p:map("number", function(item) return item.i end)
    p:reduce("sum", 0, function(a, b) return a + b end, { processes = 2 })
  end)
  local letters, journal = os.tmpname(), os.tmpname()
  do
    local spool <close> = assert(minigun.spool(letters))
    run({ run = { journal = journal, dead_letter = spool } }, ALL, function(p)
      p:processor("fails", { processes = 1 }, pass)
      p:processor("beside", { await = true, to = {} }, function(item, emit) emit(item) end)
    end)
  end
  os.remove(letters)
  os.remove(journal)
  local count = 0
  for item in minigun.pipeline():producer("p", odd_values(3)):map({ processes = 1 }, function(x) return x end)
    :iterate() do
    count = count + (item ~= nil and 1 or 0)
  end
  check(count == 5, "an iteration")
end

-- A service here, its client in a child: objects with hooks, replies in parts, futures, failures.
local function services()
  local service <close> = assert(minigun.service("@collect" .. core.now(), { ring = "4K" }))
  local child = core.fork(function()
    local client <close>, waits, good = assert(minigun.connect(service.path)), {}, true
    for i = 1, 6 do waits[i] = client:submit(odd_values(i)) end
    for i = 6, 1, -1 do good = good and is_odd(waits[i]:result(), i) end
    for _, value in ipairs { ("part"):rep(5000), values.random(), values.random() } do
      good = good and values.same(value, client:call(value))
    end
    local ok, err = pcall(client.call, client, "fail")
    good = good and not ok and err.kind == "error" and client:submit(1):cancel() == false
    client:send "stop"
    return good and 0 or 1
  end)
  service:serve(function(request)
    if request == "stop" then service:stop() end
    if request == "fail" then error { "an object" } end
    return request
  end)
  local ended, code
  repeat ended, code = child:reap() until ended
  check(code == 0, "a service")
end

for k = from, to do
  n = k
  math.randomseed(seed, k)
  core.faults.collect(k, seed + k)
  codec()
  spools()
  services()
  pipelines()
end
print(("%d checks, %d collections"):format(checks, core.faults.collect(0, 0)))
