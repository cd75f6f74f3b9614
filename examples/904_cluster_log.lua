-- A log job over two hosts: lines are parsed there, and counted here. The hosts are two processes of this machine; on
-- others they would be begun with the same words, `minigun worker FILE`. The server of the cluster is one of its own.
-- Needs redis-server, and minigun.redis (make REDIS=1); without them the example says so and is skipped.
--
-- Expected output:
--   20000 lines, 2857 errors, 953 of them of /cart
-- Or:
--   ~ skipped: .*

local minigun = require "minigun"

local QUEUE <const> = os.getenv "QUEUE"         -- the worker hosts have it from here

local function define(url)
  local p = minigun.pipeline "log"
  p:producer("lines", function(emit)
    for i = 1, 20000 do
      local path = ({ "/", "/cart", "/search" })[i % 3 + 1]
      emit(('10.0.0.%d - - "GET %s HTTP/1.1" %d %d'):format(i % 250, path, i % 7 == 0 and 500 or 200, i))
    end
  end)
  p:processor("parse", { cluster = url, retries = 2 }, function(line, emit)
    local path, status = line:match '"GET (%S+) [^"]*" (%d+)'
    if status >= "500" then emit(path) end
  end)
  local errors, all = {}, 0
  p:each("count", function(path) errors[path], all = (errors[path] or 0) + 1, all + 1 end)
  return p, function() return errors, all end
end

if QUEUE then return (define(QUEUE)) end        -- in a worker host: the pipeline, which runs elsewhere

local url, stop = dofile(arg[0]:match "^.*/" .. "shared/two_hosts.lua")(arg[0])
if not url then
  print("skipped: " .. stop)
  return true
end
local p, counts = define(url)
p:run { progress = false }
local errors, all = counts()
print(("20000 lines, %d errors, %d of them of /cart"):format(all, errors["/cart"]))
stop()
return true
