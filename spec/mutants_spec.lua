-- make mutants (spec/mutants): what it draws is valid, its map of blocks is right, and it leaves the tree as it is.

local blocks = require "spec.mutants.blocks"
local mask = require "spec.mutants.mask"
local operators = require "spec.mutants.operators"
local shell = require "spec.mutants.shell"
local support = require "spec.support"

local function of(line, language)
  local list = {}
  for _, mutation in ipairs(operators.mutations(line, mask.mask(line, language), language)) do
    list[#list + 1] = mutation.kind .. ": " .. mutation.text
  end
  table.sort(list)
  return list
end

describe("the mask of a source file", function()
  it("blanks comments and strings of Lua, and keeps every place", function()
    assert.equal("a = \1\1\1\1\1\1 .. b          ", mask.mask([[a = "x\"y" .. b -- "not" ]], "lua"))
    assert.equal("a = \1\1\1\1\1\1\1\1\n\1\1\1\1 + a[1] - b", mask.mask("a = [==[x]]y\n]==] + a[1] - b", "lua"))
    assert.equal("     \n   x", mask.mask("--[[a\nb]]x", "lua"))
  end)

  it("blanks comments, strings and the preprocessor's lines of C", function()
    assert.equal("\nx = \1\1\1 / 2;            \n      \n    \ny;",
      mask.mask("\nx = '\"' / 2; /* + */  //\n#a + \\\n - y\ny;", "c"))
  end)
end)

describe("the mutations of a line", function()
  it("change one thing of Lua each", function()
    assert.same({ "argument: if a < 10 and not f(c, b) then",
      "condition: if not (a < 10 and not f(b, c)) then", "logic: if a < 10 or not f(b, c) then",
      "negation: if a < 10 and f(b, c) then", "number: if a < 11 and not f(b, c) then",
      "number: if a < 9 and not f(b, c) then", "relation: if a <= 10 and not f(b, c) then",
    }, of("if a < 10 and not f(b, c) then", "lua"))
    assert.same({ "call: " }, of("  self:close()", "lua"))
    assert.same({ "argument: x = f(max(a, b), c)" }, of("x = f(c, max(a, b))", "lua"))
    assert.same({ "constant: local whole = false -- not 1 < 2" }, of("local whole = true -- not 1 < 2", "lua"))
    assert.same({}, of("local s <const> = '1 + 1'", "lua"))
  end)

  it("change one thing of C each", function()
    assert.same({ "condition: if (!(!p || n == 0)) return;", "logic: if (!p && n == 0) return;",
      "negation: if (p || n == 0) return;", "number: if (!p || n == 1) return;", "relation: if (!p || n != 0) return;",
      "return: ;" }, of("if (!p || n == 0) return;", "c"))
    assert.same({ "arithmetic: n -= 2;", "number: n += 1;", "number: n += 3;" }, of("n += 2;", "c"))
  end)
end)

describe("the blocks of a Lua file", function()
  local text = [[
local function f(a,
                 b)
  if a then return b
  elseif b then
    for i = 1, 2 do g(i) end
  else return (f)(a) end
  repeat local x = a until not x
end
return f
]]

  local function block_at(list, word, number)
    local at = 0
    for _ = 1, number or 1 do at = text:find(word, at + 1, true) end
    return blocks.at(list, at)
  end

  it("are found, and a position is in the innermost one", function()
    local list, after = blocks.find(text, 10)
    assert.equal(17, after)
    assert.equal(10, block_at(list, "local function"))
    assert.equal(11, block_at(list, "if a then"))
    assert.equal(12, block_at(list, "return b"))
    assert.equal(11, block_at(list, "b then"))
    assert.equal(13, block_at(list, "for i"))
    assert.equal(14, block_at(list, "g(i)"))
    assert.equal(15, block_at(list, "return (f)"))
    assert.equal(16, block_at(list, "local x"))
    assert.equal(11, block_at(list, "until"))
    assert.equal(10, block_at(list, "return f\n"))
  end)

  it("say when they are entered, at the same lines, in every file of the tree", function()
    local seen = {}
    _G.minigun_block = function(id) seen[#seen + 1] = id end
    finally(function() _G.minigun_block = nil end)
    _G.g = function() end
    finally(function() _G.minigun_block, _G.g = nil, nil end)
    local f = assert(load(blocks.instrument(text, (blocks.find(text, 10)))))()
    f(nil, true)
    assert.same({ 10, 11, 13, 14, 14, 16 }, { table.unpack(seen, 1, 6) })
    for _, path in ipairs(shell.lines "find lua -name '*.lua'") do
      local source = shell.read(path)
      local made = blocks.instrument(source, (blocks.find(source, 1)))
      assert.equal(#mask.lines(source), #mask.lines(made), path)
      assert.is_truthy(load(made), path)
    end
  end)
end)

describe("what is drawn", function()
  it("is the same for the same seed, compiles, differs in one line, and leaves the tree alone", function()
    support.deadline(120)
    local dir = os.tmpname()
    os.remove(dir)
    finally(function() support.remove_tree(dir) end)
    local before = shell.lines "find lua src -type f | LC_ALL=C sort | xargs cksum"
    local result = support.run_lua(([[
      local draw = require "spec.mutants.draw"
      os.execute "mkdir -p %s && cp -r lua src %s"
      for round = 1, 2 do
        for _, m in ipairs((draw.draw(4, 7, "%s", "/[cq][ru][ce]"))) do
          io.write(m.path, ":", m.line, " ", m.kind, "\n", m.old, "\n", m.new, "\n")
        end
      end
    ]]):format(dir, dir, dir), { timeout = 100 })
    assert.equal("", result.stderr)
    local lines = mask.lines(result.stdout)
    assert.equal(24, #lines)
    assert.same({ table.unpack(lines, 1, 12) }, { table.unpack(lines, 13) })
    for i = 1, 12, 3 do
      assert.matches("^%l+/.*:%d+ %l+$", lines[i])
      assert.not_equal(lines[i + 1], lines[i + 2])
    end
    assert.same(before, shell.lines "find lua src -type f | LC_ALL=C sort | xargs cksum")
  end)
end)

describe("a trial", function()
  it("runs where no process outside can be reached, and ends all of it", function()
    if not os.execute("unshare --user --map-root-user --pid --mount --fork --mount-proc --kill-child true 2>/dev/null")
      and not os.execute("unshare --pid --mount --fork --mount-proc --kill-child true 2>/dev/null") then
      return pending "no namespaces"
    end
    local began = support.now()
    local _, _, code = os.execute(shell.contained("sleep 100 & sleep 100 & kill -9 -1; exit 3", 20) .. " 2>/dev/null")
    assert.not_equal(0, code)
    assert.is_true(support.now() - began < 15)
    assert.equal("124", shell.lines(shell.contained("sleep 100", 1) .. "; echo $?")[1])
  end)

  it("runs commands beside each other and begins none after a failure", function()
    local dir = os.tmpname()
    os.remove(dir)
    finally(function() support.remove_tree(dir) end)
    local list = shell.beside(dir, { "echo one", "echo two; exit 3", "echo three" }, 1)
    assert.same({ { code = 0, output = "one\n" }, { code = 3, output = "two\n" } }, list)
  end)
end)
