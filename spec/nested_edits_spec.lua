-- Copies of pipelines with nested ones, changed inside.
local contexts = require "spec.contexts"
local minigun = require "minigun"
local nested = require "spec.nested"
local refusals = require "spec.refusals"
local support = require "spec.support"

local sorted = contexts.sorted
local new, mark, chain, edges, items =
  nested.new, nested.mark, nested.chain, nested.edges, nested.items

local function noop() end
local function pass(item, emit) emit(item) end

describe("a copy of a pipeline with nested ones", function()
  local function base()
    return new():producer("gen", { "" }):processor("s", mark "s")
      :pipeline("x", function(q)
        q:processor("a", mark "a"):pipeline("y", function(d) chain(d, "b c") end):processor("d", mark "d")
      end):processor("t", mark "t")
  end

  it("R55 R56 is changed inside by qualified names, and the base stays", function()
    local p = base()
    local drawing = tostring(p)
    local function add(q) q:pipeline("z", function(z) chain(z, "1 2") end) end
    for _, case in ipairs {
      { function(q) q:replace("x.a", mark "A") end, "sAbcdt" },
      { function(q) q:replace("x.y.b", mark "B") end, "saBcdt" },
      { function(q) q:replace("b", mark "B") end, "saBcdt" },
      { function(q) q:remove "x.y.b" end, "sacdt" },
      { function(q) q:remove "x.y" end, "sadt" },
      { function(q) q:remove "x" end, "st" },
      { function(q) q:remove "x.a":remove "x.d" end, "sbct" },
      { function(q) q:insert_after("x.y.b", "1", mark "1") end, "sab1cdt" },
      { function(q) q:insert_after("x.d", "1", mark "1") end, "sabcd1t" },
      { function(q) q:insert_after("x.y", "1", mark "1") end, "sabc1dt" },
      { function(q) q:insert_after("x", "1", mark "1") end, "sabcd1t" },
      { function(q) q:insert_before("x.y.b", "1", mark "1") end, "sa1bcdt" },
      { function(q) q:insert_before("x.a", "1", mark "1") end, "s1abcdt" },
      { function(q) q:insert_before("x.y", "1", mark "1") end, "sa1bcdt" },
      { function(q) q:insert_before("x", "1", { processes = 1 }, mark "1") end, "s1abcdt" },
      { function(q) q:insert_after("s", add) end, "s12abcdt" },
      { function(q) q:insert_after("x", add) end, "sabcd12t" },
      { function(q) q:insert_before("x", add) end, "s12abcdt" },
      { function(q) q:insert_after("x.a", add) end, "sa12bcdt" },
      { function(q) q:insert_after("x.y", add) end, "sabc12dt" },
      { function(q) q:replace("x", function(i) chain(i, "1 2") end) end, "s12t" },
      { function(q) q:replace("x.y", chain(minigun.pipeline(), "1 2")) end, "sa12dt" },
      { function(q) q:replace("x", { processes = 1 }) end, "sabcdt" },
      { function(q) q:reroute("x.a", "x.d"):remove "x.y" end, "sadt" },
      { function(q) q:reroute("x.a", { "x.d", "x.y" }) end, "sabcdt", "sadt" },
      { function(q) q:reroute("x.a", { "t", "x.y" }) end, "sabcdt", "sat" },
      { function(q) q:reroute("s", { "x.y.c", "x.a" }) end, "sabcdt", "scdt" },
      { function(q) q:reroute("x", {}):remove "t" end, "sabcd" },
      { function(q) q:reroute("s", { "x", "t" }) end, "sabcdt", "st" },
    } do
      local copy = p:extend("copy", case[1])
      assert.same(sorted { case[2], case[3] }, items(copy), "line " .. debug.getinfo(case[1], "S").linedefined)
      assert.equal(drawing, tostring(p))
    end
    assert.same({ "sabcdt" }, items(p))
    local copy = p:extend()
    p:remove "x.a"
    assert.same({ { "sbcdt" }, { "sabcdt" } }, { items(p), items(copy) })
  end)

  it("R55 looks up what a new stage names from the inside outward, as it stands in the group", function()
    local function sends(name, to)
      return function(q) q:insert_after(name, function(i) i:processor("n", { to = to }, mark "n") end) end
    end
    local function twins()
      return new():producer("gen", { "" }):pipeline("x", function(q) chain(q, "a b") end)
        :pipeline("y", { from = "x" }, function(q) chain(q, "a b") end):processor("b", { from = "y" }, mark "b")
    end
    assert.equal("gen>x.a x.a>x.n x.n>x.b x.b>y.a y.a>y.b y.b>b", edges(twins():extend("copy", sends("x.a", "b"))))
    assert.equal("gen>x.a x.a>x.b x.b>y.a y.a>y.n y.n>y.b y.b>b", edges(twins():extend("copy", sends("y.a", "b"))))
    assert.equal("gen>x.a,x.b x.a>x.n x.n>b x.b>y.a y.a>y.b y.b>b", edges(twins():extend("copy", sends("x.a", ".b"))))
  end)

  it("R55 does not change a pipeline object that others have nested too", function()
    local shared = chain(minigun.pipeline "shared", "a b")
    local p = new():producer("gen", { "" }):pipeline(shared)
    local q = new():producer("gen", { "" }):pipeline("one", shared):processor("-", mark "-"):pipeline("two", shared)
    p:replace("shared.a", mark "A")
    q:remove "two.b"
    assert.same({ { "Ab" }, { "ab-a" } }, { items(p), items(q) })
    assert.same({ "ab" }, items(shared:extend():producer("gen", { to = "a" }, { "" })))
    shared:processor("c", mark "c")
    assert.same({ { "Ab" }, { "abc-a" } }, { items(p), items(q) }) -- p and "two" have copies now
  end)

  it("R55 keeps edges that cross the borders, and takes hooks along with what is removed", function()
    local p = new():producer("gen", { to = { "x.a", "x.b" } }, { "" })
      :pipeline("x", function(q)
        q:processor("a", { await = true, to = "join" }, mark "a")
        q:processor("b", { await = true, to = "join" }, mark "b")
      end):processor("join", { from = { "x.a", "x.b" } }, mark "j")
      :before("x.a", function() error "removed" end):after("join", noop)
    assert.equal("gen>x.a,x.b x.a>join x.b>join", edges(p))
    local copy = p:extend():remove "x.a"
    assert.same({ "bj", "j" }, items(copy))
    copy = p:extend():insert_after("x.a", "more", mark "m"):replace("x.a", mark "A")
    assert.equal("gen>x.a,x.b x.a>x.more x.more>join x.b>join", edges(copy))
    assert.equal("gen>join", edges(p:extend():remove "x"))
    refusals.check {
      { function() p:remove("x.c") end, "remove: there is no stage 'x.c'" },
      { function() p:reroute("x.a", "gen") end, "reroute: stage 'x.a' cannot send to 'gen', a producer" },
      { function() p:reroute("x.a", "a") end, "reroute: stage 'x.a' cannot send to 'x.a', itself" },
      { function() p:pipeline("y", chain(minigun.pipeline(), "a")):remove "a" end,
        "remove: there is a stage 'a', which is ambiguous: say 'x.a' or 'y.a'" },
    }
  end)

  it("R55 hands routes on, by the names that the sender says", function()
    local p = new():producer("gen", { "1", "2" }):pipeline("x", function(q)
      q:processor("deal", { to = { "odd", "even" }, route = function(n)
        return n == "1" and "odd" or "x.even"
      end }, pass)
      q:processor("odd", { to = {} }, mark "o"):processor("even", { from = "deal" }, mark "e")
    end):processor("t", mark "t")
    assert.same({ "1ot", "2et" }, items(p))
    assert.same({ "1t", "2et" }, items(p:extend():remove "x.odd"))
    assert.same({ "1ot", "2t" }, items(p:extend():remove "x.even"))
    assert.same({ "1not", "2et" }, items(p:extend():insert_before("x.odd", "new", mark "n")))
    assert.same({ "1net", "2net" }, items(p:extend():insert_after("x.deal", "new", mark "n"))) -- "1n" is not "1"
  end)

  it("R55 joins the neighbours of what is removed through the borders of its pipeline", function()
    local p = new():producer("gen", { "" }):pipeline("x", function(q)
      q:processor("a", { to = "c" }, mark "a"):processor("b", { to = { "c", "d" } }, mark "b")
      q:processor("c", { to = {} }, mark "c"):processor("d", { from = "b" }, mark "d")
    end):processor("t", mark "t")
    assert.same({ "act", "bct", "bdt" }, items(p))
    assert.same({ "bct", "bdt", "ct" }, items(p:extend():remove "x.a"))
    assert.same({ "act", "bct", "bt" }, items(p:extend():remove "x.d"))
    assert.same({ "at", "bdt", "bt" }, items(p:extend():remove "x.c"))
  end)

  it("R55 R35 hooks of the base's nested pipelines run in the copy too", function()
    local p = base()
    p.by_name.x.inner:before_run(function(ctx) ctx:count "before_run" end)
    local copy = p:extend():before("x.a", function(ctx) ctx:count "before" end)
    assert.same({ before_run = 1, before = 1 }, copy:run().counters)
    assert.same({ before_run = 1 }, p:run().counters)
  end)
end)

