-- A web server without an event loop: each worker takes one connection after the other, with plain blocking calls.
-- Nothing but Lua and libc is needed.
--
--   lua5.4 examples/servers/server_blocking.lua [ADDRESS]        curl http://127.0.0.1:8080/
--
-- Enough workers answer slow clients; a client that sends nothing for 5 s is sent away.
local directory = arg[0]:match "^(.*/)" or "./"
package.path = directory .. "?.lua;" .. package.path
local http = require "http"
local minigun = require "minigun"

local function handle(connection, w)
  connection:settimeout(5)
  local request = http.request(function() return (connection:receive "*l") end)
  if not request then return end
  w:beat(request.method .. " " .. request.path)
  if request.path == "/" then
    connection:send(http.response("200 OK", ("hello from worker %d\n"):format(w.number)))
  else
    connection:send(http.response("404 Not Found", "there is no such page\n"))
  end
  w:done()
end

local server = minigun.supervisor {
  name = "blocking", listen = arg[1] or "127.0.0.1:8080", workers = tonumber(os.getenv "WORKERS") or 4,
  worker = function(w) w:accept(handle) end,
}
os.exit(server:run())
