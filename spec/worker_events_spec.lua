-- What workers say that the ledger does not see to by itself, from a pool that is none: each report and each event goes
-- where it should, and every reference to a block is passed on or given up.

local acks = require "minigun.policy.acks"
local events = require "minigun.run.events"
local order = require "minigun.policy.order"
local report = require "minigun.base.protocol"

local RECORD <const> = 8

-- A pool whose blocks hold records, each of one edge: `blocks[block] = { edge, edge... }`; what they hold of reports is
-- `reports`, in their order. Counts references.
local function new_pool()
  local pool = { queue = {}, blocks = {}, reports = {}, held = {} }
  function pool:collect() return self end
  function pool:edges(block, offset, length)
    local counts = {}
    for i = offset // RECORD + 1, (offset + length) // RECORD do
      local edge = self.blocks[block][i]
      counts[edge] = (counts[edge] or 0) + 1
    end
    return counts
  end
  function pool:walk(block, offset, length, edge, n)
    local passed = 0
    for i = offset // RECORD + 1, (offset + length) // RECORD do
      if passed == n then return (i - 1) * RECORD, passed end
      if edge == report.ANY or self.blocks[block][i] == edge then passed = passed + 1 end
    end
    return offset + length, passed
  end
  function pool:decode_into(list, n, block, offset, length, edge)
    local seen = 0
    for i = 1, (offset + length) // RECORD do
      if self.blocks[block][i] == edge then
        seen = seen + 1
        if i > offset // RECORD then
          n = n + 1
          list[n] = edge == report.EDGE and self.reports[seen] or ("item %d"):format(i)
        end
      end
    end
    return n
  end
  function pool:retain(block) self.held[block] = self.held[block] + 1 end
  function pool:release(block) self.held[block] = self.held[block] - 1 end
  return pool
end

