-- docs/where.md: which file has which behaviour. Each file is there and has the function that its row names.

local support = require "spec.support"

local PAGE <const> = "docs/where.md"

-- The rows of the page's tables: { what =, path =, name = or "" }.
local function rows_of(text)
  local rows = {}
  for line in text:gmatch "[^\n]+" do
    local what, path, name = line:match "^| ([^|]+) | `([^`|]+)` | ?`?([^`|]*)`? |$"
    if what then rows[#rows + 1] = { what = what, path = path, name = name } end
  end
  return rows
end

-- Whether a source defines a function: in Lua by its name, in C at the begin of a line.
local function defines(source, path, name)
  local pattern = name:gsub("%p", "%%%0")
  if not path:find "%.c$" then return ("\n" .. source):find("\n[local ]*function " .. pattern .. "[ (]") ~= nil end
  for line in source:gmatch "[^\n]+" do
    if line:find("^[%w_][%w_ *]*[ *]" .. pattern .. "%(.*{") then return true end
  end
  return false
end

describe("docs/where.md", function()
  local text = support.read_file(PAGE)
  local rows = rows_of(text)

  it("has a row for each behaviour, none twice", function()
    assert.is_true(#rows >= 30, #rows .. " rows")
    local lines, seen = 0, {}
    for line in text:gmatch "[^\n]+" do
      if line:find "^| " and not line:find "^| %-%-%-" and not line:find "^| what is decided" then lines = lines + 1 end
    end
    assert.equal(lines, #rows, "a row is not of the form | what | `file` | `function` |")
    for _, row in ipairs(rows) do
      assert.is_nil(seen[row.what], row.what)
      seen[row.what] = true
    end
  end)

  for _, row in ipairs(rows) do
    it(("is right about %s"):format(row.what), function()
      local source = support.read_file(row.path)
      if row.name ~= "" then
        assert.is_true(defines(source, row.path, row.name), ("%s has no function %s"):format(row.path, row.name))
      end
    end)
  end

  it("finds no function that is not there", function()
    assert.is_false(defines("local function other(a)\nend\n-- function gone(a)\n", "x.lua", "gone"))
    assert.is_false(defines("int gone(void);\n  gone(1);\n", "x.c", "gone"))
    assert.is_true(defines("local function other(a)\nend\n", "x.lua", "other"))
    assert.is_true(defines("static int gone(int a) {\n", "x.c", "gone"))
  end)

  it("is linked where one looks for the sources", function()
    assert.is_truthy(support.read_file("README.md"):find("docs/where.md", 1, true))
    assert.is_truthy(support.read_file("HACKING.md"):find("docs/where.md", 1, true))
  end)
end)
