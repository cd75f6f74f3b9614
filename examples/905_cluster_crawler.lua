-- A crawler whose pages are fetched on two hosts. The links on them go back to the submitter, which knows what was
-- seen, and sends on what is new. The hosts are two processes of this machine; the web server is one of its own.
-- Needs redis-server, minigun.redis (make REDIS=1) and cqueues; without them the example says so and is skipped.
--
-- Expected output:
--   40 pages, 1 of them missing: /page/13
-- Or:
--   ~ skipped: .*

local found, socket = pcall(require, "cqueues.socket")
if not found then
  print "skipped: the module cqueues is not installed (Debian: apt-get install lua-cqueues)"
  return true
end
local minigun = require "minigun"

local QUEUE <const>, PORT <const> = os.getenv "QUEUE", os.getenv "WEB" -- the worker hosts have them from below

local function get(port, path)
  local connection = socket.connect("127.0.0.1", port)
  connection:write(("GET %s HTTP/1.0\r\n\r\n"):format(path))
  local text = connection:read "*a"
  connection:close()
  return text:match "^HTTP/1.0 (%d+)", text
end

local function define(url, port)
  local p = minigun.pipeline "crawler"
  p:producer("start", { "/page/0" })
  local seen = {}
  p:filter("new", function(path)
    local known = seen[path]
    seen[path] = true
    return not known
  end)
  p:processor("fetch", { cluster = url, retries = 2 }, function(path, emit)
    local status, text = get(port, path)
    emit { path = path, status = status }
    for link in text:gmatch 'href="(.-)"' do emit:to("new", link) end
  end)
  return p
end

if QUEUE then return define(QUEUE, PORT) end    -- in a worker host: the pipeline, which runs elsewhere

-- The web server: page n links to pages 3n + 1 to 3n + 3. It runs in a child.
local listener = assert(socket.listen("127.0.0.1", 0))
assert(listener:listen())
local _, _, port = listener:localname()
local server = minigun.pipeline("server"):producer({ processes = 1 }, function()
  for client in listener:clients() do
    local n = math.tointeger((client:read "*l" or ""):match "^GET /page/(%d+) ")
    if not n or n == 13 then
      client:write "HTTP/1.0 404 Not Found\r\n\r\n"
    else
      client:write "HTTP/1.0 200 OK\r\n\r\n"
      for i = 3 * n + 1, math.min(3 * n + 3, 39) do client:write(('<a href="/page/%d">\n'):format(i)) end
    end
    client:close()
  end
end):start()
server:step()                                   -- hands the child its work

local url, stop = dofile(arg[0]:match "^.*/" .. "shared/two_hosts.lua")(arg[0], "WEB=" .. port)
if url then
  local result, missing = define(url, port):run { progress = false }, {}
  for _, page in ipairs(result.items) do
    if page.status ~= "200" then missing[#missing + 1] = page.path end
  end
  print(("%d pages, %d of them missing: %s"):format(#result.items, #missing, table.concat(missing, " ")))
  stop()
else
  print("skipped: " .. stop)
end
server:kill()
return true
