-- SPDX-License-Identifier: MIT
-- Clusters, on this machine: items a second through { cluster }, what an item costs each process, the latency of a
-- single item, and what the Redis commands alone, or Python's RQ and Celery, do with the same.
--     lua5.4 bench/cluster.lua [ITEMS]
-- It starts a server of its own on a unix socket, and two worker hosts of one process each.
package.path = "./lua/?.lua;./lua/?/init.lua;./?.lua;" .. package.path
package.cpath = ("./%s/?.so;"):format(os.getenv "MINIGUN_BUILD" or "build") .. package.cpath
local core = require "minigun.core"
local minigun = require "minigun"

local ENVIRONMENT <const> = ("LUA_PATH='%s' LUA_CPATH='%s'"):format(package.path, package.cpath)
local ITEMS <const> = math.tointeger(tonumber(arg[1])) or 200000
local CHUNK <const>, PIPELINE <const> = 1000, 16
local TICK <const> = 0.01 -- seconds of processor time in /proc/PID/stat
local SINGLE <const>, JOBS <const> = 500, 500

local directory = os.tmpname()
os.remove(directory)
assert(os.execute("mkdir " .. directory))
local socket = directory .. "/redis.sock"
local url = "redis+unix://" .. socket

local function spawn(command)
  local pipe = assert(io.popen(("exec %s >>%s/out 2>&1 & echo $!"):format(command, directory)))
  local pid = pipe:read "n"
  pipe:close()
  return pid
end

