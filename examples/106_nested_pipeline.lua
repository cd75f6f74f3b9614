-- A pipeline inside a pipeline: what several steps do together is one stage, with a name, a place to run, and hooks of
-- its own. It takes items from the stage before it, and what its last stages emit goes on.
--
-- Expected output:
--   pipeline 'orders', 5 stages
--     lines         producer  inline        -> parse.split
--     parse.split   map       processes(2)  -> parse.valid
--     parse.valid   filter    processes(2)  -> parse.amount
--     parse.amount  map       processes(2)  -> sum
--     sum           each      inline        -> (result)
--   3 orders, 60 euros
--   1 line dropped by parse.valid

local minigun = require "minigun"

local p = minigun.pipeline "orders"

p:producer("lines", { "apples;10", "pears;20", "nonsense", "plums;30" })

p:processes(2, function()                       -- its stages run in these two workers, one after the other
  p:pipeline("parse", function(parse)
    parse:map("split", function(line) return { line:match "^(%a+);(%d+)$" } end)
    parse:filter("valid", function(fields) return #fields == 2 end)
    parse:map("amount", function(fields) return tonumber(fields[2]) end)
  end)
end)

local orders, sum = 0, 0
p:each("sum", function(amount) orders, sum = orders + 1, sum + amount end)

print(p)
local stats = p:run().stats.stages

print(("%d orders, %d euros"):format(orders, sum))
local valid = stats["parse.valid"]              -- stages inside are called by the qualified name
print(("%d line dropped by parse.valid"):format(valid.items_in - valid.items_out))

-- From outside the stages of the inner pipeline have names such as `parse.valid`. The inner pipeline is a function that
-- defines stages, or a pipeline that is there already and also runs by itself.
