-- A web server over cqueues: in each worker a coroutine for each connection.
--
--   lua5.4 examples/servers/server_cqueues.lua [ADDRESS]         curl http://127.0.0.1:8080/
local directory = arg[0]:match "^(.*/)" or "./"
package.path = directory .. "?.lua;" .. package.path
local http = require "http"
local minigun = require "minigun"

local IDLE <const> = 5 -- seconds that a connection may wait for its next request

-- The connection is a socket of cqueues: what waits lets the other coroutines go on.
local function handle(connection, w)
  connection:onerror(function(_, _, code) return code end) -- a client that is gone is no error of ours
  connection:settimeout(IDLE)
  repeat
    local request = http.request(function() return (connection:read "*l") end)
    if not request then return end
    local keep = request.keep and not w:stopping()
    local body = request.path == "/" and ("hello from worker %d\n"):format(w.number)
    connection:write(body and http.response("200 OK", body, keep)
      or http.response("404 Not Found", "there is no such page\n", keep))
    connection:flush()
    w:done()
  until not keep
end

local server = minigun.supervisor {
  name = "cqueues", listen = arg[1] or "127.0.0.1:8080", workers = tonumber(os.getenv "WORKERS") or 2,
  loop = "cqueues",
  worker = function(w) w:accept(handle) end,
}
os.exit(server:run())
