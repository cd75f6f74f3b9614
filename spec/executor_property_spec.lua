-- Executors against a model (spec/programs/standing.lua): histories that are drawn, with workers killed at random;
-- deaths at each point of the core, and failing system calls, with the test build; and the large amounts.
local support = require "spec.support"

local seed = tonumber(os.getenv "SEED") or os.time()

local function run(arguments, build)
  local done = support.run(("LUA_PATH=%s LUA_CPATH=%s lua5.4 spec/programs/standing.lua %s"):format(
    support.quote "./lua/?.lua;./lua/?/init.lua;./?.lua;;", support.quote(("./%s/?.so;;"):format(build)), arguments),
    { timeout = support.short_or_long(100, 900) * support.patience })
  local context = ("SEED=%d %s\n%s%s"):format(seed, arguments, done.stdout:sub(-3000), done.stderr)
  assert.equal(0, done.code, context)
  assert.is_nil(done.stdout:match "WRONG[^\n]*", context)
  return tonumber(done.stdout:match "(%d+) histories"), context
end

describe("executors that are drawn", function()
  it("F1 to F4, F7: give what the model says, whoever is cancelled, killed and resized", function()
    support.deadline(support.short_or_long(110, 1000))
    local n = support.short_or_long(24, 4000)
    assert.equal(n, (run(("random %d %d"):format(seed, n), os.getenv "MINIGUN_BUILD" or "build")))
  end)

  it("lose nothing and double nothing, wherever a worker dies", function()
    support.deadline(support.short_or_long(110, 1000))
    local n, context = run(("points %d %d"):format(seed, support.short_or_long(1, 40)), "build-faults")
    assert.is_true(n >= 12, context)
  end)

  it("end in a result or a clear error, whichever system call fails, and leave nothing", function()
    support.deadline(support.short_or_long(110, 1000))
    local n, context = run(("calls %d %d"):format(seed, support.short_or_long(1, 10)), "build-faults")
    assert.is_true(n >= 15, context)
  end)

  it("10^6 futures through 4 workers that are killed: each its own result, in flat memory", function()
    support.deadline(support.short_or_long(110, 1000))
    local n, context = run(("many %d %d"):format(seed, support.short_or_long(5000, 1000000)),
      os.getenv "MINIGUN_BUILD" or "build")
    assert.equal(1, n, context)
  end)
end)
