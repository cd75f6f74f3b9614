-- Batches of items that stay bytes: arrays put together from records, and when that cannot be.
local contexts = require "spec.contexts"
local core = require "minigun.core"
local byte_batches = require "minigun.policy.byte_batches"
local minigun = require "minigun"
local support = require "spec.support"
local values = require "spec.values"

local range, sorted = contexts.range, contexts.sorted
local seed = tonumber(os.getenv "SEED") or os.time()

local MEBI <const> = 1 << 20
local ANY <const> = 0xffff

-- A pool, what closes it, and a writer that passes ranges on to `taken` when its block is full.
local function open(taken)
  local pool = assert(core.pool(1, 512 * MEBI, 512 * MEBI))
  local writer = core.writer(pool, 2, function(w, need)
    local block, offset, length, count = w:take()
    if block then taken(block, offset, length, count) end
    if need > 0 then assert(w:open(math.max(need, 65536))) end
  end, error, 1, 1)
  return pool, writer, setmetatable({}, { __close = function()
    writer:close()
    pool:close()
  end })
end

-- Ranges with these items, each encoded on its own, a few items in each range.
local function ranges_of(pool, items, edge)
  local list = {}
  local writer = core.writer(pool, edge or 1, function(w, need)
    list[#list + 1] = table.pack(w:take())
    if #list[#list] < 4 then list[#list] = nil end
    if need > 0 then assert(w:open(math.max(need, 65536))) end
  end, error, 1, 1)
  for i, item in ipairs(items) do
    writer(item)
    if i % 7 == 0 then list[#list + 1] = table.pack(writer:take()) end
  end
  if (writer:pending()) > 0 then list[#list + 1] = table.pack(writer:take()) end
  writer:close()
  return list
end

-- Joins items, and decodes the array that they make.
local function join(items)
  local pool, writer, closing = open(error)
  local _ <close> = closing
  local n = 0
  for _, r in ipairs(ranges_of(pool, items)) do
    local limit <const> = r[2] + r[3]
    local count, at, deep = writer:join(#items, -1, r[1], r[2], r[3], ANY, math.maxinteger)
    n = count
    if deep then return nil, at < limit end
    assert.equal(limit, at)
    pool:release(r[1])
  end
  assert.equal(#items, n)
  writer:join_end()
  local block, offset, length, count = writer:take()
  assert.equal(1, count)
  local got = {}
  assert.equal(1, pool:decode_into(got, 0, block, offset, length, 2))
  pool:release(block)
  pool:check()
  return got[1]
end

local function assert_joined(items)
  local got = join(items)
  assert.equal(#items, #got)
  for i, item in ipairs(items) do assert(values.same(item, got[i]), "item " .. i .. ", SEED=" .. seed) end
  return got
end

local Plain, Hooked = {}, {}
core.register("join.plain", Plain)
core.register("join.hooked", Hooked, function(o) return { o.inside, o.inside } end,
  function(pair) return setmetatable({ inside = pair[1] }, Hooked) end)

describe("an array joined from records", function()
  it("R61 has every kind of value as it was", function()
    assert_joined { 1, -1, 1 << 40, math.mininteger, 0.5, 3.0, -0.0, 1 / 0, true, false, "", "a\0b", ("x"):rep(300),
      {}, { {} }, { false }, { 1, 2, nil, 4 }, { a = 1, [2] = "b", [0.5] = {} }, range(1, 8), range(1, 100000),
      { 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5 }, setmetatable({ 1 }, Plain), { { { { 1 } } } } }
  end)

  it("R61 keeps in each item the tables that are met twice, cycles and objects", function()
    local shared, loop, numbers = { 1 }, { name = "loop" }, range(1, 20)
    loop.me = loop
    local plain = setmetatable({ shared, shared }, Plain)
    local hooked = setmetatable({ inside = shared }, Hooked)
    local items = { { numbers, numbers }, { shared, shared }, { a = { {}, { loop } }, b = loop }, 7, { shared },
      { plain, plain, shared }, { plain, { plain } }, { 1, 2, { hooked, hooked } }, { hooked, shared },
      { { 0.5, 1, 2, 3, 4, 5, 6, 7 }, numbers, { numbers } } }
    local got = assert_joined(items)
    assert.equal(got[8][3][1], got[8][3][2])
    assert.not_equal(got[2][1], got[5][1]) -- each item had come on its own
    for i = 1, #items do assert_joined { range(1, 9), {}, { x = {} }, setmetatable({}, Plain), items[i], items[i] } end
  end)

  it("R61 has random values as they were", function()
    support.deadline(support.short_or_long(60, 600))
    math.randomseed(seed)
    for _ = 1, support.short_or_long(8, 1000) do
      local items = {}
      for i = 1, math.random(1, 40) do items[i] = values.random() end
      assert_joined(items)
    end
  end)

  it("has a head for every length", function()
    for _, n in ipairs(support.short_or_long({ 1, 15, 16, 65535, 65536 },
      { 1, 15, 16, 17, 255, 256, 65534, 65535, 65536, 70000 })) do
      assert.same(range(1, n), join(range(1, n)))
    end
  end)

  it("takes a block as large as it needs, and moves into it what is there", function()
    local big = {}
    for i = 1, support.short_or_long(20, 40) do big[i] = { ("%d "):format(i):rep(20000 * i), big[i - 1] and { 1 } } end
    assert_joined(big)
  end)

  it("leaves to the codec what nests too deeply", function()
    local function nested(levels)
      local t = {}
      for _ = 2, levels do t = { t } end
      return t
    end
    assert.same({ nested(64), nested(64) }, join { nested(64), nested(64) })
    local got, before_the_end = join { 1, nested(65), 2 }
    assert.is_nil(got)
    assert.is_true(before_the_end)
  end)

  it("ends where it is full or has enough bytes, and passes over records of other edges", function()
    local pool, writer, closing = open(error)
    local _ <close> = closing
    local r = ranges_of(pool, { 1, 2, 3, 4, 5, "x" })[1]
    assert.same({ 0, r[2] + r[3], false }, { writer:join(3, -1, r[1], r[2], r[3], 9, 100) })
    local n, at = writer:join(3, -1, r[1], r[2], r[3], 1, 100)
    assert.equal(3, n)
    assert.same({ 3, at, false }, { writer:join(3, -1, r[1], at, r[2] + r[3] - at, ANY, 100) })
    assert.has_error(function() writer:join(65536, -1, r[1], r[2], r[3], 1, 100) end)
    assert.has_error(function() writer(1) end)
    assert.same({ 1, 2, 3 }, writer:join_take())
    for _, f in ipairs { writer.join_take, writer.join_end } do assert.has_error(function() f(writer) end) end
    assert.equal(1, (writer:join(3, 5, r[1], at, r[2] + r[3] - at, 1, 1)))
    assert.same({ 5, { 4 } }, writer:join_take())
    assert.equal(0, (writer:pending()))
    assert.has_error(function() writer:join(0, -1, r[1], r[2], r[3], 1, 100) end)
    assert.has_error(function() writer:join(3, -1, r[1], r[2], MEBI, 1, 100) end)
    writer:join(3, -1, r[1], r[2], r[3], 1, 100)
    for _, bytes in ipairs { -1, 0 } do assert.has_error(function() writer:open(bytes) end) end
  end)

  it("refuses references that are damaged, and ranges that are", function()
    local pool, writer, closing = open(error)
    local _ <close> = closing
    local t = {}
    local r = ranges_of(pool, { { t, t } })[1]
    for cut = 8, r[3] - 8, 8 do
      assert.is_nil((writer:join(9, -1, r[1], r[2], cut, ANY, MEBI)))
    end
    pool:check()
  end)
end)

describe("a byte batch", function()
  -- What it has passed on, in order: tables, and arrays of bytes as { "bytes", array }.
  local function new(given)
    local list = {}
    local pool, writer, closing, j
    local function taken(block, offset, length)
      local got = {}
      assert(pool:decode_into(got, 0, block, offset, length, 2))
      for _, array in ipairs(got) do list[#list + 1] = { "bytes", array } end
      pool:release(block)
    end
    pool, writer, closing = open(taken)
    local function flush()
      local block, offset, length = writer:take()
      if block then taken(block, offset, length) end
    end
    j = byte_batches.new(given, {
      pool = pool, writer = given.bytes ~= false and writer or nil, now = function() return given.time end,
      emit = function(batch) list[#list + 1] = batch end, joined = function() end, tables = function() end,
      flush = flush, fail = error,
      damaged = function(count, found) error(("%d announced, %d found"):format(count, found), 0) end,
    })
    local function add(item)
      local batch = j:add(item, function() return given.time end)
      list[#list + 1] = batch
    end
    local function add_range(items)
      for _, r in ipairs(ranges_of(pool, items)) do
        j:add_range(r[1], r[2], r[3], r[4], ANY)
        pool:release(r[1])
      end
    end
    local function finish()
      for _, batch in ipairs(j:due()) do list[#list + 1] = batch end
      flush()
      return list
    end
    return { add = add, add_range = add_range, finish = finish, j = j, list = list, flush = flush, pool = pool },
      closing
  end

  it("raises where a range does not hold as many items as were announced", function()
    local deep = {}
    for _ = 2, 100 do deep = { deep } end
    for _, bytes in ipairs { true, false } do
      for _, announced in ipairs { 4, 6 } do
        local b, closing = new { max_size = 2, bytes = bytes }
        local _ <close> = closing
        local r = ranges_of(b.pool, { 1, 2, deep, 4, 5 })[1]
        assert.has_error(function() b.j:add_range(r[1], r[2], r[3], announced, ANY) end,
          announced .. " announced, 5 found")
        b.pool:release(r[1])
      end
    end
  end)

  it("R20 makes arrays of bytes of ranges, tables of values, in order of arrival", function()
    local b, closing = new { max_size = 3 }
    local _ <close> = closing
    b.add_range(range(1, 7))
    for i = 8, 12 do b.add(i) end
    b.add_range(range(13, 20))
    assert.same({ { "bytes", { 1, 2, 3 } }, { "bytes", { 4, 5, 6 } }, { 7, 8, 9 }, { 10, 11, 12 },
      { "bytes", { 13, 14, 15 } }, { "bytes", { 16, 17, 18 } }, { "bytes", { 19, 20 } } }, b.finish())
  end)

  it("R20 goes on with a table where one was begun", function()
    local b, closing = new { max_size = 4 }
    local _ <close> = closing
    local t = {}
    b.add(t)
    b.add_range { "a" }
    b.add(t)
    b.add_range { "b", "c", "d" }
    local list = b.finish()
    assert.same({ { t, "a", t, "b" }, { "bytes", { "c", "d" } } }, list)
    assert.equal(t, list[1][1])
    assert.equal(t, list[1][3])
  end)

  it("R20 decodes what nests too deeply, and the batch that it is in", function()
    local b, closing = new { max_size = 3 }
    local _ <close> = closing
    local deep = {}
    for _ = 2, 100 do deep = { deep } end
    b.add_range { 1, deep, 3, 4, 5, 6, deep }
    assert.same({ { 1, deep, 3 }, { "bytes", { 4, 5, 6 } }, { deep } }, b.finish())
  end)

  it("R20 makes tables where nothing goes to other processes", function()
    local b, closing = new { max_size = 3, bytes = false }
    local _ <close> = closing
    b.add_range(range(1, 7))
    b.add(8)
    assert.same({ { 1, 2, 3 }, { 4, 5, 6 }, { 7, 8 } }, b.finish())
  end)

  it("R21 knows when a batch falls due, whatever it is made of", function()
    local given = { max_size = 10, max_wait = 5, time = 100 }
    local b, closing = new(given)
    local _ <close> = closing
    assert.is_nil(b.j:next_due())
    b.add_range { 1, 2 }
    given.time = 103
    b.add_range { 3 }
    assert.same({ 105, 3 }, { b.j:next_due(), b.j.first.n })
    b.add(4) -- now it is a table
    assert.same({ 105, 4 }, { b.j:next_due(), b.j.first.n })
    assert.same({}, b.j:due(104))
    assert.same({ { 1, 2, 3, 4 } }, b.j:due(105))
    assert.is_nil(b.j.first)
    given.time = 200
    b.add_range { 5 }
    assert.same({}, b.j:due(204))
    assert.same({}, b.j:due(205))
    assert.is_nil(b.j:next_due())
    assert.same({ { "bytes", { 5 } } }, b.finish())
  end)

  it("R20 random mixtures: every item once, in order, full batches", function()
    math.randomseed(seed)
    for _ = 1, 50 do
      local size, n = math.random(1, 9), 0
      local b, closing = new { max_size = size }
      local _ <close> = closing
      for _ = 1, math.random(1, 30) do
        if math.random() < 0.4 then
          n = n + 1
          b.add(n)
        else
          local last = n + math.random(1, 20)
          b.add_range(range(n + 1, last))
          n = last
        end
      end
      local all, list = {}, b.finish()
      for i, batch in ipairs(list) do
        if batch[1] == "bytes" then batch = batch[2] end
        assert.equal(i < #list and size or (n - 1) % size + 1, #batch, "SEED=" .. seed)
        table.move(batch, 1, #batch, #all + 1, all)
      end
      assert.same(range(1, n), all, "SEED=" .. seed)
    end
  end)
end)

describe("producers that write into the arrays themselves", function()
  local function nested(depth)
    local deep = {}
    for _ = 2, depth do deep = { deep } end
    return deep
  end

  -- What the worker of a pipeline gets when these are produced, as one list; its batches are checked.
  local function through(size, items, given)
    local seen, list = {}, {}
    local p = minigun.pipeline("arrays", given)
    p:producer("p", function(emit) for _, item in ipairs(items) do emit(item) end end)
    p:batch("b", size):processor("w", { processes = 1 }, function(batch, emit) emit(batch) end)
    p:consumer("c", function(batch)
      seen[#seen + 1] = #batch
      table.move(batch, 1, #batch, #list + 1, list)
    end)
    local result = p:run { failures = "collect" }
    for i, n in ipairs(seen) do assert.equal(i < #seen and size or (#list - 1) % size + 1, n, "SEED=" .. seed) end
    local s = result.stats.stages
    assert.same({ #list, #list, #seen, #seen }, { s.p.items_out, s.b.items_in, s.b.items_out, s.w.items_in })
    return list, result
  end

  it("R20 any values, in order", function()
    math.randomseed(seed)
    for _ = 1, support.short_or_long(2, 100) do
      local items = {}
      for i = 1, math.random(1, 300) do
        local kind = math.random(40)
        items[i] = kind == 1 and nested(math.random(60, 120)) or kind == 2 and ("x"):rep(math.random(200000))
          or kind < 20 and i or values.random()
      end
      local list = through(math.random(1, 30), items, { memory = math.random() < 0.5 and "2M" or nil })
      assert.equal(#items, #list, "SEED=" .. seed)
      for i, item in ipairs(items) do
        if not values.same(item, list[i]) then error(("item %d differs, SEED=%d"):format(i, seed)) end
      end
    end
  end)

  it("R20 more than one block, and arrays that are larger than a block", function()
    assert.same(range(1, 30000), (through(1000, range(1, 30000))))
    assert.same(range(1, 30000), (through(25000, range(1, 30000))))
    local items = {}
    for i = 1, 30 do items[i] = ("%d"):format(i):rep(100000) end
    assert.same(items, (through(7, items)))
  end)

  it("R40 leave out what cannot be sent, which fails alone", function()
    local list, result = through(3, { 1, print, { 2, print }, 3, nested(200), 4, 5, 6 })
    assert.same({ 1, 3, 4, 5, 6 }, list)
    local kinds = {}
    for i, failure in ipairs(result.failures) do kinds[i] = failure.kind end
    assert.same({ "unserialisable", "unserialisable", "unserialisable" }, kinds)
  end)

  it("R20 several at once, each in its order, and others beside them", function()
    local n = 3000
    local p = minigun.pipeline "several"
    for i = 0, 2 do
      p:producer("p" .. i, { to = i == 2 and "w" or "b" }, function(emit)
        for k = 1, n do
          emit(i * n + k)
          if k % 100 == 0 then emit:to("b", { i }) end
        end
      end)
    end
    p:processor("w", { processes = 2, to = "b" }, function(item, emit) emit(item) end)
    p:batch("b", { max_size = 7, to = "x" }):processor("x", { processes = 1 }, function(batch, emit)
      for _, item in ipairs(batch) do emit(item) end
    end)
    local last, numbers, tables = { [0] = 0, 0, 0 }, {}, 0
    for _, item in ipairs(p:run().items) do
      if type(item) == "table" then tables = tables + 1
      else
        numbers[#numbers + 1] = item
        local from = (item - 1) // n
        assert.is_true(from == 2 or item > last[from])
        last[from] = item
      end
    end
    assert.same(range(1, 3 * n), sorted(numbers))
    assert.equal(3 * n // 100, tables)
  end)

  it("R20 go on in the same array when they wait, and when the run is stopped", function()
    local p = minigun.pipeline("stopped", { memory = "2M" })
    p:producer("p", function(emit) for i = 1, 1e9 do emit(i) end end)
    p:batch("b", 10):processor("w", { processes = 1 }, function(batch, emit)
      for _, i in ipairs(batch) do emit(i) end
    end)
    local seen = {}
    p:consumer("c", function(i) seen[#seen + 1] = i end)
    local run <close> = p:start()
    while #seen < 5000 do run:step(0.01) end
    run:stop()
    run:wait()
    assert.is_true(#seen >= 5000)
    assert.same(range(1, #seen), seen)
  end)

  it("refuse an emit of a dump hook", function()
    local meta, emit_now = {}, nil
    minigun.register("byte_batches_spec.hooked", meta, function()
      emit_now(1)
      return {}
    end, function() return {} end)
    local p = minigun.pipeline "hooked"
    p:producer("p", function(emit)
      emit_now = emit
      emit "a"
      emit(setmetatable({}, meta))
    end)
    p:batch("b", 10):consumer("w", { processes = 1 }, function() end)
    local ok, message = pcall(p.run, p)
    assert.is_false(ok)
    assert.matches("emit called from a dump hook", tostring(message), 1, true)
  end)

  it("refuse what is no writer of theirs", function()
    local pool, writer, closing = open(error)
    local _ <close> = closing
    local _, other, closing_other = open(error)
    local _ <close> = closing_other
    for _, into in ipairs { writer, other, 1, {} } do assert.has_error(function() writer:into(into) end) end
    for _, most in ipairs { -1, "x", 1 << 33 } do assert.has_error(function() writer:arrays(most) end) end
    assert.same({ 0, 0 }, { writer:joining() })
    assert.same({ 0, false }, { writer:sent() })
    pool:check()
  end)
end)

describe("batches of items from workers", function()
  local function new(given) return minigun.pipeline("bytes", given) end
  local function pass(item, emit) emit(item) end

  for _, context in ipairs(contexts.forked) do
    local where = " [" .. context.name .. "]"
    local options = context.options

    it("R20 R24 go on as bytes to where they are handled" .. where, function()
      local n = context.size
      local result = new():producer(range(1, n)):processor("a", { processes = 2 }, pass):batch("b", 7)
        :processor("c", options, function(batch, emit, ctx)
          ctx:count("batches")
          for _, item in ipairs(batch) do emit(item) end
        end):run()
      assert.same(range(1, n), sorted(result.items))
      local batches = (n + 6) // 7
      assert.equal(batches, result.counters.batches)
      local s = result.stats.stages
      assert.same({ n, batches, batches, n }, { s.b.items_in, s.b.items_out, s.c.items_in, s.c.items_out })
    end)

    it("R3 to two stages, and from stages of both sides" .. where, function()
      local n = context.size
      local result = new():producer("p", { to = { "a", "i" } }, range(1, n)):processor("a", { processes = 1 }, pass)
        :processor("i", { to = "b" }, function(item, emit) emit(item + n) end)
        :batch("b", { max_size = 5, from = "a", to = { "x", "y" } })
        :processor("x", { processes = 1, to = {} }, function(batch, emit) for _, v in ipairs(batch) do emit(v) end end)
        :processor("y", contexts.options(context, { from = "b" }), function(batch, emit)
          for _, v in ipairs(batch) do emit(v) end
        end):run()
      assert.same(range(1, 2 * n), sorted(result:of "x"))
      assert.same(range(1, 2 * n), sorted(result:of "y"))
    end)

    it("R46 are tried again, and named in failures, as a whole" .. where, function()
      local result = new { failures = "collect" }:producer(range(1, 12)):processor("a", { processes = 1 }, pass)
        :batch(4):processor("c", contexts.options(context, { retries = 1 }), function(batch, emit, ctx)
          if batch[1] == 5 or (batch[1] == 1 and ctx.attempt == 1) then error "no" end
          emit(#batch)
        end):run()
      assert.same({ 4, 4 }, result.items)
      assert.equal(1, #result.failures)
      assert.same({ { 5, 6, 7, 8 }, 2, "error" },
        { result.failures[1].item, result.failures[1].attempts, result.failures[1].kind })
    end)
  end

  it("R20 gives the accumulator's own handler its batches in a pool, and in the coordinator", function()
    for _, context in ipairs(contexts.all) do
      local result = new():producer(range(1, 20)):processor("a", { processes = 1 }, pass)
        :accumulator("sums", contexts.options(context, { max_size = 6 }), function(batch, emit)
          local sum = 0
          for _, v in ipairs(batch) do sum = sum + v end
          emit(sum)
        end):run()
      assert.same({ 21, 39, 57, 93 }, sorted(result.items))
      local s = result.stats.stages.sums
      assert.same({ 20, 4 }, { s.items_in, s.items_out })
    end
  end)

  it("R20 are written as a producer of the coordinator emits them: what it changes later does not matter", function()
    local result = new():producer("p", function(emit)
      local item = {}
      for i = 1, 7 do
        item.i = i
        emit(item)
      end
    end):batch("b", 3):processor({ processes = 1 }, function(batch, emit)
      for _, item in ipairs(batch) do emit(item.i) end
    end):run()
    assert.same(range(1, 7), result.items)
    local s = result.stats.stages
    assert.same({ 7, 7, 3 }, { s.p.items_out, s.b.items_in, s.b.items_out })
  end)

  it("R49 do not have what a producer of the coordinator emits and cannot be sent: a failure of its own", function()
    local result = new { failures = "collect" }:producer("p", { 1, 2, print, 4 }):batch(2)
      :processor({ processes = 1 }, pass):run()
    assert.same({ { 1, 2 }, { 4 } }, result.items)
    assert.equal(1, #result.failures)
    assert.same({ "unserialisable", "p", print },
      { result.failures[1].kind, result.failures[1].stage, result.failures[1].item })
  end)

  it("R21 wait no longer than they may for a producer that emits little", function()
    local came = {}
    new():producer(function(emit)
      emit(1)
      core.sleep(0.3)
      emit(2) -- the coordinator gets to its clock
      core.sleep(0.3)
      emit(3)
    end):batch { max_size = 100, max_wait = 0.05 }:processor({ processes = 1 }, pass)
      :consumer(function(batch) came[#came + 1] = #batch end):run()
    assert.is_true(#came >= 2)
  end)

  it("R21 are with a worker as soon as they have fallen due, while the source sleeps", function()
    local least = math.huge
    new():producer(function(emit)
      for _ = 1, 4 do
        emit(core.now())
        minigun.sleep(0.25)
      end
    end):batch { max_size = 100, max_wait = 0.05 }
      :map({ processes = 1 }, function(batch) return core.now() - batch[1] end)
      :consumer(function(seconds) least = math.min(least, seconds) end):run()
    assert.is_true(least >= 0.045 and least < 0.12, least .. " s")
  end)

  it("R49 go on without a value of the coordinator that cannot be sent, which fails alone", function()
    local result = new { failures = "collect" }:producer({ 1, 2, 3, 4 })
      :map(function(n) return n == 3 and print or n end):batch(2):processor({ processes = 1 }, pass):run()
    assert.same({ { 1, 2 }, { 4 } }, result.items)
    assert.equal(1, #result.failures)
    assert.same({ "unserialisable", print }, { result.failures[1].kind, result.failures[1].item })
  end)

  it("R60 of 1 MiB an item, a hundred of them, within the limit of memory", function()
    local text, n = ("x"):rep(MEBI), support.short_or_long(100, 200)
    local result = new { memory = "512M" }:producer(function(emit) for i = 1, n do emit(i) end end)
      :map({ processes = 1 }, function(i) return { i, text } end):batch(100)
      :map({ processes = 1 }, function(batch)
        assert(#batch == 100)
        for _, item in ipairs(batch) do assert(#item[2] == MEBI) end
        return #batch
      end):run()
    assert.same(n == 100 and { 100 } or { 100, 100 }, result.items)
    assert.is_true(result.stats.memory_most < 640 * MEBI, result.stats.memory_most)
  end)

  it("R60 of more bytes than the limit of memory end all the same", function()
    local text = ("x"):rep(200000)
    local result = new { memory = "1M" }:producer(range(1, 60)):map({ processes = 2 }, function() return text end)
      :batch(20):map({ processes = 2 }, function(batch) return #batch end):batch(2):run()
    local sizes = {}
    for _, pair in ipairs(result.items) do table.move(pair, 1, #pair, #sizes + 1, sizes) end
    assert.same({ 20, 20, 20 }, sizes)
  end)

  it("R60 hold no block of which they need little", function()
    -- Of each 60 KB one small item goes into the open batch.
    local junk, n = ("x"):rep(60000), 300
    local result = new { memory = "2M" }:producer(range(1, n))
      :processor("a", { processes = 1, to = { "b", "c" }, route = function(item)
        return type(item) == "number" and "b" or "c"
      end }, function(i, emit)
        emit(i)
        emit(junk)
      end):batch("b", { max_size = 1000, from = "a", to = "d" }):each("c", function() end)
      :map("d", { processes = 1, from = "b" }, function(batch) return #batch end):run()
    assert.same({ n }, result:of "d")
    assert.is_true(result.stats.memory_most < 4 * MEBI, result.stats.memory_most)
  end)
end)
