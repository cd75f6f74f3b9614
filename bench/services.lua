-- SPDX-License-Identifier: MIT
-- Services: a server and a client, two processes that have nothing to do with each other, beside the same over a Unix
-- socket in C and by luasocket, over ZeroMQ and by Python's managers. All in one run, in interleaved rounds, medians.
-- What is not installed is left out.
--
-- usage: lua5.4 bench/services.lua [--runs N] [--only TEXT] [--scale F]       from the top of the tree
--
-- hot: one call after the other; cold: after 1 ms of rest; attach: connect, one call, close; small: numbers one way,
-- each by itself, until the server has taken the last; lists: the same, a thousand in each message; large: 1 MiB one
-- way.
package.path = "./lua/?.lua;./lua/?/init.lua;./?.lua;" .. package.path
package.cpath = ("./%s/?.so;"):format(os.getenv "MINIGUN_BUILD" or "build") .. package.cpath
local median = require "bench.workload".median
local core = require "minigun.core"

local options = { runs = 3, scale = 1 }
for i = 1, #arg, 2 do options[arg[i]:match "^%-%-(.*)"] = tonumber(arg[i + 1]) or arg[i + 1] end

local directory = os.tmpname()
os.remove(directory)
assert(os.execute("mkdir -m 700 " .. directory))
local ENVIRONMENT <const> = ("LUA_PATH='%s' LUA_CPATH='%s'"):format(package.path, package.cpath)
local echo = "build/bench/echo"
local has_c = os.execute(("mkdir -p build/bench && ${CC:-cc} -O2 -o %s bench/services/echo.c"):format(echo))

local function lua(name) return ("%s exec lua5.4 bench/services/%s_echo.lua %%s %%s %%d"):format(ENVIRONMENT, name) end
local function python(kind) return "exec /usr/bin/python3 bench/services/python_echo.py " .. kind .. " %s %s %d" end
local function has(python_module)
  return os.execute("/usr/bin/python3 -c 'import " .. python_module .. "' 2>/dev/null")
end

-- Name, server, client; what it cannot do is not measured.
local CONTESTANTS <const> = {
  { "minigun", lua "minigun" },
  { "minigun, client in Python", lua "minigun", python "client", skips = { lists = true } },
  { "Unix socket in C", has_c and "exec " .. echo .. " %s %s %d", skips = { lists = true } },
  { "luasocket, Unix socket", pcall(require, "socket.unix") and lua "luasocket", skips = { lists = true } },
  { "ZeroMQ, Python", has "zmq" and python "zmq", skips = { lists = true } },
  { "Python's managers", has "multiprocessing.managers" and python "manager", skips = { lists = true } },
}

local WORKLOADS <const> = {
  { "hot", 50000, "us p50", "p50_us" }, { "cold", 500, "us p50", "p50_us" }, { "attach", 300, "us p50", "p50_us" },
  { "small", 500000, "messages/s", "rate" }, { "lists", 5000, "numbers/s", "rate" }, { "large", 2000, "MB/s", "rate" },
}
-- How many of the items slower ones get, so that a round ends in time.
local LESS <const> = { ["ZeroMQ, Python"] = 0.2, ["Python's managers"] = 0.05, ["minigun, client in Python"] = 0.05,
  ["luasocket, Unix socket"] = 0.5 }

local function figure(command, key)
  local pipe = assert(io.popen(("timeout 120 sh -c '%s' 2>&1"):format(command:gsub("'", "'\\''"))))
  local text = pipe:read "a"
  pipe:close()
  return tonumber(text:match(key .. "=([%d.]+)")), text
end

local function measure(contestant, workload)
  local path, n = directory .. "/s", math.max(20, workload[2] * options.scale * (LESS[contestant[1]] or 1) // 1 | 0)
  os.remove(path)
  local pipe = assert(io.popen(("sh -c 'echo $$; %s' 2>/dev/null"):format(contestant[2]:format("serve", path, 0)
    :gsub("'", "'\\''"))))
  local pid = tonumber(pipe:read "l")
  local due = core.now() + 10
  while core.now() < due and os.execute("test -S " .. path) ~= true do core.sleep(0.01) end
  core.sleep(0.1)
  local value, text = figure((contestant[3] or contestant[2]):format(workload[1], path, n), workload[4])
  core.kill(pid, 9)
  pipe:close()
  if not value then io.stderr:write(("%s, %s: %s\n"):format(contestant[1], workload[1], text:sub(1, 300))) end
  return value
end

local found = {}
for _ = 1, options.runs do
  for _, workload in ipairs(WORKLOADS) do
    for _, contestant in ipairs(CONTESTANTS) do
      local wanted = contestant[2] and not (contestant.skips or {})[workload[1]]
        and (not options.only or contestant[1]:find(options.only, 1, true))
      local value = wanted and measure(contestant, workload)
      local key = contestant[1] .. "\0" .. workload[1]
      found[key] = found[key] or {}
      table.insert(found[key], value or nil)
    end
  end
end
os.execute("rm -rf " .. directory)

io.write "| |"
for _, workload in ipairs(WORKLOADS) do io.write((" %s, %s |"):format(workload[1], workload[3])) end
print("\n|" .. (" --- |"):rep(#WORKLOADS + 1))
for _, contestant in ipairs(CONTESTANTS) do
  io.write("| " .. contestant[1] .. " |")
  for _, workload in ipairs(WORKLOADS) do
    local value = median(found[contestant[1] .. "\0" .. workload[1]])
    io.write(value and (value < 1000 and " %.2f |" or " %.0f |"):format(value) or "  |")
  end
  print()
end
