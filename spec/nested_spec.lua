-- Pipelines in pipelines: what is linked to what, and names.
local minigun = require "minigun"
local nested = require "spec.nested"
local refusals = require "spec.refusals"

local new, mark, chain, lanes, edges, items =
  nested.new, nested.mark, nested.chain, nested.lanes, nested.edges, nested.items

local function noop() end
local function pass(item, emit) emit(item) end

describe("default links", function()
  it("R16 R2 lead into a nested pipeline and out of it", function()
    assert.equal("gen>x.a x.a>x.b x.b>y",
      edges(new():producer("gen", { 1 }):pipeline("x", function(q) chain(q, "a b") end):processor("y", pass)))
  end)

  it("R16 R68 broadcast to several entries, and several exits fan in", function()
    assert.equal("gen>x.a,x.b x.a>x.c x.b>x.d x.c>y x.d>y",
      edges(new():producer("gen", { 1 }):pipeline("x", lanes):processor("y", pass)))
  end)

  it("R69 do not wire two adjacent nested pipelines", function()
    local p = new():producer("gen", { to = { "x", "y" } }, { 1 }):pipeline("x", function(q) chain(q, "a") end)
      :pipeline("y", function(q) chain(q, "a") end):processor("z", pass)
    assert.equal("gen>x.a,y.a y.a>z", edges(p))
    local q = new():producer("gen", { 1 }):pipeline("x", lanes)
    q:pipeline("y", lanes)
    assert.error_matches(function() q:run() end, "stage 'y': no stage sends it anything: 'x', defined before it, " ..
      "is a nested pipeline too, and two of them are not linked by themselves; say 'from'")
  end)

  it("R69 do not wire the branches of a fan-out that leads into a pipeline", function()
    assert.equal("gen>x.b,y x.a>x.b", edges(new():producer("gen", { to = { "x.b", "y" } }, { 1 })
      :pipeline("x", function(q) q:processor("a", { await = true }, pass):processor("b", { from = "a" }, pass) end)
      :processor("y", pass)))
  end)

  it("R69 close no cycle through nested pipelines", function()
    assert.equal("gen>x.b x.b>x.a x.a>y", edges(new():producer("gen", { to = "x" }, { 1 })
      :pipeline("x", function(q) q:processor("a", { from = "b" }, pass):processor("b", pass) end):processor("y", pass)))
  end)

  it("R18 a pipeline with producers and no entry is one more producer", function()
    local function source(q) q:producer("gen", { 1 }):processor("a", pass) end
    assert.equal("gen>y x.gen>x.a x.a>y",
      edges(new():producer("gen", { 1 }):pipeline("x", source):processor("y", pass)))
    assert.equal("gen>y y>z x.gen>x.a x.a>z",
      edges(new():producer("gen", { 1 }):processor("y", pass):pipeline("x", source):processor("z", pass)))
    assert.equal("x.gen>y", edges(new():pipeline("x", function(q) q:producer("gen", { 1 }) end):processor("y", pass)))
    assert.equal("x.gen>x.a", edges(new():pipeline("x", source)))
  end)

  it("R18 a pipeline with producers and an entry has both", function()
    assert.equal("gen>x.a x.a>x.b x.gen>x.b x.b>y", edges(new():producer("gen", { 1 }):pipeline("x", function(q)
      q:processor("a", pass):producer("gen", { 1 }):processor("b", pass)
    end):processor("y", pass)))
  end)

  it("R68 nest to any depth", function()
    local p = new():producer("gen", { "" })
    local function fill(depth)
      return function(q)
        if depth == 0 then return q:processor("innermost", mark "x") end
        q:processor("before", mark "<"):pipeline("q", fill(depth - 1)):processor("after", mark ">")
      end
    end
    p:pipeline("q", fill(30))
    assert.same({ ("<"):rep(30) .. "x" .. (">"):rep(30) }, items(p))
    local name = ("q."):rep(31) .. "innermost"
    assert.equal(1, p.last.stats.stages[name].items_in)
  end)
end)

