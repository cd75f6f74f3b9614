-- Run by spec/service_deaths_spec.lua with the test build: makes each system call that services need fail, in the
-- server and in a client, and looks at what comes of it: service_calls.lua DIRECTORY. A line that begins with WRONG
-- for a run that hangs, answers wrongly, or leaves something.
local core = require "minigun.core"
local minigun = require "minigun"
local support = require "spec.support"
local unruly = require("spec.programs.build").unruly()

local path = arg[1] .. "/s"
local ERRORS <const> = { ENOMEM = 12, EMFILE = 24 }
local CALLS <const> = {
  server = { "socket", "bind", "listen", "accept", "copy", "set_rights", "send_packet", "receive_packet", "peer",
    "memory_file", "map_rings", "epoll_create", "epoll_set", "epoll_wait", "shutdown", "close", "path_facts" },
  client = { "socket", "connect", "send_packet", "receive_packet", "sealed_size", "map_rings", "poll", "close" },
}

local what, runs, failed = nil, 0, 0
local function wrong(...) print(("WRONG: %s: %s"):format(what, (...):format(select(2, ...)))) end

local function serve(call, nth, errno, to)
  if call then core.faults.call(call, nth, errno) end
  local before = support.descriptor_count()
  local service, message, number = minigun.service(path)
  if not service then
    if type(message) ~= "string" or not number then unruly.write(to, "no message") end
    if support.descriptor_count() ~= before then unruly.write(to, "descriptors are left") end
    return
  end
  local ok, err = pcall(service.serve, service, function(r)
    if r == "stop" then return service:stop() end
    return r
  end)
  service:close()
  if not ok then unruly.write(to, tostring(err)) end
  if support.descriptor_count() ~= before then unruly.write(to, "descriptors are left") end
end

-- What a client sees: true where it was answered, false where it was told clearly that it is not.
local function ask(wait)
  local client, message = minigun.connect(path, { wait = wait })
  if not client then return type(message) == "string" and #message > 10 and false or nil end
  local answered = true
  for i = 1, 3 do
    local ok, reply, timeout = pcall(client.call, client, ("x"):rep(10 ^ i // 1 | 0), 10)
    if timeout then wrong "a call has had no answer" end
    if ok and not timeout and #reply ~= 10 ^ i then wrong "another reply" end
    if not ok and reply.kind ~= "lost" then wrong("%s", tostring(reply)) end
    answered = answered and ok
  end
  client:close()
  return answered
end

local function fork(f, ...)
  io.stdout:flush()
  local pid = unruly.fork()
  if pid ~= 0 then return pid end
  local ok, err = pcall(f, ...)
  if not ok then io.stderr:write(tostring(err), "\n") end
  unruly.leave(ok and 0 or 1)
end

local function run(side, call, nth, errno)
  what = ("%s, %s %d"):format(side, call, nth)
  local before, mappings = support.descriptor_count(), support.shared_mappings()
  local from, to = unruly.pipe()
  local server = side == "server" and fork(serve, call, nth, errno, to) or fork(serve, nil, nil, nil, to)
  core.sleep(0.003)
  if side == "client" then
    core.faults.call(call, nth, errno)
    if ask(1) == false then failed = failed + 1 end
    core.faults.reset()
  elseif ask(0.1) ~= true then
    failed = failed + 1
  end
  local last = minigun.connect(path, { wait = side == "client" and 10 or 0.05 })
  if last then
    if last:call(1, 10) ~= 1 then wrong "the server does not answer any more" end
    last:send "stop"
    last:close()
  elseif side == "client" then
    wrong "the server is gone"
  end
  core.sleep(0.002)
  unruly.kill(server, 15)
  unruly.wait(server)
  local said = unruly.read(from)
  if said then wrong("the server says: %s", said) end
  unruly.close(from)
  unruly.close(to)
  collectgarbage()
  if support.descriptor_count() ~= before then wrong "descriptors are left" end
  if support.shared_mappings() ~= mappings then wrong "a mapping is left" end
  runs = runs + 1
end

for side, list in pairs(CALLS) do
  for _, call in ipairs(list) do
    for nth = 1, 3 do run(side, call, nth, call == "map_rings" and ERRORS.ENOMEM or ERRORS.EMFILE) end
  end
end
print(("%d runs, %d with an error"):format(runs, failed))
