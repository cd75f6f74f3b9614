-- The verbs of the command: check, graph, completion, manual, repl, bench; and the command without lua-argparse.

local lfs = require "lfs"
local support = require "spec.support"
local verbs = require "minigun.command.verbs"

local directory
local directory_of = support.directory_for_each(before_each, after_each)
before_each(function() directory = directory_of() end)

local function file(text) return support.write_file(directory .. "/program.lua", text) end

local function minigun(words) return support.run(support.command() .. " " .. words) end

local HEAD <const> = "local minigun = require 'minigun'\n"

describe("minigun check", function()
  it("opens no executor: where one would be, the program ends, as at a run", function()
    local path = file(HEAD .. [[
      local p = minigun.pipeline "p"
      p:map("double", { processes = 2 }, function(x) print "worked" return x end)
      local executor = p:open { backlog = 10 }
      executor:call(1)
      error "went on"
    ]])
    local result = minigun("check " .. path)
    assert.equal(0, result.code, result.stdout .. result.stderr)
    assert.is_nil((result.stdout .. result.stderr):find "worked")
    assert.matches("double", minigun("graph " .. path).stdout, 1, true)
    result = minigun("check " .. file(HEAD .. "minigun.executor(print, { processes = 2 }):call 'worked'"))
    assert.equal(0, result.code, result.stderr)
    result = minigun("check " .. file(HEAD .. "minigun.pipeline 'p':map('m', print):open { backlog = 'much' }"))
    assert.equal(3, result.code, result.stderr)
    assert.matches("backlog", result.stdout, 1, true)
  end)

  it("says what there is: all pipelines that are not nested, in the order in which they are made", function()
    local path = file(HEAD .. [[
      local a, b = minigun.pipeline "a", minigun.pipeline "b"
      b:producer { 1 }:pipeline("inner", function(p) p:map("m", print) end)
      a:producer { 1 }
    ]])
    local result = minigun("check " .. path)
    assert.equal(path .. ": no mistakes: pipeline 'a' (1 stage), pipeline 'b' (2 stages)\n", result.stdout)
    path = file(HEAD)
    assert.equal(path .. ": no mistakes: it defines no pipeline\n", minigun("check " .. path).stdout)
  end)

  it("names each mistake with its file and line, in one go", function()
    local path = file(HEAD .. [[
      local p = minigun.pipeline "p"
      p:producer("numbers", { 1, 2 })
      p:map("double", { procesess = 2, retries = -1, retires = 1 }, function(x) return x end)
      p:map("half", { to = "nowhere" }, function(x) return x end)
      p:mpa(function() end)
      p:processes(0, function() end)
      p:each("double", print)
      p:run { woorkers = 2 }
    ]])
    local result = minigun("check " .. path)
    assert.equal(3, result.code)
    local lines = {}
    for line, text in result.stdout:gmatch "program%.lua:(%d+): ([^\n]+)" do
      lines[tonumber(line)] = (lines[tonumber(line)] or "") .. text
    end
    for line, what in pairs { [6] = "did you mean 'map'?",
      [7] = "number of workers", [8] = "the name is taken", [5] = "unknown stage 'nowhere'" } do
      assert.is_truthy((lines[line] or ""):find(what, 1, true), line .. ": " .. result.stdout)
    end
    for _, what in ipairs { "did you mean 'processes'?", "option 'retries' must be", "did you mean 'retries'?" } do
      assert.matches(what, lines[4], 1, true)
    end
    assert.matches("minigun: .*program.lua: 8 mistakes\n", result.stderr)
  end)

  it("does not blame the stages that name a stage with a mistake", function()
    local path = file(HEAD .. [[
      local p = minigun.pipeline "p"
      p:producer("numbers", { inlin = true }, { 1, 2 })
      p:each("show", { from = "numbers" }, print)
      return p
    ]])
    local result = minigun("check " .. path)
    assert.equal(3, result.code)
    assert.equal(1, select(2, result.stdout:gsub("\n", "\n")))
    assert.matches("program.lua:3: ", result.stdout, 1, true)
  end)

  it("runs nothing and forks nothing; what the program prints is not among the mistakes", function()
    local path = file(HEAD .. ([[
      print "hello"
      local p = minigun.pipeline "p"
      p:producer { 1 }
      p:each({ processes = 1 }, function() io.open(%q, "w"):close() end)
      p:before_fork(function() io.open(%q, "w"):close() end)
      p:run()
      io.open(%q, "w"):close()
    ]]):format(directory .. "/handler", directory .. "/fork", directory .. "/after"))
    local result = minigun("check " .. path)
    assert.equal(path .. ": no mistakes: pipeline 'p' (2 stages)\n", result.stdout)
    assert.equal("hello\n", result.stderr)
    assert.equal(0, result.code)
    for _, name in ipairs { "handler", "fork", "after" } do assert.is_nil(lfs.attributes(directory .. "/" .. name)) end
  end)

  it("looks at iterate, start, one-liners, nested pipelines and servers", function()
    for text, what in pairs {
      ["for _ in minigun.pipeline('p'):producer({1}):map({ to = 'x' }, print):iterate() do end"] = "unknown stage 'x'",
      ["minigun.pipeline('p'):producer({1}):map({ to = 'x' }, print):start()"] = "unknown stage 'x'",
      ["minigun.map({ 1 }, print, { procesess = 2 })"] = "did you mean 'processes'?",
      ["minigun.pipeline('p'):producer({1}):pipeline('in', function(q) q:mpa(print) end):run()"] =
        "did you mean 'map'?",
      ["return minigun.pipeline { source = { 1 }, { 'x', mpa = print } }"] = "row 1 of the pipeline ('x')",
      ["return { listen = 0, worker = print, wrokers = 2 }"] = "did you mean 'workers'?",
      ["minigun.supervisor({ listen = 0, worker = print, wrokers = 2 }):run()"] = "did you mean 'workers'?",
      ["local x = nil + 1"] = "program.lua:2: attempt to perform arithmetic",
    } do
      local result = minigun("check " .. file(HEAD .. text))
      assert.equal(3, result.code, text)
      assert.matches(what, result.stdout, 1, true)
      assert.is_nil(result.stdout:find("bin/minigun", 1, true))
    end
  end)

  it("opens no service", function()
    local path = directory .. "/socket"
    for _, use in ipairs { "minigun.pipeline('p'):producer('requests', s):each(print):run()", "s:serve(print)" } do
      local result = minigun("check " .. file(HEAD .. ("local s = minigun.service(%q)\n"):format(path) .. use))
      assert.equal(0, result.code, result.stdout .. result.stderr)
      assert.is_nil(lfs.attributes(path))
    end
  end)

  it("finds none in the examples", function()
    for _, path in ipairs { "examples/103_diamond.lua", "examples/309_nested_contexts.lua",
      "examples/servers/server_blocking.lua" } do
      local result = minigun("check " .. path)
      assert.equal(0, result.code, path .. result.stdout)
      assert.matches(path .. ": no mistakes: ", result.stdout, 1, true)
    end
  end)
end)

