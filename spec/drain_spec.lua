-- When a stage has come to its end: the policy, without a run.

local drain = require "minigun.run.drain"

-- Stages from rows of inputs; `await` by id.
local function stages_of(inputs, await)
  local stages = {}
  for id, list in ipairs(inputs) do stages[id] = { inputs = list, await = await and await[id] } end
  return stages
end

-- What drains such stages.
local function new(...) return drain.new({ stages = stages_of(...) }, function() return 0 end) end

-- The same in a run where so much is pending, and these are drained.
local function with(own, pending, drained)
  own.ledger = { pending = function(_, id) return pending[id] end, drained = function(_, id) return drained[id] end }
  return own
end

describe("a stage may be drained", function()
  local own = new { {}, { 1 }, { 1, 2 } }

  it("when it has nothing pending and all that send to it are drained", function()
    assert.is_true(with(own, { 0, 1, 1 }, { false, false, false }):may_drain(1))
    assert.is_false(with(own, { 1, 0, 0 }, { false, false, false }):may_drain(1))
    assert.is_false(with(own, { 0, 0, 0 }, { true, false, false }):may_drain(3))
    assert.is_false(with(own, { 0, 0, 1 }, { true, true, false }):may_drain(3))
    assert.is_true(with(own, { 0, 0, 0 }, { true, true, false }):may_drain(3))
  end)

  it("again, when something has come to it after all", function()
    with(own, { 0, 2, 0 }, { true, false, true })
    assert.is_false(own:may_drain(2))
    assert.is_false(own:may_drain(3))
    assert.is_true(own:all_drained({ 1, 3 }))
    assert.is_false(own:all_drained({ 1, 2, 3 }))
  end)
end)

describe("an awaited stage", function()
  -- 1 -> 2, and 3, which is awaited, -> 4
  local own = new({ {}, { 1 }, {}, { 3 } }, { [3] = 2 })

  it("does not keep back what comes before it, only what comes after", function()
    assert.same({ false, false, 2, 2 }, own.after_await)
    assert.is_true(with(own, { 0, 0, 5, 5 }, { true, true, false, false }):front_drained())
    assert.is_false(with(own, { 0, 0, 0, 0 }, { true, false, true, true }):front_drained())
    assert.is_false(with(own, { 0, 1, 0, 0 }, { true, true, false, false }):front_drained(), "something has come")
  end)

  it("is given up when nothing has come in its time", function()
    assert.is_false(own:given_up(3, 0, 1.9))
    assert.is_true(own:given_up(3, 0, 2))
    assert.is_false(own:given_up(3, 1, 5))
    assert.is_false(own:given_up(1, 0, 5))
    local without = new({ {}, {} }, { [2] = true })
    assert.is_false(without:given_up(2, 0, 1e9))
  end)

  it("has a time at which that may be", function()
    local two = new({ {}, {}, {} }, { [2] = 5, [3] = 2 })
    assert.equal(2, two:next_due(0))
    assert.equal(5, two:next_due(2))
    assert.is_nil(two:next_due(5))
    assert.is_nil(new({ {} }, { true }):next_due(0))
  end)
end)
