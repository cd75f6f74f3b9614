-- When a heap that is forked is collected, and joined into huge pages (lua/minigun/system/heap.lua): its
-- numbers are played here, no page is moved.

local core = require "minigun.core"
local heap = require "minigun.system.heap"

local MIB <const> = 1 << 20

-- A heap of so many MiB, of which a piece takes `seconds` to join. `joined` counts pieces.
local function played(mib, seconds)
  local own = { heap = heap.new(), joined = 0 }
  local clock, kib, now, collapse = 0, heap.kib, core.now, core.heap_collapse
  local function fake(on)
    heap.kib = on and function() return mib * 1024 end or kib
    core.now = on and function() return clock end or now
    core.heap_collapse = on and function(from, most)
      own.joined, clock = own.joined + 1, clock + seconds
      local next = from + most
      return next < mib * MIB and next or nil
    end or collapse
  end
  function own.forks(n, each)
    fake(true)
    for _ = 1, n do
      own.heap:prepare(0, false)
      own.heap.last, clock = each, clock + each
    end
    fake(false)
  end
  return own
end

describe("a heap that is forked", function()
  it("is left alone while it is small", function()
    local small = played(4, 0.01)
    small.forks(1000, 0.001)
    assert.equal(0, small.joined)
  end)

  it("is collected before the first fork of a run, unless it has hardly grown since that of a run before", function()
    local function collects(mib)
      local garbage = setmetatable({ {} }, { __mode = "v" })
      collectgarbage "stop"
      played(mib, 0.01).forks(1, 0.001)
      collectgarbage "restart"
      return garbage[1] == nil
    end
    assert.same({ true, false, false, true }, { collects(1000), collects(1000), collects(1200), collects(1300) })
    assert.is_false(collects(4))
  end)

  it("is joined for as much time as forks have taken", function()
    local large = played(96, 0.01)
    large.forks(1, 0.001)
    assert.equal(0, large.joined)
    large.forks(5, 0.001)
    assert.equal(1, large.joined)
    large.forks(30, 0.001)
    assert.equal(3, large.joined)
    large.forks(1000, 0.001)
    assert.equal(3, large.joined)
  end)

  it("is joined anew when forks have become slower by half", function()
    local large = played(96, 0.01)
    large.forks(100, 0.001)
    large.forks(100, 0.0014)
    assert.equal(3, large.joined)
    large.forks(100, 0.002)
    assert.equal(6, large.joined)
    large.forks(1000, 0.002)
    assert.equal(6, large.joined)
  end)
end)
