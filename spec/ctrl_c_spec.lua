-- Ctrl-C under the command line: the first one asks for an end in good order, a second one ends at once. For runs in
-- each context see spec/terminate_spec.lua.
local programs = require "spec.programs.build"
local support = require "spec.support"

local unruly = programs.unruly()
local SIGINT <const> = 2

local FINISHING <const> = "minigun: Ctrl-C: finishing what has begun; a second Ctrl-C ends it at once\n"
local AGAIN <const> = 0.25 -- seconds after which another one is a second request

describe("Ctrl-C under the command line", function()
  -- Starts a command as the leader of a group; `body`, where it is given, is the FILE that it runs.
  local function launch(words, body)
    local run = { path = os.tmpname(), file = os.tmpname() }
    if body then
      support.write_file(run.file, 'local minigun, core = require "minigun", require "minigun.core"\n' .. body)
    end
    run.pid = unruly.launch(("exec env %s %s >%s 2>&1"):format(support.env_words(programs.env()),
      words:gsub("FILE", run.file), run.path))
    return run
  end

  local function said(run) return support.read_file(run.path) end

  local function wait_for(run, text)
    local found = support.wait_until(function() return said(run):find(text, 1, true) end, 40)
    assert.is_truthy(found, "it never said " .. text .. ": " .. said(run))
  end

  -- Waits for its end by SIGINT. Returns what it has said.
  local function finish(run)
    local code, signal = unruly.wait(run.pid)
    local text = said(run)
    os.remove(run.path)
    assert.equal(128 + SIGINT, code or 128 + signal, text)
    return text
  end

  local function interrupt(run) unruly.kill(-run.pid, SIGINT) end -- as a terminal does

  -- Sends a second one.
  local function interrupt_again(run)
    wait_for(run, FINISHING)
    support.sleep(AGAIN)
    assert.is_true(support.alive(run.pid), said(run))
    interrupt(run)
  end

  local function assert_ends(run, text)
    assert.equal(text, finish(run))
    os.remove(run.file)
  end

  it("while a producer computes: it is said at once; a second one ends it, and open variables are closed", function()
    if not unruly then return pending "there is no C compiler" end
    local run = launch(support.command() .. " run FILE", [[
      local note <close> = setmetatable({}, { __close = function() print "closed" end })
      local p = minigun.pipeline "p"
      p:producer("computes", function() io.stderr:write "ready\n" while true do end end)
      p:each("takes", { processes = 1 }, function() end)
      p:run()
    ]])
    wait_for(run, "ready\n")
    interrupt(run)
    interrupt_again(run)
    assert_ends(run, "ready\n" .. FINISHING .. "closed\nminigun: interrupted\n")
  end)

  it("a second one that the program catches: it goes on, without handlers, and a later run stops at once", function()
    if not unruly then return pending "there is no C compiler" end
    local run = launch(support.command() .. " run FILE", [[
      local function handlers()
        for line in io.lines "/proc/self/status" do
          if line:find "^SigCgt" then return tonumber(line:match "%x+$", 16) & ~(1 << 1) end -- Lua's own of SIGINT
        end
      end
      local before = handlers()
      local p = minigun.pipeline "p"
      p:producer("computes", function() io.stderr:write "ready\n" while true do end end)
      p:each("takes", { processes = 1 }, function() end)
      local ok, message = pcall(p.run, p)
      io.stderr:write(tostring(ok), message, handlers() == before and ", none left\n" or ", some left\n")
      minigun.pipeline("later"):producer("counts", function(emit) for i = 1, 1e12 do emit(i) end end)
        :each("takes", { processes = 1 }, function() end):run()
    ]])
    wait_for(run, "ready\n")
    interrupt(run)
    interrupt_again(run)
    assert_ends(run, "ready\n" .. FINISHING .. "falseinterrupted!, none left\n")
  end)

  it("while a producer sleeps: its sleep ends", function()
    if not unruly then return pending "there is no C compiler" end
    local run = launch(support.command() .. " run FILE", [[
      local p = minigun.pipeline "p"
      p:producer("sleeps", function() io.stderr:write "ready\n" core.sleep(1000) end)
      p:each("takes", { processes = 1 }, function() end)
      p:run()
    ]])
    wait_for(run, "ready\n")
    interrupt(run)
    assert_ends(run, "ready\n" .. FINISHING)
  end)

  it("between the runs of a program: it is interrupted, as ever", function()
    if not unruly then return pending "there is no C compiler" end
    local run = launch(support.command() .. " run FILE", [[
      minigun.map({ 1, 2 }, function(n) return n end, { processes = 1 })
      io.stderr:write "ready\n"
      while true do end
    ]])
    wait_for(run, "ready\n")
    interrupt(run)
    assert_ends(run, "ready\nminigun: interrupted\n")
  end)

  it("while the program is not at its open run: it has 5 s to come back to it", function()
    if not unruly then return pending "there is no C compiler" end
    local run = launch(support.command() .. " run FILE", [[
      local p = minigun.pipeline "p"
      p:producer("counts", function(emit) for i = 1, 1e9 do emit(i) end end)
      p:each("takes", { processes = 1 }, function() end)
      local open = p:start()
      open:step(0.01)
      io.stderr:write "ready\n"
      while true do core.sleep(0.01) end
    ]])
    wait_for(run, "ready\n")
    interrupt(run)
    assert_ends(run, "ready\n" .. FINISHING)
  end)

  it("where the program handles it: that decides", function()
    if not unruly then return pending "there is no C compiler" end
    local run = launch(support.command() .. " run FILE", [[
      local unruly = require "unruly"
      unruly.catch(2)
      local p = minigun.pipeline "p"
      p:producer("counts", function(emit) for i = 1, 1e9 do emit(i) end end)
      p:each("takes", { processes = 1 }, function(n) if n == 1 then io.stderr:write "ready\n" end end)
      local open = p:start()
      repeat open:step(0.01) until unruly.caught() > 0
      open:kill()
      io.stderr:write "caught\n"
      core.die_of(2)
    ]])
    wait_for(run, "ready\n")
    interrupt(run)
    assert_ends(run, "ready\ncaught\n")
  end)

  it("minigun map at a pipe that stands still: what has come is printed", function()
    if not unruly then return pending "there is no C compiler" end
    local run = launch("sh -c 'mkfifo FILE.in; exec 3<>FILE.in; echo one >&3; exec ./bin/minigun map -j 1 line <&3'")
    wait_for(run, "one\n")
    interrupt(run)
    local input = run.file .. ".in"
    assert_ends(run, "one\n" .. FINISHING)
    os.remove(input)
  end)

  it("minigun each: what has begun is finished, and no more begins; a second one ends it", function()
    if not unruly then return pending "there is no C compiler" end
    for _, seconds in ipairs { "0.5", "1000.25" } do
      local run = launch(("./bin/minigun each -j 2 'echo begun {} >>FILE; sleep %s; echo ended {}' ::: a a a a a")
        :format(seconds))
      assert.is_true(support.wait_until(function()
        return support.read_file(run.file) == "begun a\nbegun a\n"
      end, 40))
      interrupt(run)
      if seconds == "0.5" then
        assert.equal("ended a\nended a\n", (finish(run):gsub("minigun: [^\n]*\n", "")))
      else
        interrupt_again(run)
        assert.equal(FINISHING .. "minigun: interrupted\n", finish(run))
        assert.is_true(support.wait_until(function()
          return support.run("grep -lsa 'slee[p].1000[.]25' /proc/[0-9]*/cmdline").stdout == ""
        end, 40))
      end
      assert.equal("begun a\nbegun a\n", support.read_file(run.file))
      os.remove(run.file)
    end
  end)
end)
