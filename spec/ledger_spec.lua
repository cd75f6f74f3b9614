-- The ledger (src/core/ledger.h): every item in exactly one place, by random deeds beside plain lists that do the same.
local core = require "minigun.core"
local ledgers = require "minigun.run.ledger"
local report = require "minigun.base.protocol"

local seed = tonumber(os.getenv "SEED") or os.time()

-- A ledger of two stages: 1 in the coordinator, 2 in a place of two threads; `released`: what has been acknowledged.
local function new(options)
  local released = {}
  local plan = { stages = { {}, {} }, segments = { {} } }
  local ledger = ledgers.new(plan, { release = function(_, origin, n) released[#released + 1] = { origin, n } end })
  ledger:attach(nil, 1 << 20, 1 << 16)
  local own = ledger:add_place { here = true, n = 1, first = 0, stages = 0, front = 0, threads = 0, most = 0,
    counted = 0, per_worker = math.huge }
  local place = ledger:add_place { n = 2, first = 0, stages = 1, front = 2, threads = 0, most = 0, counted = 0,
    per_worker = math.huge, ordered = options and options.ordered }
  ledger:stage(1, { place = own, flags = 0, producing = options and options.producing })
  ledger:stage(2, { place = place, flags = 0 })
  return ledger, place, own, released
end

describe("the ledger", function()
  it("counts what a stage has accepted and not finished", function()
    local ledger, place = new()
    ledger:drain(2, true)
    for i = 1, 5 do ledger:accept_value(2, i, 10) end
    assert.is_false(ledger:drained(2))
    assert.same({ 5, 50, 0 }, { ledger:queued(place) })
    local first, second = ledger:take(place, 1), ledger:take(place, 2)
    ledger:finish(first)
    ledger:drop(first)
    local again = ledger:enter({ stage = 2, value = "b", first = 2, again = true, attempt = 2 }, "waiting")
    ledger:finish(second)                 -- it is tried again
    ledger:drop(second)
    assert.equal(4, ledger:pending(2))
    assert.is_false(ledger:is_empty())
    ledger:wake(again)
    for _ = 1, 4 do
      local work = ledger:take(place, 1)
      ledger:check()
      ledger:finish(work)
      ledger:drop(work)
    end
    assert.is_true(ledger:is_empty())
    assert.is_nil(ledger:take(place, 1))
    local items_in, items_out, _, _, most = ledger:counts(2)
    assert.same({ 5, 0, 5 }, { items_in, items_out, most }) -- a further attempt is no new item
    assert.equal(0, (ledger:counts(2)))
  end)

  it("says when stages may be drained: from the end of the first producer on", function()
    local ledger = new { producing = true }
    ledger:changed(false)
    local producer = ledger:enter({ stage = 1 }, "hand")
    ledger:accept_value(2, 1, 1)
    local function finish_one()
      local work = ledger:take(1, 1)
      ledger:finish(work)
      ledger:drop(work)
    end
    finish_one()
    assert.is_false(ledger:changed())
    ledger:done_own(producer)
    assert.is_true(ledger:changed(false))
    assert.is_false(ledger:changed())
    for _ = 1, 2 do ledger:accept_value(2, 1, 1) end
    finish_one()
    assert.is_false(ledger:changed())
    finish_one()
    assert.is_true(ledger:changed())
  end)

  it("reads work as it was entered, and keeps what belongs to it as long as there is it", function()
    local ledger, place = new()
    local origin = {}
    local work = ledger:enter({ stage = 2, value = "x", attempt = 3, lane = 2, first = 7, again = true, length = 9,
      origin = origin, is_source = true, tried = { 1 } }, "waiting")
    assert.same({ id = work, stage = 2, value = "x", attempt = 3, lane = 2, first = 7, again = true, count = 1,
      finished = 0, number = 0, origin = origin, is_source = true, tried = { 1 } }, ledger:read(work))
    ledger:keep(work, report.DEATH, "death")
    assert.equal("death", ledger:kept(work, report.DEATH))
    ledger:keep(work, report.DEATH, nil)
    assert.is_nil(ledger:kept(work, report.DEATH))
    ledger:open_lanes(place)
    ledger:wake(work)
    assert.is_nil(ledger:take(place, 1))        -- it is the other one's
    assert.equal(work, ledger:take(place, 2))
    ledger:finish(work)
    ledger:drop(work)
    assert.is_false(pcall(ledger.read, ledger, work))
  end)

  it("tells what its items have come of when they are finished", function()
    local ledger, place, _, released = new()
    ledger:enter({ stage = 2, value = 1, origin = "origin" }, "queue")
    ledger:finish(ledger:take(place, 1))
    assert.same({ { "origin", 1 } }, released)
  end)

  it("gives what an order allows, and puts a further attempt to its place", function()
    local ledger, place = new { ordered = true }
    for i = 1, 4 do ledger:accept_value(2, i, 1) end
    ledger:order(place, 1, 0)
    local first = ledger:take(place, 1)
    assert.is_nil(ledger:take(place, 1))
    ledger:order(place, 1, 4)
    local second = ledger:take(place, 1)
    assert.same({ 1, 2 }, { ledger:read(first).first, ledger:read(second).first })
    ledger:push(second)                         -- nothing of it is done
    ledger:push(first)
    for i = 1, 3 do assert.equal(i, ledger:read(ledger:take(place, 1)).first) end
    assert.is_nil(ledger:take(place, 1))        -- the fourth is beyond the limit
    ledger:check()
  end)

  it("gives the older of one worker's own work and the rest's, where they are in order", function()
    local ledger, place = new { ordered = true }
    ledger:open_lanes(place)
    ledger:accept_value(2, "older", 1)
    ledger:enter({ stage = 2, value = "younger", first = 2, lane = 1 }, "queue")
    ledger:order(place, 1, 0)
    assert.equal("older", ledger:read(ledger:take(place, 1)).value)
    assert.is_nil(ledger:take(place, 1))
    ledger:order(place, 2, 0)
    assert.equal("younger", ledger:read(ledger:take(place, 1)).value)
  end)

  it("opens a stage's loops again when something comes after all", function()
    local ledger, place = new()
    assert.is_false(ledger:no_more(2, true))
    local ending = ledger:end_of(2, 1)
    ledger:push(ending)
    assert.is_true(ledger:no_more(2))
    assert.equal(0, ledger:read(ledger:take(place, 1)).attempt)
    ledger:drain(2, true)
    ledger:accept_value(2, "late", 1)
    assert.same({ false, false }, { ledger:no_more(2), ledger:drained(2) })
  end)

  it("runs the oldest work of the coordinator's own stages of which none has to wait", function()
    local ledger = core.ledger(3, 1)
    local own = ledger:add_place { here = true, n = 1, first = 0, stages = 0, front = 0, threads = 0, most = 0,
      counted = 0, per_worker = math.huge }
    for id = 1, 3 do ledger:stage(id, { place = own, flags = 0 }) end
    ledger:limit("waits", 2, 0, 3, 1)
    for _, id in ipairs { 2, 1, 3, 1 } do ledger:accept_value(id, id, 1) end
    assert.equal(1, (ledger:oldest_own()))      -- stage 2 has come first, and waits for stage 3
    ledger:done_own((ledger:take_own(1, 0)))
    assert.equal(3, (ledger:oldest_own()))
    ledger:done_own((ledger:take_own(3, 0)))
    assert.equal(2, (ledger:oldest_own()))
    assert.same({ 2, 4 }, { ledger:own() })
    ledger:check()
  end)

  it("loses nothing by random deeds (seed " .. seed .. ")", function()
    math.randomseed(seed)
    local ledger, place = new()
    local queued, hand, waiting, finished, entered = 0, {}, {}, 0, 0
    for i = 1, 3000 do
      local deed = math.random(6)
      if deed <= 2 then
        ledger:accept_value(2, i, 1)
        entered, queued = entered + 1, queued + 1
      elseif deed == 3 and queued > 0 then
        hand[#hand + 1], queued = ledger:take(place, math.random(2)), queued - 1
      elseif deed == 4 and hand[1] then
        local work = table.remove(hand, math.random(#hand))
        ledger:finish(work)
        ledger:drop(work)
        finished = finished + 1
      elseif deed == 5 and hand[1] then -- it fails
        local work = table.remove(hand, math.random(#hand))
        local own = ledger:read(work)
        waiting[#waiting + 1] = ledger:enter({ stage = 2, value = own.value, first = own.first, again = true },
          "waiting")
        ledger:finish(work)
        ledger:drop(work)
      elseif deed == 6 and waiting[1] then
        ledger:wake(table.remove(waiting, math.random(#waiting)))
        queued = queued + 1
      end
      if i % 50 == 0 then ledger:check() end
      assert.equal(entered - finished, ledger:pending(2), "SEED=" .. seed)
      assert.same({ queued, queued - (ledger:own()) }, { ledger:queued(place), queued }, "SEED=" .. seed)
    end
    assert.equal(queued + #hand + #waiting, ledger:pending(2))
  end)

  it("refuses what is not in a hand, and numbers of what there is not", function()
    local ledger, place = new()
    local work = ledger:accept_value(2, 1, 1)
    for _, wrong in ipairs { { "finish", work }, { "drop", work }, { "finish", 99 }, { "read", 0 },
      { "take", place, 0 }, { "pending", 3 }, { "stage", 1, { place = 9, flags = 0 } },
      { "enter", { stage = 2, lane = 3 }, "queue" }, { "limit", "reach", 1, 5, 0, 0 } } do
      assert.is_false(pcall(ledger[wrong[1]], ledger, table.unpack(wrong, 2)), wrong[1])
    end
    ledger:check()
  end)
end)
