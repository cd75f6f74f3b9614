--- Which tests enter which block of the sources. All specs run once in a copy of the tree in which each block of the
-- Lua files (blocks.lua) and of the C modules (the compiler) leaves a mark (marks.c). What they leave is kept in
-- build-mutants/map, and used again for each spec file until it or the sources change.

local blocks = require "spec.mutants.blocks"
local shell = require "spec.mutants.shell"

local M = {}

-- Where the marks begin: of the core, of the module for Redis, and of the core in which calls fail.
local CORE, REDIS, FAULTS = 1 << 20, 3 << 20, 4 << 20
local DIR = "build-mutants"
local MAP, COPY = DIR .. "/map", DIR .. "/marked"
local FLAGS = "FORTIFY= CFLAGS='-O0 -g -fsanitize-coverage=trace-pc'"

--- The Lua files of the tree, always in the same order.
-- @return array of strings
function M.lua_files() return shell.lines "find lua -name '*.lua' | LC_ALL=C sort" end

--- All Lua files with their blocks.
-- @return table from path to { text =, list =, first =, last = }: see blocks.lua
function M.lua_blocks()
  local files, first = {}, 1
  for _, path in ipairs(M.lua_files()) do
    local text = assert(shell.read(path))
    local list, after = blocks.find(text, first)
    files[path] = { text = text, list = list, first = first, last = after - 1 }
    first = after
  end
  return files
end

--- Builds what the specs load and run; the module for Redis only where its libraries are there.
-- @param copy string, a directory with a copy of the tree
-- @return true, or nil where the core cannot be built
function M.build(copy)
  local function make(goals) return os.execute(("make -s -C %s %s >/dev/null 2>&1"):format(copy, goals)) end
  return make "all" and make "build/ring_threads build/channel_threads" and (make "redis" or true)
end

--- Copies the tree, without builds and history.
-- @param to string, a directory that is made anew
function M.copy_tree(to)
  shell.run("rm -rf %s && mkdir -p %s", to, to)
  shell.run("tar -cf - --exclude='./build*' --exclude=./.git . | tar -xf - -C %s", to)
end

local function make_marked(copy)
  M.copy_tree(copy)
  for path, file in pairs(M.lua_blocks()) do
    shell.write(copy .. "/" .. path, blocks.instrument(file.text, file.list))
  end
  local helper = copy .. "/spec/helper.lua"
  shell.write(helper, 'require "spec.mutants.recorder"\n' .. shell.read(helper))
  local include = os.getenv "LUA_INC" or "/usr/include/lua5.4"
  local compile = ("cd %s && cc -O2 -fPIC -fvisibility=hidden -I%s"):format(copy, include)
  shell.run("%s -shared -o marks.so spec/mutants/marks.c", compile)
  local function make(goal, base, dir, variant)
    shell.run("%s -DBASE=%d -c -o %d.o spec/mutants/marks.c", compile, base, base)
    return os.execute(("make -s -C %s BUILD=%s %s LDFLAGS=$PWD/%s/%d.o %s %s"):format(copy, dir, FLAGS, copy, base,
      variant, goal))
  end
  assert(make("all", CORE, "build", ""))
  assert(make("all", FAULTS, "build-faults", "VARIANT='-DMG_FAULTS -Wl,-z,nodelete'"))
  make("redis", REDIS, "build", "2>/dev/null")
  shell.run("cd %s && make -s BUILD=build-plain build-plain/ring_threads build-plain/channel_threads && " ..
    "cp build-plain/*_threads build", copy)
end

