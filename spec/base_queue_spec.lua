-- Queues (base/queue.lua), beside plain lists that do the same.
local queue = require "minigun.base.queue"

local seed = tonumber(os.getenv "SEED") or os.time()

describe("a queue", function()
  it("gives what was pushed, in order (seed " .. seed .. ")", function()
    math.randomseed(seed)
    local own, list = queue.new(), {}
    for i = 1, 2000 do
      if math.random(2) == 1 then
        own:push(i)
        list[#list + 1] = i
      elseif #list > 0 then
        assert.equal(list[1], own:first())
        assert.equal(table.remove(list, 1), own:pop())
      end
      assert.equal(list[1], own:first(), "SEED=" .. seed)
    end
    while own:first() do own:pop() end
    assert.equal(nil, own:first())
  end)
end)
