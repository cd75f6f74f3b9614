-- The table form of a pipeline, and the one-liners.
local minigun = require "minigun"
local contexts = require "spec.contexts"

local sorted, options = contexts.sorted, contexts.options

local function message_of(f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  return message
end

describe("a pipeline as a table", function()
  it("runs as if its methods had been called", function()
    for _, context in ipairs(contexts.all) do
      local stored = {}
      local p = minigun.pipeline {
        name = "errors",
        source = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 },
        options(context, { "double", map = function(x) return 2 * x end }),
        { "small", filter = function(x) return x < 15 end },
        { "twice", flat_map = function(x) return { x, -x } end },
        { "batch", max_size = 4 },
        { "sum", run = function(batch, emit)
          for _, x in ipairs(batch) do emit(x) end
        end, process_per_batch = 2, to = "store" },
        { "store", each = function(x) stored[#stored + 1] = x end, inline = true },
      }
      local result = p:run()
      assert.equal("errors", result.pipeline)
      assert.same({ -14, -12, -10, -8, -6, -4, -2, 2, 4, 6, 8, 10, 12, 14 }, sorted(stored))
    end
  end)

  it("lets a row without a context share the workers of the row before it", function()
    local p = minigun.pipeline {
      source = { 1, 2, 3, 4 },
      { "a", processes = 2, run = function(_, emit, ctx) emit(ctx.pid) end },
      { "b", run = function(pid, emit, ctx) emit(pid == ctx.pid) end },
    }
    assert.same({ true, true, true, true }, p:run().items)
  end)

  it("takes options of its runs, several sources, accumulators with a handler, and the methods afterwards", function()
    local p = minigun.pipeline {
      failures = "collect",
      { "one", source = { 1, 2 }, to = "sums" }, { "two", source = { 3 } },
      { "sums", by = function(x) return x % 2 end, run = function(batch, emit)
        local sum = 0
        for _, x in ipairs(batch) do sum = sum + x end
        emit(sum)
      end },
    }
    p:map("plus", function(x)
      if x == 2 then error "two" end
      return x + 1
    end)
    local result = p:run()
    assert.same({ 5 }, result.items)
    assert.equal(1, #result.failures)
  end)

  it("refuses at the user's line what it cannot understand", function()
    local cases = {
      { function() return (minigun.pipeline { source = { 1 }, { "a" } }) end, "row 1.*'a'.*say what it does" },
      { function() return (minigun.pipeline { source = { 1 }, { "a", map = print, each = print } }) end, "both say" },
      { function() return (minigun.pipeline { source = { 1 }, 5 }) end, "row 1.*table expected, got 5" },
      { function() return (minigun.pipeline { source = { 1 }, { 5, map = print } }) end, "name must be a string" },
      { function() return (minigun.pipeline { source = { 1 }, { "a", map = print, proceses = 2 } }) end, "processes" },
      { function() return (minigun.pipeline { sauce = { 1 }, { "a", map = print } }) end, "unknown option 'sauce'" },
    }
    for _, case in ipairs(cases) do
      local text = message_of(case[1])
      assert.matches("shorthand_spec.lua:%d+: ", text)
      assert.matches(case[2], text)
    end
  end)
end)

describe("minigun.map", function()
  it("gives the results in the order of the list, in every context", function()
    for _, context in ipairs(contexts.all) do
      local list, expected = {}, {}
      for i = 1, context.size do list[i], expected[i] = i, i * i end
      assert.same(expected, minigun.map(list, function(x) return x * x end, options(context)))
    end
    assert.same({ 9, 1, 4 }, minigun.map({ 3, 1, 2 }, function(n) return n * n end))
    assert.same({}, minigun.map({}, print))
  end)

  it("leaves a hole for nil, keeps false, retries, and raises for what fails", function()
    assert.same({ [1] = 1, [3] = false }, minigun.map({ 1, 2, 3 }, function(x)
      if x == 1 then return 1 end
      if x == 3 then return false end
    end, { processes = 2 }))
    assert.matches("shorthand_spec.lua:%d+: two", message_of(function()
      minigun.map({ 1, 2 }, function(x) if x == 2 then error "two" end return x end, { processes = 2 })
    end))
    assert.matches("a list expected, got nil", message_of(function() minigun.map(nil, print) end))
    assert.matches("a function expected", message_of(function() minigun.map({ 1 }) end))
    assert.matches("did you mean 'processes'", message_of(function() minigun.map({ 1 }, print, { process = 2 }) end))
    assert.matches("option 'to'", message_of(function() minigun.map({ 1 }, print, { to = "a" }) end))
    assert.matches("options must be a table, got 4", message_of(function() minigun.map({ 1 }, print, 4) end))
  end)

  it("gives the failures beside the results, with failures = \"collect\"; they show the element", function()
    for _, context in ipairs(contexts.kinds) do
      local results, failures = minigun.map({ 10, 20, 30, { "x" } }, function(x)
        if x == 20 then error { twenty = true } end
        if x == 30 then return context.inline and error "thirty" or print end
        return x
      end, options(context, { failures = "collect" }))
      assert.same({ [1] = 10, [4] = { "x" } }, results)
      assert.equal(2, #failures)
      table.sort(failures, function(a, b) return a.item < b.item end)
      assert.same({ 20, 30 }, { failures[1].item, failures[2].item })
      assert.same({ twenty = true }, failures[1].error)
      assert.matches(context.inline and "thirty" or "^spec/shorthand_spec%.lua:%d+: item is a function$",
        failures[2].message)
    end
    local results, failures = minigun.map({ 1, { deep = { print } }, 3 }, function(x) return x end,
      { processes = 1, failures = "collect" })
    assert.same({ [1] = 1, [3] = 3 }, results)
    assert.matches("^spec/shorthand_spec%.lua:%d+: item%.deep%[1%] is a function$", failures[1].message)
    assert.equal(print, failures[1].item.deep[1])
    assert.is_nil(select(2, minigun.map({ 1 }, function(x) return x end)))
    local function refuse(x) error("no " .. x) end
    assert.equal(2, #minigun.each({ 7, 8 }, refuse, { inline = true, failures = "collect" }))
    local value, more = minigun.reduce({ 1, 2, 3 }, 0, function(a, x)
      if x == 2 then refuse(x) end
      return a + x
    end, { processes = 2, combine = function(a, b) return a + b end, failures = "collect" })
    assert.same({ 4, 1, 2 }, { value, #more, more[1].item })
  end)

  it("and its sisters refuse a table that is no list, at the user's line", function()
    local place = "^spec/shorthand_spec%.lua:%d+: minigun%."
    local function id(x) return x end
    for name, f in pairs {
      map = function(t) minigun.map(t, id) end,
      each = function(t) minigun.each(t, id) end,
      reduce = function(t) minigun.reduce(t, 0, id) end,
    } do
      assert.matches(place .. name .. ": a list expected, got a table without array elements", message_of(function()
        f { name = 1, other = 2 }
      end))
      assert.matches(place .. name .. ": the list has a hole at %[2%] of %d", message_of(function()
        f { 1, nil, 3, 4 }
      end))
    end
  end)

  it("minigun.each calls the function for every element", function()
    local seen = {}
    minigun.each({ 1, 2, 3 }, function(x) seen[#seen + 1] = x end, { inline = true })
    assert.same({ 1, 2, 3 }, seen)
    minigun.each({ 1, 2, 3 }, function(x) assert(x) end)
  end)
end)
