-- `ordered = true`: results in the order of what came in, although workers finish when they finish. What is finished
-- early waits, in bounded memory, for what comes before it: also for an item that fails at first and is tried again.
--
-- Expected output:
--   as they finish: a long job came in first and went out last
--   ordered: 1 4 9 16 25 36 49 64 81 100

local minigun = require "minigun"

local function square(n, emit, ctx)
  if n == 1 then                          -- the first job takes longer than all others together
    local stop = os.clock() + 0.05
    while os.clock() < stop do end
  end
  if n == 5 and ctx.attempt == 1 then error "not yet" end
  emit(n * n)
end

local function run(options)
  local p = minigun.pipeline "squares"
  p:producer("numbers", minigun.range(1, 10))
  p:processor("square", options, square)
  return p:run().items
end

local items = run { processes = 3, retries = 1 }
print("as they finish: a long job came in first and went out " .. (items[#items] == 1 and "last" or "earlier"))
print("ordered: " .. table.concat(run { processes = 3, retries = 1, ordered = true }, " "))
