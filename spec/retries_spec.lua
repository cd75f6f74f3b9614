-- What becomes of an item that has failed, without a process: a further attempt at its time, a dead letter, a record;
-- and that the ledger has it all the while.

local failures = require "minigun.run.failures"
local core = require "minigun.core"
local fake = require "spec.fake_pool"
local ledgers = require "minigun.run.ledger"
local report = require "minigun.base.protocol"
local states = require "minigun.run.state"
local tallies = require "minigun.policy.tally"
local work = require "minigun.base.work"

local function new(stage, options, hooks)
  stage.id, stage.name, stage.kind, stage.inputs = 1, "work", "processor", {}
  stage.retries, stage.backoff = stage.retries or 0, stage.backoff or 0
  options = options or {}
  local own = failures.new({ stages = { stage }, hooks = { on_failure = hooks or {} },
    options = { keep_failures = options.keep or 10, failures = options.failures or "raise" } }, 77, function() end)
  local pool = fake.pool()
  own.state, own.shared = states.new(), { pool = pool }
  own.ledger = ledgers.new({ stages = { stage }, segments = { {} } }, {})
  own.ledger:attach(pool.real, 1 << 20, 1 << 16)
  local place = { takes = "bytes", plan = { n = 1 }, id = own.ledger:add_place { n = 2, first = 0, stages = 1,
    front = 1, threads = 0, most = 0, counted = 0, per_worker = math.huge } }
  own.ledger:stage(1, { place = place.id, flags = 0 })
  own.state:become "RUNNING"
  own.outcome = { stats = { { retried = 0, failed = 0, items_out = 0 } }, result = { failures = {}, failed = 0 },
    unhandled = tallies.new(), context = function() return {} end, warned = {},
    warn = function(self, text) self.warned[#self.warned + 1] = text end }
  own.places, own.reduces = { of = { place } }, { retries_of = function(_, each) return each.retries end }
  own.hooks = { call_one = function(_, f, ...) return pcall(f, ...) end }
  own.gates = require("minigun.run.gates").new()
  return own, stage, place
end

local function fields(attempt, extra)
  local own = { kind = "error", message = "no", attempt = attempt }
  for key, value in pairs(extra or {}) do own[key] = value end
  return own
end

local function item() return "it" end

describe("an item that has failed", function()
  it("is tried again as often as its stage says, after its time, and waits in the ledger until then", function()
    local own, stage, place = new { retries = 1, backoff = 5 }
    local ledger = own.ledger
    ledger:accept_value(1, "it", 1)
    local function end_one()          -- the attempt that has failed
      local id = ledger:take(place.id, 1)
      local own_work = ledger:read(id)
      ledger:finish(id)
      ledger:drop(id)
      return own_work
    end
    local record = own:settle(stage, fields(1), item, function() return work.of_value(1, "it") end)
    end_one()
    assert.is_nil(record)
    assert.equal(1, ledger:pending(1))
    assert.equal(0, (ledger:queued(place.id)))
    ledger:check()
    local due, started = own:check_clock(0)
    assert.is_true(due > 0)
    assert.is_false(started)
    due, started = own:check_clock(due)
    assert.is_nil(due)
    assert.is_true(started)
    assert.equal(1, (ledger:queued(place.id)))
    ledger:check()
    record = own:settle(stage, fields(2), item, function() error "there is no third attempt" end)
    assert.equal(2, end_one().attempt)
    assert.equal(2, record.attempts)
    assert.is_true(ledger:is_empty())
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
    local own, stage, place = new { retries = 1 }
    local pool, ledger = own.shared.pool, own.ledger
    local writer = core.writer(pool.real, 1, function(w) w:open(1) end, function() end, 1, 1)
    for i = 1, 4 do writer(i) end
    local block, offset, length, count = writer:take()
    ledger:accept(1, block, offset, length, count, report.ANY, 2)
    ledger:open_lanes(place.id)
    local entry = ledger:read(ledger:enter({ stage = 1, block = block, offset = offset, length = length, count = count,
      first = 11, lane = 2 }, "waiting"))
    pool:retain(block)
    assert.is_nil(own:item_failed(place, { pid = 5, number = 3 }, stage, fields(1, { index = 2 }), entry))
    own:check_clock(math.huge)
    local again
    repeat again = ledger:read(ledger:take(place.id, 2)) until again.attempt == 2
    assert.same({ block, 32, 16, 1, 2 }, { again.block, again.offset, again.length, again.count, again.attempt })
    assert.same({ 13, 2, true }, { again.first, again.lane, again.again })
    ledger:check()
    writer:close()
  end)
end)
