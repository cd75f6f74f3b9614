-- What fills up after a stage, and how many more items may be sent to it, without a run.

local admission = require "minigun.policy.admission"
local core = require "minigun.core"
local terms = require "minigun.policy.terms"

-- Stages from rows `{ outputs, fields }`, the first is a producer; places of threads, from rows of their stages. All of
-- it in a ledger. `most`: items that may be queued in a place.
local function new(rows, places, n, most)
  local stages, of, list = {}, {}, {}
  for id, row in ipairs(rows) do
    stages[id] = { id = id, kind = id == 1 and "producer" or "processor", outputs = row[1] }
    for key, value in pairs(row[2] or {}) do stages[id][key] = value end
  end
  local ledger = core.ledger(#rows, #places + 1)
  ledger:terms(terms)
  ledger:attach(nil, 1 << 30, 1 << 20)
  local function add(fields)
    for key, value in pairs { n = n or 2, first = 0, stages = 0, front = 0, threads = 0, most = most or 0, counted = 0,
      per_worker = math.huge } do fields[key] = fields[key] or value end
    return ledger:add_place(fields)
  end
  local inline = { here = true, id = add { here = true } }
  for id in ipairs(rows) do of[id] = inline end
  for i, ids in ipairs(places) do
    list[i] = { here = false, id = add { stages = #ids, front = ids[1] }, n = n or 2, plan = { stages = ids },
      targets = {} }
    for _, id in ipairs(ids) do of[id] = list[i] end
  end
  local own = admission.new(stages, of)
  own:draw()
  own:draw_waits(list)
  for id, stage in ipairs(stages) do
    ledger:stage(id, { place = of[id].id, flags = 0, recipe = stage.recipe, producing = id == 1 })
  end
  own:tell(ledger, list)
  return own, list, ledger
end

-- So many items come to a stage.
local function accept(ledger, id, items)
  for i = 1, items do ledger:accept_value(id, i, 1) end
end

describe("a stage", function()
  it("reaches the places after it, through stages of the coordinator too", function()
    -- 1 -> 2 (coordinator) -> 3 (place a) -> 4 (place b)
    local own, places, ledger = new({ { { 2 } }, { { 3 } }, { { 4 } }, { {} } }, { { 3 }, { 4 } }, 2, 4)
    assert.is_true(own.reach[1][places[1]])
    assert.is_nil(own.reach[1][places[2]])
    assert.is_true(own.reach[3][places[2]])
    assert.is_false(own.limited[1])
    accept(ledger, 3, 3)
    assert.same({ false, false }, { ledger:must_wait(1), ledger:waits(2) })
    accept(ledger, 3, 1)
    assert.same({ true, true, true, 0 },
      { ledger:full(places[1].id), ledger:must_wait(1), ledger:waits(2), ledger:room_of_stage(2) })
    accept(ledger, 4, 4)
    assert.is_true(ledger:blocked(places[1].id))
    assert.equal(0, ledger:room(places[1].id))
  end)

  it("is looked at once, however many ways lead to it", function()
    local rows = { { { 2, 3 } } } -- 2 and 3, 4 and 5, ...: each of both sends to the next two
    for id = 2, 199 do rows[id] = { { id // 2 * 2 + 2, id // 2 * 2 + 3 } } end
    rows[198][1], rows[199][1], rows[200] = { 200 }, { 200 }, { {}, { queue = 7 } }
    local own = new(rows, {})
    assert.same({ 7, 7 }, { own.reach[198][200], own.reach[1][2] })
  end)

  it("waits for later stages, so that two places never wait for each other", function()
    -- 1 -> 2 (a) -> 3 (b) -> 4 (a): items come back to a
    local _, places = new({ { { 2 } }, { { 3 } }, { { 4 } }, { {} } }, { { 2, 4 }, { 3 } })
    assert.is_true(places[1].targets[places[2]])
    assert.is_nil(places[2].targets[places[1]])
    assert.is_nil(places[1].targets[places[1]])
  end)

  it("that is a producer waits for one more, where it sends there", function()
    local own, places, ledger = new({ { { 2 } }, { {} }, { {} } }, { { 2 }, { 3 } }, 2, 1)
    accept(ledger, 3, 1)
    assert.is_false(ledger:must_wait(1))
    own:extend(1, 3, ledger)
    assert.is_true(own.reach[1][places[2]])
    assert.is_true(ledger:must_wait(1))
  end)

  it("is at work as long as anything after it is", function()
    local _, _, ledger = new({ { { 2 } }, { {} } }, { { 2 } })
    assert.is_false(ledger:any_at_work(1))
    accept(ledger, 2, 1)
    assert.is_true(ledger:any_at_work(1))
  end)
end)

describe("queue = n", function()
  it("counts what waits, not what is in work", function()
    local own, places, ledger = new({ { { 2 } }, { {}, { queue = 3 } } }, { { 2 } })
    assert.equal(3, own.reach[1][2])
    assert.is_true(own.limited[1])
    accept(ledger, 2, 4)
    assert.is_true(ledger:must_wait(1))
    local first = ledger:take(places[1].id, 1)
    assert.same({ 1, true }, { ledger:in_work(2), ledger:must_wait(1) })
    ledger:take(places[1].id, 2)
    assert.same({ 2, false }, { ledger:in_work(2), ledger:must_wait(1) })
    ledger:enter({ stage = 2, value = 1, again = true, first = 1 }, "waiting")
    ledger:finish(first)                        -- it is tried again
    ledger:drop(first)
    assert.is_true(ledger:must_wait(1))
  end)

  it("holds up what comes before a place soon, at a few items for each worker", function()
    -- 1 -> 2 (a) -> 3 (b), limited
    local own, places, ledger = new({ { { 2 } }, { { 3 } }, { {}, { queue = 1 } } }, { { 2 }, { 3 } }, 3)
    assert.is_true(places[1].limited)
    assert.is_false(places[2].limited)
    assert.is_true(own.limited[1])
    accept(ledger, 2, 16 + 4 * 3 - 1)
    assert.is_false(ledger:must_wait(1))
    accept(ledger, 2, 1)
    assert.is_true(ledger:must_wait(1))
    assert.equal(1, ledger:room(places[1].id))
    accept(ledger, 3, 1)
    assert.equal(0, ledger:room(places[1].id))
  end)

  it("of what comes after a batch allows a batch for each", function()
    -- 1 -> 2 (coordinator, batches of 10) -> 3 (a), limited
    local own, _, ledger = new({ { { 2 } }, { { 3 }, { batch = { max_size = 10 } } }, { {}, { queue = 2 } } },
      { { 3 } })
    assert.equal(20, own.reach[1][2])
    assert.equal(10, own.per[2])
    accept(ledger, 3, 1)
    assert.equal(10, ledger:room_of_stage(2))
    accept(ledger, 2, 20)
    assert.is_true(ledger:must_wait(1))
  end)

  it("of a reduce, which the library has set, may be passed by a block", function()
    local own, places, ledger = new({ { { 2 } }, { { 3 } }, { {}, { queue = 2, recipe = {} } } }, { { 2 }, { 3 } })
    assert.is_false(own.limited[1])
    accept(ledger, 3, 1)
    assert.is_true(ledger:room(places[1].id) > 1e15)
    accept(ledger, 3, 1)
    assert.equal(0, ledger:room(places[1].id))
  end)

  it("keeps an ordered place from holding much back", function()
    local stages = { { id = 1, kind = "producer", outputs = { 2 } }, { id = 2, kind = "processor", outputs = { 3 } },
      { id = 3, kind = "processor", outputs = {}, queue = 1 } }
    local place = { n = 1, plan = { stages = { 2 } }, targets = {}, order = { window = 65536, tell = function() end } }
    local own = admission.new(stages, { { here = true }, place, { here = true } })
    own:draw()
    own:draw_waits { place }
    assert.equal(20, place.order.window)
  end)
end)
