-- A named context is one set of workers for stages that need not be neighbours. What a stage says itself, or a group
-- inside a group, wins over what stands around it.
--
-- Expected output:
--   pipeline 'named_contexts', 6 stages
--     ids     producer  inline            -> load
--     load    map       db: processes(2)  -> resize
--     resize  map       processes(3)      -> label
--     label   map       inline            -> check
--     check   map       processes(1)      -> store
--     store   each      db: processes(2)  -> (result)
--   forked for load+store: 2
--   forked for resize: 3
--   forked for check: 1

local minigun = require "minigun"

local function same(id) return id end

local p = minigun.pipeline "named_contexts"
p:context("db", { processes = 2 })              -- two connections, however many stages use them

p:producer("ids", { 1, 2, 3, 4, 5 })
p:map("load", { context = "db" }, same)
p:processes(3, function()
  p:map("resize", same)
  p:inline(function()
    p:map("label", same)
  end)
  p:map("check", { processes = 1 }, same)
end)
p:each("store", { context = "db" }, same)       -- in the workers of "load"

local forks = {}
p:before_fork(function(ctx) forks[ctx.stage] = (forks[ctx.stage] or 0) + 1 end)

print(p)
p:run()
for _, stages in ipairs { "load+store", "resize", "check" } do
  print(("forked for %s: %d"):format(stages, forks[stages]))
end
