-- Replacing a file whole: who reads it finds the old one or the new one, also where the new one cannot be written.

local lfs = require "lfs"
local replacing = require "minigun.system.replacing"
local support = require "spec.support"

local directory
local directory_of = support.directory_for_each(before_each, after_each)
before_each(function() directory = directory_of() end)

-- The names in the directory.
local function names()
  local list = {}
  for name in lfs.dir(directory) do
    if not name:find "^%.%.?$" then list[#list + 1] = name end
  end
  return list
end

describe("a file that is replaced", function()
  it("has the new text, and nothing else is left", function()
    local path = directory .. "/own"
    for _, text in ipairs { "first\n", "", "third\0\n" } do
      assert.same({ true }, { replacing.write(path, text) })
      assert.equal(text, support.read_file(path))
      assert.same({ "own" }, names())
    end
  end)

  it("cannot be where its directory is not there, or is a directory itself: a message", function()
    local ok, message = replacing.write(directory .. "/none/own", "text")
    assert.is_nil(ok)
    assert.matches("/none/own.-: No such file or directory$", message)
    assert(lfs.mkdir(directory .. "/own"))
    ok, message = replacing.write(directory .. "/own", "text")
    assert.is_nil(ok)
    assert.matches("Is a directory$", message)
    assert.same({ "own" }, names())
  end)

  -- A text of a few bytes fails where the file is closed, a long one where it is written.
  for _, length in ipairs { 2, 100000 } do
    it(("is as it was where %d bytes find no room"):format(length), function()
      local path = support.write_file(directory .. "/own", "old")
      local done = support.run(([[
        trap '' XFSZ
        { ulimit -f 0
          lua5.4 -e 'print(require("minigun.system.replacing").write("%s", ("x"):rep(%d)))'
        } | cat]]):format(path, length), { env = support.lua_env() })
      assert.same({ "nil\tFile too large\n", "" }, { done.stdout, done.stderr })
      assert.equal("old", support.read_file(path))
      assert.same({ "own" }, names())
    end)
  end

  it("is written to where it is none; a message says what is wrong", function()
    assert.same({ true }, { replacing.write("/dev/null", "text") })
    for path, why in pairs { ["/dev/full"] = "No space left on device", ["/dev/fd/977"] = "No such file" } do
      local ok, message = replacing.write(path, "text")
      assert.is_nil(ok)
      assert.matches(why, message, 1, true)
    end
  end)

  it("is what a live view saves: it says what is wrong, and never that it has saved", function()
    local source = [[
      local port = require("minigun.control.live").port(function() end)
      print(port.save({ "a line" }, { pipeline = "a b", id = "7" }))]]
    local program = support.write_file(directory .. "/program", source)
    local here = lfs.currentdir()
    local function save(limit)
      local path = support.lua_env().LUA_PATH:gsub("%./", here .. "/")
      local core = support.lua_env().LUA_CPATH:gsub("%./", here .. "/")
      return support.run(("cd %s; trap '' XFSZ; { %s lua5.4 %s; } | cat"):format(directory, limit, program),
        { env = { LUA_PATH = path, LUA_CPATH = core } })
    end
    assert.same({ "not saved: File too large\n", "" }, { save("ulimit -f 0;").stdout, save("ulimit -f 0;").stderr })
    assert.same({ "program" }, names())
    assert.equal("saved as minigun-a_b-7.txt and .json\n", save("").stdout)
    assert.equal("a line\n", support.read_file(directory .. "/minigun-a_b-7.txt"))
  end)
end)
