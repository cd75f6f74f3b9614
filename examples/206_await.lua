-- Where an item goes may be known only when it is there: `emit:to` sends it to a stage by name, whatever the graph
-- says. A stage reached in no other way says `await = true`; it ends when no stage is left that could send to it.
--
-- Expected output:
--   pages: index, news
--   images: cat
--   ~ movie holiday: .*there is no stage 'movies'.*

local minigun = require "minigun"

local p = minigun.pipeline "await"
p:producer("files", { "page index", "image cat", "movie holiday", "page news" })

p:processor("sort", { processes = 2, to = {} }, function(file, emit)
  local kind, name = file:match "^(%a+) (%a+)$"
  emit:to(kind .. "s", name)
end)
p:map("pages", { await = true, to = {}, processes = 1 }, function(name) return name end)
p:map("images", { await = true, to = {}, process_per_batch = 1 }, function(name) return name end)
local result = p:run { failures = "collect" }

for _, name in ipairs { "pages", "images" } do
  local list = result:of(name)
  table.sort(list)
  print(name .. ": " .. table.concat(list, ", "))
end
for _, failure in ipairs(result.failures) do
  print(failure.item .. ": " .. failure.message)
end
return true -- the failures above are what it shows: the command need not end with status 1
