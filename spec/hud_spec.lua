-- The live view at a terminal: it opens, obeys keys, and gives the terminal back on every way out.
local core = require "minigun.core"
local live = require "spec.live"
local support = require "spec.support"
local terminal = require "spec.terminal"

local function it_at_a_terminal(name, body)
  it(name, function()
    if not terminal.available() then return pending "there is no C compiler, or no pseudo-terminal" end
    support.deadline(90)
    return body()
  end)
end

local PRELUDE <const>, play, tail = live.PRELUDE, live.play, live.tail

-- Asserts that the terminal is as before.
local function assert_restored(result, same)
  local damage = live.damage(result, same)
  assert(not damage, damage)
end

-- As play, and asserts that the terminal is as before.
local function play_restored(...)
  local result, same = play(...)
  assert_restored(result, same)
  return result
end

describe("the live view at a terminal", function()
  it_at_a_terminal("stays at the end until q, and shows what was printed after it", function()
    local result = play_restored([[
      local p = pipeline(0.5)
      p:each("print", { inline = true }, function(n) if n % 50 == 0 then print("item " .. n) end end)
      p:each("child", { processes = 1, from = "last" }, function(n) if n == 7 then print "in a child" end end)
      local r = p:run { hud = true }
      print(r.ok, r.stats.stages.last.items_out)
    ]], "? RUNNING\n? FINISHED\n! q\n? (status\n")
    local text = tail(result)
    for _, line in ipairs { "item 50\n", "item 100\n", "in a child\n", "true\t100\n", "(status 0)\n" } do
      assert.is_truthy(text:find(line, 1, true), text)
    end
    assert.not_matches("item 50", result.stderr:match "^(.*)\27%[%?1049l")
  end)

  it_at_a_terminal("is there while standard output goes elsewhere, and both go where they went afterwards", function()
    local path = os.tmpname()
    local result = play_restored([[
      pipeline(0.3):run { hud = "leave" }
      io.stderr:write "after\n"
      print "in the file"
    ]], "? (status\n", nil, nil, ">" .. path)
    local output = support.read_file(path)
    os.remove(path)
    assert.equal("after\n(status 0)\n", tail(result))
    assert.equal("in the file\n", output)
  end)

  it_at_a_terminal("leaves with the run where that is asked for, also a run of no time", function()
    for _, seconds in ipairs { 0, 0.05, 0.3 } do
      local result = play_restored(("print(#pipeline(%g):run { hud = 'leave' }.items)"):format(seconds), "? (status\n")
      assert.equal("100\n(status 0)\n", tail(result))
    end
  end)

  it_at_a_terminal("is opened by MINIGUN_HUD, unless the run says no", function()
    local result = play_restored("print(#pipeline(0.2):run().items)", "? (status\n", { MINIGUN_HUD = "leave" })
    assert.matches("\27%[%?1049h", result.stderr)
    result = play("print(#pipeline(0.2):run { hud = false }.items)", "? (status\n", { MINIGUN_HUD = "1" })
    assert.equal("100\r\n(status 0)\r\n", result.stderr)
  end)

  it_at_a_terminal("gives the terminal back after an error, a failure, os.exit, and what the run does then", function()
    for source, text in pairs {
      ["p:after_run(function() error 'late' end):run { hud = 'leave' }"] = "late",
      ["pipeline(0.2, function(n) if n == 5 then error 'five' end return n end):run { hud = 'leave' }"] = "five",
      ["p:each('end', { inline = true }, function(n) if n == 5 then print 'five, too' os.exit(7) end end)" ..
        ":run { hud = true }"] = "five, too\r\n(status 7)",
      ["p:each('end', { inline = true }, function() core.kill(core.pid(), 6) end):run { hud = true }"] =
        "(status 134)",
      ["io.stdout:setvbuf 'line' p:each('end', { inline = true }, function() print 'dies' core.kill(core.pid(), 15) " ..
        "core.kill(core.pid(), 11) end):run { hud = true }"] = "dies",
      ["p:on_failure(function() return 'stop' end):each('x', { inline = true }, function() error 'x' end)" ..
        ":run { hud = 'leave' }"] = "(status 0)",
    } do
      local result = play_restored("local p = pipeline(0.2) " .. source, "? (status\n")
      assert.is_truthy(result.stderr:find(text, 1, true), source .. ": " .. tail(result))
    end
  end)

  it_at_a_terminal("gives it back after Ctrl-C, SIGTERM, SIGHUP and SIGQUIT", function()
    for what, status in pairs { ["^C"] = 130, ["$ 15"] = 143, ["$ 1"] = 129, ["$ 3"] = 131 } do
      local result = play_restored("pipeline(30):run { hud = true }",
        ("? RUNNING\n. 0.3\n%s\n? (status\n"):format(what))
      assert.is_truthy(result.stderr:find(("(status %d)"):format(status), 1, true), what .. ": " .. tail(result))
    end
  end)

  it_at_a_terminal("gives it back, with what was printed, where Ctrl-C comes while it does", function()
    for _, name in ipairs { "print_into", "screen_close", "watch_stops" } do
      local result = play_restored(([[
        local p = pipeline(0.2)
        p:each("print", { inline = true }, function(n) if n == 50 then print "item 50" end end)
        local real, armed = core.%s, false
        p:after_run(function() armed = true end)
        core.%s = function(...)
          if armed then
            armed = false
            error("interrupted!", 0)
          end
          return real(...)
        end
        print("after", pcall(p.run, p, { hud = "leave" }))
      ]]):format(name, name), "? (status\n")
      assert.matches("item 50\nafter\tfalse\t[^\n]*interrupted!\n", tail(result), 1, name)
    end
  end)

  it_at_a_terminal("gives it back at Ctrl-Z, and is there again after fg", function()
    local result = play_restored("print(#pipeline(1):run { hud = 'leave' }.items)",
      "? RUNNING\n. 0.2\n^Z\n? (stopped\n? RUNNING\n? (status\n", {},
      "stty -a | grep -q -- '-icanon' && echo raw; echo '(stopped)'; sleep 0.3; fg")
    assert.not_matches("\nraw", result.stderr)
    assert.equal(2, select(2, result.stderr:gsub("\27%[%?1049h", "")))
    assert.matches("100\n", tail(result))
  end)

  it_at_a_terminal("is not there in the background, where nothing stops the job, and comes with fg", function()
    local path = support.write_file(os.tmpname(), PRELUDE .. "print(#pipeline(1.5):run { hud = 'leave' }.items)")
    local shell = support.write_file(os.tmpname(),
      ("set -m\nlua5.4 %s & sleep 0.8\njobs\necho '(front)'; fg; echo '(end)'\n"):format(path))
    local result = terminal.play("sh " .. shell, "= 100 30\n? (front)\n? RUNNING\n? (end)\n",
      { TERM = "xterm-256color", LANG = "C.UTF-8", NO_COLOR = "", MINIGUN_HUD = "" })
    os.remove(path)
    os.remove(shell)
    local before, after = result.stderr:match "^(.-)%(front%)(.*)$"
    assert.not_matches("\27", before)
    assert.matches("Running", before)
    assert.matches("100\r\n%(end%)", after)
  end)

  it_at_a_terminal("bears workers that are killed, and counts them", function()
    local result = play_restored([[
      local r = pipeline(0.6, function(n) if n % 40 == 0 then core.kill(core.pid(), 9) end return n end)
        :run { hud = "leave", failures = "collect" }
      print(r.failed, #r.items)
    ]], "? (status\n")
    assert.matches("2\t98\n", tail(result))
  end)

  it_at_a_terminal("closes on q after a question, and stops the run", function()
    local result = play_restored("local r = pipeline(30):run { hud = true } print(r.stopped, r.ok, #r.items > 0)",
      "? RUNNING\n. 0.3\n! q\n? Stop the run\n! y\n? (status\n")
    assert.matches("true\ttrue\ttrue\n", tail(result))
  end)

  it_at_a_terminal("pauses the sources, and lets them go on", function()
    local result = play_restored([[
      local p = minigun.pipeline "seen"
      p:producer("here", { to = "work" }, function(emit) for i = 1, 200 do emit(i) core.sleep(0.002) end end)
      p:producer("there", { to = "work", processes = 1 }, function(emit)
        for i = 1, 200 do emit(i) core.sleep(0.002) end
      end)
      p:producer("thread", { to = "work", threads = 1 }, function(emit)
        for i = 1, 200 do emit(i) minigun.sleep(0.002) end
      end)
      p:map("work", { processes = 1, await = false, from = { "here", "there", "thread" } }, function(n) return n end)
      print(#p:run { hud = "leave" }.items)
    ]], "? RUNNING\n! p\n? SOURCES PAUSED\n. 0.5\n! p\n? (status\n")
    assert.matches("600\n", tail(result))
  end)

  it_at_a_terminal("of a background run may be closed and opened again; the run goes on in between", function()
    local result = play_restored([[
      local run = pipeline(2):start()
      run:hud()
      print("closed", run:status().state)
      run:step(0.1)
      run:hud()
      print(#run:wait().items, #run:hud():wait().items)
    ]], "? RUNNING\n. 0.2\n! q\n? closed\n? RUNNING\n? FINISHED\n! q\n? FINISHED\n! q\n? (status\n")
    assert.is_truthy(result.stderr:find("closed\trunning", 1, true))
    assert.matches("100\t100\n", tail(result))
  end)

  it_at_a_terminal("is drawn for the size that the terminal has at that moment", function()
    local result = play_restored("print(#pipeline(2):run { hud = 'leave' }.items)",
      "? RUNNING\n= 59 9\n? is too small\n= 120 40\n? FLOW DIAGRAM\n= 80 24\n? FLOW DIAGRAM\n? (status\n")
    assert.matches("100\n", tail(result))
  end)

  it_at_a_terminal("is lines where the terminal can show no more", function()
    for _, env in ipairs { { TERM = "dumb" }, { NO_COLOR = "1" } } do
      local result = play("print(#pipeline(1.2):run { hud = true }.items)", "? (status\n", env)
      assert.not_matches("\27", result.stderr)
      assert.matches("seen running, %d%.%d+ s.*: numbers %d+ ", result.stderr)
      assert.matches("seen done, .*\r\n100\r\n%(status 0%)", result.stderr)
    end
    local result = support.run_lua(PRELUDE .. "print(#pipeline(1.2):run { hud = true }.items)")
    local last, seen = result.stderr:gsub("seen running, [^\n]*\n", "") -- each second
    assert.matches("^seen done, [^\n]*\n$", last)
    assert.is_true(seen >= 1)
    assert.equal("100\n", result.stdout)
  end)

  it_at_a_terminal("of another process is minigun top, which ends with the run", function()
    local directory = os.tmpname()
    os.remove(directory)
    core.make_directory(directory)
    local path = support.write_file(os.tmpname(), PRELUDE .. "pipeline(2):run { observe = true }")
    local result, same = play("os.execute [[(lua5.4 " .. path .. " &); sleep 0.7; lua5.4 bin/minigun top]]",
      "? RUNNING\n! 2\n? WORKERS\n! h\n? Help\n! x\n? FINISHED\n! q\n? (status\n",
      { XDG_RUNTIME_DIR = directory, MINIGUN_BUILD = support.build_dir() })
    os.remove(path)
    support.remove_tree(directory)
    assert_restored(result, same)
  end)

  it_at_a_terminal("of another process gives the terminal back at SIGTERM, and says when figures are old", function()
    local directory = os.tmpname()
    os.remove(directory)
    core.make_directory(directory)
    local path = support.write_file(os.tmpname(), PRELUDE .. [[
      pipeline(1):each("long", { inline = true }, function(n) if n == 50 then core.sleep(5) end end)
        :run { observe = true }]])
    -- This process bears the signal, and waits for the view; else the shell would look at the terminal too early.
    local result, same = play("core.count_signal(15, true) os.execute [[(lua5.4 " .. path
      .. " &); sleep 0.5; exec lua5.4 bin/minigun top]]",
      "? RUNNING\n? figures\n$ 15\n? (status\n",
      { XDG_RUNTIME_DIR = directory, MINIGUN_BUILD = support.build_dir() })
    os.remove(path)
    support.remove_tree(directory)
    assert_restored(result, same)
  end)

  it("of another process is lines where there is no terminal", function()
    local directory = os.tmpname()
    os.remove(directory)
    core.make_directory(directory)
    local path = support.write_file(os.tmpname(), PRELUDE .. "pipeline(3):run { observe = true }")
    local env = support.lua_env()
    env.XDG_RUNTIME_DIR, env.TERM = directory, "dumb"
    local result = support.run(("lua5.4 %s & until ls %s/*/* >&2; do sleep 0.05; done 2>/dev/null; " ..
      "lua5.4 bin/minigun top; wait"):format(path, directory), { env = env })
    os.remove(path)
    support.remove_tree(directory)
    assert.matches("^seen running, [^\n]*\n.*seen ended, [^\n]*\n$", result.stderr)
    assert.is_nil(result.stderr:find("failed", 1, true), result.stderr)
  end)

  it_at_a_terminal("may be two of one run", function()
    local directory = os.tmpname()
    os.remove(directory)
    core.make_directory(directory)
    local result, same = play([[
      local page = require "minigun.system.page"
      local p = pipeline(0.8)
      p:each("look", { inline = true }, function(n)
        if n == 90 then print(assert(page.read(page.list()[1].path)).stages[1].name) end
      end)
      p:run { hud = "leave", observe = true }
    ]], "? (status\n", { XDG_RUNTIME_DIR = directory })
    support.remove_tree(directory)
    assert_restored(result, same)
    assert.matches("numbers\n", tail(result))
  end)

  it_at_a_terminal("bears random keys, sizes, stops, deaths, ends: terminal and result are right", function()
    local seed = tonumber(os.getenv "SEED") or os.time()
    print("spec/hud_spec.lua: SEED=" .. seed)
    math.randomseed(seed)
    for _ = 1, support.short_or_long(3, 60) do
      local wrong, how = live.storm()
      assert(not wrong, ("SEED=%d: %s: %s"):format(seed, how, wrong))
    end
  end)
end)
