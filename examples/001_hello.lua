-- A first pipeline: two worker processes greet, the coordinator prints.
--
-- Expected output, in any order:
--   Hello, world!
--   Hello, moon!
--   Hello, stars!

local minigun = require "minigun"

local p = minigun.pipeline "hello"
p:producer("names", { "world", "moon", "stars" })
p:map("greet", { processes = 2 }, function(name) return ("Hello, %s!"):format(name) end)
p:each("print", print)
p:run()

-- A pipeline is a list of **stages**, each with a name and a function. An **item**, any value but nil, goes from
-- stage to stage. The **producer** makes the items, here from an array; `map` passes on what its function returns;
-- `each` takes items and passes nothing on.
--
-- `{ processes = 2 }` moves a stage into two **worker** processes; its function stays as it is. The process that
-- calls `run` is the **coordinator**: it forks the workers, hands out items and collects what they emit. Some items
-- take longer than others, so they arrive in another order; `{ processes = { n = 2, ordered = true } }` keeps the
-- order. Leave the number out (`processes = true`) and there is a worker for each CPU.
