-- Pipelines put together from pipelines. Each is an object of its own, which can be run by itself, and be a part of any
-- number of others: one that produces, one that works, and one that collects.
--
-- Expected output:
--   by itself: 1 4 9
--   morning: 5 readings, hottest 21.5
--   evening: 4 readings, hottest 17
--   both: 9 readings, hottest 21.5

local minigun = require "minigun"

-- A pipeline without a source: others send to it.
local squares = minigun.pipeline "squares":map("square", { processes = 2 }, function(n) return n * n end)

local alone = squares:extend():producer("numbers", { to = "square" }, { 1, 2, 3 }):run().items
table.sort(alone)
print("by itself: " .. table.concat(alone, " "))

-- Pipelines with a source: as parts of others they are producers.
local morning = minigun.pipeline "morning":producer("thermometer", { 120, 150, 180, 200, 215 })
local evening = minigun.pipeline "evening":producer("thermometer", { 170, 150, 130, 110 })

local celsius = minigun.pipeline "celsius":map("scale", { processes = 2 }, function(tenths) return tenths / 10 end)

local summary = minigun.pipeline "summary":accumulator("all", { max_size = 1000 }, function(list, emit)
  emit(("%d readings, hottest %g"):format(#list, math.max(table.unpack(list))))
end)

local function report(name, ...)
  local p, sources = minigun.pipeline(name), { ... }
  local names = {}
  for i, source in ipairs(sources) do
    p:pipeline(source)                                    -- by its own name
    names[i] = source.name
  end
  p:pipeline({ from = names }, celsius)
  p:pipeline({ from = "celsius" }, summary)               -- from pipeline to pipeline: always said
  print(name .. ": " .. p:run().items[1])
end

report("morning", morning)
report("evening", evening)
report("both", morning, evening)
