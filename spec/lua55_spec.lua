-- Lua 5.5: the module is built for it, and examples, random pipelines and the rest of a child's collector are tried
-- under it. Left out where there is no `lua5.5`, or not its headers (pkg-config's lua5.5, or $LUA55_INC).
local support = require "spec.support"

local BUILD <const> = "build-lua5.5"

local function words(command) return (support.run(command).stdout:gsub("%s+$", "")) end

local include = os.getenv "LUA55_INC" or words("pkg-config --variable=includedir lua5.5 2>/dev/null")
local missing = words "command -v lua5.5" == "" and "there is no lua5.5"
  or not require("lfs").attributes(include .. "/lua.h") and "there is no lua.h of Lua 5.5"

local env = { LUA_PATH = "./lua/?.lua;./lua/?/init.lua;./?.lua;;", LUA_CPATH = ("./%s/?.so;;"):format(BUILD) }
env.LUA_PATH_5_5, env.LUA_CPATH_5_5 = env.LUA_PATH, env.LUA_CPATH

local function run(command, seconds) return support.run(command, { timeout = seconds or 60, env = env }) end

local function test(title, f)
  it(title, function()
    if missing then return pending(missing) end
    support.deadline(200)
    local built = support.run(("MAKEFLAGS= make -s BUILD=%s LUA_INC=%s"):format(BUILD, support.quote(include)),
      { timeout = 180 })
    assert.equal(0, built.code, built.stderr)
    f()
  end)
end

describe("under Lua 5.5", function()
  test("examples print what they print under 5.4", function()
    for _, name in ipairs { "001_hello", "002_one_liners", "003_map_reduce", "106_nested_pipeline", "205_deduplicate",
      "303_fork_per_item", "401_batch_then_fork", "403_batch_by_key", "504_loop_stage", "703_back_pressure" } do
      local command = ("%s examples/%s.lua | sort")
      local expected = support.run(command:format("lua5.4", name), { timeout = 60, env = support.lua_env() })
      local got = run(command:format("lua5.5", name))
      assert.equal("", got.stderr, name)
      assert.equal(expected.stdout, got.stdout, name)
    end
  end)

  test("`make LUA=lua5.5 install` puts it where Lua 5.5 looks, and the command runs under it", function()
    local place = os.tmpname()
    os.remove(place)
    finally(function() os.execute("rm -rf " .. place) end)
    local done = run(("MAKEFLAGS= make -s LUA=lua5.5 BUILD=%s LUA_INC=%s PREFIX=%s install && cd / && "
      .. "echo 'print(_VERSION)' > %s/version.lua && %s/bin/minigun run %s/version.lua"):format(BUILD,
      support.quote(include), place, place, place, place), 180)
    assert.equal(0, done.code, done.stderr)
    assert.matches("\nLua 5.5\n$", done.stdout)
    assert.is_truthy(require("lfs").attributes(place .. "/share/lua/5.5/minigun/init.lua"))
    assert.is_truthy(require("lfs").attributes(place .. "/lib/lua/5.5/minigun/core.so"))
  end)

  test("random pipelines give what the model says", function()
    local seed = tonumber(os.getenv "SEED") or os.time()
    local got = run(("lua5.5 spec/property/main.lua %d %d"):format(seed, support.short_or_long(10, 200)), 180)
    assert.matches(" pipelines, 0 failed", got.stdout, 1, true, ("SEED=%d\n%s"):format(seed, got.stderr))
  end)

  test("a fork per batch leaves the heap that it shares alone: it has few page faults", function()
    local got = run([[lua5.5 -e '
      local minigun = require "minigun"
      local heap = {}
      for i = 1, 200000 do heap[i] = { i } end
      local function faults()
        local file = io.open "/proc/self/stat"
        local minor = file:read "a":match "%) %S (.*)":gsub("^%S+ %S+ %S+ %S+ %S+ %S+ (%S+).*", "%1")
        file:close()
        return tonumber(minor)
      end
      local items = minigun.map({ 1, 2, 3, 4 }, function(x)
        local before, list = faults(), {}
        for i = 1, 2000 do list[i] = { i } end
        return faults() - before
      end, { process_per_batch = 1 })
      print(math.max(table.unpack(items)), #heap)']])
    local most = tonumber(got.stdout:match "^(%d+)\t200000\n$")
    assert.is_true(most and most < 500, got.stdout .. got.stderr) -- a cycle of the collector touches 3,000 pages
  end)

  test("an array that a stage returns with a hole in it is a failure, not a shorter array", function()
    local got = run([[lua5.5 -e '
      local p = require "minigun".pipeline "holes":producer { 1 }
      local r = p:flat_map("w", function() return { 1, nil, 3 } end):run { failures = "collect" }
      print(#r.items, r.failures[1].message:match "the array has a hole at %[2%] of 3")']])
    assert.equal("0\tthe array has a hole at [2] of 3\n", got.stdout, got.stderr)
  end)
end)
