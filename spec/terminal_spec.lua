-- What somebody sees who works at a terminal: the prompt, and the progress line.
local support = require "spec.support"
local terminal = require "spec.terminal"

local function it_at_a_terminal(name, body)
  it(name, function()
    if not terminal.available() then return pending "there is no C compiler, or no pseudo-terminal" end
    support.deadline(60)
    return body()
  end)
end

-- What lua5.4 -i shows for these lines, typed one by one; `> ` before each.
local function prompt(typed)
  local result = terminal.play("lua5.4 -i", "? >\n" .. typed .. "\n> os.exit(7)\n", { MINIGUN_PROGRESS = "0" })
  assert.equal(7, result.code, result.stderr)
  return (result.stderr:gsub("\r\n", "\n"))
end

-- Runs a program at a terminal; returns what it has written and the screen that this leaves.
local function program(source, env, redirect)
  local path = support.write_file(os.tmpname(), [[
    local minigun, core = require "minigun", require "minigun.core"
    local function pipeline(name, seconds, options)
      local p = minigun.pipeline(name)
      p:producer("numbers", function(emit) for i = 1, 20 do emit(i) end end)
      p:processor("work", options or { processes = 1 }, function(item, emit)
        core.sleep(seconds / 20)
        emit(item)
      end)
      return p
    end
  ]] .. source)
  local command = redirect and ("sh -c 'exec lua5.4 %s %s'"):format(path, redirect) or "lua5.4 " .. path
  local result = terminal.play(command, "? (end)\n", env)
  os.remove(path)
  assert.equal(0, result.code, result.stderr)
  return result.stderr, terminal.screen(result.stderr)
end

describe("at the prompt", function()
  it_at_a_terminal("R15 a pipeline is grown line by line, looked at, run, changed and run again", function()
    local shown = prompt [[
> minigun = require "minigun"
> p = minigun.pipeline "squares"
> p:producer({ 1, 2, 3 })
? pipeline 'squares', 1 stage
> function square(n) return n * n end
> p:map("square", { processes = 2 }, function(n) return square(n) end)
? pipeline 'squares', 2 stages
> result = p:run()
> table.sort(result.items) print(table.concat(result.items, " "))
? 1 4 9
> result
? done 'squares': 3 items in
> function square(n) return -n end
> table.sort(p:run().items, function(a, b) return a > b end) print(table.concat(p.last.items, " "))
? -3
> print(p)
? square      map       processes(2)  -> (result)]]
    assert.matches("%f[d]done 'squares': 3 items in %d+%.%d+ s\n", shown)
  end)

  it_at_a_terminal("R72 an error names the stage, the line at the prompt and the item", function()
    local shown = prompt [[
> minigun = require "minigun"
> p = minigun.pipeline "users"
> p:producer({ { id = 18112 } })
> p:map("parse", { processes = 1 }, function(item) return item.user.name end)
> p:run()
? stdin:1: attempt to index a nil value (field 'user')
? in stage 'parse', worker 1 of 1 (pid
? ), item 1 = {id = 18112}
> #p.last.failures
? 1]]
    assert.not_matches("lua5.4:", shown, 1, true)
  end)

  it_at_a_terminal("R71 Ctrl-C ends a run and keeps the prompt and what was grown at it", function()
    prompt [[
> minigun = require "minigun"
> p = minigun.pipeline "endless"
> p:producer("numbers", function(emit) for i = 1, math.huge do emit(i) end end)
> p:stage("loop", { processes = 2, ordered = true }, function(input) for _ in input do end end)
> p:run()
. 0.3
^C
? interrupted!
> p:replace("numbers", { 1, 2, 3 })
> p:run()
? done 'endless': 0 items]]
  end)
end)