-- What p:remove does, on data.
local function remove(nodes, gone)
  local sources, place = {}, nil
  for _, source in ipairs(gone.from) do
    sources[source] = true
    source.exit = source.exit or gone.exit
  end
  for i, node in ipairs(nodes) do
    local from, takes, rest = {}, false, {}
    for source in pairs(sources) do rest[source] = true end
    for _, source in ipairs(node.from) do
      takes = takes or source == gone
      if source ~= gone then from[#from + 1] = source end
      rest[source] = nil
    end
    if takes then
      for source in pairs(rest) do from[#from + 1] = source end
      node.from, node.entry = from, node.entry or gone.entry
    end
    if node == gone then place = i end
  end
  table.remove(nodes, place)
end

-- Every node with its qualified name and the list that it is in.
local function all_nodes(nodes, prefix, list)
  for _, node in ipairs(nodes) do
    list[#list + 1] = { name = prefix .. node.name, node = node, nodes = nodes }
    if node.inner then all_nodes(node.inner, prefix .. node.name .. ".", list) end
  end
  return list
end

it("R55 R56 random edits of random nestings do what they say", function()
  local seed = tonumber(os.getenv "SEED") or os.time()
  math.randomseed(seed)
  for round = 1, support.short_or_long(30, 1500) do
    local nodes = nested.random(3, { contexts.numbered[1] })
    local p = nested.define(new():producer("gen", { to = {} }, { "" }), nodes)
      :processor("end", { await = true }, mark "")
    local drawing, before, log = tostring(p), nested.expected(nodes, { "" }), {}
    local copy, last = p:extend(), math.random(4)
    for i = 1, last do
      local list = all_nodes(nodes, "", {})
      local at = list[math.random(#list)]
      local what, node = math.random(4), at.node
      log[i] = what .. " " .. at.name
      if what == 1 then
        -- Edges that a removal draws across a border do not go through what is inserted there: so it comes last.
        local passes = node.entry and node.exit
        if i == last and #at.nodes > 1 and not passes and node.before .. node.after == "" then
          copy:remove(at.name)
          remove(at.nodes, node)
        end
      elseif what == 2 then
        copy:insert_after(at.name, "after" .. i, mark(i))
        node.after = i .. node.after
      elseif what == 3 then
        copy:insert_before(at.name, "before" .. i, mark(i))
        node.before = node.before .. i
      elseif not node.inner then
        copy:replace(at.name, function(item, emit) emit(item .. node.name) end)
      end
    end
    if #before <= 2000 then
      local text = ("SEED=%d, round %d, %s:\n%s\n"):format(seed, round, table.concat(log, ", "), drawing)
      assert.equal(drawing, tostring(p), text)
      local ok, found = pcall(items, copy)
      assert.is_true(ok, text .. tostring(copy))
      assert.same(sorted(nested.expected(nodes, { "" })), found, text .. tostring(copy))
    end
  end
end)
