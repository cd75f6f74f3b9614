-- Futures, with an owner that settles one in each round: no process, no pool.
local core = require "minigun.core"
local failure = require "minigun.base.failure"
local futures = require "minigun.futures.future"
local several = require "minigun.futures.several"

-- An owner whose futures are settled one a round, the first one first; `says(future)` settles.
local function new_owner(says)
  local own = { rounds = 0, open = {}, bell = assert(core.poller()) }
  own.bell:wake(0)
  function own:round()
    self.rounds = self.rounds + 1
    local first = table.remove(self.open, 1)
    if first and not first.state then (says or futures.settle)(first, first.key) end
  end
  function own:advance(deadline)
    if not self.stuck then return self:round() end
    core.sleep(math.max(0, deadline - core.now()))
  end
  function own:step() self:round() end
  function own:fd() return self.bell:fd() end
  function own.cancel(_, future)
    futures.fail(future, failure.new { kind = "cancelled" })
    return true
  end
  function own:submit(key)
    local future = futures.new(self, key)
    self.open[#self.open + 1] = future
    return future
  end
  return own
end

local function close(...)
  for _, own in ipairs { ... } do own.bell:close() end
end

local function keys(list)
  local names = {}
  for i, each in ipairs(list) do names[i] = each.key end
  return table.concat(names, " ")
end

describe("a future", function()
  it("gives what came of it, as often as it is asked", function()
    local own = new_owner()
    local a, b = own:submit "a", own:submit "b"
    assert.is_false(b:done())
    assert.equal("b", b:result())
    assert.equal(2, own.rounds)
    assert.equal("b", b:result(0))
    assert.is_true(a:done())
    assert.is_nil(a:failure())
    assert.equal('future: "a"', tostring(a))
    close(own)
  end)

  it("says when the time is over before", function()
    local own = new_owner()
    own.stuck = true
    local future, began = own:submit "a", core.now()
    assert.same({ nil, "timeout" }, { future:result(0.05) })
    assert.is_true(core.now() - began >= 0.05)
    assert.is_false(future:done())
    close(own)
  end)

  it("raises its failure, an object that names the caller's line", function()
    local own = new_owner(function(future) futures.fail(future, failure.new { kind = "error", message = "boom" }) end)
    local future = own:submit "a"
    local ok, err = pcall(function() future:result() end)
    assert.is_false(ok)
    assert.equal("error", err.kind)
    assert.is_truthy(tostring(err):find("boom\nthe result was asked for at ./spec/futures_spec.lua:%d+$") or
      tostring(err):find("boom\nthe result was asked for at spec/futures_spec.lua:%d+$"), tostring(err))
    assert.equal(err, future:failure())
    close(own)
  end)

  it("is cancelled once, and not when it is settled", function()
    local own = new_owner()
    local a, b = own:submit "a", own:submit "b"
    assert.is_true(a:cancel())
    assert.is_false(a:cancel())
    assert.equal("cancelled", a:failure().kind)
    assert.equal("b", b:result())
    assert.is_false(b:cancel())
    close(own)
  end)

  it("calls each function once, at once where it is settled; an error is its owner's", function()
    local own, heard = new_owner(), {}
    local a = own:submit "a"
    a:on_done(function() heard[#heard + 1] = 1 end):on_done(function() error "mine" end)
    a:on_done(function(f) heard[#heard + 1] = f:result() end)
    local problem = futures.settle(a, "a")
    assert.is_truthy(problem.message:find "futures_spec.lua:%d+: mine")
    assert.same({ 1, "a" }, heard)
    a:on_done(function() heard[#heard + 1] = "late" end)
    assert.same({ 1, "a", "late" }, heard)
    close(own)
  end)

  it("blames mistakes on the caller", function()
    local own = new_owner()
    local a = own:submit "a"
    local _, err = pcall(function() a.result() end)
    assert.is_truthy(err:find "futures_spec.lua:%d+: future:result: call it with a colon", err)
    assert.error_matches(function() a:result "1" end, "future:result: seconds")
    assert.error_matches(function() a:on_done(1) end, "future:on_done: a function expected, got 1")
    assert.error_matches(function() several.wait_all { 1 } end, "a future expected at %[1%], got 1")
    assert.error_matches(function() several.wait_all({}, { first = "x" }) end, "options are")
    assert.error_matches(function() several.wait_all({}, 5) end, "options must be a table, got 5")
    assert.error_matches(function() several.as_completed(1) end, "a list of futures expected, got 1")
    close(own)
  end)
end)

describe("several futures", function()
  it("come in the order in which they are settled, also of several owners, also one twice", function()
    local one, two = new_owner(), new_owner()
    local a, b, c = one:submit "a", one:submit "b", two:submit "c"
    futures.settle(b, "b")
    local seen = {}
    for future in several.as_completed { a, b, c, b } do seen[#seen + 1] = future.key end
    assert.same({ "b", "b" }, { seen[1], seen[2] })
    table.sort(seen)
    assert.equal("a b b c", table.concat(seen, " "))
    close(one, two)
  end)

  it("end early where the time is over, one is settled, or one has failed", function()
    local own = new_owner(function(future)
      if future.key == "b" then futures.fail(future, failure.new { kind = "error", message = "boom" })
      else futures.settle(future, future.key) end
    end)
    local list = { own:submit "a", own:submit "b", own:submit "c" }
    local done, others = several.wait_all(list, { first = "done" })
    assert.same({ "a", "b c" }, { keys(done), keys(others) })
    done, others = several.wait_all(list, { first = "failure" })
    assert.same({ "a b", "c" }, { keys(done), keys(others) })
    own.stuck = true
    done, others = several.wait_all(list, { timeout = 0.02 })
    assert.same({ "a b", "c" }, { keys(done), keys(others) })
    local n = 0
    for _ in several.as_completed(list, 0.02) do n = n + 1 end
    assert.equal(2, n)
    own.stuck = false
    assert.equal(3, #several.wait_all(list))
    close(own)
  end)
end)
