--- What specs of Markdown pages share: the blocks of a page, their programs, and the comparison of what is printed with
-- what the page says.

local lfs = require "lfs"
local support = require "spec.support"

local M = {}

local function lines_of(text)
  local lines = {}
  for line in text:gmatch("([^\n]*)\n?") do
    lines[#lines + 1] = line
  end
  while lines[#lines] == "" do
    lines[#lines] = nil
  end
  return lines
end

-- Whether the lines from at on match the expected ones from i on.
local function matches(expected, lines, i, at)
  local want = expected[i]
  if want == nil then
    return at > #lines
  elseif want == "..." then
    for next_at = at, #lines + 1 do
      if matches(expected, lines, i + 1, next_at) then
        return true
      end
    end
    return false
  end
  local line = lines[at]
  local pattern = want:match("^~ (.*)$")
  local fits = line and (pattern and line:find("^" .. pattern .. "$") ~= nil or line == want)
  return fits and matches(expected, lines, i + 1, at + 1)
end

--- Raises unless what was printed is what was expected. A line `~ PATTERN` matches the whole pattern, `...` any lines.
-- @param expected array of alternatives, each an array of lines; `unordered`: sorted lines are compared
-- @param stdout string
function M.assert_output(expected, stdout)
  for _, alternative in ipairs(expected) do
    local want, got = lines_of(table.concat(alternative, "\n")), lines_of(stdout)
    if expected.unordered then
      table.sort(want)
      table.sort(got)
    end
    if matches(want, got, 1, 1) then
      return
    end
  end
  error(("printed:\n%s\nexpected:\n%s"):format(stdout, table.concat(expected[1], "\n")), 2)
end

-- The fenced blocks of a page: { language =, text =, line = }.
local function fenced_blocks(path)
  local blocks, block, number = {}, nil, 0
  for line in io.lines(path) do
    number = number + 1
    local fence = line:match("^```(%a*)$")
    if fence and not block then
      block = { language = fence, line = number }
    elseif fence then
      block.text = table.concat(block, "\n") .. "\n"
      blocks[#blocks + 1] = block
      block = nil
    elseif block then
      block[#block + 1] = line
    end
  end
  assert(not block, path .. ": a fence is not closed")
  return blocks
end

--- The programs of a page: a block of Lua whose first line requires minigun begins one, the blocks of Lua after it go
-- on with it. A block of text after a block of Lua is what that prints.
-- @param path string
-- @return array of programs, arrays of `{ text =, line =, output = string or nil }`
function M.programs(path)
  local programs, last = {}, nil
  for _, block in ipairs(fenced_blocks(path)) do
    if block.language == "lua" then
      if block.text:match("^[^\n]*minigun = require") then
        programs[#programs + 1] = {}
      end
      last = { text = block.text, line = block.line }
      assert(#programs > 0, path .. ": the first block of Lua does not require minigun")
      table.insert(programs[#programs], last)
    elseif block.language == "text" and last then
      last.output, last = block.text, nil
    else
      last = nil
    end
  end
  return programs
end

--- The blocks of a page as one program in which each has its local variables to itself, and minigun.
-- @param path string
-- @return a program, see programs
function M.examples(path)
  local program, last = { { text = 'local minigun = require "minigun"\n', line = 1 } }, nil
  for _, block in ipairs(fenced_blocks(path)) do
    if block.language == "lua" then
      last = { text = "do " .. block.text .. "end\n", line = block.line, output = nil }
      table.insert(program, last)
    elseif block.language == "text" and last then
      last.output = block.text
    end
  end
  return program
end

-- Printed between the blocks of a program.
local MARK <const> = "\1"

--- Runs a program as one file, and compares what each block prints with the page.
-- @param program array of blocks, see programs
-- @param name string of the file, as messages show it: "tutorial.lua"
function M.run(program, name)
  local source = {}
  for i, block in ipairs(program) do
    -- On the last line of the block, so that lines are numbered as in a file of the blocks alone.
    source[i] = ("%s io.stdout:write '%s'\n"):format(block.text:sub(1, -2), MARK)
  end
  local directory, env = os.tmpname(), support.lua_env()
  os.remove(directory)
  assert(lfs.mkdir(directory))
  support.write_file(directory .. "/" .. name, table.concat(source))
  for key, value in pairs(env) do
    env[key] = value:gsub("%./", (lfs.currentdir():gsub("%%", "%%%%")) .. "/")
  end
  local result = support.run(("cd %s && exec lua5.4 %s"):format(directory, name), { timeout = 60, env = env })
  os.remove(directory .. "/" .. name)
  assert(lfs.rmdir(directory))
  assert(result.code == 0 and result.stderr == "", result.stderr)
  local i = 0
  for output in result.stdout:gmatch("([^" .. MARK .. "]*)" .. MARK) do
    i = i + 1
    local ok, message = pcall(M.assert_output, { lines_of(program[i].output or "") }, output)
    assert(ok, ("the block of line %d: %s"):format(program[i].line, message))
  end
  assert(i == #program, "the program has not come to its end")
end

return M
