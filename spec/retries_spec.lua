-- What becomes of an item that has failed, without a process: a further attempt at its time, a dead letter, a record;
-- and that the ledger has it all the while.

local failures = require "minigun.run.failures"
local fake = require "spec.fake_pool"
local ledgers = require "minigun.run.ledger"
local states = require "minigun.run.state"
local tallies = require "minigun.policy.tally"
local work = require "minigun.base.work"

local function new(stage, options, hooks)
  stage.id, stage.name, stage.kind, stage.inputs = 1, "work", "processor", {}
  stage.retries, stage.backoff = stage.retries or 0, stage.backoff or 0
  options = options or {}
  local own = failures.new({ stages = { stage }, hooks = { on_failure = hooks or {} },
    options = { keep_failures = options.keep or 10, failures = options.failures or "raise" } }, 77, function() end)
  own.state, own.ledger, own.shared = states.new(), ledgers.new { stage }, { pool = fake.pool() }
  own.state:become "RUNNING"
  own.outcome = { stats = { { retried = 0, failed = 0, items_out = 0 } }, result = { failures = {}, failed = 0 },
    unhandled = tallies.new(), context = function() return {} end, warned = {},
    warn = function(self, text) self.warned[#self.warned + 1] = text end }
  local place = { takes = "bytes", plan = { n = 1 }, only_way_in = 1 }
  own.places, own.reduces = { of = { place } }, { retries_of = function(_, each) return each.retries end }
  local queued = {}
  own.transport = { enqueue = function(_, entry) queued[#queued + 1] = entry end }
  own.hooks = { call_one = function(_, f, ...) return pcall(f, ...) end }
  return own, stage, queued, place
end

local function fields(attempt, extra)
  local own = { kind = "error", message = "no", attempt = attempt }
  for key, value in pairs(extra or {}) do own[key] = value end
  return own
end

local function item() return "it" end

describe("an item that has failed", function()
  it("is tried again as often as its stage says, after its time, and waits in the ledger until then", function()
    local own, stage, queued = new { retries = 1, backoff = 5 }
    own.ledger:accept(1, 1)
    local record = own:settle(stage, fields(1), item, function() return work.of_value(1, "it") end)
    own.ledger:finish(1, 1)           -- the attempt that has failed
    assert.is_nil(record)
    assert.equal(1, own.ledger.pending[1])
    own.ledger:check(function() return 0, 0, own:waiting(1) end)
    local due, started = own:check_clock(0)
    assert.is_true(due > 0)
    assert.is_false(started)
    due, started = own:check_clock(due)
    assert.is_nil(due)
    assert.is_true(started)
    assert.equal(2, queued[1].attempt)
    own.ledger:check(function() return 1, 0, own:waiting(1) end)
    record = own:settle(stage, fields(2), item, function() error "there is no third attempt" end)
    own.ledger:finish(1, 1)
    assert.equal(2, record.attempts)
    assert.is_true(own.ledger:is_empty())
    assert.same({ 1, 1 }, { own.outcome.stats[1].retried, own.outcome.stats[1].failed })
  end)

  it("is not tried again when some of its output has gone on, or there is nothing to try", function()
    for _, row in ipairs { { fields(1, { partial = true }), function() error "no" end }, { fields(1), function() end },
      { fields(1), nil }, { fields(0), function() error "no" end } } do
      local own, stage = new { retries = 3 }
      assert.is_table(own:settle(stage, row[1], item, row[2]))
      assert.equal(0, #own.timers)
    end
  end)

  it("for good is kept, up to so many; all are counted", function()
    local own, stage = new({}, { keep = 2 })
    for _ = 1, 3 do own:settle(stage, fields(1), item) end
    assert.equal(2, #own.outcome.result.failures)
    assert.equal(3, own.outcome.result.failed)
    assert.equal(3, own.outcome.unhandled.n)
    local record = own.outcome.result.failures[1]
    assert.same({ "work", "it", 1, "error" }, { record.stage, record.item, record.attempts, record.kind })
  end)

  it("is handled by a hook, which may end the run", function()
    local seen = {}
    local own, stage = new({}, nil, { { f = function(record) seen[#seen + 1] = record.item end } })
    own:settle(stage, fields(1), item)
    assert.same({ "it" }, seen)
    assert.equal(0, own.outcome.unhandled.n)
    assert.is_false(own.state.aborted)
    own, stage = new({}, nil, { { f = function() return "stop" end } })
    own:settle(stage, fields(1), item)
    assert.is_true(own.state.aborted)
  end)

  it("of another nested pipeline is not a hook's that is not for it", function()
    local own, stage = new({}, nil, { { f = function() return "stop" end, stages = { [7] = true } } })
    own:settle(stage, fields(1), item)
    assert.equal(1, own.outcome.unhandled.n)
    assert.is_false(own.state.aborted)
  end)

  it("ends the run where failures = \"stop\", unless a dead letter has it", function()
    local own, stage = new({}, { failures = "stop" })
    own:settle(stage, fields(1), item)
    assert.is_true(own.state.aborted)
    local letters = {}
    local spool = { write = function(_, letter)
      letters[#letters + 1] = letter
      return true
    end }
    own, stage = new({ dead_letter = spool }, { failures = "stop" })
    assert.is_true(own:settle(stage, fields(1), item).dead_letter)
    assert.is_false(own.state.aborted)
    assert.same({ "it", "no" }, { letters[1].item, letters[1].failure.message })
    assert.equal(0, own.outcome.unhandled.n)
  end)

  it("whose dead letter cannot be written is a failure, and a warning", function()
    local own, stage = new { dead_letter = { write = function() return nil, "no space" end } }
    local record = own:settle(stage, fields(1), item)
    assert.is_nil(record.dead_letter)
    assert.equal(1, own.outcome.unhandled.n)
    assert.matches("could not be written: no space", own.outcome.warned[1])
  end)

  it("in a worker's block is the next attempt's, with a reference of its own", function()
    local own, stage, queued, place = new { retries = 1 }
    local pool = own.shared.pool
    pool.held[7] = 1
    function pool:walk(_, offset, _, _, n) return offset + 8 * n, n end
    local entry = work.of_bytes(1, 7, 0, 32, 4, 1)
    entry.first, entry.lane = 11, 2
    assert.is_nil(own:item_failed(place, { pid = 5, number = 3 }, stage, fields(1, { index = 2 }), entry))
    own:check_clock(math.huge)
    local again = queued[1]
    assert.same({ 7, 16, 8, 1, 2 }, { again.block, again.offset, again.length, again.count, again.attempt })
    assert.same({ 13, 2, true }, { again.first, again.lane, again.again })
    assert.equal(2, pool.held[7])
  end)
end)
