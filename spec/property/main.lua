--- Runs the property test from a shell:
--
--   lua5.4 spec/property/main.lua SEED [COUNT [FIRST]]     pipelines FIRST (1) to FIRST + COUNT - 1 of a seed
--
-- Prints each failure with a minimal description, and at the end "N pipelines, N failed".
local check = require "spec.property.check"
local shrink = require "spec.property.shrink"

local seed, count, first = math.tointeger(arg[1]), math.tointeger(arg[2] or 100), math.tointeger(arg[3] or 1)
local number, failed = first, 0
while number < first + count and failed < 5 do
  check.one(seed * 1000003 + number, function(d, problem)
    failed = failed + 1
    if problem:find "^hangs" then check.seconds = 2 end
    local small, its = shrink.down(d, problem, check.problem)
    print(("pipeline %d of SEED=%d: %s\n%s"):format(number, seed, its, check.text(small)))
    io.stdout:flush()
    check.seconds = 30
  end)
  number = number + 1
end
for _, path in ipairs(require "spec.property.build".files) do os.remove(path) end
print(("%d pipelines, %d failed"):format(number - first, failed))
