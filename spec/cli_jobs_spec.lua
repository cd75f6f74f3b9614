-- The verbs of the command that do jobs: map, each.

local support = require "spec.support"
local template = require "minigun.command.template"

local directory
local directory_of = support.directory_for_each(before_each, after_each)
before_each(function() directory = directory_of() end)

local function minigun(words, options) return support.run(support.command() .. " " .. words, options) end

-- The lines of a text, sorted.
local function sorted(text)
  local lines = {}
  for line in text:gmatch "[^\n]+" do lines[#lines + 1] = line end
  table.sort(lines)
  return lines
end

describe("minigun map", function()
  it("prints what an expression gives for each line, in order, over workers", function()
    local lines = {}
    for i = 1, 5000 do lines[i] = tostring(i) end
    local result = minigun("map -j 3 'line * 2'", { stdin = table.concat(lines, "\n") .. "\n" })
    for i = 1, 5000 do lines[i] = tostring(i * 2) end
    assert.equal(table.concat(lines, "\n") .. "\n", result.stdout)
    assert.equal("", result.stderr)
    assert.equal(0, result.code)
  end)

  it("leaves out nil and false, takes statements, and prints with -n only what is emitted", function()
    local stdin = "a\nerror b\n\nc"
    assert.equal("ERROR B\n", minigun("map 'line:find \"error\" and line:upper()'", { stdin = stdin }).stdout)
    local twice = "map 'if #line == 1 then emit(line) emit(line) end'"
    assert.equal("a\na\nc\nc\n", minigun(twice, { stdin = stdin }).stdout)
    assert.equal("1\n", minigun("map -n 'line == \"a\" and emit(1)'", { stdin = stdin }).stdout)
    assert.equal("1\n7\n0\n1\n", minigun("map '#line'", { stdin = stdin }).stdout)
  end)

  it("runs --begin in each worker", function()
    assert.equal("ax\nbx\n", minigun("map --begin 'tail = \"x\"' 'line .. tail'", { stdin = "a\nb\n" }).stdout)
  end)

  it("reads and prints JSON", function()
    if not pcall(require, "cjson") then return pending "cjson is not installed" end
    local result = minigun("map --json 'value.n and { n = value.n + 1 }'",
      { stdin = '{"n":1}\n{"m":1}\n[]\n{"n":2}\n' })
    assert.equal('{"n":2}\n{"n":3}\n', result.stdout)
  end)

  it("names the lines that fail, of whatever kind, and gives the others", function()
    local stdin = "1\nraise\n2\ndie\n3\ntable\n4\nslow\n5\n"
    local result = minigun([[map -j 2 --timeout 1 'if line == "raise" then error "no" elseif line == "die" then ]] ..
      [[os.exit(9) elseif line == "table" then emit {} elseif line == "slow" then require("minigun").sleep(60) end ]] ..
      [[emit(line)']],
      { stdin = stdin })
    assert.equal("1\n2\n3\n4\n5\n", result.stdout)
    assert.equal(1, result.code)
    for _, line in ipairs { "raise", "die", "table", "slow" } do
      assert.matches("minigun: map: " .. line .. ": [^\n]+\n", result.stderr)
    end
    assert.equal(4, #sorted(result.stderr))
  end)

  it("prints at once what a slow input gives", function()
    local result = support.run((("mkfifo %s/more; (echo a; cat %s/more) | ./bin/minigun map 'line:upper()' | " ..
      "(read -r first; echo \"first $first\"; echo b > %s/more; cat)"):gsub("%%s", directory)))
    assert.equal("first A\nB\n", result.stdout)
  end)

  it("refuses a wrong expression, --begin and words, in one line", function()
    for words, what in pairs { ["'x x'"] = "syntax error", ["'line * 2 ..'"] = "near <eof>",
      ["'if line then'"] = "near <eof>", ["--begin 'x x' line"] = "syntax error",
      [""] = "the EXPRESSION is missing", ["a b"] = "too many arguments",
      ["--jobs x line"] = "needs a whole number above 0",
      ["--jobs 0 line"] = "option --jobs needs a whole number above 0, got '0'", ["' '"] = "the EXPRESSION is missing",
      ["--retries=-1 line"] = "option --retries needs a whole number of at least 0, got '-1'",
      ["--timeout=0 line"] = "option --timeout needs a number of seconds above 0, got '0'",
      ["--timeout=nan line"] = "got 'nan'" } do
      local result = minigun("map " .. words)
      assert.equal(2, result.code, words)
      assert.matches(what, result.stderr, 1, true)
      assert.equal("", result.stdout)
    end
  end)

  it("says so where no line gives anything, as with a misspelt name", function()
    local result = minigun("map lien", { stdin = "a\nb\n" })
    assert.equal("minigun: map: nothing to print: EXPRESSION gives nil or false for each of the 2 lines " ..
      "(by 'lien', did you mean 'line'?)\n", result.stderr)
    assert.equal(0, result.code)
    result = minigun("map 'line:find \"x\" and line'", { stdin = "a\nb\n" })
    assert.matches("each of the 2 lines\n", result.stderr, 1, true)
    for words, stdin in pairs { ["map -n lien"] = "a\n", ["map lien"] = "", ["map 'line == \"a\"'"] = "a\nb\n" } do
      assert.equal("", minigun(words, { stdin = stdin }).stderr, words)
    end
  end)

  it("ends quietly when its reader has gone", function()
    local result = support.run "seq 300000 | ./bin/minigun map line | head -n 1"
    assert.equal("1\n", result.stdout)
  end)
end)

describe("a file that takes no more", function()
  it("ends a command with 1 and the reason, where it is the standard output", function()
    for _, words in ipairs { "help", "help run", "version", "completion fish", "check examples/001_hello.lua",
      "graph examples/001_hello.lua", "run examples/001_hello.lua", "map line", "each echo" } do
      local result = minigun(words .. " > /dev/full", { stdin = "a\nb\n" })
      assert.matches("^minigun: cannot write [^\n]*the standard output: [^\n]+\n$", result.stderr, 1, words)
      assert.equal(1, result.code, words)
    end
    assert.equal(0, minigun("map -n line > /dev/full", { stdin = "a\n" }).code) -- nothing was to be written
  end)

  it("ends map and each at once, with what they have begun", function()
    local start = support.now()
    assert.equal(1, support.run("seq 1000000 | ./bin/minigun map line > /dev/full").code)
    assert.equal(1, support.run("seq 2000 | ./bin/minigun each 'echo; sleep 1' > /dev/full").code)
    assert.is_true(support.now() - start < 25 * support.patience)
  end)

  it("lets each begin no further command, where it is the job log", function()
    local result = minigun("each -j 1 --joblog /dev/full 'echo {} >> " .. directory .. "/ran' ::: a b c d e f")
    assert.equal(1, result.code)
    assert.equal("minigun: each: halted: cannot write the job log: No space left on device\n", result.stderr)
    assert.equal("a\n", support.read_file(directory .. "/ran"))
  end)
end)

describe("the standard input of map and each", function()
  it("that cannot be read is named, with status 1", function()
    for _, words in ipairs { "map line", "each echo" } do
      for from, why in pairs { ["< ."] = "Is a directory", ["<&-"] = "Bad file descriptor" } do
        local result = minigun(("%s %s"):format(words, from))
        assert.equal(("minigun: %s: the standard input: cannot read: %s\n"):format(words:match "%l+", why),
          result.stderr)
        assert.equal(1, result.code)
      end
    end
  end)
end)

describe("the marks of minigun each", function()
  it("stand for the line and its parts, quoted for the shell", function()
    for _, case in ipairs {
      { "cat {}", "a.txt", "cat a.txt" }, { "cat", "a.txt", "cat a.txt" }, { "x {.}", "d.d/a.b.txt", "x d.d/a.b" },
      { "x {/}", "d/a.txt", "x a.txt" }, { "x {//}", "d/e/a.txt", "x d/e" }, { "x {//}", "a.txt", "x ." },
      { "x {//}", "/a", "x /" }, { "x {/.}", "d/a.txt", "x a" }, { "x {#} {}", "a", "x 7 a" },
      { "x {.}", ".rc", "x .rc" },
      { "x {}", "it's $(rm) a;b", [[x 'it'\''s $(rm) a;b']] }, { "x {}", "", "x ''" },
      { "x {}-{}", "a b", "x 'a b'-'a b'" },
      { "x {?}", "a", "x {?} a" }, { "awk '{print}' {}", "%1", "awk '{print}' %1" },
    } do
      assert.equal(case[3], template.fill(case[1], case[2], 7))
    end
  end)

  it("are executed without a shell where that would only split them", function()
    assert.same({ "cp", "-a", "x=1", "/tmp/a_b" }, template.words "cp -a  x=1 /tmp/a_b")
    for _, text in ipairs { "a | b", "A=1 b", "cd x", "exit 1", "a 'b'", "a $b", "a*", "~/a", "a\nb", "" } do
      assert.equal(text, template.words(text))
    end
  end)
end)

describe("minigun each", function()
  it("runs a command for each line, and prints what each has written whole", function()
    local result = minigun("each -j 4 'echo {}-1; sleep 0.0{}; echo {}-2; echo {}-e >&2'", { stdin = "3\n1\n2\n" })
    assert.same({ "1-1", "1-2", "2-1", "2-2", "3-1", "3-2" }, sorted(result.stdout))
    assert.same({ "1-e", "2-e", "3-e" }, sorted(result.stderr))
    for i = 1, 3 do assert.matches(("%d-1\n%d-2\n"):format(i, i), result.stdout, 1, true) end
    assert.equal(0, result.code)
  end)

  it("keeps the order with -k, and takes lines after :::, and with -0 those between zero bytes", function()
    assert.equal("0.2\n0\n0.1\n", minigun("each -k -j 3 'sleep {}; echo {}' ::: 0.2 0 0.1").stdout)
    assert.equal("[a b]\n", minigun("each 'printf \"[%s]\\n\"' ::: 'a b'").stdout)
  end)

  it("names commands that fail, end by a signal, are late or are not there; status 1", function()
    local result = minigun([[each --timeout 1 'case {} in a) exit 3;; b) kill -9 $$;; c) sleep 20;; d) ]] ..
      [[exec nonex1st;; *) echo fine;; esac' ::: a b c d e]])
    assert.equal("fine\n", result.stdout)
    assert.equal(1, result.code)
    for _, what in ipairs { "exit status 3", "ended by signal 9", "ended by its time-out", "exit status 127" } do
      assert.matches(what, result.stderr, 1, true)
    end
    assert.matches("exit status 127", minigun("each nonex1st ::: a").stderr, 1, true)
  end)

  it("tries again with --retries, and prints what the last attempt has written", function()
    local path = directory .. "/count"
    local command = ("echo {}; echo x >> %s; test $(wc -l < %s) -ge 3"):format(path, path)
    local result = minigun("each --retries 2 " .. support.quote(command) .. " ::: a")
    assert.equal("a\n", result.stdout)
    assert.equal(0, result.code, result.stderr)
    os.remove(path)
    assert.equal(1, minigun("each --retries 1 " .. support.quote(command) .. " ::: a").code)
  end)

  it("keeps a log, and goes on with it: what has ended with 0 is not run again", function()
    local log = directory .. "/log"
    local words = ("each --joblog %s 'echo {} >> %s/ran; test {} != b' ::: a b c"):format(log, directory)
    assert.equal(1, minigun(words).code)
    local rows = sorted(support.read_file(log))
    assert.equal(4, #rows)
    assert.matches("^1\t:\t%d+%.%d+\t%d+%.%d+\t0\t0\t0\t0\techo a >> ", rows[1])
    assert.matches("^2\t:\t%d+%.%d+\t%d+%.%d+\t0\t0\t1\t0\techo b >> ", rows[2])
    assert.matches("^Seq\tHost\tStarttime\t", rows[4])
    minigun((words:gsub("each", "each --resume", 1)))
    assert.same({ "a", "b", "b", "c" }, sorted(support.read_file(directory .. "/ran")))
    assert.equal(5, #sorted(support.read_file(log)))
    support.write_file(directory .. "/tabs", "a\tb\n")
    words = ("each --joblog %s 'echo {} >> %s/tabbed' < %s/tabs"):format(log, directory, directory)
    assert.equal(0, minigun(words).code)
    assert.equal(0, minigun((words:gsub("each", "each --resume", 1))).code)
    assert.equal("a\tb\n", support.read_file(directory .. "/tabbed")) -- though the log has a blank there
    assert.equal(2, minigun("each --resume true ::: a").code)
    for _, path in ipairs { "/nonexistent/x", directory } do
      local stderr = minigun(("each --resume --joblog %s true ::: a"):format(path)).stderr
      assert.matches("^minigun: each: cannot open the job log: [^\n]+\n$", stderr)
    end
  end)

  it("goes on with a log of which a full disk has cut the last line: that is no job's", function()
    local log = directory .. "/cut"
    local row = "1\t:\t1.000\t0.010\t0\t2\t0\t0\techo "
    for cut = #row - 7, #row + 1 do -- before the exit status, up to the command's begin
      support.write_file(log, "Seq\n" .. (row .. "12"):sub(1, cut))
      local words = ("each -k --resume --joblog %s 'echo {}' ::: 1 12"):format(log)
      assert.equal("1\n12\n", minigun(words).stdout)
      assert.equal("", minigun(words).stdout)
    end
  end)

  it("halts: soon begins no more, now ends what runs", function()
    local words = "-j 1 'echo {}; test {} != 2' ::: 1 2 3 4 5 6"
    local result = minigun("each --halt soon,fail=1 " .. words)
    assert.same({ "1", "2" }, sorted(result.stdout))
    assert.equal(1, result.code)
    assert.same({ "1", "2" }, sorted(minigun("each --halt now,fail=1 " .. words).stdout))
    assert.equal(6, #sorted(minigun("each --halt never " .. words).stdout))
    local start = support.now()
    minigun "each -j 2 --halt now,fail=1 'test {} != 0 && sleep 25' ::: 9 0"
    assert.is_true(support.now() - start < 20)
    for _, text in ipairs { "sometimes", "soon,fail=0", "now", "soon,fail=x%" } do
      assert.equal(2, minigun("each --halt " .. text .. " true ::: 1").code)
    end
  end)

  it("prints commands with --dry-run", function()
    assert.equal("convert a.png a.jpg\n", minigun("each --dry-run 'convert {} {.}.jpg' ::: a.png").stdout)
  end)
end)
