-- Random pipelines against a model: see spec/property/check.lua. SEED= in the environment chooses others, and repeats
-- those of a failure; MINIGUN_LONG=1 runs 2,000 of them.
local clusters = require "spec.clusters"
local support = require "spec.support"

local SEED <const> = math.tointeger(os.getenv "SEED") or 1
local PARTS <const>, SHORT <const>, LONG <const> = 2, 8, 1000

-- The environment of a part: of the last one, stages run in clusters, too, where there can be one.
local function env_of(part, cluster)
  return { MINIGUN_SHRINK = support.short_or_long("10", "120"),
    MINIGUN_PROPERTY_REDIS = part == PARTS and cluster and cluster.url or nil }
end

describe("random pipelines", function()
  for part = 1, PARTS do
    it(("R33 R44 R60 give what the model says, in whatever contexts, part %d of %d"):format(part, PARTS), function()
      local cluster <close> = part == PARTS and not clusters.missing() and clusters.start() or nil
      local count = support.short_or_long(SHORT, LONG)
      support.deadline(support.short_or_long(60, 3000))
      local result = support.run_lua([[
        package.path = "./?.lua;" .. package.path
        dofile "spec/property/main.lua"
      ]], { args = { SEED, count, (part - 1) * count + 1 },
        timeout = support.short_or_long(55, 2900) * support.patience,
        env = env_of(part, cluster) })
      assert.equal("", result.stderr)
      assert.is_true(result.stdout:find(("%d pipelines, 0 failed"):format(count), 1, true) ~= nil,
        ("SEED=%d\n%s"):format(SEED, result.stdout))
    end)
  end
end)
