-- Whether a failed item is tried again, and when; which worker has the items of a key: decisions without a process.

local backoff = require "minigun.policy.backoff"
local lanes = require "minigun.policy.lanes"

describe("a further attempt", function()
  it("is allowed as often as the stage says", function()
    assert.is_true(backoff.allows(1, 1))
    assert.is_false(backoff.allows(2, 1))
    assert.is_false(backoff.allows(1, 0))
  end)

  it("is none of what has no item, or has gone on in part", function()
    assert.is_false(backoff.allows(0, 5))
    assert.is_false(backoff.allows(1, 5, true))
  end)

  it("waits for so long, or longer from one to the next", function()
    assert.equal(0.25, backoff.delay(0.25, 4, 0.9))
    local given = { first = 1, factor = 2, max = 5, jitter = 0.5 }
    local seconds = {}
    for attempt = 1, 4 do seconds[attempt] = backoff.delay(given, attempt, 0) end
    assert.same({ 1, 2, 4, 5 }, seconds)
    assert.equal(2, backoff.delay(given, 3, 1))
  end)
end)

describe("the lane of a key", function()
  it("is the same for equal keys, and one of those that there are", function()
    for _, key in ipairs { 0, 7, -7, 1.5, "", "a", "another", true, false, math.mininteger } do
      local lane = lanes.of(key, 5)
      assert.equal(lane, lanes.of(key, 5))
      assert.is_true(lane >= 1 and lane <= 5)
      assert.equal(1, lanes.of(key, 1))
    end
    assert.equal(lanes.of(1, 7), lanes.of(1.0, 7))
  end)

  it("uses all of them", function()
    local used = {}
    for i = 1, 200 do used[lanes.of("key " .. i, 8)] = true end
    for lane = 1, 8 do assert.is_true(used[lane]) end
  end)

  it("is none of a table or nil", function()
    local ok, message = pcall(lanes.of, {}, 2, "x.lua:1")
    assert.is_false(ok)
    assert.matches("^x.lua:1: option .partition. gave a table as an item.s key; a key is a string, number", message)
    assert.has_error(function() lanes.of(nil, 2) end)
  end)
end)
