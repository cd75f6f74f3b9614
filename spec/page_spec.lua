-- Pages of figures: the file of a run or a server, its mode and owner, its readers, its end.
local core = require "minigun.core"
local minigun = require "minigun"
local page = require "minigun.system.page"
local support = require "spec.support"

local directory

-- Runs a program whose pages come into the test's directory. Returns the result of support.run_lua.
local function program(source, env)
  local all = { XDG_RUNTIME_DIR = directory }
  for name, value in pairs(env or {}) do all[name] = value end
  return support.run_lua('local minigun, core, page = require "minigun", require "minigun.core", '
    .. 'require "minigun.system.page"\n' .. source, { env = all })
end

local RUN <const> = [[
  local p = minigun.pipeline("seen")
  p:producer("numbers", function(emit) for i = 1, 40 do emit(i) core.sleep(0.01) end end)
  p:each("look", { inline = true }, function()
    for _, each in ipairs(page.list()) do
      local figures = assert(page.read(each.path))
      local mode = io.popen("stat -c %a " .. each.path):read "l"
      print(each.kind, each.pid == core.pid(), mode, figures.pipeline, figures.state, figures.stages[1].name)
    end
  end)
]]

describe("the page of figures", function()
  before_each(function()
    directory = os.tmpname()
    os.remove(directory)
    assert(core.make_directory(directory))
  end)
  after_each(function() support.remove_tree(directory) end)

  local function left() return core.list_directory(directory .. "/minigun") or {} end

  for name, source in pairs {
    ["of a run with observe = true"] = RUN .. "p:run { observe = true }",
    ["of a run in the background"] = RUN .. "p:start({ observe = true }):wait()",
    ["of an iterated run"] = RUN .. "for _ in p:iterate { observe = true } do end",
  } do
    it(name .. " is there while it goes on, for its user alone", function()
      local result = program(source)
      assert.equal(0, result.code, result.stderr)
      assert.matches("^run\ttrue\t600\tseen\trunning\tnumbers\n", result.stdout)
      assert.same({}, left())
    end)
  end

  it("is wanted by MINIGUN_TOP=1 too, where the run does not say no", function()
    assert.matches("^run\ttrue\t600", program(RUN .. "p:run()", { MINIGUN_TOP = "1" }).stdout)
    assert.equal("", program(RUN .. "p:run { observe = false }", { MINIGUN_TOP = "1" }).stdout)
    assert.equal("", program(RUN .. "p:run()").stdout)
  end)

  it("is kept by the runs of minigun run", function()
    local path = support.write_file(os.tmpname(), 'local minigun, core, page = require "minigun", '
      .. 'require "minigun.core", require "minigun.system.page"\n' .. RUN .. "p:run() return true")
    local env = support.lua_env()
    env.XDG_RUNTIME_DIR, env.MINIGUN_BUILD = directory, support.build_dir()
    local result = support.run(("exec %s run %s"):format(support.command(), path), { env = env })
    os.remove(path)
    assert.matches("^run\ttrue\t600", result.stdout, result.stderr)
    assert.same({}, left())
  end)

  it("is kept by the runs of other verbs, too", function()
    if not pcall(require, "argparse") then return pending "there is no lua-argparse" end
    local env = support.lua_env()
    env.XDG_RUNTIME_DIR, env.MINIGUN_BUILD = directory, support.build_dir()
    for _, words in ipairs { "map line", "each true" } do
      local result = support.run((("(echo a; sleep 0.5; COMMAND top --list; echo b) 2>&1 | tee DIR/in | COMMAND %s " ..
        "> DIR/out; cat DIR/in; rm DIR/in DIR/out"):gsub("COMMAND", support.command())
        :gsub("DIR", directory)):format(words), { env = env })
      assert.matches(("run%%s+running%%s+%s%%s"):format(words:match "%l+"), result.stdout, 1, words)
    end
    assert.same({}, left())
  end)

  it("is listed and printed by minigun top", function()
    local env = support.lua_env()
    env.XDG_RUNTIME_DIR, env.MINIGUN_BUILD = directory, support.build_dir()
    local command = ("exec %s top "):format(support.command())
    local function top(words) return support.run(command .. words, { env = env }) end
    local none = top ""
    assert.equal(1, none.code)
    assert.matches("there is no run or server to look at", none.stderr)
    if not pcall(require, "argparse") then return pending "there is no lua-argparse" end
    local path = support.write_file(os.tmpname(), [[
      local minigun, core = require "minigun", require "minigun.core"
      local p = minigun.pipeline "listed"
      p:producer("numbers", function(emit) core.sleep(0.3) emit(1) core.sleep(0.05) emit(2) end)
      p:each("look", { inline = true }, function(n)
        for _, words in ipairs(n == 2 and { "--list", "--json", "1" } or {}) do
          os.execute("lua5.4 bin/minigun top " .. words .. " 2>&1")
        end
      end)
      p:run { observe = true }
    ]])
    local result = support.run("exec lua5.4 " .. path, { env = env })
    os.remove(path)
    assert.matches("PID%s+WHAT%s+STATE%s+NAME[^\n]*\n%s*%d+%s+run%s+running%s+listed%s+[%d.]+ s\n", result.stdout)
    assert.matches('\n{"alive":0,.*"pipeline":"listed".*}\n', result.stdout)
    assert.matches("process 1 has no run or server to look at", result.stdout)
  end)

  it("is gone after an error, and after a kill known as a dead one's", function()
    program(RUN .. "p:run { observe = true } error 'no'")
    assert.same({}, left())
    local result = program(RUN .. [[
      p:replace("look", function() core.sleep(0.01) if #page.list() > 0 then core.kill(core.pid(), 9) end end)
      p:run { observe = true }]])
    assert.equal(137, result.code)
    assert.equal(1, #left())
    assert.equal("0\n", program("print(#page.list())").stdout)
    assert.same({}, left())
  end)

  it("of a server is there as long as it serves", function()
    local result = program [[
      local running = assert(minigun.supervisor { name = "web", workers = 2, log = function() end,
        worker = function(w) w:ready() while not w:stopping() do core.sleep(0.01) w:beat() end end }:start())
      local seen
      for _ = 1, 200 do
        running:step(0.05)
        local each = page.list()[1]
        seen = each and assert(page.read(each.path))
        if seen and seen.state == "serving" then break end
      end
      print(seen and page.list()[1].kind, seen and seen.name, seen and seen.state, seen and #seen.workers)
      running:stop()
      print(#page.list())
    ]]
    assert.equal("server\tweb\tserving\t2\n0\n", result.stdout, result.stderr)
  end)

  it("that cannot be made is a warning where it was asked for, and costs nothing else", function()
    local result = program([[
      local p = minigun.pipeline("blind"):producer(function(emit) core.sleep(0.3) emit(1) core.sleep(0.05) end)
      local r = p:run { observe = true }
      print(r.ok, #r.items, r.stats.warnings[1])
    ]], { XDG_RUNTIME_DIR = directory .. "/not/there" })
    assert.matches("^true\t1\tthere is no page of figures %(observe = true%): ", result.stdout)
  end)

  it("is read whole, however often it is written meanwhile", function()
    local path = directory .. "/1-1.run"
    local own = assert(core.page(path))
    local head, magic = "<c8I4I4", "MINIGUN1"
    local writer = assert(core.fork(function()
      local end_at = core.now() + 0.3
      local n = 0
      while core.now() < end_at do
        n = n + 1
        local bytes = core.encode { n = n, text = ("x"):rep(20000 + n % 7 * 3000) }
        local file = io.open(path, "r+b")
        file:setvbuf("full", 1 << 17)
        file:write(head:pack(magic, #bytes, core.crc32c(bytes)), bytes)
        file:close()
      end
      return 0
    end))
    local reads, last = 0, 0
    while not writer:reap() do
      local figures = page.read(path)
      if figures then
        reads = reads + 1
        assert.is_true(figures.n >= last and #figures.text >= 20000)
        last = figures.n
      end
    end
    writer:close()
    own:close()
    assert.is_true(reads > 5, reads .. " reads")
    assert.is_nil(io.open(path))
  end)

  it("is refused by a directory that others may write to", function()
    os.execute("chmod 777 " .. directory)
    local made, _, errno = core.make_directory(directory)
    assert.same({ nil, 1 }, { made, errno })
  end)

  it("is not looked for in a directory where others can write, and nothing there is touched", function()
    local own = directory .. "/minigun"
    assert(core.make_directory(own))
    support.write_file(own .. "/1-1.run", "of a dead process")
    os.execute("chmod 777 " .. own)
    local env = support.lua_env()
    env.XDG_RUNTIME_DIR, env.MINIGUN_BUILD = directory, support.build_dir()
    local result = support.run("exec " .. support.command() .. " top", { env = env })
    assert.equal(1, result.code)
    assert.matches("top: '" .. own .. "' is left alone: it belongs to another user", result.stderr, 1, true)
    assert.same({ "1-1.run" }, left())
    os.execute("chmod 700 " .. own)
    assert.equal("0\n", program("print(#page.list())").stdout)
    assert.same({}, left())
  end)
end)

describe("a run that is looked at", function()
  it("has the same result", function()
    local function results(options)
      local p = minigun.pipeline("same"):producer(function(emit)
        for i = 1, 100 do emit(i) end
        core.sleep(0.3)
        emit(101)
      end):map({ processes = 2, ordered = true }, function(n) return n * n end)
      return p:run(options).items
    end
    assert.same(results {}, results { observe = true })
  end)
end)
