-- How long items take, and what slices are cut of that: no process, no clock.
local rates = require "minigun.policy.rates"

describe("the size of slices", function()
  it("is one item until something is known, then half a millisecond of work", function()
    local rate = rates.new()
    assert.same({ 1, 1 }, { rate:slice(), rate:depth() })
    rate:learn(1, 1000000)
    assert.is_true(math.abs(rate:slice() - 500) <= 1)
    assert.is_true(math.abs(rate:slice(100) - 500) <= 1)
    assert.equal(1000, rate:slice(1000)) -- up to sixteen milliseconds, where so many wait for each
    assert.is_true(math.abs(rate:slice(50000) - 16000) <= 1)
    assert.equal(2, rate:depth())
    rate:learn(0.02, 1) -- much slower counts at once
    assert.same({ 1, 1, 1 }, { rate:slice(), rate:slice(5000), rate:depth() })
    for _ = 1, 100 do rate:learn(0, 1000) end
    local most = rate:slice()
    assert.is_true(most > 1000 and most <= 1 << 20)
  end)

  it("grows slowly when items become quicker", function()
    local rate = rates.new()
    rate:learn(0.001, 1)
    rate:learn(0, 1)
    assert.near(0.0007, rate.seconds, 1e-9)
  end)
end)
