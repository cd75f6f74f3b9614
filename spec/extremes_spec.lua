-- What is too much is refused with a clear text, or is right: never lost, never for ever.
local contexts = require "spec.contexts"
local core = require "minigun.core"
local minigun = require "minigun"
local options = require "minigun.language.schemas"
local plan = require "minigun.plan.plan"
local refusals = require "spec.refusals"
local report = require "minigun.base.protocol"

local function noop() end

describe("very many stages", function()
  local function chain(n, method, ...)
    local p = minigun.pipeline "p":producer("gen", { 1 })
    for i = 2, n do p[method](p, "stage " .. i, ...) end
    return p
  end

  local most <const> = options.MAX_STAGES
  after_each(function() options.MAX_STAGES = most end)

  it("R70 are refused at the definition that is one too many", function()
    assert.equal(20000, most)
    options.MAX_STAGES = 100
    local p = chain(100, "consumer", { to = {}, from = "gen" }, noop)
    refusals.check { { function() p:consumer("more", noop) end, "stage 'more': a pipeline has at most 100 stages" } }
  end)

  it("R70 are refused before the run where those inside batches and nested pipelines are too many", function()
    options.MAX_STAGES = 100
    local p = chain(51, "accumulator", { to = {}, from = "gen" }, noop)
    refusals.check { { function() p:run() end, "it has 101 stages", "100 are possible" } }
    local inner = minigun.pipeline "inner"
    for i = 1, 50 do inner:consumer("stage " .. i, { to = {} }, noop) end
    p = minigun.pipeline "p":producer("gen", { 1 }):pipeline("a", inner):pipeline("b", { from = "gen" }, inner)
    refusals.check { { function() p:run() end, "100 are possible" } }
    options.MAX_STAGES = 101
    p:run()
  end)

  it("R70 find room in one chain", function()
    local functions = setmetatable({}, { __index = function() return noop end })
    local calls = core.chain(most, most, noop, core.process(), functions)
    for id = 1, most do calls:link(id, 0, noop, functions) end
    calls:connect(most, {}, noop)
    calls:direct(most, true, function(sum, n) return sum + n end)
    calls:fold(most, 1)
    calls:push(most, 2, 1)
    assert.same({ 2, 3 }, { calls:folded(most) })
  end)

  it("R70 are numbered so that no number says anything else, and many get their items", function()
    assert.is_true(report.TO > options.MAX_STAGES and report.TO | options.MAX_STAGES < report.EDGE)
    local p = chain(300, "consumer", { await = true, to = {} }, noop)
    p:processor("fork", { from = "gen", processes = 1, to = "last" }, function(n, emit)
      emit(n)
      emit:to("last but one", n + 1)
    end)
    p:processor("last but one", { await = true, to = {} }, function(n, emit) emit(n) end)
    p:processor("last", { processes = 1, to = {} }, function(n, emit) emit(n) end)
    local result = p:run()
    assert.same({ { 1 }, { 2 } }, { result:of "last", result:of "last but one" })
  end)
end)

