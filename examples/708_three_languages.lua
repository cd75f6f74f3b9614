-- A pipeline that is fed by three programs in three languages: one in Lua, one in C (service_client.c, with nothing but
-- libc), one in Python (service_client.py, with nothing but its standard library). Each sends texts; what comes of a
-- text, the number of its words, goes back to the program that has sent it. docs/service-protocol.md says how to write
-- a client in a further language.
--
-- Expected output, in any order:
--   Lua: to be or not to be: 6
--   C: that is the question: 4
--   Python: whether tis nobler in the mind: 6
--   texts: 3
-- Or:
--   there is no C compiler or no Python here

local minigun = require "minigun"
local loop = require("minigun.loop").new()

local compiler = minigun.command("${CC:-cc} -O2 -o /dev/null examples/service_client.c 2>/dev/null")
local python = minigun.command("python3 -c 'import socket; socket.recv_fds' 2>/dev/null")
if not (compiler and compiler.ok and python and python.ok) then
  print "there is no C compiler or no Python here"
  os.exit(0)
end

local service <close> = assert(minigun.service("@words" .. minigun.now()))

local function run(language, program, text)
  local done = assert(minigun.command(program))
  print(("%s: %s: %s"):format(language, text, done.ok and done.out:match "%d+" or done.err))
end

loop:fork(function()
  local client <close> = assert(minigun.connect(service.path, { wait = 5 }))
  local text = "to be or not to be"
  print(("Lua: %s: %d"):format(text, client:call(text)))
  local path = os.tmpname()
  assert(minigun.command("${CC:-cc} -O2 -o " .. path .. " examples/service_client.c").ok)
  run("C", { path, service.path, "that is the question" }, "that is the question")
  os.remove(path)
  text = "whether tis nobler in the mind"
  run("Python", { "python3", "-B", "examples/service_client.py", service.path, text }, text)
  client:send "stop"
end)

local p = minigun.pipeline "words"
p:producer("texts", service)
p:map("count", { processes = 2 }, function(text)
  return text ~= "stop" and select(2, text:gsub("%S+", "")) or "stop"
end)
p:processor("replies", function(count, emit, ctx)
  if count == "stop" then service:stop() else ctx:count("texts", 1) end
  emit(count)
end)
local result = p:run()
loop:run()
print("texts: " .. result.counters.texts)
