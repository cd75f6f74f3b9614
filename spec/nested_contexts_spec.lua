-- Contexts inside contexts: groups in groups, and handlers that run pipelines of their own.
local contexts = require "spec.contexts"
local core = require "minigun.core"
local minigun = require "minigun"
local nested = require "spec.nested"
local support = require "spec.support"

local range, sorted, options = contexts.range, contexts.sorted, contexts.options
local new, within = nested.new, nested.within

local function tell(item, emit, ctx)
  item[#item + 1] = ctx.pid
  emit(item)
end

local function wrap(n) return { n } end

-- The pids of one stage, from items that tell them; each different one is counted.
local function pids_of(list, position)
  local pids = {}
  for i, item in ipairs(list) do pids[i] = item[position] end
  return contexts.counts(pids)
end

-- Checks that these processes are a context's workers.
local function check_pids(context, pids, size, ...)
  local different = 0
  for pid, n in pairs(pids) do
    different = different + 1
    assert.equal(context.inline or false, pid == core.pid())
    if context.per_item then assert.equal(1, n) end
    for _, others in ipairs { ... } do assert.is_nil(others[pid]) end
  end
  assert.is_true(different <= (context.per_item and size or context.n))
end

for _, outer in ipairs(contexts.all) do
  for _, inner in ipairs(contexts.all) do
    local where = (" [%s in %s]"):format(inner.name, outer.name)
    local size = math.min(outer.size, inner.size, 60)

    it("R29 R31 R32 a group inside a group delivers everything, in workers of its own" .. where, function()
      local p = new():producer("gen", range(1, size)):map("wrap", wrap)
      within(p, outer, function()
        p:processor("a", tell)
        within(p, inner, function() p:processor("b", tell):processor("b2", tell) end)
        p:processor("c", tell):processor("d", tell)
      end)
      local r = p:run()
      local numbers = {}
      for i, item in ipairs(r.items) do
        numbers[i] = item[1]
        assert.equal(item[3], item[4]) -- neighbours
        assert.equal(item[5], item[6])
        assert.equal(outer.inline or false, item[2] == core.pid())
      end
      assert.same(range(1, size), sorted(numbers))
      if inner.threads and not outer.inline then -- which are in the workers around them
        for _, item in ipairs(r.items) do assert.same({ item[2], item[2] }, { item[3], item[5] }) end
        return assert.equal(outer.per_item and size or outer.n, contexts.forks(r))
      end
      local a, b, c = pids_of(r.items, 2), pids_of(r.items, 3), pids_of(r.items, 5)
      check_pids(outer, a, size, not outer.inline and b or nil)
      check_pids(inner, b, size, not inner.inline and c or nil)
      check_pids(outer, c, size, outer.per_item and a or nil)
      local forks = outer.inline and 0 or outer.per_item and 2 * size or outer.n
      forks = forks + (inner.inline and 0 or inner.per_item and size or inner.n)
      assert.equal(forks, contexts.forks(r))
    end)
  end
end

for _, outer in ipairs(contexts.kinds) do
  for _, inner in ipairs(contexts.kinds) do
    local where = (" [%s in inline in %s]"):format(inner.name, outer.name)

    it("R31 R32 so does one with an inline group between, also as pipelines and by emit:to" .. where, function()
      local size = (outer.per_item or inner.per_item) and 4 or 16
      local p = new():producer("gen", range(1, size)):map("wrap", wrap)
      within(p, outer, function()
        p:processor("a", tell):pipeline("x", function(q)
          q:inline(function()
            q:processor("b", tell)
            q:pipeline("y", function(d)
              within(d, inner, function() d:processor("c", tell) end)
            end)
          end)
          q:processor("d", function(item, emit, ctx)
            item[#item + 1] = ctx.pid
            if item[1] % 2 == 0 then emit(item) else emit:to("z.f", item) end
          end)
        end)
        p:processor("e", { to = {} }, tell)
        p:pipeline("z", { await = true }, function(q)
          within(q, inner, function() q:processor("f", { to = {} }, tell) end)
        end)
      end)
      local r = p:run()
      local numbers, me = {}, core.pid()
      for i, item in ipairs(r.items) do
        numbers[i] = item[1]
        assert.same({ outer.inline or false, true, inner.inline or false, outer.inline or false },
          { item[2] == me, item[3] == me, item[4] == me, item[5] == me })
        if item[1] % 2 == 0 then assert.equal(item[5], item[6])
        else assert.equal(inner.inline and (outer.inline or not inner.threads) or false, item[6] == me) end
      end
      assert.same(range(1, size), sorted(numbers))
      assert.same({ size // 2, size // 2 }, { #r:of "e", #r:of "z.f" })
    end)
  end

  it(("R32 a handler runs pipelines of its own in every way, and what they collect is theirs [%s]"):format(outer.name),
    function()
      local inner, size = nested.chain(minigun.pipeline "inner", "a b"), support.short_or_long(2, 4)
      local r = new():producer("gen", range(1, size)):processor("outer", options(outer), function(n, emit, ctx)
        for _, context in ipairs(contexts.kinds) do
          local p = minigun.pipeline():producer("gen", { n .. ":", n .. "." })
          p:pipeline("x", options(context), function(q)
            q:processor("count", function(item, out, c)
              c:count "inner"
              out(item)
            end)
            q:pipeline("deep", { from = "count" }, function(d) nested.chain(d, "a b") end)
          end)
          local run = p:start()
          local sorted_items = sorted(run:wait().items)
          for item in p:iterate() do sorted_items[#sorted_items + 1] = item end
          ctx:count("all", p.last.counters.inner)
          emit(table.concat(sorted(sorted_items), " "))
        end
        local p = minigun.pipeline():producer("gen", { n }):map("text", tostring):pipeline(inner)
        for item in p:iterate() do emit(item) end
      end):run()
      local expected = {}
      for n = 1, size do
        expected[#expected + 1] = n .. "ab"
        local one = ("%d.ab %d.ab %d:ab %d:ab"):format(n, n, n, n)
        for _ in ipairs(contexts.kinds) do expected[#expected + 1] = one end
      end
      assert.same(sorted(expected), sorted(r.items))
      assert.same({ all = size * 2 * #contexts.kinds }, r.counters)
    end)
end

-- A program in which a worker's handler runs a pipeline whose workers never end; they write their pids, and the last
-- one kills the process that arg[2] names.
local PROGRAM <const> = [[
  local contexts, core, minigun = require "spec.contexts", require "minigun.core", require "minigun"
  local path, victim, outer = arg[1], arg[2], contexts.numbered[tonumber(arg[3])]
  local coordinator = core.pid()
  local r = minigun.pipeline():producer("gen", { 1, 2 }):processor("outer", outer.options, function(n, emit, ctx)
    if n == 2 then return emit "alive" end
    local own = { coordinator = coordinator, outer = ctx.pid }
    minigun.pipeline():producer("gen", contexts.range(1, 3)):each("a", { fork = 3 }, function()
      local file <close> = assert(io.open(path, "a"))
      file:write(core.pid(), "\n")
      file:flush()
      local count = 0
      for _ in io.lines(path) do count = count + 1 end
      if count == 3 then os.execute("kill -9 " .. own[victim]) end
      core.sleep(60)
    end):run()
  end):run { failures = "collect" }
  local failure = r.failures[1]
  print(r.items[1], #r.failures, failure.kind, failure.signal, failure.item)
]]

for _, outer in ipairs(contexts.all) do
  for _, victim in ipairs { "coordinator", "outer" } do
    if victim == "coordinator" or not outer.inline then
      local where = (" %s [%s]"):format(victim, outer.name)
      it("R32 the workers of a run in a handler end with it: kill -9 of the" .. where, function()
        local path = os.tmpname()
        local given = { path, victim, outer.number }
        local result = support.run_lua(PROGRAM, { args = given, timeout = 20 * support.patience })
        local pids = {}
        for line in io.lines(path) do pids[#pids + 1] = line end
        os.remove(path)
        assert.is_true(#pids >= 3)
        if victim == "outer" then assert.equal("alive\t1\tcrash\t9\t1\n", result.stdout, result.stderr)
        else assert.equal(137, result.code) end
        for _, pid in ipairs(pids) do
          assert.is_true(support.wait_until(function() return not support.alive(pid) end, 5 * support.patience))
        end
      end)
    end
  end
end

-- A collection of a worker's worker finds what its parents have left behind.
it("R32 a run in a handler of a run in a handler delivers everything while each worker collects its garbage", function()
  local function collect(x)
    collectgarbage()
    collectgarbage()
    return x
  end
  local function sum(depth, x)
    collect()
    if depth == 0 then return x end
    local items = minigun.map({ x, x }, function(y) return sum(depth - 1, y) end, { processes = 1, retries = 0 })
    return collect(items[1] + items[2])
  end
  assert.equal(8, sum(3, 1))
end)

it("R16 R17 R31 R68 whatever is nested in whatever, in whatever context, delivers what it should", function()
  local seed = tonumber(os.getenv "SEED") or os.time()
  math.randomseed(seed)
  for round = 1, support.short_or_long(6, 250) do
    local nodes = nested.random(3, contexts.all)
    local expected = nested.expected(nodes, { "1", "2" })
    if #expected <= support.short_or_long(200, 2000) then
      local p = nested.define(new():producer("gen", { to = {} }, { "1", "2" }), nodes)
        :processor("end", { inline = true, await = true }, nested.mark "")
      assert.same(sorted(expected), nested.items(p), ("SEED=%d, round %d:\n%s"):format(seed, round, tostring(p)))
    end
  end
end)
