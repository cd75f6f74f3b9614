-- Dropping what has been seen, over several workers: `partition` sends equal keys to the same worker, so that each
-- worker's own memory of them, in `ctx.state`, is enough.
--
-- Expected output:
--   1000 addresses, 100 different

local minigun = require "minigun"

local p = minigun.pipeline "deduplicate"
p:producer("addresses", function(emit)
  for i = 1, 1000 do
    emit(("User%d@Example.org"):format(i % 100))
  end
end)
p:processor("unique", { processes = 2, partition = string.lower }, function(address, emit, ctx)
  local seen = ctx.state
  local key = address:lower()
  if not seen[key] then
    seen[key] = true
    emit(key)
  end
end)
local result = p:run()

local different = {}
for _, address in ipairs(result.items) do
  assert(not different[address])
  different[address] = true
end
print(("%d addresses, %d different"):format(result.stats.stages.unique.items_in, #result.items))
