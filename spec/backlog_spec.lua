-- The backlog of an executor: the order in which items are begun, and those that are taken out. No process.
local backlog = require "minigun.policy.backlog"

local SEED <const> = math.tointeger(os.getenv "SEED") or os.time()

describe("the backlog", function()
  it("gives items of a higher priority first, equals in their order", function()
    local own = backlog.new()
    for number, priority in ipairs { 0, 2, 0, -1, 2, 0.5 } do own:push(number, "item " .. number, priority) end
    local order = {}
    for number, item in own.pop, own do
      assert.equal("item " .. number, item)
      order[#order + 1] = number
    end
    assert.same({ 2, 5, 6, 1, 3, 4 }, order)
    assert.equal(0, own.n)
    assert.is_nil(own:pop())
  end)

  it("takes out what is in it, once", function()
    local own = backlog.new()
    for number = 1, 5 do own:push(number, number, number % 2) end
    assert.is_true(own:remove(3))
    assert.is_false(own:remove(3))
    assert.is_false(own:remove(9))
    assert.equal(4, own.n)
    assert.equal(1, (own:pop()))
    assert.is_false(own:remove(1))
    assert.equal(5, (own:pop()))
    assert.is_true(own:remove(2))
    assert.equal(4, (own:pop()))
    assert.equal(0, own.n)
  end)

  it("does what a plain list does, whatever is drawn, and keeps no more memory than its items need", function()
    math.randomseed(SEED)
    local own, list, number = backlog.new(), {}, 0 -- list: { number, priority }, in any order
    local function first()
      local best
      for i, each in ipairs(list) do
        if not best or each[2] > list[best][2] or each[2] == list[best][2] and each[1] < list[best][1] then best = i end
      end
      return best
    end
    for step = 1, 4000 do
      local act = math.random(10)
      if act <= 5 or #list == 0 then
        number = number + 1
        local priority = math.random(3)
        own:push(number, -number, priority)
        list[#list + 1] = { number, priority }
      elseif act <= 7 then
        local at = first()
        local got, item = own:pop()
        if got ~= list[at][1] or item ~= -got then error(("SEED=%d step %d: %d came"):format(SEED, step, got)) end
        table.remove(list, at)
      else
        local at = math.random(#list)
        assert(own:remove(list[at][1]), ("SEED=%d step %d"):format(SEED, step))
        table.remove(list, at)
      end
      assert(own.n == #list)
    end
    local kept = 0
    for _, line in pairs(own.lines) do
      for _ in pairs(line.numbers) do kept = kept + 1 end
    end
    assert.is_true(kept <= 2 * #list + 3 * 65, kept .. " for " .. #list)
  end)
end)
