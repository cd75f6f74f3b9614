local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local report = require "minigun.base.protocol"
local support = require "spec.support"

local range, sorted, options = contexts.range, contexts.sorted, contexts.options

local MEBI <const> = 1 << 20

-- Events of a pool until its worker in slot 1 has ended.
local function events(pool)
  local list = {}
  while true do
    pool:collect()
    while true do
      local event = table.pack(pool:event())
      if event.n == 0 then break end
      list[#list + 1] = event
      if event[1] == "exit" then return list end
    end
    assert(pool:wait(5))
  end
end

-- A block with these items on edge 1: block, offset, length, count.
local function block_of(pool, items)
  local writer <close> = setmetatable({}, { __close = function(self) self.w:close() end })
  writer.w = core.writer(pool, 1, function(w, need)
    if need > 0 then assert(w:open(math.max(need, 65536))) end
  end, error, 1, 1)
  for _, item in ipairs(items) do writer.w(item) end
  return writer.w:take()
end

describe("the core's functions", function()
  it("refuse wrong arguments at the caller's line", function()
    local function noop() end
    local pool = core.pool(1, MEBI, MEBI)
    local closing <close> = pool -- luacheck: no unused
    local cases = {
      function() core.pool() end, function() core.pool("x", 1, 1) end, function() core.pool(-1, MEBI, MEBI) end,
      function() core.pool(5000, MEBI, MEBI) end, function() core.pool(1, 0, MEBI) end,
      function() core.pool(1, MEBI, -1) end, function() core.pool(1.5, MEBI, MEBI) end,
      function() core.sleep "long" end, function() core.sleep(-1) end, function() core.sleep(0 / 0) end,
      function() core.sleep(1e9) end, function() core.die_of {} end,
      function() core.writer() end, function() core.writer({}, 1, noop, noop, 1, 1) end,
      function() core.writer(pool, -1, noop, noop, 1, 1) end, function() core.writer(pool, 65535, noop, noop, 1, 1) end,
      function() core.writer(pool, 1, nil, noop, 1, 1) end, function() core.writer(pool, 1, noop, 7, 1, 1) end,
      function() core.writer(pool, 1, noop, noop, "first", 1) end,
      function() core.writer(pool, 1, noop, noop, 0, 1) end, function() core.writer(pool, 1, noop, noop, 1, 2) end,
      function() core.writer(pool, 1, noop, noop, 1, 1 << 40) end,
      function() pool:spawn(2, MEBI, noop) end, function() pool:spawn(1, MEBI) end,
      function() pool:spawn(0, MEBI, noop) end, function() pool.spawn({}, 1, MEBI, noop) end,
      function() pool:offer(1, 1, false, 0, 0, 1, 0, 1, 1, 0) end, function() pool:lend(9, 65536) end,
      function() pool:finish "one" end, function() pool:revoke() end, function() pool:wait {} end,
      function() pool:kill(7) end, function() pool:overtime(-1) end, function() pool:state(1 << 40) end,
      function() pool:retain(9) end, function() pool:release(9) end, function() pool:release(-1) end,
      function() pool:release(false) end, function() pool:walk(9, 0, 10, 0, 1) end,
      function() pool:decode(9, 0, 10, 0) end, function() pool:decode_into({}, 0, 9, 0, 10, 0) end,
      function() pool:cursor(9, 0, 10, 0) end, function() pool:edges(9, 0, 10) end,
    }
    for i, case in ipairs(cases) do
      local ok, message = pcall(case)
      assert.is_false(ok, "case " .. i)
      local line = debug.getinfo(case, "S").linedefined
      local place = ("spec/core_spec.lua:%d: "):format(line)
      assert.equal(place, tostring(message):sub(1, #place), "case " .. i .. ": " .. tostring(message))
    end
    pool:check()
  end)

  it("agree with the limits of options, and with each other, in the numbers that Lua takes from them", function()
    local schemas, types = require "minigun.language.schemas", require "minigun.base.types"
    local p = core.protocol
    for name, value in pairs(p) do assert.equal("integer", math.type(value), name) end
    assert.is_true(types.MAX_PROCESSES <= p.MAX_SLOTS and types.MAX_THREADS <= p.THREADED_CHUNKS)
    assert.is_true(p.TO + types.MAX_STAGES < p.EDGE and p.EDGE < p.ANY and types.MAX_STAGES < p.TO)
    assert.is_true(schemas.MIN_MEMORY >= p.UNIT)
    for name, value in pairs(report) do
      if p[name] then assert.equal(p[name], value, name) end
    end
    for _, flags in ipairs { { p.TIMED, p.PRODUCER, p.SET, p.SINGLY }, { p.STREAMED, p.TIMED_OUT, p.LOADING },
      { p.STDOUT, p.STDERR } } do
      local all = 0
      for _, bit in ipairs(flags) do
        assert.equal(0, all & bit)
        all = all | bit
      end
    end
  end)

  it("tell time, process and processors", function()
    local now = core.now()
    assert.equal("float", math.type(now))
    assert.is_true(core.sleep(0.002))
    assert.is_true(core.now() - now >= 0.002)
    assert.equal(support.pid(), core.pid())
    assert.is_true(core.cpus() >= 1)
    local a, b = core.random()
    assert.same({ "integer", "integer" }, { math.type(a), math.type(b) })
    assert.not_equal(a, (core.random()))
  end)

  it("die_of ends the process as the signal would", function()
    local result = support.run_lua [[
      io.write "written"
      require "minigun.core".die_of(15)
    ]]
    assert.equal("written", result.stdout)
    assert.not_equal(0, result.code)
    result = support.run_lua [[
      local core = require "minigun.core"
      require "minigun.core".die_of(0)
      print "still here"
    ]]
    assert.is_nil(result.stdout:find "still here")
  end)
end)

describe("a pool", function()
  it("is closed by close, the end of its block and the collector, and may be closed twice", function()
    local mappings, descriptors = support.shared_mappings(), support.descriptor_count()
    do
      local one = core.pool(2, MEBI, MEBI)
      local two <close> = core.pool(2, MEBI, MEBI)
      assert.is_true(support.shared_mappings() >= mappings + 2)
      assert.is_true(two:fd() >= 0)
      one:close()
      one:close()
    end
    core.pool(2, MEBI, MEBI)
    collectgarbage()
    collectgarbage()
    assert.equal(mappings, support.shared_mappings())
    assert.equal(descriptors, support.descriptor_count())
  end)

  it("that is closed refuses every method, and uses no memory", function()
    local pool = core.pool(1, MEBI, MEBI)
    local writer = core.writer(pool, 1, function(w, need) w:open(math.max(need, 65536)) end, error, 1, 1)
    writer(1)
    pool:close()
    local n = 0
    for name, method in pairs(getmetatable(pool)) do
      if type(method) == "function" and name ~= "close" and name ~= "memory" and name:sub(1, 2) ~= "__" then
        n = n + 1
        local ok, message = pcall(method, pool, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
        assert.is_false(ok, name)
        assert.is_truthy(message:find("closed", 1, true), name .. ": " .. message)
      end
    end
    assert.is_true(n > 15)
    assert.same({ 0, 0, 0 }, { pool:memory() })
    for _, f in ipairs { writer, writer.take, writer.open, writer.pending } do
      assert.has_error(function() f(writer, 1) end)
    end
    writer:close()
    assert.has_error(function() core.writer(pool, 1, error, error, 1, 1) end)
  end)

  it("that cannot be set up returns nil, a message and errno", function()
    local result = support.run([[ulimit -n 16; exec lua5.4 -e '
      local pool, message, errno = require "minigun.core".pool(100, 1 << 20, 1 << 20)
      print(pool, type(message), math.type(errno))']], { env = support.lua_env() })
    assert.equal("nil\tstring\tinteger\n", result.stdout)
    assert.equal("", result.stderr)
  end)

  it("carries items to a worker and back, with every block accounted for", function()
    local pool <close> = core.pool(1, 16 * MEBI, 16 * MEBI)
    local at_first = pool:memory()
    local block, offset, length, count = block_of(pool, { 1, "two", { 3 }, false })
    assert.equal(4, count)
    assert.equal(offset + length, (pool:walk(block, offset, length, report.ANY, 4)))
    assert.same({ [1] = 4 }, pool:edges(block, offset, length))
    local pid = assert(pool:spawn(1, MEBI, function(w)
      local emit = w:emitter(7)
      while w:next() do
        assert(w:run(function(item) emit { item } end, emit, {}, debug.traceback))
        w:end_chunk()
      end
      return 5
    end))
    assert.not_equal(core.pid(), pid)
    assert.equal(65536, pool:lend(1, 65536))
    assert.is_true(pool:offer(1, 1, block, offset, length, count, report.ANY, 3, 1, 0))
    pool:check()
    assert.is_true(pool:finish(1))
    local got, done, exit = {}, 0, nil
    for _, event in ipairs(events(pool)) do
      if event[1] == "out" then
        assert.equal(#got + event[6], pool:decode_into(got, #got, event[3], event[4], event[5], 7))
        pool:release(event[3])
      elseif event[1] == "done" then
        done = done + event[4]
      elseif event[1] == "exit" then
        exit = event
      end
    end
    assert.same({ { 1 }, { "two" }, { { 3 } }, { false } }, got)
    assert.equal(4, done)
    assert.same({ "exit", 1, pid, 5, 0 }, { table.unpack(exit, 1, 5) })
    pool:check()
    assert.equal(at_first, (pool:memory()))
  end)

  it("ends its wait for each of the descriptors that it watches, as long as that is readable", function()
    local pool <close> = core.pool(1, MEBI, MEBI)
    local others = {}
    for i = 1, 9 do
      others[i] = core.pool(0, MEBI, MEBI)
      assert.is_true(pool:watch(others[i]:fd()))
    end
    local function waited(seconds)
      local began = core.now()
      assert.is_true(pool:wait(seconds))
      return core.now() - began
    end
    assert.is_true(waited(0.02) >= 0.019)
    for _, other in ipairs(others) do
      assert.is_true(other:arm(0)) -- readable from now on
      assert.is_true(waited(20) < 10)
      assert.is_true(other:wait(0)) -- no longer
      assert.is_true(waited(0.02) >= 0.019)
    end
    pool:close()
    for _, other in ipairs(others) do other:close() end
  end)

  it("takes no process for ended whose descriptor the program has closed", function()
    local parent = assert(core.watch_process(core.parent())) -- not a child: it cannot be waited for
    local fd = parent:fd()
    if not fd then return pending "the kernel has no pidfds" end
    assert.is_false(parent:reap())
    core.shut(fd)
    assert.is_false(parent:reap())
    local file <close> = assert(io.open "/dev/null") -- under its number
    assert.is_false(parent:reap())
    parent:close()
    assert.equal("", file:read "a")
  end)

  it("has writers that pass on each item where that is asked for", function()
    local pool <close> = core.pool(1, MEBI, MEBI)
    local calls, taken = 0, {}
    local writer = core.writer(pool, 1, function(w, need)
      if need > 0 then return w:open(math.max(need, 65536)) end
      assert.is_true(need == 0 or need == -1)
      calls = calls + 1
      local block, _, _, count = w:take()
      taken[calls] = count
      pool:release(block)
    end, error, 1, 1)
    writer:singly()
    for i = 1, 3 do writer(i) end
    writer { 4 }
    assert.same({ 1, 1, 1, 1 }, taken)
    writer:close()
    assert.has_error(function() writer:singly() end)
  end)

  it("belongs to the process that opened it", function()
    local pool <close> = core.pool(2, 16 * MEBI, 16 * MEBI)
    local writer = core.writer(pool, 1, function(w, need) w:open(math.max(need, 65536)) end, error, 1, 1)
    writer(1)
    pool:spawn(1, MEBI, function()
      local refused = 0
      for _, f in ipairs {
        function() pool:memory() end, function() pool:spawn(2, MEBI, print) end, function() writer(2) end,
        function() writer:take() end, function() core.writer(pool, 1, error, error, 1, 1) end,
      } do
        if not pcall(f) then refused = refused + 1 end
      end
      pool:close() -- of the child's copy only
      writer:close()
      return refused
    end)
    pool:finish(1)
    local list = events(pool)
    assert.equal(5, list[#list][4])
    writer(2)
    assert.equal(2, (writer:pending())) -- the coordinator's own is untouched
    writer:close()
  end)

  it("keeps a block until its last reference is gone", function()
    local pool <close> = core.pool(1, MEBI, MEBI)
    local at_first = pool:memory()
    local block = block_of(pool, { 1 })
    pool:retain(block)
    pool:release(block)
    assert.is_true((pool:memory()) > at_first)
    pool:release(block)
    assert.equal(at_first, (pool:memory()))
    assert.has_error(function() pool:release(block) end)
    pool:check()
  end)

  it("refuses a range outside its block", function()
    local pool <close> = core.pool(1, MEBI, MEBI)
    local block, offset, length = block_of(pool, { 1, 2 })
    for _, range_ in ipairs { { 0, 65537 }, { 65537, 0 }, { 65536, 1 }, { 1, 65536 }, { -1, 8 }, { 0, -8 },
      { 0, 1 << 40 } } do
      assert.has_error(function() pool:walk(block, range_[1], range_[2], 0, 1) end)
      assert.has_error(function() pool:edges(block, range_[1], range_[2]) end)
      assert.has_error(function() pool:cursor(block, range_[1], range_[2], 0) end)
      assert.has_error(function() pool:decode_into({}, 0, block, range_[1], range_[2], 0) end)
    end
    assert.is_nil((pool:walk(block, offset + 1, length - 1, report.ANY, 2))) -- no record begins there
    assert.is_nil((pool:edges(block, offset + 1, length - 1)))
    assert.is_nil((pool:decode_into({}, 0, block, offset + 1, length - 1, report.ANY)))
    pool:release(block)
  end)

  it("gives false and what is wrong for a value that is no MessagePack any more", function()
    local pool <close> = core.pool(1, MEBI, MEBI)
    local block, offset, length = block_of(pool, { "needle in a block" })
    local memory <close> = assert(io.open("/proc/self/mem", "r+b"))
    for line in io.lines "/proc/self/maps" do
      local first, last = line:match "^(%x+)%-(%x+) ...s"
      if first then
        first, last = tonumber(first, 16), tonumber(last, 16)
        memory:seek("set", first)
        local at = memory:read(math.min(last - first, 8 * MEBI)):find("needle in a block", 1, true)
        if at then
          memory:seek("set", first + at - 2)    -- the byte before the text says what it is; c1 is nothing
          memory:write "\xc1"
          memory:flush()
        end
      end
    end
    local after, value, message = pool:decode(block, offset, offset + length, 1)
    assert.same({ offset + length, false }, { after, value })
    assert.equal("string", type(message))
    pool:release(block)
  end)

  it("gives false in place of an object that cannot be loaded and has no contents, else its contents", function()
    local pool <close> = core.pool(1, MEBI, MEBI)
    local Closed = {}
    core.register("core.closed", Closed, function(o) return o.inside end, function() error("closed", 0) end)
    for _, case in ipairs { { nil, false }, { "text", "text" }, { true, true } } do
      local block, offset, length = block_of(pool, { setmetatable({ inside = case[1] }, Closed) })
      local after, value, message = pool:decode(block, offset, offset + length, 1)
      assert.same({ offset + length, case[2] }, { after, value })
      assert.matches("closed", message)
      pool:release(block)
    end
    local shared = { "shared" }
    local block, offset, length = block_of(pool, { { setmetatable({ inside = 5 }, Closed), shared, shared } })
    local after, value, message = pool:decode(block, offset, offset + length, 1)
    assert.same({ offset + length, { 5, shared, shared } }, { after, value })
    assert.equal(value[2], value[3])
    assert.matches("closed", message)
    pool:release(block)
  end)

  it("walks: by count, by edge, over nothing", function()
    local pool <close> = core.pool(1, MEBI, MEBI)
    local block, offset, length = block_of(pool, range(1, 10))
    assert.equal(0, offset)
    assert.same({ 0, 0, report.ANY }, { pool:walk(block, offset, length, report.ANY, 0) })
    local at, n = pool:walk(block, offset, length, 1, 4)
    assert.equal(4, n)
    assert.same({ 5 }, { select(2, pool:decode(block, at, length, 1)) })
    assert.same({ length, 0, 2 }, { pool:walk(block, offset, length, 2, 4) })
    assert.same({ length, 10, 1 }, { pool:walk(block, offset, length, 1, 100) })
    local fetch, list = pool:cursor(block, at, length - at, 1), {}
    for item in fetch do list[#list + 1] = item end
    assert.same({ 5, 6, 7, 8, 9, 10 }, list)
    local late = pool:cursor(block, at, length - at, 1)
    pool:release(block)
    assert.is_nil(late())
  end)

  it("survives any method with any arguments", function()
    local seed = tonumber(os.getenv "SEED") or os.time()
    local result = support.run_lua([[
      local core, report = require "minigun.core", require "minigun.base.protocol"
      math.randomseed(tonumber(arg[1]))
      local pool = core.pool(3, 1 << 24, 1 << 24)
      local writer = core.writer(pool, 1, function(w, need)
        if w:pending() > 0 then pool:release((w:take())) end
        if need > 0 then w:open(math.min(need, 1 << 20)) end
      end, function() end, 1, 3)
      -- References that are not one's own must not be given away: release is left out, and offer gets one of its own.
      local skip = { close = true, kill = true, fd = true, spawn = true, check = true, release = true, retain = true }
      local names = {}
      for name, method in pairs(getmetatable(pool)) do
        if type(method) == "function" and name:sub(1, 2) ~= "__" and not skip[name] then names[#names + 1] = name end
      end
      table.sort(names)
      local numbers = { 0, 1, 2, 3, 4, -1, 8, 16, 255, 65535, 65536, 1 << 20, 1 << 31, 1 << 32, 1 << 40,
        math.maxinteger, math.mininteger, 0.5, 1e300, 0 / 0 }
      local function value()
        local kind = math.random(12)
        if kind <= 8 then return numbers[math.random(#numbers)] end
        return ({ false, "text", {}, pool })[kind - 8]
      end
      local function worker(w) while w:next() do w:run(function() end, nil, nil, tostring) w:end_chunk() end end
      local offered = 0
      for i = 1, 20000 do
        local args, n = {}, math.random(0, 11)
        for k = 1, n do args[k] = value() end
        local name = names[math.random(#names)]
        if name == "wait" then args[1] = 0 n = 1 end
        local retained = name == "offer" and pcall(pool.retain, pool, args[3])
        local ok, taken = pcall(pool[name], pool, table.unpack(args, 1, n))
        if retained and not (ok and taken) then pool:release(args[3]) end
        if retained and ok and taken then offered = offered + 1 end
        if i % 10 == 0 then pcall(writer, value()) end
        if i % 1000 == 1 then pcall(pool.spawn, pool, math.random(3), 65536, worker) end
        if i % 500 == 0 then
          pool:collect()
          while true do
            local event = table.pack(pool:event())
            if event.n == 0 then break end
            if event[1] == "out" or event[1] == "left" and event[4] then
              pcall(pool.release, pool, event[1] == "out" and event[3] or event[4])
            end
          end
        end
      end
      writer:close()
      pool:close()
      io.write "alive"
    ]], { args = { seed }, timeout = 30 })
    assert.equal("alive", result.stdout, "SEED=" .. seed .. "\n" .. result.stderr)
  end)
end)

describe("a writer", function()
  it("does not hold a large block after what is taken from it", function()
    local pool = core.pool(1, 16 * MEBI, 16 * MEBI)
    local closing <close> = pool -- luacheck: no unused
    local writer = core.writer(pool, 1, function(w, need)
      local block = w:take()
      if block then pool:release(block) end
      if need > 0 then assert(w:open(math.max(need, 65536))) end
    end, error, 1, 1)
    local before = pool:memory()
    writer(("x"):rep(MEBI))
    local large = pool:memory() - before
    assert.is_true(large >= MEBI)
    local block, offset, length, count = writer:take()
    assert.same({ 1, large }, { count, pool:memory() - before })
    writer(1)
    assert.equal(large + 65536, pool:memory() - before)
    assert.equal(("x"):rep(MEBI), select(2, pool:decode(block, offset, offset + length, 1)))
    pool:release(block)
    assert.equal(65536, pool:memory() - before)
    assert.equal(1, (writer:pending()))
    writer:close()
    pool:check()
  end)

  it("refuses nil, and open before take", function()
    local pool <close> = core.pool(1, MEBI, MEBI)
    local at_first = pool:memory()
    local writer = core.writer(pool, 1, function(w, need) w:open(math.max(need, 65536)) end, error, 1, 1)
    assert.has_error(function() writer() end)
    assert.has_error(function() writer(nil) end)
    writer(false)
    assert.has_error(function() writer:open(65536) end)
    assert.same({ 1 }, { (writer:pending()) })
    pool:release((writer:take()))
    assert.is_nil((writer:take()))
    assert.is_true(writer:open(65536))
    assert.is_false(writer:open(1 << 40))
    writer:close()
    writer:close()
    assert.has_error(function() writer(1) end)
    assert.equal(at_first, (pool:memory()))
  end)

  it("gives what cannot be serialised to its second function, and goes on", function()
    local pool <close> = core.pool(1, MEBI, MEBI)
    local bad = {}
    local writer = core.writer(pool, 1, function(w, need) w:open(math.max(need, 65536)) end, function(value, message)
      bad[#bad + 1] = { value, message }
    end, 1, 1)
    writer(1)
    writer { f = print }
    writer(print)
    writer(2)
    assert.equal(2, #bad)
    assert.equal(print, bad[1][1].f)
    assert.is_truthy(bad[1][2]:find("item.f is a function", 1, true))
    local block, offset, length, count = writer:take()
    local list = {}
    assert.equal(2, pool:decode_into(list, 0, block, offset, length, 1))
    assert.same({ 2, 1, 2 }, { count, table.unpack(list) })
    pool:release(block)
    writer:close()
  end)
end)

describe("the ledger of blocks", function()
  -- Looks at the pool of each run just before it is closed: bytes that are used and were not when it was opened.
  local function with_pools_watched(f)
    local meta, open = debug.getregistry()["minigun.pool"], core.pool
    local close, opened, seen = meta.close, {}, {}
    core.pool = function(...)
      local pool = open(...)
      opened[pool] = pool:memory()
      return pool
    end
    meta.close = function(pool)
      pool:check()
      seen[#seen + 1] = pool:memory() - opened[pool]
      return close(pool)
    end
    local ok, message = pcall(f)
    meta.close, core.pool = close, open
    assert(ok, message)
    return seen
  end

  local function pass(item, emit) emit(item) end

  for _, context in ipairs(contexts.forked) do
    it("is empty after a run" .. " [" .. context.name .. "]", function()
      local seen = with_pools_watched(function()
        local n = context.size
        local result = minigun.pipeline("ledger", { failures = "collect", memory = "2M" })
          :producer("gen", { to = { "a", "b" } }, function(emit)
            for i = 1, n do emit { i, ("x"):rep(i % 7 * 1000) } end
          end)
          :processor("a", options(context, { to = "join" }), pass)
          :processor("b", options(context, { to = "join", retries = 1 }), function(item, emit)
            emit(item)
            if item[1] % 50 == 1 then error "fails" end
          end)
          :batch("join", 10, { from = { "a", "b" } })
          :flat_map(options(context), function(batch) return batch end):run()
        assert.equal(2 * n - #result.failures, #result.items)
        assert.is_true(#result.failures > 0)
      end)
      assert.same({ 0 }, seen)
    end)

    it("is empty after a run whose items go on to threads of the coordinator" .. " [" .. context.name .. "]", function()
      local seen = with_pools_watched(function()
        local n = context.size
        local result = minigun.pipeline("ledger"):producer(range(1, n)):processor("work", options(context), pass)
          :processor("wait", { threads = 3 }, pass):run()
        assert.equal(n, #result.items)
      end)
      assert.same({ 0 }, seen)
    end)

    it("is empty after an item larger than the memory held for others" .. " [" .. context.name .. "]", function()
      local seen = with_pools_watched(function()
        local result = minigun.pipeline("ledger", { memory = "1M" }):producer { 100, 3000000, 5 }
          :processor(options(context), function(n, emit) emit(("y"):rep(n)) end)
          :processor(options(context), function(s, emit) emit(#s) end):run()
        assert.same({ 5, 100, 3000000 }, sorted(result.items))
      end)
      assert.same({ 0 }, seen)
    end)

    it("is in order when a run ends early" .. " [" .. context.name .. "]", function()
      local seen = with_pools_watched(function()
        local p = minigun.pipeline("ledger"):producer(range(1, 1000)):processor(options(context), pass)
        for _ in p:iterate() do
          if p then break end
        end
        p = minigun.pipeline("ledger", { failures = "stop" }):producer(range(1, 1000))
          :each(options(context), function() error "stop" end)
        assert.is_false(pcall(p.run, p))
      end)
      assert.equal(2, #seen)
    end)
  end
end)

describe("a dump hook that emits", function()
  it("gets an error, and leaves the item whole that is being encoded", function()
    local Nested = {}
    Nested.__index = Nested
    local inner
    minigun.register("core_spec.nested", Nested, function(object)
      local emit = inner
      inner = nil
      if emit then emit "from the hook" end
      return object.value
    end, function(value) return setmetatable({ value = value }, Nested) end)
    local function emit_nested(emit)
      inner = emit
      local ok, message = pcall(emit, setmetatable({ value = 1 }, Nested))
      emit(setmetatable({ value = 2 }, Nested))
      return ok, message
    end
    for _, given in ipairs { { inline = true }, { processes = 1 } } do
      local result = minigun.pipeline():producer("start", given, emit_nested)
        :processor("pass", { processes = 1 }, function(item, emit)
          emit(item.value)
          local ok, message = emit_nested(emit)
          assert(not ok and message:find "emit called from a dump hook", message)
        end):run { failures = "collect" }
      assert.equal(2, result.items[1])
      assert.equal(2, result.items[2].value)
      assert.equal(2, #result.items)
      assert.equal(1, #result.failures) -- of a producer an item fails, and it goes on
      assert.same({ "unserialisable", "start" }, { result.failures[1].kind, result.failures[1].stage })
      assert.matches("emit called from a dump hook", result.failures[1].message, 1, true)
    end
  end)
end)
