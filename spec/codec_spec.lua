--- The codec: Lua values to bytes and back, as docs/wire-format.md describes it.

local core = require "minigun.core"
local support = require "spec.support"
local values = require "spec.values"

local encode, decode, same = core.encode, core.decode, values.same

local function bytes(hex)
  return (hex:gsub("%s", ""):gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

local function hex(text)
  return (text:gsub(".", function(char)
    return ("%02x"):format(char:byte())
  end))
end

local function assert_round_trip(value)
  local text, references = encode(value)
  local back, message = decode(text, references)
  assert(message == nil, message)
  assert(same(value, back), hex(text:sub(1, 200)))
  return back, text, references
end

local function assert_refused(text, pattern, references)
  local results = table.pack(decode(text, references))
  assert.equal(2, results.n, "bytes were accepted: " .. hex(text:sub(1, 60)))
  assert.is_nil(results[1])
  assert.matches(pattern, results[2])
end

local function error_of(value)
  local ok, message = pcall(encode, value)
  assert.is_false(ok)
  return message
end

local seed = tonumber(os.getenv "SEED") or os.time()

describe("the codec's format", function()
  -- Bytes and value, both ways. Numbers that have several forms are in `accepted`.
  local vectors = {
    { "c2", false }, { "c3", true },
    { "00", 0 }, { "01", 1 }, { "7f", 127 }, { "cc80", 128 }, { "ccff", 255 }, { "cd0100", 256 }, { "cdffff", 65535 },
    { "ce00010000", 65536 }, { "ceffffffff", 4294967295 }, { "cf0000000100000000", 4294967296 },
    { "cf7fffffffffffffff", math.maxinteger },
    { "ff", -1 }, { "e0", -32 }, { "d0df", -33 }, { "d080", -128 }, { "d1ff7f", -129 }, { "d18000", -32768 },
    { "d2ffff7fff", -32769 }, { "d280000000", -2147483648 }, { "d3ffffffff7fffffff", -2147483649 },
    { "d38000000000000000", math.mininteger },
    { "cb0000000000000000", 0.0 }, { "cb8000000000000000", -0.0 }, { "cb3ff0000000000000", 1.0 },
    { "cb3ff8000000000000", 1.5 }, { "cbbfb999999999999a", -0.1 }, { "cb7ff0000000000000", math.huge },
    { "cbfff0000000000000", -math.huge }, { "cb0000000000000001", 0x0.0000000000001p-1022 },
    { "cb7fefffffffffffff", 0x1.fffffffffffffp1023 },
    { "a0", "" }, { "a161", "a" }, { "a3610062", "a\0b" }, { "bf" .. ("61"):rep(31), ("a"):rep(31) },
    { "d920" .. ("61"):rep(32), ("a"):rep(32) }, { "d9ff" .. ("61"):rep(255), ("a"):rep(255) },
    { "da0100" .. ("61"):rep(256), ("a"):rep(256) }, { "daffff" .. ("61"):rep(65535), ("a"):rep(65535) },
    { "db00010000" .. ("61"):rep(65536), ("a"):rep(65536) },
    { "a3e28282", "\u{2082}" }, { "a2fffe", "\xff\xfe" },
    { "90", {} }, { "9101", { 1 } }, { "93010203", { 1, 2, 3 } }, { "92a161c3", { "a", true } }, { "9190", { {} } },
    { "9f" .. ("c3"):rep(15), (function() local t = {} for i = 1, 15 do t[i] = true end return t end)() },
    { "dc0010" .. ("c3"):rep(16), (function() local t = {} for i = 1, 16 do t[i] = true end return t end)() },
    { "81a16101", { a = 1 } }, { "8102c3", { [2] = true } }, { "81a161" .. "81a162" .. "9101", { a = { b = { 1 } } } },
    { "81c2c3", { [false] = true } }, { "81cb3ff8000000000000a0", { [1.5] = "" } }, { "810090", { [0] = {} } },
    { "c709" .. "0101" .. "0102030405060708", { 1, 2, 3, 4, 5, 6, 7, 8 } },
    { "c711" .. "0102" .. "0100feff0300040005000600" .. "0700e803", { 1, -2, 3, 4, 5, 6, 7, 1000 } },
    { "c721" .. "0104" .. ("ffffff7f00000080"):rep(4),
      { 2147483647, -2147483648, 2147483647, -2147483648, 2147483647, -2147483648, 2147483647, -2147483648 } },
    { "c741" .. "0108" .. ("000000800000000000000000000000ff"):rep(4), (function()
      local t = {}
      for i = 1, 8, 2 do
        t[i], t[i + 1] = 2147483648, -1 << 56
      end
      return t
    end)() },
    { "c740" .. "02" .. ("000000000000f83f"):rep(8), { 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5 } },
  }

  for _, vector in ipairs(vectors) do
    local text, value = bytes(vector[1]), vector[2]
    it("writes and reads " .. vector[1]:sub(1, 40), function()
      assert.equal(hex(text), hex((encode(value))))
      local back, message = decode(text)
      assert.is_nil(message)
      assert(same(value, back))
    end)
  end

  it("writes and reads nil", function()
    assert.equal("\xc0", (encode(nil)))
    assert.equal(1, select("#", decode "\xc0"))
    assert.is_nil(decode "\xc0")
  end)

  -- Forms that other writers use.
  local accepted = {
    { "cc01", 1 }, { "cd0001", 1 }, { "ce00000001", 1 }, { "cf0000000000000001", 1 }, { "d001", 1 }, { "d0ff", -1 },
    { "d10001", 1 }, { "d1ffff", -1 }, { "d200000001", 1 }, { "d2ffffffff", -1 }, { "d30000000000000001", 1 },
    { "d3ffffffffffffffff", -1 },
    { "ca3fc00000", 1.5 }, { "ca80000000", -0.0 }, { "ca7f800000", math.huge },
    { "c400", "" }, { "c40161", "a" }, { "c5000161", "a" }, { "c60000000161", "a" },
    { "d90161", "a" }, { "da000161", "a" }, { "db0000000161", "a" },
    { "dc0000", {} }, { "dc000101", { 1 } }, { "dd0000000101", { 1 } }, { "80", {} }, { "de0000", {} },
    { "de000101c3", { true } }, { "df0000000101c3", { true } }, { "81cb3ff0000000000000c3", { true } },
    { "93c001c0", { nil, 1 } }, { "81a161c0", {} }, { "82a16101a16102", { a = 2 } },
    { "c70101" .. "01", {} }, { "c70002", {} }, { "c80003" .. "0101" .. "0102", { 1, 2 } },
    { "c9000000030101ffff", { -1, -1 } },
    { "d50101ff", { -1 } }, { "d702" .. "000000000000f83f", { 1.5 } },
  }
  for _, vector in ipairs(accepted) do
    it("reads " .. vector[1], function()
      local back, message = decode(bytes(vector[1]))
      assert.is_nil(message)
      assert(same(vector[2], back))
    end)
  end

  it("keeps NaN, in arrays too", function()
    assert_round_trip(0 / 0)
    assert_round_trip { 0 / 0, -0.0, math.huge, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0 }
  end)

  it("keeps the subtypes apart in an array of both", function()
    assert_round_trip { 1, 1.0, 2, 2.0, 3, 3.0, 4, 4.0, 5, 5.0 }
    assert_round_trip { 1, 2, 3, 4, 5, 6, 7, 8, 9.0 }
    assert_round_trip { 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9 }
  end)

  it("packs numbers from 8 of them on, at every width and head", function()
    for _, count in ipairs { 7, 8, 9, 127, 254, 255, 256, 1023, 1024, 1025 } do
      for _, largest in ipairs { 0, -128, 127, -129, 128, 32767, -32769, 1 << 31, math.mininteger } do
        local list, floats = {}, {}
        for i = 1, count do
          list[i], floats[i] = i == count and largest or i % 100, i / 2 ^ 20
        end
        local _, text = assert_round_trip(list)
        assert.equal(count >= 8, text:byte() >= 0xc7 and text:byte() <= 0xc9)
        assert_round_trip(floats)
      end
    end
    local many = {}
    for i = 1, 70000 do
      many[i] = i % 100
    end
    assert.equal("c900011171" .. "0101", hex(assert(select(2, assert_round_trip(many))):sub(1, 7)))
  end)

  it("writes a table as an array if and only if its keys are exactly 1 to n", function()
    local backwards, sparse, holes = {}, {}, { 1, 2, nil, 4, nil, nil, 7, 8, 9, 10 }
    for i = 5, 1, -1 do
      backwards[i] = "v" .. i
    end
    for i = 0, 62 do
      sparse[1 << i] = i
    end
    assert.equal("95" .. "a27631a27632a27633a27634a27635", hex((encode(backwards))))
    for _, map in ipairs {
      { 1, 2, 3, x = 1 }, { [0] = 0, 1, 2 }, { [2] = 2 }, holes, sparse, { 1, 2, 3, ["4"] = 4 }, { 1, 2, [4.5] = 4 },
      { 1, 2, 3, 4, 5, 6, 7, 8, 9, x = 1 }, { {}, { {} }, x = { {}, y = 2 } },
      { 1.5, 2.5, 3.5, 4, 5, 6, 7, 8, [-1] = 1 },
    } do
      local _, text = assert_round_trip(map)
      assert(text:byte() >> 4 == 8 or text:byte() == 0xde, hex(text))
    end
    for count = 1, 40 do
      local list, mixed = {}, {}
      for i = count, 1, -1 do
        list[i], mixed[i] = i % 3 == 0 and { i } or tostring(i), i % 2 == 0 and i or { "x", tag = i }
        mixed["k" .. i] = i
      end
      local _, text = assert_round_trip(list)
      assert(text:byte() >> 4 == 9 or text:byte() == 0xdc)
      assert_round_trip(mixed)
    end
  end)

  it("takes a time that grows with the size only, when tables mix both kinds of keys", function()
    local node = { "leaf", tag = "leaf" }
    for i = 1, 100 do
      node = { tag = "n" .. i, attr = {}, [1] = node, [2] = "tail" }
    end
    local _, text = assert_round_trip(node)
    assert(#text < 10000)
  end)

  it("keeps maps and arrays of every size around the limits of their heads", function()
    local all = { 14, 15, 16, 17, 65534, 65535, 65536, 65537 }
    for _, count in ipairs(support.short_or_long({ 15, 16, 65535 + math.random(0, 1) }, all)) do
      local list, map = {}, {}
      for i = 1, count do
        list[i], map["k" .. i] = i % 2 == 0, true
      end
      assert_round_trip(list)
      assert_round_trip(map)
    end
  end)

  it("serves keys of every length from the cache as they are", function()
    for round = 1, 2 do
      for length = 0, 50 do
        local map = { ["x"] = round }
        for _, char in ipairs { "a", "b", "\0" } do
          map[("k"):rep(length) .. char] = length
          map[char .. ("k"):rep(length)] = length
          map[("k"):rep(length // 2) .. char .. ("k"):rep(length // 2)] = length
        end
        assert_round_trip(map)
      end
    end
    for i = 1, 2000 do
      assert_round_trip { [("prefix__%08d"):format(i)] = i, [("%08dmiddle%08d"):format(i, i % 7)] = i }
    end
  end)
end)

describe("references", function()
  it("keep shared tables shared, and are announced", function()
    local shared = { 1, { 2 } }
    local back, _, references = assert_round_trip { shared, shared, shared[2], x = shared[2] }
    assert.is_true(references)
    assert.equal(back[1], back[2])
    assert.equal(back[1][2], back[3])
    assert.is_false(select(2, encode { {}, {} }))
  end)

  it("keep cycles, through keys too", function()
    local t = { name = "t" }
    t.self, t[1], t[t] = t, { t }, { t }
    local back = assert(decode((encode(t))))
    assert.equal(back, back.self)
    assert.equal(back, back[1][1])
    assert.equal(back, back[back][1])
  end)

  it("count packed arrays", function()
    local numbers = { 1, 2, 3, 4, 5, 6, 7, 8 }
    local shared = {}
    local back = assert_round_trip { numbers, shared, numbers, shared }
    assert.equal(back[1], back[3])
    assert.equal(back[2], back[4])
  end)

  it("work for thousands of tables", function()
    local list = {}
    for i = 1, 5000 do
      list[i] = { i }
      list[5000 + i] = list[(i * 7) % i + 1]
    end
    assert_round_trip(list)
  end)

  it("are refused where they were not announced, or lead nowhere", function()
    local text = encode((function() local t = {} t[1] = t return t end)())
    assert_refused(text, "announced without, at byte 1 of 7", false)
    assert_refused(bytes "92 90 d603 00000002", "table 2, which is not open yet, at byte 2 of 8", true)
    assert_refused(bytes "92 d603 00000001 90", "table 1, which is not open yet", true)
    assert_refused(bytes "d603ffffffff", "not open yet", true)
    assert_refused(bytes "d503 0000", "extension 3 is unknown", true)
  end)
end)

describe("registered types", function()
  local Point = { __index = { sum = function(p) return p.x + p.y end } }
  core.register("codec.point", Point)
  local Set = {}
  core.register("codec.set", Set, function(set)
    local list = {}
    for key in pairs(set.keys) do
      list[#list + 1] = key
    end
    return list
  end, function(list)
    local set = setmetatable({ keys = {} }, Set)
    for _, key in ipairs(list) do
      set.keys[key] = true
    end
    return set
  end)

  it("get their metatable back", function()
    local back = assert_round_trip { setmetatable({ x = 1, y = 2 }, Point) }
    assert.equal(3, back[1]:sum())
    assert_round_trip(setmetatable({}, Point))
    assert_round_trip(setmetatable({ 1, 2, 3, 4, 5, 6, 7, 8, 9 }, Point))
  end)

  it("that cannot be loaded are named, whatever else is in the value", function()
    local Closed = {}
    core.register("codec.closed", Closed, function(o) return { o.n } end, function() error("closed", 0) end)
    local shared, closed = { "shared" }, setmetatable({ n = 7 }, Closed)
    for i, value in ipairs { closed, { closed }, { closed, shared, shared }, { shared, shared, closed },
      { closed, closed, { shared, closed }, shared }, { shared, { k = closed, l = shared } } } do
      local back = table.pack(decode((encode(value)), true))
      assert.equal(2, back.n, i)
      assert.is_nil(back[1], i)
      assert.matches("^the load hook of type 'codec.closed' raised: closed", back[2], nil, nil, i)
    end
  end)

  it("are their contents where they are read plainly, and no hook is called", function()
    local calls = 0
    local Counted = {}
    core.register("codec.counted", Counted, function(o) return { o.n } end, function() calls = calls + 1 return {} end)
    local text = encode { setmetatable({ n = 7 }, Counted), "x" }
    local back, message = decode(text, true, true)
    assert.same({ { { 7 }, "x" } }, { back, message })
    assert.equal(0, calls)
    local unknown = text:gsub("codec.counted", "codec.unknown")
    assert.same({ { { 7 }, "x" } }, { decode(unknown, true, true) })
    assert.matches("codec.unknown", (select(2, decode(unknown, true))))
    assert.same({ 8 }, (decode((encode(setmetatable({ n = 8 }, Counted))), true, true)))
  end)

  it("keep identity, and cycles through plain objects", function()
    local p = setmetatable({}, Point)
    p.self, p.set = p, setmetatable({ keys = { a = true } }, Set)
    local back = decode((encode { p, p, p.set, { p } }))
    assert.equal(back[1], back[2])
    assert.equal(back[1], back[1].self)
    assert.equal(back[1], back[4][1])
    assert.equal(back[1].set, back[3])
    assert.equal(Point, getmetatable(back[1]))
    assert.same({ a = true }, back[3].keys)
  end)

  it("refuse a cycle through a dump hook", function()
    local Loop = {}
    core.register("codec.loop", Loop, function(o) return { o.inner } end, function(v) return v end)
    local loop = setmetatable({}, Loop)
    loop.inner = { deep = loop }
    assert.equal("item.a[1].deep refers back to an object whose dump hook is running", error_of { a = loop })
  end)

  it("pass any value between dump and load, and keep what load returns when it is shared", function()
    for index, value in ipairs { 42, "text", 1.5, { 1 }, false } do
      local meta = {}
      local object = setmetatable({}, meta)
      core.register("codec.any" .. index, meta, function() return value end, function(v) return { v } end)
      local back = assert(decode((encode { object, object })))
      assert.same({ value }, back[1])
      assert.equal(back[1], back[2])
    end
  end)

  it("cover userdata with hooks", function()
    local File = getmetatable(io.stdout)
    assert.equal("item.out is a userdata (FILE*) that minigun.register does not know", error_of { out = io.stdout })
    core.register("codec.file", File, function() return "stdout" end, function(name) return io[name] end)
    local back = decode((encode { io.stdout, io.stdout }))
    assert.equal(io.stdout, back[1])
    assert.equal(io.stdout, back[2])
  end)

  it("may run the codec in their hooks", function()
    local Outer = {}
    core.register("codec.outer", Outer, function(o)
      assert_round_trip { o.list, o.list, { setmetatable({ keys = { 1 } }, Set).keys } }
      return encode(o.list)
    end, function(text)
      assert_round_trip { text, { a = { b = {} } } }
      return setmetatable({ list = decode(text) }, Outer)
    end)
    local shared = {}
    local value = { shared, setmetatable({ list = { { 1 }, { 2 } } }, Outer), shared, { a = 1, b = { 2 } }, x = shared }
    assert_round_trip(value)
    for count = 1, 40 do
      value = {}
      for i = 1, count do
        value[i] = { i }
      end
      value[count + 1] = setmetatable({ list = {} }, Outer)
      for i = 1, 30 do
        value[count + 1].list[i] = { i }
      end
      for i = 1, count do
        value[count + 1 + i] = value[i]
      end
      assert_round_trip(value)
    end
  end)

  it("may raise in their hooks, and the codec works on", function()
    local Bad = {}
    core.register("codec.bad", Bad, function(o)
      return o.error and error(o.error, 0) or {}
    end, function()
      error("load", 0)
    end)
    local shared = {}
    for _ = 1, 3 do
      local ok, message = pcall(encode, { shared, { shared }, setmetatable({ error = "dump" }, Bad) })
      assert.is_false(ok)
      assert.equal("item[3]: the dump hook of type 'codec.bad' raised: dump", message)
      assert_round_trip { shared, shared, { {}, { {} } } }
      local value
      value, message = decode((encode { shared, shared, setmetatable({}, Bad) }))
      assert.is_nil(value)
      assert.matches("^the load hook of type 'codec.bad' raised: load, at byte %d+ of %d+$", message)
    end
  end)

  it("may nest as deep as the C stack allows, and no deeper", function()
    local Nest = {}
    local function nested(n)
      local v = setmetatable({ n = n }, Nest)
      for _ = 1, 125 do
        v = { v }
      end
      return v
    end
    core.register("codec.nest", Nest, function(o)
      return o.n == 0 and "end" or (encode(nested(o.n - 1)))
    end, function(text)
      return text == "end" and {} or assert(decode(text))
    end)
    assert.equal("table", type(decode((encode(nested(5))))))
    local file = os.tmpname()
    local handle = assert(io.open(file, "w"))
    handle:write(("package.cpath = %q\n"):format(package.cpath), [[
      local core = require "minigun.core"
      local Nest = {}
      core.register("nest", Nest, function(o)
        local v = setmetatable({ n = o.n + 1 }, Nest)
        for _ = 1, 125 do v = { v } end
        return (core.encode(v))
      end, function() end)
      for _ = 1, 3 do
        print(select(2, pcall(core.encode, setmetatable({ n = 1 }, Nest))))
      end]])
    handle:close()
    local pipe = assert(io.popen("ulimit -s 2048 && exec lua5.4 " .. file .. " 2>&1"))
    for _ = 1, 3 do
      assert.matches("dump hooks that encode nest too deeply", pipe:read "l")
    end
    pipe:close()
    os.remove(file)
  end)

  it("may change the table that is being walked", function()
    local Meddler = {}
    local meddle
    core.register("codec.meddler", Meddler, function() return meddle() end, function(v) return v or true end)
    for _, change in ipairs {
      function(t) for key in pairs(t) do t[key] = nil end collectgarbage() end,
      function(t) for i = 1, 1000 do t["new" .. i] = i end end,
      function(t) for i = 1, 1000 do t[i] = i end end,
      function(t) for key in pairs(t) do t[key] = nil end for i = 1, 100 do t[i] = {} end collectgarbage() end,
      function(t) t[1], t[2] = nil, nil collectgarbage() end,
    } do
      for _, make in ipairs {
        function(o) return { a = 1, b = {}, c = o, d = 4, [1] = 1, [7] = 7, [o] = 2 } end,
        function(o) return { {}, o, {}, 4, 5, 6, 7, 8, o } end,
        function(o) return { {}, {}, o, x = o } end,
        function(o) local t = {} for i = 9, 1, -1 do t[i] = i == 3 and o or { i } end return t end,
      } do
        local t
        t = make(setmetatable({}, Meddler))
        meddle = function() change(t) return {} end
        local ok, text = pcall(encode, t)
        if ok then
          assert.equal("table", type((decode(text))))
        else
          assert.matches("^item.* was changed by a dump hook while it was walked", text)
        end
      end
    end
  end)

  it("never takes a new table for one that a hook has dropped", function()
    local Fresh = {}
    core.register("codec.fresh", Fresh, function(o)
      o.list[1] = nil
      collectgarbage()
      return { o.number, {} }
    end, function(v) return v end)
    local list = {}
    for i = 1, 60 do
      list[i] = { setmetatable({ list = { {} }, number = i }, Fresh), { i } }
    end
    local text, references = encode(list)
    assert.is_false(references)
    for i, pair in ipairs(decode(text)) do
      assert.equal(i, pair[1][1])
      assert.equal(i, pair[2][1])
    end
  end)

  it("are refused when they contradict what is registered", function()
    assert.has_error(function() core.register("codec.point", {}) end,
      "type 'codec.point' is registered with another metatable")
    assert.has_error(function() core.register("codec.point2", Point) end,
      "the metatable of type 'codec.point2' is registered as 'codec.point'")
    core.register("codec.point", Point)
    for _, arguments in ipairs {
      { 1 }, { "x" }, { "x", 1 }, { "", {} }, { ("x"):rep(256), {} }, { "x", {}, print }, { "x", {}, nil, print },
      { "x", {}, 1, 2 },
    } do
      assert.is_false(pcall(core.register, table.unpack(arguments, 1, 4)))
    end
  end)

  it("must be known to the reader, and whole", function()
    assert_refused(bytes "c90000000304" .. "\xa1?\x90",
      "^an object of the unknown type '%?': minigun.register it here too, at byte 0 of 9")
    assert_refused(bytes "c90000000404 9090c0c0", "an object without a type name")
    local text = encode(setmetatable({}, Point))
    assert_refused(text:sub(1, 4) .. "\x0c" .. text:sub(6), "early, at byte 18", true)
    assert_refused(text:sub(1, 4) .. "\x0e" .. text:sub(6) .. "\xc0", "bytes after an object's contents", true)
    assert_refused(text:sub(1, -2) .. "\x01", "are not a plain table")
  end)

  it("may refuse contents in load", function()
    local meta = {}
    core.register("codec.checked", meta, function(o)
      return o.v
    end, function(v)
      return v and {} or nil, "no such day"
    end)
    assert_refused(encode(setmetatable({ v = false }, meta)),
      "^the load hook of type 'codec.checked' returned no such day, at byte 0")
    assert(decode((encode(setmetatable({ v = true }, meta)))))
  end)
end)

describe("a value that cannot be sent", function()
  it("is named by its path", function()
    local deep = {}
    local inner = deep
    for _ = 1, 20 do
      inner.next = {}
      inner = inner.next
    end
    inner.f = print
    for path, value in pairs {
      ["item is a function"] = print,
      ["item.user.callback is a function"] = { user = { callback = print } },
      ["item[3].tags is a coroutine"] = { 1, 2, { tags = coroutine.create(print) } },
      ["item[\"a b\"][1.5][true] is a function"] = { ["a b"] = { [1.5] = { [true] = print } } },
      ["item[\"????e\"] is a function"] = { ["\"\\\n\xffe"] = print },
      ["item.t has a key that is a function"] = { t = { [print] = 1 } },
      ["item[table] is a function"] = { [{}] = print },
      ["item.x has an unregistered metatable: minigun.register it"] = { x = setmetatable({}, {}) },
      ["item.next.next.next.next.next.next....next.next.next.f is a function"] = deep,
      ["item[9] is a function"] = { 1, 2, 3, 4, 5, 6, 7, 8, print },
      ["item[\"" .. ("k"):rep(31) .. "...\"] is a function"] = { [("k"):rep(100)] = print },
    } do
      assert.equal(path, error_of(value))
    end
  end)

  it("is an error at the caller's line", function()
    local ok, message = pcall(function()
      local text = encode { x = print } -- this line
      return text
    end)
    assert.is_false(ok)
    assert.matches("codec_spec%.lua:%d+: item%.x is a function$", message)
  end)

  it("leaves the codec usable", function()
    local shared = {}
    for _ = 1, 3 do
      assert.is_false(pcall(encode, { shared, { shared, { print } } }))
      assert_round_trip { shared, shared, { 1 } }
    end
  end)

  it("is a table where the Lua stack has no room for its levels", function()
    local deep = {}
    for _ = 1, 100 do deep = { deep } end
    -- The arguments fill the stack; what is left is for `f`. Finds the most that leaves `f` something.
    local function beside(n, f)
      return pcall(function()
        return (function(...)
          local done, message = f()
          return done, message, (...) -- no call at the end: the arguments would be gone
        end)(table.unpack({}, 1, n))
      end)
    end
    local fits, full = 100000, 1000000
    while full - fits > 1 do
      local n = (fits + full) // 2
      if beside(n, function() return pcall(string.len, "") end) then fits = n else full = n end
    end
    local said = {}
    for n = fits - 400, fits, 40 do
      local _, done, message = beside(n, function() return pcall(encode, deep) end)
      if done == false then said[#said + 1] = message end
    end
    assert.matches("the Lua stack is full", table.concat(said, "\n"), 1, true)
    assert_round_trip(deep)
  end)

  it("is a table nested deeper than 128 levels", function()
    local function nested(levels, key)
      local t = {}
      for _ = 2, levels do
        t = { [key] = t }
      end
      return t
    end
    for _, key in ipairs { 1, "k" } do
      assert_round_trip(nested(127, key))
      assert_round_trip(nested(128, key))
      for _, levels in ipairs { 129, 100000 } do
        assert.matches("^item.* is nested deeper than 128 levels$", error_of(nested(levels, key)))
      end
    end
  end)
end)

describe("many tables", function()
  it("are found again in a time that grows with their number, not with its square", function()
    local function seconds(n)
      local list, best = {}, math.huge
      for i = 1, n do list[i] = { i } end
      for _ = 1, 5 do
        local began = os.clock()
        encode(list)
        best = math.min(best, os.clock() - began)
      end
      return best
    end
    local few, many = seconds(3000), seconds(30000)
    assert.is_true(many < 40 * few + 0.005, ("3000 tables: %.4f s, 30000: %.4f s"):format(few, many))
  end)
end)

describe("random values", function()
  it("come back as they were (seed " .. seed .. ")", function()
    math.randomseed(seed)
    for _ = 1, support.short_or_long(150, 2000) do
      local v = values.random()
      local text, references = encode(v)
      local back, message = decode(text, references)
      assert(message == nil, message)
      assert(same(v, back), "SEED=" .. seed)
      assert.equal(#text, #encode(back), "SEED=" .. seed)
    end
  end)
end)
