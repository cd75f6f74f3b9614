-- The verb busted of the command: beside busted itself, on suites with all that can happen in one.

local lfs = require "lfs"
local support = require "spec.support"
local tablex = require "pl.tablex"

local directory
local directory_of = support.directory_for_each(before_each, after_each)
before_each(function() directory = directory_of() end)

-- A suite with every way in which a test can end.
local FILES <const> = {
  a = [[describe("a", function()
    it("is fine", function() print "said" end)
    it("fails", function() assert.equal(1, 2) end)
    it("raises", function() error { code = 3 } end)
    pending "is pending"
  end)]],
  b = [[describe("b", function() setup(function() error "set-up" end) it("is not run", function() end) end)]],
  c = [[describe("c", function() for i = 1, 20 do it("is one of " .. i, function() end) end end)]],
  d = [[syntax error]],
}

describe("minigun busted", function()
  local function suite(files)
    lfs.mkdir(directory .. "/spec")
    for name, text in pairs(files) do support.write_file(("%s/spec/%s_spec.lua"):format(directory, name), text) end
  end

  local here = lfs.currentdir()

  -- Runs it, or busted itself, in the suite's directory. Returns the result, and the counts of the closing line.
  local function run(command)
    local result = support.run(("cd %s && unset LUA_PATH LUA_CPATH && %s"):format(directory, command), { env = {
      XDG_CACHE_HOME = directory } })
    local counts = result.stdout:match "[^\n]* success[^\n]-pending" or result.stdout:match "[^\n]* success[^:]*"
    return result, counts
  end

  local OURS <const> = here .. "/bin/minigun busted "
  local THEIRS <const> = "lua5.4 /usr/bin/busted "

  -- Without times, and what says how far a process has come.
  local function untimed(text)
    return (text:gsub("%d+%.%d+ seconds", "T"):gsub("%(%d+%.%d+ ms[^)]*%)", "T"):gsub("%(%d+%.%d+ s[^)]*%)", "T"))
  end

  it("counts what busted counts, in one closing line, with busted's exit status", function()
    suite(FILES)
    for _, words in ipairs { "", "--filter fails", "--exclude-pattern d_spec", "-o TAP --exclude-pattern d_spec",
      "-p 'c_spec'", "spec/a_spec.lua spec/c_spec.lua" } do
      local ours, our_counts = run(OURS .. words)
      local theirs, their_counts = run(THEIRS .. words)
      assert.equal(their_counts, our_counts, words)
      assert.equal(theirs.code, ours.code, words .. ours.stderr)
      if words:find "TAP" then assert.equal(theirs.stdout, ours.stdout) end
    end
  end)

  it("names a file whose process dies, and runs the others", function()
    suite { a = FILES.c, b = "it('is fine', function() end) it('dies', function() os.execute('kill -9 $PPID') end)" }
    local result = run(OURS)
    assert.matches("21 successes / 0 failures / 1 error / 0 pending", result.stdout, 1, true)
    assert.matches("spec/b_spec.lua: its process ended before its tests: by signal 9", result.stdout, 1, true)
    assert.equal(1, result.code)
  end)

  it("runs several files at once, -j of them, and tells them in order", function()
    local slow = "it('sleeps', function() os.execute 'sleep 0.7' print '%s' end)"
    suite { a = slow:format "a", b = slow:format "b", c = slow:format "c", d = slow:format "d" }
    local start = support.now()
    local result = run(OURS .. "-j 4")
    assert.is_true(support.now() - start < 2.5)
    assert.is_true(tonumber(result.stdout:match "([%d.]+) seconds") >= 0.7)
    local told = {}
    for letter in result.stdout:gmatch "%f[%w]([abcd])\n" do told[#told + 1] = letter end
    assert.equal("abcd", table.concat(told))
    assert.matches("4 successes / 0 failures / 0 errors / 0 pending", result.stdout, 1, true)
  end)

  it("lets short files share a process, keeps apart what each prints, and goes on after one that dies", function()
    local files = {}
    for i = 1, 24 do
      local act = i == 8 and "os.execute('kill -9 $PPID')" or i == 13 and "error 'no'" or ""
      files[("f%02d"):format(i)] = ("describe('f', function() it('says', function() print('file %d')" ..
        " io.stderr:write 'err %d ' %s end) end)"):format(i, i, act)
    end
    files.f20 = "syntax error"
    suite(files)
    local result = run(OURS .. "-j 1 -o plainTerminal")
    local numbers, errors = {}, {}
    for n in result.stdout:gmatch "file (%d+)" do numbers[#numbers + 1] = tonumber(n) end
    for n in result.stderr:gmatch "err (%d+)" do errors[#errors + 1] = tonumber(n) end
    for _, list in ipairs { numbers, errors } do
      assert.is_true(#list >= 22, table.concat(list, " ")) -- of the one that dies perhaps nothing
      for i = 2, #list do assert.is_true(list[i] > list[i - 1]) end
    end
    assert.matches("spec/f08_spec.lua: its process ended before its tests: by signal 9", result.stdout, 1, true)
    assert.equal(1, select(2, result.stdout:gsub("its process ended", "")))
    assert.matches("21 successes / 0 failures / 3 errors / 0 pending", result.stdout, 1, true)
    assert.not_matches("%z", result.stdout .. result.stderr)
  end)

  it("gives what needs one process to busted itself", function()
    suite { a = FILES.c }
    for _, words in ipairs { "--list", "--version", "-o TAP --repeat=2", "-o TAP --no-keep-going", "-p none",
      "nowhere", "--helper=none.lua" } do
      local ours, theirs = run(OURS .. words), run(THEIRS .. words)
      assert.same({ theirs.code, untimed(theirs.stdout), theirs.stderr },
        { ours.code, untimed(ours.stdout), ours.stderr }, words)
    end
    assert.equal(1, run(OURS .. "--nonsense").code)
  end)

  it("says what busted says, word by word, and prints what tests print where they do", function()
    suite { a = FILES.a, b = FILES.b, c = FILES.c:gsub("end%) end end%)$", "print(i) end) end end)"),
      d = "describe('d', function() randomize(7) for i = 1, 9 do it('is ' .. i, function() io.write(i) end) end end)" }
    for _, words in ipairs { "-o plainTerminal", "-o utfTerminal -v", "-o gtest", "-o TAP --sort",
      "-o TAP -v --shuffle --seed=5", "-o TAP --shuffle-files --seed=7", "-o plainTerminal --lazy --suppress-pending",
    } do
      assert.equal(untimed(run(THEIRS .. words).stdout), untimed(run(OURS .. words).stdout), words)
    end
  end)

  it("goes on in the same process, and gives a file that fails there a new one, where it counts", function()
    local told = "print('process ' .. io.popen('echo $PPID'):read())"
    local leaves = "it('leaves', function() string.left = 1 " .. told .. " end)" .. (" "):rep(100) -- large: begun first
    suite { a = leaves, c = leaves, b = "it('finds none', function() assert.is_nil(string.left) " .. told .. " end)" }
    local result, counts = run(OURS .. "-j 1 -o plainTerminal")
    assert.equal("3 successes / 0 failures / 0 errors / 0 pending", counts, result.stdout)
    local processes = {}
    for pid in result.stdout:gmatch "process (%d+)" do processes[#processes + 1] = pid end
    assert.equal(3, #processes, result.stdout)
    assert.equal(processes[1], processes[3])
    assert.not_equal(processes[1], processes[2])
  end)

  it("gives processes that start together other random numbers, also with the time as the seed", function()
    local file = "math.randomseed(os.time()) it('is random', function() print('is ' .. math.random(1 << 40))" ..
      " os.execute 'sleep 0.3' end)"
    suite { a = file, b = file, c = file }
    local numbers, n = {}, 0
    for number in run(OURS .. "-j 3 -o plainTerminal").stdout:gmatch "is (%d+)" do
      numbers[number], n = true, n + 1
    end
    assert.equal(3, n)
    assert.equal(3, #tablex.keys(numbers))
  end)

  it("names a file that leaves with 0, also in a suite that was short when it was last run", function()
    suite { a = FILES.c, b = "it('is fine', function() end)" }
    for _ = 1, 2 do assert.equal(0, run(OURS).code) end
    support.write_file(directory .. "/spec/b_spec.lua", "it('leaves', function() os.exit(0) end)")
    local result = run(OURS .. "-o plainTerminal")
    assert.matches("spec/b_spec.lua: its process ended before its tests: with code 0", result.stdout, 1, true)
    assert.matches("20 successes / 0 failures / 1 error / 0 pending", result.stdout, 1, true)
    assert.equal(1, result.code)
  end)

  -- $PPID is the file's process, whose parent is the command.
  local press <const> = "kill -INT $(ps -o ppid= -p $PPID); sleep 0.3; "

  it("tells at Ctrl-C what it knows of a file that was to be run again", function()
    for _, ends in ipairs { "error 'no'", "os.exit(3)" } do
      suite { a = "it('is fine', function() end)" .. (" "):rep(200), -- large: begun first
        b = ("it('is fine, too', function() end) it('ends', function() os.execute '%s' %s end)"):format(press, ends) }
      local result = run(OURS .. "-j 1 -o TAP; echo ended $?")
      assert.matches("ok 1 %- is fine\nok 2 %- is fine, too\nnot ok 3 %- ", result.stdout)
      assert.matches("ended 130", result.stdout)
    end
  end)

  it("finishes at Ctrl-C the files that run, and tells what it knows; at a second one it ends", function()
    for presses = 1, 2 do
      local file = ("it('is fine', function() end) it('waits', function() os.execute '%s' end)"):format(
        press:rep(presses))
      local name = directory:match "[^/]*$"
      suite { [name .. "a"] = file, [name .. "b"] = file, [name .. "c"] = file }
      local result = run(OURS .. "-j 1 -o TAP; echo ended $?")
      assert.matches(presses == 1 and "ok 1 %- is fine\nok 2 %- waits\n1..2" or
        "ok 1 %- is fine\nnot ok 2 %- spec/[^\n]*a_spec.lua.*with the whole run\n1..2", result.stdout)
      assert.matches("ended 130", result.stdout)
      assert.equal("", run(("grep -ls spec/%sa /tmp/lua_*/files"):format(name)).stdout) -- nothing is left
      assert.matches("a second Ctrl-C ends it at once", result.stderr, 1, true)
    end
  end)
end)
