-- Back-pressure: a source is held up while the stages after it are busy, so it may be endless, and memory stays
-- bounded. `queue` says how many items may wait for a stage.
--
-- Expected output:
--   50 items through a slow stage; the source was never far ahead: true

local minigun = require "minigun"

local produced, done, ahead = 0, 0, 0

local p = minigun.pipeline "back_pressure"
p:producer("fast", function(emit)
  for n = 1, math.huge do
    produced = n
    ahead = math.max(ahead, produced - done)
    emit(n)
  end
end)
p:map("slow", { processes = 1, queue = 2 }, function(n)
  os.execute "sleep 0.002"
  return n
end)
for _ in p:iterate() do
  done = done + 1
  if done == 50 then break end                  -- ends the run, and with it the endless source
end
print(done .. " items through a slow stage; the source was never far ahead: " .. tostring(ahead < 10))
