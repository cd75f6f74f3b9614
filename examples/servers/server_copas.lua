-- A web server over copas and luasocket: in each worker a thread of copas for each connection.
--
--   lua5.4 examples/servers/server_copas.lua [ADDRESS]           curl http://127.0.0.1:8080/
local directory = arg[0]:match "^(.*/)" or "./"
package.path = directory .. "?.lua;" .. package.path
local http = require "http"
local minigun = require "minigun"

-- The connection is a socket of luasocket, and copas' functions let other threads go on where it waits.
local function handle(connection, w)
  local copas = require "copas"
  repeat
    local request = http.request(function() return (copas.receive(connection, "*l")) end)
    if not request then return end
    local keep = request.keep and not w:stopping()
    local body = request.path == "/" and ("hello from worker %d\n"):format(w.number)
    copas.send(connection, body and http.response("200 OK", body, keep)
      or http.response("404 Not Found", "there is no such page\n", keep))
    w:done()
  until not keep
end

local server = minigun.supervisor {
  name = "copas", listen = arg[1] or "127.0.0.1:8080", workers = tonumber(os.getenv "WORKERS") or 2, loop = "copas",
  worker = function(w) w:accept(handle) end,
}
os.exit(server:run())
