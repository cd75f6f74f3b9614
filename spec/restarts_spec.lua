-- What follows from the end of a worker: no process, no clock.
local restarts = require "minigun.policy.restarts"

describe("deaths", function()
  it("are borne up to a number within the window, and forgotten after it", function()
    local r = restarts.new(2, 5)
    assert.is_nil(r:died(0))
    assert.is_nil(r:died(1))
    assert.equal(3, r:died(4))
    assert.is_nil(r:died(7))  -- those of 4 and 7
    assert.is_nil(restarts.new(1, 5):died(0))
    assert.equal(1, restarts.new(0, 5):died(0))
  end)

  it("are told by signal, by code, or as unknown", function()
    assert.equal("was killed by signal 9", restarts.cause(0, 9))
    assert.equal("exited with code 3", restarts.cause(3, 0))
    assert.matches("not known how", restarts.cause(nil))
  end)
end)

describe("the end of a worker", function()
  local function follows(last) return { restarts.follows(last) } end

  it("has no consequence where it is a producer's that was stopped", function()
    assert.same({ "nothing", false }, follows { stopped = true, held = true, in_hand = true })
  end)

  it("after its last item costs its hooks", function()
    assert.same({ "hooks", false }, follows { over = true })
    assert.same({ "hooks", false }, follows { over = true, stopped = true })
    assert.same({ "hooks", false }, follows { retired = true })
  end)

  it("is a death that counts where another worker has to take its place", function()
    assert.same({ "replace", true }, follows {})
    assert.same({ "replace", true }, follows { held = true, in_hand = true })
    assert.same({ "replace", true }, follows { retired = true, held = true, in_hand = true })
    assert.same({ "replace", true }, follows { retired = true, held = true, fresh = true })
  end)

  it("does not count where it was the coordinator's deed, or an item has paid for it", function()
    assert.same({ "replace", false }, follows { held = true, in_hand = true, timed_out = true })
    assert.same({ "replace", false }, follows { retired = true, held = true, in_hand = true, fresh = true })
  end)
end)
