-- For specs of clusters: a Redis server of one's own on a unix socket, worker hosts, and programs that submit.

local lfs = require "lfs"
local support = require "spec.support"

local M = {}

--- Whether clusters can be tried here; else why not.
function M.missing()
  if not support.has "redis-server" then return "redis-server is not installed" end
  local module = io.open(support.build_dir() .. "/minigun/redis.so")
  if not module then return "minigun.redis is not built: make REDIS=1" end
  module:close()
end

--- What a spec file defines its tests with: busted's `it`, or one whose tests are pending.
-- @param env table: the spec file's _ENV, where busted keeps what a test sees
-- @param missing string? why they cannot run
function M.tests(env, missing)
  if not missing then return env.it end
  return function(name) env.it(name, function() env.pending(missing) end) end
end

local Cluster = {}
Cluster.__index = Cluster

--- Starts a server. Its directory holds programs, too.
-- @param options string? more of redis-server's
function M.start(options)
  local directory = os.tmpname()
  os.remove(directory)
  assert(lfs.mkdir(directory))
  local self = setmetatable({ directory = directory, pids = {}, options = options or "" }, Cluster)
  self.url = "redis+unix://" .. directory .. "/redis.sock"
  self:start_server()
  return self
end

function Cluster:start_server()
  self.server = self:spawn(("redis-server --port 0 --unixsocket %s/redis.sock --save '' --dir %s %s"):format(
    self.directory, self.directory, self.options), "server")
  assert(support.wait_until(function() return self:redis "PING" == "PONG" end, 10), "redis-server does not start")
end

--- Starts a program in the background. Returns its number.
function Cluster:spawn(command, name)
  local pipe = assert(io.popen(("%s exec %s > %s/%s.out 2> %s/%s.err & echo $!"):format(
    support.env_words(support.lua_env()), command, self.directory, name, self.directory, name)))
  local pid = tonumber(pipe:read "l")
  pipe:close()
  self.pids[#self.pids + 1] = pid
  return pid
end

--- What redis-cli says.
function Cluster:redis(words)
  return (support.run(("redis-cli -s %s/redis.sock %s"):format(self.directory, words)).stdout:gsub("\n$", ""))
end

--- Writes a program.
function Cluster:program(text, name)
  return support.write_file(("%s/%s.lua"):format(self.directory, name or "program"), text)
end

--- Starts a worker host of it.
function Cluster:worker(path, words, name)
  return self:spawn(("./bin/minigun worker %s --engine %s %s"):format(path, self.url, words or "--processes 2"),
    name or "worker" .. #self.pids)
end

function Cluster:said(name) return support.read_file(("%s/%s"):format(self.directory, name)) or "" end

--- Runs a program to its end.
function Cluster:run(path, seconds)
  return support.run("exec lua5.4 " .. path, { env = support.lua_env(), timeout = seconds or 60 })
end

function Cluster:signal(pid, name) os.execute(("kill -%s %d 2>/dev/null"):format(name, pid)) end

--- Ends all of it.
function Cluster:close()
  for _, pid in ipairs(self.pids) do
    self:signal(pid, "CONT")
    for _, child in ipairs(support.children(pid)) do self:signal(child, "KILL") end
    self:signal(pid, "KILL")
  end
  support.wait_until(function()
    for _, pid in ipairs(self.pids) do
      if support.alive(pid) then return false end
    end
    return true
  end, 10)
  os.execute("rm -rf " .. support.quote(self.directory))
end

return M
