-- Adds a sixth kind of context, `toy = n`, and runs pipelines in it; says "fine" where all is as in any other context.
local kinds = require "minigun.base.kinds"
kinds[#kinds + 1] = { name = "toy", module = "spec.programs.toy_place", size = "n", class = "Toy" } -- the one line
local minigun = require "minigun"

local function same(what, expected, got)
  if expected ~= got then error(("%s: expected %s, got %s"):format(what, expected, got), 0) end
end

local function sorted(list)
  table.sort(list)
  return table.concat(list, " ")
end

local function twice(x, emit, ctx)
  ctx:count("seen")
  emit(2 * x)
end

-- After inline, after workers, before both, in a block of two stages.
for _, before in ipairs { { inline = true }, { processes = 2 }, { threads = 2 } } do
  for _, after in ipairs { { inline = true }, { processes = 2 }, { process_per_batch = 2 } } do
    local result = minigun.pipeline "p":producer { 1, 2, 3, 4, 5 }
      :processor("before", before, function(x, emit) emit(x + 1) end)
      :processor("toy", { toy = 2 }, twice)
      :processor("after", after, function(x, emit) emit(x + 1) end):run()
    same("items", "5 7 9 11 13", sorted(result.items))
    same("counted", 5, result.counters.seen)
    same("came", 5, result.stats.stages.toy.items_in)
    same("went", 5, result.stats.stages.toy.items_out)
  end
end

-- A further attempt, a failure, a batch, a loop, a named context, hooks; back-pressure by a queue.
local result = minigun.pipeline "p":context("c", { toy = { n = 3 } }):producer { 1, 2, 3, 4 }
  :processor("fragile", { context = "c", retries = 1, queue = 1 }, function(x, emit, ctx)
    if x == 2 and ctx.attempt == 1 or x == 3 then error "no" end
    emit(x)
  end):run { failures = "collect" }
same("items", "1 2 4", sorted(result.items))
same("failed", 3, result.failures[1].item)
same("retried", 2, result.stats.stages.fragile.retried)
result = minigun.pipeline "p":producer { 1, 2, 3, 4, 5 }:batch(2)
  :processor("sum", { toy = 1 }, function(batch, emit) emit(#batch) end):run()
same("batches", "1 2 2", sorted(result.items))
result = minigun.pipeline "p":producer { 1, 2, 3 }:stage("loop", { toy = true }, function(input, emit)
  local sum = 0
  for x in input do sum = sum + x end
  emit(sum)
end):run()
same("sum", "6", sorted(result.items))
local ok, message = pcall(minigun.pipeline("p").processor, minigun.pipeline "p", "x", { toy = 0 }, twice)
same("refused", true, not ok and message:find("option 'toy' must be an integer from 1", 1, true) ~= nil)
print "fine"
