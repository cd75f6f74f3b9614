--- The codec and bytes that were not written in good faith: it must refuse them or give some value, within its bounds.

local core = require "minigun.core"
local support = require "spec.support"

local encode, decode = core.encode, core.decode

local Plain, Hooked = {}, {}
core.register("hostile.plain", Plain)
core.register("hostile.hooked", Hooked, function(o)
  return o[1]
end, function(v)
  return setmetatable({ v }, Hooked)
end)

-- Below this much memory for each byte of the message, and a constant of the interpreter's own (its stack, messages).
local FACTOR, CONSTANT = 80, 64 * 1024

local function decode_bounded(text, references)
  collectgarbage "stop"
  local before = collectgarbage "count"
  local value, message = decode(text, references)
  local used = (collectgarbage "count" - before) * 1024
  collectgarbage "restart"
  if used > FACTOR * #text + CONSTANT then
    error(("%d bytes of memory for a message of %d"):format(used, #text))
  end
  return value, message
end

-- Decodes, and whatever comes out must be a value like any other: the codec can write it, or says why not.
local function probe(text)
  for _, references in ipairs { true, false } do
    local value, message = decode_bounded(text, references)
    if message ~= nil then
      assert(value == nil and type(message) == "string" and #message > 0)
    else
      pcall(encode, value)
    end
  end
end

local function refused(text, pattern)
  local value, message = decode_bounded(text, true)
  assert.is_nil(value)
  assert.matches(pattern, message or "accepted")
end

local shared = { "shared", {} }
local cycle = {}
cycle.cycle = { cycle }
local samples = {
  { 1, -1, 200, -200, 70000, -70000, 1 << 40, -1 << 40, 1.5, true, false, "", "text", ("long"):rep(10) },
  { id = 7, name = "user7", tags = { "a", "b", "c" }, score = 3.5, ok = true, [1] = "x", [2.5] = {}, [true] = false },
  { { 1, 2, 3, 4, 5, 6, 7, 8 }, { 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5 }, { 1, 2, 3, 4, 5, 6, 7, 1 << 20 } },
  { shared, shared, cycle, cycle.cycle, shared[2] },
  { setmetatable({ x = 1 }, Plain), setmetatable({ { a = setmetatable({ 5 }, Hooked) } }, Hooked) },
  (function()
    local list, map = {}, {}
    for i = 1, 20 do
      list[i], map["key" .. i] = tostring(i), { i }
    end
    return { list = list, map = map, text = ("t"):rep(300) }
  end)(),
}
for i, sample in ipairs(samples) do
  samples[i] = encode(sample)
end

-- Writes a value with the longest head everywhere; returns the text and the places of its 4-byte lengths.
local function write_wide(value, out, places)
  local function head(tag, length)
    out.text = out.text .. string.char(tag)
    places[#places + 1] = #out.text + 1
    out.text = out.text .. string.pack(">I4", length)
  end
  if type(value) == "string" then
    head(0xdb, #value)
    out.text = out.text .. value
  elseif type(value) ~= "table" then
    out.text = out.text .. encode(value)
  elseif value.object then
    local inner = { text = "" }
    local inner_places = {}
    write_wide(value.object, inner, inner_places)
    write_wide(value.contents, inner, inner_places)
    head(0xc9, #inner.text)
    out.text = out.text .. "\4"
    for _, place in ipairs(inner_places) do
      places[#places + 1] = place + #out.text
    end
    out.text = out.text .. inner.text
  elseif value.packed then
    head(0xc9, #value.packed)
    out.text = out.text .. string.char(value.type) .. value.packed
  elseif #value > 0 then
    head(0xdd, #value)
    for _, element in ipairs(value) do
      write_wide(element, out, places)
    end
  else
    local count = 0
    for _ in pairs(value) do
      count = count + 1
    end
    head(0xdf, count)
    for key, element in pairs(value) do
      write_wide(key, out, places)
      write_wide(element, out, places)
    end
  end
  return out.text, places
end

describe("the decoder", function()
  it("refuses a message that is cut at any byte", function()
    for _, text in ipairs(samples) do
      assert(select("#", decode(text)) == 1)
      for length = 0, #text - 1 do
        local value, message = decode_bounded(text:sub(1, length), true)
        assert.is_nil(value)
        assert.matches("at byte %d+ of " .. length .. "$", message)
      end
      refused(text .. "\0", "^trailing 1 byte after the value$")
      refused(text .. "\0\0\0", "^trailing 3 bytes after the value$")
    end
  end)

  it("survives every flipped bit", function()
    for _, text in ipairs(samples) do
      for place = 1, #text do
        local byte = text:byte(place)
        for bit = 0, 7 do
          probe(text:sub(1, place - 1) .. string.char(byte ~ 1 << bit) .. text:sub(place + 1))
        end
      end
    end
  end)

  it("survives every byte in every place of a message", function()
    for _, text in ipairs { samples[3], samples[5] } do
      local step = support.short_or_long(3, 1)
      for place = 1, #text do
        for byte = place % step, 255, step do
          probe(text:sub(1, place - 1) .. string.char(byte) .. text:sub(place + 1))
        end
      end
    end
  end)

  it("believes no length", function()
    local text, places = write_wide({
      "one", { "two", { a = "x", b = { "y", "z" }, [3] = { 4 } } },
      { object = "hostile.plain", contents = { k = "v" } }, { object = "hostile.hooked", contents = { "v" } },
      { type = 1, packed = "\2" .. ("\1\0"):rep(9) }, { type = 2, packed = ("\0"):rep(72) }, "last",
    }, { text = "" }, {})
    local value, message = decode(text)
    assert.is_nil(message)
    assert.equal("last", value[#value])
    for _, place in ipairs(places) do
      local length = string.unpack(">I4", text, place)
      for _, lie in ipairs { 0, length - 1, length + 1, 2 * length, 0x7fffffff, 0x80000000, 0xffffffff } do
        local lying = text:sub(1, place - 1) .. string.pack(">I4", lie & 0xffffffff) .. text:sub(place + 4)
        probe(lying)
        if lie >= 0x7fffffff then
          refused(lying, "at byte")
        end
      end
    end
  end)

  it("says how much was declared and how much is there", function()
    refused("\x93\xdd\xff\xff\xff\xff" .. ("a"):rep(12),
      "^array of 4294967295 elements but 12 bytes left, at byte 1 of 18$")
    refused("\xdf\xff\xff\xff\xff\1\2", "^map of 4294967295 pairs but 2 bytes left, at byte 0 of 7$")
    refused("\x83\1\2\3\4\5", "^map of 3 pairs but 5 bytes left, at byte 0 of 6$")
    refused("\xdb\0\0\1\0abc", "^string of 256 bytes but 3 bytes left, at byte 0 of 8$")
    refused("\xc9\xff\xff\xff\xff\1\1", "^extension of 4294967295 bytes but 1 bytes left, at byte 0 of 7$")
  end)

  it("refuses nested containers that together declare more than the message holds", function()
    local text = ""
    for left = 100, 0, -1 do
      text = text .. "\xdc" .. string.pack(">I2", left * 3 + 1000)
    end
    text = text .. ("\xc0"):rep(1000)
    refused(text, "array of %d+ elements but the message is too short for all that it declares, at byte 3 of")
    refused(("\xde\3\xe8\1"):rep(100) .. ("\xc0"):rep(2000),
      "map of 1000 pairs but the message is too short for all that it declares, at byte 4 of 2400")
  end)

  it("takes 128 levels and no more, whatever they are made of", function()
    local openings = {
      array = "\x91", array16 = "\xdc\0\1", array32 = "\xdd\0\0\0\1", map_value = "\x81\xa1k", map_key = "\x81",
    }
    for kind, opening in pairs(openings) do
      for _, levels in ipairs { 127, 128, 129, 100000 } do
        local text = opening:rep(levels - 1) .. "\x90" .. (kind == "map_key" and ("\1"):rep(levels - 1) or "")
        if levels <= 128 then
          assert(decode(text))
        else
          refused(text, "^nested deeper than 128 levels, at byte " .. 128 * #opening .. " of")
        end
      end
    end
  end)

  it("counts objects as levels", function()
    for _, levels in ipairs { 128, 129, 10000 } do
      local text = "\xc0"
      for _ = 1, levels do
        text = "\xc9" .. string.pack(">I4", #text + 15) .. "\4\xaehostile.hooked" .. text
      end
      if levels > 128 then
        refused(text, "nested deeper than 128 levels")
      else
        assert(decode(text))
      end
    end
  end)

  it("works on a C stack of 128 KiB", function()
    local script = [[
      local core = require "minigun.core"
      local t = {}
      for _ = 2, 128 do t = { t } end
      assert(core.decode((core.encode(t))))
      assert(not pcall(core.encode, { t }))
      assert(not core.decode(("\x91"):rep(100000)))
      assert(coroutine.wrap(function() return core.decode((core.encode(t))) end)())
      print "fine"]]
    local file = os.tmpname()
    local handle = assert(io.open(file, "w"))
    handle:write(("package.cpath = %q\n"):format(package.cpath), script)
    handle:close()
    local pipe = assert(io.popen("ulimit -s 128 && exec lua5.4 " .. file .. " 2>&1"))
    local output = pipe:read "a"
    pipe:close()
    os.remove(file)
    assert.equal("fine\n", output)
  end)

  it("keeps its memory below 80 times a hostile message", function()
    local function filled(byte, count)
      return "\xdd" .. string.pack(">I4", count) .. byte:rep(count)
    end
    for _, text in ipairs {
      filled("\x90", 20000), filled("\x80", 20000), filled("\xa0", 20000), filled("\xc7\0\2", 7000),
      filled("\xc7\1\1\1", 7000), filled("\x81\1\x90", 7000), filled("\x81\x90\x90", 7000), filled("\x91\x90", 10000),
      filled(("\x91"):rep(126) .. "\x90", 200), filled(("\x81\x90"):rep(125) .. "\x90", 100),
      filled("\xd4\1\1", 7000), filled("\xa1\0", 10000), filled("\xdd\0\0\0\0", 10000),
      "\xc9" .. string.pack(">I4", 20001) .. "\1\1" .. ("\0"):rep(20000),
      "\xdf" .. string.pack(">I4", 8193) .. ("\1\x90"):rep(8193),
      "\xde" .. string.pack(">I2", 1025) .. ("\1\2"):rep(1025),
      ("\x91"):rep(127) .. "\xdd" .. string.pack(">I4", 20000) .. ("\x90"):rep(20000),
      filled("\x82\1\x90\2\x90", 4000), filled("\x83\1\x90\2\x90\3\x90", 2500),
      filled("\xc1", 20000), filled("\x91", 20000),
    } do
      decode_bounded(text, true)
      decode_bounded(text, false)
      -- With a reference to the first table and to the last.
      decode_bounded("\x92" .. text .. "\xd6\3\0\0\0\0", true)
      decode_bounded("\x94" .. text .. "\xd6\3\0\0\0\1\xd6\3\0\0\0\2\xd6\3\0\0\0\3", true)
    end
    for _, count in ipairs { 10, 100, 5000 } do
      local all = {}
      for i = 0, count do
        all[#all + 1] = "\x90\xd6\3" .. string.pack(">I4", i)
      end
      decode_bounded("\xdd" .. string.pack(">I4", #all * 2) .. table.concat(all), true)
    end
  end)

  it("refuses what no value begins with, and what Lua cannot hold", function()
    refused("\xc1", "byte c1, which begins no value, at byte 0 of 1")
    refused("\xcf\x80\0\0\0\0\0\0\0", "an integer above 9223372036854775807")
    refused("\x81\xc0\1", "a map's key is nil, at byte 1 of 3")
    refused("\x81\xcb\x7f\xf8\0\0\0\0\0\0\1", "a map's key is NaN, at byte 1 of 11")
    refused("\x81\xca\x7f\xc0\0\0\1", "a map's key is NaN")
    for code = -128, 127 do
      if code < 1 or code > 4 then
        refused("\x91\xd4" .. string.pack("b", code) .. "\0",
          "^extension " .. tostring(code):gsub("%-", "%%-") .. " is unknown, at byte 1 of 4$")
      end
    end
    refused("\xd4\1\3", "packed integers of unknown width")
    refused("\xc7\0\1", "packed integers of unknown width")
    refused("\xd6\1\2\0\0\0", "packed numbers that are cut short")
    refused("\xd6\2\0\0\0\0", "packed numbers that are cut short")
    refused("", "the value ends too early, at byte 0 of 0")
  end)

  it("checks its arguments", function()
    for _, wrong in ipairs { {}, print, true } do
      assert.is_false(pcall(decode, wrong))
    end
    assert.is_false(pcall(decode))
    assert.is_false(pcall(encode))
  end)
end)

describe("random bytes", function()
  local seed = tonumber(os.getenv "SEED") or os.time()

  it("are refused or give some value (seed " .. seed .. ")", function()
    math.randomseed(seed)
    for _ = 1, support.short_or_long(5000, 20000) do
      local sample = samples[math.random(#samples)]
      local text
      if math.random() < 0.3 then
        local chars = {}
        for i = 1, math.random(40) do
          chars[i] = string.char(math.random(0x80, 0xdf))
        end
        text = table.concat(chars)
      else -- a sample with a piece of another in it
        local other = samples[math.random(#samples)]
        local from, at = math.random(#other), math.random(#sample)
        text = sample:sub(1, at) .. other:sub(from, from + math.random(30)) .. sample:sub(at + math.random(0, 10))
      end
      local ok, message = pcall(probe, text)
      assert(ok, ("SEED=%d: %s: %q"):format(seed, message, text))
    end
  end)
end)
