-- A chain: each stage receives what the one before it emits: none, one or several items for each that came in. The
-- stages of one group call each other directly: a word is cut out, chosen and spelt in the same worker.
--
-- Expected output:
--   6 words in, long enough: 4
--   BEGINS MILES SINGLE THOUSAND
--   each was spelt in the worker that had cut it out: true

local minigun = require "minigun"

local p = minigun.pipeline "sequential_chain"
p:producer("lines", { "a thousand miles", "", "begins a single" })

p:processes(2, function()
  p:processor("split", function(line, emit, ctx)
    for word in line:gmatch "%a+" do emit { word = word, pid = ctx.pid } end
  end)
  p:processor("choose", function(item, emit)
    if #item.word > 1 then emit(item) end
  end)
  p:processor("spell", function(item, emit, ctx)
    emit { word = item.word:upper(), same = item.pid == ctx.pid }
  end)
end)

local result = p:run()

local words, same = {}, true
for i, item in ipairs(result.items) do
  words[i], same = item.word, same and item.same
end
table.sort(words)                               -- workers finish when they finish
print(("%d words in, long enough: %d"):format(result.stats.stages.choose.items_in, #words))
print(table.concat(words, " "))
print("each was spelt in the worker that had cut it out: " .. tostring(same))
