-- The same in every context: no stage sees what others do to an item, a retry and a failure have it as it came,
-- time-outs hold, and what differs by nature is what the documentation says (spec/differences.lua).
local contexts = require "spec.contexts"
local core = require "minigun.core"
local minigun = require "minigun"
local support = require "spec.support"

local options, sorted = contexts.options, contexts.sorted

local function new(given) return minigun.pipeline("same", given) end

local function each(list, f)
  for _, context in ipairs(list) do f(context, " [" .. context.name .. "]") end
end

-- A stage that changes its item, also what is inside of it, and tells what it sees.
local function scribble(p, name, context, more)
  return p:processor(name, options(context, more), function(item, emit)
    table.insert(item.list, name)
    item.n, item[name] = item.n + #name, true
    emit(("%s: %s %d %s"):format(name, table.concat(item.list, " "), item.n, tostring(item.self == item)))
  end)
end

local function fresh(n)
  local item = { list = { "from", n }, n = n }
  item.self = item
  return item
end

local function expected(names, n)
  local list = {}
  for i, name in ipairs(names) do list[i] = ("%s: from %d %s %d true"):format(name, n, name, n + #name) end
  return sorted(list)
end

-- The ways in which one item goes to several stages: each puts its sender into a pipeline.
local ways = {
  ["an edge to each"] = function(p) p:producer("gen", { to = { "a", "bb" } }, function(emit) emit(fresh(5)) end) end,
  ["a route that names them"] = function(p)
    p:producer("gen", { 5 }):processor("split", { to = { "a", "bb" }, route = function() return { "a", "bb" } end },
      function(n, emit) emit(fresh(n)) end)
  end,
  ["a producer's route"] = function(p)
    p:producer("gen", { to = { "a", "bb" }, route = function() return { "bb", "a" } end },
      function(emit) emit(fresh(5)) end)
  end,
  ["emit:to for each"] = function(p)
    p:producer("gen", { 5 }):consumer("split", { to = {} }, function(n, emit)
      local item = fresh(n)
      emit:to("a", item)
      emit:to("bb", item)
    end)
  end,
  ["emit:to in a producer"] = function(p)
    p:producer("gen", { to = {} }, function(emit)
      local item = fresh(5)
      emit:to("a", item)
      emit:to("bb", item)
    end)
  end,
}

describe("R75 several receivers of one item", function()
  for name, way in pairs(ways) do
    each(contexts.kinds, function(a, where_a)
      it(("do not see each other's changes, by %s%s"):format(name, where_a), function()
        for _, b in ipairs(contexts.kinds) do
          if a.number <= b.number then
            local p = new()
            way(p)
            scribble(p, "a", a, { to = {}, await = name:find "emit:to" and true or nil })
            scribble(p, "bb", b, { to = {}, await = name:find "emit:to" and true or nil })
            assert.same(expected({ "a", "bb" }, 5), sorted(p:run().items), b.name)
          end
        end
      end)
    end)
  end

  it("do not where one waits for its fork while another one changes what it got", function()
    for _, names in ipairs { { "fork", "here" }, { "here", "fork" } } do
      local p = new():producer("gen", { to = names }, function(emit)
        for i = 1, 12 do emit { n = i } end
      end)
      for _, name in ipairs(names) do
        if name == "fork" then
          p:processor("fork", { from = "gen", process_per_batch = 1, to = {} }, function(item, emit) emit(item.n) end)
        else
          p:each("here", { from = "gen", threads = 1, to = {} }, function(item) item.n = -item.n end)
        end
      end
      assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }, sorted(p:run():of "fork"))
    end
  end)

  it("do not in a group of workers, of threads, of threads in workers, or inline", function()
    for _, group in ipairs {
      function(p, f) p:processes(1, f) end, function(p, f) p:process_per_batch(1, f) end,
      function(p, f) p:threads(2, f) end, function(p, f) p:inline(f) end,
      function(p, f) p:processes(1, function() p:threads(2, f) end) end,
      function(p, f) p:processes(1, function()
        p:threads(2, function() p:processor("top", { to = { "a", "bb" } }, function(item, emit) emit(item) end) end)
        f(true)
      end) end,
    } do
      local p = new():producer("gen", function(emit) emit(fresh(7)) end)
      group(p, function(top)
        if top ~= true then p:processor("top", { to = { "a", "bb" } }, function(item, emit) emit(item) end) end
        scribble(p, "a", { options = {} }, { to = "end" })
        scribble(p, "bb", { options = {} }, { to = "end" })
      end)
      p:processor("end", { from = { "a", "bb" } }, function(text, emit) emit(text) end)
      assert.same(expected({ "a", "bb" }, 7), sorted(p:run().items))
    end
  end)

  it("do not after a nested pipeline with two entries, nor for a batch", function()
    local p = new():producer("gen", function(emit) emit(fresh(3)) end)
    p:pipeline("x", function(q)
      scribble(q, "a", contexts.all[1], { to = {} })
      scribble(q, "bb", contexts.all[1], { to = {} })
    end)
    assert.same(expected({ "a", "bb" }, 3), sorted(p:run().items))
    local function first(batch, emit)
      batch[1].n = batch[1].n + 1
      table.remove(batch)
      emit { #batch, batch[1].n }
    end
    local r = new():producer("gen", function(emit)
      for i = 1, 4 do emit { n = i } end
    end):accumulator("batch", { max_size = 2, to = { "a", "b" } }):processor("a", { to = {} }, first)
      :processor("b", { from = "batch", to = {} }, first):run()
    assert.same({ { 1, 2 }, { 1, 4 } }, r:of "a")
    assert.same({ { 1, 2 }, { 1, 4 } }, r:of "b")
  end)

  it("share what cannot be copied: functions, files, objects of unknown types", function()
    local object, seen = setmetatable({ n = 1 }, { __index = {} }), {}
    new():producer("gen", { to = { "a", "b" } }, function(emit)
      emit { f = print, file = io.stdout, object = object }
    end)
      :each("a", function(item) seen.a = item end):each("b", { from = "gen" }, function(item) seen.b = item end):run()
    assert.not_equal(seen.a, seen.b)
    for _, item in pairs(seen) do
      assert.equal(print, item.f)
      assert.equal(io.stdout, item.file)
      assert.equal(object, item.object)
    end
  end)

  it("get objects of registered types as other processes do, by their hooks", function()
    local Point = { __name = "Point" }
    minigun.register("sameness.Point", Point, function(p) return { p.x, p.tags } end,
      function(t) return setmetatable({ x = t[1], tags = t[2], loaded = true }, Point) end)
    local tags, seen = { "t" }, {}
    new():producer("gen", { to = { "a", "b" } }, function(emit)
      emit { setmetatable({ x = 4, tags = tags }, Point), tags }
    end):each("a", function(item)
      seen[#seen + 1] = item
      item[1].x = 9
    end):each("b", { from = "gen" }, function(item) seen[#seen + 1] = item end):run()
    assert.same({ 9, 4 }, { seen[1][1].x, seen[2][1].x })
    assert.equal(Point, getmetatable(seen[2][1]))
    assert.equal(seen[2][2], seen[2][1].tags)
    assert.not_equal(seen[1][2], seen[2][2])
  end)
end)

-- What an emitter does wrong, or what looks like it: `emit`s numbers from 1 to n in tables.
local habits = {
  ["fills one table again"] = function(n, emit)
    local record = { deep = {} }
    for i = 1, n do
      record.deep.value = i
      emit(record)
    end
  end,
  ["changes a table afterwards"] = function(n, emit)
    for i = 1, n do
      local record = { deep = { value = i } }
      emit(record)
      record.deep.value, record.deep.more = -i, true
    end
  end,
  ["shares a part of its tables"] = function(n, emit)
    local deep = {}
    for i = 1, n do
      deep.value = i
      emit { deep = deep }
    end
  end,
  ["takes turns with two tables"] = function(n, emit)
    local records = { { deep = {} }, { deep = {} } }
    for i = 1, n do
      records[i % 2 + 1].deep.value = i
      emit(records[i % 2 + 1])
    end
  end,
}

-- Who emits: puts a stage into a pipeline that emits 1 to n by a habit.
local emitters = {
  producer = function(p, habit, n, o) p:producer("gen", o, function(emit) habit(n, emit) end) end,
  processor = function(p, habit, n, o)
    p:producer("one", { 1 }):processor("gen", o, function(_, emit) habit(n, emit) end)
  end,
  ["loop stage"] = function(p, habit, n, o)
    p:producer("one", { 1 }):stage("gen", o, function(input, emit)
      for _ in input do habit(n, emit) end
    end)
  end,
  accumulator = function(p, habit, n, o)
    o.max_size = 5
    p:producer("one", { 1, 2 }):accumulator("gen", o, function(_, emit) habit(n, emit) end)
  end,
}

local function plain(context)
  local o = {}
  for key, value in pairs(context.options) do o[key] = value end
  if not context.per_item then
    for _, key in ipairs { "processes", "threads" } do o[key] = o[key] and 1 or nil end
  end
  return o
end

describe("R75 receivers see nothing of what the emitter does later", function()
  for habit_name, habit in pairs(habits) do
    for emitter_name, emitter in pairs(emitters) do
      it(("when a %s %s"):format(emitter_name, habit_name), function()
        support.deadline(120)
        for _, from in ipairs(contexts.kinds) do
          local receivers = { contexts.all[1] }
          if from.threads and not support.long then receivers = { false, contexts.all[1], "batch" }
          elseif from.inline then
            receivers = { false, contexts.all[1], contexts.kinds[4], contexts.kinds[3], "batch" }
          end
          for _, to in ipairs(receivers) do
            local n, values = 9, {}
            local p = new()
            emitter(p, habit, n, plain(from))
            if to == "batch" then
              p:batch(100)
            elseif to then
              p:map("keep", to.per_item and { process_per_batch = 1 } or plain(to), function(item) return item end)
            end
            local items = p:run().items
            for i, item in ipairs(to == "batch" and items[1] or items) do
              values[i] = item.deep.value
              assert.is_nil(item.deep.more)
            end
            assert.same(contexts.range(1, n), sorted(values), from.name .. " to " .. tostring(to and to.name or to))
          end
        end
      end)
    end

    it(("in a long run when an emitter %s"):format(habit_name), function()
      local n, kept, sum = 3000, {}, 0
      new():producer("gen", function(emit) habit(n, emit) end)
        :each("keep", function(item) kept[#kept + 1] = item end):run()
      for i, item in ipairs(kept) do
        assert.equal(i, item.deep.value)
        sum = sum + 1
      end
      assert.equal(n, sum)
    end)
  end

  it("some calls later, in a long run too, or a large table's", function()
    local n = 700
    for _, lag in ipairs(support.short_or_long({ 1, 11 }, { 1, 3, 11 })) do
      for _, emitter in ipairs { "producer", "processor", "loop stage" } do
        for _, from in ipairs { contexts.kinds[1], contexts.kinds[2], contexts.kinds[4] } do
          local last = {}
          local function habit(_, emit)
            for i = 1, n do
              last[i] = { deep = { value = i } }
              if last[i - lag] then last[i - lag].deep.value = -1 end
              emit(last[i])
            end
          end
          local p, o, one_by_one = new(), plain(from), emitter ~= "producer"
          if one_by_one then
            p:producer(contexts.range(1, n))
            local function next_one(i, emit)
              last[i] = { deep = { value = i } }
              if last[i - lag] then last[i - lag].deep.value = -1 end
              emit(last[i])
            end
            if emitter == "processor" then p:processor("gen", o, next_one) else
              p:stage("gen", o, function(input, emit)
                for i in input do next_one(i, emit) end
              end)
            end
          else
            emitters.producer(p, habit, n, o)
          end
          local items, values = p:batch(n):run().items, {}
          for i, item in ipairs(items[1]) do values[i] = item.deep.value end
          assert.same(contexts.range(1, n), sorted(values), ("%s %s %d"):format(emitter, from.name, lag))
        end
      end
    end
    for _, context in ipairs(contexts.kinds) do
      local r = new():producer { 1, 2, 3 }:processor("gen", context.options, function(i, emit)
        local large = {}
        for k = 1, 6000 do large[k] = i end
        emit(large)
        large[1] = -1
      end):map(function(large) return large[1] end):run()
      assert.same({ 1, 2, 3 }, sorted(r.items), context.name)
    end
  end)

  it("when a stage gives the same table for many items", function()
    local cache = { [0] = { n = 0 }, { n = 0 }, { n = 0 } }
    for _, o in ipairs { { inline = true }, { threads = 1 }, { processes = 1 } } do
      local r = new():producer(contexts.range(1, 30)):map("look up", o, function(n) return cache[n % 3] end)
        :map("count", function(item)
          item.n = item.n + 1
          return item.n
        end):run()
      assert.same({ [1] = 30 }, contexts.counts(r.items))
    end
    assert.same({ [0] = { n = 0 }, { n = 0 }, { n = 0 } }, cache)
  end)

  it("R54 when a stage changes the items of an array, which is used again", function()
    local list = {}
    for i = 1, 400 do list[i] = { n = i } end
    local p = new():producer("gen", list):map("change", function(item)
      item.n = item.n + 1000
      return item.n
    end)
    for _ = 1, 2 do assert.same(contexts.range(1001, 1400), p:run().items) end
    assert.equal(1, list[1].n)
    assert.equal(400, list[400].n)
  end)

  it("when a stage that was trusted emits a table twice", function()
    local r = new():producer(contexts.range(1, 1000)):processor("late", function(n, emit)
      local item = { n = n }
      emit(item)
      if n == 900 then emit(item) end
    end):map("change", function(item)
      item.n = item.n + 0.5
      return item.n
    end):run()
    assert.equal(1001, #r.items)
    assert.equal(2, contexts.counts(r.items)[900.5])
    assert.matches("stage 'late'.*emits a table again", r.stats.warnings[1])
  end)

  it("soon after a stage that was trusted has begun to emit one table in each call", function()
    local one = {}
    local r = new():producer(contexts.range(1, 6000)):processor("late", function(n, emit)
      if n < 400 then return emit { n = n } end
      one.n = n
      emit(one)
    end):map("keep", function(item) return item end):run()
    for n = 4000, 6000, 100 do assert.equal(n, r.items[n].n) end
    -- Whichever of the two is looked at first: the one after it emits that table again, too.
    assert.matches("stage '%l+'.*emits a table again", r.stats.warnings[1])
  end)

  it("or the second emit of a very large table is an error at its line", function()
    local line
    local function source(emit)
      local other, large = {}, {}
      for i = 1, 20000 do other[i], large[i] = i, i end
      emit(other)
      emit(large)
      line = debug.getinfo(1, "l").currentline + 1
      emit(large)
    end
    local r = new { failures = "collect" }:producer("gen", source):each(function() end):run()
    assert.equal(1, #r.failures)
    assert.matches(("sameness_spec.lua:%d: this table was emitted before"):format(line), r.failures[1].message, 1, true)
    r = new { failures = "collect" }:producer { 1 }:processor("work", function(_, emit) source(emit) end):run()
    assert.matches(("sameness_spec.lua:%d: this table was emitted before"):format(line), r.failures[1].message, 1, true)
  end)

  it("in whichever of the stage's calls that table comes first", function()
    local large = {}
    for i = 1, 5000 do large[i] = i end
    for n = 1, 70 do
      local r = new { failures = "collect" }:producer(contexts.range(1, n + 1)):processor("work", function(i, emit)
        if i >= n then emit(large) end
        emit(i)
      end):run()
      assert.same({ 1, n + 1 }, { #r.failures, #r.items }, n)
      assert.equal(n + 1, r.failures[1].item)
      assert.matches("this table was emitted before", r.failures[1].message, 1, true)
    end
  end)

  each(contexts.all, function(context, where)
    it("of what ctx:collect takes" .. where, function()
      local r = new():producer { 1, 2 }:consumer("work", options(context), function(n, _, ctx)
        local value = { n = n }
        ctx:collect("values", value)
        value.n = "changed"
      end):run()
      local seen = {}
      for i, value in ipairs(r.collected.values) do seen[i] = value.n end
      assert.same({ 1, 2 }, sorted(seen))
    end)
  end)
end)

-- Kinds of stages, whose handler spoils its item and fails: the first two times, or always.
local function spoil(item, attempt, times)
  item.n = item.n + 1
  item.list[#item.list + 1] = "spoilt"
  if attempt <= times then error "spoilt" end
  return { item.n, #item.list }
end

local failing = {
  processor = function(p, o, times)
    p:processor("work", o, function(item, emit, ctx) emit(spoil(item, ctx.attempt, times)) end)
  end,
  ["loop stage"] = function(p, o, times)
    p:stage("work", o, function(input, emit, ctx)
      for item in input do emit(spoil(item, ctx.attempt, times)) end
    end)
  end,
  ["accumulator"] = function(p, o, times)
    o.max_size = 1
    p:accumulator("work", o, function(batch, emit, ctx) emit(spoil(batch[1], ctx.attempt, times)) end)
  end,
  ["second stage of a group"] = function(p, o, times)
    local kind = o.processes and o.threads and "hosted" or o.processes and "processes" or o.threads and "threads"
      or o.process_per_batch and "process_per_batch" or "inline"
    local more = { retries = o.retries, dead_letter = o.dead_letter }
    local function group()
      p:processor("first", function(item, emit) emit(item) end)
      p:processor("work", more, function(item, emit, ctx) emit(spoil(item, ctx.attempt, times)) end)
    end
    if kind == "hosted" then p:processes(1, function() p:threads(2, group) end)
    elseif kind == "inline" then p:inline(group)
    else p[kind](p, o[kind], group) end
  end,
}

describe("R75 what has failed is as it came", function()
  for name, add in pairs(failing) do
    each(contexts.all, function(context, where)
      local function source(p)
        return p:producer("gen", function(emit)
          for i = 1, 4 do emit { n = i * 10, list = { "one" } } end
        end)
      end

      it(("for a retry, in a %s%s"):format(name, where), function()
        local p = source(new())
        add(p, options(context, { retries = 2 }), 2)
        local got = {}
        for i, pair in ipairs(p:run().items) do
          got[i] = pair[1]
          assert.equal(2, pair[2])
        end
        assert.same({ 11, 21, 31, 41 }, sorted(got))
      end)

      it(("for failures, on_failure and dead letters, in a %s%s"):format(name, where), function()
        local function values(list)
          local got = {}
          for i, item in ipairs(list) do
            if item[1] then item = item[1] end
            got[i] = item.n
            assert.same({ "one" }, item.list)
          end
          return sorted(got)
        end
        local all, by_turns = { 10, 20, 30, 40 }, { "collect", "on_failure" }
        if not support.long then by_turns = { by_turns[(#name + context.number) % 2 + 1] } end
        for _, wants in ipairs(by_turns) do -- one of them alone
          local p = source(new { failures = wants == "collect" and wants or nil })
          local heard, failed = {}, {}
          if wants == "on_failure" then p:on_failure(function(failure) heard[#heard + 1] = failure.item end) end
          add(p, options(context), 9)
          for i, failure in ipairs(p:run().failures) do failed[i] = failure.item end
          assert.same(all, values(failed))
          if wants == "on_failure" then assert.same(all, values(heard)) end
        end
        local letters, again = {}, {}
        local p = source(new())
        add(p, options(context, { dead_letter = "letters" }), 9)
        p:consumer("letters", { await = true }, function(letter)
          letters[#letters + 1] = letter.item
        end)
        for i, failure in ipairs(p:run().failures) do again[i] = failure.item end
        assert.same(all, values(letters))
        for _, letter in ipairs(letters) do letter.n = "changed" end
        assert.same(all, values(again))
      end)
    end)
  end

  for _, wants in ipairs { "retries", "dead_letter", "collect", "on_failure" } do
    it("also a large one, where only one part of the program wants it: " .. wants, function()
      local given, got = { retries = wants == "retries" and 1 or 0 }, nil
      if wants == "dead_letter" then given.dead_letter = "letters" end
      local p = new { failures = wants == "collect" and wants or nil }:producer(function(emit)
        emit(contexts.range(1, 2000)) -- more than is copied while it is found out what a stage does
      end):processor("work", given, function(list, _, ctx)
        if ctx.attempt == 2 then got = list[2000] return end
        list[2000] = "spoilt"
        error "spoilt"
      end)
      if wants == "dead_letter" then
        p:consumer("letters", { await = true }, function(letter) got = letter.item[2000] end)
      elseif wants == "on_failure" then p:on_failure(function(failure) got = failure.item[2000] end) end
      local r = p:run()
      assert.equal(2000, wants == "collect" and r.failures[1].item[2000] or got)
    end)
  end

  it("also where an inline stage takes what a pool has emitted", function()
    local r = new { failures = "collect" }:producer(contexts.range(1, 50))
      :processor("pool", { processes = 1 }, function(n, emit) emit { n = n } end)
      :each("take", function(item)
        item.n = -item.n
        if item.n % 10 == 0 then error "ten" end
      end):run()
    local got = {}
    for i, failure in ipairs(r.failures) do got[i] = failure.item.n end
    assert.same({ 10, 20, 30, 40, 50 }, sorted(got))
  end)
end)

-- How a handler overstays.
local SLEEP <const> = ("sleep %g"):format(0.3 * support.patience)
local stays = {
  ["computes"] = function() while true do end end,
  ["computes in protected calls"] = function()
    while true do
      pcall(function() while true do end end)
    end
  end,
  ["catches the error and returns"] = function() pcall(function() while true do end end) end,
  ["computes in a coroutine of its own"] = function() coroutine.wrap(function() while true do end end)() end,
  ["blocks in a call of the system"] = function() os.execute(SLEEP) end,
  ["sleeps"] = function() minigun.sleep(60) end,
  ["waits"] = function()
    local pipe <close> = io.popen(SLEEP, "r")
    minigun.wait(pipe, "r")
  end,
  ["fails too late"] = function()
    os.execute(SLEEP)
    error "late"
  end,
}

-- Those that are tried once more where they may be; a second time of what computes would only cost time.
local may_retry = { ["computes"] = true, ["blocks in a call of the system"] = true, ["sleeps"] = true, ["waits"] = true,
  ["fails too late"] = true }

describe("R48 timeout", function()
  for name, stay in pairs(stays) do
    local timeout = name:find "^[bsfw]" and 0.12 or 0.06 -- what computes does so all of the time
    it(("ends a handler that %s, in every context"):format(name), function()
      support.deadline(120)
      for _, context in ipairs(contexts.all) do
        if not context.hosted and context.n < 4 or context.threads then
          local retries = context.inline and may_retry[name] and 1 or 0
          local o = options(context, { timeout = timeout * support.patience, retries = retries })
          local r = new { failures = "collect" }:producer(contexts.range(1, 3)):processor("work", o, function(n, emit)
            if n == 2 then stay() end
            emit(n)
          end):run()
          assert.same({ 1, 3 }, sorted(r.items), context.name)
          assert.equal(1, #r.failures)
          assert.same({ "timeout", 2, retries + 1 },
            { r.failures[1].kind, r.failures[1].item, r.failures[1].attempts })
          assert.matches("^spec/sameness_spec.lua:%d+: the item took longer than", r.failures[1].message)
        end
      end
    end)
  end

  it("ends one that is in a loop of its own, which begins anew", function()
    for _, o in ipairs { { inline = true }, { threads = 1 }, { processes = 1 } } do
      o.timeout = 0.06 * support.patience
      local r = new { failures = "collect" }:producer(contexts.range(1, 4)):stage("work", o, function(input, emit)
        for n in input do
          if n == 2 then
            while true do end
          end
          emit(n)
        end
      end):run()
      assert.same({ 1, 3, 4 }, sorted(r.items))
      assert.equal("timeout", r.failures[1].kind)
    end
  end)

  it("ends a handler that has caught the error which ends its run, in the middle of a stream", function()
    local done = support.run([[lua5.4 -e '
      local p = require("minigun").pipeline "p":producer { 1 }
      p:processor("emits", { timeout = 0.1 }, function(_, emit)
        pcall(function() for i = 1, 20000 do emit(i) end end)
        while true do end
      end)
      p:each("fails", function() error "no" end)
      p:on_failure(function() error "the hook has failed" end)
      p:run()']], { timeout = 30, env = support.lua_env() })
    assert.equal(1, done.code, done.stderr)
    assert.matches("the hook has failed", done.stderr)
  end)

  it("leaves no hook behind, and a hook of the program's own alone", function()
    local function late() return new { failures = "collect" }:producer { 1 }:each({ timeout = 0.02 }, function()
      contexts.work(0.2)
    end):run().failures[1].kind end
    assert.is_nil((debug.gethook()))
    assert.equal("timeout", late())
    assert.is_nil((debug.gethook()))
    local calls = 0
    local function own() calls = calls + 1 end
    debug.sethook(own, "", 1000)
    local kind = late()
    local hook = debug.gethook()
    debug.sethook()
    assert.equal("timeout", kind)
    assert.equal(own, hook)
    assert.is_true(calls > 0)
  end)

  it("of a run in a handler does not outlast the handler's", function()
    local r = new { failures = "collect" }:producer { 1 }:each({ timeout = 0.1 }, function()
      new():producer { 1 }:each({ timeout = 60 }, function() while true do end end):run()
    end):run()
    assert.equal("timeout", r.failures[1].kind)
    local other = new():producer { 1, 2 }:each({ timeout = 5 }, function()
      local inner = new { failures = "collect" }:producer { 1 }:each({ timeout = 0.05 }, function()
        while true do end
      end):run()
      assert(inner.failures[1].kind == "timeout")
      assert(#new():producer { 1 }:map({ processes = 1 }, function(n)
        contexts.work(0.06)
        return n
      end):run().items == 1)
    end):run()
    assert.is_true(other.ok)
  end)

  it("does not count what a thread's neighbours compute", function()
    local r = new { failures = "collect" }:producer(contexts.range(1, 2)):processor("work",
      { threads = 2, timeout = 0.3 * support.patience }, function(n, emit)
        if n == 1 then minigun.sleep(0.05 * support.patience) else contexts.work(0.12 * support.patience) end
        emit(n)
      end):run()
    assert.same({ 1, 2 }, sorted(r.items))
  end)
end)

describe("R33 a partition function", function()
  local main = core.pid()
  it("is asked in every context, its change of the item is seen once, and its errors are failures", function()
    each(contexts.all, function(context, where)
      for _, behind_pool in ipairs { false, true } do
        local p = new { failures = "collect" }:producer { 1, 2, 3, 4, 5 }
        local function make(n) return { n = n, keyed = 0 } end
        if behind_pool then p:map("make", { processes = 1 }, make) else p:map("make", make) end
        p:map("work", options(context, { partition = function(item)
          if item.n == 4 then error { key = item.n } end
          item.keyed = item.keyed + 1
          return item.n ~= 2 and "key" .. item.n or nil
        end }), function(item) return item.n * 10 + item.keyed end)
        local r = p:run()
        assert.same({ 11, 31, 51 }, sorted(r.items), where)
        local stats = r.stats.stages.work
        assert.same({ 5, 3, 2 }, { stats.items_in, stats.items_out, stats.failed }, where)
        for i, failed in ipairs(r.failures) do
          assert.same({ "error", "work", i * 2 }, { failed.kind, failed.stage, failed.item.n }, where)
        end
        assert.same({ key = 4 }, r.failures[2].error)
      end
    end)
  end)

  it("that raises in the worker only, where it is asked for a thread, costs its item", function()
    local r = new { failures = "collect" }:producer(contexts.range(1, 6)):map("work", { processes = 1, threads = 2,
      partition = function(n)
        if n == 3 and core.pid() ~= main then error "there" end
        return n
      end }, function(n) return n end):run()
    assert.same({ 1, 2, 4, 5, 6 }, sorted(r.items))
    assert.same({ "error", 3 }, { r.failures[1].kind, r.failures[1].item })
    assert.matches("there", r.failures[1].message)
  end)
end)
