-- A service for specs: service_server.lua PATH [OPTIONS as a Lua table], whose requests say what to do.
--   anything else              is the reply
--   { op = "who" }             the client, as the handler sees it
--   { op = "sleep", seconds }  replies after so long;  { op = "later", seconds } too, and others are served meanwhile
--   { op = "fail" }            raises;  { op = "unserialisable" } returns a function
--   { op = "next", n }         one way: the sender's messages are numbered, and n is to be one more than the last
--   { op = "count" }           -> how many of these have come from this client, and how many in a wrong order
--   { op = "status" }          -> clients, memory in KiB, descriptors, shared mappings
--   { op = "stop" }
-- It prints "ready" when it listens.
local minigun = require "minigun"
local support = require "spec.support"

local path, options = arg[1], load("return " .. (arg[2] or "{}"))()
local service = assert(minigun.service(path, options))
local counts = {}
local ops = {}

function ops.who(_, client) return client end
function ops.sleep(r)
  minigun.sleep(r[1])
  return r[1]
end
local pool <close> = minigun.executor(ops.sleep, { threads = 8 })
function ops.later(r) return pool:submit(r) end
function ops.fail() error "boom" end
function ops.unserialisable() return print end
function ops.next(r, client)
  local own = counts[client.number] or { n = 0, last = 0, wrong = 0 }
  counts[client.number] = own
  if r[1] ~= own.last + 1 then own.wrong = own.wrong + 1 end
  own.n, own.last = own.n + 1, r[1]
end
function ops.count(_, client)
  local own = counts[client.number] or { n = 0, wrong = 0 }
  return { own.n, own.wrong }
end
function ops.counts()
  local list = {}
  for number, own in pairs(counts) do list[#list + 1] = { number, own.n, own.wrong } end
  return list
end
function ops.status()
  local rss = tonumber(support.read_file "/proc/self/status":match "VmRSS:%s*(%d+)")
  local shared = tonumber(support.read_file "/proc/self/status":match "RssShmem:%s*(%d+)")
  return { clients = service:clients(), memory = rss, shared = shared,
    descriptors = support.descriptor_count(), mappings = support.shared_mappings() }
end
function ops.stop() service:stop() end

print "ready"
io.stdout:flush()
service:serve(function(request, client)
  local op = type(request) == "table" and ops[request.op]
  if op then return op(request, client) end
  return request
end)
service:close()
