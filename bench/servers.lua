-- SPDX-License-Identifier: MIT
-- Requests a second of servers: the examples with 1 and 2 workers, the same handlers without a supervisor, and nginx as
-- the floor; all in one run, in interleaved rounds, medians. Needs wrk; what is not installed is left out.
--
-- usage: lua5.4 bench/servers.lua [--runs N] [--seconds N] [--only TEXT]           from the top of the tree
--
-- Those without a supervisor have the library loaded, as the workers have: what there is to mark in each cycle of Lua's
-- collector costs 0.7 µs a request here, whether it is used or not.
--
-- wrk asks with 16 connections from one thread, on the same machine: with 2 workers and 2 processors it is what they
-- wait for. So the processor time that the server has used for a request is given beside, and those called "busy"
-- compute for half a millisecond for each answer: what wrk takes is small beside that, so what a second worker gives
-- shows. (nginx computes nothing: it is the floor of the others only.)
package.path = "./lua/?.lua;./lua/?/init.lua;./?.lua;" .. package.path
package.cpath = ("./%s/?.so;"):format(os.getenv "MINIGUN_BUILD" or "build") .. package.cpath
local median = require "bench.workload".median
local core = require "minigun.core"
local loop = require "minigun.loop"

local PORT <const>, CONNECTIONS <const> = 18497, 16
local options = { runs = 3, seconds = 3 }
for i = 1, #arg, 2 do options[arg[i]:match "^%-%-(.*)"] = tonumber(arg[i + 1]) or arg[i + 1] end

local ENVIRONMENT <const> = ("LUA_PATH='%s;/usr/share/lua/5.2/?.lua' LUA_CPATH='%s'"):format(package.path,
  package.cpath)
local NGINX <const> = [[worker_processes %d; daemon off; master_process on; pid %s.pid; error_log stderr crit;
events { worker_connections 1024; }
http { access_log off; server { listen 127.0.0.1:%d reuseport; location / { default_type text/plain;
return 200 "hello from worker 1\n"; } } }]]

local BUSY <const> = "-l bench.servers.busy"

local function example(name, workers, more)
  return ("%s WORKERS=%d exec lua5.4 %s examples/servers/server_%s.lua 127.0.0.1:%d"):format(ENVIRONMENT, workers,
    more or "", name, PORT)
end

local function plain(name, more)
  return ("%s exec lua5.4 -l minigun %s bench/servers/plain_%s.lua %d"):format(ENVIRONMENT, more or "", name, PORT)
end

local made = {} -- files

local function nginx(workers)
  local path = os.tmpname()
  made[#made + 1] = path
  local file <close> = assert(io.open(path, "w"))
  file:write(NGINX:format(workers, path, PORT)) -- nginx removes its pid file at its end: it must be one of ours
  return ("exec nginx -c %s -p /tmp"):format(path)
end

local CONTESTANTS <const> = {
  { "nginx, 1 worker", nginx(1) }, { "nginx, 2 workers", nginx(2) },
  { "cqueues, no supervisor", plain "cqueues" }, { "cqueues, 1 worker", example("cqueues", 1) },
  { "cqueues, 2 workers", example("cqueues", 2) },
  { "luv, no supervisor", plain "luv" }, { "luv, 1 worker", example("luv", 1) },
  { "luv, 2 workers", example("luv", 2) },
  { "copas, 1 worker", example("copas", 1) }, { "copas, 2 workers", example("copas", 2) },
  { "luasocket, blocking, no supervisor", plain "blocking" }, { "blocking, 1 worker", example("blocking", 1) },
  { "blocking, 2 workers", example("blocking", 2) },
}
for _, name in ipairs { "cqueues", "luv" } do
  for _, each in ipairs { { "no supervisor", plain(name, BUSY) }, { "1 worker", example(name, 1, BUSY) },
    { "2 workers", example(name, 2, BUSY) } } do
    table.insert(CONTESTANTS, { ("busy %s, %s"):format(name, each[1]), each[2] })
  end
end

local function read(path)
  local file = io.open(path)
  local text = file and file:read "a"
  if file then file:close() end
  return text
end

local function tree(pid, list)
  list = list or {}
  list[#list + 1] = pid
  local children = read(("/proc/%d/task/%d/children"):format(pid, pid)) or ""
  for child in children:gmatch "%d+" do tree(tonumber(child), list) end
  return list
end

-- Seconds of processor time of a process and its children.
local function cpu_of(pid)
  local ns = 0
  for _, each in ipairs(tree(pid)) do
    ns = ns + (tonumber((read(("/proc/%d/schedstat"):format(each)) or ""):match "^%d+") or 0)
  end
  return ns / 1e9
end

local function run(command)
  local pipe = io.popen(command .. " 2>&1")
  local text = pipe:read "a"
  pipe:close()
  return text
end

-- One measurement: requests a second, and microseconds of the server's processor time for each.
local function measure(command)
  local l = assert(loop.new())
  local pid = assert(l:fork(function()
    local _, message = core.execute("/bin/sh", { "sh", "-c", command .. " >/dev/null 2>&1" }, core.environment(), {})
    error(message)
  end))
  local url = ("http://127.0.0.1:%d/"):format(PORT)
  local asks = ("wrk -t 1 -c %d -d %%d %s"):format(CONNECTIONS, url)
  local text
  for _ = 1, 50 do
    text = run(asks:format(1))
    if text:find "Requests/sec" and not text:find "%f[%d]0 requests in" then break end
    if not read(("/proc/%d/stat"):format(pid)) or run(("kill -0 %d"):format(pid)) ~= "" then break end
    core.sleep(0.1)
  end
  local before = cpu_of(pid)
  text = run(asks:format(options.seconds))
  local used = cpu_of(pid) - before
  core.kill(pid, 15)
  l:run()
  l:close()
  local requests, rate = tonumber(text:match "(%d+) requests in"), tonumber(text:match "Requests/sec:%s+([%d.]+)")
  if not requests or requests == 0 then return nil end
  return rate, used / requests * 1e6, text:match "Socket errors:[^\n]*"
end

local results = {}
for round = 1, options.runs do
  for i, contestant in ipairs(CONTESTANTS) do
    if not options.only or contestant[1]:find(options.only, 1, true) then
      local rate, cost, errors = measure(contestant[2])
      io.stderr:write(("round %d: %s: %s\n"):format(round, contestant[1], rate and ("%.0f/s"):format(rate) or
        "not to be had"), errors and errors .. "\n" or "")
      results[i] = results[i] or { rates = {}, costs = {} }
      table.insert(results[i].rates, rate)
      table.insert(results[i].costs, cost)
    end
  end
end
for _, path in ipairs(made) do os.remove(path) end
print "| server | requests/s | µs of the server's processors for each |\n| --- | --- | --- |"
for i, contestant in ipairs(CONTESTANTS) do
  local r = results[i]
  if r and r.rates[1] then
    print(("| %s | %.0f | %.1f |"):format(contestant[1], median(r.rates), median(r.costs)))
  end
end
