-- How large the blocks for a worker's output are, and what a worker is given: no process, no clock.
local dispatch = require "minigun.policy.dispatch"
local rates = require "minigun.policy.rates"
local supply = require "minigun.policy.supply"

describe("blocks for output", function()
  it("are as large as the largest that was needed, until large items have ceased", function()
    local sizes = supply.sizes(65536)
    assert.equal(65536, sizes.bytes)
    sizes:used(10)
    sizes:needed(400000)
    sizes:needed(70000)
    assert.equal(400000, sizes.bytes)
    for _ = 1, 64 do sizes:used(1000) end
    assert.equal(400000, sizes.bytes)
    sizes:used(200000) -- that needed one
    for _ = 1, 65 do sizes:used(1000) end
    assert.equal(200000, sizes.bytes)
    for _ = 1, 3 * 65 do sizes:used(1000) end
    assert.equal(65536, sizes.bytes)
  end)

  it("are two in store, or none where each item is to wait for room", function()
    assert.same({ false, true, true }, { supply.enough(1), supply.enough(2), supply.enough(0, true) })
  end)
end)

describe("slices", function()
  it("are one item for each thread of a worker that has some", function()
    assert.same({ 1, 16 }, { dispatch.terms(rates.new(), 1000, 2, 16) })
  end)

  it("are as long as the rate says, and longer where much waits for each worker", function()
    local rate = rates.new()
    rate:learn(1, 1e6)
    assert.same({ 500, 2 }, { dispatch.terms(rate, 100, 2) })
    assert.same({ 1250, 2 }, { dispatch.terms(rate, 10000, 2) })
  end)

  it("have no more items than there is room for, but one", function()
    assert.equal(5, dispatch.size(100, 5, nil, 1000, 2))
    assert.equal(1, dispatch.size(100, 0.5, nil, 1000, 2))
    assert.equal(1, dispatch.size(100, -3, nil, 1000, 2))
    assert.equal(100, dispatch.size(100, math.huge, nil, 1000, 2))
  end)

  it("share out what has come back from a worker that was late", function()
    assert.equal(4, dispatch.size(100, math.huge, true, 8, 2))
    assert.equal(1, dispatch.size(100, math.huge, true, 1, 2))
  end)
end)

describe("patience with a worker", function()
  it("begins with each slice, and the tries become rarer", function()
    local patience = dispatch.patience()
    assert.is_false(patience:over(1, 10))
    assert.near(10.001, patience.at, 1e-9)
    assert.is_true(patience:over(1, 10.002))
    assert.near(10.004, patience.at, 1e-9)
    assert.is_false(patience:over(1, 10.003))
    for _ = 1, 10 do assert.is_true(patience:over(1, patience.at)) end
    local at = patience.at
    assert.is_true(patience:over(1, at))
    assert.near(at + 0.064, patience.at, 1e-9)
    assert.is_false(patience:over(2, at))
    assert.near(at + 0.001, patience.at, 1e-9)
  end)
end)
