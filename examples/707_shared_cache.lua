-- A cache that several programs share. Whatever is asked for is computed once, by a pool of workers, however many
-- programs ask for it, also at the same time: what is kept for a key is the future of its value, and a service that is
-- given a future by its handler replies when that is done.
--
-- Expected output:
--   3 programs have asked 60 times
--   computed: 10 values

local minigun = require "minigun"
local loop = require("minigun.loop").new()

local function compute(n) -- it takes a while
  local a, b = 0, 1
  for _ = 1, n * 1000 do a, b = b, (a + b) % 1000007 end
  return a
end

local pool <close> = minigun.executor(compute, { processes = 2 })
local service <close> = assert(minigun.service("@cache" .. minigun.now()))

local function program(first)
  local cache <close> = assert(minigun.connect(service.path, { wait = 5 }))
  local futures = {}
  for i = 1, 20 do futures[i] = cache:submit { key = (first + i) % 10 + 1 } end
  for i, future in ipairs(futures) do assert(future:result() == compute((first + i) % 10 + 1)) end
  cache:send { asked = #futures }
end

for i = 1, 3 do loop:fork(function() program(i) end) end

local kept, computed, asked = {}, 0, 0
service:serve(function(request)
  if request.asked then
    asked = asked + request.asked
    if asked == 60 then service:stop() end
    return
  end
  local future = kept[request.key]
  if not future then
    computed = computed + 1
    future = pool:submit(request.key)
    kept[request.key] = future
  end
  return future
end)
loop:run()
print(("3 programs have asked %d times"):format(asked))
print(("computed: %d values"):format(computed))
