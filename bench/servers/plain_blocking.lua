-- The handler of examples/servers/server_blocking.lua over luasocket, without a supervisor. usage: plain_blocking.lua
-- PORT
package.path = "./examples/servers/?.lua;" .. package.path
local http = require "http"
local socket = require "socket"

local server = assert(socket.bind("127.0.0.1", tonumber(arg[1]), 1024))
while true do
  local connection = assert(server:accept())
  connection:settimeout(5)
  local request = http.request(function() return (connection:receive "*l") end)
  if request then connection:send(http.response("200 OK", ("hello from worker %d\n"):format(1))) end
  connection:close()
end
