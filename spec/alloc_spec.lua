-- What a Lua state frees while runs last, and is given again.
local contexts = require "spec.contexts"
local core = require "minigun.core"
local minigun = require "minigun"
local support = require "spec.support"

local seed = tonumber(os.getenv "SEED") or os.time()

-- Whether anything can be kept here: not under a sanitizer or another malloc.
local function possible()
  local is = core.keep_freed(true)
  core.keep_freed(false)
  return is
end

describe("what is kept", function()
  it("does not depend on how the heap lies: malloc gives more where a rest would be too small", function()
    if not possible() then return pending "another malloc" end
    for n = 0, 20 do
      local result = support.run_lua(([[
        Kept = ("x"):rep(100 * %d)
        require "minigun"
        print(require "minigun.core".keep_freed(true))]]):format(n))
      assert.equal("true\n", result.stdout, result.stderr)
    end
  end)

  it("is large blocks, too: their pages are touched for the first time once", function()
    if not possible() then return pending "another malloc" end
    local result = support.run_lua [[
      local core = require "minigun.core"
      local function faults()
        local file <close> = io.open "/proc/self/stat"
        local _, _, rest = file:read "a":find "%) (.*)"
        local words = {}
        for word in rest:gmatch "%S+" do words[#words + 1] = word end
        return tonumber(words[8])
      end
      core.keep_freed(true)
      local bytes = core.encode(("x"):rep(40 << 20))
      local before, pages = faults(), (40 << 20) // 4096
      for _ = 1, 10 do
        core.decode(bytes)
        collectgarbage()
      end
      print((faults() - before) / pages < 3)
      core.keep_freed(false)
      local file <close> = io.open "/proc/self/statm"
      print(tonumber(file:read "a":match "^%d+ (%d+)") < 3 * pages)]]
    assert.equal("true\ntrue\n", result.stdout, result.stderr)
  end)
end)

describe("the collector of a child", function()
  it("rests until so much was allocated, in the middle of a handler too, and has its own pace then", function()
    local result = support.run_lua([[
      local core = require "minigun.core"
      local heap = {}
      for i = 1, 100000 do heap[i] = { i } end
      collectgarbage()
      core.keep_freed(true)
      local function cycles(kib)
        local n = 0
        local function canary()
          setmetatable({}, { __gc = function()
            n = n + 1
            if n < 100 then canary() end
          end })
        end
        canary()
        local till = collectgarbage "count" + kib
        for _ = 1, 50 * kib do heap[1] = ("x"):rep(1000) .. math.random() if n > 1 then break end end
        return n
      end
      core.defer_collector(16 << 10)
      print(cycles(100) == 0, cycles(2000) > 0)
      core.keep_freed(false)
      core.keep_freed(true)
      core.defer_collector(16 << 10)
      core.collect()
      print(cycles(2000) > 0)]])
    assert.equal("true\ttrue\ntrue\n", result.stdout, result.stderr)
  end)

  it("keeps its mode when a child begins to collect", function()
    local before = collectgarbage "incremental"
    finally(function() collectgarbage(before) end)
    for _, mode in ipairs { "incremental", "generational" } do
      collectgarbage(mode)
      core.collect()
      assert.equal(mode, collectgarbage(mode))
    end
  end)
end)

describe("small pieces of memory that were freed", function()
  it("are kept while a run lasts, and not after it", function()
    local seen
    assert.is_false(core.keep_freed())
    minigun.pipeline("p"):producer({ 1 }):each(function() seen = core.keep_freed() end):run()
    assert.equal(possible(), seen)
    assert.is_false(core.keep_freed())
  end)

  it("are kept until the last of several runs has ended, however it does", function()
    local outer = minigun.pipeline("outer"):producer(contexts.range(1, 3)):each(function()
      pcall(function()
        minigun.pipeline("inner"):producer({ 1 }):each(function() error "oh" end):run()
      end)
      assert(core.keep_freed() == possible())
    end)
    outer:run()
    assert.is_false(core.keep_freed())
    assert.has_error(function() minigun.pipeline("p"):producer({ 1 }):before_run(function() error "no" end):run() end)
    assert.is_false(core.keep_freed())
    local run = minigun.pipeline("p"):producer({ 1 }):start()
    assert.equal(possible(), core.keep_freed())
    run:kill()
    assert.is_false(core.keep_freed())
    assert.is_false(core.keep_freed(false)) -- once too often
    assert.is_false(core.keep_freed())
  end)

  it("are what they were: values of all sizes, made before, meanwhile and afterwards", function()
    math.randomseed(seed)
    local live = {}
    local function step()
      local at, n = math.random(200), math.random(600)
      local old = live[at]
      local same = not old or old.text == (string.char(old.n % 26 + 97)):rep(old.n)
      for i = 1, old and #old.list or 0 do same = same and old.list[i] == i end
      if not same then error("another value than it was, SEED=" .. seed) end
      local list = {}
      for i = 1, math.random(40) do list[i] = i end
      live[at] = { n = n, text = (string.char(n % 26 + 97)):rep(n), list = list }
      if math.random(500) == 1 then collectgarbage() end
    end
    for _ = 1, support.short_or_long(20, 200) do
      core.keep_freed(true)
      for _ = 1, 500 do step() end
      core.keep_freed(false)
      for _ = 1, 100 do step() end
    end
  end)

  it("are kept in workers too, which begin without those of the coordinator", function()
    local p = minigun.pipeline("p"):producer(contexts.range(1, 20))
    p:map("w", { processes = 2 }, function(i)
      local list = {}
      for k = 1, 1000 do list[k] = { k, tostring(k + i) } end
      return #list == 1000 and core.keep_freed()
    end)
    for _, kept in ipairs(p:run().items) do assert.equal(possible(), kept) end
  end)

  it("do not outlive a state that is closed in the middle of a run", function()
    local result = support.run_lua [[
      local minigun = require "minigun"
      run = minigun.pipeline("p"):producer({ 1, 2, 3 }):start()
      setmetatable({}, { __gc = function() for i = 1, 1000 do local _ = { i, tostring(i) } end end })
      print "end"
    ]]
    assert.equal(0, result.code)
    assert.equal("end\n", result.stdout)
  end)
end)
