-- SPDX-License-Identifier: MIT
-- Nanoseconds for encoding and decoding one value, the strings and tables made and collected included.
-- usage: lua5.4 bench/codec.lua C1_VALUE [minigun|cjson|cmsgpack|MessagePack|floor]     values: bench/values.lua
-- The floor reads the value, and makes one, through the C API of Lua alone (bench/floor_lua.c). Every figure includes
-- the call of a C function from a loop of Lua.
package.path = "./bench/?.lua;./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = ("./%s/?.so;./build/bench/?.so;"):format(os.getenv "MINIGUN_BUILD" or "build") .. package.cpath
local workload = require "workload"

local SECONDS, TRIES = 0.02, 3

-- name -> function: encode, decode, what stands for nil in decoded values
local codecs = {}

function codecs.minigun()
  local minigun = require "minigun"
  return minigun.encode, minigun.decode
end

function codecs.cjson()
  local cjson = require "cjson"
  return cjson.encode, cjson.decode, cjson.null
end

function codecs.cmsgpack()
  local cmsgpack = require "cmsgpack"
  return cmsgpack.pack, cmsgpack.unpack
end

function codecs.MessagePack()
  local MessagePack = require "MessagePack"
  return MessagePack.pack, MessagePack.unpack
end

--- Equal in what every format can say: cjson writes 14 digits of a float and has no integers.
local function same(a, b, null)
  if type(a) == "number" and type(b) == "number" then return math.abs(a - b) <= 1e-12 * math.abs(a) end
  if type(a) ~= "table" or type(b) ~= "table" then return a == b or a == nil and b == null end
  for key, value in pairs(a) do
    if not same(value, b[key], null) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

--- Nanoseconds of one call, the best of some tries: noise only slows.
local function measure(f, argument)
  local best, calls = math.huge, 1
  for _ = 1, TRIES do
    collectgarbage()
    local took
    repeat
      local start = os.clock()
      for _ = 1, calls do f(argument) end
      took = os.clock() - start
      if took < SECONDS then calls = math.ceil(calls * math.min(10, 1.2 * SECONDS / math.max(took, 1e-6))) end
    until took >= SECONDS
    best = math.min(best, took / calls * 1e9)
  end
  return best
end

local function run(_, variant, key)
  local value, known
  for _, case in ipairs(require "values") do
    if case[1] == key then value, known = case[3](), true end
  end
  if not known then error("no value " .. tostring(key) .. " in bench/values.lua", 0) end
  local cpu = os.clock()
  if variant == "floor" then
    local floor = require "floor_lua"
    local recipe = floor.recipe(value)
    return { items = 1, cpu_before = cpu, encode_ns = measure(floor.walk, value),
      decode_ns = measure(floor.build, recipe), ok = same(value, floor.build(recipe)) and 1 or 0 }
  end
  local encode, decode, null = codecs[variant or "minigun"]()
  local bytes = encode(value)
  return { items = 1, bytes = #bytes, cpu_before = cpu, encode_ns = measure(encode, value),
    decode_ns = measure(decode, bytes), ok = same(value, (decode(bytes)), null) and 1 or 0 }
end

workload.main({ C1 = run }, arg)