-- A program as a user writes it; its mode is its first word.
local PROGRAM <const> = [[
local core = require "minigun.core"
local minigun = require "minigun"
local p = minigun.pipeline "bench"
local many = arg[1] == "many"
if many or not arg[1] then p:producer("source", minigun.range(1, tonumber(arg[2] or 1))) end
p:map("work", { cluster = "%s" }, function(x) return x + 1 end)
if not arg[1] then return p end -- in a worker host
if many then
  p:each("take", function() end)
  local start = core.now()
  p:run { progress = false }
  print(core.now() - start, os.clock())
else
  local executor <close> = p:open()
  local times = {}
  for i = 1, tonumber(arg[2]) do
    local start = core.now()
    assert(executor:submit(i):result())
    times[i] = core.now() - start
  end
  table.sort(times)
  print(times[#times // 2], times[#times * 99 // 100])
end]]

local function ask(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  pipe:close()
  return text
end

-- The same commands for the same bytes, and nothing else: chunks are put, taken, done, and their results are read.
local function raw(n)
  local connection = require "minigun.cluster.connection".new(assert(require "minigun.base.redis_url".parse(url)))
  local engine = require "minigun.cluster.engine".new(connection, "raw", "work", "job")
  assert(engine:create { code = "x", by = "raw", limit = 1000, lease = 30000, tries = 5 })
  local message, items, outputs = require "minigun.cluster.message", {}, {}
  for i = 1, CHUNK do items[i], outputs[i] = core.encode(i), core.encode(i + 1) end
  local bytes, chunks = message.chunk(items), {}
  local result = core.encode { each = 1, out = message.elements(outputs), more = {}, busy = 0 }
  for i = 1, PIPELINE do chunks[i] = bytes end
  local start = core.now()
  for first = 1, n // CHUNK, PIPELINE do
    assert(engine:put("raw", 1000, first, chunks))
    local words = {}
    for _, entry in ipairs(assert(engine:take("raw", PIPELINE, 1000))) do
      table.move({ entry[1], "ok", result }, 1, 3, #words + 1, words)
    end
    assert(engine:done("x", words))
    local ids = {}
    for _, entry in ipairs(assert(engine:results(PIPELINE, 1000, "raw", {}))) do
      ids[#ids + 1], ids[#ids + 2] = entry[1], entry[2][2]
    end
    assert(engine:drop("raw", ids))
  end
  local seconds = core.now() - start
  engine:remove "raw"
  connection:close()
  return seconds
end

-- What Python's libraries do with a job for each item: programs that print their seconds. RQ has one worker, which is
-- in the same process and begins when all jobs are there; Celery has two, which run meanwhile.
local PYTHON <const> = {
  { "RQ (Python): one worker", "python3-rq", [[
import sys, time, redis, rq, operator
c = redis.Redis(unix_socket_path=sys.argv[1])
q = rq.Queue(connection=c)
t = time.time()
for i in range(int(sys.argv[2])): q.enqueue(operator.add, i, 1)
rq.SimpleWorker([q], connection=c).work(burst=True, logging_level="ERROR")
print(time.time() - t)]] },
  { "Celery (Python): two workers", "python3-celery", [[
import os, sys, time, subprocess, celery
url = "redis+socket://" + os.environ["SOCKET"]
app = celery.Celery("python", broker=url, backend=url)
@app.task(name="add")
def add(x, y): return x + y
if __name__ == "__main__":
  command = [sys.executable, "-m", "celery", "-A", "python", "worker", "-c", "2", "-l", "ERROR"]
  worker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
  add.delay(1, 1).get(timeout=30)
  t = time.time()
  for result in [add.delay(i, 1) for i in range(int(sys.argv[2]))]: result.get(timeout=60)
  print(time.time() - t)
  worker.terminate()
  worker.wait()]] },
}

-- Seconds of processor time that a process has had.
local function cpu_of(pid)
  local file <close> = assert(io.open(("/proc/%d/stat"):format(pid)))
  local user, system = file:read "a":match "%)%s%S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ (%d+) (%d+)"
  return (user + system) * TICK
end

-- The same of the server, of worker hosts, and of these hosts' workers.
local function cpu_of_all(server, hosts)
  local coordinators, workers = 0, 0
  for _, host in ipairs(hosts) do
    coordinators = coordinators + cpu_of(host)
    local file <close> = assert(io.open(("/proc/%d/task/%d/children"):format(host, host)))
    for child in file:read "a":gmatch "%d+" do workers = workers + cpu_of(child) end
  end
  return { cpu_of(server), coordinators, workers }
end

local function rate(name, n, seconds) print(("%-44s %12.0f items/s"):format(name, n / seconds)) end

local function wait_for_server()
  local due = core.now() + 10
  while not ask(("redis-cli -s %s PING 2>/dev/null"):format(socket)):find "PONG" do
    if core.now() > due then error("redis-server does not answer: " .. ask(("cat %s/out"):format(directory)), 0) end
    minigun.sleep(0.05)
  end
end

local function many(program, server, hosts)
  local before = cpu_of_all(server, hosts)
  local seconds, submitter = ask(("%s many %d"):format(program, ITEMS)):match "(%S+)%s+(%S+)"
  local after, cost = cpu_of_all(server, hosts), { submitter * 1e6 / ITEMS }
  for i = 1, 3 do cost[i + 1] = (after[i] - before[i]) * 1e6 / ITEMS end
  rate(("cluster: 2 hosts, %d items"):format(ITEMS), ITEMS, tonumber(seconds))
  print(("%-44s %.2f submitter, %.2f server, %.2f hosts, %.2f their workers"):format(
    "  processor time of an item, us", table.unpack(cost)))
end

-- Debian's modules are those of /usr/bin/python3.
local function python(name, package, text)
  local file <close> = assert(io.open(directory .. "/python.py", "w"))
  file:write(text)
  file:flush()
  for _, program in ipairs { "python3", "/usr/bin/python3" } do
    local said = ask(("cd %s && SOCKET=%s timeout 60 %s python.py %s %d 2>/dev/null"):format(directory, socket, program,
      socket, JOBS))
    local seconds = tonumber(said:match "%S+")
    if seconds then return rate(name, JOBS, seconds) end
  end
  print(("%s: not installed (%s)"):format(name, package))
end

local function bench(server)
  wait_for_server()
  local path = directory .. "/bench.lua"
  local file <close> = assert(io.open(path, "w"))
  file:write(PROGRAM:format(url))
  file:flush()
  local hosts = {}
  for i = 1, 2 do
    hosts[i] = spawn(("env %s ./bin/minigun worker %s --engine %s --processes 1"):format(ENVIRONMENT, path, url))
  end
  local program = ("%s lua5.4 %s"):format(ENVIRONMENT, path)
  ask(program .. " many 1000") -- they are there
  many(program, server, hosts)
  rate(("the Redis commands alone, chunks of %d"):format(CHUNK), ITEMS, raw(ITEMS))
  local middle, slow = ask(("%s one %d"):format(program, SINGLE)):match "(%S+)%s+(%S+)"
  print(("%-44s %9.0f us, %.0f us for 99 %%"):format("cluster: a single item, there and back", middle * 1e6,
    slow * 1e6))
  for _, each in ipairs(PYTHON) do python(table.unpack(each)) end
end

local server = spawn(("redis-server --port 0 --unixsocket %s --save '' --dir %s"):format(socket, directory))
local ok, err = pcall(bench, server)
for pid in ask(("redis-cli -s %s HKEYS mg:hosts:bench/work:facts 2>/dev/null"):format(socket)):gmatch ":(%d+):" do
  os.execute("kill " .. pid)
end
minigun.sleep(0.5)
os.execute(("kill %d 2>/dev/null"):format(server))
os.execute("rm -r " .. directory)
if not ok then error(err, 0) end
