-- Work that is bytes: what the ledger makes of it when a part is cut off; and its descriptions (base/work.lua).
local fake = require "spec.fake_pool"
local report = require "minigun.base.protocol"
local work = require "minigun.base.work"

local seed = tonumber(os.getenv "SEED") or os.time()

describe("work", function()
  it("is described as one value, or as bytes, for the first attempt", function()
    assert.same({ stage = 3, count = 1, attempt = 1, value = "x", lane = 2 }, work.of_value(3, "x", 2))
    assert.same({ stage = 3, count = 4, attempt = 1, block = 7, offset = 8, length = 64, only = 5 },
      work.of_bytes(3, 7, 8, 64, 4, 5))
  end)

  it("keeps what a further attempt needs: the item's ordinal and its worker", function()
    local again = work.repeats(work.of_value(2, "x"), 5, 3)
    assert.same({ stage = 2, count = 1, attempt = 1, value = "x", first = 5, lane = 3, again = true }, again)
  end)

  it("is cut without a loss: items, bytes and ordinals of the parts are those of the whole (seed " .. seed .. ")",
    function()
      math.randomseed(seed)
      local place, pool = fake.place(1)
      local ledger, slot = place.ledger, place.slots[1].index
      for _ = 1, 50 do
        local n = math.random(2, 50)
        fake.push(place, n)
        place:dispatch()                          -- one item, as nothing is known yet
        local whole = ledger:read(ledger:hand(slot))
        pool:retain(whole.block)                  -- the event's reference
        local left = ledger:left(slot, whole.number, whole.block, whole.offset, whole.length, whole.count, whole.only)
        ledger:push(left, true)
        local parts, at, first = {}, whole.offset, whole.first
        ledger:keep(left, report.DEATH, {})
        pool:play(slot)
        ledger:seat_left(slot, false)
        ledger:seat_taken(slot)
        while (place.ledger:queued(place.id)) > 0 do
          local id = ledger:take(place.id, 1)
          local count = ledger:read(id).count
          if count > 1 then parts[#parts + 1] = ledger:cut(id, math.random(count - 1)) end
          parts[#parts + 1] = id
        end
        table.sort(parts, function(a, b) return ledger:read(a).first < ledger:read(b).first end)
        local items = 0
        for _, id in ipairs(parts) do
          local part = ledger:read(id)
          assert.same({ at, first, whole.block, whole.only, 1, 1 },
            { part.offset, part.first, part.block, part.only, part.stage, part.attempt }, "SEED=" .. seed)
          at, first, items = part.offset + part.length, part.first + part.count, items + part.count
          ledger:finish(id)
          ledger:drop(id)
        end
        assert.equal(n, items)
        ledger:check()
      end
      assert.equal(0, ledger:pending(1))
    end)
end)
