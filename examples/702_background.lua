-- A run in the background: `start` returns at once, and the program goes on with its own things. It lets the run go on
-- when it likes (`step`), looks how far it is (`status`), and stops an endless source in good order (`stop`).
-- In an event loop, watch `run:fd()` and call `run:step()` when it is readable.
--
-- Expected output:
--   running, nothing done yet
--   the program does its own things meanwhile
--   stopping
--   every number that went in has come out
--   stopped early, without an error

local minigun = require "minigun"

local p = minigun.pipeline "background"
p:producer("numbers", minigun.range(1, 10 ^ 12))
p:map("square", { processes = 2 }, function(n) return n * n end)

local run = p:start()                           -- the workers are there
local status = run:status()
print(status.state .. ", " .. (status.items == 0 and "nothing done yet" or "already at work"))

repeat run:step(0.01) until run:status().items >= 1000
print "the program does its own things meanwhile"

run:stop()                                      -- no more numbers; what is inside is finished
print(run:status().state)

local result = run:wait()
if #result.items == result.stats.stages.numbers.items_out then
  print "every number that went in has come out"
end
print(result.stopped and result.ok and "stopped early, without an error")
