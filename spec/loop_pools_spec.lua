-- Event loops and pipelines (rule L6 of docs/loops.md): runs that a loop moves, loops in handlers, loops in one
-- another, and workers that are forked by a program which has a loop.

local loop = require "minigun.loop"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local loops = require "spec.loops"
local minigun = require "minigun"
local programs = require "spec.programs.build"
local support = require "spec.support"

local unruly = programs.unruly()
local SEED <const> = math.tointeger(os.getenv "SEED") or 1

for index, adapter in ipairs(loops.list) do
  local name = adapter.name
  describe(("L6: the loop '%s'"):format(name), function()
    local l

    local function test(title, f, missing)
      it(title, function()
        if missing then return pending(missing) end
        loops.in_test(adapter, pending, function(made)
          l = made
          f()
          made, l = l, nil
          return made
        end)
      end)
    end

    test("moves random pipelines, which give what the model says", function()
      support.deadline(support.short_or_long(100, 3000))
      local count = support.short_or_long(1, 200) -- each in three places
      local result = support.run_lua([[dofile "spec/programs/looped.lua"]], {
        args = { name, SEED * 10 + index, count }, timeout = support.short_or_long(90, 2900) * support.patience })
      assert.equal("", result.stderr)
      assert.matches(("%d pipelines, 0 failed"):format(count), result.stdout, 1, true)
      assert.is_true(tonumber(result.stdout:match "(%d+) ticks") > 0)
    end)

    test("moves several runs, and one that begins and ends in a callback of it", function()
      local function doubled(options)
        local p = minigun.pipeline "doubled"
        p:producer("numbers", function(emit) for i = 1, 100 do emit(i) end end)
        p:map("double", options, function(x) return 2 * x end)
        return p
      end
      local open, sums = 0, {}
      local function move(run)
        open = open + 1
        local watch
        watch = l:watch_io(run:fd(), "r", function()
          if run:step() then return end
          watch:stop()
          local sum = 0
          for _, item in ipairs(run:wait().items) do sum = sum + item end
          sums[#sums + 1] = sum
          open = open - 1
        end)
      end
      move(doubled({ processes = 2 }):start())
      move(doubled({ threads = 3 }):start())
      move(doubled({}):start())
      l:after(0.001, function()
        sums[#sums + 1] = #doubled({ processes = 1 }):run().items
      end)
      l:run()
      table.sort(sums)
      assert.same({ 100, 10100, 10100, 10100 }, sums)
    end)

    test("runs in handlers: of workers, of threads, of the coordinator", function()
      for _, where in ipairs { { processes = 2 }, { threads = 2 }, { process_per_batch = 2 }, {} } do
        local items = minigun.map({ 1, 2, 3, 4 }, function(x)
          local own <close> = loop.new(name)
          local got = 0
          own:after(0.001, function() got = got + x end)
          own:fork(function() return x end, { on_exit = function(ended) got = got + ended.code end })
          own:run()
          return got
        end, where)
        assert.same({ 2, 4, 6, 8 }, items)
      end
    end)

    -- The threads' own event loop is one of cqueues, where that is installed, or the library's.
    for _, threads in ipairs(contexts.loops) do
      describe("in " .. threads.name, function()
        after_each(function() contexts.use_loop() end)

        test("lets the other threads of a pool go on while it runs in one", function()
          if threads.own and name == "cqueues" then return end -- it is hidden there
          contexts.use_loop(threads)
          local begun = 0
          local items = minigun.map({ 1, 2, 3, 4, 5, 6, 7, 8 }, function(x)
            begun = begun + 1
            local own <close> = loop.new(name)
            local got = 0
            own:every(0.001, function(timer) -- until all have begun
              if begun < 8 then return end
              got = got + x
              timer:stop()
            end)
            own:fork(function(childs)
              childs:after(0.001, function() end)
              childs:run()
              minigun.sleep(0.001)
              return x
            end, { on_exit = function(ended) got = got + ended.code end })
            own:run()
            own:after(0.01, function() got = got + x end)
            while own:step(0.5) do end
            return got
          end, { threads = 8 })
          assert.same({ 3, 6, 9, 12, 15, 18, 21, 24 }, items)
          local _, failed = minigun.map({ 1 }, function()
            local own <close> = loop.new(name)
            own:after(0, function() error "in a thread" end)
            own:run()
          end, { threads = 1, failures = "collect" })
          assert.matches("loop_pools_spec.lua:%d+: in a thread$", failed[1].message)
        end)

        if name == "luv" then
          test("serves threads that wait for callbacks of luv alone", function()
            contexts.use_loop(threads)
            local uv = adapter.loaded
            for _, where in ipairs { { threads = 4 }, { threads = 4, processes = 1 } } do
              assert.same({ 1, 2, 3, 4 }, minigun.map({ 1, 2, 3, 4 }, function(x)
                local own <close> = loop.new "luv"
                local timer, got = uv.new_timer(), nil
                timer:start(5 * x, 0, function()
                  got = x
                  timer:close()
                  own:stop()
                end)
                own:run()
                return got
              end, where))
            end
          end)
        end
      end)
    end

    for _, other in ipairs(loops.list) do
      test(("lives beside that of '%s', and inside it"):format(other.name), function()
        local outer <close> = loop.new(other.name)
        local log = {}
        l:after(0.01, function() log[#log + 1] = "inner timer" end)
        l:fork(function() return 3 end, { on_exit = function(ended) log[#log + 1] = "exit " .. ended.code end })
        local signal = l:watch_signal("USR1", function() log[#log + 1] = "signal" end)
        local both = outer:watch_signal("USR1", function() log[#log + 1] = "outer signal" end)
        if other.name ~= name or name ~= "luv" and name ~= "copas" then -- of these there is one, which both are in
          outer:watch_io(l:fd(), "r", function() l:step() end)
        end
        outer:after(0.02, function() unruly.kill(core.pid(), 10) end)
        local look
        look = outer:every(0.002, function()
          if #log < 4 then return end
          signal:stop()
          both:stop()
          look:stop()
          outer:stop()
        end)
        outer:run()
        table.sort(log)
        assert.same({ "exit 3", "inner timer", "outer signal", "signal" }, log)
      end, other.missing)
    end

    -- A worker inherits the program's loop: what it closes or collects is not to reach that.
    test("goes on while workers close and collect what they have inherited of it", function()
      local theirs = adapter.own and adapter.own(adapter.loaded)
      if theirs then
        l:close()
        l = loop.adopt(theirs.object)
      end
      local r, w = unruly.pipe()
      local own_r, own_w = unruly.pipe()
      local calls, own_calls = 0, 0
      local watch = l:watch_io(r, "r", function() calls = calls + #unruly.read(r) end)
      local kept = { stop = theirs and theirs.watch(own_r, function() own_calls = own_calls + #unruly.read(own_r) end) }
      local stop = kept.stop
      for _, where in ipairs { { processes = 2 }, { process_per_batch = 1 } } do
        minigun.each({ 1, 2, 3 }, function()
          if l then l:close() end
          if kept.stop then kept.stop() end
          kept, l, theirs, stop = {}, nil, nil, nil
          collectgarbage()
          collectgarbage()
        end, where)
      end
      unruly.write(w, "xx")
      unruly.write(own_w, "xx")
      local look
      look = l:every(0.002, function()
        if calls == 2 and (not theirs or own_calls == 2) then l:stop() end
      end)
      local guard = l:after(20 * support.patience, function() l:stop() end)
      l:run()
      assert.same({ 2, theirs and 2 or 0 }, { calls, own_calls })
      for _, each in ipairs { look, guard, watch } do each:stop() end
      if stop then
        stop()
        theirs.run(0.01)
      end
      for _, fd in ipairs { r, w, own_r, own_w } do unruly.close(fd) end
    end)
  end)
end

it("L6: the child of a loop beside a run holds nothing of the run", function()
  local result = support.run_lua([[
    local loop = require "minigun.loop"
    local minigun = require "minigun"
    local core = require "minigun.core"
    local l = loop.new()
    local run = minigun.pipeline "beside"
      :producer("numbers", function(emit) for i = 1, 4 do emit(i) minigun.sleep(0.05) end end)
      :each({ processes = 2 }, function() minigun.command { "true" } end):start()
    local watch
    watch = l:watch_io(run:fd(), "r", function() if not run:step() then watch:stop() end end)
    l:watch_signal("USR1", print):stop()
    local list = "for fd in /proc/%d/fd/*; do readlink $fd; done | grep -E 'anon|pipe' | sort"
    local function held() return io.popen(list:format(core.pid())):read "a" end
    l:after(0.06, function()
      l:fork(function(own)
        own:after(0.001, function() end)
        own:run()
        print(#(held():gsub("[^\n]", "")), held():match "anon[^\n]*")
      end)
    end)
    l:run()
    print(run:wait().ok)]])
  assert.equal("", result.stderr)
  local lines, first = result.stdout:match "^(%d+)\t([^\n]*)\ntrue\n$"
  assert.equal("anon_inode:[eventpoll]", first, result.stdout)
  assert.is_true(tonumber(lines) <= 4, result.stdout) -- its own loop, the listing, what the test was started with
end)
