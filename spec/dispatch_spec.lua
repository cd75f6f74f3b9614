-- Who gets what, and when: a place that runs stages in workers, over a pool without processes (see fake_pool.lua).

local fake = require "spec.fake_pool"
local terms = require "minigun.policy.terms"

-- Every item that was pushed is in the queue, in a worker's hands, or finished.
local function check(place, pushed)
  local queued, in_hand, finished = fake.tally(place, pushed)
  assert.equal(pushed, queued + in_hand + finished)
end

-- A place with so many workers, among which as many items were dispatched as they may have at first.
local function begun(workers, items)
  local place, pool, port = fake.place(workers)
  fake.push(place, items)
  place:dispatch()
  return place, pool, port
end

-- Items of the coordinator's stage after it wait.
local function wait_after(port, n)
  for i = 1, n do port.ledger:accept_value(2, i, 1) end
end

describe("dispatch to workers", function()
  it("begins with one item for each, as it is not known how long one takes", function()
    local place, pool = fake.place(2)
    assert.same({ "spawn 1", "spawn 2" }, pool:take_calls())
    fake.push(place, 100)
    assert.is_true((place:dispatch()))
    assert.same({ { 1 }, { 1 } }, fake.hands(place))
    assert.is_false((place:dispatch()))
    check(place, 100)
  end)

  it("cuts slices by the time that items take, and keeps one in store where they are quick", function()
    local place = begun(2, 1000)
    fake.done(place, 1, 1, true, 0.00005)
    place:dispatch()
    local share = 998 // (terms.share * 2)
    assert.same({ { share, share }, { 1, share } }, fake.hands(place))
    check(place, 1000)
  end)

  it("hands slow items out one by one, and none in store", function()
    local place = begun(2, 10)
    fake.done(place, 1, 1, true, 0.5)
    place:dispatch()
    assert.same({ { 1 }, { 1 } }, fake.hands(place))
    check(place, 10)
  end)

  it("cuts no longer slices than the long time allows, and learns what is slower at once", function()
    local place = fake.place(1)
    for _ = 1, 5 do fake.push(place, 1000) end
    place:dispatch()
    fake.done(place, 1, 1, true, 0.0001)
    place:dispatch()
    assert.equal(terms.long_slice / 0.0001 // 1 | 0, fake.hands(place)[1][1])
    assert.near(0.0001, place.ledger:rate(place.id), 1e-9)
    fake.done(place, 1, nil, true, 160) -- a second for each
    assert.near(1, place.ledger:rate(place.id), 1e-6)
    fake.done(place, 1, nil, true, 0)
    assert.near(1 - terms.newest, place.ledger:rate(place.id), 1e-6)
    check(place, 5000)
  end)

  it("cuts longer slices where workers fold what they make, as each is a part", function()
    local place = fake.place(1, { folds = { 1 } })
    for _ = 1, 5 do fake.push(place, 1000) end
    place:dispatch()
    fake.done(place, 1, 1, true, 0.0001)
    place:dispatch()
    assert.equal(terms.long_fold / 0.0001 // 1 | 0, fake.hands(place)[1][1])
    check(place, 5000)
  end)

  it("takes a slice in store back for a worker with nothing to do", function()
    local place = begun(2, 2)
    fake.done(place, 1, 1, true, 0.0001)
    fake.push(place, 1)
    place:dispatch()            -- worker 1 has the third
    fake.push(place, 1)
    place:dispatch()            -- in store, with worker 1 or 2
    local holder = #fake.hands(place)[1] == 2 and 1 or 2
    fake.done(place, 3 - holder, 1, true, 0.0001)
    place:dispatch()
    assert.same({ { 1 }, { 1 } }, fake.hands(place))
    check(place, 4)
  end)

  it("begins no more than there is room for after it, but one for each worker all the same", function()
    local place, _, port = fake.place(2)
    port.ledger:limit("targets", place.id, 0, 2, 3)
    port.ledger:limited(place.id, true, 1)
    wait_after(port, 3)
    fake.push(place, 10)
    assert.is_false((place:dispatch()))
    assert.is_true(port.ledger:blocked(place.id))
    port.ledger:done_own((port.ledger:take_own(2, 1)))
    place:dispatch()
    assert.same({ { 1 }, { 1 } }, fake.hands(place))
    fake.done(place, 1, 1, true, 0.00001)
    place:dispatch()                            -- room for one, and worker 2 has one in hand
    assert.same({ { 1 }, { 1 } }, fake.hands(place))
    check(place, 10)
  end)

  it("forks for each item where that is its kind, as many at a time as it may", function()
    local place, pool, port = fake.place(2, { items_per_worker = 1 })
    for i = 1, 3 do port.ledger:accept_value(1, i, 1) end
    place:dispatch()
    assert.same({ "spawn 1", "spawn 2" }, pool:take_calls())
    assert.same({ { 1 }, { 1 } }, fake.hands(place))
    for _, slot in ipairs(place.slots) do
      local hands, ends, retired = port.ledger:seat(slot.index)
      assert.same({ 1, true, true }, { hands, ends, retired })
    end
    assert.equal(1, (place.ledger:queued(place.id)))
    fake.done(place, 1, 1, true)
    place:on_exit(place.slots[1], place.slots[1].pid, 0, 0, true)
    place:dispatch()
    assert.same({ "spawn 1" }, pool:take_calls())
    assert.same({ { 1 }, { 1 } }, fake.hands(place))
    check(place, 3)
  end)

  it("idles where nothing waits and a worker has nothing to do", function()
    local place = fake.place(2)
    assert.is_true(place.ledger:idles(place.id))
    fake.push(place, 1)
    assert.is_false(place.ledger:idles(place.id))
    place:dispatch()
    assert.is_true(place.ledger:idles(place.id))               -- the other one
    fake.push(place, 1)
    place:dispatch()
    assert.is_false(place.ledger:idles(place.id))
    fake.done(place, 1, 1, true, 0.5)
    assert.is_true(place.ledger:idles(place.id))
  end)

  it("takes what a producer's worker has not begun for finished when it is stopped", function()
    local place, pool, port = fake.place(1, { kind = "producer" })
    pool:take_calls()
    for _ = 1, 2 do port.ledger:accept_value(1, 1, 1) end
    place:stop_producer()
    assert.same({ 0, 0, { "stop 1" } }, { (place.ledger:queued(place.id)), port.ledger:pending(1), pool:take_calls() })
  end)

  it("will be heard of while a worker has something in hand or is to end", function()
    local place = fake.place(2)
    assert.is_false(place.ledger:wakes(place.id))
    assert.is_false(place:working())
    fake.push(place, 1)
    place:dispatch()
    assert.is_true(place.ledger:wakes(place.id))
    assert.is_true(place:working())
    fake.done(place, 1)
    assert.is_false(place.ledger:wakes(place.id))
    place:finish()
    assert.is_true(place.ledger:wakes(place.id))
  end)

  it("is full when more bytes wait than a queue may hold, or items without end", function()
    local place = fake.place(2, { queue_bytes = 4 * 16 })
    fake.push(place, 4)
    assert.is_false(place.ledger:full(place.id))
    fake.push(place, 1)
    assert.is_true(place.ledger:full(place.id))
    place:dispatch()
    assert.same({ 3, 48, 2 }, { place.ledger:queued(place.id) })
    assert.is_false(place.ledger:full(place.id))
    local fork = fake.place(2, { items_per_worker = 1 })
    for i = 1, 71 do fork.ledger:accept_value(1, i, 1) end
    assert.is_false(fork.ledger:full(fork.id))
    fork.ledger:accept_value(1, 72, 1)
    assert.is_true(fork.ledger:full(fork.id))
    local million <const>, pieces = 1 << 20, fake.place(2)
    local function add(n)
      local block = fake.push(pieces, 1)
      pieces.pool:retain(block)
      pieces.ledger:accept(1, block, 0, 16, n, 1 << 31) -- one record that stands for so many items
    end
    add(million - 3)
    assert.is_false(pieces.ledger:full(pieces.id))
    add(1)
    assert.is_true(pieces.ledger:full(pieces.id))
  end)

  it("gives workers blocks as long as the stages after them have room", function()
    local place, pool, port = fake.place(1)
    port.ledger:limit("targets", place.id, 0, 2, 1)
    local function lent() return select(2, pool:state(1)) end
    assert.equal(1, lent())                     -- with the process
    wait_after(port, 1)
    assert.is_true((place.ledger:supply(place.id)))
    assert.equal(1, lent())
    port.ledger:done_own((port.ledger:take_own(2, 1)))
    assert.is_false((place.ledger:supply(place.id)))
    assert.equal(terms.blocks, lent())
  end)
end)

describe("a worker's death", function()
  it("costs the item in hand an attempt, and no other", function()
    local place, _, port = begun(1, 5)
    fake.done(place, 1, 1, true, 0.00001)
    place:dispatch()
    fake.done(place, 1, 0, false)
    local first = fake.hands(place)[1][1]
    fake.done(place, 1, 1, false)
    fake.die(place, 1, true, 0, 9)
    local failure = port.failures[1]
    assert.equal(1, #port.failures)
    assert.same({ "crash", 9, 1, 3 }, { failure.kind, failure.signal, failure.attempts, failure.first })
    assert.is_true(first >= 2)
    assert.equal(2, (place.ledger:queued(place.id)))
    check(place, 5)
    assert.equal(2, port.ledger:pending(1))
  end)

  it("between two items costs none", function()
    local place, _, port = begun(1, 2)
    fake.die(place, 1, false, 3, 0)
    assert.same({}, port.failures)
    assert.equal(2, (place.ledger:queued(place.id)))
    check(place, 2)
  end)

  it("by the time limit is a time-out", function()
    local place, pool, port = fake.place(1, { timeout = 2 })
    assert.is_nil(place:due(0))                   -- no worker has anything in hand: no need to wake up
    fake.push(place, 1)
    place:dispatch()
    pool:take_calls()
    pool.overtimes[1] = 1.5
    assert.near(0.5, place:due(0), 0.01)
    assert.same({}, pool:take_calls())
    pool.overtimes[1] = 2.5
    place:due(0)
    assert.same({ "time out 1" }, pool:take_calls())
    fake.die(place, 1, true, 0, 9, 2)
    assert.equal("timeout", port.failures[1].kind)
    assert.equal(0, #place.processes.restarts.times)
  end)

  it("too often ends the run", function()
    local place = fake.place(1)
    for _ = 1, 3 do fake.die(place, 1, false, 3, 0) end
    assert.has_error(function() fake.die(place, 1, false, 3, 0) end,
      "stage 'work': 4 workers died within 5 s, the last by exit code 3; no item had failed yet: see what " ..
      "after_fork, before and the first items do, or raise max_restarts")
  end)

  it("of a fork per batch costs its item an attempt, and another one is begun", function()
    local place, pool, port = fake.place(1, { items_per_worker = 1 })
    for i = 1, 2 do port.ledger:accept_value(1, i, 1) end
    place:dispatch()
    fake.die(place, 1, true, 1, 0)
    assert.equal("crash", port.failures[1].kind)
    assert.equal(0, #place.processes.restarts.times)
    pool:take_calls()
    place:dispatch()
    assert.same({ "spawn 1" }, pool:take_calls())
    assert.equal(0, (place.ledger:queued(place.id)))
    check(place, 2)
  end)

  it("counts parts that are in no queue and in no hand", function()
    local place = fake.place(1)
    fake.push(place, 5)
    local ledger = place.ledger
    local work = ledger:take(place.id, 1, 4)
    local part = ledger:cut(work, 1)
    ledger:check()
    assert.equal(1, (ledger:queued(place.id)))
    assert.same({ 1, 3 }, { ledger:read(part).count, ledger:read(work).count })
    ledger:push(work, true)
    ledger:push(part, true)
    check(place, 5)
    place:dispatch()
    assert.same({ { 1 } }, fake.hands(place))
    check(place, 5)
  end)

  it("tells which worker has got what it had", function()
    local place, _, port = begun(1, 3)
    fake.done(place, 1, 1, true, 0.00001)
    place:dispatch()
    fake.die(place, 1, true, 0, 9)
    place:dispatch()
    local _, kind, slot, own = port.ledger:collect()
    assert.same({ "taken over", 1 }, { kind, slot })
    place:on_taken_over(place.slots[1], own)
    assert.matches("worker 1", tostring(port.failures[1]))
  end)

  it("tells nothing where what it had is in nobody's hand any more when this is heard", function()
    local place, _, port = begun(1, 3)
    fake.done(place, 1, 1, true, 0.00001)
    place:dispatch()
    fake.die(place, 1, true, 0, 9)
    place:dispatch()
    local _, kind, _, own = port.ledger:collect()
    assert.equal("taken over", kind)
    fake.die(place, 1, true, 0, 9)
    local before = tostring(port.failures[1])
    place:on_taken_over(place.slots[1], own)
    place:on_taken_over(place.slots[1], 12345)
    assert.equal(before, tostring(port.failures[1]))
  end)

  it("after its last item is told, and costs nothing", function()
    local place, pool, port = fake.place(2)
    place:finish()
    place:finish()
    assert.same({ "spawn 1", "spawn 2", "finish 1", "finish 2" }, pool:take_calls())
    fake.die(place, 1, false, 3, 0)
    assert.matches("exited with code 3 at its end", port.warnings[1])
    assert.is_false(place:ended())
    place:on_exit(place.slots[2], place.slots[2].pid, 0, 0, true)
    assert.is_true(place:ended())
  end)
end)
