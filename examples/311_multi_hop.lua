-- Many borders: from pool to pool, from a pool into a fork, and by `emit:to` to another pool still. Values stay what
-- they are: integers and floats, false, empty tables, one table in two places, a table that contains itself.
--
-- Expected output:
--   4 items, each through 4 processes
--   every value is what it was: true

local minigun = require "minigun"

local function new_item(n)
  local shared = { n }
  local item = {
    integer = n, float = n + 0.0, no = false, empty = {}, nested = { { n }, { { n } } }, zero = "a\0b", one = shared,
    two = shared, path = {},
  }
  item.itself = item
  return item
end

local function unchanged(item, n)
  return item.integer == n and math.type(item.integer) == "integer" and math.type(item.float) == "float"
    and item.no == false and next(item.empty) == nil and item.nested[2][1][1] == n and item.zero == "a\0b"
    and item.one == item.two and item.itself == item
end

local function hop(item, emit, ctx)
  table.insert(item.path, ctx.pid)
  emit(item)
end

local p = minigun.pipeline "multi_hop"
p:producer("items", function(emit)
  for n = 1, 4 do emit(new_item(n)) end
end)
p:processor("pool", { processes = 2 }, hop)
p:processor("second pool", { processes = 1 }, hop)
p:processor("fork", { process_per_batch = 2, to = {} }, function(item, emit, ctx)
  table.insert(item.path, ctx.pid)
  emit:to("third pool", item)
end)
p:processor("third pool", { await = true, processes = 2 }, hop)

local items, same = 0, true
p:each("check", { from = "third pool" }, function(item)
  local pids = {}
  for _, pid in ipairs(item.path) do
    assert(not pids[pid])
    pids[pid] = true
  end
  assert(#item.path == 4)
  items, same = items + 1, same and unchanged(item, item.integer)
end)
p:run()

print(items .. " items, each through 4 processes")
print("every value is what it was: " .. tostring(same))
