-- Waiting side by side: with `threads = 10` ten handlers are under way at once in one process. While one waits, here
-- with `minigun.sleep`, the others go on; they see the same variables. For computing, take processes.
--
-- Expected output:
--   20 requests of 0.05 s each, 10 under way at once, all in one process
--   in less than half of the time that they take one after another: true

local minigun = require "minigun"

local under_way, most, pids = 0, 0, {}

local p = minigun.pipeline "threads"
p:producer("requests", minigun.range(1, 20))
p:processor("ask", { threads = 10 }, function(n, emit, ctx)
  under_way = under_way + 1                     -- a variable of this process: no lock, as only one runs at a time
  most = math.max(most, under_way)
  pids[ctx.pid] = true
  minigun.sleep(0.05)                           -- stands for a server that takes its time
  under_way = under_way - 1
  emit(n)
end)
local result = p:run()

assert(next(pids) and not next(pids, next(pids)))
print(("%d requests of 0.05 s each, %d under way at once, all in one process"):format(#result.items, most))
print("in less than half of the time that they take one after another: " .. tostring(result.elapsed < 0.5))
