-- Queues of work (base/queue.lua), beside plain lists that do the same.
local queue = require "minigun.base.queue"

local seed = tonumber(os.getenv "SEED") or os.time()

describe("a queue of work", function()
  it("gives them in order, those put back in front first (seed " .. seed .. ")", function()
    math.randomseed(seed)
    local own, list = queue.new(), {}
    for i = 1, 2000 do
      local entry, kind = { stage = i % 3, count = i % 5, first = i }, math.random(5)
      if kind <= 2 then
        own:push(entry)
        list[#list + 1] = entry
      elseif kind == 3 then
        own:push(entry, true)
        table.insert(list, 1, entry)
      elseif #list > 0 then
        assert.equal(list[1], own:first())
        assert.equal(table.remove(list, 1), own:pop())
      end
      assert.equal(#list, own:count(), "SEED=" .. seed)
      local n = 0
      for _, each in ipairs(list) do n = n + (each.stage == 1 and each.count or 0) end
      assert.equal(n, own:items(1), "SEED=" .. seed)
    end
    while own:first() do own:pop() end
    assert.equal(0, own:count())
  end)

  it("takes one back to its place", function()
    local own = queue.new()
    for i = 1, 5 do own:push { first = i * 10 } end
    for _, first in ipairs { 25, 5, 45, 60 } do own:insert { first = first } end
    local order = {}
    while own:first() do order[#order + 1] = own:pop().first end
    assert.same({ 5, 10, 20, 25, 30, 40, 45, 50, 60 }, order)
  end)
end)

describe("queues of several stages", function()
  local function nothing_waits() return false end

  it("give the oldest work whose stage can go on", function()
    local lines = queue.lines()
    for i, stage in ipairs { 1, 2, 1, 3 } do lines:push { stage = stage, count = 1, name = i } end
    assert.equal(1, lines:first(nothing_waits).name)
    assert.equal(2, lines:first(function(id) return id == 1 end).name)
    assert.equal(4, lines:first(function(id) return id < 3 end).name)
    assert.is_nil(lines:first(function() return true end))
    assert.equal(1, lines:pop(1).name)
    assert.equal(2, lines:first(nothing_waits).name)
    assert.same({ 1, 1, 1, 0 }, { lines:items(1), lines:items(2), lines:items(3), lines:items(4) })
  end)

  it("know how many pieces of work and bytes they hold, and have none at the end", function()
    local lines, entries, bytes = queue.lines(), 0, 0
    for i = 1, 60 do
      local length = i % 3 > 0 and i * 100 or nil  -- a value has no length
      lines:push { stage = i % 4, count = i, length = length }
      entries, bytes = entries + 1, bytes + (length or 0)
      assert.same({ entries, bytes }, { lines:count(), lines.bytes })
    end
    local half = lines:first(nothing_waits)
    half.length = half.length - 40
    lines:cut(40)
    assert.equal(bytes - 40, lines.bytes)
    while lines:count() > 0 do lines:pop(lines:first(nothing_waits).stage) end
    assert.same({ 0, 0 }, { lines:count(), lines.bytes })
  end)
end)
