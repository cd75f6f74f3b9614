-- Results as they come: `iterate` gives the items of the last stage to a `for` loop. The source has no end; leaving the
-- loop ends the run and its workers.
--
-- Expected output:
--   10 multiples of 7
--   workers still alive: 0

local minigun = require "minigun"

local p = minigun.pipeline "streaming"
p:producer("numbers", minigun.range(1, 10 ^ 12)) -- is held up while the workers are busy
p:processor("multiples", { processes = 2 }, function(n, emit, ctx)
  if n % 7 == 0 then
    emit { n = n, pid = ctx.pid }
  end
end)

local found, pids = {}, {}
for item in p:iterate() do
  assert(item.n % 7 == 0)
  found[#found + 1], pids[item.pid] = item.n, true
  if #found == 10 then
    break
  end
end
print(#found .. " multiples of 7")

local alive = 0
for pid in pairs(pids) do
  local process = io.open(("/proc/%d/stat"):format(pid))
  if process then
    alive = alive + 1
    process:close()
  end
end
print("workers still alive: " .. alive)

-- While all workers are busy, `emit` in the producer waits, so a producer without end does not fill the memory. At a
-- terminal, a run that takes longer than half a second shows its progress in one line, and erases this line at its end.