-- Events of a run: 1 is a producer, 2 works in a place, 3 takes what 2 emits.
local function new(ordered)
  local pool, told = new_pool(), {}
  local function tell(...) told[#told + 1] = table.concat({ ... }, " ") end
  local plan = { stages = { { id = 1, name = "n", kind = "producer" }, { id = 2, name = "work", kind = "processor" },
    { id = 3, name = "next", kind = "processor" } } }
  local place = { plan = { stages = { 2 }, n = 1, context = "processes(1)" } }
  local slot = { number = 1, pid = 77 }
  function place:output_ordinal() return ordered and 1 or nil end
  function place:origin_of() return nil end
  function place:on_failed(_, stage, fields) tell("failed", stage.name, fields.message) end
  function place:failed_at() return 2 end
  function place:on_done(_, number, items, ended) tell("done", number, items, tostring(ended)) end
  function place:on_left(_, left) tell("left", left.number, left.count, tostring(left.in_hand), left.how,
    tostring(left.step)) end
  function place:on_exit(_, pid, code, signal, expected) tell("exit", pid, code, signal, tostring(expected)) end
  function place:on_taken_over(_, work) tell("taken over", work) end
  function place:on_retire() tell "retire" end
  local own = events.new(plan)
  own.by_slot[4] = { place = place, slot = slot }
  own.acks, own.shared = acks.new(function() end), { pool = pool }
  own.ledger = { collect = function(_, busy)
    local event = table.remove(pool.queue, 1)
    if not event then return busy end
    return true, table.unpack(event, 1, event.n)
  end }
  own.places, own.outlets = { of = { [2] = place } }, { of = { [2] = { targets = { 3 } } } }
  own.state = { fail = function(_, text) error(text, 0) end }
  own.outcome = { returns = {}, stats = { {}, { items_in = 0, items_out = 0, busy = 0 }, {} }, lists = {},
    effect = function(_, kind, name, value) tell(kind, name, value) end, warn = function(_, text) tell(text) end,
    collected = function(self, name)
      self.lists[name] = self.lists[name] or {}
      return self.lists[name]
    end }
  own.transport = { note_sent = function(_, from, to) tell("sent", from, to) end, route = function(_, targets, range)
    tell("route", targets[1], range.offset // RECORD, range.count)
    pool:release(range.block) -- its receivers have it, and are through
  end }
  own.failures = { settle = function(_, stage, fields) tell("lost", stage.name, fields.message) end }
  own.hooks = { fail = function(_, name) tell("hook", name) end }
  own.screen = { take = function(_, _, _, last) tell("said", tostring(last)) end }
  if ordered then
    place.order = order.new(function(part) own:worker_emitted(place, part) end, 1 << 20, function() end)
  end

  local function say(...)
    pool.queue[#pool.queue + 1] = table.pack(...)
    assert(own:collect())
    local said = told
    told = {}
    return said
  end
  return own, pool, say, place
end

-- A block of records with these edges, and one reference to it that an event brings.
local function fill(pool, edges)
  local block = #pool.blocks + 1
  pool.blocks[block], pool.held[block] = edges, 1
  return block, 0, #edges * RECORD, #edges
end

describe("events of workers", function()
  it("have names for what comes with them", function()
    local own, _, say = new()
    assert.same({ "done 7 3 true" }, say("done", 4, 7, 3, true, false, 0.5))
    assert.same({ "left 7 2 true 3 nil" }, say("left", 4, 7, 1, 0, 16, 2, report.ANY, 2, 1, 0, true, 3, 0))
    assert.same({ "left 7 2 false 0 4" }, say("left", 4, 7, 1, 0, 16, 2, report.ANY, 2, 1, 0, false, 0, 4))
    assert.same({ "exit 77 3 0 false" }, say("exit", 4, 77, 3, 0, false))
    assert.same({ "taken over 12" }, say("taken over", 4, 12))
    assert.same({ "retire" }, say("retire", 4))
    assert.same({ "said true" }, say("said", 4, true))
    assert.same({ "processes(1): worker 1 (pid 77) has written what no worker may write, and was killed" },
      say("corrupt", 4, 77))
    assert.is_false(own:collect())
  end)

  it("bring items of one stage, which go to its receivers as they are", function()
    local own, pool, say = new()
    local block, offset, length, count = fill(pool, { 2, 2, 2 })
    assert.same({ "route 3 0 3" }, say("out", 4, block, offset, length, count, 2, 1))
    assert.equal(0, pool.held[block])
    assert.equal(3, own.outcome.stats[2].items_out)
  end)

  it("bring items that were sent to one stage", function()
    local _, pool, say = new()
    local block, offset, length, count = fill(pool, { report.TO | 3 })
    assert.same({ "sent 2 3", "route 3 0 1" }, say("out", 4, block, offset, length, count, report.TO | 3, 1))
    assert.equal(0, pool.held[block])
    assert.has_error(function() say("out", 4, block, offset, length, count, report.TO | 1, 1) end,
      "processes(1): a worker sent items to a stage that there is not")
    assert.has_error(function() say("out", 4, block, offset, length, count, 3, 1) end,
      "processes(1): a worker sent items of a stage that is not its own")
  end)

  it("bring what is mixed: each kind goes its way, with a reference of its own", function()
    local own, pool, say = new()
    local block, offset, length, count = fill(pool, { 2, report.EDGE, report.TO | 3, report.EDGE, 2 })
    pool.reports = { { report.COLLECT, "seen", 9 }, { report.COUNT, "n", 2 } }
    local said = say("out", 4, block, offset, length, count, report.ANY, 1)
    table.sort(said)
    assert.same({ "count n 2", "route 3 0 1", "route 3 0 2", "sent 2 3" }, said)
    assert.same({ 9 }, own.outcome.lists.seen)
    assert.equal(0, pool.held[block])
  end)

  it("bring reports of each kind", function()
    local own, pool, say = new()
    pool.reports = { { report.LOST, 2, { kind = "unserialisable", message = "no", attempt = 1 } },
      { report.RETURNED, 2 }, { report.STATS, { 2, 5, 6, 0.5 } } }
    local block, offset, length, count = fill(pool, { report.EDGE, report.EDGE, report.EDGE })
    assert.same({ "lost work no" }, say("out", 4, block, offset, length, count, report.EDGE, 1))
    assert.is_true(own.outcome.returns[2])
    assert.same({ items_in = 5, items_out = 6, busy = 0.5 }, own.outcome.stats[2])
    assert.equal(0, pool.held[block])
  end)

  it("of an ordered place wait for their turn; a failure parts what is before it from what is after it", function()
    local _, pool, say, place = new(true)
    pool.reports = { { report.FAILED, 2, { kind = "error", message = "no", attempt = 1 } } }
    local block, offset, length, count = fill(pool, { 2, report.EDGE, 2, 2 })
    local said = say("out", 4, block, offset, length, count, report.ANY, 1)
    assert.same({ "failed work no", "route 3 0 1" }, said)
    assert.equal(1, pool.held[block])         -- what comes after the failed item
    place.order:finished(1, 1)
    assert.equal(0, pool.held[block])
  end)

  it("that announce something else than there is end the run", function()
    local _, pool, say = new()
    local block, offset, length, count = fill(pool, { 2, report.EDGE })
    pool.reports = { { report.COUNT, "n", 1 } }
    assert.has_error(function() say("out", 4, block, offset, length, count + 1, report.ANY, 1) end,
      "processes(1): a worker has damaged the run's shared memory: what was read is not what was announced")
  end)
end)
