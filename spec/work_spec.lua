-- The records of work: what is made of them when a part is cut off.
local work = require "minigun.base.work"

describe("work", function()
  it("is one value, first attempt, with room for what comes later", function()
    assert.same({ stage = 3, count = 1, attempt = 1, value = "x", lane = 2 }, work.of_value(3, "x", 2))
    assert.same({ stage = 3, count = 1, attempt = 0, lane = 2, first = 9 }, work.of_end(3, 2, 9))
  end)

  it("is cut without a loss: items, bytes and ordinals of the parts are those of the whole", function()
    math.randomseed(os.time())
    for _ = 1, 200 do
      local n, size = math.random(2, 50), math.random(1, 100)
      local whole = work.of_bytes(1, 7, 1000, n * size, n, 5)
      whole.first, whole.origin, whole.death = 11, {}, {}
      local k = math.random(n - 1)
      local cut = math.random(2) == 1
      local part = cut and work.cut(whole, k, 1000 + k * size)
        or work.cut_end(whole, n - k, 1000 + k * size, (n - k) * size)
      local a, b = cut and part or whole, cut and whole or part
      assert.same({ k, 1000, k * size, 11 }, { a.count, a.offset, a.length, a.first })
      assert.same({ n - k, 1000 + k * size, (n - k) * size, 11 + k }, { b.count, b.offset, b.length, b.first })
      for _, each in ipairs { a, b } do
        assert.same({ 7, 5, 1, 1 }, { each.block, each.only, each.stage, each.attempt })
        assert.equal(whole.origin, each.origin)
        assert.equal(whole.death, each.death)
      end
    end
  end)

  it("is a part that is the whole, of which attempts at its items are counted on", function()
    local whole = work.of_bytes(1, 7, 0, 10, 1, 5)
    whole.tried = { 1 }
    assert.equal(whole.tried, work.part(whole, 0, 1, 0, 10).tried)
    whole.count = 2
    assert.is_nil(work.part(whole, 0, 1, 0, 10).tried)
  end)

  it("keeps what a further attempt needs: the item's ordinal and its worker", function()
    local again = work.repeats(work.of_value(2, "x"), 5, 3)
    assert.same({ stage = 2, count = 1, attempt = 1, value = "x", first = 5, lane = 3, again = true }, again)
  end)
end)
