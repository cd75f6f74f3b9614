-- The house stays one that a reader finds the way in: one item's way through few files, and no large knot of files that
-- call each other. The bounds may only be lowered.
local support = require "spec.support"

local CHANGES <const>, FILES <const>, KNOT <const> = 180, 46, 10

describe("the house", function()
  it("has one item's way through few files", function()
    local done = support.run("lua5.4 spec/programs/journey.lua", { timeout = 60, env = support.lua_env() })
    local changes, files = done.stdout:match "(%d+) changes of file, (%d+) files"
    assert.is_truthy(changes, done.stderr)
    assert.is_true(tonumber(changes) <= CHANGES and tonumber(files) <= FILES, done.stdout)
  end)

  it("has no large knot of files that call each other", function()
    local done = support.run("lua5.4 spec/programs/knot.lua", { timeout = 60 })
    assert.equal(0, done.code, done.stderr)
    for size in done.stdout:gmatch "(%d+)\t" do assert.is_true(tonumber(size) <= KNOT, done.stdout) end
  end)
end)
