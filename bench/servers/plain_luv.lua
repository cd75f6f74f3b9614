-- The handler of examples/servers/server_luv.lua in one process, without a supervisor. usage: plain_luv.lua PORT
package.path = "./examples/servers/?.lua;" .. package.path
local http = require "http"
local uv = require "luv"

local function handle(connection)
  local waiting = ""
  connection:read_start(function(err, bytes)
    waiting = waiting .. (bytes or "")
    if err or not bytes then return connection:close() end
    while true do
      local head, rest = waiting:match "^(.-\r\n\r\n)(.*)$"
      if not head then return end
      waiting = rest
      local request = http.request(head:gmatch "(.-)\r\n")
      if not request then return connection:close() end
      connection:write(http.response("200 OK", ("hello from worker %d\n"):format(1), request.keep), function()
        if not request.keep then connection:close() end
      end)
    end
  end)
end

local server = uv.new_tcp()
assert(server:bind("127.0.0.1", tonumber(arg[1])))
server:listen(1024, function()
  local connection = uv.new_tcp()
  server:accept(connection)
  connection:nodelay(true)
  handle(connection)
end)
uv.run()
