-- Run by spec/service_deaths_spec.lua: kills servers and clients of a service, at random moments and, with the test
-- build, between two stores, and compares what came of each request: service_deaths.lua DIRECTORY DEATHS SEED.
--
-- Clients that live long ask all the time, whatever happens; each request is numbered, and its reply is made of its
-- number. Besides there are clients that die. A line that begins with WRONG for whatever went wrong; the last line says
-- how many died, how many requests there were, and how many of these were lost and said so.
local core = require "minigun.core"
local minigun = require "minigun"
local unruly = require("spec.programs.build").unruly()

local directory, deaths, seed = arg[1], math.tointeger(arg[2]), math.tointeger(arg[3])
local path = directory .. "/s"
local LIMIT <const> = 5 -- seconds in which a request is to be answered or lost
local CLIENTS <const> = 3
math.randomseed(seed)

local faults = rawget(core, "faults")
local POINTS <const> = {
  server = { "memory_made", "client_welcomed", "frame_written", "frame_published", "frame_read", "frame_released",
    "says_asleep", "sleeper_claimed" },
  client = { "client_connected", "client_greeted", "client_attached", "frame_written", "frame_published", "frame_read",
    "frame_released", "says_asleep", "sleeper_claimed" },
}

local function wrong(...)
  io.write("WRONG: ", ("%s "):format(core.pid()), (...):format(select(2, ...)), "\n")
  io.stdout:flush()
end

-- A process of its own, which must not come back from f.
local function child(f, ...)
  io.stdout:flush()
  local pid = unruly.fork()
  if pid ~= 0 then return pid end
  local ok, err = pcall(f, ...)
  if not ok then wrong("a child has failed: %s", tostring(err)) end
  io.stdout:flush()
  unruly.leave(ok and 0 or 1)
end

-- From now on this process dies at a point, each in its turn; or it is killed by its parent before.
local function arm(side, turn)
  local list = POINTS[side]
  if faults then faults.die(list[turn % #list + 1], 1 << math.random(0, 8), true) end
end

local function answer(request) return { request[1], request[2] * 3, #request[3] } end

local function serve(turn)
  local service
  repeat -- the one before is being reaped
    service = minigun.service(path, { ring = "4K", max_requests = 16 })
  until service
  if turn then arm("server", turn) end
  service:serve(function(request)
    if request == "stop" then return service:stop() end
    return answer(request)
  end)
  service:close()
end

local payload = ("payload."):rep(1200)

-- Asks a few things at a time until `over` says so. Returns how many were answered and lost.
local function ask(client, number, over)
  local answered, lost, n = 0, 0, 0
  while not over() do
    local batch, sizes = {}, {}
    for i = 1, math.random(12) do
      n = n + 1
      sizes[i] = math.random(8) == 1 and math.random(#payload) or math.random(60)
      batch[i] = client:submit { number, n, payload:sub(1, sizes[i]) }
    end
    if math.random(4) == 1 then client:send { number, 0, "one way" } end
    for i, future in ipairs(batch) do
      local ok, reply, message = pcall(future.result, future, LIMIT)
      local own = n - #batch + i
      if not ok then
        if reply.kind == "lost" then lost = lost + 1 else wrong("request %d: %s", own, tostring(reply)) end
      elseif message == "timeout" then wrong("request %d has had no answer", own)
      elseif reply[1] ~= number or reply[2] ~= own * 3 or reply[3] ~= sizes[i] then
        wrong("request %d of %d has got the answer %s, %s, %s", own, number, reply[1], reply[2], reply[3])
      else
        answered = answered + 1
      end
    end
  end
  return answered, lost
end

local function live(number, from, to)
  local client = assert(minigun.connect(path, { wait = 20, reconnect = true, ring = "4K" }))
  math.randomseed(seed + number)
  local answered, lost = ask(client, number, function() return unruly.read(from) ~= nil end)
  client:close()
  unruly.write(to, ("%d %d %d\n"):format(number, answered, lost))
end

local function die_young(number)
  math.randomseed(seed + number)
  arm("client", number)
  local client = minigun.connect(path, { wait = 1, ring = "4K" })
  if client then ask(client, number, function() return not client.channel end) end
end


-- Whether a process has ended.
local function has_died(pid)
  local stat = io.open(("/proc/%d/stat"):format(pid))
  local state = stat and stat:read("a"):match "^.*%) (%S)"
  if stat then stat:close() end
  return not state or state == "Z"
end

local died = 0

-- Waits until a process is gone; kills it after so long.
local function bury(pid, seconds)
  local due = core.now() + seconds
  while core.now() < due and not has_died(pid) do core.sleep(0.0005) end
  unruly.kill(pid, 9)
  local code = unruly.wait(pid)
  if code and code > 0 then wrong("a process has ended with %d and was to die", code) end
  died = died + (code and 0 or 1)
end

local tell_from, tell_to = unruly.pipe()
local lasting, ask_to = {}, {}
for i = 1, CLIENTS do
  local from
  from, ask_to[i] = unruly.pipe()
  lasting[i] = child(live, i, from, tell_to)
end
local number = CLIENTS
for i = 1, deaths do
  math.randomseed(seed * 1000003 + i)
  local server, dying = child(serve, i), nil
  if i % 2 == 0 then
    number = number + 1
    dying = child(die_young, number)
  end
  bury(server, 0.002 + 0.02 * math.random())
  if dying then bury(dying, 0.01) end
end
-- A client's death, with a server that goes on.
local server = child(serve)
for _ = 1, deaths do
  number = number + 1
  bury(child(die_young, number), 0.001 + 0.01 * math.random())
end
core.sleep(0.1)
for i = 1, CLIENTS do unruly.write(ask_to[i], "x") end
for i = 1, CLIENTS do
  local code, signal = unruly.wait(lasting[i])
  if code ~= 0 then wrong("client %d has ended with %s, %s", i, code, signal) end
end
local last = assert(minigun.connect(path, { wait = 5 }))
local reply = last:call { 1, 2, "x" }
if reply[2] ~= 6 then wrong "the server is not well" end
last:send "stop"
local code = unruly.wait(server)
if code ~= 0 then wrong("the server has ended with %s", code) end
if io.open(path) then wrong "the socket's file is still there" end
local answered, lost = 0, 0
for line in (unruly.read(tell_from) or ""):gmatch "[^\n]+" do
  local _, some, none = line:match "(%d+) (%d+) (%d+)"
  answered, lost = answered + some, lost + none
end
print(("%d deaths, %d answered, %d lost"):format(died, answered, lost))