-- Which blocks of a built module are which lines: "file line mark", a line each.
local function core_lines(object, base)
  local calls, after = {}, false
  for _, line in ipairs(shell.lines("objdump -d --no-show-raw-insn " .. object)) do
    local at = tonumber(line:match("^%s*(%x+):") or "", 16)
    if after and at then calls[#calls + 1] = at end
    after = line:find("call.*<__sanitizer_cov_trace_pc") ~= nil
  end
  local rows, found, k = {}, {}, {}
  for _, line in ipairs(shell.lines("objdump --dwarf=decodedline 2>/dev/null " .. object)) do
    local file, number, at = line:match("^(%S+)%s+(%d+)%s+0x(%x+)")
    if file then rows[#rows + 1] = { tonumber(at, 16), file .. " " .. number } end
  end
  table.sort(rows, function(a, b) return a[1] < b[1] end)
  local next = 1
  for _, row in ipairs(rows) do
    while calls[next] and calls[next] - 5 <= row[1] do next = next + 1 end -- a call has five bytes
    local mark = calls[next - 1]
    local text = mark and ("%s %d"):format(row[2], base + mark)
    if text and not k[text] then
      k[text] = true
      found[#found + 1] = text
    end
  end
  return table.concat(found, "\n") .. "\n"
end

local function sum_of(files)
  return shell.lines(("find %s -type f | LC_ALL=C sort | xargs cat | cksum"):format(files))[1]
end

local function name_of(spec) return spec:match("([^/]+)_spec%.lua$") end

-- The spec files whose marks are not known, or not those of the files as they are.
local function missing()
  local sources = sum_of "lua src"
  if shell.read(MAP .. "/all-sources") ~= sources then
    shell.run("rm -rf %s && mkdir -p %s", MAP, MAP)
    make_marked(COPY)
    shell.write(MAP .. "/core-lines", core_lines(COPY .. "/build/minigun/core.so", CORE) ..
      core_lines(COPY .. "/build-faults/minigun/core.so", FAULTS) ..
      core_lines(COPY .. "/build/minigun/redis.so", REDIS))
    shell.write(MAP .. "/all-sources", sources)
  else
    shell.run("tar -cf - spec examples docs bench bin Makefile | tar -xf - -C %s", COPY)
    local helper = COPY .. "/spec/helper.lua"
    shell.write(helper, 'require "spec.mutants.recorder"\n' .. shell.read(helper))
  end
  local list = {}
  for _, spec in ipairs(shell.lines "find spec -name '*_spec.lua' | LC_ALL=C sort") do
    if shell.read(MAP .. "/" .. name_of(spec) .. ".sum") ~= sum_of(spec) then list[#list + 1] = spec end
  end
  return list
end

--- Runs the specs whose marks are missing.
-- @param jobs integer, how many files at once
function M.record(jobs)
  local specs, commands = missing(), {}
  if #specs == 0 then return end
  io.stdout:write(("which tests enter which blocks: %d spec files run once\n"):format(#specs)):flush()
  local there = shell.lines("pwd")[1]
  for i, spec in ipairs(specs) do
    local marks = ("%s/%s/%s"):format(there, MAP, name_of(spec))
    shell.run("rm -f %s.tests && truncate -s 8M %s", marks, marks)
    commands[i] = shell.contained(("cd %s && export MINIGUN_MARKS=%s LUA_INIT=%s && bash spec/run %s -- lua5.4 "
      .. "/usr/bin/busted --ignore-lua"):format(COPY, marks, shell.quote(("package.loadlib('%s/%s/marks.so', "
      .. "'luaopen_marks')()"):format(there, COPY)), spec), 400)
  end
  local results = shell.beside(DIR .. "/jobs", commands, jobs, true)
  for i, spec in ipairs(specs) do
    local marks = MAP .. "/" .. name_of(spec)
    shell.write(marks .. ".output", results[i] and results[i].output or "")
    os.remove(marks)
    if shell.read(marks .. ".tests") then shell.write(marks .. ".sum", sum_of(spec)) end
  end
end

-- Calls f(name, seconds, marks) for each entry that recorder.lua has written.
local function each_entry(path, f)
  local text = shell.read(path) or ""
  local at = 1
  while at <= #text do
    local name, seconds, marks
    name, seconds, marks, at = string.unpack("s4ns4", text, at)
    f(name, seconds, marks)
  end
end

-- Calls f with each number of a string of differences.
local function each_mark(text, f)
  local at, shift, n = 0, 0, 0
  for i = 1, #text do
    local byte = text:byte(i)
    n = n | (byte & 127) << shift
    shift = shift + 7
    if byte < 128 then
      at, n, shift = at + n, 0, 0
      f(at)
    end
  end
end

--- The marks that lines of C have.
-- @return table from "file.c 12" to an array of numbers
-- @return table from file to { number = true }
function M.core_marks()
  local lines, files = {}, {}
  for file, number, mark in shell.read(MAP .. "/core-lines"):gmatch("(%S+) (%d+) (%d+)\n") do
    mark = math.tointeger(tonumber(mark))
    local key = file .. " " .. number
    lines[key] = lines[key] or {}
    table.insert(lines[key], mark)
    files[file] = files[file] or {}
    files[file][mark] = true
  end
  return lines, files
end

--- All tests with what of it is asked for.
-- @param wanted table: { [mark] = true }
-- @param groups table: { [mark] = array of any }, of which each test's marks are counted
-- @return array of { spec =, name =, seconds =, marks = { [mark] = true }, counts = { [group] = n }, total = n }
function M.tests(wanted, groups)
  local list = {}
  for _, spec in ipairs(shell.lines "find spec -name '*_spec.lua' | LC_ALL=C sort") do
    local loaded
    each_entry(MAP .. "/" .. name_of(spec) .. ".tests", function(name, seconds, marks)
      local test = { spec = spec, name = name, seconds = seconds, marks = {}, counts = {}, total = 1 }
      if name ~= "" then list[#list + 1] = test end
      each_mark((name ~= "" and loaded or "") .. "", function(mark) test.marks[mark] = wanted[mark] end)
      each_mark(marks, function(mark)
        test.total = test.total + 1
        if wanted[mark] then test.marks[mark] = true end
        for _, group in ipairs(groups[mark] or {}) do test.counts[group] = (test.counts[group] or 0) + 1 end
      end)
      loaded = name == "" and marks or nil            -- belongs to the first test too
    end)
  end
  return list
end

return M
