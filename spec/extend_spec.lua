-- Pipelines made from others: copies, edits of stages and edges, and objects whose methods are the handlers.
local contexts = require "spec.contexts"
local minigun = require "minigun"
local support = require "spec.support"
local refusals = require "spec.refusals"

local sorted, options = contexts.sorted, contexts.options

local function noop() end
local function pass(item, emit) emit(item) end

-- A stage's mark is added to each item that passes: items tell their way.
local function mark(name)
  return function(item, emit) emit(item .. name) end
end

local function items(p)
  return sorted(p:run().items)
end

-- Without repetitions: hooks run in each worker.
local function firsts(list)
  local result, seen = {}, {}
  for _, value in ipairs(list) do
    if not seen[value] then result[#result + 1] = value end
    seen[value] = true
  end
  return result
end

-- The edges of a pipeline as text: "gen>a a>b,c"
local function edges(p)
  local g, list = require("minigun.language.graph").build(p.stages), {}
  assert.same({}, g.problems)
  for _, i in ipairs(g.order) do
    local targets = {}
    for k, target in ipairs(g.outputs[i]) do targets[k] = p.stages[target].name end
    list[#list + 1] = p.stages[i].name .. ">" .. table.concat(targets, ",")
  end
  return table.concat(list, " ")
end

-- A list of names: a chain of stages that mark, with the options given by name.
local function chain(names, given)
  local p = minigun.pipeline "base":producer("gen", { "" })
  for name in names:gmatch "%S+" do
    local o = given and given[name]
    if o then p:processor(name, o, mark(name)) else p:processor(name, mark(name)) end
  end
  return p
end

local function diamond()
  return chain("split l r join", { split = { to = { "l", "r" } }, join = { from = { "l", "r" } } })
end

for _, context in ipairs(contexts.all) do
  describe(("[%s]"):format(context.name), function()
    it("R55 a copy is changed and run without touching its base, and the other way round", function()
      local base = minigun.pipeline "base":producer("gen", { 1, 2, 3 })
        :map("double", options(context), function(x) return 2 * x end)
        :map("plus", options(context), function(x) return x + 1 end)
      local drawing = tostring(base)
      local copy = base:extend("copy", function(p)
        p:replace("double", function(x) return 10 * x end)
        p:insert_after("double", "both", options(context), function(x, emit) emit(x) emit(-x) end)
        p:remove("plus")
        p:insert_before("double", "small", { inline = true }, function(x, emit) if x < 3 then emit(x) end end)
        p:map("text", options(context), function(x) return "n" .. x end)
      end)
      assert.same({ "n-10", "n-20", "n10", "n20" }, items(copy))
      assert.same({ 3, 5, 7 }, items(base))
      assert.equal(drawing, tostring(base))
      assert.equal("copy", copy.last.pipeline)
      base:remove("plus"):replace("gen", { 5 })
      assert.same({ 10 }, items(base))
      assert.same({ "n-10", "n-20", "n10", "n20" }, items(copy))
    end)

    it("R55 hooks of base and copy both run, the base's first", function()
      local function tell(text)
        return function(ctx) ctx:collect("hooks", text) end
      end
      local base = minigun.pipeline "base":producer("gen", { 1 })
        :processor("work", options(context, { before = tell "option of base" }), pass)
        :before("work", tell "base"):after("work", tell "after base")
      local order = {}
      base:before_run(function() order[#order + 1] = "base" end)
      local copy = base:extend("copy"):before("work", tell "copy"):after("work", tell "after copy")
        :before_run(function() order[#order + 1] = "copy" end)
        :replace("work", { before = tell "option of copy" }, pass)
      assert.same({ "option of base", "base", "copy", "option of copy", "after base", "after copy" },
        firsts(copy:run().collected.hooks))
      assert.same({ "base", "copy" }, order)
      assert.same({ "option of base", "base", "after base" }, firsts(base:run().collected.hooks))
      assert.same({ "base", "copy", "base" }, order)
    end)

    it("R56 rerouting works onto stages in any context, with several upstreams", function()
      local base = minigun.pipeline "base"
        :producer("a", { to = "left" }, { "a" }):producer("b", { to = "right" }, { "b" })
        :processor("left", options(context, { to = "save" }), mark "l")
        :processor("right", options(context, { to = "save" }), mark "r")
        :processor("save", mark "s")
      local copy = base:extend("copy", function(p)
        for _, target in ipairs(contexts.kinds) do
          p:processor("to " .. target.number, options(target, { from = "left", to = {} }), mark(target.number))
        end
        local all = {}
        for _, target in ipairs(contexts.kinds) do all[#all + 1] = "to " .. target.number end
        p:reroute("left", all):reroute("right", { "save", table.unpack(all) }):reroute("save", {})
      end)
      local expected = { "brs" }
      for _, target in ipairs(contexts.kinds) do
        expected[#expected + 1], expected[#expected + 2] = "al" .. target.number, "br" .. target.number
      end
      assert.same(contexts.sorted(expected), items(copy))
      assert.same({ "als", "brs" }, items(base))
    end)

    it("R56 rerouting, inserting and removing work inside groups", function()
      local function block(p)
        p:processor("a", mark "a"):processor("b", mark "b"):processor("c", mark "c")
      end
      local base = minigun.pipeline "base":producer("gen", { "x", "y" })
      if context.per_item then base:process_per_batch(context.options.process_per_batch, block)
      elseif context.threads then base:threads(context.n, block)
      elseif context.inline then base:inline(block)
      else base:processes(context.n, block) end
      base:processor("end", { inline = true }, mark ".")
      assert.same({ "xabc.", "yabc." }, items(base))
      assert.same({ "xac.", "yac." }, items(base:extend():remove "b"))
      assert.same({ "xac.", "yac." }, items(base:extend():reroute("a", "c"):remove "b"))
      assert.same({ "xab.", "xabc.", "yab.", "yabc." }, items(base:extend():reroute("b", { "c", "end" })))
      assert.same({ "xa1bc.", "ya1bc." }, items(base:extend():insert_after("a", "1", mark "1")))
      assert.same({ "x1abc.", "y1abc." }, items(base:extend():insert_before("a", "1", { inline = true }, mark "1")))
      assert.same({ "xab1c.", "yab1c." }, items(base:extend():insert_before("c", "1", { inline = true }, mark "1")))
      assert.same({ "xab12c.", "yab12c." }, items(base:extend():insert_after("b", function(p)
        p:processor("1", { processes = 2 }, mark "1"):processor("2", mark "2")
      end)))
    end)

    it("binds handlers by name to methods of an object, overridden by those of a subclass", function()
      local Base = {}
      Base.__index = Base
      function Base:numbers(emit, ctx) for i = 1, self.n do emit(ctx.stage and i) end end
      function Base:work(item, emit, ctx) ctx:count "work" emit(self:scale(item)) end
      function Base:scale(item) return item * self.factor end
      function Base:plus(item) return item + 1 end
      function Base:both(item) return { item, -item } end
      function Base:positive(item) return item > 0 end
      function Base:sum(batch, emit)
        local sum = 0
        for _, item in ipairs(batch) do sum = sum + item end
        emit(sum * self.factor)
      end
      local Derived = setmetatable({}, { __index = Base })
      Derived.__index = Derived
      function Derived:scale(item) return -Base.scale(self, item) end
      function Derived:positive() return true end

      local base = minigun.pipeline "base":producer("numbers", "numbers"):processor("work", options(context), "work")
        :map("plus", options(context), "plus"):flat_map("both", "both"):filter("positive", options(context), "positive")
        :accumulator("sum", options(context, { max_size = 100 }), "sum")
      base:bind(setmetatable({ n = 3, factor = 10 }, Base))
      local result = base:run()
      assert.same({ 630 }, result.items)
      assert.equal(3, result.counters.work)
      local copy = base:extend("copy")
      assert.same({ 630 }, copy:run().items)
      copy:bind(setmetatable({ n = 2, factor = 1 }, Derived))
      assert.same({ 0 }, copy:run().items)
      assert.same({ 630 }, base:run().items)
    end)
  end)
end

describe("extend", function()
  it("R55 takes a name, options and a block, each of which may be left out", function()
    local base = minigun.pipeline("base", { memory = "1M", max_restarts = 3 }):producer("gen", { 1 })
    base:run()
    local seen
    local function block(p) seen = p end
    for _, case in ipairs {
      { base:extend(), "base", 3 }, { base:extend "x", "x", 3 }, { base:extend("x", { max_restarts = 4 }), "x", 4 },
      { base:extend("x", { max_restarts = 4 }, block), "x", 4, block = true }, { base:extend("x", block), "x", 3,
      block = true }, { base:extend(block), "base", 3, block = true }, { base:extend { max_restarts = 5 }, "base", 5 },
      { base:extend(nil, nil, block), "base", 3, block = true },
    } do
      local copy = case[1]
      assert.same({ case[2], case[3], 1048576 }, { copy.name, copy.options.max_restarts, copy.options.memory })
      assert.is_nil(copy.last)
      assert.same({ 1 }, copy:run().items)
    end
    assert.is_not_nil(seen)
    assert.same({ 3, "base" }, { base.options.max_restarts, base.last.pipeline })
  end)

  it("R55 gives the copy contexts of its own, shared as in the base", function()
    local base = minigun.pipeline "base":context("db", { processes = 2 }):producer("gen", { 1, 2, 3, 4 })
    base:processes(2, function(p)
      p:processor("a", function(_, emit, ctx) emit(ctx.pid) end)
      p:processor("b", function(pid, emit, ctx) emit(pid == ctx.pid) end)
    end)
    base:processor("c", { context = "db" }, pass)
    local copy = base:extend "copy"
    assert.same({ true, true, true, true }, copy:run().items)
    assert.equal(copy.by_name.a.context, copy.by_name.b.context)
    assert.not_equal(base.by_name.a.context, copy.by_name.a.context)
    assert.not_equal(base.contexts.db, copy.contexts.db)
    copy:context("db", { processes = 1 })
    assert.matches("c +processor +db: processes%(1%)", tostring(copy))
    assert.matches("c +processor +db: processes%(2%)", tostring(base))
    refusals.check { { function() copy:context("db", { processes = 2 }) end, "context 'db': the name is taken" } }
  end)

  it("R55 copies copies: a chain of three, each with its own change", function()
    local a = chain "x y z"
    local b = a:extend("b"):replace("y", mark "2")
    local c = b:extend("c"):remove "x"
    local d = c:extend("d"):processor("w", mark "w")
    assert.same({ { "xyz" }, { "x2z" }, { "2z" }, { "2zw" } }, { items(a), items(b), items(c), items(d) })
  end)

  it("R55 keeps edges apart that both replace and reroute", function()
    local base = diamond()
    local copy = base:extend():reroute("split", "l"):remove "r"
    base:replace("split", { retries = 1 }, mark "S"):replace("join", { retries = 1 })
    assert.equal("gen>split split>l,r l>join r>join join>", edges(base))
    assert.equal("gen>split split>l l>join join>", edges(copy))
    copy:replace("split", mark "T"):replace("l", { partition = noop })
    assert.equal(noop, copy:replace("l", mark "L").by_name.l.partition)
    assert.equal("gen>split split>l l>join join>", edges(copy))
    assert.same({ { "TLjoin" }, { "SljoiN", "SrjoiN" } },
      { items(copy:replace("l", { partition = function(x) return x end })), items(base:replace("join", mark "joiN")) })
  end)

  it("R55 shares stages that the base only names: the copy defines them", function()
    local base = minigun.pipeline "base":producer("gen", { "" }):processor("work", { to = "save" }, mark "w")
    assert.same({ "ws" }, items(base:extend():processor("save", mark "s")))
    refusals.check {
      { function() base:remove("work") end, "remove: stage 'work' says to = 'save', a stage that is not there" },
    }
  end)
end)

describe("replace", function()
  it("keeps place, edges and the options that are not given", function()
    local p = diamond():replace("l", { retries = 2 }, mark "L"):replace("split", { processes = 1 })
    assert.equal("gen>split split>l,r l>join r>join join>", edges(p))
    assert.equal(2, p.by_name.l.options.retries)
    p:replace("l", mark "M")
    assert.equal(2, p.by_name.l.options.retries)
    assert.same({ "splitMjoin", "splitrjoin" }, items(p))
    p:replace("l", { to = {} })
    assert.equal("gen>split split>l,r l>join r>join join>", edges(p), "join still says from")
  end)

  it("keeps the context unless another is given", function()
    local p = minigun.pipeline():producer("gen", { 1 })
    p:processes(2, function() p:processor("a", noop):processor("b", { process_per_batch = 3 }, noop) end)
    local block = p.by_name.a.context
    assert.equal(block, p:replace("a", noop).by_name.a.context)
    assert.same({ kind = "processes", n = 4 }, p:replace("a", { processes = 4 }).by_name.a.context)
    assert.same({ kind = "processes", n = 4 }, p:replace("a", { retries = 1 }).by_name.a.context)
    assert.equal(block, p:replace("a", { processes = false }).by_name.a.context)
    assert.same({ kind = "inline" }, p:replace("b", { inline = true }).by_name.b.context)
    p:process_per_batch(1, function() p:replace("b", noop) end)
    assert.same({ kind = "process_per_batch", n = 1 }, p.by_name.b.context)
  end)

  it("takes a source, a batch's size, and a handler for a batch", function()
    local p = minigun.pipeline():producer("gen", { 1, 2, 3 }):batch("b", 2)
    p:replace("gen", { 4, 5, 6, 7 }):replace("b", 4)
    assert.same({ { 4, 5, 6, 7 } }, p:run().items)
    p:replace("b", { max_size = 2 })
    assert.equal(2, #p:run().items)
    p:replace("b", function(batch, emit) emit(#batch) end)
    assert.same({ 2, 2 }, p:run().items)
  end)
end)

describe("remove", function()
  it("joins the neighbours", function()
    assert.equal("gen>b b>c c>", edges(chain "a b c":remove "a"))
    assert.equal("gen>a a>c c>", edges(chain "a b c":remove "b"))
    assert.equal("gen>a a>b b>", edges(chain "a b c":remove "c"))
    assert.equal("gen>l,r l>join r>join join>", edges(diamond():remove "split"))
    assert.equal("gen>split split>r,join r>join join>", edges(diamond():remove "l"))
    assert.equal("gen>split split>l,r l> r>", edges(diamond():remove "join"))
    assert.equal("gen>split split>join join>", edges(diamond():remove("l"):remove "r"))
    assert.equal("gen>a a>b b>", edges(chain "a b":producer("more", { to = "b" }, { 1 }):remove "more"))
  end)

  it("takes the stage's hooks along, and frees its name", function()
    local p = chain "a b":before("a", function() error "removed" end):remove "a"
    assert.same({ "b" }, items(p))
    assert.same({ "ba" }, items(p:processor("a", mark "a")))
  end)

  it("hands the stage's route to the one that sent to it, and renames it in routes", function()
    local p = minigun.pipeline():producer("gen", { "a", "b" })
      :processor("pass", pass):processor("sort", { to = { "a", "b" }, route = function(x) return x end }, pass)
      :processor("a", { from = "sort", to = "end" }, mark "1"):processor("b", { from = "sort", to = "end" }, mark "2")
      :processor("end", pass)
    assert.same({ "a1", "b2" }, items(p:extend():remove "sort"))
    assert.same({ "a", "b2" }, items(p:extend():remove "a"))
    assert.same({ "a0", "b2" }, items(p:extend():replace("a", mark "0")))
  end)
end)

describe("insert_after and insert_before", function()
  it("put a stage between a stage and its neighbours", function()
    local function after(p, name) return edges(p:insert_after(name, "n", mark "n")) end
    local function before(p, name) return edges(p:insert_before(name, "n", mark "n")) end
    assert.equal("gen>n n>a a>", after(chain "a", "gen"))
    assert.equal("gen>a a>n n>", after(chain "a", "a"))
    assert.equal("gen>n n>a a>", before(chain "a", "a"))
    assert.equal("gen>split split>n n>l,r l>join r>join join>", after(diamond(), "split"))
    assert.equal("gen>split split>l,r l>n n>join r>join join>", after(diamond(), "l"))
    assert.equal("gen>n n>split split>l,r l>join r>join join>", before(diamond(), "split"))
    assert.equal("gen>split split>n,r n>l l>join r>join join>", before(diamond(), "l"))
    assert.equal("gen>split split>l,r l>n r>n n>join join>", before(diamond(), "join"))
    local two = minigun.pipeline():producer("p", { 1 }):producer("q", { 2 }):processor("a", noop)
    assert.equal("p>n n>a q>a a>", after(two, "p"))
    local open = chain("split l r", { split = { to = { "l", "r" } } })
    assert.equal("gen>split split>l,r l>n n> r>", after(open, "l"))
  end)

  it("take a block, whose stages are linked as if they stood there", function()
    local p = chain "a b":insert_after("a", function(p)
      p:batch("two", 2):flat_map("back", function(batch) return batch end)
    end)
    assert.equal("gen>a a>two two>back back>b b>", edges(p))
    assert.same({ "ab" }, items(p))
    p = chain "a b":insert_before("a", function(q) q:producer("more", { "m" }):map("x", function(x) return x end) end)
    assert.equal("gen>x more>x x>a a>b b>", edges(p))
    p = chain "a b":insert_after("a", function(q) q:producer("more", { "m" }) end)
    assert.equal("gen>a a>b more>b b>", edges(p))
    p = diamond():insert_after("l", function(q)
      q:processor("one", mark "1"):processor("log", { from = "one", to = {} }, mark "log"):processor("two",
        { from = "one" }, mark "2")
    end)
    assert.equal("gen>split split>l,r l>one one>log,two log> two>join r>join join>", edges(p))
    assert.equal("gen>a a>", edges(chain "a":insert_after("a", noop)))
  end)

  it("run in the group that the stage was defined in, or in the workers of the row of a table", function()
    local p = minigun.pipeline():producer("gen", { 1 })
    p:processes(2, function() p:processor("a", noop):processor("b", noop) end)
    p:insert_after("a", "c", noop):insert_after("a", "d", { processes = 1 }, noop):insert_before("a", "e", noop)
    assert.equal(p.by_name.a.context, p.by_name.c.context)
    assert.equal(p.by_name.a.context, p.by_name.e.context)
    assert.equal(1, p.by_name.d.context.n)
    p:inline(function() p:insert_after("a", "f", noop) end)
    assert.equal("inline", p.by_name.f.context.kind)
    local rows = minigun.pipeline { source = { 1 }, { "a", run = noop, processes = 2 }, { "b", run = noop } }
    rows:insert_after("a", "c", noop)
    assert.equal(rows.by_name.a.context, rows.by_name.c.context)
  end)

  it("leave a chain that can be added to", function()
    local p = chain "a b":insert_after("b", "c", mark "c"):insert_before("a", "0", mark "0"):remove("b")
    assert.same({ "0acd" }, items(p:processor("d", mark "d")))
  end)

  it("keep routes: a stage that is put after takes them over, a stage that is put before is found by them", function()
    local function sorter()
      return minigun.pipeline():producer("gen", { "a", "b" })
        :processor("sort", { to = { "a", "b" }, route = function(x) return x:sub(1, 1) end }, pass)
        :processor("a", { from = "sort", to = {} }, mark "1"):processor("b", { from = "sort", to = {} }, mark "2")
    end
    assert.same({ "a-1", "b-2" }, items(sorter():insert_after("sort", "n", mark "-")))
    assert.same({ "a-1", "b2" }, items(sorter():insert_before("a", "n", mark "-")))
  end)

  it("R56 rename a target in what a route returns as a list, and keep the others", function()
    local function sorter()
      return minigun.pipeline():producer("gen", { "x", "y" })
        :processor("sort", { to = { "a", "b", "c" }, route = function(x)
          return x == "x" and { "a", "b", "c" } or { "c", "a" }
        end }, pass)
        :processor("a", { from = "sort", to = {} }, mark "1"):processor("b", { from = "sort", to = {} }, mark "2")
        :processor("c", { from = "sort", to = {} }, mark "3")
    end
    assert.same({ "x1", "x2", "x3", "y1", "y3" }, items(sorter()))
    assert.same({ "x-1", "x2", "x3", "y-1", "y3" }, items(sorter():insert_before("a", "n", mark "-")))
    assert.same({ "x-3", "x1", "x2", "y-3", "y1" }, items(sorter():insert_before("c", "n", mark "-")))
    assert.same({ "x1", "x3", "y1", "y3" }, items(sorter():remove "b")) -- to which nothing was after it
  end)

  it("leave nothing behind where the definition is refused", function()
    local p = chain "a b"
    assert.is_false(pcall(p.insert_after, p, "a", function(q)
      q:processor("c", { before = noop }, noop)
      q:processor("a", noop)
    end))
    assert.equal("gen>a a>b b>", edges(p))
    assert.equal(0, #p.hooks)
    assert.same({ "acb" }, items(p:insert_after("a", "c", mark "c")))
  end)
end)

describe("random edits", function()
  it("R56 keep what a model of edges expects", function()
    local seed = tonumber(os.getenv "SEED") or os.time()
    math.randomseed(seed)
    for round = 1, support.short_or_long(50, 200) do
      local p = minigun.pipeline():producer("gen", { 1 })
      local names, model = { "gen" }, { gen = {} }
      local count = math.random(3, 6)
      for i = 1, count do
        local name, from, to = "s" .. i, nil, nil
        if math.random() < 0.4 then from = names[math.random(#names)] end
        if math.random() < 0.3 then to = "s" .. math.random(i + 1, count + 1) end
        p:processor(name, { from = from, to = to, await = math.random() < 0.1 or nil }, noop)
        names[#names + 1], model[name] = name, {}
        if math.random() < 0.1 then
          p:producer("p" .. i, { 1 })
          names[#names + 1], model["p" .. i] = "p" .. i, {}
        end
      end
      p:processor("s" .. count + 1, noop)
      names[#names + 1], model["s" .. count + 1] = "s" .. count + 1, {}
      local g = require("minigun.language.graph").build(p.stages)
      for i, definition in ipairs(p.stages) do
        for _, target in ipairs(g.outputs[i]) do model[definition.name][p.stages[target].name] = true end
      end
      for step = 1, math.min(6, count) do
        local at, new = names[math.random(#names)], "n" .. step
        local what = math.random(3)
        if what == 1 then
          p:insert_after(at, new, noop)
          model[new], model[at] = model[at], { [new] = true }
          names[#names + 1] = new
        elseif what == 2 and p.by_name[at].kind ~= "producer" then
          p:insert_before(at, new, noop)
          for _, targets in pairs(model) do
            if targets[at] then targets[at], targets[new] = nil, true end
          end
          model[new] = { [at] = true }
          names[#names + 1] = new
        elseif what == 3 then
          p:remove(at)
          for _, targets in pairs(model) do
            if targets[at] then
              targets[at] = nil
              for target in pairs(model[at]) do targets[target] = true end
            end
          end
          model[at] = nil
          for i = #names, 1, -1 do if names[i] == at then table.remove(names, i) end end
        end
        local present = {}
        g = require("minigun.language.graph").build(p.stages)
        for i, definition in ipairs(p.stages) do
          present[definition.name] = {}
          for _, target in ipairs(g.outputs[i]) do present[definition.name][p.stages[target].name] = true end
        end
        assert.same(model, present, ("SEED=%d round %d step %d"):format(seed, round, step))
      end
    end
  end)
end)

describe("mistakes", function()
  it("are refused at the user's line", function()
    local p = chain "parse save"
    refusals.check {
      { function() p:replace("prase", noop) end, "replace: there is no stage 'prase' (did you mean 'parse'?)" },
      { function() p:remove("sav") end, "remove: there is no stage 'sav' (did you mean 'save'?)" },
      { function() p:insert_after("prase", "x", noop) end, "insert_after: there is no stage", "'parse'?" },
      { function() p:insert_before("prase", "x", noop) end, "insert_before: there is no stage", "'parse'?" },
      { function() p:reroute("prase", "save") end, "reroute: there is no stage 'prase' (did you mean 'parse'?)" },
      { function() p:reroute("parse", { "svae" }) end, "reroute: there is no stage 'svae' (did you mean 'save'?)" },
      { function() p:reroute("parse", "parse") end, "reroute: stage 'parse' cannot send to 'parse', itself" },
      { function() p:reroute("parse", "gen") end, "cannot send to 'gen', a producer" },
      { function() p:reroute("parse") end, "reroute: the targets must be a stage's name or an array", "got nil" },
      { function() p:remove(noop) end, "remove: the stage must be a name" },
      { function() p:replace("parse") end, "replace: stage 'parse': give options, a handler, or both" },
      { function() p:replace("parse", nil) end, "stage 'parse': the handler must be a function", "got nil" },
      { function() p:replace("parse", { retires = 2 }, noop) end, "did you mean 'retries'?" },
      { function() p:insert_after("parse", "save", noop) end, "stage 'save': the name is taken" },
      { function() p:insert_after("parse", "x") end, "stage 'x': the handler must be a function" },
      { function() p:insert_after("parse", {}, noop) end, "the name of the new stage must be a name" },
      { function() p:insert_before("gen", "x", noop) end, "'gen' is a producer" },
      { function() p:insert_after("parse", function() p:remove("save") end) end, "remove is called inside a function" },
      { function() p:extend(5) end, "pipeline 'base': options must be a table, got 5" },
      { function() p:extend("x", { memroy = 1 }) end, "pipeline 'x': unknown option 'memroy'", "'memory'?" },
      { function() p:extend("x", {}, 5) end, "got 5" },
      { function() p:bind(5) end, "bind: the object must be an object", "got 5" },
      { function() p:bind(p) end, "got a pipeline" },
      { function() p:bind() end, "bind: the object must be an object (a table or userdata with methods), got nil" },
      { function() p:reroute("save", "parse"):run() end, "the edges form a cycle: parse -> save -> parse" },
    }
    assert.equal("gen parse save", ("%s %s %s"):format(p.stages[1].name, p.stages[2].name, p.stages[3].name))
    assert.equal(3, #p.stages)
  end)

  it("in methods by name are refused before the run", function()
    local object = setmetatable({ parse_line = noop, size = 5 }, { __index = { inherited = noop } })
    local function try(name, bound)
      local p = minigun.pipeline():producer("gen", { 1 }):before_run(function() error "the run has begun" end)
      if bound then p:bind(bound) end
      p:processor("parse", name) local line = debug.getinfo(1, "l").currentline
      local _, message = pcall(p.run, p)
      return (assert(message:match("^spec/extend_spec.lua:" .. line .. ": (.*)"), message))
    end
    assert.equal("stage 'parse': the handler \"parse_line\" names a method, but no object is bound; call " ..
      "p:bind(object), or give a function(item, emit, ctx)", try "parse_line")
    assert.equal("stage 'parse': the bound object has no method 'parse_lien' (did you mean 'parse_line'?)",
      try("parse_lien", object))
    assert.equal("stage 'parse': the bound object has no method 'inherted' (did you mean 'inherited'?)",
      try("inherted", object))
    assert.equal("stage 'parse': the bound object has no method 'size', that field is 5", try("size", object))
    local strict = setmetatable({}, { __index = function(_, key) error("undeclared " .. key, 0) end })
    assert.equal("stage 'parse': the bound object gives no method 'read': undeclared read", try("read", strict))
    assert.matches("the bound object has no method 'raed'", try("raed", io.stdout), 1, true)
  end)
end)
