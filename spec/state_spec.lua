-- The states of a run, and that it is one thing with parts that say what they have.

local fatal = require "minigun.base.fatal"
local core = require "minigun.core"
local minigun = require "minigun"
local runs = require "minigun.run.run"
local states = require "minigun.run.state"
local support = require "spec.support"

local function walk(...)
  local own = states.new()
  for _, name in ipairs { ... } do own:become(name) end
  return own
end

describe("the state of a run", function()
  it("goes from one to the next, and no other way", function()
    walk("RUNNING", "DRAINED", "FINISHING", "OVER")
    walk("RUNNING", "STOPPING", "DRAINED", "FINISHING", "OVER")
    for _, way in ipairs { { "DRAINED" }, { "RUNNING", "FINISHING" }, { "RUNNING", "OVER" },
      { "RUNNING", "STOPPING", "RUNNING" }, { "RUNNING", "DRAINED", "STOPPING" },
      { "RUNNING", "DRAINED", "FINISHING", "OVER", "ABORTED" } } do
      assert.is_false(pcall(walk, table.unpack(way)), table.concat(way, " "))
    end
  end)

  it("is aborted from any but the last, and closed after that", function()
    for _, way in ipairs { {}, { "RUNNING" }, { "RUNNING", "STOPPING" }, { "RUNNING", "DRAINED" },
      { "RUNNING", "DRAINED", "FINISHING" } } do
      local own = walk(table.unpack(way))
      own:abort()
      own:abort()
      assert.is_true(own.aborted)
      own:close()
      assert.equal("OVER", own.name)
    end
    local own = walk("RUNNING", "DRAINED", "FINISHING")
    own:close()
    assert.is_false(own.aborted)
    own:abort()
    assert.equal("OVER", own.name)
  end)

  it("keeps the first error, and raises it", function()
    local own = walk "RUNNING"
    local ok, err = pcall(own.fail, own, "first")
    assert.is_false(ok)
    assert.equal(err, select(2, pcall(own.fail, own, "second")))
    assert.equal("first", own.failed.text)
    assert.is_true(own.aborted)
  end)

  it("needs no memory for that, so that a run is ended by the lack of it, and says so", function()
    local function bytes()
      local own, before = states.new(), collectgarbage "count"
      own:become "RUNNING"
      own:abort()
      own:close()
      return (collectgarbage "count" - before) * 1024
    end
    collectgarbage "stop"
    bytes()
    local taken = bytes()
    collectgarbage "restart"
    assert.equal(0.0, taken)
  end)

  it("knows where it has been, and says what it expected", function()
    local own = walk("RUNNING", "DRAINED")
    assert.is_true(walk("RUNNING", "DRAINED", "FINISHING"):is_finished())
    assert.is_false(walk("RUNNING", "STOPPING"):is_finished())
    own:must_be("NEW", "DRAINED")
    assert.has_error(function() own:must_be("NEW", "RUNNING") end, "the run is DRAINED; expected: NEW, RUNNING")
    local asked = walk "RUNNING"
    assert.is_false(asked:must_stop())
    asked.stop_asked = true
    assert.is_true(asked:must_stop())
    asked:become "STOPPING"
    assert.is_false(asked:must_stop())
  end)
end)

describe("a run", function()
  local function new()
    local p = minigun.pipeline "p"
    p:producer("n", { 1 })
    p:map("m", { processes = 1 }, function(n) return n end)
    return runs.new(p)
  end

  it("has no field that is not in its constructor", function()
    local r <close> = new()
    r.state:become "RUNNING"
    assert.has_error(function() r.something = 1 end)
    assert.has_error(function() return r.something end)
    assert.has_error(function() r.ledger.something = 1 end)
    assert.is_false(pcall(function() return r.failures.retries end))
  end)

  it("has at most twenty parts, each of which knows the others by name", function()
    local r <close> = new()
    r.state:become "RUNNING"
    local parts = 0
    for name, field in pairs(r) do
      if (type(field) == "table" or name == "resume") and name ~= "pipeline" then parts = parts + 1 end
    end
    assert.is_true(parts <= 20, parts .. " parts")
    assert.equal(r.ledger, r.transport.ledger)
    assert.equal(r.transport, r.failures.transport)
    assert.equal(core.pid(), r.failures.pid)
  end)

  it("is gone back into from inside at the places that reentry.lua lists, and no others", function()
    local callers = {}
    for path in io.popen "grep -rlE 'reentry:enter|self:enter ' lua/minigun/run lua/minigun/contexts":lines() do
      callers[#callers + 1] = path:match "([^/]+)%.lua$"
    end
    table.sort(callers)
    assert.same({ "failures", "producers", "reentry", "transport" }, callers)
    local head = support.read_file "lua/minigun/run/reentry.lua":match "^(.-)\n\n?local"
    for _, name in ipairs { "failures.lua, retry_in_place", "transport.lua, hold_back", "producers.lua, let_others" } do
      assert.is_truthy(head:find(name, 1, true), name)
      local file, f = name:match "(%S+), (%S+)"
      assert.is_truthy(support.read_file("lua/minigun/run/" .. file):find(f .. "(", 1, true), name)
    end
  end)

  it("is begun once, and not stepped before or after", function()
    local r <close> = new()
    assert.has_error(function() r.loop:step() end)
    r:close()
    assert.has_error(function() r.loop:step() end)
    assert.has_error(function() r:begin() end)
  end)

  it("is aborted by what fails it and by the user, once, and not when it is over", function()
    local state = require "minigun.run.state"
    local s = state.new()
    s:become "RUNNING"
    local ok, err = pcall(s.fail, s, "broken")
    assert.is_false(ok)
    assert.is_true(fatal.is(err))
    assert.same({ true, "ABORTED", false }, { s.aborted, s.name, s.killed })
    assert.equal(err, select(2, pcall(s.fail, s, "again"))) -- the first is what it has failed of
    s = state.new()
    s:kill()
    assert.same({ true, "ABORTED", true }, { s.aborted, s.name, s.killed })
    s = state.new()
    for _, name in ipairs { "RUNNING", "DRAINED", "FINISHING", "OVER" } do s:become(name) end
    s:abort()
    assert.same({ false, "OVER" }, { s.aborted, s.name })
  end)
end)
