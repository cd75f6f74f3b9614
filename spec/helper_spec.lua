-- The helper, the tally and spec/run, tested from outside: each test runs busted on a spec of its own.

local lfs = require "lfs"
local support = require "spec.support"

local busted = os.getenv("BUSTED") or "/usr/bin/busted"

-- Runs busted, under spec/run, on spec files with these bodies by name; returns what support.run returns.
-- around: shell commands, where %s is that of the run
local function run_specs(bodies, env, around)
  local directory = os.tmpname()
  os.remove(directory)
  assert(lfs.mkdir(directory))
  for name, body in pairs(bodies) do
    support.write_file(("%s/%s_spec.lua"):format(directory, name), body)
  end
  local command = ("bash spec/run %s -- lua5.4 %s --ignore-lua"):format(directory, busted)
  local result = support.run((around or "%s"):format(command), { env = env })
  os.execute("rm -r " .. directory)
  return result
end

local function run_spec(body, env)
  return run_specs({ inner = body }, env)
end

local function closing_lines(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do
    if line:match("^%d+ passed, %d+ failed") then
      lines[#lines + 1] = line
    end
  end
  return lines
end

local function assert_closing(expected, result)
  assert.same({ expected }, closing_lines(result.stdout),
    ("exit status %d\n%s\n%s"):format(result.code, result.stdout, result.stderr))
  assert.equal(expected, result.stdout:match("([^\n]*)\n$"))
end

describe("the closing line", function()
  it("counts passed tests, alone on the last line, and the run succeeds", function()
    local result = run_spec [[
      it("one", function() end)
      it("two", function() end)
    ]]
    assert_closing("2 passed, 0 failed", result)
    assert.equal(0, result.code)
  end)

  it("counts failures and errors as failed and names the skipped", function()
    local result = run_spec [[
      it("good", function() end)
      it("fails", function() assert.equal(1, 2) end)
      it("raises", function() error("no") end)
      pending("later")
      it("gives up", function() pending("not here") end)
    ]]
    assert_closing("1 passed, 2 failed, 2 skipped", result)
    assert.not_equal(0, result.code)
  end)

  it("fails for a spec file that does not load", function()
    local result = run_spec "it('x' function"
    assert_closing("0 passed, 1 failed", result)
    assert.not_equal(0, result.code)
    assert.matches("inner_spec.lua:1:", result.stdout, 1, true)
  end)

  it("fails for a spec file that raises while it loads", function()
    local result = run_spec "error('broken')"
    assert_closing("0 passed, 1 failed", result)
    assert.not_equal(0, result.code)
  end)

  it("counts what a file says that is run once more, where that is asked for", function()
    local mark = os.tmpname()
    local body = ([[
      it("late once", function()
        if os.remove "%s" then error "late" end
      end)
      it("good", function() end)
    ]]):format(mark)
    local result = run_spec(body, { AGAIN = "1" })
    assert_closing("2 passed, 0 failed", result)
    assert.equal(0, result.code)
    assert.matches("had failures; once more, alone", result.stdout, 1, true)
    result = run_spec([[it("always late", function() error "late" end)]], { AGAIN = "1" })
    assert_closing("0 passed, 1 failed", result)
    assert.not_equal(0, result.code)
  end)

  it("counts a test whose after_each fails as failed, once", function()
    local result = run_spec [[
      after_each(function() error("untidy") end)
      it("one", function() end)
      it("two", function() error("no") end)
    ]]
    assert_closing("0 passed, 2 failed", result)
  end)

  it("counts a failed setup", function()
    local result = run_spec [[
      describe("d", function()
        setup(function() error("no database") end)
        it("one", function() end)
      end)
      it("two", function() end)
    ]]
    assert_closing("1 passed, 1 failed", result)
    assert.not_equal(0, result.code)
  end)

  it("is printed for a run that ends too early, as a failure", function()
    local result = run_spec [[
      it("one", function() end)
      it("leaves", function() os.exit(0) end)
    ]]
    assert_closing("1 passed, 1 failed", result)
    assert.not_equal(0, result.code)
    assert.matches("leaves", result.stdout, 1, true)
  end)

  it("is printed for a run that crashes", function()
    local result = run_spec [[it("crashes", function() os.execute("kill -KILL $PPID") end)]]
    assert_closing("0 passed, 1 failed", result)
    assert.equal(137, result.code)
  end)
end)

describe("several files", function()
  it("are counted in one line, and one that crashes takes no other with it", function()
    local result = run_specs {
      good = [[it("one", function() end) it("two", function() end) pending("three")]],
      bad = [[it("one", function() end) it("fails", function() error("no") end)]],
      broken = "it('x' function",
      crashing = [[it("one", function() end) it("crashes", function() os.execute("kill -KILL $PPID") end)]],
    }
    assert_closing("4 passed, 3 failed, 1 skipped", result)
    assert.not_equal(0, result.code)
    for _, text in ipairs { "good_spec.lua  2 passed, 1 skipped", "bad_spec.lua  1 passed, 1 failed",
      'crashing_spec.lua crashes"' } do
      assert.matches(text, result.stdout, 1, true)
    end
  end)

  it("run at the same time, and what each prints stays together", function()
    local meet = [[
      local support = require "spec.support"
      NAMES
      it("meets the other", function()
        for i = 1, 100 do io.write(OWN, i, i < 100 and " " or "\n") io.flush() end
        support.write_file(DIRECTORY .. OWN, "")
        assert.is_truthy(support.wait_until(function() return io.open(DIRECTORY .. OTHER) end, 20))
      end)
    ]]
    local function body(own, other)
      return (meet:gsub("NAMES", ("local OWN, OTHER = %q, %q"):format(own, other))
        :gsub("DIRECTORY", "debug.getinfo(1, 'S').source:match('^@(.*/)')"))
    end
    local result = run_specs({ a = body("a", "b"), b = body("b", "a") }, { JOBS = "2" })
    assert_closing("2 passed, 0 failed", result)
    for _, name in ipairs { "a", "b" } do
      local line = {}
      for i = 1, 100 do
        line[i] = name .. i
      end
      assert.matches(table.concat(line, " ") .. "\n", result.stdout, 1, true)
    end
  end)

  it("are named by what they took, with their tests, where that is asked for", function()
    local computes = [[
      it("computes", function()
        local till = os.clock() + 0.15
        while os.clock() < till do end
      end)
    ]]
    local result = run_specs({ dear = computes, cheap = [[it("does nothing", function() end)]] },
      { MINIGUN_TIMES = "1" })
    assert_closing("2 passed, 0 failed", result)
    local tests, sum, files = result.stdout:match("\nThe tests that took most processor time:\n(.-)\n" ..
      "The files that took most processor time, of ([%d.]+) s:\n(.*)$")
    assert.matches("^ *[%d.]+ s +0%.[1-9]%d s of processor time +%S+dear_spec.lua: computes\n", tests)
    assert.matches("^ *0%.[1-9]%d s  %S+dear_spec.lua\n *[%d.]+ s  %S+cheap_spec.lua\n", files)
    assert.is_true(tonumber(sum) >= 0.2, sum)
  end)

  it("that are not there are a failure", function()
    local result = support.run(("bash spec/run spec/none_spec.lua -- lua5.4 %s --ignore-lua"):format(busted))
    assert_closing("0 passed, 2 failed", result)
    assert.not_equal(0, result.code)
  end)
end)

describe("signals", function()
  it("are at their defaults in a test: Ctrl-C ends what it starts", function()
    local result = run_spec [[
      it("is not ignored", function() assert.equal(130, select(3, os.execute("sh -c 'kill -INT $$'"))) end)
    ]]
    assert_closing("1 passed, 0 failed", result)
  end)

  it("end the run and all that its tests have started", function()
    local file = os.tmpname()
    local body = ([[
      it("hangs", function() os.execute("sleep 300 & echo $! >> %s; wait") end)
    ]]):format(file)
    -- As Ctrl-C at a terminal does it: to the group of all processes of a job.
    local result = run_specs({ a = body, b = body }, { JOBS = "2", FILE = file }, [[
      exec bash -c 'set -m
        "$@" & pid=$!
        until [ "$(wc -l < "$FILE")" = 2 ]; do sleep 0.05; done
        kill -INT -- "-$pid"
        wait $pid
        echo "status $?"
      ' - %s
    ]])
    assert.equal("status 130", result.stdout:match("status %d+"))
    assert.matches("interrupted", result.stderr, 1, true)
    for pid in support.read_file(file):gmatch("%d+") do
      assert.is_true(support.wait_until(function() return not support.alive(pid) end, 2))
    end
    os.remove(file)
  end)
end)

describe("a deadline", function()
  it("kills a run that hangs and names the test", function()
    local begin = support.now()
    local result = run_spec([[
      it("one", function() end)
      it("sleeps for ever", function()
        require("spec.support").deadline(0.1)
        os.execute("sleep 300")
      end)
    ]])
    assert_closing("1 passed, 1 failed", result)
    assert.matches("sleeps for ever", result.stdout, 1, true)
    assert.not_equal(0, result.code)
    assert.is_true(support.now() - begin < 15)
  end)

  it("kills what the hanging test has started", function()
    local file = os.tmpname()
    local result = run_spec(([[
      it("hangs", function() os.execute("sleep 300 & echo $! > %s; wait") end)
    ]]):format(file), { MINIGUN_TEST_DEADLINE = "1" })
    local pid = tonumber(support.read_file(file))
    os.remove(file)
    assert_closing("0 passed, 1 failed", result)
    assert.is_true(support.wait_until(function() return not support.alive(pid) end, 2))
  end)

  it("is moved by support.deadline", function()
    local result = run_spec([[
      local support = require "spec.support"
      it("slow", function()
        support.deadline(30)
        support.sleep(1.6)
      end)
    ]], { MINIGUN_TEST_DEADLINE = "1" })
    assert_closing("1 passed, 0 failed", result)
  end)
end)

describe("what a test leaves behind", function()
  local BRIEF <const> = { MINIGUN_TEST_GRACE = "0.1" }

  it("fails it: a child process, named by its pid", function()
    local result = run_spec([[
      local kept
      it("untidy", function() kept = io.popen("echo $$; exec sleep 60") end)
      teardown(function() os.execute("kill " .. kept:read("l")) end)
    ]], BRIEF)
    assert_closing("0 passed, 1 failed", result)
    assert.matches("left over: child process %d+ %(alive%)", result.stdout)
  end)

  it("fails it: a descriptor, named by what it is open on", function()
    local result = run_spec([[
      it("untidy", function() KEPT = io.open("LICENSE") end)
      it("tidy", function() end)
    ]], BRIEF)
    assert_closing("1 passed, 1 failed", result)
    assert.matches("left over: descriptor %d+ %([^)]*/LICENSE%)", result.stdout)
  end)

  it("fails it: a shared mapping", function()
    local result = run_spec([=[
      local core = require "minigun.core"
      it("untidy", function() KEPT = core.pool(1, 1 << 20, 65536) end)
      it("tidy", function() core.pool(1, 1 << 20, 65536):close() end)
    ]=], BRIEF)
    assert_closing("1 passed, 1 failed", result)
    assert.matches("left over: .*shared mapping %(%d+ more%)", result.stdout)
  end)

  it("does not fail it when the collector frees it", function()
    local result = run_spec [[
      it("lazy", function() io.open("LICENSE") end)
    ]]
    assert_closing("1 passed, 0 failed", result)
  end)

  it("does not fail it when the child ends within the time of grace", function()
    local result = run_spec [[
      it("slow to end", function() os.execute("sleep 0.3 &") end)
    ]]
    assert_closing("1 passed, 0 failed", result)
  end)

  it("is what the test left, not what was there before", function()
    local result = run_spec [[
      local file = io.open("LICENSE")
      it("uses what the file opened", function() assert(file:read(1)) end)
    ]]
    assert_closing("1 passed, 0 failed", result)
  end)

  it("is judged after the spec's own after_each", function()
    local result = run_spec [[
      local file
      after_each(function() file:close() end)
      it("cleans up later", function() file = io.open("LICENSE") end)
    ]]
    assert_closing("1 passed, 0 failed", result)
  end)
end)

describe("support", function()
  it("runs a command: output, error output, exit status, input, environment", function()
    local result = support.run('read line; echo "$line $NAME"; echo oops >&2; exit 7',
      { stdin = "hello\n", env = { NAME = "it's me" } })
    assert.same({ stdout = "hello it's me\n", stderr = "oops\n", code = 7, timed_out = false }, result)
  end)

  it("ends a command that takes too long", function()
    local result = support.run("sleep 60", { timeout = 0.2 })
    assert.is_true(result.timed_out)
  end)

  it("runs Lua with arguments and the tree's modules in reach", function()
    local result = support.run_lua("print(...); print(package.path); os.exit(3)", { args = { "a b", "'" } })
    assert.equal("", result.stderr)
    assert.equal(3, result.code)
    assert.matches("^a b\t'\n.-%./lua/%?%.lua;", result.stdout)
  end)

  it("sees children come and go", function()
    assert.same({}, support.children())
    local pipe = io.popen("sleep 60 & echo $!; wait")
    local grandchild = tonumber(pipe:read("l"))
    local children = support.children()
    assert.equal(1, #children)
    assert.same({ grandchild }, support.children(children[1]))
    assert.is_true(support.alive(grandchild))
    os.execute("kill " .. grandchild)
    pipe:close()
    assert.same({}, support.children())
    assert.is_false(support.alive(grandchild))
  end)

  it("counts descriptors", function()
    local count = support.descriptor_count()
    local file <close> = assert(io.open("LICENSE"))
    assert.equal(count + 1, support.descriptor_count())
    local found
    for _, target in pairs(support.descriptors()) do
      found = found or target:match("/LICENSE$")
    end
    assert.is_not_nil(found)
    assert.equal("file", io.type(file))
  end)

  it("waits until something is so, or the time is over", function()
    local calls = 0
    assert.equal("yes", support.wait_until(function()
      calls = calls + 1
      return calls == 3 and "yes"
    end, 5))
    local begin = support.now()
    assert.is_false(support.wait_until(function() return false end, 0.1))
    assert.is_true(support.now() - begin >= 0.1)
  end)
end)
