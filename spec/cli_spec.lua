-- The command: bin/minigun, from the tree, through a link, and installed.

local lfs = require "lfs"
local support = require "spec.support"

local directory

local function file(name, text)
  return support.write_file(directory .. "/" .. name, text)
end

-- Runs bin/minigun with these words.
local function minigun(...)
  local words = { support.command() }
  for _, word in ipairs { ... } do
    words[#words + 1] = support.quote(word)
  end
  return support.run(table.concat(words, " "))
end

-- Runs a file with this text.
local function run(text, ...)
  return minigun("run", file("program.lua", text), ...)
end

local function assert_one_line(pattern, text)
  assert.matches("^minigun: [^\n]*\n$", text)
  assert.matches(pattern, text, 1, true)
end

before_each(function()
  directory = os.tmpname()
  os.remove(directory)
  assert(lfs.mkdir(directory))
end)

after_each(function()
  support.remove_tree(directory)
end)

describe("minigun", function()
  it("shows its usage for help, --help and -h", function()
    for _, words in ipairs { { "help" }, { "--help" }, { "-h" }, { "run", "--help" }, { "run", "-h" } } do
      local result = minigun(table.unpack(words))
      assert.equal(0, result.code)
      assert.equal("", result.stderr)
      assert.matches("^Usage: minigun run ", result.stdout)
    end
  end)

  it("shows its version", function()
    local result = minigun("--version")
    assert.equal("", result.stderr)
    assert.matches("^minigun %S+\n$", result.stdout)
    assert.equal(0, result.code)
    assert.equal("minigun " .. require("minigun").version .. "\n", result.stdout)
  end)

  it("refuses a wrong call with one line and status 2", function()
    for _, case in ipairs {
      { {}, "a command is missing" },
      { { "frobnicate" }, "unknown command 'frobnicate'" },
      { { "--frobnicate" }, "unknown command '--frobnicate'" },
      { { "run" }, "run: the FILE is missing" },
      { { "run", "--" }, "run: the FILE is missing" },
      { { "rum", "x.lua" }, "unknown command 'rum' (did you mean 'run'?)" },
      { { "--verison" }, "(did you mean '--version'?)" },
      { { "--inline", "x.lua" }, "option '--inline' stands after run: minigun run --inline FILE" },
      { { "run", "--inlien", "x.lua" }, "unknown option '--inlien' (did you mean '--inline'?)" },
      { { "run", "--inline=yes", "x.lua" }, "option --inline takes no value" },
      { { "run", "--workers" }, "option --workers needs a value" },
      { { "run", "--workers=many", "x.lua" }, "option --workers needs a whole number above 0, got 'many'" },
      { { "run", "--workers", "0", "x.lua" }, "option --workers needs a whole number above 0, got '0'" },
      { { "run", "--workers", "1000000", "x.lua" }, "option 'workers' must be an integer from 1 to" },
    } do
      local result = minigun(table.unpack(case[1]))
      assert.equal(2, result.code)
      assert.equal("", result.stdout)
      assert_one_line(case[2], result.stderr)
      assert_one_line("minigun help", result.stderr)
    end
  end)

  it("refuses a file that cannot be read with one line and status 2", function()
    local result = minigun("run", directory .. "/none.lua")
    assert.equal(2, result.code)
    assert_one_line(directory .. "/none.lua: No such file or directory", result.stderr)
    result = minigun("run", directory)
    assert.equal(2, result.code)
    assert_one_line(directory .. ": Is a directory", result.stderr)
  end)

  it("refuses a file with a syntax error with its place and status 2", function()
    local result = run("local x = 1\nlocal y = = 2\n")
    assert.equal(2, result.code)
    assert.equal("", result.stdout)
    assert_one_line("program.lua:2: unexpected symbol near '='", result.stderr)
  end)
end)

describe("minigun run FILE", function()
  it("reads it once, from a pipe too: -, /dev/stdin, <(...)", function()
    local program = "\xEF\xBB\xBF#!/usr/bin/env minigun\nprint(...)\nerror('here', 1)\n"
    for words, name in pairs { ["run - a b"] = "stdin", ["run -- - a b"] = "stdin", ["- a b"] = "stdin",
      ["run /dev/stdin a b"] = "/dev/stdin", ["/dev/fd/0 a b"] = "/dev/fd/0" } do
      local result = support.run("cat | ./bin/minigun " .. words, { stdin = program })
      assert.equal("a\tb\n", result.stdout, words)
      assert.matches("minigun: " .. name .. ":3: here\n", result.stderr, 1, true)
      assert.equal(1, result.code)
    end
    local result = support.run("exec bash -c " .. support.quote "./bin/minigun run <(echo 'print(1, ...)') a b")
    assert.equal("1\ta\tb\n", result.stdout)
  end)

  it("refuses a program without a word in it, and says what cannot be read", function()
    for _, words in ipairs { "run -", "run /dev/stdin", "run " .. file("empty.lua", " \n") } do
      local result = support.run("./bin/minigun " .. words)
      assert.equal(2, result.code)
      assert_one_line("nothing to run: ", result.stderr)
    end
    local result = minigun(directory .. "/none.lua")
    assert.equal(2, result.code)
    assert_one_line("there is no file '" .. directory .. "/none.lua' to run; check the name", result.stderr)
  end)

  it("may leave run out, for #!/usr/bin/env minigun", function()
    local script = file("a script", "#!/usr/bin/env minigun\nprint(arg[0], ...)\n")
    assert.equal(0, support.run("chmod +x " .. support.quote(script)).code)
    local result = support.run(("PATH=$PWD/bin:$PATH; %s --help x"):format(support.quote(script)))
    assert.equal(script .. "\t--help\tx\n", result.stdout)
    assert.equal("", result.stderr)
  end)

  it("--inline, --workers and --seed hold for every run of the program, whatever it says", function()
    local path = file("program.lua", [==[
      local minigun = require "minigun"
      local pids, n = {}, 0
      local p = minigun.pipeline("p", { processes = 2 }):producer({ inline = true }, { 1, 2, 3, 4, 5, 6, 7, 8 })
      p:processor(function(_, emit, ctx) emit { ctx.pid, math.random(1 << 40) } end)
      p:each({ inline = true }, function(x) if not pids[x[1]] then pids[x[1]], n = true, n + 1 end end)
      p:run { workers = 2 }
      print(n, next(minigun.map({ 1 }, function() return 1 end)), next(p.last.stats.workers) and "workers" or "none",
        minigun.map({ 1 }, function() return math.random(1 << 40) end)[1])
    ]==])
    local inline = minigun("run", "--inline", path).stdout
    assert.matches("^1\t1\tnone\t%d+\n$", inline)
    assert.matches("^1\t1\tworkers\t%d+\n$", minigun("run", "--workers=1", path).stdout)
    local seeded = minigun("run", "--inline", "--seed", "7", path).stdout
    assert.equal(seeded:match "%d+\n$", minigun("run", "--seed=7", "--", path).stdout:match "%d+\n$")
    assert.not_equal(seeded, inline)
  end)

  it("ends with 1 where the last run has only collected its failures, unless the program returns true", function()
    local failing = "local p = require 'minigun'.pipeline 'p':producer { 1, 2 }\n" ..
      "p:map(function(n) assert(n ~= 2, 'bad') return n end)\n" ..
      "local r = p:run { failures = 'collect' }\nprint(#r.items)\n"
    local result = run(failing)
    assert.same({ 1, "1\n" }, { result.code, result.stdout })
    assert_one_line("FAILED 'p': 1 item, 1 failed", result.stderr)
    assert_one_line("return true", result.stderr)
    result = run(failing .. "return true")
    assert.same({ 0, "" }, { result.code, result.stderr })
    assert.equal(0, run(failing .. "p:replace('map 1', math.abs):run()").code)
    assert.equal(1, run "return false".code)
  end)

  it("says so where a program has defined a pipeline and run none", function()
    local result = run "require 'minigun'.pipeline 'p':producer { 1 }"
    assert.same({ 0, "" }, { result.code, result.stdout })
    assert_one_line("has defined a pipeline and run none; end it with p:run(), or return p", result.stderr)
  end)

  it("says that a job is done, where the program runs it by itself and prints nothing", function()
    file("job.lua", "require 'minigun'.pipeline('p'):producer({ 1 }):each(function() end):run()")
    local words = ("cd %s && %s/bin/minigun run job.lua --job nightly"):format(directory, lfs.currentdir())
    assert.equal("", support.run(words).stderr)
    local result = support.run(words)
    assert.same({ 0, "" }, { result.code, result.stdout })
    assert_one_line("an earlier run has come to its end, and there was nothing new; delete the file", result.stderr)
  end)

  it("gives the file its arguments as arg and as ...", function()
    local result = run("print(arg[0], #arg, arg[1], arg[2]) print(...)", "a b", "--help")
    assert.equal("", result.stderr)
    assert.equal(directory .. "/program.lua\t2\ta b\t--help\na b\t--help\n", result.stdout)
    assert.equal(0, result.code)
  end)

  it("accepts a first line for the shell", function()
    assert.equal("fine\n", run("#!/usr/bin/env lua5.4\nprint 'fine'\n").stdout)
  end)

  it("ends with 1, the message and the traceback of an error, down to the file", function()
    local result = run("local function deep()\n  error 'boom'\nend\ndeep()\n")
    assert.equal(1, result.code)
    assert.matches("^minigun: .-program%.lua:2: boom\nstack traceback:\n", result.stderr)
    assert.matches("program.lua:4:", result.stderr, 1, true)
    assert.is_nil(result.stderr:find("bin/minigun:", 1, true))
  end)

  it("does not add a traceback to a message that has one", function()
    local result = run("error('first\\nstack traceback:\\n\\tthere', 0)")
    assert.equal(1, result.code)
    assert.equal("minigun: first\nstack traceback:\n\tthere\n", result.stderr)
  end)

  it("shows the failures of a run, and no frame of the library", function()
    local result = run("local p = require 'minigun'.pipeline 'p'\np:producer { 1, print }\n" ..
      "p:map({ processes = 1 }, function(n) return n end)\np:run()\n")
    assert.equal(1, result.code)
    assert.matches("^minigun: [^\n]*program.lua:2: item is a function\nwhich cannot be sent to another process, " ..
      "in stage 'producer 1'", result.stderr)
    assert.is_nil(result.stderr:find("lua/minigun/", 1, true))
  end)

  it("shows an error that is a table: by its __tostring, or its type", function()
    assert.equal("minigun: mine\n", run("error(setmetatable({}, {__tostring = function() return 'mine' end}))").stderr)
    assert.matches("^minigun: the file raised a table value\nstack traceback:\n", run("error {}").stderr)
    assert.matches("^minigun: the file raised a nil value\n", run("error()").stderr)
  end)

  it("ignores a returned value that is no pipeline and no result", function()
    for _, text in ipairs {
      "return 3", "return 'run'", "return nil", "return { run = 1 }",
      "return setmetatable({}, { __index = function() error 'strict' end })",
    } do
      local result = run(text)
      assert.same({ 0, "", "" }, { result.code, result.stdout, result.stderr })
    end
  end)

  it("passes os.exit on", function()
    assert.equal(5, run("os.exit(5)").code)
  end)

  it("ends with 130 on SIGINT, after the open variables are closed", function()
    local result = support.run(
      ("timeout --foreground -s INT 0.5 ./bin/minigun run %s; echo $? >&2"):format(file("loop.lua", [[
      local note <close> = setmetatable({}, { __close = function() print "closed" end })
      while true do require "minigun.core".sleep(0.01) end
    ]])))
    assert.equal("closed\n", result.stdout)
    assert.equal("minigun: interrupted\n124\n", result.stderr)     -- timeout's own status
    result = support.run("./bin/minigun run " .. file("self.lua", [[
      local pid = io.open("/proc/self/stat"):read("n")
      io.popen("kill -INT " .. pid):close()
      while true do end
    ]]))
    assert.equal("minigun: interrupted\n", result.stderr)
    assert.equal(130, result.code)
  end)

  it("ends with 143 on SIGTERM", function()
    local result = support.run("./bin/minigun run " .. file("self.lua", [[
      io.popen("kill -TERM " .. io.open("/proc/self/stat"):read("n")):close()
      while true do end
    ]]))
    assert.equal(143, result.code)
  end)

  it("finds the tree through a symbolic link and from another directory", function()
    local here = lfs.currentdir()
    local path = file("where.lua", "print(package.searchpath('minigun', package.path))")
    assert.equal(0, support.run(("ln -s %s/bin/minigun %s/mg"):format(support.quote(here), directory)).code)
    local result = support.run(("cd / && %s/mg run %s"):format(directory, path))
    assert.equal("", result.stderr)
    assert.equal(here .. "/bin/../lua/minigun/init.lua\n", result.stdout)
    result = support.run(("cd bin && PATH=.:$PATH minigun run %s"):format(path))
    assert.equal("./../lua/minigun/init.lua\n", result.stdout)
  end)
end)

describe("minigun run on a file that returns a pipeline", function()
  local HEAD = "local minigun = require 'minigun'\nlocal p = minigun.pipeline 'numbers'\n" ..
    "p:producer('source', { 1, 2, 3 })\n"

  it("runs it and prints the result", function()
    local result = run(HEAD .. "p:map('double', function(n) return 2 * n end)\nreturn p\n")
    assert.equal("", result.stderr)
    assert.equal(0, result.code)
    assert.matches("^[^\n]*numbers[^\n]*\n$", result.stdout)
  end)

  it("runs it in worker processes", function()
    local result = run(HEAD .. [[
      p:map('double', { processes = 2 }, function(n) return 2 * n end)
      p:each('show', { inline = true }, function(n) io.write(n, " ") end)
      return p
    ]])
    assert.equal("", result.stderr)
    assert.equal(0, result.code)
    local seen = {}
    for number in result.stdout:match("^[%d ]*"):gmatch("%d+") do
      seen[#seen + 1] = tonumber(number)
    end
    table.sort(seen)
    assert.same({ 2, 4, 6 }, seen)
  end)

  it("does not run it again when the file has run it", function()
    local result = run(HEAD .. "p:each('show', print)\np:run()\nreturn p\n")
    assert.equal("1\n2\n3\n", result.stdout)
    assert.equal(0, result.code)
  end)

  it("ends with 1 and the user's line when an item fails", function()
    local result = run(HEAD .. "p:each('check', function(n)\n  if n == 2 then error 'bad item' end\nend)\nreturn p\n")
    assert.equal(1, result.code)
    assert.matches("program.lua:5: bad item", result.stderr, 1, true)
    assert.matches("stack traceback:", result.stderr, 1, true)
  end)

  it("tells a mistake in a definition in one line", function()
    for line, says in pairs {
      ["p:each('show', { proceses = 2 }, print)"] = "unknown option 'proceses' %(did you mean 'processes'%?%)",
      ["p:procesor('show', print)"] = "no method 'procesor' %(did you mean 'processor'%?%)",
    } do
      local result = run(HEAD .. line .. "\nreturn p\n")
      assert.matches("^minigun: [^\n]*program.lua:4: [^\n]*" .. says .. "\n$", result.stderr)
      assert.equal(1, result.code)
    end
  end)

  it("ends with 1 when the collected failures are returned", function()
    local result = run(HEAD .. "p:each('check', function(n) assert(n ~= 2, 'bad item') end)\n" ..
      "return p:run { failures = 'collect' }\n")
    assert.equal("", result.stderr)
    assert.equal(1, result.code)
  end)

  it("ends with 130 on a second SIGINT and leaves no worker", function()
    local result = support.run("exec ./bin/minigun run " .. file("long.lua", HEAD .. [[
      p:processes(2, function()
        p:each('sleep', function(n)
          if n == 1 then
            io.popen(("kill -INT %d; sleep 0.3; kill -INT %d"):format(arg[1], arg[1])):close()
          end
          local stop = os.time() + 20
          while os.time() < stop do end
        end)
      end)
      return p
    ]]) .. " $$", { timeout = 15 })
    assert.matches("^minigun: Ctrl%-C: [^\n]*\nminigun: interrupted\n", result.stderr)
    assert.equal(130, result.code)
    for entry in lfs.dir("/proc") do
      local command = entry:match("^%d+$") and support.read_file("/proc/" .. entry .. "/cmdline")
      assert.is_nil((command or ""):find(directory, 1, true), "process " .. entry .. " is left")
    end
  end)
end)

describe("a library that cannot be loaded as it is", function()
  -- What lua5.4 says to a program in which `require "minigun"` stands after this text.
  local function loads(text, path)
    local program = file("loads.lua", text .. "\nrequire 'minigun'")
    return support.run("lua5.4 " .. program, { env = {
      LUA_PATH = "./lua/?.lua;./lua/?/init.lua;;", LUA_CPATH = path or "./" .. support.build_dir() .. "/?.so;;" } })
  end

  for name, case in pairs {
    ["another Lua"] = { "_VERSION = 'Lua 5.1'",
      "for Lua 5.4 and 5.5, and this is Lua 5.1: run the program with lua5.4" },
    ["a core that was not built"] = { "", "run 'make' in its source tree", "/nowhere/?.so" },
    ["an older core"] = { "require 'minigun.core'.on_raise = nil", "has no 'on_raise': it was built from older" },
  } do
    it("says so, and what to do: " .. name, function()
      local result = loads(case[1], case[3])
      assert.equal(1, result.code)
      assert.equal("", result.stdout)
      assert.matches(case[2], result.stderr:match "[^\n]*", 1, true)
    end)
  end

  it("loads what a program uses at its first use, also where the program has changed its directory", function()
    local here = support.run("pwd").stdout:match "[^\n]+"
    for _, root in ipairs { here, "." } do
      local result = support.run_lua([[
        require "minigun"
        local n = 0
        for name in pairs(package.loaded) do n = n + (name:find "^minigun" and 1 or 0) end
        require("lfs").chdir "/"
        print(n <= 8, #require "minigun".map({ 1, 2, 3 }, function(x) return x end, { processes = 1 }),
          require "minigun".command({ "true" }).ok, (require "minigun".lines "/dev/null")())]], { env = {
          LUA_PATH = ("%s/lua/?.lua;%s/lua/?/init.lua;;"):format(root, root),
          LUA_CPATH = ("%s/%s/?.so;;"):format(root, support.build_dir()) } })
      assert.equal("true\t3\ttrue\tnil\n", result.stdout, result.stderr)
    end
  end)

  it("is told by the command, too, that it runs under another Lua", function()
    local program = file("other.lua", "_VERSION = 'Lua 5.1' arg = { [0] = 'bin/minigun', 'help' } dofile 'bin/minigun'")
    local result = support.run("lua5.4 " .. program)
    assert.equal(2, result.code)
    assert_one_line("this is Lua 5.1: run it with lua5.4", result.stderr)
  end)
end)

describe("make install", function()
  it("installs what runs without the tree, and uninstall removes it", function()
    local root = directory .. "/root"
    -- -o: what is tested now must not be built anew, with flags that are not those of this run.
    local build = support.build_dir()
    local made = support.run(("make -s -o %s/minigun/core.so install DESTDIR=%s PREFIX=/opt/mg BUILD=%s"):format(
      build, root, build),
      { env = { LD_PRELOAD = "", MAKEFLAGS = "" } })
    assert.equal(0, made.code, made.stderr)
    local prefix = root .. "/opt/mg"
    local path = file("where.lua", "print(package.searchpath('minigun', package.path), require 'minigun'.version)")
    local result = support.run(("cd / && %s/bin/minigun run %s"):format(prefix, path), { env = {
      LUA_PATH = prefix .. "/share/lua/5.4/?.lua;" .. prefix .. "/share/lua/5.4/?/init.lua",
      LUA_CPATH = prefix .. "/lib/lua/5.4/?.so",
    } })
    assert.equal("", result.stderr)
    assert.matches("^" .. prefix:gsub("%p", "%%%0") .. "/share/lua/5%.4/minigun/init%.lua\t%S+\n$", result.stdout)
    assert.matches("MINIGUN 1", support.read_file(prefix .. "/share/man/man1/minigun.1"), 1, true)
    support.run(("make -s uninstall DESTDIR=%s PREFIX=/opt/mg"):format(root), { env = { MAKEFLAGS = "" } })
    assert.equal("", support.run("find " .. root .. " -type f").stdout)
  end)

  local function make(words)
    local build = support.build_dir()
    return support.run(("make -s -o %s/minigun/core.so %s BUILD=%s"):format(build, words, build),
      { env = { LD_PRELOAD = "", MAKEFLAGS = "", LUA_PATH = ";;", LUA_CPATH = ";;" } })
  end

  it("gives a command that finds its modules and its Lua, whatever the paths, and says what lua needs", function()
    if support.under then return pending "a sanitizer's library is not to be had in a bare environment" end
    local prefix = directory .. "/my place & more|less"
    local lua = directory .. "/other lua"
    assert.equal(0, support.run(("ln -s \"$(command -v lua5.4)\" %s"):format(support.quote(lua))).code)
    local path = file("where.lua", "print(package.searchpath('minigun', package.path), " ..
      "#require 'minigun'.map({ 1, 2 }, math.abs, { processes = 2 }), arg[-1])")
    for _, with in ipairs { "", " LUA=" .. support.quote(lua) } do
      local made = make("install PREFIX=" .. support.quote(prefix) .. with)
      assert.equal(0, made.code, made.stderr)
      local exports = {}
      for line in made.stdout:gmatch "%s(export [^\n]*)\n" do exports[#exports + 1] = line end
      assert.equal(3, #exports)
      local found = support.run(("%s && command -v minigun"):format(table.concat(exports, " && ")))
      assert.equal(prefix .. "/bin/minigun\n", found.stdout)
      local expected = prefix .. "/share/lua/5.4/minigun/init.lua\t2\t"
      local command = prefix .. "/bin/minigun"
      for _, words in ipairs { support.quote(command), ("env -i %s"):format(support.quote(command)) } do
        local result = support.run(("cd / && %s run %s"):format(words, path))
        assert.equal("", result.stderr)
        assert.equal(expected .. command .. "\n", result.stdout)
      end
      local result = support.run(("cd / && %s && lua5.4 -e %s"):format(table.concat(exports, " && "),
        support.quote "print(package.searchpath('minigun', package.path)) require 'minigun'"))
      assert.equal(prefix .. "/share/lua/5.4/minigun/init.lua\n", result.stdout, result.stderr)
      make("uninstall PREFIX=" .. support.quote(prefix))
      assert.equal("", support.run(("find %s -type f"):format(support.quote(prefix))).stdout)
    end
  end)

  it("says nothing more where lua looks there by itself, and refuses a place that is not absolute", function()
    assert.equal("", make("install DESTDIR=" .. support.quote(directory) .. " PREFIX=/usr/local").stdout)
    local result = support.run(("ln -s \"$PWD\"/* %s; cd %s && " ..
      "make -s -o build/minigun/core.so install " ..
      "PREFIX=here"):format(directory, directory), { env = { MAKEFLAGS = "" } })
    assert.matches("PREFIX must be an absolute path", result.stderr)
    assert.is_true(result.code ~= 0)
  end)
end)
