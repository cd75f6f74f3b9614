-- Run by spec/supervisor_faults_spec.lua with the test build: makes the Nth system call of each kind fail with each
-- errno, in the master of a server or in a worker, and checks that the server then cannot start and says why, or
-- serves, or gives up and says why; and that nothing is left over. Prints WRONG lines for what went otherwise, and
-- before each run what is to fail in it.
-- fail_server.lua N SEED [worker]: the Ns are the first so many numbers of Fibonacci's; 0: each call fails once, at a
-- random one of them
local core = require "minigun.core"
local minigun = require "minigun"
local socket = require "socket"
local support = require "spec.support"

local ENOENT <const>, EINTR <const>, EAGAIN <const>, ENOMEM <const>, EACCES <const>, EPERM <const>, EMFILE <const>,
  ENOSPC <const>, ENXIO <const>, EPIPE <const> = 2, 4, 11, 12, 13, 1, 24, 28, 6, 32
local EADDRINUSE <const>, ECONNABORTED <const>, ECONNRESET <const>, ENOBUFS <const> = 98, 103, 104, 105

local in_worker = arg[3] == "worker"
local plausible = in_worker and {
  accept = { EMFILE, ENOBUFS, ECONNABORTED, EINTR }, epoll_share = { ENOMEM, ENOSPC }, epoll_add = { ENOMEM },
  eventfd = { EMFILE }, epoll_create = { EMFILE }, receive = { EINTR, ECONNRESET, ENOMEM },
  send = { EINTR, EPIPE, ECONNRESET }, poll = { EINTR, ENOMEM }, epoll_wait = { EINTR }, bell_add = { ENOMEM },
  handle_signal = { EPERM }, write = { EAGAIN }, read = { EINTR, EAGAIN },
} or {
  map_shared = { ENOMEM }, eventfd = { EMFILE, ENOMEM }, epoll_create = { EMFILE, ENOMEM },
  epoll_add = { ENOMEM, ENOSPC }, epoll_set = { ENOMEM, ENOSPC }, epoll_del = { ENOMEM }, epoll_wait = { EINTR },
  lifeline = { EMFILE }, fork = { EAGAIN, ENOMEM }, pidfd_open = { EMFILE, EPERM }, resolve = { ENXIO, ENOMEM },
  socket = { EMFILE, ENOBUFS }, socket_option = { ENOMEM }, bind = { EADDRINUSE, EACCES }, listen = { EADDRINUSE },
  connect = { EAGAIN }, socket_name = { ENOBUFS }, path_facts = { ENOENT, EACCES }, open_file = { EMFILE, EACCES },
  lock_file = { EINTR, ENOMEM }, remove_file = { EACCES }, do_not_block = { EPERM }, write_pipe = { EINTR, EAGAIN },
  read = { EINTR, EAGAIN }, memory_of = { ENOENT }, kill_other = { EPERM }, block_signals = { EPERM },
  file_facts = { ENOMEM }, has_ended = { EPERM }, reap = { EPERM }, timerfd = { EMFILE },
}

local rounds = tonumber(arg[1])
math.randomseed(tonumber(arg[2]))
local fibonacci = { 1, 2, 3, 5, 8, 13, 21 }
local path = os.tmpname()
os.remove(path)
local armed

local function serve(c)
  c:settimeout(2)
  local line = c:receive()
  if line then c:send("you said " .. line .. "\n") end
end

local function server_of(log)
  return minigun.supervisor {
    workers = 2, listen = { "127.0.0.1:0", "unix:" .. path }, stop_timeout = 1, start_timeout = 2, max_memory = "1G",
    back_off = { first = 0.01, max = 0.02 }, max_restarts = 20, log = function(text) log[#log + 1] = text end,
    after_fork = function()
      core.faults.reset() -- of the master
      if in_worker and armed then core.faults.call(table.unpack(armed)) end
    end,
    worker = function(w) w:accept(serve) end,
  }
end

local function ask(running, port)
  local client = socket.tcp()
  client:settimeout(0)
  client:connect("127.0.0.1", port)
  client:send "x\n"
  local answer
  local till = core.now() + 1
  repeat
    running:step(0.002)
    local line, reason = client:receive()
    answer = line
  until line or reason == "closed" or core.now() > till
  client:close()
  return answer
end

local function step_until(running, condition, seconds)
  local till = core.now() + seconds
  while not condition() and not running:status().status and core.now() < till do running:step(0.01) end
end

-- One server's life. Returns what is wrong with it.
local function live(log)
  local server = server_of(log)
  local running, message = server:start()
  if not running then
    return not message:find "%a%a%a" and "it does not say why it does not start: " .. message
  end
  local _ <close> = running
  step_until(running, function() return running:status().state == "serving" end, 5)
  local status = running:status()
  if status.state == "serving" then
    local port = status.listen[1]:match ":(%d+)$" -- 0 where the kernel has not said
    for _ = 1, 4 do ask(running, port) end
    if status.workers[1] then core.kill(status.workers[1].pid, 9) end
    running:signal "HUP"
    step_until(running, function()
      local list = running:status().workers
      return #list == 2 and list[1].generation == 2 and list[2].generation == 2
    end, in_worker and 0.2 or 1)
    armed = nil
    if running:status().status == nil and port ~= "0" then
      local answer
      for _ = 1, 20 do
        answer = ask(running, port)
        if answer then break end
      end
      if not answer then return "it does not answer any more: " .. table.concat(log, " | ") end
    end
  end
  if not running:status().status then running:signal "TERM" end
  step_until(running, function() return false end, 4)
  local code = running:status().status
  if not code then return "it does not end: " .. table.concat(log, " | ") end
  if code == 1 and not table.concat(log):find "giving up: ." then return "it does not say why it gives up" end
end

local function left_over()
  collectgarbage()
  collectgarbage()
  os.remove(path)
  return ("%d children, %d descriptors, %d mappings"):format(#support.children(), support.descriptor_count(),
    support.shared_mappings())
end

local function used()
  local before = core.faults.calls()
  local wrong = live {}
  assert(not wrong, wrong)
  local counts = core.faults.calls()
  for name, n in pairs(counts) do counts[name] = n - before[name] end
  return counts
end

used()
local counts, usual = used(), left_over()
local names, runs = {}, 0
for name in pairs(plausible) do names[#names + 1] = name end
table.sort(names)
io.stdout:setvbuf "line"
for _, name in ipairs(names) do
  local moments = {}
  for _, nth in ipairs(fibonacci) do
    if in_worker and nth <= 5 or nth <= counts[name] then moments[#moments + 1] = nth end
  end
  for _, errno in ipairs(#moments > 0 and plausible[name] or {}) do
    for i = 1, math.max(1, math.min(rounds, #moments)) do
      local nth = rounds > 0 and moments[i] or moments[math.random(#moments)]
      local what = ("call %d of %s fails with errno %d"):format(nth, name, errno)
      print(what)
      core.faults.reset()
      armed = { name, nth, errno }
      if not in_worker then core.faults.call(name, nth, errno) end
      local log = {}
      local ok, wrong = pcall(live, log)
      core.faults.reset()
      armed = nil
      runs = runs + 1
      if not ok then
        wrong = not tostring(wrong):find "cannot wait for a process" and "an error: " .. tostring(wrong)
      end
      if wrong then print(("WRONG: %s: %s"):format(what, wrong)) end
      local left
      support.wait_until(function()
        left = left_over()
        return left == usual
      end, 1)
      if left ~= usual then print(("WRONG: %s: left over: %s instead of %s"):format(what, left, usual)) end
      usual = left
    end
  end
end
print(runs .. " runs")
os.exit(0, true)
