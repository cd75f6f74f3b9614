-- The rings and the wait protocols, driven by two threads; `make tsan` runs the same programs under ThreadSanitizer.

local support = require "spec.support"

describe("the ring", function()
  it("brings every descriptor over in order, past the end of its counters, and loses no wake-up", function()
    local result = support.run("build/ring_threads 300000")
    assert.same({ 0, "" }, { result.code, result.stderr })
    assert.matches("^300000 descriptors, ", result.stdout)
  end)
end)

describe("the ring of bytes", function()
  it("brings every message there and back in order, past the end of its cursors, and loses no wake-up", function()
    local result = support.run("build/channel_threads 100000")
    assert.same({ 0, "" }, { result.code, result.stderr })
    assert.matches("^100000 messages, ", result.stdout)
  end)
end)
