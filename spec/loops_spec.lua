-- Event loops: one table of tests for every adapter (rules L1 to L7 of docs/loops.md).

local loop = require "minigun.loop"
local core = require "minigun.core"
local programs = require "spec.programs.build"
local support = require "spec.support"

local unruly = programs.unruly()

-- From an adapter's name to the library that it needs.
local ADAPTERS <const> = {
  { "epoll" },
}

local function missing(library)
  return library and not pcall(require, library) and library .. " is not installed"
end

-- Runs the loop until the condition holds; an error when it does not within the time.
local function run_until(l, condition, seconds)
  local late
  local guard = l:after((seconds or 20) * support.patience, function()
    late = true
    l:stop()
  end)
  local look
  look = l:every(0.001, function() if condition() then l:stop() end end)
  l:run()
  if guard.loop then guard:stop() end
  if look.loop then look:stop() end
  assert(not late, "not within the time")
end

local function send(name, pid) assert(unruly.kill(pid or core.pid(), core.signal_numbers[name])) end

for _, adapter in ipairs(ADAPTERS) do
  local name, library = table.unpack(adapter)
  describe(("the loop '%s'"):format(name), function()
    local l

    local function test(title, f)
      it(title, function()
        local reason = missing(library) or not unruly and "there is no C compiler"
        if reason then return pending(reason) end
        l = assert(loop.new(name))
        f()
        if l.process == core.process() then l:close() end
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
        l:watch_process(killed, function(ended)
          assert.equal(killed, ended.pid)
          assert.is_true(ended.max_rss > 100000 and ended.cpu >= 0)
        end)
        send("KILL", killed)
        l:run()
        assert.same(expected, told)
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

    describe("L3, L4", function()
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
    end)
  end)
end
