-- What would silently give nothing is an error at the user's line, or a warning in the result.
local contexts = require "spec.contexts"
local minigun = require "minigun"
local refusals = require "spec.refusals"
local support = require "spec.support"

local function pass(item, emit) emit(item) end
local function noop() end

local function warnings(result) return table.concat(result.stats.warnings, "\n") end

describe("a handler that returns what it should emit", function()
  for _, context in ipairs(contexts.kinds) do
    it(("R84 [%s] is warned of, with its line and what to do"):format(context.name), function()
      local p = minigun.pipeline "p":producer("gen", { 4, 5, 6 })
      p:processor("lazy", context.options, function(n) return n * 2 end):each(noop)
      local result = p:run()
      assert.matches("^stage 'lazy' %(defined at spec/silence_spec.lua:%d+%): its handler has returned values and " ..
        "never emitted one: [^\n]*'map'[^\n]*$", warnings(result))
      assert.matches("\n  warning: stage 'lazy'", tostring(result))
    end)

    it(("R84 [%s] is not warned of where it emits, too, or returns nothing"):format(context.name), function()
      local p = minigun.pipeline "p":producer("gen", { 4, 5, 6 })
      p:processor("both", context.options, function(n, emit)
        if n == 5 then emit(n) end
        return n
      end)
      p:consumer("save", context.options, function(n) return n end) -- as in: return db:save(n)
      p:processor("none", context.options, noop):map(context.options, math.abs):each(context.options, math.abs)
      p:filter(context.options, function() return false end)
      assert.equal("", warnings(p:run()))
    end)

    it(("R84 [%s] holds for batches, and for producers"):format(context.name), function()
      local p = minigun.pipeline "p":producer("none", context.options, function(_, _) return { 1, 2 } end)
      p:producer("gen", { 1, 2, 3 })
      p:accumulator("sum", contexts.options(context, { max_size = 2, from = { "none", "gen" } }), function(batch)
        return #batch
      end)
      local said = warnings(p:run())
      assert.matches("stage 'none' %(.-a producer passes on what it emits", said)
      assert.matches("stage 'sum' %(", said)
    end)

    it(("R84 [%s] is told of with a seed, too, and between stages of one group"):format(context.name), function()
      local p = minigun.pipeline("p", context.options):producer("gen", { inline = true }, { 1, 2 })
      p:map("m", math.abs):processor("lazy", function(n) return n end):map("end", math.abs)
      assert.matches("stage 'lazy' %(", warnings(p:run { seed = 1 }))
    end)
  end
end)

