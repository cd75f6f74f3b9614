-- When a heap that is forked is collected, and joined into huge pages (lua/minigun/system/heap.lua): its
-- numbers are played here, no page is moved.

local core = require "minigun.core"

local MIB <const> = 1 << 20
local NAME <const> = "minigun.system.heap"

-- The module as a process has it that has not forked yet.
local function new_process()
  local real = package.loaded[NAME]
  package.loaded[NAME] = nil
  local heap = require(NAME)
  package.loaded[NAME] = real
  return heap
end

-- A run over a heap of so many MiB, of which a piece takes `seconds` to join. `joined` counts pieces.
local function played(heap, mib, seconds)
  local own = { heap = heap.new(), joined = 0 }
  local clock, now, collapse = 0, core.now, core.heap_collapse
  function heap.kib() return mib * 1024 end
  local function fake(on)
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
    local small = played(new_process(), 4, 0.01)
    small.forks(1000, 0.001)
    assert.equal(0, small.joined)
  end)

  it("is collected before the first fork of a run, unless it has hardly grown since that of a run before", function()
    local heap = new_process()
    local function collects(mib)
      local garbage = setmetatable({ {} }, { __mode = "v" })
      collectgarbage "stop"
      played(heap, mib, 0.01).forks(1, 0.001)
      collectgarbage "restart"
      return garbage[1] == nil
    end
    assert.same({ true, false, false, true }, { collects(100), collects(100), collects(120), collects(130) })
    assert.is_false(collects(4))
    assert.same({ true, false, true }, { collects(50), collects(30), collects(40) }) -- it has become smaller, and grown
    heap = new_process()
    assert.same({ true, false }, { collects(4), collects(6) })
  end)

  it("is joined for as much time as forks have taken", function()
    local large = played(new_process(), 96, 0.01)
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
    local large = played(new_process(), 96, 0.01)
    large.forks(100, 0.001)
    large.forks(100, 0.0014)
    assert.equal(3, large.joined)
    large.forks(100, 0.002)
    assert.equal(6, large.joined)
    large.forks(1000, 0.002)
    assert.equal(6, large.joined)
  end)

  it("stays joined from run to run", function()
    local heap = new_process()
    local first, second = played(heap, 96, 0.01), played(heap, 96, 0.01)
    first.forks(100, 0.001)
    second.forks(100, 0.001)
    assert.same({ 3, 0 }, { first.joined, second.joined })
  end)
end)
