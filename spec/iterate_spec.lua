-- R74: iterate hands out a result as soon as it is there, keeps none that it has handed out, and leads by a bounded
-- number of items and bytes. Nothing here depends on how quick the machine is.

local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local pace = require "minigun.policy.pace"
local support = require "spec.support"
local weigh = require "minigun.base.weight"

local options = contexts.options

local function each(f)
  for _, context in ipairs(contexts.kinds) do f(context, " [" .. context.name .. "]") end
end

-- Sleeps until the file is there, ten seconds at most.
local function wait_for(path)
  local deadline = core.now() + 10
  while not support.read_file(path) and core.now() < deadline do minigun.sleep(0.01) end
  return support.read_file(path) ~= nil
end

local function with_flag(f)
  local path = os.tmpname()
  os.remove(path)
  local ok, err = pcall(f, path)
  os.remove(path)
  assert(ok, err)
end

describe("R74 iterate", function()
  each(function(context, where)
    it("hands out a result while its source waits" .. where, function()
      for _, n in ipairs { 1, 3 } do
        with_flag(function(flag)
          local p = minigun.pipeline "slow":producer(function(emit)
            for i = 1, n do emit(i) end
            emit(wait_for(flag) and "in time" or "late")
          end):map(options(context), function(x) return x end)
          local seen = {}
          for item in p:iterate() do
            seen[#seen + 1] = item
            if #seen == n then support.write_file(flag, "") end
          end
          assert.equal(n + 1, #seen)
          assert.equal("in time", seen[n + 1])
        end)
      end
    end)

    it("hands out the first result while others are still at work, and does not wait for them" .. where, function()
      if context.inline and not context.threads then return end -- there is one at a time
      with_flag(function(flag)
        local p = minigun.pipeline "first":producer { "slow", "quick" }
          :map(options(context), function(x) return x == "slow" and wait_for(flag) and x or x end)
        local first = true
        for item in p:iterate() do
          if first then assert.equal("quick", item) end
          first = false
          support.write_file(flag, "")
        end
        os.remove(flag)
        local start = core.now()
        do
          local next_item, _, _, left = p:iterate()
          local _ <close> = left
          assert.equal("quick", next_item())
        end
        assert.is_true(core.now() - start < 8)
      end)
    end)

    it("keeps nothing that it has handed out" .. where, function()
      local alive = setmetatable({}, { __mode = "k" })
      local p = minigun.pipeline "kept":producer(function(emit)
        for i = 1, 12 do emit { i } end
      end):map(options(context), function(t) return t end)
      local most = 0
      for item in p:iterate() do
        alive[item] = true
        collectgarbage()
        collectgarbage()
        local n = 0
        for _ in pairs(alive) do n = n + 1 end
        most = math.max(most, n)
      end
      assert.is_true(most <= 2, most .. " of those handed out are kept") -- a for's variable may still be on the stack
    end)

    it("keeps nothing where several stages are terminal" .. where, function()
      local p = minigun.pipeline "two":producer(function(emit)
        for i = 1, 8 do emit { i } end
      end)
      p:processor("fork", { to = { "a", "b" } }, function(t, emit) emit { t[1] } end)
      p:map("a", options(context), function(t) return t end)
      p:map("b", options(context, { from = "fork" }), function(t) return t end)
      local alive, count, most = setmetatable({}, { __mode = "k" }), 0, 0
      for item in p:iterate() do
        alive[item], count = true, count + 1
        collectgarbage()
        collectgarbage()
        local n = 0
        for _ in pairs(alive) do n = n + 1 end
        most = math.max(most, n)
      end
      assert.equal(16, count)
      assert.is_true(most <= 4, most .. " of those handed out are kept")
    end)

    it("leads by few items and bytes" .. where, function()
      for _, size in ipairs { 10, 1 << 20 } do
        local count = context.per_item and 24 or size == 10 and 3000 or support.short_or_long(32, 60)
        local emitted, got, lead = 0, 0, 0
        local p = minigun.pipeline "lead":producer(function(emit)
          for i = 1, count do
            emitted = i
            emit(("x"):rep(size) .. i)
          end
        end):map(options(context), function(s) return s end)
        for _ in p:iterate() do
          got = got + 1
          lead = math.max(lead, emitted - got)
        end
        assert.equal(count, got)
        if size > 10 then assert.is_true(lead < 24, ("%d items of 1 MiB ahead"):format(lead)) end
      end
    end)
  end)

  it("leads by few items where nothing but the producer is there", function()
    local emitted = 0
    local p = minigun.pipeline "alone":producer(function(emit)
      for i = 1, 10000 do
        emitted = i
        emit(i)
      end
    end)
    local got, most = 0, 0
    for _ in p:iterate() do
      got = got + 1
      most = math.max(most, emitted - got)
    end
    assert.same({ 10000, true }, { got, most <= 256 }, most)
  end)

  it("leads by few bytes where nothing but the producer is there", function()
    local emitted, got, most, text = 0, 0, 0, ("x"):rep(1 << 18)
    local p = minigun.pipeline "alone":producer(function(emit)
      for i = 1, 100 do
        emitted = i
        emit(text .. i)
      end
    end)
    for _ in p:iterate() do
      got = got + 1
      most = math.max(most, emitted - got)
    end
    assert.equal(100, got)
    assert.is_true(most <= 8, ("%d items of 256 KiB ahead"):format(most))
  end)

  it("gives standard input's lines as they come", function()
    local program = [[
      local minigun = require "minigun"
      local p = minigun.pipeline "in":producer(%s):map({ processes = 2 }, string.upper)
      for line in p:iterate() do
        local file = assert(io.open(arg[1], "a"))
        file:write(line, "\n")
        file:close()
      end]]
    for _, source in ipairs { "io.lines()", "minigun.lines '-'",
      "function(emit) for line in io.lines() do emit(line) end end" } do
      with_flag(function(flag)
        local path = support.write_file(os.tmpname(), program:format(source))
        -- The second line comes when the first has gone through.
        local result = support.run(("(echo one; i=0; while ! [ -s %s ] && [ $i -lt 400 ]; do i=$((i+1)); " ..
          "sleep 0.02; done; [ -s %s ] && echo intime || echo late) | env %s lua5.4 %s %s"):format(flag, flag,
          support.env_words(support.lua_env()), path, flag))
        os.remove(path)
        assert.equal("", result.stderr)
        assert.equal("ONE\nINTIME\n", support.read_file(flag), source)
      end)
    end
  end)
end)

describe("the pace of a source", function()
  it("gives others their turn after each item of a slow source, and after hardly any of a fast one", function()
    local p, turns = pace.new(0), 0
    for i = 1, 100 do
      assert.is_true(p:due(i + 0.5))
      p:begin(i + 0.6)
    end
    p = pace.new(0)
    for i = 1, 10000 do
      if p:due(i * 1e-6) then
        turns = turns + 1
        p:begin(i * 1e-6)
      end
    end
    assert.is_true(turns >= 100 and turns < 1000, turns)
  end)

  it("after a rest the first items are passed on one by one; others' turns are no rest", function()
    local p = pace.new(0)
    for burst = 1, 3 do
      for i = 1, 50 do
        assert.is_true(p:due(burst * 10 + i * 1e-6))
        p:begin(burst * 10 + i * 1e-6)
      end
    end
    local turns = 0
    for i = 1, 1000 do
      if p:due(100 + i) then turns = turns + 1 end
      p:begin(100 + i + 1 - 1e-6)
    end
    assert.is_true(turns < 100, turns)
  end)

  it("never slows a source by more than a part of the time that it has blocked", function()
    local p, now, blocked, paused = pace.new(0), 0, 0, 0
    for _ = 1, 1000 do
      p:resume(now)
      now, blocked = now + 0.004, blocked + 0.004
      local seconds = p:ran(0.004, 0.004, true)
      if seconds then p.paused, now, paused = now, now + seconds, paused + seconds end
    end
    assert.is_true(paused > 0 and paused <= 0.011 + blocked / 4, paused)
    assert.is_true(math.abs(p.stood - blocked) < 1e-6)
  end)

  it("does not hold back one that computes, and no array", function()
    local p = pace.new(0)
    assert.is_true((p:ran(0.5, 0, true) or 0) < 0.001)
    assert.is_nil(pace.new(0, true):ran(0.5, 0, true))
    assert.equal(0, p.stood)
  end)

  it("measures its first turns, those after a slow one, and a few where one of several was slow", function()
    local p = pace.new(0)
    local function measured()
      local n = 0
      while p:resume(0) do n = n + 1 end
      return n
    end
    assert.equal(64, measured())
    p:ran(0.002, 0, false)
    assert.equal(64, measured())
    p:ran(0.0005, 0, false)
    assert.equal(0, measured())
    p:passed(0.002)
    assert.equal(4, measured())
    assert.is_false(pace.new(0, true):resume(0))
  end)
end)

describe("the weight of a value", function()
  it("is about what it takes", function()
    assert.equal(0, weigh(1))
    assert.equal(0, weigh(true))
    assert.equal(5, weigh "abcde")
    local list = {}
    for i = 1, 1000 do list[i] = ("x"):rep(1000) end
    assert.is_true(weigh(list) > 900000 and weigh(list) < 1200000)
    local round = {}
    round[1], round[2] = round, round
    assert.is_true(weigh(round) < 2000)
    assert.is_true(weigh(setmetatable({ ("x"):rep(100) }, { __pairs = error, __len = error, __index = error })) > 100)
  end)
end)
