-- Who gets what, and when: the policy of a place that runs stages in workers, without a process (see fake_pool.lua).

local fake = require "spec.fake_pool"
local work = require "minigun.base.work"

-- Every item that was pushed is in the queue, in a worker's hands, or finished.
local function check(place, port, pushed)
  local queued, in_hand = place:tally(1)
  assert.equal(pushed, queued + in_hand + port.finished_items)
  assert.same({ place.queued, fake.in_hand(place) }, { queued, in_hand })
end

describe("dispatch to workers", function()
  it("begins with one item for each, as it is not known how long one takes", function()
    local place, pool, port = fake.place(2)
    assert.same({ "spawn 1", "spawn 2" }, pool:take_calls())
    fake.push(place, 100)
    assert.is_true(place:dispatch())
    assert.same({ "offer 1 chunk 1 items 1", "offer 2 chunk 2 items 1" }, pool:take_calls())
    assert.is_false(place:dispatch())
    check(place, port, 100)
  end)

  it("cuts slices by the time that items take, and keeps one in store where they are quick", function()
    local place, pool, port = fake.place(2)
    fake.push(place, 1000)
    place:dispatch()
    pool:take_calls()
    fake.done(place, 1, 1, true, 0.00005)
    place:dispatch()
    local calls = pool:take_calls()
    assert.equal(3, #calls) -- two slices for the first, one in store for the second
    for _, call in ipairs(calls) do assert.matches("items %d%d+$", call) end
    check(place, port, 1000)
  end)

  it("hands slow items out one by one, and none in store", function()
    local place, pool, port = fake.place(2)
    fake.push(place, 10)
    place:dispatch()
    pool:take_calls()
    fake.done(place, 1, 1, true, 0.5)
    place:dispatch()
    assert.same({ "offer 1 chunk 3 items 1" }, pool:take_calls())
    check(place, port, 10)
  end)

  it("takes a slice in store back for a worker with nothing to do", function()
    local place, pool, port = fake.place(2)
    fake.push(place, 2)
    place:dispatch()
    fake.done(place, 1, 1, true, 0.0001)
    fake.push(place, 1)
    place:dispatch()            -- worker 1 has the third
    fake.push(place, 1)
    place:dispatch()            -- in store, with worker 1 or 2
    local holder = place.slots[1].hands == 2 and 1 or 2
    fake.done(place, 3 - holder, 1, true, 0.0001)
    pool:take_calls()
    pool.revocable[holder] = 4
    place:dispatch()
    assert.same({ ("offer %d chunk 5 items 1"):format(3 - holder) }, pool:take_calls())
    check(place, port, 4)
  end)

  it("puts what a worker has no room for back in front of the queue", function()
    local place, pool, port = fake.place(1)
    fake.push(place, 3)
    pool.full = 1
    place:dispatch()
    assert.equal(3, place.queued)
    pool.full = nil
    place:dispatch()
    local _, entry = next(place.slots[1].hand)
    assert.equal(1, entry.first)
    check(place, port, 3)
  end)

  it("begins no more than there is room for after it, but one for each worker all the same", function()
    local place, pool, port = fake.place(2)
    place.limited, place.per, port.room_left = true, 1, 0.5
    fake.push(place, 10)
    assert.is_false(place:dispatch())
    port.room_left = 1
    place:dispatch()
    assert.same({ "spawn 1", "spawn 2", "offer 1 chunk 1 items 1", "offer 2 chunk 2 items 1" }, pool:take_calls())
    assert.is_false(place:dispatch())
    check(place, port, 10)
  end)

  it("forks for each item where that is its kind, as many at a time as it may", function()
    local place, pool, port = fake.place(2, { items_per_worker = 1 })
    for i = 1, 3 do place:push(work.of_value(1, i)) end
    place:dispatch()
    assert.same({ "spawn 1", "offer 1 chunk 1 items 1", "finish 1", "spawn 2", "offer 2 chunk 2 items 1", "finish 2" },
      pool:take_calls())
    assert.equal(1, place.queued)
    fake.done(place, 1, 1, true)
    place:on_exit(place.slots[1], place.slots[1].pid, 0, 0, true)
    place:dispatch()
    assert.same({ "spawn 1", "offer 1 chunk 3 items 1", "finish 1" }, pool:take_calls())
    check(place, port, 3)
  end)

  it("idles where nothing waits and a worker has nothing to do", function()
    local place = fake.place(2)
    assert.is_true(place:idles())
    fake.push(place, 1)
    assert.is_false(place:idles())
    place:dispatch()
    assert.is_true(place:idles())               -- the other one
    fake.push(place, 1)
    place:dispatch()
    assert.is_false(place:idles())
    fake.done(place, 1, 1, true, 0.5)
    assert.is_true(place:idles())
  end)

  it("idles where it forks for each item and may fork once more", function()
    local place = fake.place(2, { items_per_worker = 1 })
    for i = 1, 2 do
      assert.is_true(place:idles())
      place:push(work.of_value(1, i))
      assert.is_false(place:idles())
      place:dispatch()
    end
    assert.is_false(place:idles())
    fake.done(place, 1, 1, true)
    place:on_exit(place.slots[1], place.slots[1].pid, 0, 0, true)
    assert.is_true(place:idles())
  end)

  it("takes what a producer's worker has not begun for finished when it is stopped", function()
    local place, pool, port = fake.place(1, { kind = "producer" })
    local stopped = {}
    function pool.stop(_, index) stopped[#stopped + 1] = index end
    for _ = 1, 2 do place:push(work.of_value(1, 1)) end
    place:stop_producer(0.1)
    assert.same({ 0, 2, { 1 } }, { place.queued, port.finished_items, stopped })
  end)

  it("will be heard of while a worker has something in hand or is to end, and waits for no block", function()
    local place = fake.place(2)
    assert.is_false(place:wakes())
    assert.is_false(place:working())
    fake.push(place, 1)
    place:dispatch()
    assert.is_true(place:wakes())
    assert.is_true(place:working())
    for _, slot in ipairs(place.slots) do
      if slot.hands > 0 then place.blocks.wants[slot] = 65536 end
    end
    assert.is_false(place:wakes())
    assert.is_true(place:working())
    place.finishing = true
    assert.is_true(place:wakes())                 -- the other one
  end)

  it("is full when more bytes wait than a queue may hold, or items without end", function()
    local place, _, port = fake.place(2)
    fake.push(place, 4)
    assert.is_false(place:full() or false)
    port.queue_bytes = 4 * fake.RECORD
    fake.push(place, 1)
    assert.is_true(place:full())
    assert.equal(5 * fake.RECORD, place.queued_bytes)
    place:dispatch()
    assert.equal(3 * fake.RECORD, place.queued_bytes)
    assert.is_false(place:full() or false)
    local fork = fake.place(2, { items_per_worker = 1 })
    for i = 1, 71 do fork:push(work.of_value(1, i)) end
    assert.is_false(fork:full() or false)
    fork:push(work.of_value(1, 72))
    assert.is_true(fork:full())
  end)

  it("gives workers blocks as long as the stages after them have room", function()
    local place, pool, port = fake.place(1)
    pool.states[1] = { 0, 0, 0 }
    local lent = 0
    function pool.lend()
      lent = lent + 1
      pool.states[1][2] = pool.states[1][2] + 1
      return 65536
    end
    port.is_full = true
    place:on_need(place.slots[1], 70000)
    place:supply()
    assert.equal(0, lent)
    port.is_full = false
    place:supply()
    assert.equal(1, lent)
    assert.is_nil(place.blocks.wants[place.slots[1]])
    assert.equal(70000, place.blocks.sizes.bytes)
  end)
end)

describe("a worker's death", function()
  it("costs the item in hand an attempt, and no other", function()
    local place, pool, port = fake.place(1)
    fake.push(place, 5)
    place:dispatch()
    fake.done(place, 1, 1, true, 0.00001)
    place:dispatch()
    assert.equal(4, fake.in_hand(place))
    fake.done(place, 1, 1, false)
    fake.die(place, 1, true, 0, 9)
    local failure = port.failures[1]
    assert.equal(1, #port.failures)
    assert.same({ "crash", 9, 3, 1, 3 },
      { failure.kind, failure.signal, failure.in_flight, failure.attempts, failure.first })
    assert.equal(3, port.finished_items)
    assert.equal(2, place.queued)
    assert.equal(4, place.queue:first().first)
    check(place, port, 5)
    assert.equal(1, place:alive())      -- it was replaced
    place:dispatch()
    fake.done(place, 1, 2, true)
    assert.equal(0, pool.held[7])
  end)

  it("between two items costs none", function()
    local place, _, port = fake.place(1)
    fake.push(place, 2)
    place:dispatch()
    fake.die(place, 1, false, 3, 0)
    assert.same({}, port.failures)
    assert.equal(2, place.queued)
    check(place, port, 2)
  end)

  it("by the time limit is a time-out, and does not count as a restart", function()
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
    local place, _, port = fake.place(1, { items_per_worker = 1 })
    for i = 1, 2 do place:push(work.of_value(1, i)) end
    place:dispatch()
    fake.die(place, 1, true, 1, 0)
    assert.equal("crash", port.failures[1].kind)
    assert.equal(0, #place.processes.restarts.times)
    place:dispatch()
    assert.equal(0, place.queued)
    check(place, port, 2)
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
