-- Large items: one may be as large as the memory limit of the run bears. The limit is for what is under way at once,
-- not for what passes: producers wait while it is used up.
--
-- Expected output:
--   30 texts, 30 MB, each reversed in a worker
--   shared memory used: less than half of that

local minigun = require "minigun"

local SIZE <const> = 1000000

local p = minigun.pipeline("large_items", { memory = "8M" })
p:producer("texts", function(emit)
  for n = 1, 30 do
    emit(("a"):rep(SIZE - 1) .. n % 10)
  end
end)
p:map("reverse", { processes = 2 }, string.reverse)

local texts, bytes = 0, 0
p:each("check", function(text)
  assert(text:find "^%daaa")
  texts, bytes = texts + 1, bytes + #text
end)
local result = p:run()

print(("%d texts, %d MB, each reversed in a worker"):format(texts, bytes // SIZE))
print("shared memory used: " .. (result.stats.memory_most < bytes // 2 and "less than half of that" or "too much"))
