-- A web server of 127.0.0.1 over cqueues, for specs: answers every request after a while with the path that was asked
-- for. Prints its port, and ends when its standard input does.   usage: lua5.4 http_server.lua SECONDS
local cqueues = require "cqueues"
local socket = require "cqueues.socket"

local seconds = tonumber(arg[1])
local loop = cqueues.new()
local server = socket.listen { host = "127.0.0.1", port = 0 }
server:listen()
print((select(3, server:localname())))
io.stdout:flush()

local function serve(connection)
  local path = (connection:read "*l" or ""):match "^GET (%S+)"
  repeat local line = connection:read "*l" until not line or line:find "^\r?$"
  cqueues.sleep(seconds)
  if path then
    connection:write(("HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#path, path))
    connection:flush()
  end
  connection:close()
end

loop:wrap(function()
  for connection in server:clients() do
    loop:wrap(pcall, serve, connection)
  end
end)
loop:wrap(function()
  cqueues.poll { pollfd = 0, events = "r" }
  os.exit(0, false)
end)
assert(loop:loop())
