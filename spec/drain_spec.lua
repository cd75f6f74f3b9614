-- When a stage has come to its end: the policy, without a run.

local drain = require "minigun.policy.drain"

-- Stages from rows of inputs; `await` by id.
local function stages_of(inputs, await)
  local stages = {}
  for id, list in ipairs(inputs) do stages[id] = { inputs = list, await = await and await[id] } end
  return stages
end

local function ledger_of(pending, drained)
  return { pending = function(_, id) return pending[id] end, drained = function(_, id) return drained[id] end }
end

describe("a stage may be drained", function()
  local own = drain.new(stages_of { {}, { 1 }, { 1, 2 } })

  it("when it has nothing pending and all that send to it are drained", function()
    assert.is_true(own:may_drain(1, ledger_of({ 0, 1, 1 }, { false, false, false })))
    assert.is_false(own:may_drain(1, ledger_of({ 1, 0, 0 }, { false, false, false })))
    assert.is_false(own:may_drain(3, ledger_of({ 0, 0, 0 }, { true, false, false })))
    assert.is_false(own:may_drain(3, ledger_of({ 0, 0, 1 }, { true, true, false })))
    assert.is_true(own:may_drain(3, ledger_of({ 0, 0, 0 }, { true, true, false })))
  end)

  it("again, when something has come to it after all", function()
    local ledger = ledger_of({ 0, 2, 0 }, { true, false, true })
    assert.is_false(own:may_drain(2, ledger))
    assert.is_false(own:may_drain(3, ledger))
    assert.is_true(own:all_drained({ 1, 3 }, ledger))
    assert.is_false(own:all_drained({ 1, 2, 3 }, ledger))
  end)
end)

describe("an awaited stage", function()
  -- 1 -> 2, and 3, which is awaited, -> 4
  local own = drain.new(stages_of({ {}, { 1 }, {}, { 3 } }, { [3] = 2 }))

  it("does not keep back what comes before it, only what comes after", function()
    assert.same({ false, false, 2, 2 }, own.after_await)
    assert.is_true(own:front_drained(ledger_of({ 0, 0, 5, 5 }, { true, true, false, false })))
    assert.is_false(own:front_drained(ledger_of({ 0, 0, 0, 0 }, { true, false, true, true })))
    assert.is_false(own:front_drained(ledger_of({ 0, 1, 0, 0 }, { true, true, false, false })), "something has come")
  end)

  it("is given up when nothing has come in its time", function()
    assert.is_false(own:given_up(3, 0, 1.9))
    assert.is_true(own:given_up(3, 0, 2))
    assert.is_false(own:given_up(3, 1, 5))
    assert.is_false(own:given_up(1, 0, 5))
    local without = drain.new(stages_of({ {}, {} }, { [2] = true }))
    assert.is_false(without:given_up(2, 0, 1e9))
  end)

  it("has a time at which that may be", function()
    local two = drain.new(stages_of({ {}, {}, {} }, { [2] = 5, [3] = 2 }))
    assert.equal(2, two:next_due(0))
    assert.equal(5, two:next_due(2))
    assert.is_nil(two:next_due(5))
    assert.is_nil(drain.new(stages_of({ {} }, { true })):next_due(0))
  end)
end)
