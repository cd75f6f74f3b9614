-- For examples of clusters: a Redis server, and two worker hosts, all processes of this machine.
local minigun = require "minigun"

local function spawn(command)
  local pipe = assert(io.popen(("exec %s >/dev/null 2>&1 & echo $!"):format(command)))
  local pid = pipe:read "n"
  pipe:close()
  return pid
end

--- Starts them.
---@param file string the program that the hosts do the work for; they have the URL in the environment variable QUEUE
---@param environment string? what they have there besides, as words for env
---@return string? url nil: there can be none here
---@return function|string stop () ends them; why there can be none
return function(file, environment)
  if not pcall(require, "minigun.redis") or not os.execute "command -v redis-server >/dev/null" then
    return nil, "redis-server (Debian: apt-get install redis-server) or minigun.redis (make REDIS=1) is not there"
  end
  local directory = os.tmpname()
  os.remove(directory)
  assert(os.execute("mkdir " .. directory))
  local socket = directory .. "/redis.sock"
  local pids = { spawn(("redis-server --port 0 --save '' --unixsocket %s --dir %s"):format(socket, directory)) }
  repeat minigun.sleep(0.02) until os.execute(("redis-cli -s %s PING >/dev/null 2>&1"):format(socket))
  local url, tree = "redis+unix://" .. socket, io.open "bin/minigun"
  local command = tree and "./bin/minigun" or "minigun"
  if tree then tree:close() end
  for _ = 1, 2 do
    pids[#pids + 1] = spawn(("env QUEUE=%s %s %s worker %s --processes 2"):format(url, environment or "", command,
      file))
  end
  return url, function()
    for i = #pids, 1, -1 do os.execute("kill " .. pids[i]) end
    os.execute("rm -r " .. directory)
  end
end
