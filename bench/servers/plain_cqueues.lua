-- The handler of examples/servers/server_cqueues.lua in one process, without a supervisor. usage: plain_cqueues.lua
-- PORT
package.path = "./examples/servers/?.lua;" .. package.path
local cqueues = require "cqueues"
local http = require "http"
local socket = require "cqueues.socket"

local controller = cqueues.new()
local listening = socket.listen { host = "127.0.0.1", port = tonumber(arg[1]) }
listening:listen()

local function handle(connection)
  connection:onerror(function(_, _, code) return code end)
  connection:setmode("b", "bf")
  connection:settimeout(5)
  repeat
    local request = http.request(function() return (connection:read "*l") end)
    if not request then return end
    local body = request.path == "/" and ("hello from worker %d\n"):format(1)
    connection:write(http.response("200 OK", body, request.keep))
    connection:flush()
  until not request.keep
end

controller:wrap(function()
  for connection in listening:clients() do
    controller:wrap(function()
      handle(connection)
      connection:close()
    end)
  end
end)
assert(controller:loop())