describe("the progress line", function()
  it_at_a_terminal("tells of a run of more than half a second, and is gone when that is over", function()
    local shown, left = program [[
      print(pipeline("slow", 0.8):run())
      print "(end)"
    ]]
    assert.matches("\rslow, %d+%.%d s: numbers 20 > work %d+/20\27%[K\r", shown)
    assert.matches("^done 'slow': 20 items in %d%.%d+ s\n%(end%)", left)
  end)

  it_at_a_terminal("is not there in a shorter run, nor where it is not wanted, nor in a child", function()
    local short
    for _ = 1, 5 do -- on a machine with much to do it may not be short
      short = program "local r = pipeline('short', 0.1):run() print(r.elapsed < 0.4 and '(end)' or 'slow (end)')"
      if not short:find "slow" then break end
    end
    assert.equal("(end)\r\n", short)
    for source, env in pairs {
      ["pipeline('quiet', 0.7):run { progress = false }"] = {},
      ["pipeline('quiet', 0.7):run()"] = { MINIGUN_PROGRESS = "0" },
      [ [[minigun.pipeline("outer", { progress = false }):producer { 1 }
        :each({ processes = 1 }, function() pipeline("inner", 0.8):run() end):run()]] ] = {},
      ["local run = pipeline('background', 0.8):start() while run:step(0.1) do end run:close()"] = {},
    } do
      assert.equal("(end)\n", (program(source .. " print '(end)'", env):gsub("\r\n", "\n")), source)
    end
  end)

  it("is never written where standard error is no terminal", function()
    local result = support.run_lua [[
      local minigun, core = require "minigun", require "minigun.core"
      minigun.each({ 1 }, function() core.sleep(0.7) end)
    ]]
    assert.same({ 0, "", "" }, { result.code, result.stdout, result.stderr })
  end)

  it_at_a_terminal("gives way to what the program prints", function()
    local shown, left = program [[
      local p = pipeline("talks", 1)
      p:each("print", { inline = true }, function(item)
        if item % 5 == 0 then print("item " .. item) end
      end)
      p:run()
      for item in pipeline("iterates", 1):iterate() do
        if item % 10 == 0 then print("item " .. item) end
      end
      p = pipeline("threads", 1)
      p:each("print", { threads = 2 }, function(item)
        if item % 10 == 0 then print("item " .. item) end
      end)
      p:run()
      p = pipeline("logs", 1)
      p:on_worker_exit(function() print "exit" end)
      p:processor("log", { processes = 1 }, function(item, _, ctx)
        if item == 18 then ctx:log("info", "18") end
      end)
      p:run()
      print "(end)"
    ]]
    for _, name in ipairs { "talks", "iterates", "threads", "logs" } do
      assert.matches("\r" .. name .. ", %d+%.%d s", shown)
    end
    left = left:gsub("pid %d+", "pid")
    assert.equal(table.concat({ "item 5", "item 10", "item 15", "item 20", "item 10", "item 20",
      "item 10", "item 20", "[info] logs/log, worker 1 (pid): 18", "exit", "exit", "(end)", "" }, "\n"), left)
  end)

  it_at_a_terminal("is gone after an error too, and there while standard output goes elsewhere", function()
    local shown, left = program([[
      local p = pipeline("fails", 0.8)
      p:each(function(item) if item == 20 then error "no" end end)
      print(pcall(p.run, p))
      io.stderr:write "(end)\n"
    ]], {}, ">/dev/null")
    assert.matches("\rfails, %d+%.%d s", shown)
    assert.equal("(end)\n", left)
  end)

  it("counts each stage, and is cut to the width of the terminal", function()
    local meter = require "minigun.meter"
    local run = {
      plan = { name = "a\27b", stages = { { name = "in", kind = "producer" }, { name = "wörk" }, { name = "out" } } },
      result = { failures = { 1, 2 } },
      tally = function()
        return { ["in"] = { items_out = 9, items_in = 0, pending = 1 },
          ["wörk"] = { items_in = 9, items_out = 4, pending = 5 }, out = { items_in = 4, items_out = 4, pending = 0 } }
      end,
    }
    assert.equal("a?b, 1.2 s, 2 failed: in 9 > wörk 4/9 > out 4", meter.text(run, 1.234, 79))
    assert.equal("a?b, 1.2 s, 2 failed: in 9 > wö", meter.text(run, 1.234, 31))
  end)
end)
