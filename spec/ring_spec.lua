-- The rings and the wait protocols, driven by two threads; `make tsan` runs the same programs under ThreadSanitizer.

local support = require "spec.support"

describe("the ring", function()
  it("brings every descriptor over in order, past the end of its counters, and loses no wake-up", function()
    local n = support.short_or_long(100000, 300000)
    local result = support.run("build/ring_threads " .. n)
    assert.same({ 0, "" }, { result.code, result.stderr })
    assert.matches(("^%d descriptors, "):format(n), result.stdout)
  end)
end)

describe("the ring of bytes", function()
  it("brings every message there and back in order, past the end of its cursors, and loses no wake-up", function()
    local n = support.short_or_long(40000, 100000)
    local result = support.run("build/channel_threads " .. n)
    assert.same({ 0, "" }, { result.code, result.stderr })
    assert.matches(("^%d messages, "):format(n), result.stdout)
  end)
end)
