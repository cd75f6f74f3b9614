-- SPDX-License-Identifier: MIT
--- Nanoseconds for encoding and decoding one value with minigun.encode and minigun.decode, strings made and collected
-- included.  lua5.4 bench/codec.lua [SECONDS], from the top of the tree (default 0.2 for each figure, best of 5).

package.cpath = "./build/?.so;" .. package.cpath
local core = require "minigun.core"

local seconds = tonumber(arg[1]) or 0.2

local function record(i)
  return { id = i, name = "user" .. i, tags = { "a", "b", "c" }, score = i * 0.5 }
end

local function list(count, make)
  local t = {}
  for i = 1, count do t[i] = make(i) end
  return t
end

local cases = {
  { "integer", 12345 },
  { "10-byte string", "abcdefghij" },
  { "1-MiB string", ("x"):rep(1 << 20) },
  { "record of W2", record(77) },
  { "100 such records", list(100, record) },
  { "10,000 records", list(10000, record) },
  { "1,000 integers", list(1000, function(i) return i * 7 end) },
  { "1,000 floats", list(1000, function(i) return i / 7 end) },
  { "1,000 strings", list(1000, function(i) return "s" .. i end) },
  { "1,000 mixed numbers", list(1000, function(i) return i % 2 == 0 and i or i / 2 end) },
}

-- The best of 5 rounds, each of as many calls as fill the time.
local function measure(f, ...)
  local best = math.huge
  for _ = 1, 5 do
    collectgarbage()
    local calls, start = 0, os.clock()
    local step = 1
    local took
    repeat
      for _ = 1, step do f(...) end
      calls = calls + step
      step = math.min(step * 2, 10000)
      took = os.clock() - start
    until took >= seconds
    best = math.min(best, took / calls * 1e9)
  end
  return best
end

print(("%-20s %10s %12s %12s"):format("value", "bytes", "encode ns", "decode ns"))
for _, case in ipairs(cases) do
  local name, value = case[1], case[2]
  local bytes, references = core.encode(value)
  print(("%-20s %10d %12.0f %12.0f"):format(name, #bytes, measure(core.encode, value),
    measure(core.decode, bytes, references)))
end
