-- What workers report is read from memory that all of them can write to: each kind of report is taken only as its
-- kind is, with every field that is used.
local report = require "minigun.base.protocol"

local PLAN <const> = { stages = { { name = "a" }, { name = "b" } } }
local MANY <const> = (1 << 32) + 1

-- Sound reports, and for each of their places values that do not stand there.
local function failure_of(changes)
  local fields = { kind = "error", attempt = 1, message = "m", index = 3, place = 4 }
  for key, value in pairs(changes or {}) do fields[key] = value end
  return fields
end

local function without(key)
  local fields = failure_of()
  fields[key] = nil
  return fields
end

local SOUND <const> = {
  { report.COLLECT, "results", { 1 } }, { report.COLLECT, "results", false, 2 }, { report.COLLECT, 1, nil, 1 },
  { report.COUNT, "lines", 1 }, { report.COUNT, "lines", -0.5 },
  { report.FAILED, 1, failure_of() }, { report.LOST, 2, failure_of { kind = "crash" } },
  { report.FAILED, 1, without "message" }, { report.FAILED, 1, without "index" }, { report.FAILED, 1, without "place" },
  { report.FAILED, 1, failure_of { attempt = 0, index = 1 << 32, place = 0 } },
  { report.RESUMED, 1, 0 }, { report.RESUMED, 2, 7 },
  { report.HOOK, "before", "init.lua:1", "what it said" },
  { report.RETURNED, 2 },
  { report.STATS }, { report.STATS, { 1, 2, 3, 0.5 } }, { report.STATS, { 1, 0, 0, 0, { [1] = 2 } }, { 2, 1, 1, 1 } },
}

local UNSOUND <const> = {
  { report.COLLECT }, { report.COLLECT, nil, 1 }, { report.COLLECT, "results", 1, 3 },
  { report.COUNT, nil, 1 }, { report.COUNT, "lines" }, { report.COUNT, "lines", "1" },
  { report.FAILED, 3, failure_of() }, { report.FAILED, 1.5, failure_of() }, { report.FAILED, "a", failure_of() },
  { report.FAILED, 1 }, { report.FAILED, 1, "error" }, { report.LOST, nil, failure_of() },
  { report.FAILED, 1, without "kind" }, { report.FAILED, 1, failure_of { kind = "none" } },
  { report.FAILED, 1, without "attempt" }, { report.FAILED, 1, failure_of { attempt = -1 } },
  { report.FAILED, 1, failure_of { attempt = 1.0 } }, { report.FAILED, 1, failure_of { attempt = MANY } },
  { report.FAILED, 1, failure_of { message = { "m" } } }, { report.FAILED, 1, failure_of { message = 1 } },
  { report.FAILED, 1, failure_of { message = false } },
  { report.FAILED, 1, failure_of { index = -1 } }, { report.FAILED, 1, failure_of { index = "1" } },
  { report.FAILED, 1, failure_of { place = MANY } }, { report.FAILED, 1, failure_of { place = 0.5 } },
  { report.RESUMED, 1 }, { report.RESUMED, 1, -1 }, { report.RESUMED, 3, 1 }, { report.RESUMED, nil, 1 },
  { report.HOOK, 1, "at", "text" }, { report.HOOK, "before", nil, "text" }, { report.HOOK, "before", "at" },
  { report.RETURNED }, { report.RETURNED, 3 },
  { report.STATS, 1 }, { report.STATS, { 3, 1, 1, 1 } }, { report.STATS, { 1, 0.5, 1, 1 } },
  { report.STATS, { 1, 1, "x", 1 } }, { report.STATS, { 1, 1, 1 } }, { report.STATS, { 1, 1, 1, 1, 1 } },
  { report.STATS, { 1, 1, 1, 1, { a = 1 } } }, { report.STATS, { 1, 1, 1, 1, { [1] = -1 } } },
  { report.STATS, { 1, 1, 1, 1 }, { 2, 1, 1 } },
  {}, { "no kind" }, { -1, 1, 1, 1 },
}

describe("a worker's report", function()
  it("has a kind of its own", function()
    local names = {}
    for _, name in ipairs { "COLLECT", "COUNT", "STATS", "FAILED", "LOST", "HOOK", "RESUMED", "RETURNED" } do
      local kind = report[name]
      assert.equal("integer", math.type(kind), name)
      assert.is_nil(names[kind], name)
      names[kind] = name
    end
  end)

  it("is sound where each of its fields is what its kind has", function()
    for i, r in ipairs(SOUND) do assert.is_truthy(report.is_sound(r, PLAN), "sound " .. i) end
  end)

  it("is not where one of them is something else", function()
    for i, r in ipairs(UNSOUND) do assert.is_falsy(report.is_sound(r, PLAN), "unsound " .. i) end
    for _, r in ipairs { "text", 1, true, print } do assert.is_false(report.is_sound(r, PLAN)) end
  end)
end)