describe("minigun graph", function()
  local PROGRAM <const> = HEAD .. [[
    local p = minigun.pipeline 'a "quoted" name'
    p:producer("numbers", { 1 })
    p:processes(2, function() p:map("first", math.abs) p:map("second", math.abs) end)
    p:pipeline("inner", function(q) q:map("third", math.abs) end)
    p:batch("all", 10)
    p:each("show", print)
    print "noise"
    return p
  ]]

  it("gives JSON that holds stages, contexts and edges", function()
    local result = minigun("graph --format json " .. file(PROGRAM))
    local drawn = require("dkjson").decode(result.stdout)
    assert.equal('a "quoted" name', drawn.name)
    local names = {}
    for i, stage in ipairs(drawn.stages) do names[i] = stage.name .. "/" .. stage.kind .. "/" .. stage.context end
    assert.same({ "numbers/producer/inline", "first/map/processes(2)", "second/map/processes(2)",
      "inner.third/map/inline", "all/batch of 10/inline", "show/each/inline" }, names)
    assert.same({ "inner" }, drawn.stages[4].inside)
    assert.equal(5, #drawn.edges)
    assert.same({ from = "numbers", to = "first" }, drawn.edges[1])
  end)

  it("gives Graphviz what it accepts, with contexts and nested pipelines as frames", function()
    local result = minigun("graph --format=dot " .. file(PROGRAM))
    assert.equal([[
digraph "a \"quoted\" name" {
  rankdir=TB;
  node [shape=box, style=rounded, fontname="sans-serif"];
  s1 [label="numbers\nproducer"];
  subgraph cluster_1 {
    label="processes(2)"; style=dashed;
    s2 [label="first\nmap"];
    s3 [label="second\nmap"];
  }
  subgraph cluster_2 {
    label="inner"; style=solid;
    s4 [label="inner.third\nmap"];
  }
  s5 [label="all\nbatch of 10"];
  s6 [label="show\neach"];
  s1 -> s2;
  s2 -> s3;
  s3 -> s4;
  s4 -> s5;
  s5 -> s6;
}
]], result.stdout)
    if support.has "dot" then
      local drawn = support.run("dot -Tsvg", { stdin = result.stdout })
      assert.equal("", drawn.stderr)
      assert.matches("processes%(2%)", drawn.stdout)
    end
  end)

  it("gives boxes of characters, in what the terminal shows", function()
    local path = file(PROGRAM)
    for language, chars in pairs { ["C"] = { "+", "|", "v" }, ["C.UTF-8"] = { "┌", "│", "▼" } } do
      local drawn = support.run("./bin/minigun graph --format ascii " .. path, { env = { LC_ALL = language } }).stdout
      for _, char in ipairs(chars) do assert.is_truthy(drawn:find(char, 1, true), drawn) end
      for _, name in ipairs { "numbers", "first", "inner.third", "batch of 10", "processes(2)" } do
        assert.is_truthy(drawn:find(name, 1, true), name)
      end
      if language == "C" then assert.is_nil(drawn:find "[\128-\255]") end
    end
  end)

  it("gives SVG", function()
    local drawn = minigun("graph --format svg " .. file(PROGRAM)).stdout
    assert.matches('^<svg xmlns="http://www.w3.org/2000/svg" viewBox=', drawn)
    assert.equal(6, select(2, drawn:gsub("<rect", "")))
    assert.equal(5, select(2, drawn:gsub("<polyline", "")))
  end)

  it("gives Mermaid and text, and refuses another format", function()
    assert.equal([[
flowchart TB
  s1["numbers<br>producer"]
  subgraph f1["processes(2)"]
    s2["first<br>map"]
    s3["second<br>map"]
  end
  subgraph f2["inner"]
    s4["inner.third<br>map"]
  end
  s5["all<br>batch of 10"]
  s6["show<br>each"]
  s1 --> s2
  s2 --> s3
  s3 --> s4
  s4 --> s5
  s5 --> s6
]], minigun("graph --format mermaid " .. file(PROGRAM)).stdout)
    local text = minigun("graph " .. file(PROGRAM)).stdout
    for _, name in ipairs { "numbers", "first", "second", "inner.third", "all", "show" } do
      assert.matches(name, text, 1, true)
    end
    local result = minigun("graph --format png " .. file(PROGRAM))
    assert.equal(2, result.code)
    assert.matches("must be one of 'text'", result.stderr, 1, true)
  end)
end)

describe("minigun completion", function()
  it("gives scripts that their shells accept, with each verb and option in them", function()
    for shell, check in pairs { bash = "bash -n", zsh = "zsh -n", fish = "fish --no-execute" } do
      local script = minigun("completion " .. shell).stdout
      for _, name in ipairs(verbs.names) do assert.is_truthy(script:find(name, 1, true), name) end
      for _, option in ipairs(verbs.get "each".options) do
        local name = option[1]:match "%-%-([%w%-]+)"
        assert.is_truthy(script:find(name, 1, true), name)
      end
      if support.has(shell) then
        local path = support.write_file(directory .. "/script", script)
        assert.equal("", support.run(check .. " " .. path).stderr)
      end
    end
  end)

  it("completes in bash", function()
    local script = support.write_file(directory .. "/script", minigun("completion bash").stdout)
    local result = support.run(("bash -c %s"):format(support.quote((". %s; COMP_WORDS=(minigun gra); COMP_CWORD=1; " ..
      "_minigun minigun gra minigun; echo ${COMPREPLY[@]}"):format(script))))
    assert.equal("graph\n", result.stdout)
  end)
end)

describe("minigun manual", function()
  it("has all verbs and options, and is what man accepts", function()
    local page = minigun("manual").stdout
    for _, name in ipairs(verbs.names) do
      local verb = verbs.get(name)
      assert.is_truthy(page:find(".SS \\fBminigun " .. name, 1, true), name)
      for _, option in ipairs(verb.options or {}) do
        assert.is_truthy(page:find((option[1]:match "%-%-[%w%-]+"):gsub("%-", "\\-"), 1, true), option[1])
      end
    end
    if support.has "groff" then
      local result = support.run("groff -man -Tutf8 -ww > /dev/null", { stdin = page })
      assert.equal("", result.stderr)
    end
  end)
end)

describe("minigun repl", function()
  it("shows what values hold, and goes on after an error", function()
    local result = support.run("./bin/minigun repl", { stdin =
      "minigun.map({ 1, 2 }, function(x) return { x, a = x } end)\n" .. "error 'this'\n'text', nil, 2\n" })
    assert.matches("{ { 1, a = 1 }, { 2, a = 2 } }", result.stdout, 1, true)
    assert.matches("text\tnil\t2", result.stdout, 1, true)
    assert.matches("this", result.stderr, 1, true)
  end)

  it("completes names of modules and methods", function()
    local result = support.run_lua [[
      local prompt = require "minigun.command.prompt"
      p = minigun.pipeline()
      for _, text in ipairs { "minigun.pi", "p:reduc", "string.fo", "zzz." } do
        io.write(table.concat(prompt.completions(text), " "), ";")
      end
    ]]
    assert.equal("minigun.pipeline;p:reduce;string.format;;", result.stdout, result.stderr)
  end)

  it("completes the word before the cursor, where there is lua-readline", function()
    local result = support.run_lua [[
      local complete
      package.loaded.readline = { set_options = function() end, save_history = function() end,
        set_complete_function = function(f) complete = f end }
      require "minigun.command.prompt"
      print(table.unpack(complete("x = minigun.pi + 1", 5, 14)))
    ]]
    assert.equal("minigun.pipeline\n", result.stdout, result.stderr)
  end)
end)

describe("the command without lua-argparse", function()
  local function without(words)
    return support.run("lua5.4 -e 'package.preload.argparse = function() error [[none]] end' bin/minigun " .. words)
  end

  it("runs files, and shows help and version", function()
    local path = file "print(#arg, ...)"
    assert.equal("2\t--a\tb\n", without("run " .. path .. " --a b").stdout)
    assert.equal("1\tb\n", without(path .. " b").stdout)
    assert.equal("3\t1\t2\t3\n", without("run -- " .. path .. " 1 2 3").stdout)
    assert.matches("^Usage: ", without("help").stdout)
    assert.matches("^minigun ", without("--version").stdout)
  end)

  it("names what it needs for options", function()
    local result = without("run --workers 2 " .. file "")
    assert.equal(1, result.code)
    assert.matches("minigun: run: this needs the module argparse; install it (Debian: lua-argparse)", result.stderr, 1,
      true)
  end)
end)
