-- What a run may have of shared memory, without mapping any.
local core = require "minigun.core"
local shared = require "minigun.run.shared"

local MEBI <const> = 1 << 20
local OWN <const> = 4096                           -- bytes that the slots take

-- Opens the memory of a run with a limit where so many bytes can be had; what it has warned of comes too.
local function open(limit, had)
  local asked, warnings = nil, {}
  local self = shared.new { options = { memory = limit } }
  self.outcome = { warn = function(_, text) warnings[#warnings + 1] = text end }
  self.state = { fail = function(_, text) error(text, 0) end }
  local real = core.pool
  core.pool = function(slots, size, keep)
    asked = { slots, size, keep }
    if not had then return nil, "cannot set up shared memory", 12 end
    return { size = function() return math.min(had, size) end, memory = function() return OWN end }
  end
  local ok, err = pcall(self.open, self, 3, true)
  core.pool = real
  return self, asked, warnings, not ok and err
end

describe("the shared memory of a run", function()
  it("is asked for generously, and limited to what the run may use", function()
    local self, asked, warnings = open(64 * MEBI, math.huge)
    assert.same({ 3, 4 << 30, 64 * MEBI }, asked)
    assert.same({}, warnings)
    assert.same({ 64 * MEBI + OWN, 4 * MEBI, 16 * MEBI }, { self.memory, self.queue_bytes, self.held_most })
    self, asked = open(1 << 30, math.huge)
    assert.equal(8 << 30, asked[2])
    assert.same({ (1 << 30) + OWN, 4 * MEBI, 256 * MEBI }, { self.memory, self.queue_bytes, self.held_most })
    self = open(64 << 10, math.huge)
    assert.same({ 65536, 65536 }, { self.queue_bytes, self.held_most }) -- a block at least
  end)

  it("is half of what there is, where that is less, and the user is told", function()
    local self, _, warnings = open(64 * MEBI, 32 * MEBI)
    assert.same({ 16 * MEBI + OWN, MEBI, 4 * MEBI }, { self.memory, self.queue_bytes, self.held_most })
    assert.same({ "only 32 MiB of shared memory could be had (is the address space limited?): the limit is 16 MiB, " ..
      "not 64" }, warnings)
    self, _, warnings = open(64 * MEBI, 128 * MEBI)
    assert.equal(64 * MEBI + OWN, self.memory)
    assert.same({}, warnings)
    self, _, warnings = open(nil, 2 * MEBI)        -- nobody has asked for more
    assert.equal(MEBI + OWN, self.memory)
    assert.same({}, warnings)
  end)

  it("fails the run where there is none", function()
    local _, _, _, message = open(64 * MEBI, false)
    assert.equal("cannot set up shared memory; is the limit of memory or of open files too low?", message)
  end)
end)
