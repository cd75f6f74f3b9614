-- For specs of clusters: a Redis server of one's own on a unix socket, or a set with sentinels; worker hosts, and
-- programs that submit.

local arrays = require "minigun.base.arrays"
local lfs = require "lfs"
local programs = require "spec.programs.build"
local single = require "spec.servers"
local support = require "spec.support"

local has_sockets, unix = pcall(require, "socket.unix")

local M = {}

--- Whether clusters can be tried here; else why not.
function M.missing()
  if not support.has "redis-server" then return "redis-server is not installed" end
  if single.missing or not has_sockets then return single.missing or "lua-socket has no unix sockets" end
  local module = io.open(support.build_dir() .. "/minigun/redis.so")
  if not module then return "minigun.redis is not built: make REDIS=1" end
  module:close()
end

local open = {} -- servers that are to be closed

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
  open[#open + 1] = self
  self:start_server()
  return self
end

--- What a spec file defines its tests with: busted's `it`, or one whose tests are pending, where they cannot run. The
-- servers that a test has started are closed after it.
-- @param env table: the spec file's _ENV, where busted keeps what a test sees
-- @param set function?: gets the cluster of each test, which is started before it
-- @param missing string?: why they cannot run, where more is needed than M.missing looks for
function M.tests(env, set, missing)
  missing = missing or M.missing()
  if missing then
    return function(name) env.it(name, function() env.pending(missing) end) end
  end
  if set then env.before_each(function() set(M.start()) end) end
  env.after_each(function()
    while open[1] do open[1]:close() end
  end)
  return env.it
end

function Cluster:start_server()
  self.command = ("redis-server --port 0 --unixsocket %s/redis.sock --save '' --dir %s %s"):format(self.directory,
    self.directory, self.options)
  self.server = self:spawn(self.command, "server")
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

M.free_port = single.free_port

-- Servers that can be killed, and come back; each may stand after a proxy.
local Servers = {}
Servers.__index = Servers

local function start_proxy(self, i)
  local own = self[i]
  own.proxy = own.reached and self.cluster:spawn(("%s %s %s"):format(assert(programs.proxy(), "no C compiler"),
    own.reached, own.listens), "proxy" .. i)
end

local function start_one(self, i) self[i].pid = self.cluster:spawn(self[i].command, "redis" .. i) end

--- Cuts all connections of a server.
function Servers:cut(i)
  self.cluster:signal(self[i].proxy, "KILL")
  support.wait_until(function() return not support.alive(self[i].proxy) end, 5)
  start_proxy(self, i)
end

--- Kills a server, and starts it again.
function Servers:kill(i)
  self.cluster:signal(self[i].pid, "KILL")
  support.wait_until(function() return not support.alive(self[i].pid) end, 5)
  if self.away then support.sleep(self.away) end
  start_one(self, i)
end

--- Which of them the sentinels take for the master.
function Servers:master()
  local port = math.tointeger(support.run(("redis-cli -p %s SENTINEL GET-MASTER-ADDR-BY-NAME m"):format(
    self.sentinels[1])).stdout:match "(%d+)\n$")
  for i, own in ipairs(self) do
    if (own.reached or own.listens) == port then return i end
  end
  return 1
end

--- The server of a cluster, after a proxy: `url`.
function Cluster:behind_proxy()
  local self_url, socket = self.directory .. "/proxy.sock", self.directory .. "/redis.sock"
  local servers = setmetatable({ cluster = self, url = "redis+unix://" .. self_url,
    { pid = self.server, listens = socket, reached = self_url, command = self.command } }, Servers)
  start_proxy(servers, 1)
  return servers
end

--- Starts a master, two replicas and three sentinels: `url`; `sentinels`: their ports.
-- @param proxies boolean whether each server stands after a proxy
function Cluster:sentinels(proxies)
  local servers = setmetatable({ cluster = self, sentinels = {}, away = 2 }, Servers)
  for i = 1, 3 do
    local own = { listens = M.free_port(), reached = proxies and M.free_port() or nil }
    local directory, first = ("%s/%d"):format(self.directory, i), servers[1] or own
    assert(lfs.mkdir(directory))
    servers[i] = own
    own.command = ("redis-server --port %s --save '' --appendonly yes --dir %s %s %s"):format(own.listens, directory,
      own.reached and "--replica-announce-ip 127.0.0.1 --replica-announce-port " .. own.reached or "",
      i > 1 and "--replicaof 127.0.0.1 " .. (first.reached or first.listens) or "")
    start_proxy(servers, i)
    start_one(servers, i)
  end
  for i = 1, 3 do
    servers.sentinels[i] = M.free_port()
    local path = ("%s/sentinel%d.conf"):format(self.directory, i)
    support.write_file(path, ("port %s\nsentinel monitor m 127.0.0.1 %s 2\n" ..
      "sentinel down-after-milliseconds m 1000\nsentinel failover-timeout m 3000\n"):format(servers.sentinels[i],
      servers[1].reached or servers[1].listens))
    self:spawn(("redis-sentinel %s --dir %s"):format(path, self.directory), "sentinel" .. i)
  end
  assert(support.wait_until(function()
    local known = support.run(("redis-cli -p %s SENTINEL MASTER m"):format(servers.sentinels[1])).stdout
    return known:find "num%-slaves\n2\n" and known:find "num%-other%-sentinels\n2\n"
  end, 30))
  servers.url = ("redis+sentinel://127.0.0.1:%s,127.0.0.1:%s,127.0.0.1:%s/m"):format(table.unpack(servers.sentinels))
  return servers
end

-- A reply as redis-cli prints it.
local function reply(client)
  local kind, text = assert(client:receive "*l"):match "^(.)([^\r]*)"
  local n = tonumber(text)
  if kind == "*" then
    local list = {}
    for i = 1, n do list[i] = reply(client) end
    return table.concat(list, "\n")
  elseif kind ~= "$" then
    return text
  end
  return n < 0 and "" or client:receive(n + 2):sub(1, n)
end

--- What the server answers.
-- @param words string a command, with quotes as for redis-cli
-- @return string as redis-cli prints it, empty where there is no server
function Cluster:redis(words)
  local client <close> = setmetatable({ socket = unix.stream() }, { __close = function(own) own.socket:close() end })
  client.socket:settimeout(5)
  local ok, said = pcall(function()
    assert(client.socket:connect(self.directory .. "/redis.sock"))
    assert(client.socket:send(words .. "\r\n"))
    return reply(client.socket)
  end)
  return ok and said or ""
end

--- Writes a program.
function Cluster:program(text, name)
  return support.write_file(("%s/%s.lua"):format(self.directory, name or "program"), text)
end

--- Starts a worker host of it.
function Cluster:worker(path, words, name)
  return self:spawn(("%s worker %s --engine %s %s"):format(support.command(), path, self.url,
    words or "--processes 2"), name or "worker" .. #self.pids)
end

function Cluster:said(name) return support.read_file(("%s/%s"):format(self.directory, name)) or "" end

--- Runs a program to its end.
function Cluster:run(path, seconds)
  return support.run("exec lua5.4 " .. path, { env = support.lua_env(), timeout = seconds or 60 })
end

function Cluster:signal(pid, name) single.unruly.kill(pid, single.signals[name]) end

Cluster.__close = function(self) self:close() end

--- Ends all of it.
function Cluster:close()
  arrays.take_out(open, self)
  local doomed = {}
  for _, pid in ipairs(self.pids) do
    for _, child in ipairs(support.children(pid)) do doomed[#doomed + 1] = child end
    doomed[#doomed + 1] = pid
  end
  for _, pid in ipairs(doomed) do self:signal(pid, "KILL") end
  support.wait_until(function()
    for _, pid in ipairs(self.pids) do
      if support.alive(pid) then return false end
    end
    return true
  end, 10)
  support.remove_tree(self.directory)
end

return M
