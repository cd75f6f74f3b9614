local graph = require "minigun.language.graph"

-- "gen>a,b" is a producer, "a>b", "c<a", "x>" (to = {}) are stages; order as written.
local function definitions(text)
  local list = {}
  for word in text:gmatch("%S+") do
    local name, arrow, others = word:match("^([^<>]+)([<>]?)(.*)$")
    local names
    if arrow ~= "" then
      names = {}
      for other in others:gmatch("[^,]+") do names[#names + 1] = other end
    end
    local line = #list + 1
    list[line] = {
      name = name, kind = name:find("^gen") and "producer" or "processor", at = ("app.lua:%d"):format(line),
      to = arrow == ">" and names or nil, from = arrow == "<" and names or nil,
    }
  end
  return list
end

local function draw(g)
  local edges = {}
  for _, i in ipairs(g.order) do
    local targets = {}
    for k, target in ipairs(g.outputs[i]) do targets[k] = g.nodes[target].name end
    if #targets > 0 then edges[#edges + 1] = g.nodes[i].name .. ">" .. table.concat(targets, ",") end
  end
  return table.concat(edges, " ")
end

local function order(g)
  local names = {}
  for k, i in ipairs(g.order) do names[k] = g.nodes[i].name end
  return table.concat(names, " ")
end

local function check(cases)
  for _, case in ipairs(cases) do
    local g = graph.build(definitions(case[1]))
    assert.same({}, g.problems, case[1])
    assert.equal(case[2], draw(g), case[1])
    for i in ipairs(g.nodes) do
      for _, target in ipairs(g.outputs[i]) do
        local back = 0
        for _, source in ipairs(g.inputs[target]) do back = back + (source == i and 1 or 0) end
        assert.equal(1, back, "each edge is seen once from its other end")
      end
    end
  end
end

describe("the graph", function()
  it("R2 links a stage to the one defined before it", function()
    check {
      { "gen", "" },
      { "gen a", "gen>a" },
      { "gen a b c", "gen>a a>b b>c" },
    }
  end)

  it("R2 an explicit edge replaces that one link only", function()
    check {
      { "gen>c a<gen b c", "gen>a,c a>b b>c" },
      { "gen a>c b<gen c", "gen>a,b a>c b>c" },
      { "gen a b c<a", "gen>a a>b,c" },
      { "gen a b c<a d", "gen>a a>b,c c>d" },
    }
  end)

  it("R3 to and from mean the same edges, and an edge drawn twice counts once", function()
    check {
      { "gen>a,b a> b>", "gen>a,b" },
      { "gen a<gen b<gen", "gen>a,b" },
      { "gen>a,b a<gen b<gen", "gen>a,b" },
      { "gen>b,a a b", "gen>a,b" },
      { "gen1>c gen2>c c<gen1,gen2", "gen1>c gen2>c" },
    }
  end)

  it("R4 draws diamonds", function()
    check {
      { "gen>a,b a>join b>join join", "gen>a,b a>join b>join" },
      { "gen a<gen b<gen join<a,b", "gen>a,b a>join b>join" },
      { "gen>a,b a>join b join", "gen>a,b a>join b>join" },
    }
  end)

  it("R5 connects each producer to the next stage that is none", function()
    check {
      { "gen1 gen2 gen3 a b", "gen1>a gen2>a gen3>a a>b" },
      { "gen1>b gen2 a b", "gen1>b gen2>a a>b" },
      { "gen1 a gen2 b", "gen1>a a>b gen2>b" },
      { "gen1 gen2 a<gen1 b<gen2", "gen1>a gen2>b" },
    }
  end)

  it("R69 does not wire the branches of a fan-out to each other", function()
    check {
      { "gen>a,b,c a b c", "gen>a,b,c" },
      { "gen>a,b a b c", "gen>a,b b>c" },
      { "gen a>b,c b c d", "gen>a a>b,c c>d" },
      { "gen>b a<gen b", "gen>a,b" },
    }
  end)

  it("R69 an empty to makes a terminal stage", function()
    check {
      { "gen a> b<gen", "gen>a,b" },
      { "gen>", "" },
    }
  end)

  it("R69 closes no cycle by default", function()
    check {
      { "gen>b a<b b", "gen>b b>a" },
      { "gen>c a<b b<c c", "gen>c c>b b>a" },
    }
  end)

  it("R15 keeps a stable topological order: by definition where there is a choice", function()
    for text, expected in pairs {
      ["gen a b c"] = "gen a b c",
      ["c<b b<a a<gen gen"] = "gen a b c",
      ["gen>x,y y x<gen z<x,y"] = "gen y x z",
      ["a<gen1 gen1 b<gen2 gen2"] = "gen1 a gen2 b",
    } do
      for _ = 1, 3 do assert.equal(expected, order(graph.build(definitions(text)))) end
    end
  end)

  it("R13 lists what is wrong, with the line of the definition", function()
    for _, case in ipairs {
      { "", nil, "there is no producer: it has no stages" },
      { "a b", nil, "there is no producer" },
      { "gen>bb aa", "app.lua:1", "stage 'gen': option 'to' names an unknown stage 'bb'" },
      { "gen>parze parse", "app.lua:1", "(did you mean 'parse'?)" },
      { "gen a<x", "app.lua:2", "stage 'a': option 'from' names an unknown stage 'x'" },
      { "gen a>gen", "app.lua:2", "names 'gen', a producer, which receives no items" },
      { "gen a>b b>a", "app.lua:3", "stage 'b': the edges form a cycle: a -> b -> a" },
      { "gen a b c>a", "app.lua:4", "it is not linked to 'b', defined before it, as that would close a cycle" },
      { "gen a b>c c>b", "app.lua:4", "stage 'c': the edges form a cycle: b -> c -> b" },
      { "gen a<gen,c b<a c<b", "app.lua:4", "cycle: a -> b -> c -> a" },
      { "gen a>a", "app.lua:2", "cycle: a -> a" },
      { "a gen b", "app.lua:1", "stage 'a': no stage sends it anything: no stage is defined before it" },
      { "gen a> b", "app.lua:3", "stage 'b': no stage sends it anything: 'a', defined before it, says 'to'" },
      { "gen>b a b", "app.lua:2", "stage 'a': no stage sends it anything: 'gen', defined before it, says 'to'" },
    } do
      local g = graph.build(definitions(case[1]))
      local problem = g.problems[1]
      assert.is_truthy(problem, case[1])
      assert.equal(case[2], problem.at, case[1])
      assert.is_truthy(problem.message:find(case[3], 1, true), case[1] .. ": " .. problem.message)
      assert.equal(#g.nodes, #g.order, "all stages are in the order, also of a broken graph")
    end
  end)

  it("R13 refuses a cycle that no producer feeds, and one after a chain", function()
    for _, text in ipairs { "gen x a<c b<a c<b", "gen a b>a c>d d>c" } do
      assert.is_truthy(graph.build(definitions(text)).problems[1].message:find("cycle", 1, true))
    end
  end)

  it("orders long chains", function()
    local words = { "gen" }
    for i = 1, 1500 do words[#words + 1] = "s" .. i end
    local text = table.concat(words, " ")
    local g = graph.build(definitions(text))
    assert.equal(text, order(g))
    assert.same({}, g.problems)
  end)
end)
