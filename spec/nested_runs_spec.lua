-- Runs of pipelines in pipelines: contexts, names in handlers, hooks, pipelines nested more than once.
local contexts = require "spec.contexts"
local core = require "minigun.core"
local minigun = require "minigun"
local nested = require "spec.nested"
local refusals = require "spec.refusals"

local range, sorted, options = contexts.range, contexts.sorted, contexts.options
local new, mark, chain, lanes, items, within =
  nested.new, nested.mark, nested.chain, nested.lanes, nested.items, nested.within

local function noop() end
local function pass(item, emit) emit(item) end

for _, context in ipairs(contexts.all) do
  local where = (" [%s]"):format(context.name)
  local size = context.per_item and 6 or 200

  describe("a nested pipeline" .. where, function()
    it("R16 R17 R68 delivers everything, in a chain of pipelines with several entries and exits", function()
      local p = new():producer("gen", range(1, size)):map("text", function(n) return n .. ":" end)
      within(p, context, function()
        p:pipeline("x", lanes):pipeline("y", { from = "x" }, lanes)
      end)
      p:processor("end", { inline = true }, mark ".")
      local expected = {}
      for n = 1, size do
        for _, way in ipairs { "acac", "acbd", "bdac", "bdbd" } do expected[#expected + 1] = n .. ":" .. way .. "." end
      end
      assert.same(sorted(expected), items(p))
    end)

    it("R19 R30 runs in the context of the group that holds it, its stages in one worker", function()
      local function tell(item, emit, ctx)
        item[#item + 1] = ctx.pid
        emit(item)
      end
      local p = new():producer("gen", range(1, size)):map("wrap", function(n) return { n } end)
      within(p, context, function()
        p:processor("before", tell):pipeline("x", function(q)
          q:processor("a", tell):pipeline("deep", function(d) d:processor("b", tell) end)
        end):processor("after", tell)
      end)
      local numbers = {}
      for i, item in ipairs(p:run().items) do
        numbers[i] = item[1]
        assert.same({ item[2], item[2], item[2], item[2] }, { table.unpack(item, 2) })
        assert.equal(context.inline or false, item[2] == core.pid())
      end
      assert.same(range(1, size), sorted(numbers))
    end)

    it("R19 has contexts of its own, and may be given one as an option", function()
      local function tell(item, emit, ctx) emit { item, ctx.pid } end
      local p = new():producer("gen", range(1, size)):processes(1, function(b)
        b:processor("a", tell):pipeline("x", function(q)
          q:processor("outer", tell)
          within(q, context, function() q:processor("own", tell) end)
          q:processor("option", options(context), tell)
        end)
        b:pipeline("y", options(context, { from = "x" }), function(q) q:processor("b", tell):processor("c", tell) end)
      end)
      local me = core.pid()
      for _, item in ipairs(p:run().items) do
        local pids = {}
        while type(item) == "table" do
          table.insert(pids, 1, item[2])
          item = item[1]
        end
        assert.equal(pids[1], pids[2])
        assert.equal(pids[5], pids[6])
        for i = 3, 6 do -- threads are those of the worker that they stand in
          assert.equal(context.inline and not context.threads or false, pids[i] == me)
          assert.equal(context.threads or false, pids[1] == pids[i])
        end
        if not context.inline then
          assert.not_equal(pids[3], pids[4])
          assert.not_equal(pids[4], pids[5])
        end
      end
      assert.equal(size, #p.last.items)
      local n = context.inline and 0 or context.per_item and 3 * size or 3 * context.n
      assert.equal(1 + n, contexts.forks(p.last))
    end)

    it("R18 R64 R40 produces where it has producers, beside what comes in", function()
      local ended, p = {}, new():producer("gen", range(1, 10))
      local function note(name) return function() ended[#ended + 1] = name end end
      within(p, context, function()
        p:pipeline("x", function(q)
          q:processor("in", pass):producer("own", range(11, 20)):producer("more", function(emit, ctx)
            for i = 21, 30 do emit(i) end
            ctx:collect("pid", ctx.pid)
          end)
          q:processor("all", pass):after_producer(note "x")
        end)
        p:pipeline("only", function(q) q:producer("own", range(31, 40)):after_producer(note "only") end)
      end)
      p:processor("end", { inline = true, from = { "x", "only" } }, pass):after_producer(note "outer")
      assert.same(range(1, 40), items(p))
      assert.equal(context.inline or false, p.last.collected.pid[1] == core.pid())
      assert.same({ 10, 10, 10, 30 }, { p.last.stats.stages["x.own"].items_out, p.last.stats.stages["x.in"].items_in,
        p.last.stats.stages["only.own"].items_out, p.last.stats.stages["x.all"].items_in })
      assert.same({ "only", "outer", "x" }, sorted(ended))
      assert.equal("outer", ended[3])
    end)

    it("R16 R7 R20 R23 R64 has every kind of stage in it", function()
      local many = context.per_item and 10 or 60
      local p = new():producer("gen", range(1, many))
      within(p, context, function()
        p:pipeline("x", function(q)
          q:processor("key", { partition = function(n) return n % 5 end }, pass)
          q:filter("odd", function(n) return n % 2 == 1 end)
          q:batch("four", 4):flat_map("apart", function(batch) return batch end)
          q:accumulator("sums", { max_size = 1000, by = function(n) return n % 3 end }, function(batch, emit)
            local sum = 0
            for _, n in ipairs(batch) do sum = sum + n end
            emit { batch[1] % 3, sum }
          end)
          q:stage("loop", function(input, emit) for item in input do emit(item) end end)
        end)
      end)
      local sums = {}
      p:each("end", { inline = true }, function(pair) sums[pair[1]] = (sums[pair[1]] or 0) + pair[2] end):run()
      local expected = { [0] = 0, [1] = 0, [2] = 0 }
      for n = 1, many, 2 do expected[n % 3] = expected[n % 3] + n end
      assert.same(expected, sums)
    end)

    it("R8 R14 emit:to finds the names that the sender sees, and every entry of a pipeline", function()
      local p = new():producer("gen", { 1 })
      local function sink(q, name) q:processor("sink", { await = true, to = {} }, mark(name)) end
      within(p, context, function()
        p:pipeline("x", function(q)
          q:processor("send", { to = {} }, function(_, emit)
            emit:to("sink", "own ")
            emit:to("y.sink", "qualified ")
            emit:to("only", "end ")
            emit:to("top", "outward ")
            emit:to("z", "entries ")
            emit:to("x.sink", "full ")
          end)
          sink(q, "x")
        end)
        p:processor("send", { to = {}, from = "gen" }, function(_, emit)
          emit:to("z.a", "from outside ")
        end)
      end)
      p:pipeline("y", { await = true, to = {} }, function(q)
        sink(q, "y")
        q:processor("only", { to = {}, await = true }, mark "y")
      end)
      p:processor("top", options(context, { await = true, to = {} }), mark "top")
      p:pipeline("z", options(context, { await = true, to = {} }), lanes)
      local r = p:run()
      assert.same({}, r:of "send")
      assert.same({ "end y", "entries ac", "entries bd", "from outside ac", "full x", "outward top", "own x",
        "qualified y" }, sorted(r.items))
    end)

    it("R8 R14 emit:to sends to every entry from a stage alone and from a producer, as often as it likes", function()
      local producers = context.per_item and { inline = true } or context.options -- a child of its own, but for inline
      local p = new():producer("gen", producers, function(emit)
        for n = 1, size do
          emit:to("z", n .. "p")
          if n % 2 == 0 then emit:to("z.b", n .. "P") end
          emit(n)
        end
      end):processor("send", options(context, { to = {} }), function(n, emit)
        emit:to("z", n .. "s")
        emit:to("z.a", n .. "S")
      end):pipeline("z", { await = true, processes = 2 }, lanes)
      local expected = {}
      for n = 1, size do
        for _, text in ipairs { "pac", "pbd", "sac", "sbd", "Sac" } do expected[#expected + 1] = n .. text end
        if n % 2 == 0 then expected[#expected + 1] = n .. "Pbd" end
      end
      local r = p:run()
      assert.same(sorted(expected), sorted(r:of "z"))
      local stats = r.stats.stages -- an item that goes to two entries goes out twice
      assert.same({ size * 3 + size // 2, size * 3, size * 3, size * 2 + size // 2 },
        { stats.gen.items_out, stats.send.items_out, stats["z.a"].items_in, stats["z.b"].items_in })
    end)

    it("R8 R13 emit:to refuses unknown and ambiguous names at the user's line", function()
      local line = debug.getinfo(1, "l").currentline
      local p = new { failures = "collect" }:producer("gen", { 1, 2 })
      within(p, context, function()
        p:pipeline("x", { to = {} }, function(q)
          q:processor("send", function(n, emit)
            if n == 1 then emit:to("sink", n) else emit:to("snk", n) end
          end)
        end)
      end)
      for _, name in ipairs { "y", "z" } do
        p:pipeline(name, { await = true, to = {} }, function(q) q:processor("sink", pass) end)
      end
      local failures = p:run().failures
      table.sort(failures, function(a, b) return a.item < b.item end)
      local place = ("nested_runs_spec.lua:%d: "):format(line + 5)
      assert.matches(place .. "emit:to: the stage 'sink', which is ambiguous: say 'y.sink' or 'z.sink'",
        failures[1].message)
      assert.matches(place .. "emit:to: there is no stage 'snk' that receives items .there are: send, .*y.sink",
        failures[2].message)
    end)

    it("R6 a route deals to pipelines as to stages, by name or in turn, and one of a pipeline is that of its exits",
      function()
        local many = context.per_item and 6 or 12
        local function build(route)
          local p = new():producer("gen", range(1, many)):map("text", tostring)
          within(p, context, function()
            p:pipeline("deal", { to = { "x", "y" }, route = route }, function(q) q:processor("any", pass) end)
          end)
          return p:pipeline("x", options(context, { to = {} }), lanes)
            :pipeline("y", options(context, { to = {} }), function(q) q:processor("a", pass) end)
        end
        local r = build(function(n) return tonumber(n) % 2 == 0 and "x" or { "y.a", "x.b" } end):run()
        assert.same({ many // 2, many, many // 2 }, { #r:of "x.c", #r:of "x.d", #r:of "y" })
        r = build "round_robin":run()
        assert.equal(many, #r:of "x.c" + #r:of "y")
        assert.equal(#r:of "x.c", #r:of "x.d")
        if context.n == 1 then assert.equal(many // 2, #r:of "y") end
        local p = build(function() return "z" end)
        assert.matches("route of stage 'deal.any' gave 'z', which is none of its targets .there are: x, y.",
          p:run { failures = "collect" }.failures[1].message)
      end)

    it("R51 dead letters find nested stages, the nearest first", function()
      local function letters(name) return function(q) q:map("letters", function(l) return name .. l.item end) end end
      local p = new():producer("gen", { 1 }):pipeline("x", { to = {} }, function(q)
        q:processor("fail", options(context, { dead_letter = "letters" }), function() error "bad" end)
        q:map("letters", { await = true }, function(l) return "own " .. l.item end)
      end):processor("fail", options(context, { from = "gen", to = {}, dead_letter = "y" }), function() error "bad" end)
        :pipeline("y", { await = true }, letters "pipeline ")
      assert.same({ "own 1", "pipeline 1" }, items(p))
      assert.same({ true, true }, { p.last.failures[1].dead_letter, p.last.failures[2].dead_letter })
    end)

    it("R33 R45 R46 failures, retries and a worker's death are as in any stage", function()
      local p = new { failures = "collect", max_restarts = 100 }:producer("gen", range(1, 12))
      within(p, context, function()
        p:pipeline("x", function(q)
          q:map("a", function(n) return n end)
          q:processor("b", { retries = 1 }, function(n, emit, ctx)
            ctx:count "attempts"
            if n == 3 then error "three" end
            if n == 5 and ctx.attempt == 1 then error "once" end
            emit(n)
          end)
        end)
      end)
      local r = p:run()
      assert.same({ 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12 }, sorted(r.items))
      assert.same({ "x.b", 3, 2 }, { r.failures[1].stage, r.failures[1].item, r.failures[1].attempts })
      assert.equal(11, r.counters.attempts)
      if context.inline then return end
      p = new { failures = "collect", max_restarts = 100 }:producer("gen", range(1, 12))
      within(p, context, function()
        p:pipeline("x", function(q)
          q:processor("a", pass):processor("b", function(n, emit)
            if n == 7 then os.exit(3) end
            emit(n)
          end)
        end)
      end)
      r = p:run()
      assert.same({ 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12 }, sorted(r.items))
      assert.same({ 1, "crash", 3, 7 }, { #r.failures, r.failures[1].kind, r.failures[1].code, r.failures[1].item })
    end)
  end)
end

describe("hooks of a nested pipeline", function()
  for _, context in ipairs(contexts.all) do
    it(("R40 R65 run for its stages only, as often as those of others [%s]"):format(context.name), function()
      local here = {}
      local function add(name)
        return function() here[name] = (here[name] or 0) + 1 end
      end
      local function count(name)
        return function(ctx) ctx:count(name) end
      end
      local function hooks(p, of)
        return p:before_run(add(of .. "before_run")):after_run(add(of .. "after_run"))
          :after_producer(add(of .. "after_producer")):before_fork(add(of .. "before_fork"))
          :on_worker_exit(add(of .. "on_worker_exit")):after_fork(count(of .. "after_fork"))
          :before_exit(count(of .. "before_exit"))
      end
      local size = 6
      local p = hooks(new(), "outer "):producer("gen", range(1, size)):processor("s", options(context), pass)
      p:pipeline("x", options(context), function(q)
        hooks(q, "inner "):before("a", count "before a"):after("b", count "after b")
        q:processor("a", pass):processor("b", pass)
      end)
      p:before("x.a", count "outer before a"):before("x", count "before x"):after("x", count "after x")
        :before_fork("x", add "before_fork x"):after_fork("x.b", count "after_fork b")
      for _ = 1, 2 do
        here = {}
        local r = p:run()
        assert.same(range(1, size), sorted(r.items))
        local forks = context.per_item and size or context.inline and 0 or context.n
        local workers = context.inline and 1 or forks
        local function some(n) return n > 0 and n or nil end
        local called = context.inline and 1 or forks -- hooks about forks, of x; those of both, where there are forks
        local outer = context.inline and 1 or 2 * forks
        assert.same({ ["outer before_run"] = 1, ["outer after_run"] = 1, ["outer after_producer"] = 1,
          ["outer before_fork"] = outer, ["outer on_worker_exit"] = some(2 * forks),
          ["inner before_run"] = 1, ["inner after_run"] = 1, ["inner after_producer"] = 1,
          ["inner before_fork"] = called, ["inner on_worker_exit"] = some(forks),
          ["before_fork x"] = called }, here)
        assert.same({ ["before a"] = workers, ["after b"] = workers, ["outer before a"] = workers,
          ["before x"] = workers, ["after x"] = workers, ["after_fork b"] = called,
          ["outer after_fork"] = outer, ["outer before_exit"] = outer,
          ["inner after_fork"] = called, ["inner before_exit"] = called }, r.counters)
      end
    end)

    it(("R40 on_failure hears of its stages' failures; others are raised [%s]"):format(context.name), function()
      local heard = {}
      local function fail() error "bad" end
      local function listen(name)
        return function(failure) heard[#heard + 1] = name .. " " .. failure.stage end
      end
      local p = new():producer("gen", { to = { "x", "y" } }, { 1 })
      p:pipeline("x", { to = {} }, function(q)
        q:on_failure(listen "x"):processor("a", options(context), fail)
      end)
      local function run(q) return pcall(q.run, q) end
      local y = p:extend():processor("y", { to = {} }, pass)
      local ok, r = run(y)
      assert.same({ true, { "x x.a" } }, { ok, heard })
      assert.is_false(r.ok)
      heard = {}
      local both = p:extend():pipeline("y", { to = {} }, function(q) q:processor("a", options(context), fail) end)
      ok, r = run(both)
      assert.same({ false, { "x x.a" } }, { ok, heard })
      assert.matches("in stage 'y.a'", r)
      assert.is_nil(r:find("x.a", 1, true))
      heard = {}
      ok = run(both:on_failure(listen "outer"))
      assert.same({ true, { "outer x.a", "outer y.a", "x x.a" } }, { ok, sorted(heard) })
    end)
  end

  it("R40 after_producer tells that its own producers have ended", function()
    local order = {}
    local function note(name) return function() order[#order + 1] = name end end
    new():after_producer(note "outer"):producer("slow", function(emit)
      emit(1)
      local deadline = core.now() + 5
      while order[1] == nil and core.now() < deadline do emit(2) end
    end):pipeline("x", function(q) q:after_producer(note "x"):producer("gen", { 1 }) end)
      :pipeline("none", { from = "x" }, function(q) q:after_producer(note "none"):each(noop) end)
      :each("end", { from = "slow" }, noop):run()
    assert.same({ "x", "none", "outer" }, order)
  end)

  it("R35 run after those of the pipelines around it, all pipeline-wide ones before a stage's own", function()
    local p = new():producer("gen", { 1 }):processes(1, function(b)
      b:pipeline("x", function(q)
        q:pipeline("y", function(d)
          d:after_fork(function(ctx) ctx:collect("order", "wide y") end)
          d:processor("a", { after_fork = function(ctx) ctx:collect("order", "a in y") end }, pass)
        end)
        q:after_fork("y", function(ctx) ctx:collect("order", "y in x") end)
        q:after_fork(function(ctx) ctx:collect("order", "wide x") end)
      end)
    end):after_fork("x.y.a", function(ctx) ctx:collect("order", "a in outer") end)
      :after_fork(function(ctx) ctx:collect("order", "wide outer") end)
    assert.same({ "wide outer", "wide x", "wide y", "a in outer", "y in x", "a in y" }, p:run().collected.order)
  end)

  it("R34 R35 run around the run: the outer's first at its beginning, last at its end", function()
    local order = {}
    local function hooks(p, name)
      local function note(hook) return function() order[#order + 1] = hook .. " " .. name end end
      return p:before_run(note "before_run"):after_run(note "after_run"):after_producer(note "after_producer")
    end
    hooks(new():producer("gen", { 1 }):pipeline("x", function(q)
      hooks(q:each(noop):pipeline("y", function(d) hooks(d:each(noop), "y") end), "x")
    end):pipeline("z", { from = "gen" }, function(q) hooks(q:each(noop), "z") end), "outer"):run()
    assert.same({ "before_run outer", "before_run x", "before_run y", "before_run z",
      "after_producer y", "after_producer x", "after_producer z", "after_producer outer",
      "after_run y", "after_run x", "after_run z", "after_run outer" }, order)
  end)

  it("R39 fail the run with their name and line", function()
    local p = new():producer("gen", { 1 }):pipeline("x", function(q)
      q:before_run(function() error "boom" end):each(noop)
    end)
    local _, message = pcall(p.run, p)
    assert.matches(
      "nested_runs_spec.lua:%d+: boom.*in hook before_run .defined at spec/nested_runs_spec.lua:%d+", message)
  end)
end)

describe("a pipeline object", function()
  local function inner()
    return chain(minigun.pipeline "inner", "a"):processor("b", { processes = 2 }, function(item, emit, ctx)
      ctx:collect("pids", ctx.pid)
      emit(item .. "b")
    end)
  end

  it("R54 may be nested more than once, in several pipelines, under its own name or another, and run by itself",
    function()
      local q, runs = inner(), 0
      q:before_run(function() runs = runs + 1 end)
      local one = new():producer("gen", range(1, 8)):map("text", tostring):pipeline(q)
        :processor("between", mark "-"):pipeline("again", q)
      local other = new():producer("gen", { "x" }):pipeline("first", q)
      local expected = {}
      for n = 1, 8 do expected[n] = n .. "ab-ab" end
      for _ = 1, 2 do
        runs = 0
        assert.same(expected, items(one))
        assert.equal(1, runs) -- nested twice: still one pipeline
        assert.equal(4, contexts.forks(one.last)) -- but with workers of its own at each place
        assert.same({ 8, 8 }, { one.last.stats.stages["inner.b"].items_in, one.last.stats.stages["again.b"].items_in })
        assert.same({ "xab" }, items(other))
      end
      q:processor("c", mark "c")
      assert.same({ "xabc" }, items(other)) -- it is that pipeline, as it is when it is run
      q:producer("gen", { to = "a" }, { "" })
      assert.same({ "abc" }, items(q))
    end)

  it("R54 R12 serves two runs at once", function()
    local q = inner()
    local one = new():producer("gen", { "1", "2", "3" }):pipeline(q)
    local two = new():producer("gen", { "4", "5" }):pipeline("x", q)
    local first, second = one:start(), two:start()
    assert.same({ "4ab", "5ab" }, sorted(second:wait().items))
    assert.same({ "1ab", "2ab", "3ab" }, sorted(first:wait().items))
  end)

  it("R58 keeps its run options for its own runs", function()
    local q = minigun.pipeline("inner", { failures = "collect", dead_letter = "none" }):map("a", noop)
    assert.error_matches(function() new():producer("gen", { 1 }):pipeline(q):run() end, "in stage 'inner.a'")
  end)

  it("R29 sees the named contexts around it, and its own first", function()
    local function tell(item, emit, ctx)
      item[#item + 1] = ctx.pid
      emit(item)
    end
    local p = new():context("db", { processes = 1 }):context("up", { processes = 1 })
      :producer("gen", { { } }):processor("a", { context = "db" }, tell):processor("b", { context = "up" }, tell)
      :pipeline("x", function(q)
        q:context("db", { processes = 1 })
        q:processor("a", { context = "db" }, tell):processor("b", { context = "up" }, tell)
      end)
    local pids = p:run().items[1]
    assert.equal(pids[2], pids[4])
    assert.not_equal(pids[1], pids[3])
    assert.equal(3, contexts.forks(p.last))
  end)

  it("finds its methods at its own object, or at that of a pipeline around it", function()
    local mine, theirs = { name = "mine" }, { name = "theirs" }
    for _, object in ipairs { mine, theirs } do
      function object:tell(item) return item .. self.name end
    end
    local p = new():bind(theirs):producer("gen", { "" }):map("a", "tell")
      :pipeline("x", function(q) q:bind(mine):map("a", "tell"):pipeline("y", function(d) d:map("a", "tell") end) end)
      :pipeline("z", { from = "x" }, function(q) q:map("a", "tell") end)
    assert.same({ "theirsminetheirs" }, { (items(p)[1]:gsub("minemine", "mine")) })
    assert.same({ "theirsmineminetheirs" }, items(p))
  end)

  it("stands in a row of the table form", function()
    local q = chain(minigun.pipeline "inner", "a b")
    local p = minigun.pipeline {
      source = { "1", "2" },
      { "first", run = mark "f", processes = 2 },
      { pipeline = q },
      { "named", pipeline = q, from = "inner", inline = true },
      { "last", run = mark "l" },
    }
    assert.same({ "1fababl", "2fababl" }, items(p))
    assert.matches("inner.a +processor +processes%(2%)", tostring(p))
    assert.matches("named.a +processor +inline", tostring(p))
    p = minigun.pipeline {
      source = { "1", "2" },
      { "x", processes = 1, pipeline = { { "a", run = mark "a" }, { "b", run = mark "b", inline = true } } },
      { "y", from = "x", pipeline = function(i) chain(i, "c d") end },
      { "z", from = "y", pipeline = { { pipeline = { { "deep", run = mark "!" } } } } },
    }
    assert.same({ "1abcd!", "2abcd!" }, items(p))
    assert.matches("x.a +processor +processes%(1%)[^\n]*\n +x.b +processor +inline", tostring(p))
    assert.matches("z.pipeline.deep", tostring(p))
    refusals.check {
      { function() minigun.pipeline { { "x", pipeline = { { "a" } } } } end, "row 1 of the pipeline ('a'): say what" },
      { function() minigun.pipeline { { "x", pipeline = q, map = noop } } end, "both say what it does; give one" },
      { function() minigun.pipeline { { "x", pipeline = 5 } } end, "or a pipeline, got 5" },
      { function() minigun.pipeline { { "x", pipeline = q, max_size = 5 } } end, "option 'max_size' is not for" },
    }
  end)

  it("is refused as the handler of another kind of stage", function()
    refusals.check {
      { function() new():processor("a", minigun.pipeline()) end, "got a pipeline (p:pipeline puts one inside another" },
      { function() new():producer("a", minigun.pipeline()) end, "got a pipeline (p:pipeline puts one inside another" },
    }
  end)
end)

describe("a run inside of a handler that runs in a worker", function()
  it("keeps its own workers when they collect what was the outer worker's", function()
    local list = minigun.map({ 1, 2 }, function(n)
      local inner = minigun.map({ 1, 2, 3 }, function(x)
        collectgarbage()
        collectgarbage()
        return x * n
      end, { processes = 1 })
      return inner[1] + inner[2] + inner[3]
    end, { processes = 1 })
    assert.same({ 6, 12 }, list)
  end)
end)
