-- Pipelines made from another one: `extend` copies it, and the copy is changed stage by stage, or sent other ways with
-- `reroute`. The base stays as it is.
--
-- Expected output:
--   pipeline 'orders', 4 stages
--     lines     producer   inline        -> parse
--     parse     processor  processes(2)  -> discount
--     discount  map        processes(2)  -> total
--     total     each       inline        -> (result)
--   orders: started
--   orders: 135 euros
--   pipeline 'audit', 5 stages
--     lines  producer   inline        -> parse
--     parse  processor  processes(2)  -> check
--     check  processor  processes(2)  -> total
--     total  each       inline        -> (result)
--     large  map        processes(1)  -> (result)
--   audit: started
--   audit: first the hook of the base, then this one
--   audit: 620 euros
--   audit: large order: cherries
--   plain: started
--   plain: 150 euros
--   orders: started
--   orders: 135 euros

local minigun = require "minigun"

local total

local orders = minigun.pipeline "orders"
orders:before_run(function(ctx)
  total = 0
  print(ctx.pipeline .. ": started")
end)
orders:producer("lines", { "apples 20", "pears 100", "plums 30" })
orders:processes(2, function(p)
  p:processor("parse", function(line, emit)
    local name, price = line:match "^(%a+) (%d+)$"
    emit { name = name, price = tonumber(price) }
  end)
  p:map("discount", function(order)
    order.price = order.price * 9 // 10
    return order
  end)
end)
orders:each("total", function(order) total = total + order.price end)

local audit = orders:extend("audit", function(p)
  p:before_run(function() print "audit: first the hook of the base, then this one" end)
  p:replace("lines", { "apples 20", "cherries 600" })
  p:remove "discount"
  p:insert_after("parse", "check", function(order, emit)                 -- in the workers of "parse"
    if order.price < 0 then error("a negative price: " .. order.name) end
    emit(order)
    if order.price >= 100 then emit:to("large", order) end
  end)
  p:map("large", { await = true, processes = 1 }, function(order) return "large order: " .. order.name end)
end)

local plain = orders:extend "plain"
plain:reroute("parse", "total")                                          -- past the discount, which gets nothing now
plain:remove "discount"

local function report(p)
  local result = p:run()
  print(("%s: %d euros"):format(p.name, total))
  for _, item in ipairs(result.items) do print(p.name .. ": " .. item) end
end

print(orders)
report(orders)
print(audit)
report(audit)
report(plain)
report(orders)
