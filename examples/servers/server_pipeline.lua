-- A web server that hands its work to a pipeline: in each worker, over a loop of the library's own, requests are items
-- of a pipeline that runs in the background, and its pool of processes computes while the worker serves on.
--
--   lua5.4 examples/servers/server_pipeline.lua [ADDRESS]        curl http://127.0.0.1:8080/primes/1000000
local directory = arg[0]:match "^(.*/)" or "./"
package.path = directory .. "?.lua;" .. package.path
local http = require "http"
local minigun = require "minigun"

local function primes_up_to(n)
  local sieve, count = {}, 0
  for i = 2, n do
    if not sieve[i] then
      count = count + 1
      for k = i * i, n, i do sieve[k] = true end
    end
  end
  return count
end

-- Items are { id, n }; answers come back as { id, count }.
local function start_pipeline(requests, answer)
  local p = minigun.pipeline "primes"
  p:producer("requests", function(emit)
    while true do
      local item = table.remove(requests, 1)
      if item then emit(item) else coroutine.yield() end
      if requests.over and #requests == 0 then return end
    end
  end)
  p:map("count", { processes = 1 }, function(item) return { item[1], primes_up_to(item[2]) } end)
  p:each("answer", answer)
  return p:start { progress = false }
end

local function serve(w)
  local requests, open, last = {}, {}, 0
  local run = start_pipeline(requests, function(result)
    local connection = open[result[1]]
    open[result[1]] = nil
    connection:send(http.response("200 OK", result[2] .. " primes\n"))
    w:done()
    w:close(connection)
  end)
  assert(w.loop:watch_io(run:fd(), "r", function() run:step() end))
  w:on_stop(function() requests.over = true end)

  w:accept(function(connection)
    local watch
    local lines = {}
    watch = assert(w.loop:watch_io(connection, "r", function()
      local line, reason
      repeat
        line, reason = connection:receive "*l"
        lines[#lines + 1] = line
      until not line or line == ""
      if not line and reason == "timeout" then return end
      watch:stop()
      local n = line and tonumber((lines[1] or ""):match "^GET /primes/(%d+) ")
      if not n or n > 1e7 then
        if line then connection:send(http.response("404 Not Found", "GET /primes/N, N up to 10000000\n")) end
        return w:close(connection)
      end
      last = last + 1
      open[last] = connection
      requests[#requests + 1] = { last, n }
      run:step()
    end))
  end)
end

local server = minigun.supervisor {
  name = "pipeline", listen = arg[1] or "127.0.0.1:8080", workers = tonumber(os.getenv "WORKERS") or 2, loop = "epoll",
  worker = serve,
}
os.exit(server:run())