describe("very large sizes", function()
  it("R70 of batches and waits are refused", function()
    local p = minigun.pipeline "p":producer { 1 }
    refusals.check {
      { function() p:batch(2 ^ 32) end, "the size must be an integer from 1 to 4294967295, got 4294967296" },
      { function() p:batch(math.maxinteger) end, "from 1 to 4294967295" },
      { function() p:accumulator { max_size = 1 << 40 } end, "'max_size' must be an integer from 1 to 4294967295" },
      { function() p:map({ backoff = 1e6 }, noop) end, "'backoff' must be a number of seconds from 0 to 604800" },
      { function() p:map({ backoff = { max = 604801 } }, noop) end, "from 0 to 604800 (a week), got 604801" },
    }
    p:map({ backoff = 604800, retries = 1 }, noop)
  end)

  for _, context in ipairs(contexts.kinds) do
    it(("the largest possible batch works in %s"):format(context.name), function()
      local p = minigun.pipeline "p":producer(context.options, function(emit) for i = 1, 50 do emit(i) end end)
      p:batch(0xffffffff):map(context.options, function(batch) return #batch end)
      assert.same({ 50 }, p:run().items)
    end)
  end

  it("R70 more workers than a run can have are refused before anything is forked, at the stage's line", function()
    local p, forks = minigun.pipeline "p":producer { 1 }, 0
    p:before_fork(function() forks = forks + 1 end)
    for i = 1, 4 do p:map("m" .. i, { processes = 1023 }, math.abs) end
    assert.equal(4, #plan.build(p).segments - 1)
    p:map("m5", { fork = 5 }, math.abs)
    local ok, message = pcall(p.run, p)
    assert.is_false(ok)
    assert.matches("^spec/extremes_spec.lua:%d+: stage 'm5': with process_per_batch%(5%) the run would have 4097 " ..
      "workers; 4096 are possible in all$", message)
    assert.equal(0, forks)
    assert.matches("4096 are possible", select(2, pcall(p.run, p, { workers = 1024 })))
  end)
end)

describe("keys that are equal in Lua", function()
  local numbers = {}
  for i = -20, 20 do
    numbers[#numbers + 1] = i
    numbers[#numbers + 1] = i + 0.0
  end
  numbers[#numbers + 1] = -0.0

  for _, context in ipairs { contexts.kinds[1], contexts.kinds[2], contexts.kinds[4], contexts.kinds[5] } do
    it(("partition: 1 and 1.0, 0.0 and -0.0 go to one worker, in order [%s]"):format(context.name), function()
      local p = minigun.pipeline "p":producer(numbers)
      p:processor(contexts.options(context, { partition = function(n) return n end }), function(n, emit, ctx)
        emit { n, ctx.worker or 0 }
      end)
      local worker, seen = {}, 0
      for _, pair in ipairs(p:run().items) do
        worker[pair[1]] = worker[pair[1]] or pair[2]
        assert.equal(worker[pair[1]], pair[2], tostring(pair[1]))
        seen = seen + 1
      end
      assert.equal(#numbers, seen)
    end)

    it(("by: they are one batch [%s]"):format(context.name), function()
      local p = minigun.pipeline "p":producer({ inline = true }, numbers)
      p:accumulator(contexts.options(context, { max_size = 100, by = function(n) return n end }), function(batch, emit)
        emit { batch[1], #batch }
      end)
      local batches = p:run().items
      assert.equal(41, #batches)
      for _, batch in ipairs(batches) do assert.equal(batch[1] == 0 and 3 or 2, batch[2]) end
    end)
  end
end)

describe("forged bytes", function()
  -- Maps of n pairs whose keys all lie at one place of Lua's table.
  local forged = {
    integers = function(n)
      local places = 1
      while places < n do places = places * 2 end
      return function(i) return string.pack(">Bi8", 0xd3, i * (places - 1)) end
    end,
    ["integers, by powers of two"] = function() return function(i) return string.pack(">Bi8", 0xd3, i << 24) end end,
    floats = function() return function(i) return string.pack(">BI8", 0xcb, 0x3ff0000000000000 | i) end end,
  }

  local function message(n, key)
    local parts = { string.pack(">BI4", 0xdf, n) }
    for i = 1, n do parts[i + 1] = key(i) .. "\xc3" end
    return table.concat(parts)
  end

  local function seconds_of(f)
    local began = os.clock()
    f()
    return os.clock() - began
  end

  for name, maker in pairs(forged) do
    it("R70 of 800 KB, " .. name .. " as colliding keys, take no longer than other bytes", function()
      local n = 80000
      local plain = message(n, function(i) return string.pack(">Bi8", 0xd3, i * 3) end)
      local usual = seconds_of(function() assert(minigun.decode(plain)) end)
      local bytes, value, problem = message(n, maker(n)), nil, nil
      local took = seconds_of(function() value, problem = minigun.decode(bytes) end)
      assert.is_true(took < 20 * usual + 0.2, ("%g s, others %g s"):format(took, usual))
      if value == nil then
        assert.matches("map of 80000 pairs whose keys collide in a table of Lua's, at byte %d+ of %d+", problem)
      end
    end)
  end

  it("maps that are honest are read, however large, and those that collide a little, too", function()
    local function check(t)
      local bytes = core.encode(t)
      local copy = assert(core.decode(bytes))
      for key, value in pairs(t) do
        if copy[key] ~= value then error(("%s is %s, not %s"):format(key, copy[key], value)) end
      end
    end
    for _, step in ipairs { 1000, 4096, 65536, 1 << 32, 7, 0.1, 1e-9, 1e15 } do
      local t = {}
      for i = 1, 20000 do t[i * step] = i end
      t.name = "x"
      check(t)
    end
    local few, mixed = {}, {}
    for i = 1, 2500 do few[i * 4095] = i end
    for i = 1, 6000 do mixed["key" .. i], mixed[i * 3 + 0.5] = i, i end
    check(few)
    check(mixed)
  end)
end)
