-- Who gets what, and when: the policy of a place that runs stages in workers, without a process (see fake_pool.lua).

local fake = require "spec.fake_pool"

-- Every item that was pushed is in the queue, in a worker's hands, or finished.
local function check(segment, run, pushed)
  assert.equal(pushed, segment.queued + fake.in_hand(segment) + run.finished_items)
end

describe("dispatch to workers", function()
  it("begins with one item for each, as nobody knows how long one takes", function()
    local segment, pool, run = fake.segment(2)
    assert.same({ "spawn 1", "spawn 2" }, pool:take_calls())
    fake.push(segment, 100)
    assert.is_true(segment:dispatch())
    assert.same({ "offer 1 chunk 1 items 1", "offer 2 chunk 2 items 1" }, pool:take_calls())
    assert.is_false(segment:dispatch())
    check(segment, run, 100)
  end)

  it("cuts slices by the time that items take, and keeps one in store where they are quick", function()
    local segment, pool, run = fake.segment(2)
    fake.push(segment, 1000)
    segment:dispatch()
    pool:take_calls()
    fake.done(segment, 1, 1, true, 0.00005)
    segment:dispatch()
    local calls = pool:take_calls()
    assert.equal(3, #calls) -- two slices for the first, one in store for the second
    for _, call in ipairs(calls) do assert.matches("items %d%d+$", call) end
    check(segment, run, 1000)
  end)

  it("hands slow items out one by one, and none in store", function()
    local segment, pool, run = fake.segment(2)
    fake.push(segment, 10)
    segment:dispatch()
    pool:take_calls()
    fake.done(segment, 1, 1, true, 0.5)
    segment:dispatch()
    assert.same({ "offer 1 chunk 3 items 1" }, pool:take_calls())
    check(segment, run, 10)
  end)

  it("takes a slice in store back for a worker with nothing to do", function()
    local segment, pool, run = fake.segment(2)
    fake.push(segment, 2)
    segment:dispatch()
    fake.done(segment, 1, 1, true, 0.0001)
    fake.push(segment, 1)
    segment:dispatch()            -- worker 1 has the third
    fake.push(segment, 1)
    segment:dispatch()            -- in store, with worker 1 or 2
    local holder = segment.slots[1].hands == 2 and 1 or 2
    fake.done(segment, 3 - holder, 1, true, 0.0001)
    pool:take_calls()
    pool.revocable[holder] = 4
    segment:dispatch()
    assert.same({ ("offer %d chunk 5 items 1"):format(3 - holder) }, pool:take_calls())
    check(segment, run, 4)
  end)

  it("puts what a worker has no room for back in front of the queue", function()
    local segment, pool, run = fake.segment(1)
    fake.push(segment, 3)
    pool.full = 1
    segment:dispatch()
    assert.equal(3, segment.queued)
    pool.full = nil
    segment:dispatch()
    local _, entry = next(segment.slots[1].hand)
    assert.equal(1, entry.first)
    check(segment, run, 3)
  end)

  it("begins no more than there is room for after it, but one for each worker all the same", function()
    local segment, pool, run = fake.segment(2)
    segment.limited, segment.per, run.room_left = true, 1, 0.5
    fake.push(segment, 10)
    assert.is_false(segment:dispatch())
    run.room_left = 1
    segment:dispatch()
    assert.same({ "spawn 1", "spawn 2", "offer 1 chunk 1 items 1", "offer 2 chunk 2 items 1" }, pool:take_calls())
    assert.is_false(segment:dispatch())
    check(segment, run, 10)
  end)

  it("forks for each item where that is its kind, as many at a time as it may", function()
    local segment, pool, run = fake.segment(2, { per_item = true })
    for i = 1, 3 do segment:push { stage = 1, count = 1, attempt = 1, value = i } end
    segment:dispatch()
    assert.same({ "spawn 1", "offer 1 chunk 1 items 1", "finish 1", "spawn 2", "offer 2 chunk 2 items 1", "finish 2" },
      pool:take_calls())
    assert.equal(1, segment.queued)
    fake.done(segment, 1, 1, true)
    segment:on_exit(segment.slots[1], segment.slots[1].pid, 0, 0, true)
    segment:dispatch()
    assert.same({ "spawn 1", "offer 1 chunk 3 items 1", "finish 1" }, pool:take_calls())
    check(segment, run, 3)
  end)

  it("gives workers blocks as long as the stages after them have room", function()
    local segment, pool, run = fake.segment(1)
    pool.states[1] = { 0, 0, 0 }
    local lent = 0
    function pool.lend()
      lent = lent + 1
      pool.states[1][2] = pool.states[1][2] + 1
      return 65536
    end
    run.full = true
    segment:on_need(segment.slots[1], 70000)
    segment:supply()
    assert.equal(0, lent)
    run.full = false
    segment:supply()
    assert.equal(1, lent)
    assert.is_nil(segment.wants[segment.slots[1]])
    assert.equal(70000, segment.out_size)
  end)
end)

describe("a worker's death", function()
  it("costs the item in hand an attempt, and no other", function()
    local segment, pool, run = fake.segment(1)
    fake.push(segment, 5)
    segment:dispatch()
    fake.done(segment, 1, 1, true, 0.00001)
    segment:dispatch()
    assert.equal(4, fake.in_hand(segment))
    fake.done(segment, 1, 1, false)
    fake.die(segment, 1, true, 0, 9)
    local failure = run.failures[1]
    assert.equal(1, #run.failures)
    assert.same({ "crash", 9, 3, 1, 3 },
      { failure.kind, failure.signal, failure.in_flight, failure.attempts, failure.first })
    assert.equal(3, run.finished_items)
    assert.equal(2, segment.queued)
    assert.equal(4, segment.queue:first().first)
    check(segment, run, 5)
    assert.equal(1, segment:alive())      -- it was replaced
    segment:dispatch()
    fake.done(segment, 1, 2, true)
    assert.equal(0, pool.held[7])
  end)

  it("between two items costs none", function()
    local segment, _, run = fake.segment(1)
    fake.push(segment, 2)
    segment:dispatch()
    fake.die(segment, 1, false, 3, 0)
    assert.same({}, run.failures)
    assert.equal(2, segment.queued)
    check(segment, run, 2)
  end)

  it("by the time limit is a time-out, and does not count as a restart", function()
    local segment, pool, run = fake.segment(1, { timeout = 2 })
    fake.push(segment, 1)
    segment:dispatch()
    pool:take_calls()
    pool.overtimes[1] = 1.5
    assert.near(0.5, segment:check_time(), 0.01)
    assert.same({}, pool:take_calls())
    pool.overtimes[1] = 2.5
    segment:check_time()
    assert.same({ "time out 1" }, pool:take_calls())
    fake.die(segment, 1, true, 0, 9, 2)
    assert.equal("timeout", run.failures[1].kind)
    assert.equal(0, #segment.restarts)
  end)

  it("too often ends the run", function()
    local segment = fake.segment(1)
    for _ = 1, 3 do fake.die(segment, 1, false, 3, 0) end
    assert.has_error(function() fake.die(segment, 1, false, 3, 0) end,
      "stage 'work': 4 workers died within 5 s, the last by exit code 3; no item had failed yet: see what " ..
      "after_fork, before and the first items do, or raise max_restarts")
  end)

  it("of a fork per batch costs its item an attempt, and another one is begun", function()
    local segment, _, run = fake.segment(1, { per_item = true })
    for i = 1, 2 do segment:push { stage = 1, count = 1, attempt = 1, value = i } end
    segment:dispatch()
    fake.die(segment, 1, true, 1, 0)
    assert.equal("crash", run.failures[1].kind)
    assert.equal(0, #segment.restarts)
    segment:dispatch()
    assert.equal(0, segment.queued)
    check(segment, run, 2)
  end)

  it("after its last item is told, and costs nothing", function()
    local segment, pool, run = fake.segment(2)
    segment:finish()
    segment:finish()
    assert.same({ "spawn 1", "spawn 2", "finish 1", "finish 2" }, pool:take_calls())
    fake.die(segment, 1, false, 3, 0)
    assert.matches("exited with code 3 at its end", run.warnings[1])
    assert.is_false(segment:ended())
    segment:on_exit(segment.slots[2], segment.slots[2].pid, 0, 0, true)
    assert.is_true(segment:ended())
  end)
end)
