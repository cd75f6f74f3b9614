-- A service inside an event loop, for specs: service_loop.lua PATH LOOP. A number is answered with its double, "late"
-- and "later" a while later, by a future; "ticks" with how often a timer of the loop has come; "stop" ends it.
local minigun = require "minigun"
local loops = require "spec.loops"

local path, name = arg[1], arg[2]
local loop = assert(require("minigun.loop").new(loops.by_name[name].name))
local service <close> = assert(minigun.service(path))
local slow <close> = minigun.executor(function(seconds)
  minigun.sleep(seconds)
  return "late"
end, { threads = 8 })
local ticks = 0
loop:every(0.005, function() ticks = ticks + 1 end)
service:on_request(function(request)
  if request == "late" then return slow:submit(0.1) end
  if request == "later" then return slow:submit(0.3) end
  if request == "ticks" then return ticks end
  if request == "stop" then
    loop:stop()
    return
  end
  return request * 2
end)
assert(loop:watch_io(service:fd(), "r", function() service:step() end))
print "ready"
io.stdout:flush()
loop:run()