describe("an iterator that an earlier run has used up", function()
  local file

  before_each(function() file = support.write_file(os.tmpname(), ("line\n"):rep(20)) end)
  after_each(function() os.remove(file) end)

  for _, context in ipairs { contexts.kinds[1], contexts.kinds[2], contexts.kinds[4] } do
    for name, source in pairs {
      ["string.gmatch"] = function() return ("a b c"):gmatch "%a" end,
      ["coroutine.wrap"] = function() return coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) end,
      ["io.lines"] = function() return io.lines(file) end,
      ["a closure"] = function()
        local i = 0
        return function()
          i = i + 1
          if i < 4 then return i end
        end
      end,
    } do
      it(("R84 [%s] is a failure of the next run: %s"):format(context.name, name), function()
        local p = minigun.pipeline "p":producer("words", context.options, source()):processor("pass", pass)
        local first = p:run()
        assert.is_true(#first.items >= 3)
        local forked = not context.inline and (name ~= "io.lines") -- the coordinator's own has given nothing yet
        local ok, message = pcall(p.run, p)
        assert.equal(forked, ok)
        if not ok then
          assert.matches("silence_spec.lua:%d+", message)
          assert.matches("'words'.-an earlier run has used it up; make a new one for each run", message)
        end
        local kept = p:extend():run { failures = "collect" }
        assert.equal(forked and #first.items or 0, #kept.items)
        assert.equal(forked and 0 or 1, #kept.failures)
      end)
    end
  end

  for _, context in ipairs(contexts.kinds) do
    it(("R72 [%s] of a file that is closed is blamed on the producer's line"):format(context.name), function()
      local closed = assert(io.open "Makefile")
      local p = minigun.pipeline "p":producer("words", context.options, closed:lines()):processor("pass", pass)
      closed:close()
      local failure = p:run { failures = "collect" }.failures[1]
      assert.matches("^spec/silence_spec.lua:%d+: file is already closed$", failure.message)
      assert.is_nil(tostring(failure):find("minigun/", 1, true))
    end)
  end

  it("R84 is none where the source can be had again, or has never given anything", function()
    local numbers = { 1, 2, 3 }
    for _, p in ipairs {
      minigun.pipeline "p":producer(ipairs(numbers)), minigun.pipeline "p":producer(numbers),
      minigun.pipeline "p":producer(function(emit) for i = 1, 3 do emit(i) end end),
      minigun.pipeline "p":producer(("a b"):gmatch "%d"),
    } do
      p:processor(pass)
      local first = #p:run().items
      assert.equal(first, #p:run().items)
    end
    local p = minigun.pipeline "p":producer("old", ("a b"):gmatch "%a"):processor(pass)
    assert.equal(2, #p:run().items)
    p:replace("old", ("c d"):gmatch "%a")
    assert.equal(2, #p:run().items)
  end)
end)

describe("a source that knows nothing of its surroundings", function()
  it("R84 is not run to its end by its definition, nor disturbs the program's own debug hook", function()
    local p, calls = minigun.pipeline "p", 0
    local function hook() calls = calls + 1 end
    debug.sethook(hook, "", 1 << 30)
    p:producer("ends", { processes = 1 }, function() for _ = 1, 1 << 40 do end return 1 end)
    p:producer("never", { processes = 1 }, function() while true do end end)
    p:producer("raises", { processes = 1 }, function() return 1 + {} end)
    local own = debug.gethook()
    debug.sethook()
    assert.equal(hook, own)
    assert.equal(0, calls)
  end)
end)

describe("definitions and calls that would do nothing", function()
  it("R84 are refused at the user's line", function()
    local p, q = minigun.pipeline "p":producer("gen", { 1 }), minigun.pipeline "q":producer { 1 }
    local result = q:run()
    local function add(a, b) return a + b end
    refusals.check {
      { function() minigun:pipeline "x" end, "call minigun.pipeline with a dot, not a colon" },
      { function() minigun:map({ 1 }, print) end, "call minigun.map with a dot" },
      { function() minigun:sleep(0) end, "call minigun.sleep with a dot" },
      { function() minigun:spool "x" end, "call minigun.spool with a dot" },
      { function() p:batch "10" end, "would be the stage's name", "p:batch(10)" },
      { function() p:batch("0x10", { max_wait = 1 }) end, "p:batch(0x10)" },
      { function() result.of "a" end, "call result:of with a colon" },
      { function() p:reduce({ processes = 2 }, 0, add) end, "the order is name, initial value, function, options" },
      { function() p:reduce("sum", { processes = 2, retries = 1 }, add) end, "stands where the initial value should" },
      { function() p:reduce({ threads = 4 }, add, {}) end, "stands where the initial value should" },
      { function() p:map("gen", math.abs) end, "the name is taken", "p:replace('gen', ...)" },
      { function() p:producer(function() return { 1, 2 } end) end, "gives a table for ever; give the table itself" },
      { function() p:producer("x", function() return "text" end) end, "the string \"text\" for ever" },
    }
    p:map("list", {}, math.abs)
    refusals.check {
      { function() p:producer("new", { "a" }, "b") end, "stage 'new': an array", "order is name, options, source" },
      { function() p:producer({ "a", "b" }, "new") end, "producer: an array", "order is name, options, source" },
      { function() p:map("new", { "a" }, math.abs) end, "an array stands where", "order is name, options, handler" },
      { function() p:reduce("new", add, 0) end, "options must be a table", "order is name, initial value, function" },
      { function() minigun.map(math.abs, { 1 }) end, "a list expected", "the order is list, function, options" },
      { function() minigun.each({ 1 }, { processes = 2 }, print) end, "the order is list, function, options" },
      { function() minigun.reduce({ 1 }, add, 0) end, "the order is list, initial value, function, options" },
      { function() minigun.pipeline(p) end, "got a pipeline", "p:extend() makes a copy" },
    }
    p:batch("10", 5):batch("20", { max_size = 3 }):producer("nothing", function() end)
    p:reduce("counts", { before = 0, after = 0 }, add):reduce("more", { processes = 0 }, add)
  end)

  for _, context in ipairs(contexts.kinds) do
    it(("R84 [%s] emit.to, ctx.count, ctx.collect and ctx.log with a dot fail at their line"):format(context.name),
      function()
        for says, handler in pairs {
          ["call emit:to with a colon"] = function(n, emit) emit.to("x", n) end,
          ["call ctx:count with a colon"] = function(_, _, ctx) ctx.count "x" end,
          ["call ctx:collect with a colon"] = function(n, _, ctx) ctx.collect("x", n) end,
          ["call ctx:log with a colon"] = function(_, _, ctx) ctx.log("info", "x") end,
        } do
          local p = minigun.pipeline "p":producer { 1 }:processor("f", context.options, handler)
          p:processor("x", context.options, pass)
          local message = p:run { failures = "collect" }.failures[1].message
          assert.matches("silence_spec.lua:%d+: " .. says, message)
          p = minigun.pipeline "p":producer("f", context.options, function(emit, ctx) handler(1, emit, ctx) end)
          p:processor("x", pass)
          message = p:run { failures = "collect" }.failures[1].message
          assert.matches("silence_spec.lua:%d+: " .. says, message)
        end
      end)
  end
end)

describe("print(result)", function()
  it("R84 says what the last stages have taken, where nothing came out", function()
    local p = minigun.pipeline "p":producer("gen", { to = { "save", "log" } }, contexts.range(1, 24))
    p:consumer("save", { processes = 2, to = {} }, noop):each("log", { to = {} }, noop)
    assert.matches("^done 'p': 0 items, 24 taken by 'log', 24 taken by 'save' in [%d.]+ s$", tostring(p:run()))
    assert.matches("^done 'p': 3 items in", tostring(minigun.pipeline "p":producer { 1, 2, 3 }:map(math.abs):run()))
    assert.matches("^done 'p': 0 items in", tostring(minigun.pipeline "p":producer {}:each(noop):run()))
  end)
end)

describe("await = seconds", function()
  for _, context in ipairs(contexts.kinds) do
    it(("R84 [%s] has an effect: what comes after the stage is passed on when nothing has come in time"):format(
      context.name), function()
      local passed_on = os.tmpname() -- the slow source waits until it is empty
      support.write_file(passed_on, "not yet")
      local p = minigun.pipeline "p"
      p:producer("slow", { to = "other", processes = 1 }, function(emit)
        for _ = 1, 1000 do
          if support.read_file(passed_on) == "" then break end
          minigun.sleep(0.01)
        end
        emit(1)
        emit:to("extra", 2)
      end)
      p:processor("other", { to = {} }, pass)
      p:producer("quick", { to = "gather" }, { 1, 2, 3 })
      p:processor("extra", contexts.options(context, { await = 0.05, to = "gather" }), pass)
      p:accumulator("gather", { max_size = 100 }):map("look", function(batch)
        support.write_file(passed_on, "")
        return #batch
      end)
      assert.same({ 3, 1 }, p:run():of "look")
      os.remove(passed_on)
    end)
  end
end)
