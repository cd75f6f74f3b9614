-- Options are values like any other: they may come from a table, the machine, the environment or the arguments, and
-- stages may be left out. `processes = false` means no workers: the stage runs in the coordinator.
--
--   minigun run examples/801_configuration.lua [workers=N] [batch=N] [even=yes]
--
-- Expected output:
--   pipeline 'default', 3 stages
--     numbers  producer    inline        -> square
--     square   map         processes(2)  -> batches
--     batches  batch of 4  inline        -> (result)
--   default: 3 batches
--   pipeline 'debug', 4 stages
--     numbers  producer     inline  -> even
--     even     filter       inline  -> square
--     square   map          inline  -> batches
--     batches  batch of 10  inline  -> (result)
--   debug: 1 batch

local minigun = require "minigun"

local function build(name, config)
  local p = minigun.pipeline(name, { memory = os.getenv "PIPELINE_MEMORY" })
  p:producer("numbers", { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 })
  if config.even then
    p:filter("even", function(n) return n % 2 == 0 end)
  end
  p:map("square", { processes = config.workers }, function(n) return n * n end)
  p:batch("batches", config.batch)
  return p
end

local function show(p)
  print(p)
  local n = #p:run().items
  print(("%s: %d batch%s"):format(p.name, n, n == 1 and "" or "es"))
end

local settings = { workers = 2, batch = 4 }         -- workers = true: one per CPU
for _, word in ipairs(arg) do
  local name, value = word:match "^(%a+)=(%w+)$"
  settings[name or error("not a setting: " .. word, 0)] = math.tointeger(value) or value
end

show(build("default", settings))
show(build("debug", { workers = false, batch = 10, even = true }))
