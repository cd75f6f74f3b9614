-- A web crawler: pages are fetched in threads, many at a time, and the links on them are sent back to the same stage
-- with `emit:to`. The server is a pipeline of its own, in the background; each of its answers takes a while.
-- Needs sockets: cqueues (Debian: lua-cqueues); without it the example says so and is skipped.
--
-- Expected output:
--   40 pages, 1 of them missing: /page/13
--   in less than half of the time that they take one after another: true
-- Or:
--   ~ skipped: .*lua%-cqueues.*

local found, cqueues = pcall(require, "cqueues")
if not found then
  print "skipped: the module cqueues is not installed (Debian: apt-get install lua-cqueues)"
  return
end
local socket = require "cqueues.socket"
local minigun = require "minigun"

local DELAY <const> = 0.05                      -- seconds that the server takes for a page

-- The server: page n links to pages 3n + 1 to 3n + 3. It runs in a child, so that it does not wait for the crawler.
local listener = assert(socket.listen("127.0.0.1", 0))
assert(listener:listen())
local _, host, port = listener:localname()

local function answer(client)
  local n = math.tointeger((client:read "*l" or ""):match "^GET /page/(%d+) ")
  cqueues.sleep(DELAY)
  if not n or n == 13 then
    client:write "HTTP/1.0 404 Not Found\r\n\r\n"
  else
    client:write "HTTP/1.0 200 OK\r\n\r\n"
    for i = 3 * n + 1, math.min(3 * n + 3, 39) do client:write(('<a href="/page/%d">\n'):format(i)) end
  end
  client:close()
end

local server = minigun.pipeline("server"):producer({ processes = 1 }, function()
  local loop = cqueues.new()
  loop:wrap(function()
    for client in listener:clients() do loop:wrap(answer, client) end
  end)
  assert(loop:loop())
end):start()
server:step()                                   -- hands the child its work

local function get(path)
  local connection = socket.connect(host, port)
  connection:write(("GET %s HTTP/1.0\r\n\r\n"):format(path))
  local text = connection:read "*a"             -- waits; meanwhile other threads run
  connection:close()
  return text:match "^HTTP/1.0 (%d+)", text
end

local crawler = minigun.pipeline "crawler"
crawler:producer("start", { "/page/0" })

local seen = {}                                 -- threads share it
crawler:processor("fetch", { threads = 20 }, function(path, emit)
  local status, text = get(path)
  emit { path = path, status = status }
  for link in text:gmatch 'href="(.-)"' do
    if not seen[link] then
      seen[link] = true
      emit:to("fetch", link)
    end
  end
end)
local result = crawler:run()
server:kill()

local missing = {}
for _, page in ipairs(result.items) do
  if page.status ~= "200" then missing[#missing + 1] = page.path end
end
print(("%d pages, %d of them missing: %s"):format(#result.items, #missing, table.concat(missing, " ")))
print("in less than half of the time that they take one after another: "
  .. tostring(result.elapsed < #result.items * DELAY / 2))
