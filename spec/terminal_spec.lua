-- What a user sees at a terminal: the prompt, and the progress line.
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
local function program(source, env, redirect, script)
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
  local result = terminal.play(command, script or "? (end)\n", env)
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
? ), item number 1, value {id = 18112}
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
. 0.15
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
    local seconds = tonumber(terminal.drawn(shown)[1]:match "^slow, (%d+%.%d) s: numbers 20 > work %d+/20$")
    assert.is_true(seconds >= 0.5 and seconds < 60, seconds)
    assert.matches("^done 'slow': 20 items in %d%.%d+ s\n%(end%)", left)
  end)

  it_at_a_terminal("tells percent and time left where every source knows how many items it has", function()
    local function line(source)
      return terminal.drawn((program([[
        local p = minigun.pipeline "known"
        p:producer("list", { to = "work" }, { 1, 2, 3, 4, 5, 6, 7, 8 })
        ]] .. source .. [[
        p:processor("work", { processes = 1, from = { "list", "more" } }, function() core.sleep(0.1) end):run()
        print "(end)"
      ]])))[1]
    end
    assert.matches("^known, %d+%.%d s, %d+ %%, .* left: list", line "p:producer('more', { to = 'work' }, { 9 })")
    assert.matches("^known, %d+%.%d s: list",
      line "p:producer('more', { to = 'work' }, function(emit) emit(9) end)")
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
      assert.matches("?7l" .. name .. ", %d+%.%d s", shown)
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
    assert.matches("?7lfails, %d+%.%d s", shown)
    assert.equal("(end)\n", left)
  end)

  it_at_a_terminal("gives way to what workers say on standard error, and standard output is still elsewhere", function()
    local path = os.tmpname()
    local _, left = program([[
      local p = pipeline("apart", 0.8)
      p:each({ processes = 1 }, function(item)
        if item ~= 15 then return end
        io.stderr:write "on error\n"
        print "on output"
      end)
      p:run()
      io.stderr:write "(end)\n"
    ]], {}, ">" .. path)
    local output = support.read_file(path)
    os.remove(path)
    assert.equal("on error\n(end)\n", left)
    assert.equal("on output\n", output)
  end)

  -- A run as the line sees it: rows of { name, items_in, items_out, pending }.
  local function run_of(name, rows, failed)
    local run = { plan = { name = name, stages = {} }, result = { failed = failed or 0 } }
    local tally = {}
    for i, row in ipairs(rows) do
      run.plan.stages[i] = { name = row[1], kind = i == 1 and "producer" or "processor", handler = print }
      tally[row[1]] = { items_in = row[2], items_out = row[3], pending = row[4] }
    end
    run.tally = function() return tally end
    return run
  end

  it("counts each stage, and is cut to the width of the terminal", function()
    local progress_line = require "minigun.view.progress_line"
    local run = run_of("a\27b", { { "in", 0, 9, 1 }, { "wörk", 9, 4, 5 }, { "out", 4, 4, 0 } }, 2)
    assert.equal("a?b, 1.2 s, 2 failed: in 9 > wörk 4/9 > out 4", progress_line.text(run, 1.234, 79))
    assert.equal("a?b, 1.2 s, 2 failed: in 9 > wö", progress_line.text(run, 1.234, 31))
  end)

  it("tells percent, rate and time left where it is known how many items there will be", function()
    local progress_line = require "minigun.view.progress_line"
    local function text(seconds, length, ...) return progress_line.text(run_of("x", { ... }), seconds, 99, length) end
    assert.equal("x, 10.0 s, 25 %, 2.5/s, 30 s left: in 50 > half 25/50",
      text(10, 100, { "in", 0, 50, 1 }, { "half", 50, 25, 25 }))
    assert.equal("x, 2.0 s, 1 %, 5000/s, 3:18 min left: in 10000", text(2, 1000000, { "in", 0, 10000, 1 }))
    assert.equal("x, 100.0 s, 1 %, 1.0/s, 2:45 h left: in 100", text(100, 10000, { "in", 0, 100, 1 }))
    assert.equal("x, 3.0 s: in 0", text(3, 100, { "in", 0, 0, 1 }))
    assert.equal("x, 3.0 s: in 7", text(3, nil, { "in", 0, 7, 1 }))
  end)

  it("knows how wide characters are, and leaves out what a terminal would obey", function()
    local cut = require "minigun.view.columns".cut
    for _, case in ipairs {
      { "漢字かな", 8, "漢字かな", 8 }, { "漢字かな", 7, "漢字か", 6 }, { "한국어", 5, "한국", 4 }, { "ＡＢ", 3, "Ａ", 2 },
      { "e\u{301}e\u{301}", 1, "e\u{301}", 1 }, { "🚀🚀", 3, "🚀", 2 }, { "a\u{200b}b", 2, "a\u{200b}b", 2 },
      { "\255a\200", 9, "?a?", 3 }, { "\u{9b}31m\27[0m", 9, "?31m?[0m", 8 }, { "a\u{202e}b", 9, "a?b", 3 },
      { "abc", 0, "", 0 }, { "", 5, "", 0 }, { "ก็", 1, "ก็", 1 }, { "\u{3000}", 1, "", 0 },
    } do
      local text, width = cut(case[1], case[2])
      assert.same({ case[3], case[4] }, { text, width })
    end
  end)

  -- What each drawn line takes, at most, by the number of columns that its characters take.
  local function widest(lines)
    local most = 0
    for _, line in ipairs(lines) do
      local width = 0
      for _, code in utf8.codes(line) do width = width + (code >= 0x1100 and 2 or 1) end
      most = math.max(most, width)
    end
    return most
  end

  it_at_a_terminal("never wraps, however narrow the terminal is or becomes", function()
    local source = [[
      pipeline("漢字の名前", 1.6, { processes = 1 }):run()
      print "(end)"
    ]]
    for _, width in ipairs { 1, 2, 3, 10, 31 } do
      local shown = program(source, {}, nil, ("= %d\n? (end)\n"):format(width))
      local lines = terminal.drawn(shown)
      assert.is_true(widest(lines) <= width - 1 and (#lines > 2) == (width > 1), width .. ": " .. #lines)
      assert.equal(1, select(2, shown:gsub("\n", "")))
    end
    local shown = program(source, {}, nil, "= 60\n? 漢\n= 20\n. 0.4\n? 漢\n? (end)\n")
    local lines = terminal.drawn(shown)
    assert.is_true(widest({ lines[1] }) > 30 and widest({ lines[#lines] }) <= 19)
  end)

  it_at_a_terminal("is drawn ten times a second at most, also where it gives way all the time", function()
    local shown = program [[
      local p = pipeline("talks", 0)
      p:replace("numbers", function(emit) for i = 1, 400 do emit(i) end end)
      p:each("print", { inline = true }, function(i)
        core.sleep(0.005)
        if i % 10 == 0 then print(i) end
      end)
      local r = p:run()
      print("took", r.elapsed)
      print "(end)"
    ]]
    local seconds = tonumber(shown:match "took%s+([%d.]+)")
    assert.is_true(#terminal.drawn(shown) <= seconds * 10 + 1)
  end)

  -- A shell with job control, in which the program runs as a job; `script`: what the shell does with it.
  local function job(script, typed, env)
    local path = support.write_file(os.tmpname(), [[
      local minigun, core = require "minigun", require "minigun.core"
      minigun.each({ 1, 2, 3, 4, 5, 6, 7, 8 }, function() core.sleep(0.2) end, { processes = 1 })
      print "(done)"
    ]])
    local shell = support.write_file(os.tmpname(), ("set -m\nprogram='lua5.4 %s'\n%s\n"):format(path, script))
    local result = terminal.play("sh " .. shell, typed, env)
    os.remove(path)
    os.remove(shell)
    return result.stderr, result
  end

  it_at_a_terminal("is not drawn in the background, where nothing stops the job, and comes back with it", function()
    local shown = job("stty tostop; $program >/dev/null & wait; stty -tostop; echo '(end)'", "? (end)\n")
    assert.same({}, terminal.drawn(shown))
    assert.not_matches("\27", shown)
    assert.not_matches("[Ss]topped", shown)
    shown = job("$program & sleep 0.9; echo '(front)'; fg; echo '(end)'", "? (front)\n? each\n? (end)\n")
    local before, after = shown:match "^(.-)%(front%)(.*)$"
    assert.same({}, terminal.drawn(before))
    assert.is_true(#terminal.drawn(after) > 0)
  end)
end)
