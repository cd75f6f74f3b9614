-- What is acknowledged when: the policy of a run with a journal, without one.

local acks = require "minigun.policy.acks"
local sources = require "minigun.policy.sources"

-- Acknowledgement whose calls are kept as texts.
local function new()
  local told = {}
  local own = acks.new(function(origin)
    for i = 1, #origin.ranges, 2 do
      told[#told + 1] = ("%s %d-%d"):format(origin.source.name, origin.ranges[i], origin.ranges[i + 1])
    end
  end)
  return own, told
end

local function origin_of(first, last)
  return { count = 0, source = { name = "n" }, ranges = { first, last } }
end

describe("acknowledgement", function()
  it("comes when all that has come of source items is finished", function()
    local own, told = new()
    local first = origin_of(1, 2)
    own.origin = first
    local entry = { count = 2 }
    own:owe(entry)
    assert.equal(first, entry.origin)
    own:owe { count = 1 }             -- emitted by a handler of one of them
    own:release(first, 2)
    assert.same({}, told)
    own:release(first, 1)
    assert.same({ "n 1-2" }, told)
  end)

  it("of what was put together waits for the whole, and comes for all parts at once", function()
    local own, told = new()
    local gathered
    for i = 1, 3 do
      own.origin = origin_of(i, i)
      own:owe { count = 1 }
      gathered = own:gather(gathered)
      own:release(own.origin, 1)      -- it is in the batch now
    end
    assert.equal(gathered, own:gather(gathered), "nothing is added twice")
    assert.same({}, told)
    own.origin = false
    local together = acks.close(gathered)
    own:under(together, function() own:owe { count = 1 } end)
    assert.same({}, told)
    own:release(together, 1)
    table.sort(told)
    assert.same({ "n 1-1", "n 2-2", "n 3-3" }, told)
  end)

  it("waits while something is there that comes of nothing known", function()
    local own, told = new()
    local known = origin_of(1, 1)
    own:owe { count = 1 }             -- of unknown origin
    own.origin = known
    own:owe { count = 1 }
    own:release(known, 1)
    assert.same({}, told)
    own:release(own.unknown, 1)
    assert.same({ "n 1-1" }, told)
  end)

  it("waits for the end of the run where something is kept", function()
    local own, told = new()
    own.origin = origin_of(1, 4)
    own:owe { count = 4 }
    own:keep()
    own:keep()
    own:release(own.origin, 4)
    assert.same({}, told)
    own:release_kept()
    assert.same({ "n 1-4" }, told)
    own:release_kept()
    assert.equal(1, #told)
  end)

  it("does not run out of stack in a long circle", function()
    local own, told = new()
    local origin = origin_of(1, 1)
    origin.count = 1
    for _ = 1, 200000 do origin = { count = 1, parents = { origin } } end
    own:release(origin, 1)
    assert.same({ "n 1-1" }, told)
  end)
end)

describe("the items of a producer", function()
  local done = { ranges = { 2, 3, 6, 6 }, marks = { [2] = 20, [3] = 30 } }

  local function mark_of(item) return item * 10 end

  it("are passed over where an earlier run has acknowledged them", function()
    local source, passed = sources.new("n", done, "j"), {}
    for i = 1, 8 do
      if not sources.skips(source, i, mark_of) then passed[#passed + 1] = i end
    end
    assert.same({ 1, 4, 5, 7, 8 }, passed)
    assert.equal(3, source.skipped)
  end)

  it("are known again by their marks", function()
    local source = sources.new("n", done, "j")
    sources.skips(source, 1, mark_of)
    local skip, problem = sources.skips(source, 7, mark_of)
    assert.is_true(skip)
    assert.matches("item 2 is not the one", problem)
    assert.is_nil(select(2, sources.skips(source, 0, function() return nil end)))
  end)

  it("have ordinals when they come from where they were numbered", function()
    local source = sources.new("n", done, "j")
    assert.same({ 1, 1, 4, 5 }, sources.arrived(source, 3))
    assert.same({ 7, 8 }, sources.arrived(source, 2))
    assert.same({}, sources.arrived(source, 0))
    local fresh = sources.new("n", nil, "j")
    assert.same({ 1, 5 }, sources.arrived(fresh, 5))
    assert.same({ 6, 6 }, sources.arrived(fresh, 1))
  end)

  it("must not be fewer than an earlier run has had", function()
    local source = sources.new("n", done, "j")
    assert.is_nil(sources.too_short(source, 6))
    assert.matches("has emitted 5 items, .* acknowledged item 6", sources.too_short(source, 5))
    assert.is_nil(sources.too_short(sources.new("n", nil, "j"), 0))
  end)

  it("have marks: all of the first, 32 in each octave of the others", function()
    local marked, n = {}, 1
    while n <= 1024 do
      n = sources.marked(n)
      if n <= 1024 then marked[#marked + 1] = n end
      n = n + 1
    end
    assert.equal(64 + 4 * 32, #marked)
    assert.equal(66, sources.marked(65))
    assert.equal(1 << 30, sources.marked((1 << 30) - 5))
  end)
end)
