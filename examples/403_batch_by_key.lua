-- `by` keeps a batch for each key: orders are gathered by customer, two at a time, and what is left over is passed on
-- at the end.
--
-- Expected output:
--   ann: apples, plums
--   ann: pears
--   bob: nuts
--   eve: bread, milk

local minigun = require "minigun"

local p = minigun.pipeline "batch_by_key"
p:producer("orders", {
  { customer = "ann", what = "apples" }, { customer = "eve", what = "bread" }, { customer = "ann", what = "plums" },
  { customer = "bob", what = "nuts" }, { customer = "ann", what = "pears" }, { customer = "eve", what = "milk" },
})
p:accumulator("parcels", { max_size = 2, by = function(order) return order.customer end }, function(orders, emit)
  local names = {}
  for i, order in ipairs(orders) do
    names[i] = order.what
  end
  emit(orders[1].customer .. ": " .. table.concat(names, ", "))
end)
local result = p:run()

table.sort(result.items)
print(table.concat(result.items, "\n"))
