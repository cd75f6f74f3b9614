-- The ledger of a run: how many items a stage has, and that a wrong count is found.

local ledgers = require "minigun.run.ledger"
local minigun = require "minigun"

local STAGES <const> = { { kind = "producer", inputs = {} }, { kind = "processor", inputs = { 1 } } }

local function tally_of(rows)
  return function(id) return table.unpack(rows[id] or { 0, 0, 0 }) end
end

describe("the ledger", function()
  it("counts what a stage has accepted and not finished", function()
    local ledger = ledgers.new(STAGES)
    ledger:drain(2)
    ledger:accept(2, 5)
    assert.is_false(ledger.drained[2])
    ledger:finish(2, 2)
    ledger:wait(2, 1)                 -- one of these two is tried again
    assert.equal(4, ledger.pending[2])
    assert.is_false(ledger:is_empty())
    ledger:check(tally_of { [2] = { 1, 2, 1 } })
    ledger:wake(2, 1)
    ledger:check(tally_of { [2] = { 2, 2, 0 } })
    ledger:finish(2, 4)
    assert.is_true(ledger:is_empty())
    ledger:check(tally_of {})
  end)

  it("says when stages may be drained: from the end of the first producer on", function()
    local ledger = ledgers.new(STAGES)
    ledger.changed = false
    ledger:accept(1, 1)
    ledger:accept(2, 1)
    ledger:finish(2, 1)
    assert.is_false(ledger.changed)
    ledger:finish(1, 1)
    assert.is_true(ledger.changed)
    ledger.changed = false
    ledger:accept(2, 2)
    ledger:finish(2, 1)
    assert.is_false(ledger.changed)
    ledger:finish(2, 1)
    assert.is_true(ledger.changed)
  end)

  it("finds an item in no place, in two places, and one that is said to wait and does not", function()
    local ledger = ledgers.new(STAGES)
    ledger:accept(2, 3)
    ledger:wait(2, 1)
    ledger:check(tally_of { [2] = { 2, 1, 1 } })
    for _, wrong in ipairs { { 1, 1, 1 }, { 3, 1, 1 }, { 2, 2, 1 }, { 3, 1, 0 }, { 1, 1, 2 } } do
      assert.has_error(function() ledger:check(tally_of { [2] = wrong }) end,
        ("the ledger is wrong: stage 2 has 4 pending (1 of them waiting), but %d queued, %d in hand, %d waiting")
          :format(table.unpack(wrong)))
    end
    ledger.torn = true
    assert.has_error(function() ledger:check(tally_of { [2] = { 2, 1, 1 } }) end)
  end)
end)

-- Begins a run whose stage does not finish its items soon, goes some rounds, and puts a wrong count in by hand.
local function go_wrong(context, damage)
  local p = minigun.pipeline "p"
  p:producer("n", { 1, 2, 3 })
  p:consumer("slow", context, function() minigun.sleep(0.3) end)
  local handle <close> = p:start()
  for _ = 1, 5 do handle:step(0.001) end
  damage(handle.run)
  if not handle:step(0.001) then handle:wait() end
end

describe("a wrong count in a run is found after the round", function()
  for name, context in pairs { processes = { processes = 1 }, threads = { threads = 1 },
    process_per_batch = { process_per_batch = { max = 1 } } } do
    it("where a stage runs in " .. name, function()
      go_wrong(context, function() end)
      for _, n in ipairs { -1, 1 } do
        local ok, message = pcall(go_wrong, context, function(r) r.ledger:accept(2, n) end)
        assert.is_false(ok)
        assert.matches("the ledger is wrong: stage 2 has %d pending", message)
      end
    end)
  end

  it("and so is an item that was taken out of a queue", function()
    local ok, message = pcall(go_wrong, { threads = 1 }, function(r) r.places.of[2].queue:pop() end)
    assert.is_false(ok)
    assert.matches("the ledger is wrong", message)
  end)
end)
