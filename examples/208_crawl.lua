-- Work that feeds itself: a stage in a pool of workers sends what it finds back to itself with emit:to, and what it
-- cannot read to another stage, which nothing else reaches (`await = true`). The run ends when there is nothing left to
-- visit.
--
--   minigun run examples/208_crawl.lua
--
-- Expected output:
--   121 pages, deepest at depth 4
--   3 broken links: page-13, page-26, page-39

local minigun = require "minigun"

-- A little web: every page links to three more, four levels deep; some links are broken.
local function links(page)
  local found = {}
  if page.depth < 4 then
    for i = 1, 3 do
      found[i] = { number = page.number * 3 + i, depth = page.depth + 1 }
    end
  end
  return found
end

local p = minigun.pipeline "crawl"

p:producer("start", { { number = 0, depth = 0 } })

p:processor("visit", { processes = 2 }, function(page, emit)
  if page.number > 0 and page.number < 40 and page.number % 13 == 0 then
    emit:to("broken", ("page-%d"):format(page.number))
  end
  emit(page.depth)
  for _, link in ipairs(links(page)) do
    emit:to("visit", link)
  end
end)

local pages, deepest = 0, 0
p:consumer("count", { to = {} }, function(depth)
  pages, deepest = pages + 1, math.max(deepest, depth)
end)

local broken = {}
p:consumer("broken", { await = true }, function(name)
  broken[#broken + 1] = name
end)

p:run()

table.sort(broken)
print(("%d pages, deepest at depth %d"):format(pages, deepest))
print(("%d broken links: %s"):format(#broken, table.concat(broken, ", ")))
