-- Contexts inside contexts. A group inside a group is a set of workers of its own, whatever stands around it: a fork
-- per item inside a pool, or a step in the coordinator between two steps of the same pool. And a handler in a worker
-- may run a whole pipeline with workers of its own, which end with it.
--
-- Expected output:
--   pipeline 'nested_contexts', 6 stages
--     numbers  producer   inline                -> load
--     load     processor  processes(2)          -> heavy
--     heavy    processor  process_per_batch(2)  -> count
--     count    map        inline                -> sum
--     sum      processor  processes(2)          -> results
--     results  each       inline                -> (result)
--   "load" and "sum" ran in the same 2 processes or fewer
--   "heavy" ran in 6 others, a fresh one for each item
--   seen on the way: 6
--   sums of squares: 1 5 14 30 55 91

local minigun = require "minigun"

local function note(f)
  return function(n, emit, ctx)
    ctx:collect(ctx.stage, ctx.pid)
    emit(f(n))
  end
end

-- 1 + 4 + ... + n * n, with two workers.
local function squares_up_to(n)
  local list = {}
  for i = 1, n do list[i] = i end
  local sum = 0
  for _, square in ipairs(minigun.map(list, function(i) return i * i end, { processes = 2 })) do sum = sum + square end
  return sum
end

local p = minigun.pipeline "nested_contexts"
p:producer("numbers", { 1, 2, 3, 4, 5, 6 })

local seen = 0
p:processes(2, function()
  p:processor("load", note(function(n) return n end))
  p:process_per_batch({ max = 2 }, function()
    p:processor("heavy", note(function(n) return n end))
    p:inline(function()
      p:map("count", function(n)
        seen = seen + 1                         -- the coordinator's own variable
        return n
      end)
    end)
  end)
  p:processor("sum", note(squares_up_to))
end)

local sums = {}
p:each("results", { inline = true }, function(sum) sums[#sums + 1] = sum end)

print(p)
local pids = p:run().collected

local function different(...)
  local found, count = {}, 0
  for _, list in ipairs { ... } do
    for _, pid in ipairs(list) do
      if not found[pid] then found[pid], count = true, count + 1 end
    end
  end
  return count
end

assert(different(pids.load, pids.sum) <= 2)
print '"load" and "sum" ran in the same 2 processes or fewer'
print(('"heavy" ran in %d others, a fresh one for each item'):format(
  different(pids.load, pids.sum, pids.heavy) - different(pids.load, pids.sum)))
print("seen on the way: " .. seen)
table.sort(sums)
print("sums of squares: " .. table.concat(sums, " "))