describe("edges", function()
  it("R17 lead from stages to pipelines and back, by to and by from, one or many", function()
    local function two(p) return p:pipeline("x", lanes):pipeline("y", { from = "x", to = "z" }, lanes) end
    assert.equal("gen>x.a,x.b x.a>x.c x.b>x.d x.c>y.a,y.b x.d>y.a,y.b y.a>y.c y.b>y.d y.c>z y.d>z",
      edges(two(new():producer("gen", { 1 })):processor("z", pass)))
    assert.equal("gen>x.a,x.b x.a>x.c x.b>x.d x.c>y.a,y.b x.d>y.a,y.b y.a>y.c y.b>y.d",
      edges(new():producer("gen", { 1 }):pipeline("x", { to = "y" }, lanes):pipeline("y", lanes)))
    local q = new():producer("gen", { to = { "s", "x" } }, { 1 })
      :processor("s", { to = { "y", "z" } }, pass):pipeline("x", { to = { "y", "z" } }, function(i) chain(i, "a") end)
      :pipeline("y", function(i) chain(i, "a") end):pipeline("z", function(i) chain(i, "a") end)
      :processor("end", { from = { "y", "z" } }, pass)
    assert.equal("gen>s,x.a s>y.a,z.a x.a>y.a,z.a y.a>end z.a>end", edges(q))
    q = new():producer("gen", { 1 }):pipeline("x", { to = {} }, function(i) chain(i, "a") end)
      :processor("y", { from = "x" }, pass)
    assert.equal("gen>x.a x.a>y", edges(q))
  end)

  it("R17 R14 cross the borders of pipelines by name", function()
    assert.equal("gen>s,x.b s>x.a x.a>y x.b>x.c x.c>y", edges(new():producer("gen", { to = { "x.b", "s" } }, { 1 })
      :processor("s", { to = "x.a" }, pass)
      :pipeline("x", function(q)
        q:processor("a", { to = "y" }, pass):processor("b", { await = true }, pass):processor("c", pass)
      end):processor("y", pass)))
    -- What others draw does not make a stage less of an entry or an exit of its own pipeline.
    assert.equal("gen>x.a x.a>x.b,audit x.b>y,audit", edges(new():producer("gen", { 1 })
      :pipeline("x", function(q) chain(q, "a b") end):processor("y", { to = {} }, pass)
      :processor("audit", { from = { "x.a", "x.b" } }, pass)))
  end)

  it("R3 count once, drawn through a pipeline and directly", function()
    assert.equal("gen>x.a x.a>y", edges(new():producer("gen", { to = { "x", "x.a" } }, { 1 })
      :pipeline("x", { to = "y" }, function(q) chain(q, "a") end):processor("y", { from = { "x", "x.a" } }, pass)))
  end)

  it("R69 an inner to = {} makes an exit, an outer one a terminal pipeline", function()
    local p = new():producer("gen", { "" }):pipeline("x", function(q)
      q:processor("a", { to = {} }, mark "a"):processor("b", mark "b")
    end):processor("y", mark "y")
    assert.equal("gen>x.a,x.b x.a>y x.b>y", edges(p))
    assert.same({ "ay", "by" }, items(p))
    local q = new():producer("gen", { "" }):pipeline("x", { to = {} }, lanes):processor("y", { from = "gen" }, mark "y")
    assert.same({ "ac", "bd", "y" }, items(q))
  end)

  it("R13 R70 are checked at the user's line before anything runs, through nested pipelines too", function()
    local before = 0
    local function check(f, ...)
      local p = new():before_run(function() before = before + 1 end):producer("gen", { 1 })
      local line = debug.getinfo(f, "S").linedefined
      f(p)
      local ok, message = pcall(p.run, p)
      assert.is_false(ok)
      for _, text in ipairs { ("spec/nested_spec.lua:%d: "):format(line), ... } do
        assert.is_truthy(message:find(text, 1, true), message)
      end
    end
    local function one(q) q:processor("a", noop) end
    check(function(p) p:pipeline("x", function(q) q:processor("a", { to = "nowhere" }, noop) end) end,
      "stage 'x.a': option 'to' names an unknown stage 'nowhere'")
    check(function(p) p:pipeline("x", function(q) q:processor("a", { from = "gem" }, noop) end) end,
      "(did you mean 'gen'?)")
    check(function(p) p:pipeline("x", one):pipeline("y", { from = "x" }, one):map({ from = "y", to = "a" }, noop) end,
      "option 'to' names the stage 'a', which is ambiguous: say 'x.a' or 'y.a'")
    check(function(p) p:pipeline("x", { to = "y" }, one):pipeline("y", { to = "x" }, one) end,
      "the edges form a cycle: x.a -> y.a -> x.a")
    check(function(p) p:pipeline("x", { from = { "gen", "y" } }, one):pipeline("y", { from = "x" }, one) end, "cycle")
    check(function(p) p:pipeline("x", function(q) q:map("a", { to = "b" }, noop):map("b", { to = "a" }, noop) end) end,
      "the edges form a cycle: x.a -> x.b -> x.a")
    check(function(p) p:pipeline("x", function(q) q:processor("a", { to = "x" }, noop) end) end,
      "the edges form a cycle: x.a -> x.a")
    check(function(p) p:pipeline("x", { from = "gen" }, function(q) q:producer("g", { 1 }):map("a", noop) end) end,
      "stage 'gen': it sends to 'x', a pipeline in which every stage has an input of its own", "'x.name'")
    check(function(p) p:map("m", { to = "x.g" }, noop):pipeline("x", function(q) q:producer("g", { 1 }) end) end,
      "a producer, which receives no items")
    check(function(p) p:map("x.a", noop):pipeline("x", one) end,
      "stage 'x.a': the name is taken by the stage defined at")
    check(function(p) p:map("m", { to = {} }, noop):pipeline("x", one) end, "stage 'x': no stage sends it anything")
    check(function(p) p:pipeline("x", minigun.pipeline()) end, "stage 'x': the nested pipeline has no stages")
    check(function(p) p:context("db", { fork = 1 }):pipeline(function(q) q:map("a", { context = "bd" }, noop) end) end,
      "stage 'pipeline 1.a': there is no context 'bd' (did you mean 'db'?)")
    check(function(p) p:pipeline("x", function(q) q:map("a", noop):before("b", noop) end) end,
      "hook before: there is no stage 'b'")
    check(function(p) p:pipeline("x", one):pipeline("y", { from = "x" }, one):after("a", noop) end,
      "hook after: there is a stage 'a', which is ambiguous: say 'x.a' or 'y.a'")
    assert.equal(0, before)
    assert.error_matches(function() new():pipeline("x", one):run() end, "there is no producer")
  end)

  it("R13 R70 are refused where they are written when that can be told", function()
    local p, inner, empty = new(), minigun.pipeline "inner", function() end
    inner:pipeline("deep", function(q) q:map(noop) end)
    local kept
    p:pipeline("own", function(q)
      kept = q:pipeline("deep", function(d) d:map(noop) end)
    end)
    refusals.check {
      { function() p:pipeline(p) end, "stage 'outer': pipeline 'outer' would contain itself" },
      { function() p:pipeline(inner) inner:pipeline("x", p) end, "stage 'x': pipeline 'inner' would contain itself" },
      { function() p:pipeline("x", function(q) q:pipeline("y", function(d) d:pipeline("z", p) end) end) end,
        "stage 'x': pipeline 'outer' would contain itself" },
      { function() p:replace("own.deep", kept) end, "stage 'deep': pipeline 'own' would contain itself" },
      { function() p:pipeline("again", inner):pipeline("again", inner) end, "stage 'again': the name is taken" },
      { function() p:pipeline("x") end, "must be a function(inner) that defines its stages, or a pipeline, got nil" },
      { function() p:pipeline("x", empty) end, "its function has defined no stages; define them on its argument" },
      { function() p:pipeline("x", { partition = print }, inner) end,
        "stage 'x': option 'partition' is not for a nested pipeline: it is for stages; give it to those inside" },
      { function() p:pipeline("x", { dead_letter = "y" }, inner) end, "option 'dead_letter' is not for" },
      { function() p:pipeline("x", { too = "y" }, inner) end, "unknown option 'too' (did you mean 'to'?)" },
      { function() p:pipeline("x", { to = "x" }, inner) end, "option 'to' names the stage itself" },
      { function() p:pipeline("x", { processes = 1, fork = 1 }, inner) end, "give one" },
      { function() p:pipeline("x", inner, 5) end, "unexpected argument after the handler" },
      { function() p:pipeline("", inner) end, "name must not be empty" },
    }
  end)
end)

