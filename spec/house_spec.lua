-- The house stays one that a reader finds the way in: one item's way through few files, and no large knot of files that
-- call each other. The bounds may only be lowered.
local support = require "spec.support"

local CHANGES <const>, FILES <const>, KNOT <const> = 96, 22, 3

describe("the house", function()
  it("has one item's way through few files", function()
    local changes, files = math.huge, math.huge
    for _ = 1, 10 do -- a worker that has ended before its item is looked at leads past more places: the shortest counts
      local done = support.run("unset MINIGUN_CHECK; exec lua5.4 spec/programs/journey.lua", -- checks are no way
        { timeout = 60, env = support.lua_env() })
      local met, in_files = done.stdout:match "(%d+) changes of file, (%d+) files"
      assert.is_truthy(met, done.stderr)
      changes, files = math.min(changes, tonumber(met)), math.min(files, tonumber(in_files))
      if changes <= CHANGES and files <= FILES then break end
    end
    assert.is_true(changes <= CHANGES and files <= FILES, ("%d changes, %d files"):format(changes, files))
  end)

  it("has no large knot of files that call each other", function()
    local done = support.run("lua5.4 spec/programs/knot.lua", { timeout = 60 })
    assert.equal(0, done.code, done.stderr)
    for size in done.stdout:gmatch "(%d+)\t" do assert.is_true(tonumber(size) <= KNOT, done.stdout) end
  end)
end)
