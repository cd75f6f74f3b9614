-- A service: other programs hand it pictures through shared memory, and each gets its thumbnail back. The service is
-- the producer of a pipeline, so its workers, retries and time-outs are those of any other: what comes of a request
-- is its reply. A picture that cannot be read is the failure of that one request.
--
-- The clients here are children; any other program could be one: it needs the path, and the right to open it.
--
-- Expected output:
--   client 1: 64x48 becomes 16x12
--   client 1: 200x100 becomes 16x8
--   client 2: 3000x2000 becomes 16x10
--   client 2: refused: this is no picture

local minigun = require "minigun"
local loop = require("minigun.loop").new()

-- A picture is a text: "P5 width height 255", a newline, and a byte for each pixel.
local function shrink(picture, width)
  local w, h, pixels = picture:match "^P5 (%d+) (%d+) 255\n(.*)$"
  if not w then error("this is no picture", 0) end
  w, h = tonumber(w), tonumber(h)
  local step, out = w / width, {}
  local height = math.floor(h / step)
  for y = 0, height - 1 do
    for x = 0, width - 1 do out[#out + 1] = pixels:byte(y * step // 1 * w + x * step // 1 + 1) end
  end
  return ("P5 %d %d 255\n%s"):format(width, height, string.char(table.unpack(out)))
end

local function blank(w, h) return ("P5 %d %d 255\n%s"):format(w, h, ("\127"):rep(w * h)) end

local service <close> = assert(minigun.service("@thumbnails" .. minigun.now()))

local p = minigun.pipeline "thumbnails"
p:producer("requests", service)
p:map("shrink", { processes = 2, timeout = 10 }, function(request)
  return request == "stop" and request or shrink(request.picture, request.width)
end)
p:map("reply", function(small)                  -- in the server's own process
  if small == "stop" then service:stop() end
  return small
end)

-- What a client does: it asks for several at once, and takes the replies in its own order.
local function client(number, pictures)
  local server <close> = assert(minigun.connect(service.path, { wait = 5 }))
  local futures = {}
  for i, picture in ipairs(pictures) do futures[i] = server:submit { picture = picture, width = 16 } end
  for i, future in ipairs(futures) do
    local ok, small = pcall(future.result, future)
    local size = pictures[i]:match "^P5 (%d+ %d+)"
    if ok then print(("client %d: %s becomes %s"):format(number, size:gsub(" ", "x"), (small:match "P5 (%d+ %d+)"
      :gsub(" ", "x"))))
    else print(("client %d: refused: %s"):format(number, small.message)) end
  end
end

loop:fork(function()
  client(1, { blank(64, 48), blank(200, 100) })
  io.stdout:flush()
  client(2, { blank(3000, 2000), "a text" })
  io.stdout:flush()
  minigun.connect(service.path):send "stop"
end)
p:run { failures = "collect" }
loop:run()                                      -- the child's end
