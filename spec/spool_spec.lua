-- Spools: what is written is read back, whole or not at all, whatever happens to writers and to the file.
local core = require "minigun.core"
local contexts = require "spec.contexts"
local lfs = require "lfs"
local minigun = require "minigun"
local refusals = require "spec.refusals"
local support = require "spec.support"

local HEAD <const> = 20
local ENOENT <const>, EINVAL <const>, EFBIG <const>, ENOSPC <const>, ELOOP <const> = 2, 22, 27, 28, 40

local seed = tonumber(os.getenv "SEED") or os.time()
math.randomseed(seed)

local path

local function read(from)
  local list, reader <close> = {}, assert(minigun.spool(from or path, { read_only = true }))
  for value in reader:records() do list[#list + 1] = value end
  return list, reader:damage()
end

local function write(...)
  local s <close> = assert(minigun.spool(path))
  for _, value in ipairs { ... } do assert(s:write(value)) end
end

-- Where each record begins, found by writing one after the other; and where the last ends.
local function write_each(values)
  local places = {}
  for i, value in ipairs(values) do
    places[i] = lfs.attributes(path, "size")
    write(value)
  end
  places[#values + 1] = lfs.attributes(path, "size")
  return places
end

describe("a spool", function()
  before_each(function()
    path = os.tmpname()
  end)

  after_each(function() os.remove(path) end)

  it("gives back what was written, in order, to a later reader and to a loop beside the writing", function()
    local shared = { 1 }
    local cycle = { name = "c" }
    cycle.me = cycle
    local values = { 1, -1.5, "text", false, true, {}, { 1, 2, { a = "b" } }, ("x"):rep(200000),
      { shared, shared }, cycle }
    local s <close> = assert(minigun.spool(path))
    for _, value in ipairs(values) do assert.is_true(s:write(value)) end
    assert.same({ true }, { s:sync() })
    local list = {}
    for value in s:records() do
      list[#list + 1] = value
      s:write "later: not seen by this loop"
    end
    assert.equal(#values, #list)
    for i = 1, 8 do assert.same(values[i], list[i]) end
    assert.equal(list[9][1], list[9][2])
    assert.equal(list[10], list[10].me)
    assert.equal(2 * #values, #(read()))
    assert.same({ records = 0, bytes = 0, places = 0 }, s:damage())
    assert.equal(("spool '%s'"):format(path), tostring(s))
  end)

  it("is a producer's source, by all that records gives and by its iterator alone", function()
    write(1, 2, 3)
    local s <close> = assert(minigun.spool(path, { read_only = true }))
    for _, context in ipairs(contexts.kinds) do
      local r = minigun.pipeline "source":producer("stored", s:records())
        :map(contexts.options(context), function(x) return x * 10 end):run()
      assert.same({ 10, 20, 30 }, contexts.sorted(r.items))
    end
    local r = minigun.pipeline { source = s:records(), { "same", map = function(x) return x end } }:run()
    assert.same({ 1, 2, 3 }, r.items)
  end)

  it("has the checksum of the standard", function()
    assert.equal(0xe3069283, core.crc32c "123456789")
    assert.equal(0, core.crc32c "")
    assert.equal(0x8a9136aa, core.crc32c(("\0"):rep(32)))
  end)

  it("is made with mode 0600, closed on exec, and refuses links, directories and FIFOs", function()
    os.remove(path)
    do
      local s <close> = assert(minigun.spool(path))
      assert.equal("rw-------", lfs.attributes(path, "permissions"))
      for fd, target in pairs(support.descriptors()) do
        if target == path then
          local flags = support.read_file("/proc/self/fdinfo/" .. fd):match "flags:%s*(%d+)"
          assert.equal(tonumber("2000000", 8), tonumber(flags, 8) & tonumber("2000000", 8))
        end
      end
      assert.is_true(s:write(1))
    end
    local link = path .. ".link"
    assert(lfs.link(path, link, true))
    local s, message, errno = minigun.spool(link)
    os.remove(link)
    assert.is_nil(s)
    assert.matches("symbolic link", message, 1, true)
    assert.equal(ELOOP, errno)
    assert(os.execute("mkfifo " .. link))
    s, message, errno = minigun.spool(link, { read_only = true })
    os.remove(link)
    assert.is_nil(s)
    assert.matches("not a regular file", message, 1, true)
    assert.equal(EINVAL, errno)
    assert.is_nil((minigun.spool "/"))
    assert.is_nil((minigun.spool "/dev/full"))
    s, message, errno = minigun.spool(path .. "/none", { read_only = true })
    assert.is_nil(s)
    assert.is_true(errno == ENOENT or errno == 20, message)
    assert.is_nil((minigun.spool(path .. ".none", { read_only = true })))
  end)

  it("raises for the caller's mistakes at the caller's line, and writes nothing then", function()
    local s = assert(minigun.spool(path))
    local only = assert(minigun.spool(path, { read_only = true }))
    refusals.check {
      { function() s:write { user = { callback = print } } end, path, "item.user.callback is a function" },
      { function() s:write(nil) end, "nil cannot be written" },
      { function() only:write(1) end, "read_only" },
      { function() minigun.spool() end, "the path must be a name" },
      { function() minigun.spool(path, { synk = true }) end, "unknown option 'synk' (did you mean 'sync'?)" },
      { function() minigun.spool "a\0b" end, "zero byte" },
    }
    only:close()
    assert.same({ true }, { s:close() })
    assert.same({ true }, { s:close() })
    refusals.check {
      { function() s:write(1) end, "write after it was closed" },
      { function() s:sync() end, "sync after it was closed" },
      { function() s:records() end, "records after it was closed" },
    }
    assert.matches("(closed)", tostring(s), 1, true)
    assert.equal(0, lfs.attributes(path, "size"))
  end)

  it("is not fooled by a dump hook that closes it or writes to it", function()
    local s <close> = assert(minigun.spool(path))
    local Type = {}
    local act = "write"
    minigun.register("spool_spec.type", Type, function(object)
      s[act](s, "inner")
      return object.text
    end, function(text) return text end)
    s:write(setmetatable({ text = ("o"):rep(5000) }, Type))
    local seen = contexts.counts((read()))
    assert.equal(1, seen[("o"):rep(5000)])
    act = "close"
    local ok, message = pcall(s.write, s, setmetatable({ text = "x" }, Type))
    assert.is_false(ok)
    assert.matches("closed", message, 1, true)
    assert.is_true(#read() >= 2)
  end)

  it("R78 says which record is of a type that is not registered, when it has given the others", function()
    write "first"
    local done = support.run_lua([[
      local minigun = require "minigun"
      local T = {}
      minigun.register("spool_spec.unknown", T)
      local s = assert(minigun.spool(arg[1]))
      s:write(setmetatable({}, T))
    ]], { args = { path } })
    assert.equal("", done.stderr)
    write "last"
    local s <close> = assert(minigun.spool(path))
    local next_record = s:records()
    assert.equal("first", next_record())
    assert.equal("last", next_record())
    local message = refusals.message(function() next_record() end)
    assert.matches("at byte 26 cannot be decoded: .*'spool_spec.unknown'", message)
    assert.is_nil(next_record())
    assert.equal(1, s:damage().records)
  end)

  describe("R78 with records whose load hook fails", function()
    local Type, act = {}, nil
    minigun.register("spool_spec.fails", Type, function(o) return o.n end, function(n)
      if act and n % 3 == 0 then return act() end
      return setmetatable({ n = n }, Type)
    end)
    local acts = {
      raises = function() error { code = 7 } end,
      refuses = function() return nil, "code = 7" end,
      reads = function() -- the same spool, while it is read
        local s <close> = assert(minigun.spool(path))
        for value in s:records() do
          if value.n == 1 then break end
        end
        error "code = 7"
      end,
    }
    local function numbers(list)
      local n = {}
      for i, each in ipairs(list) do n[i] = each.n or each[1].n end
      return contexts.sorted(n)
    end
    before_each(function()
      act = nil
      local s <close> = assert(minigun.spool(path))
      for n = 1, 7 do assert(s:write(n == 6 and { setmetatable({ n = n }, Type) } or setmetatable({ n = n }, Type))) end
    end)

    for name, f in pairs(acts) do
      it("gives the others, says which those are, and lists them as damage: it " .. name, function()
        act = f
        local s <close>, list = assert(minigun.spool(path)), {}
        local message = refusals.message(function() for value in s:records() do list[#list + 1] = value end end)
        assert.same({ 1, 2, 4, 5, 7 }, numbers(list))
        assert.matches("code = 7.*; and 1 more, see damage$", message)
        for _, damage in ipairs { s:damage(), assert(minigun.spool(path, { read_only = true })):damage() } do
          assert.same({ 2, 2, 2 }, { damage.records, damage.places, #damage })
          for _, one in ipairs(damage) do
            assert.matches("record at byte " .. one.offset .. " .*code = 7", one.message)
          end
          assert.equal(damage.bytes, damage[1].bytes + damage[2].bytes)
        end
        assert.equal(5, #list)
      end)

      it("costs a producer these records only, in every context: it " .. name, function()
        act = f
        for _, context in ipairs { { inline = true }, { processes = 1 }, { threads = 1 } } do
          local s <close> = assert(minigun.spool(path))
          local r = minigun.pipeline "p":producer("src", context, s:records()):map(function(o) return o.n or o[1].n end)
            :run { failures = "collect" }
          assert.same({ 1, 2, 4, 5, 7 }, contexts.sorted(r.items))
          assert.equal(2, #r.failures)
          for i, failed in ipairs(r.failures) do
            assert.same({ "unserialisable", "src" }, { failed.kind, failed.stage })
            assert.matches("record at byte %d+ cannot be decoded: .*code = 7", failed.message)
            assert.same(i == 1 and 3 or { 6 }, failed.item)
            if name == "raises" then assert.same({ code = 7 }, failed.error) end
          end
        end
      end)
    end
  end)

  it("loses, cut off at any byte, only the records that are cut; the next writer goes on after these", function()
    local values = { { "first" }, ("second "):rep(10), { 3, 3, third = true }, "four" }
    local places = write_each(values)
    local bytes = support.read_file(path)
    assert.equal(places[5], #bytes)
    for length = places[2], #bytes do
      support.write_file(path, bytes:sub(1, length))
      local whole, begin = {}, 0
      for i, value in ipairs(values) do
        if places[i + 1] <= length then whole[i], begin = value, places[i + 1] end
      end
      local list, damage = read()
      assert.same(whole, list)
      assert.equal(length - begin, damage.bytes)
      assert.equal(length > begin and 1 or 0, damage.records)
      if length > begin then assert.same({ { offset = begin, bytes = length - begin } }, { damage[1] }) end
      write("after", { "last" })
      list, damage = read()
      whole[#whole + 1], whole[#whole + 2] = "after", { "last" }
      assert.same(whole, list)
      assert.equal(length - begin, damage.bytes)
    end
  end)

  it("keeps both where the next writer's first bytes are just what a torn record lacked", function()
    for _, lacking in ipairs { "\xc1", "\xc1M", "\xc1MGS" } do
      support.write_file(path, "")
      write("before", "torn " .. lacking)
      local bytes = support.read_file(path)
      support.write_file(path, bytes:sub(1, #bytes - #lacking))
      write "after"
      assert.same({ "before", "torn " .. lacking, "after" }, (read()))
    end
  end)

  it("loses by any flipped bit only the record that it is in", function()
    local values = { "one", { two = { 2.5, 2 } }, ("three"):rep(20), { 4, "four" } }
    local places = write_each(values)
    local bytes = support.read_file(path)
    for at = 1, #bytes do
      local hit = 1
      while places[hit + 1] < at do hit = hit + 1 end
      local others = table.move(values, 1, #values, 1, {})
      table.remove(others, hit)
      local step = support.short_or_long(4, 1)
      for bit = at % step, 7, step do
        support.write_file(path, bytes:sub(1, at - 1) .. string.char(bytes:byte(at) ~ 1 << bit) .. bytes:sub(at + 1))
        local list, damage = read()
        assert.same(others, list)
        assert.same({ records = 1, bytes = places[hit + 1] - places[hit], places = 1,
          { offset = places[hit], bytes = places[hit + 1] - places[hit] } }, damage)
      end
    end
  end)

  it("survives random damage with values of its own only (" .. seed .. ")", function()
    local values = {}
    for i = 1, 300 do values[i] = { i, ("v"):rep(math.random(0, 3000)) } end
    write(table.unpack(values))
    local bytes = support.read_file(path)
    for _ = 1, support.short_or_long(20, 500) do
      local parts, at = {}, 1
      while at <= #bytes do
        local n = math.random(1, 60000)
        local what = math.random(5)
        local piece = bytes:sub(at, at + n - 1)
        if what == 1 then piece = piece:sub(1, math.random(0, #piece))
        elseif what == 2 then piece = piece .. piece
        elseif what == 3 then piece = ("\xc1MGS"):rep(50) .. ("\0"):rep(#piece) end
        parts[#parts + 1] = piece
        at = at + n
      end
      support.write_file(path, table.concat(parts))
      local last = 0
      for _, value in ipairs((read())) do
        assert.is_true(value[1] > last)
        last = value[1]
        assert.equal(values[last][2], value[2])
      end
    end
  end)

  it("does not take a copy of a record inside a damaged value for a record", function()
    write("alpha", "beta")
    local inner = support.read_file(path)
    os.remove(path)
    write("zero", inner, "end")
    local bytes = support.read_file(path)
    local at = bytes:find(inner, 1, true)
    assert.is_true(at > HEAD)
    support.write_file(path, bytes:sub(1, at - 2) .. "?" .. bytes:sub(at))
    local list, damage = read()
    assert.same({ "zero", "end" }, list)
    assert.equal(1, damage.places)
  end)

  it("passes over megabytes of rubbish and reports damage without a reading", function()
    support.write_file(path, ("\xc1MGS rubbish "):rep(200000))
    write "after"
    local s <close> = assert(minigun.spool(path))
    assert.equal(13 * 200000, s:damage().bytes)
    local list = read()
    assert.same({ "after" }, list)
  end)

  it("may be opened before a fork and written by every worker", function()
    local s <close> = assert(minigun.spool(path))
    s:write { 0, "" }
    for _, context in ipairs(contexts.all) do
      local n = context.per_item and support.short_or_long(7, 40) or support.short_or_long(150, 1000)
      local function size(i) return i * 7919 % (i % 4 == 0 and 200000 or 900) end
      local r = minigun.pipeline "writers":producer("numbers", contexts.range(1, n))
        :each(contexts.options(context), function(i)
          assert(s:write { i, ("w"):rep(size(i)) })
        end):run()
      assert.is_true(r.ok)
      s:write { 0, "" }
      local counts = {}
      for value in s:records() do
        counts[value[1]] = (counts[value[1]] or 0) + 1
        assert.equal(size(value[1]), #value[2])
      end
      assert.same({ records = 0, bytes = 0, places = 0 }, s:damage())
      for i = 1, n do assert.is_true(counts[i] >= 1) end
      assert.equal(n + 2, #(read()))
      support.write_file(path, "")
      s:write { 0, "" }
    end
  end)

  it("is read by a worker's producer while others write, up to where it ended", function()
    write(table.unpack(contexts.range(1, 50)))
    local s <close> = assert(minigun.spool(path))
    local r = minigun.pipeline "self":producer("stored", { processes = 1 }, s:records())
      :each({ processes = 2 }, function(i) assert(s:write(1000 + i)) end):run()
    assert.is_true(r.ok)
    assert.equal(100, #(read()))
  end)

  it("keeps its file when the directory changes or the file is renamed", function()
    local s <close> = assert(minigun.spool(path))
    local other = path .. ".moved"
    assert(os.rename(path, other))
    minigun.pipeline "moved":producer { 1, 2, 3 }:each({ processes = 2 }, function(i) assert(s:write(i)) end):run()
    local list = read(other)
    os.remove(other)
    assert.same({ 1, 2, 3 }, contexts.sorted(list))
    assert.is_nil(lfs.attributes(path, "size"))
  end)
end)

-- A program that writes records until it is killed, or `most` of them; it notes each that was written in a file.
local WRITER <const> = [[
  local minigun = require "minigun"
  local path, id, most = arg[1], tonumber(arg[2]), tonumber(arg[3])
  local s = assert(minigun.spool(path))
  local log = io.open(path .. ".log" .. id, "a")
  log:setvbuf "no"
  for n = 1, most do
    local size = (id * 7919 + n * 104729) % (n % 3 == 0 and 3000000 or 3000)
    assert(s:write { id, n, string.char(n % 256):rep(size) })
    log:write(n, "\n")
  end
]]

describe("a storm of writers", function()
  local script

  before_each(function()
    path, script = os.tmpname(), support.write_file(os.tmpname(), WRITER)
  end)

  after_each(function()
    os.remove(script)
    os.execute("rm -f " .. path .. " " .. path .. ".log*")
  end)

  local function storm(lines)
    local done = support.run(table.concat(lines, "\n"), { env = support.lua_env(), timeout = 100 })
    assert.equal(0, done.code, done.stderr)
    local last, s <close> = {}, assert(minigun.spool(path, { read_only = true }))
    for value in s:records() do
      local id, n, text = table.unpack(value)
      assert.equal((last[id] or 0) + 1, n)
      assert.equal((id * 7919 + n * 104729) % (n % 3 == 0 and 3000000 or 3000), #text)
      assert.is_true(text == string.char(n % 256):rep(#text))
      last[id] = n
    end
    return last, s:damage()
  end

  it("writes all that it writes", function()
    local lines = {}
    local n = support.short_or_long(12, 300)
    for id = 1, 4 do lines[id] = ("lua5.4 %s %s %d %d &"):format(script, path, id, n) end
    local last, damage = storm { table.concat(lines, "\n"), "wait" }
    assert.same({ n, n, n, n }, last)
    assert.equal(0, damage.bytes)
  end)

  it("killed by kill -9 in the middle: each record is whole or absent, those that were written are there", function()
    support.deadline(120)
    local rounds, id, lines, killed = support.short_or_long(2, 100), 0, {}, {}
    for _ = 1, rounds do
      local pids = ""
      for _ = 1, 4 do
        id = id + 1
        lines[#lines + 1] = ("lua5.4 %s %s %d 100000 & p%d=$!"):format(script, path, id, id)
        pids = pids .. (" $p%d"):format(id)
        killed[id] = true
      end
      lines[#lines + 1] = ("until [ -s %s.log%d ]; do sleep 0.005; done"):format(path, math.random(id - 3, id))
      lines[#lines + 1] = ("sleep 0.%03d; kill -KILL%s; wait"):format(math.random(0, 60), pids)
    end
    lines[#lines + 1] = ("lua5.4 %s %s 0 3"):format(script, path)
    local last, damage = storm(lines)
    assert.equal(3, last[0])
    for each in pairs(killed) do
      local noted = 0
      local log = support.read_file(path .. ".log" .. each) or ""
      for n in log:gmatch "(%d+)\n" do noted = tonumber(n) end
      local found = last[each] or 0
      assert.is_true(found == noted or found == noted + 1, ("writer %d: %d noted, %d found"):format(each, noted, found))
    end
    assert.is_true(damage.places <= rounds * 4, damage.places)
  end)
end)

describe("a disk that is full", function()
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  it("costs the record that did not fit: nil, message, errno, and the file is as before", function()
    local done = support.run(([[
      trap '' XFSZ
      ulimit -f 64
      exec lua5.4 -e '
        local minigun = require "minigun"
        local s = assert(minigun.spool "%s")
        assert(s:write(("a"):rep(20000)))
        print(s:write(("b"):rep(60000)))
        print(s:write "small")
        print(s:write(("b"):rep(60000)))
      ']]):format(path), { env = support.lua_env() })
    assert.equal("", done.stderr)
    local text = ("nil\tcannot write to the spool '%s': File too large\t%d\n"):format(path, EFBIG)
    assert.equal(text .. "true\n" .. text, (done.stdout:gsub("true[^\n]*", "true")))
    local list, damage = read()
    assert.same({ ("a"):rep(20000), "small" }, list)
    assert.equal(0, damage.bytes)
  end)

  it("and any other call that fails: an answer, never a record that is half there", function()
    local done = support.run(([[exec lua5.4 -e '
      local minigun = require "minigun"
      local core = require "minigun.core"
      local s = assert(minigun.spool "%s")
      for i, call in ipairs { "write", "lock_file", "file_facts", "sync_file" } do
        core.faults.call(call, 1, %d)
        local ok, message, errno
        if call == "sync_file" then ok, message, errno = s:sync() else ok, message, errno = s:write(call) end
        print(call, ok, errno, s:write(i))
      end
      core.faults.call("write", 1, 4)
      print("EINTR", s:write "again")
      for _, call in ipairs { "lock_file", "file_facts", "read_at" } do
        core.faults.call(call, call == "file_facts" and 2 or 1, 5)
        print(call, pcall(s:records()))
      end
      core.faults.call("open_file", 1, 24)
      print(minigun.spool "%s")
    ']]):format(path, ENOSPC, path), { env = { LUA_PATH = "./lua/?.lua;./lua/?/init.lua;;",
      LUA_CPATH = "./build-faults/?.so;;" } })
    assert.equal("", done.stderr)
    for _, call in ipairs { "write", "lock_file", "file_facts", "sync_file" } do
      assert.matches(("%s\tnil\t28\ttrue"):format(call), done.stdout, 1, true)
    end
    assert.matches("EINTR\ttrue", done.stdout, 1, true)
    for _, call in ipairs { "lock_file", "file_facts", "read_at" } do
      assert.matches("\n" .. call .. "\tfalse\t[^\n]*spool '[^\n]*': [^\n]*Input/output error", done.stdout)
    end
    assert.matches("nil\tcannot open the spool '[^']*': Too many open files\t24", done.stdout)
    local list, damage = read()
    assert.same({ 1, 2, 3, 4, "again" }, list)
    assert.equal(0, damage.bytes)
  end)
end)
