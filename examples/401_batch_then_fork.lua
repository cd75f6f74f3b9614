-- Batches and forks together: small items are gathered, and each batch gets a child of its own. The child sees the
-- coordinator's big table as it is, without a copy, and what it allocates goes back to the system when it ends.
--
-- Expected output:
--   1000 readings in 10 batches, a child for each
--   average of all: 500.5
--   batches above the average: 5

local minigun = require "minigun"

local reference = {}                            -- stands for something large that every child needs
for n = 1, 1000 do
  reference[n] = { value = n }
end

local p = minigun.pipeline "batch_then_fork"
p:producer("readings", minigun.range(1, #reference))
p:batch(100)
p:map("average", { process_per_batch = { max = 2 } }, function(batch)
  local sum = 0
  for _, n in ipairs(batch) do
    sum = sum + reference[n].value
  end
  return { count = #batch, average = sum / #batch }
end)
local result = p:run()

local count, sum, above = 0, 0, 0
for _, item in ipairs(result.items) do
  count, sum = count + item.count, sum + item.average * item.count
end
for _, item in ipairs(result.items) do
  if item.average > sum / count then above = above + 1 end
end
print(("%d readings in %d batches, a child for each"):format(count, #result.items))
print(("average of all: %.1f"):format(sum / count))
print(("batches above the average: %d"):format(above))

-- `batch(100)` gathers items into arrays of a hundred; the last array may be shorter. `process_per_batch` forks a new
-- process, a **child**, for each item that comes, here for each array; at most two live at once.
