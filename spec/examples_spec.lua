-- The examples and the read-me keep their word: each example prints what its head comment expects and has its row in
-- examples/README.md, each block of Lua in the read-me runs.
--
-- A head comment says "-- Expected output:", then the lines after "--   "; "-- Or:" begins an alternative.
--   ~ PATTERN   a line that matches the whole pattern
--   ...         any lines, also none
-- "-- Expected output, in any order:" compares sorted lines (no patterns).

local lfs = require "lfs"
local pages = require "spec.pages"
local support = require "spec.support"

local assert_output = pages.assert_output

local function files_in(directory, ending)
  local paths = {}
  for entry in lfs.dir(directory) do
    if entry:sub(-#ending) == ending then
      paths[#paths + 1] = directory .. "/" .. entry
    end
  end
  table.sort(paths)
  return paths
end

-- The expectation of an example: { unordered =, { line, ... }, { line, ... } }, one array for each alternative; nil
-- where the head comment has none.
local function expectation(path)
  local found, lines
  for line in io.lines(path) do
    local head, order = line:match("^%-%- Expected output(,?.*):$"), line:find("in any order", 1, true)
    if head or (found and line == "-- Or:") then
      lines = {}
      found = found or { unordered = order ~= nil }
      found[#found + 1] = lines
    elseif not line:match("^%-%-") then
      return found
    elseif lines then
      lines[#lines + 1] = line:match("^%-%-   (.*)$") or line:match("^%-%-(.*)$")
    end
  end
  return found
end

-- What an example that takes long without arguments is given in the short form of the run.
local LESS <const> = { ["examples/903_debian_archive.lua"] = " /var/lib/dpkg/status",
  ["examples/004_word_count.lua"] = " README.md docs/*.md", ["examples/902_verify_packages.lua"] = " --megabytes 1" }

-- What prints which was faster.
local TIMED <const> = { ["examples/310_ordered.lua"] = true, ["examples/307_web_crawler.lua"] = true }

local function run_example(command, path)
  if TIMED[path] and support.under == "gcstress" then return pending "it measures time, which all else takes here" end
  support.deadline(120)
  local words = support.short_or_long(LESS[path] or "", "")
  local result = support.run(command .. " " .. path .. words, { timeout = 60, env = support.lua_env() })
  assert.equal("", result.stderr)
  assert.equal(0, result.code)
  assert_output(expectation(path), result.stdout)
end

describe("the expected output of an example", function()
  it("is compared line by line, with patterns and gaps", function()
    for _, case in ipairs {
      { true, { "a" }, "a\n" }, { false, { "a" }, "a\nb\n" }, { false, { "a", "b" }, "a\n" },
      { true, { "a", "...", "c" }, "a\nb\nb\nc\n" }, { true, { "a", "...", "c" }, "a\nc\n" },
      { false, { "a", "...", "c" }, "a\nc\nd\n" }, { true, { "~ %d+ words" }, "12 words\n" },
      { false, { "~ %d+" }, "12 words\n" }, { true, { "a", "", "b" }, "a\n\nb\n" }, { false, { "a.c" }, "abc\n" },
    } do
      assert.equal(case[1], (pcall(assert_output, { case[2] }, case[3])), table.concat(case[2], "|"))
    end
    assert_output({ { "x" }, { "y" } }, "y\n")
    assert_output({ { "x", "y" }, unordered = true }, "y\nx\n")
    assert.is_false((pcall(assert_output, { { "x", "y" }, unordered = true }, "y\ny\n")))
  end)
end)

describe("example", function()
  for number, path in ipairs(files_in("examples", ".lua")) do
    it(path .. " says what it prints", function()
      local expected = expectation(path)
      assert.is_not_nil(expected, "no block '-- Expected output:' in the head comment")
      assert.is_true(#expected[1] > 0, "the expected output is empty")
    end)

    -- In the short form by turns.
    for door, command in ipairs { "bin/minigun run", "lua5.4" } do
      if support.long or (number + door) % 2 == 0 then
        it(path .. " prints that under " .. command, function()
          run_example(door == 1 and support.command() .. " run" or command, path)
        end)
      end
    end
  end
end)

describe("examples/004_word_count.lua", function()
  it("counts the files given", function()
    local path = support.write_file(os.tmpname(), "one two, two\nthree3three Three")
    local result = support.run("./bin/minigun run examples/004_word_count.lua " .. path)
    assert.same({ "", 0 }, { result.stderr, result.code })
    assert.equal("6 words in 1 file, 3 different\n       3 three\n       2 two\n       1 one\n", result.stdout)
    result = support.run(("./bin/minigun run examples/004_word_count.lua %s %s.none"):format(path, path))
    assert.equal(1, result.code)
    assert.matches("^word_count: left out: [^\n]*%.none: No such file or directory[^\n]*\n$", result.stderr)
    assert.matches("^6 words in 1 file, 3 different\n", result.stdout)
    os.remove(path)
  end)
end)

-- --- the read-me -------------------------------------------------------------------------------------------------

describe("README.md", function()
  local programs = pages.programs "README.md"
  for _, program in ipairs(programs) do
    it(("line %d: the program prints what the page says"):format(program[1].line), function()
      pages.run(program, "readme.lua")
    end)
  end

  it("has programs", function()
    assert.is_true(#programs > 1)
  end)

  it("has a block for the prompt that runs there, line by line", function()
    local lines = support.read_file("README.md"):match("## At the prompt\n.-```lua\n(.-)```")
    local result = support.run("lua5.4 -i", { stdin = lines, env = support.lua_env() })
    assert.equal("", result.stderr)
    assert.matches("\n3\ttrue\n", result.stdout:gsub("\n[> ]+", "\n"), 1, true)
  end)

  local text = support.read_file("README.md")

  it("names only files that are there", function()
    local missing = {}
    for word in text:gmatch("[%w_./-]+") do
      local path = word:gsub("[.]+$", "")
      local top = path:match("^%.?/?(%w+)/")
      if top == "src" or top == "lua" or top == "docs" or top == "examples" or top == "bin" or top == "spec" then
        if not lfs.attributes(path, "mode") then
          missing[#missing + 1] = path
        end
      end
    end
    assert.same({}, missing)
  end)

  it("names every page of docs/", function()
    local missing = {}
    for _, path in ipairs(files_in("docs", ".md")) do
      if not text:find(path, 1, true) then
        missing[#missing + 1] = path
      end
    end
    assert.same({}, missing)
  end)
end)

describe("examples/README.md", function()
  local text = support.read_file("examples/README.md")

  it("names every example once, and none that is not there", function()
    local named = {}
    for name in text:gmatch("\n| %[([%w_]+%.lua)%]") do
      assert.matches("| [" .. name .. "](" .. name .. ") | ", text, 1, true)
      named[#named + 1] = "examples/" .. name
    end
    table.sort(named)
    assert.same(files_in("examples", ".lua"), named)
  end)
end)
