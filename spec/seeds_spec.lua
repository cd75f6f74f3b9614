-- run { seed = n }: math.random gives each item the same numbers, whichever worker takes it.
local contexts = require "spec.contexts"
local minigun = require "minigun"
local seeds = require "minigun.system.seeds"
local support = require "spec.support"

local random = math.random -- as many programs have it

local function draw() return random(1 << 40) end

-- What comes out, in an order that does not depend on the workers.
local function sorted(result)
  local lines = {}
  for i, item in ipairs(result.items) do lines[i] = table.concat(item, " ") end
  table.sort(lines)
  return lines
end

-- Every kind of handler in one context, each drawing numbers; it gives [kind, item, numbers...].
local kinds = {
  processor = function(p, options)
    p:processor("work", options, function(n, emit)
      local a, b = draw(), draw()
      emit { "first", n, a, b }
      emit { "second", n, draw() }
    end)
  end,
  map = function(p, options) p:map("work", options, function(n) return { n, draw(), draw() } end) end,
  flat_map = function(p, options)
    p:flat_map("work", options, function(n)
      local list = {}
      for i = 1, random(4) do list[i] = { n, i, draw() } end
      return list
    end)
  end,
  filter = function(p, options)
    p:filter("work", options, function() return random(2) == 1 end):map(function(n) return { n } end)
  end,
  loop = function(p, options)
    p:stage("work", options, function(input, emit)
      for n in input do emit { n, draw(), draw() } end
    end)
  end,
  batch = function(p, options)
    p:accumulator("work", { max_size = 5 })
    p:processor("on", options, function(batch, emit) emit { #batch, batch[1], draw() } end)
  end,
  retried = function(p, options)
    local more = { retries = 2 }
    for key, value in pairs(options) do more[key] = value end
    p:processor("work", more, function(n, emit, ctx)
      local drawn = draw()
      if ctx.attempt < 3 then error(tostring(drawn)) end
      emit { n, drawn }
    end)
  end,
  chain = function(p, options)
    p:pipeline("sub", options, function(q)
      q:map("a", function(n) return n + random(1000) / 1024 end):map("b", function(n) return { n, draw() } end)
    end)
  end,
}

local function run(kind, context, seed, count)
  local p = minigun.pipeline "p":producer("gen", contexts.range(1, count or support.short_or_long(8, 24)))
  kinds[kind](p, context.options)
  return sorted(p:run { seed = seed })
end

describe("run { seed = n }", function()
  local expected = {}
  setup(function()
    for kind in pairs(kinds) do expected[kind] = run(kind, contexts.all[1], 42) end
  end)

  for _, context in ipairs(contexts.kinds) do
    it(("gives the handlers of %s the numbers that they have inline, and others for another seed"):format(context.name),
      function()
        support.deadline(60)
        for kind in pairs(kinds) do
          if not (kind == "loop" and context.per_item) then
            assert.same(expected[kind], run(kind, context, 42), kind)
          end
        end
        assert.not_same(expected.map, run("map", context, 43))
      end)
  end

  it("gives other numbers to other items, other stages and other seeds", function()
    local p = minigun.pipeline "p":producer(contexts.range(1, 500)):map("a", function(n) return { n, draw() } end)
    p:map("b", { processes = 2 }, function(pair) return { pair[2], draw() } end)
    local numbers = {}
    for seed = -1, 1 do
      for _, pair in ipairs(p:run { seed = seed }.items) do
        table.move(pair, 1, 2, #numbers + 1, numbers)
      end
    end
    local _, different = contexts.counts(numbers)
    assert.equal(3000, different)
  end)

  it("leaves the program's own sequence as it is, and one without a seed is not touched by it", function()
    math.randomseed(7)
    local first, second = draw(), draw()
    math.randomseed(7)
    assert.equal(first, draw())
    minigun.pipeline "p":producer(function(emit) emit(draw()) end):map(draw):stage(function(input)
      for _ in input do draw() end
      draw()
    end):run { seed = 3 }
    assert.equal(second, draw())
  end)

  it("gives a producer one sequence, whatever runs while it emits", function()
    local function producer(emit)
      for i = 1, 300 do emit { i, draw() } end
    end
    local function of(options, build)
      local p = minigun.pipeline "p":producer("a", options, producer):producer("b", options, producer)
      return sorted(build(p):run { seed = 5 })
    end
    local plain = of({ inline = true }, function(p)
      return p:map("m", { from = { "a", "b" } }, function(x) return x end)
    end)
    assert.equal(600, #plain)
    for _, options in ipairs { { inline = true }, { processes = 1 }, { threads = 1 } } do
      for _, context in ipairs { contexts.kinds[1], contexts.kinds[2], contexts.kinds[4] } do
        assert.same(plain, of(options, function(p)
          return p:map("m", contexts.options(context, { from = { "a", "b" } }), function(x)
            draw()
            return x
          end)
        end))
      end
    end
  end)

  it("keeps threads that wait, and what runs meanwhile, apart", function()
    local function of(options)
      local p = minigun.pipeline "p":producer(contexts.range(1, 12))
      return sorted(p:map("m", options, function(n)
        local numbers = { n }
        for i = 1, 4 do
          numbers[i + 1] = draw()
          minigun.sleep(n % 3 * 0.002)
        end
        return numbers
      end):run { seed = 1 })
    end
    local inline = of { inline = true }
    for _, options in ipairs { { threads = 6 }, { processes = 2, threads = 3 }, { threads = 6, timeout = 5 } } do
      assert.same(inline, of(options))
    end
  end)

  it("is not disturbed by what a handler's emissions set going", function()
    local function of(options)
      local sum = 0
      minigun.pipeline "p":producer { 1 }:processor("many", options, function(_, emit)
        for _ = 1, 20000 do emit(random(1000)) end
      end):each("sum", { inline = true }, function(n)
        draw()
        sum = sum + n
      end):run { seed = 9 }
      return sum
    end
    assert.equal(of { inline = true }, of { processes = 1 })
  end)

  it("tells contents, not the order of a table's keys or where it lies", function()
    local a, b = {}, {}
    for i = 1, 50 do a["key" .. i], b["key" .. 51 - i] = i, 51 - i end
    assert.equal(seeds.number_of(a), seeds.number_of(b))
    assert.equal(seeds.number_of(minigun.decode(minigun.encode(a))), seeds.number_of(b))
    b.key7 = 8
    assert.not_equal(seeds.number_of(a), seeds.number_of(b))
    local seen, values = {}, { 0, 1, -1, 0.5, "", "0", "1", true, false, {}, { {} }, { 1 }, { 2 }, { 1, 2 }, { 2, 1 },
      { a = 1 }, { b = 1 }, { a = { 1 } }, { a = { b = 1 } }, math.huge, math.mininteger, math.maxinteger }
    for _, value in ipairs(values) do seen[seeds.number_of(value)] = true end
    local count = 0
    for _ in pairs(seen) do count = count + 1 end
    assert.equal(#values, count)
    assert.equal(seeds.number_of(2.0), seeds.number_of(2))
    local cycle = { 1 }
    cycle.self = cycle
    assert.equal(seeds.number_of(cycle), seeds.number_of(cycle))
  end)

  it("holds for one-liners, where the place in the list counts too", function()
    local function of(options)
      options.seed = 42
      return minigun.map({ 5, 5, 5, 5 }, function() return draw() end, options)
    end
    local numbers = of { processes = 2 }
    local _, different = contexts.counts(numbers)
    assert.equal(4, different)
    assert.same(numbers, of { inline = true })
  end)
end)
