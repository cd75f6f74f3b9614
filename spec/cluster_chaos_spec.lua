-- Clusters, rule C2: the short form of `make cluster-chaos` (spec/programs/chaos.lua), over one server with its file.

local clusters = require "spec.clusters"
local programs = require "spec.programs.build"
local support = require "spec.support"

local it = clusters.tests(_ENV)

describe("a cluster in which all parts die", function()
  it("C2, C4, C8: gives each item once", function()
    if not programs.proxy() then return pending "there is no C compiler" end
    local seed = tonumber(os.getenv "SEED") or os.time()
    io.stdout:write(("spec/cluster_chaos_spec.lua: SEED=%d\n"):format(seed))
    local result = support.run(("exec lua5.4 spec/programs/chaos.lua %d %d server"):format(
      support.short_or_long(40000, 400000), seed), { env = support.lua_env(), timeout = 120 })
    assert.equal(0, result.code, result.stdout .. result.stderr)
    assert.matches("lost 0, doubled 0", result.stdout, 1, true)
  end)
end)
