-- What fills up after a stage, and how many more items may be sent to it: the policy, without a run.

local admission = require "minigun.policy.admission"

-- Stages from rows `{ outputs, fields }`, the first is a producer; places from rows of their stages.
local function new(rows, places, n)
  local stages, of, list, pending = {}, {}, {}, {}
  for id, row in ipairs(rows) do
    stages[id] = { id = id, kind = id == 1 and "producer" or "processor", outputs = row[1] }
    for key, value in pairs(row[2] or {}) do stages[id][key] = value end
    pending[id] = 0
  end
  local inline = { here = true, in_work = function() return 0 end }
  for id in ipairs(rows) do of[id] = inline end
  for i, ids in ipairs(places) do
    local place = { here = false, n = n or 2, plan = { stages = ids },
      targets = {}, queued = 0, is_full = false, begun = {} }
    function place:full() return self.is_full end
    function place:in_work(id) return self.begun[id] or 0 end
    list[i] = place
    for _, id in ipairs(ids) do of[id] = place end
  end
  local own = admission.new(stages, of, pending)
  own:draw()
  own:draw_waits(list)
  return own, list, pending
end

describe("a stage", function()
  it("reaches the places after it, through stages of the coordinator too", function()
    -- 1 -> 2 (coordinator) -> 3 (place a) -> 4 (place b)
    local own, places = new({ { { 2 } }, { { 3 } }, { { 4 } }, { {} } }, { { 3 }, { 4 } })
    assert.is_true(own.reach[1][places[1]])
    assert.is_nil(own.reach[1][places[2]])
    assert.is_true(own.reach[3][places[2]])
    assert.is_false(own.limited[1])
    assert.is_false(own:is_full(own.reach[1]))
    places[1].is_full = true
    assert.is_true(own:is_full(own.reach[1]))
    assert.equal(0, own:room(own.reach[1], 1))
  end)

  it("waits for later stages, so that two places never wait for each other", function()
    -- 1 -> 2 (a) -> 3 (b) -> 4 (a): items come back to a
    local _, places = new({ { { 2 } }, { { 3 } }, { { 4 } }, { {} } }, { { 2, 4 }, { 3 } })
    assert.is_true(places[1].targets[places[2]])
    assert.is_nil(places[2].targets[places[1]])
    assert.is_nil(places[1].targets[places[1]])
  end)

  it("that is a producer waits for one more, where it sends there", function()
    local own, places = new({ { { 2 } }, { {} }, { {} } }, { { 2 }, { 3 } })
    own:extend(1, 3)
    assert.is_true(own.reach[1][places[2]])
  end)

  it("is at work as long as anything after it is", function()
    local own, _, pending = new({ { { 2 } }, { {} } }, { { 2 } })
    assert.is_false(own:any_at_work(1))
    pending[2] = 1
    assert.is_true(own:any_at_work(1))
  end)
end)

describe("queue = n", function()
  it("counts what waits, not what is in work", function()
    local own, places, pending = new({ { { 2 } }, { {}, { queue = 3 } } }, { { 2 } })
    assert.equal(3, own.reach[1][2])
    assert.is_true(own.limited[1])
    pending[2] = 4
    assert.is_true(own:is_full(own.reach[1]))
    places[1].begun[2] = 2
    assert.equal(2, own:waiting(2))
    assert.is_false(own:is_full(own.reach[1]))
    assert.equal(1, own:room(own.reach[1], 1))
    places[1].begun[2] = 1
    assert.equal(0, own:room(own.reach[1], 1))
  end)

  it("holds up what comes before a place soon, at a few items for each worker", function()
    -- 1 -> 2 (a) -> 3 (b), limited
    local own, places = new({ { { 2 } }, { { 3 } }, { {}, { queue = 1 } } }, { { 2 }, { 3 } }, 3)
    assert.is_true(places[1].limited)
    assert.is_false(places[2].limited)
    assert.is_true(own.limited[1])
    assert.equal(16 + 4 * 3, admission.room_of(places[1]))
    places[1].queued = 20
    assert.equal(8, own:room(own.reach[1], 1))
  end)

  it("of what comes after a batch allows a batch for each", function()
    -- 1 -> 2 (coordinator, batches of 10) -> 3 (a), limited
    local own, _, pending = new({ { { 2 } }, { { 3 }, { batch = { max_size = 10 } } }, { {}, { queue = 2 } } },
      { { 3 } })
    assert.equal(20, own.reach[1][2])
    assert.equal(10, own.per[2])
    pending[3] = 1
    assert.equal(10, own:room(own.waits[2], own.per[2]))
  end)

  it("of a reduce, which the library has set, may be passed by a block", function()
    local own = new({ { { 2 } }, { {}, { queue = 2, recipe = {} } } }, { { 2 } })
    assert.is_false(own.limited[1])
    assert.equal(math.huge, own:room(own.reach[1], 1))
  end)

  it("keeps an ordered place from holding much back", function()
    local stages = { { id = 1, kind = "producer", outputs = { 2 } }, { id = 2, kind = "processor", outputs = { 3 } },
      { id = 3, kind = "processor", outputs = {}, queue = 1 } }
    local place = { n = 1, plan = { stages = { 2 } }, targets = {}, queued = 0, order = { window = 65536 } }
    local own = admission.new(stages, { { here = true }, place, { here = true } }, { 0, 0, 0 })
    own:draw()
    own:draw_waits { place }
    assert.equal(20, place.order.window)
  end)
end)
