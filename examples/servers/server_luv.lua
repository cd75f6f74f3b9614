-- A web server over luv: in each worker callbacks, no coroutines.
--
--   lua5.4 examples/servers/server_luv.lua [ADDRESS]             curl http://127.0.0.1:8080/
local directory = arg[0]:match "^(.*/)" or "./"
package.path = directory .. "?.lua;" .. package.path
local http = require "http"
local minigun = require "minigun"

local MOST <const> = 65536 -- bytes of a request's head

local function answer(w, request)
  local keep = request.keep and not w:stopping()
  local body = request.path == "/" and ("hello from worker %d\n"):format(w.number)
  w:done()
  if body then return http.response("200 OK", body, keep), keep end
  return http.response("404 Not Found", "there is no such page\n", keep), keep
end

-- The connection is a uv_tcp_t. It is in hand until w:close(connection).
local function handle(connection, w)
  local waiting = ""
  connection:read_start(function(err, bytes)
    waiting = waiting .. (bytes or "")
    if err or not bytes or #waiting > MOST then return w:close(connection) end
    while true do
      local head, rest = waiting:match "^(.-\r\n\r\n)(.*)$"
      if not head then return end
      waiting = rest
      local request = http.request(head:gmatch "(.-)\r\n")
      if not request then return w:close(connection) end
      local response, keep = answer(w, request)
      connection:write(response, function()
        if not keep then w:close(connection) end
      end)
      if not keep then return connection:read_stop() end
    end
  end)
end

local server = minigun.supervisor {
  name = "luv", listen = arg[1] or "127.0.0.1:8080", workers = tonumber(os.getenv "WORKERS") or 2, loop = "luv",
  worker = function(w) w:accept(handle) end,
}
os.exit(server:run())