describe("names", function()
  it("R14 are looked up in the own pipeline, then outward, then qualified", function()
    local p = new():producer("gen", { "" }):pipeline("x", function(q)
      q:processor("a", { to = "b" }, mark "1")                                          -- the b beside it
      q:processor("b", mark "2")
      q:pipeline("deep", function(d) d:processor("a", { to = "y.b" }, mark "3") end)    -- none there, nor in x
    end)
    p:pipeline("y", { await = true }, function(q)
      q:processor("b", { to = "c" }, mark "4")                                          -- the c around it
      q:pipeline("deep", function(d) d:processor("c", { await = true }, mark "6") end)
    end)
    p:processor("b", { await = true }, mark "7"):processor("c", { await = true }, mark "5")
    assert.equal("gen>x.a x.a>x.b x.b>x.deep.a x.deep.a>y.b y.b>c", edges(p))
    assert.same({ "12345" }, items(p))
  end)

  it("R14 with a dot in front are looked up in the outermost pipeline only", function()
    local function sink(name) return function(q) q:processor("a", { await = true, to = {} }, mark(name)) end end
    local p = new():producer("gen", { "" }):pipeline("x", function(q)
      q:processor("send", function(item, emit)
        emit:to("y.a", item .. "near ")
        emit:to(".y.a", item .. "far ")
        emit:to(".x.y.a", item .. "full ")
      end):pipeline("y", { await = true }, sink "inner"):processor("too", { from = "send", to = ".y.a" }, mark "edge ")
    end):pipeline("y", { await = true }, sink "outer")
    assert.same({ "far outer", "full inner", "near inner" }, items(p))
    assert.equal("gen>x.send x.send>x.too x.too>y.a", edges(p))
    assert.error_matches(function()
      new():producer("gen", { to = ".a" }, { 1 }):pipeline("x", function(q) q:processor("a", noop) end):run()
    end, "option 'to' names an unknown stage '.a'")
  end)

  it("R14 find what is nested where no other stage has that name", function()
    local p = new():producer("gen", { to = "only" }, { "" })
      :pipeline("x", function(q) q:pipeline("y", { await = true }, function(d) d:processor("only", mark "o") end) end)
    assert.equal("gen>x.y.only", edges(p))
    assert.same({ "o" }, items(p))
    assert.same({ "o" }, p.last:of "only")
    assert.same({ "o" }, p.last:of "y.only")
    assert.same({ "o" }, p.last:of "x")
  end)

  it("qualify stages in results, statistics, failures and ctx", function()
    local p = new():producer("gen", { 1, 2 }):pipeline("enrich", function(q)
      q:processor("parse", { to = {} }, function(n, emit, ctx) emit { ctx.stage, ctx.pipeline, n } end)
      q:processor("fail", { retries = 1 }, function() error "bad" end)
    end)
    local r = p:run { failures = "collect" }
    assert.same({ { "enrich.parse", "outer", 1 }, { "enrich.parse", "outer", 2 } }, r:of "enrich.parse")
    assert.same(r:of "enrich.parse", r:of "parse")
    assert.same(r:of "enrich.parse", r:of "enrich")
    local parse, fail = r.stats.stages["enrich.parse"], r.stats.stages["enrich.fail"]
    assert.same({ 2, 2, 2, 0, 2, 2 }, { parse.items_in, parse.items_out, fail.items_in, fail.items_out, fail.failed,
      fail.retried })
    assert.same({ "enrich.fail", 2 }, { r.failures[1].stage, r.failures[1].attempts })
    refusals.check { { function() r:of("enrich.pars") end, "(did you mean 'enrich.parse'?)" } }
    local two = new():producer("gen", { to = { "x", "y" } }, { 1 }):pipeline("x", { to = {} }, lanes)
      :pipeline("y", { to = {} }, lanes)
    r = new():producer("gen", { to = { "x", "y" } }, { "" }):pipeline("x", lanes):pipeline("y", lanes):run()
    assert.same({ "ac", "bd" }, r:of "x")
    refusals.check { { function() r:of("c") end, "result:of: 'c' is ambiguous: say 'x.c' or 'y.c'" } }
    assert.equal(edges(two), edges(new():producer("gen", { to = { "x", "y" } }, { 1 }):pipeline("x", lanes)
      :pipeline("y", lanes)))
  end)

  it("R15 print shows nested stages with context and edges", function()
    local p = minigun.pipeline "shop":producer("orders", { 1 })
    p:context("db", { fork = 2 })
    p:processes(4, function()
      p:pipeline("check", function(q)
        q:context("mine", { processes = 3 })
        q:map("parse", noop):map("price", { context = "mine" }, noop):batch(10):map("load", { context = "db" }, noop)
        q:map("lost", { context = "dc" }, noop)
      end)
    end)
    p:each("log", noop)
    assert.equal(table.concat({
      "pipeline 'shop', 7 stages",
      "  orders         producer     inline                     -> check.parse",
      "  check.parse    map          processes(4)               -> check.price",
      "  check.price    map          mine: processes(3)         -> check.batch 1",
      "  check.batch 1  batch of 10  inline                     -> check.load",
      "  check.load     map          db: process_per_batch(2)   -> check.lost",
      "  check.lost     map          context 'dc', not defined  -> log",
      "  log            each         inline                     -> (result)",
    }, "\n"), tostring(p))
  end)
end)
