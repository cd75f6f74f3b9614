-- Event loops: one table of tests for every adapter (rules L1 to L7 of docs/loops.md).

local loop = require "minigun.loop"
local core = require "minigun.core"
local programs = require "spec.programs.build"
local loops = require "spec.loops"
local pages = require "spec.pages"
local support = require "spec.support"

local unruly = programs.unruly()

local run_until, send = loops.run_until, loops.send

for _, adapter in ipairs(loops.list) do
  local name = adapter.name
  describe(("the loop '%s'"):format(name), function()
    local l

    local function test(title, f)
      it(title, function()
        loops.in_test(adapter, pending, function(made)
          l = made
          f()
          made, l = l, nil
          return made
        end)
      end)
    end

    describe("L1", function()
      test("calls for a descriptor as often as something is there, and not after its stop", function()
        local r, w = unruly.pipe()
        local got, calls = {}, 0
        local watch
        watch = l:watch_io(r, "r", function(fd, ready)
          calls = calls + 1
          assert.same({ r, "r" }, { fd, ready })
          got[#got + 1] = unruly.read(fd)
          if #got == 3 then watch:stop() else unruly.write(w, "x") end
        end)
        unruly.write(w, "x")
        l:run()
        assert.same({ 3, "xxx" }, { calls, table.concat(got) })
        unruly.write(w, "x")
        assert.is_false(l:step(0))
        assert.equal(3, calls)
        unruly.close(r)
        unruly.close(w)
      end)

      test("calls again as long as an object holds what it has read ahead, and stops with its watch", function()
        local r, w = unruly.pipe()
        local held, got = "", {}
        local object = { getfd = function() return r end, dirty = function() return held ~= "" end }
        local function take()
          if held == "" then held = unruly.read(r) end
          got[#got + 1] = held:sub(1, 1)
          held = held:sub(2)
        end
        unruly.write(w, "abc")
        local watch = l:watch_io(object, "r", take)
        run_until(l, function() return #got >= 3 end)
        assert.equal("abc", table.concat(got))
        assert.is_false(object.dirty())
        watch:stop()
        held = "de"                                      -- before the watch begins
        watch = l:watch_io(object, "r", take)
        run_until(l, function() return #got >= 5 end)
        watch:stop()
        assert.equal("abcde", table.concat(got))
        held = "fg"
        watch = l:watch_io(object, "r", function()
          take()
          watch:stop()
        end)
        l:run()
        assert.same({ "abcdef", "g" }, { table.concat(got), held })
        l:watch_io(object, "w", take)                    -- asks for something else
        l:step(0)
        assert.equal("g", held)
        unruly.close(r)
        unruly.close(w)
      end)

      test("lets others go on while an object holds something that nobody takes", function()
        local r, w = unruly.pipe()
        local calls, n = 0, 0
        local watch = l:watch_io({ getfd = function() return r end, dirty = function() return true end }, "r",
          function() calls = calls + 1 end)
        local timer = l:every(0.001, function() n = n + 1 end)
        run_until(l, function() return n >= 5 end)
        assert.is_true(calls >= 5, calls)
        watch:stop()
        timer:stop()
        assert.is_false(l:step(0))
        unruly.close(r)
        unruly.close(w)
      end)

      test("tells of room to write, of the end, and several watches of one descriptor of what each asks for", function()
        local r, w = unruly.pipe()
        local log = {}
        local first, second
        first = l:watch_io(w, "w", function(_, ready)
          log[#log + 1] = "w:" .. ready
          first:stop()
          unruly.close(w)
        end)
        second = l:watch_io(r, "r", function(_, ready)
          log[#log + 1] = "r:" .. ready
          second:stop()
        end)
        l:watch_io(r, "w", function() log[#log + 1] = "never" end)
        run_until(l, function() return #log >= 2 end)
        assert.same("w:w", log[1])
        assert.matches("^r:r?w?", log[2])
        l:close()
        l = loop.new(name)
        unruly.close(r)
      end)

      test("takes objects with getfd, with pollfd, and open files", function()
        local r, w = unruly.pipe()
        local file = io.popen "echo hello"
        local seen = {}
        local function once(object)
          local watch
          watch = l:watch_io(object, "r", function(given)
            seen[#seen + 1] = given
            watch:stop()
          end)
        end
        unruly.write(w, "x")
        once { getfd = function() return r end }
        once { pollfd = function() return r end }
        once(file)
        l:run()
        assert.equal(3, #seen)
        file:close()
        unruly.close(r)
        unruly.close(w)
      end)

      test("has timers in the order of their times, once or again and again, by the monotonic clock", function()
        local log, start = {}, core.now()
        local ticks = 0
        l:after(0.03, function() log[#log + 1] = "c" end)
        l:after(0.01, function() log[#log + 1] = "a" end)
        l:after(0.02, function() log[#log + 1] = "b" end)
        l:after(0.015, function() log[#log + 1] = "never" end):stop()
        l:every(0.005, function(timer)
          ticks = ticks + 1
          if ticks == 8 then timer:stop() end
        end)
        l:run()
        assert.same({ "a", "b", "c" }, log)
        assert.equal(8, ticks)
        assert.is_true(core.now() - start >= 0.04 - 0.001)
      end)

      test("makes up for no times that have passed meanwhile", function()
        local ticks = 0
        local timer = l:every(0.01, function() ticks = ticks + 1 end)
        l:after(0.001, function() core.sleep(0.2) end)
        l:after(0.215, function() l:stop() end)
        l:run()
        timer:stop()
        assert.is_true(ticks <= 4, ticks .. " ticks")
      end)

      test("calls every watch of a signal for each that has come, and puts back what was there before", function()
        local before = unruly.handler(core.signal_numbers.USR1)
        local log = {}
        local a = l:watch_signal("USR1", function(which) log[#log + 1] = "a" .. which end)
        local b = l:watch_signal("SIGUSR1", function(which) log[#log + 1] = "b" .. which end)
        send "USR1"
        run_until(l, function() return #log >= 2 end)
        assert.same({ "aUSR1", "bUSR1" }, log)
        a:stop()
        send "USR1"
        run_until(l, function() return #log >= 3 end)
        assert.same("bUSR1", log[3])
        assert.are_not.equal(before, unruly.handler(core.signal_numbers.USR1))
        b:stop()
        assert.equal(before, unruly.handler(core.signal_numbers.USR1))
        assert.equal(0, unruly.blocked())
      end)

      test("gives a child nothing of a run that is open, such as its handler of SIGCONT", function()
        local function caught()
          local set = support.read_file "/proc/self/status":match "SigCgt:%s*(%x+)"
          return tonumber(set, 16) >> core.signal_numbers.CONT - 1 & 1
        end
        core.watch_stops(true)
        local here, code = caught(), nil
        l:fork(function()
          local before = caught()
          core.watch_stops(true)                  -- a run of its own
          return 40 + 2 * before + caught()
        end, { on_exit = function(ended) code = ended.code end })
        core.watch_stops(false)
        l:run()
        assert.same({ 1, 41 }, { here, code })
      end)

      test("tells how a child has ended: by a code, by a signal; and of more than one at a time", function()
        local told, expected = {}, {}
        for i = 1, 20 do
          local pid = l:fork(function() return i end, { on_exit = function(ended) told[ended.pid] = ended.code end })
          expected[pid] = i
        end
        local killed = l:fork(function(own)
          own:after(60, function() end)
          own:run()
        end, { on_exit = function(ended) told[ended.pid] = ended.signal end })
        expected[killed] = 9
        assert(l:watch_process(1, print)):stop()  -- any other process, too
        l:watch_process(killed, function(ended)
          assert.equal(killed, ended.pid)
          assert.is_true(ended.max_rss > 100000 and ended.cpu >= 0)
        end)
        send("KILL", killed)
        l:run()
        assert.same(expected, told)
      end)

      test("forks in a callback, also in a child's own; each child has a loop that runs", function()
        local codes = {}
        local function grand(own)
          local seen
          own:after(0.001, function()
            own:fork(function(inner)
              inner:after(0.001, function() inner:stop() end)
              inner:run()
              return 5
            end, { on_exit = function(ended)
              own:after(0.001, function() seen = ended.code end)
            end })
          end)
          own:run()
          return seen == 5 and 6 or 7
        end
        l:after(0.001, function()
          l:fork(grand, { on_exit = function(ended)
            codes[#codes + 1] = ended.code
            l:fork(grand, { on_exit = function(again) codes[#codes + 1] = again.code end })
          end })
        end)
        l:run()
        assert.same({ 6, 6 }, codes)
      end)

      test("ends when nothing is left, step tells so, and stop ends after the callback", function()
        l:run()
        assert.is_false(l:step())
        local calls = 0
        l:after(0, function() calls = calls + 1 l:stop() end)
        l:after(0, function() calls = calls + 1 end)
        l:run()
        assert.equal(1, calls)
        assert.is_false(l:step(0.1))
        assert.equal(2, calls)
      end)
    end)

    -- What a child may do by mistake or on purpose, with the face and with the library's own loop.
    local mischief = {
      { "does nothing but end", function() end },
      { "watches, and runs its loop", function(own, _, _, other)
        own:watch_io(other, "r", function() end)
        own:after(0.02, function() own:stop() end)
        own:run()
      end },
      { "watches in the inherited loop, and runs that", function(_, theirs, _, other, w)
        unruly.write(w, "what is not read")
        if theirs then
          theirs.watch(other, function() end)
          theirs.run(0.05)
        end
      end },
      { "ends the parent's watches, and closes what they watch", function(_, theirs, parents, other)
        pcall(parents.watch.stop, parents.watch)
        pcall(parents.loop.close, parents.loop)
        if parents.stop then parents.stop() end
        for _, fd in ipairs(parents.descriptors) do unruly.close(fd) end
        if theirs then
          theirs.watch(other, function() end)
          theirs.run(0.02)
        end
      end },
      { "collects all that it has inherited", function(_, _, parents)
        for key in pairs(parents) do parents[key] = nil end
        l = nil
        collectgarbage()
        collectgarbage()
      end },
      { "leaves by os.exit, which closes the state", function() os.exit(0, true) end },
      { "leaves by exit of C", function() unruly.exit(0) end },
      { "raises", function() error "a child's error" end },
      { "crashes", function() unruly.fault() end },
    }

    describe("L2, L3: the parent goes on, told once of each event, when a child", function()
      for _, case in ipairs(mischief) do
        test(case[1], function()
          local theirs = adapter.own and adapter.own(adapter.loaded)
          if theirs then
            l:close()
            l = loop.adopt(theirs.object)
            assert.equal(name, l.name)
          end
          local r, w = unruly.pipe()
          local own_r, own_w = unruly.pipe()
          local idle_r, idle_w = unruly.pipe()
          local calls, own_calls, wakes, ended = 0, 0, 0, false
          local parents = { loop = l, descriptors = { r, own_r, w, own_w } }
          parents.watch = l:watch_io(r, "r", function()
            wakes = wakes + 1
            if unruly.read(r) then calls = calls + 1 end
          end)
          parents.stop = theirs and theirs.watch(own_r, function()
            wakes = wakes + 1
            if unruly.read(own_r) then own_calls = own_calls + 1 end
          end)
          local ticks = 0
          local ticker = l:every(0.01, function() ticks = ticks + 1 end)
          local err, said = unruly.pipe()
          l:fork(function(own)
            unruly.redirect(said, 2)
            case[2](own, theirs, parents, idle_r, idle_w)
          end, { on_exit = function() ended = true end })
          run_until(l, function() return ended end)
          for i = 1, 5 do
            unruly.write(w, "x")
            unruly.write(own_w, "x")
            run_until(l, function() return calls == i and (not theirs or own_calls == i) end)
          end
          local passes, before = l.passes, ticks
          run_until(l, function() return ticks >= before + 3 end)
          assert.is_true(l.passes - passes < 200, "the loop spins: " .. l.passes - passes .. " passes")
          assert.equal(theirs and 10 or 5, wakes)
          ticker:stop()
          parents.watch:stop()
          if parents.stop then parents.stop() end
          if theirs then theirs.run(0.01) end
          for _, fd in ipairs { r, w, own_r, own_w, idle_r, idle_w, err, said } do unruly.close(fd) end
        end)
      end
    end)

    describe("L3, L4", function()
      if adapter.own then
        test("timers and signals of the library's own are the parent's alone", function()
          local theirs = adapter.own(adapter.loaded)
          if not theirs.after then return end
          l:close()
          l = loop.adopt(theirs.object)
          local fired, signals, ended = 0, 0, nil
          theirs.after(0.03, function() fired = fired + 1 end)
          local stop = theirs.signal and theirs.signal("sigusr2", function() signals = signals + 1 end)
          l:step(0.001)
          local before = fired -- 1 where the machine is very busy
          l:fork(function(own)
            local got = 0
            local watch = own:watch_signal("USR2", function() got = got + 1 end)
            local raw = 0
            if theirs.signal then theirs.signal("sighup", function() raw = raw + 1 end) end
            send "USR2"
            if theirs.signal then send "HUP" end
            own:after(0.08, function() own:stop() end)
            own:run()
            watch:stop()
            return (fired > before or signals > 0) and 1 or got ~= 1 and 2 or theirs.signal and raw ~= 1 and 3 or 0
          end, { on_exit = function(how) ended = how end })
          run_until(l, function() return ended and fired > 0 end)
          l:step(0.01)
          assert.same({ 1, 0 }, { fired, signals })
          assert.equal(0, ended.code)
          if stop then
            send "USR2"
            run_until(l, function() return signals > 0 end)
            stop()
          end
          theirs.run(0.01)
        end)
      end

      test("what is the parent's is not the child's: watches, timers, signals, and the loop itself", function()
        local r, w = unruly.pipe()
        local out_r, out_w = unruly.pipe()
        local log = {}
        local function note(what) return function() log[#log + 1] = what .. ":" .. core.pid() end end
        l:after(0.05, note "timer")
        l:watch_signal("USR2", note "signal")
        l:watch_signal("TERM", note "term")
        local watch
        watch = l:watch_io(r, "r", function()
          unruly.read(r)
          note "io"()
          watch:stop()
        end)
        unruly.block(core.signal_numbers.HUP, true)
        local parent = core.pid()
        local pid = l:fork(function(own)
          unruly.block(core.signal_numbers.HUP, false)
          local refused, message = pcall(l.after, l, 1, print)
          assert(not refused and message:find("loop:after: this loop belongs to process " .. parent, 1, true), message)
          refused, message = pcall(watch.stop, watch)
          assert(not refused and message:find("belongs to process", 1, true), message)
          assert(unruly.blocked() == 0)
          assert(own.name == name and own ~= l)
          local got = {}
          own:watch_signal("USR2", function() got[#got + 1] = "own" end)
          own:after(0.1, function() own:stop() end)
          send "USR2"
          own:run()
          unruly.write(out_w, table.concat(got, ",") .. " " .. table.concat(log, ","))
          own:after(60, function() end)
          own:run()
        end, { on_exit = note "exit" })
        unruly.block(core.signal_numbers.HUP, false)
        unruly.write(w, "x")
        local said, sent
        run_until(l, function()
          said = said or unruly.read(out_r)
          if said and #log == 2 and not sent then
            send("TERM", pid)
            sent = true
          end
          return #log >= 3
        end)
        assert.equal("own ", said)
        for _, each in ipairs(log) do assert.matches(":" .. parent .. "$", each) end
        table.sort(log)
        assert.same({ "exit", "io", "timer" }, { log[1]:match "%a+", log[2]:match "%a+", log[3]:match "%a+" })
        l:close()
        for _, fd in ipairs { r, w, out_r, out_w } do unruly.close(fd) end
      end)
    end)

    describe("L7", function()
      test("an error in a callback comes out of run at its line, and all watches are put back", function()
        local before = unruly.handler(core.signal_numbers.USR1)
        for _, how in ipairs { "run", "step" } do
          l:watch_signal("USR1", function() end)
          l:after(0, function() error "boom" end)
          local ok, err = pcall(l[how], l, how == "step" and 1 or nil)
          assert.is_false(ok)
          assert.matches("loops_spec.lua:%d+: boom$", err)
          assert.equal(before, unruly.handler(core.signal_numbers.USR1))
          assert.is_false(l:step())
        end
        local thrown = {}
        l:after(0, function() error(thrown) end)
        assert.equal(thrown, select(2, pcall(l.run, l)))
      end)

      test("an error that nothing catches shows the callback's frames, and none of the library's", function()
        local path = os.tmpname()
        support.write_file(path, ([[
          package.path = package.path .. ";/usr/share/lua/5.3/?.lua;/usr/share/lua/5.2/?.lua"
          local l = assert(require "minigun.loop".new %q)
          local function inner() error "boom" end
          l:after(0, function()
            inner()
          end)
          local how = arg[1]
          local function go() l[how](l, how == "step" and 1 or nil) end
          go()
        ]]):format(name))
        for _, how in ipairs { "run", "step" } do
          local env = support.env_words(support.lua_env())
          local said = support.run(("env %s lua5.4 %s %s"):format(env, path, how)).stderr
          assert.matches(("%s:3: boom\n.*%s:3: in upvalue 'inner'\n.*%s:5: in function "):format(path, path, path),
            said)
          assert.is_nil(said:find("minigun/", 1, true), said)
          said = support.run(("%s run %s %s"):format(support.command(), path, how)).stderr
          assert.matches("^minigun: " .. path .. ":3: boom\nstack traceback:\n.*" .. path .. ":%d: in ", said)
          assert.is_nil(said:find("minigun/", 1, true), said)
        end
        os.remove(path)
      end)
    end)
  end)
end

describe("docs/loops.md", function()
  it("has a program that prints what the page says", function()
    pages.run(pages.examples "docs/loops.md", "loops.lua")
  end)

  it("names each loop, with its Debian package where it has one", function()
    local page = support.read_file "docs/loops.md"
    for _, adapter in ipairs(loops.list) do
      assert.matches(('| `"%s"`'):format(adapter.name), page, 1, true)
    end
  end)
end)

describe("loop.new", function()
  it("says which package is missing, at the caller's line", function()
    for name, package_name in pairs { cqueues = "lua-cqueues", luv = "lua-luv", event = "lua-event",
      copas = "lua-copas", select = "lua-socket" } do
      local result = support.run_lua(([[
        package.path, package.cpath = "./lua/?.lua", %q
        print(pcall(require("minigun.loop").new, %q))
        local ok, message = pcall(function() return require("minigun.loop").new %q end)
        print(message)]]):format("./" .. support.build_dir() .. "/?.so", name, name))
      assert.equal(0, result.code, result.stderr)
      local said = result.stdout:match ":3: loop.new (.-), or"
      assert.matches(("^'%s' needs the library [%%w.]+, which cannot be loaded: install %s$"):format(name,
        (package_name:gsub("%-", "%%-"))), said)
    end
  end)

  it("refuses what is no loop, and adopts what is one", function()
    for _, wrong in ipairs { "uv", "", 5, true, {} } do
      local ok, message = pcall(function() return loop.new(wrong) end)
      assert.is_false(ok)
      assert.matches("loops_spec.lua:%d+: loop.new: one of epoll, cqueues, luv, event, copas, select expected, got ",
        message)
    end
    for _, wrong in ipairs { "luv", 5, {}, io.stdout } do
      local ok, message = pcall(function() return loop.adopt(wrong) end)
      assert.is_false(ok)
      assert.matches("loops_spec.lua:%d+: loop.adopt: a controller of cqueues, ", message)
    end
    local l <close> = loop.new()
    assert.equal(l, loop.adopt(l))
  end)

  it("gives methods that blame the caller's line for wrong arguments", function()
    local l <close> = loop.new()
    for message, call in pairs {
      ["loop:after: seconds, a number of at least 0, expected, got -1"] = function() l:after(-1, print) end,
      ["loop:after: a function expected, got nil"] = function() l:after(1) end,
      ["loop:every: more than 0 seconds expected, got 0"] = function() l:every(0, print) end,
      ['loop:watch_io: the mode is "r", "w" or "rw", got "x"'] = function() l:watch_io(0, "x", print) end,
      ["loop:watch_io: a descriptor, an open file, or an object with getfd or pollfd expected, got {}"] = function()
        l:watch_io({}, "r", print)
      end,
      ["loop:watch_signal: SIGKILL: it cannot be caught"] = function() l:watch_signal("KILL", print) end,
      ['loop:watch_signal: the name of a signal expected, such as "TERM", got "FOO"'] = function()
        l:watch_signal("FOO", print)
      end,
      ["loop:watch_process: the number of a process expected, got -1"] = function() l:watch_process(-1, print) end,
      ["loop:watch_process: the number of a process expected, got 0"] = function() l:watch_process(0, print) end,
      ["loop:fork: no option is called \"onexit\"; there is 'on_exit'"] = function()
        l:fork(print, { onexit = print })
      end,
      ["loop:run: call it with a colon, on what loop.new() has returned"] = function() l.run() end,
    } do
      local ok, said = pcall(call)
      assert.is_false(ok)
      assert.matches("^spec/loops_spec.lua:%d+: ", said)
      assert.equal(message, (said:gsub("^spec/loops_spec.lua:%d+: ", "")))
    end
    local watch, message = l:watch_io(io.open "README.md", "r", print)
    assert.same({ nil, "cannot watch a regular file or a directory: it is always ready" }, { watch, message })
  end)

  it("raises where one of its callbacks runs or steps it", function()
    local l <close> = loop.new()
    l:after(0, function() l:run() end)
    assert.matches("loops_spec.lua:%d+: loop:run: the loop runs already: this is called by one of its callbacks",
      select(2, pcall(l.run, l)))
  end)

  it("says so where a descriptor was closed before its watch was stopped, and a child has it open", function()
    if not unruly then return pending "there is no C compiler" end
    local l <close> = loop.new()
    local r, w = unruly.pipe()
    local watch = l:watch_io(r, "r", function() end)
    local pid = unruly.fork()
    if pid == 0 then
      unruly.pause(30)
      unruly.leave(0)
    end
    unruly.close(r)
    watch:stop()
    unruly.write(w, "x")
    l:after(5, function() end)
    local ok, message = pcall(l.run, l)
    assert.is_false(ok)
    assert.matches(("descriptor %d was closed before its watch was stopped, and another process has it open"):format(r),
      message, 1, true)
    send("KILL", pid)
    unruly.wait(pid)
    unruly.close(w)
  end)
end)
