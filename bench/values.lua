-- SPDX-License-Identifier: MIT
--- The values that bench/codec.lua encodes and decodes: an array of { key, title, function that makes it }.
local workload = require "workload"

local function list(count, make)
  return function()
    local t = {}
    for i = 1, count do t[i] = make(i) end
    return t
  end
end

local function constant(value)
  return function() return value end
end

local function nested(depth)
  local value = "the innermost"
  for level = depth, 1, -1 do value = { level = level, inner = value } end
  return value
end

local function shared()
  local one = workload.record(1)
  return list(100, function() return one end)()
end

return {
  { "nil", "nil", constant(nil) },
  { "boolean", "true", constant(true) },
  { "integer", "integer, small", constant(77) },
  { "large", "integer, large", constant(1234567890123) },
  { "float", "float", constant(0.1) },
  { "short", "10-byte string", constant "abcdefghij" },
  { "long", "1-KiB string", constant(("x"):rep(1024)) },
  { "blob", "1-MiB string", constant(("x"):rep(1 << 20)) },
  { "record", "record of W2", function() return workload.record(77) end },
  { "records", "100 such records", list(100, workload.record) },
  { "many", "10,000 such records", list(10000, workload.record) },
  { "integers", "1,000 integers", list(1000, function(i) return i * 7 end) },
  { "floats", "1,000 floats", list(1000, function(i) return i / 7 end) },
  { "strings", "1,000 strings", list(1000, function(i) return "s" .. i end) },
  { "mixed", "1,000 numbers of both kinds", list(1000, function(i) return i % 2 == 0 and i or i / 4 end) },
  { "nested", "20 tables, one in another", function() return nested(20) end },
  { "shared", "one record, referred to 100 times", shared },
}
