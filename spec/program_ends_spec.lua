-- R81: a program that a handler has started ends with its item's time-out, its worker and its run, whatever started it.
local contexts = require "spec.contexts"
local minigun = require "minigun"
local programs = require "spec.programs.build"
local support = require "spec.support"

local unruly = programs.unruly()

-- What a handler starts, each with children of its own; MARK is a number of seconds that no other test uses. In the
-- coordinator's own process only minigun.command can promise it.
local STARTS <const> = [[
  local popen, execute = io.popen, os.execute -- as many programs have them
  local mark = os.getenv "MARK"
  local function others()
    pipe = popen("sleep " .. mark .. "; true")
    execute("sleep " .. mark .. " & sleep " .. mark .. " >/dev/null &")
    io.popen("sleep " .. mark .. " & cat >/dev/null", "w")
  end
  local function is_there()
    local look = 'env -u LD_PRELOAD grep -qsa "slee[p].$0" /proc/[0-9]*/cmdline'
    return minigun.command { "sh", "-c", look, mark }.ok
  end
  local function command(options)
    return minigun.command("sleep " .. mark .. " & sleep " .. mark .. "; true", options)
  end
]]

local marks = 0
local function new_mark()
  marks = marks + 1
  return ("%d.%06d"):format(1000 + marks, support.pid())
end

-- How many processes have the mark in their command line, and how many of them are stopped.
local function running(mark)
  local n, stopped = 0, 0
  for entry in require "lfs".dir "/proc" do
    local line = entry:match "^%d+$" and support.read_file("/proc/" .. entry .. "/cmdline")
    if line and line:find(mark, 1, true) and line:find "sleep" then
      n = n + 1
      if (support.read_file("/proc/" .. entry .. "/stat") or ""):find "%) T " then stopped = stopped + 1 end
    end
  end
  return n, stopped
end

local function all_gone(mark)
  return support.wait_until(function() return running(mark) == 0 end, 10 * support.patience)
end

-- Starts a program of Lua as a job of its own, with default signals (a stop has no effect in a group that no process of
-- its session looks after); returns its pid, a function that ends what is left of it, and the path of what it prints.
local function start(source, mark, pids)
  if not unruly then pending "there is no C compiler" end
  local path, out = os.tmpname(), os.tmpname()
  support.write_file(path, 'local minigun, core = require "minigun", require "minigun.core"\n' .. STARTS .. source)
  local pid = unruly.launch(("MARK=%s PIDS=%s %s exec lua5.4 %s >%s 2>&1"):format(mark, pids or "/dev/null",
    support.env_words(support.lua_env()), path, out))
  return pid, function()
    local ended = support.wait_until(function() return not support.alive(pid) end, 20 * support.patience)
    if not ended then os.execute("kill -9 " .. pid) end
    unruly.wait(pid)
    local text = support.read_file(out)
    for _, name in ipairs { path, out } do os.remove(name) end
    return ended, text
  end, out
end

-- What a handler of a thread has left in the background is its worker's: that a time-out of the thread ends.
local function has_others(context, more)
  return not context.inline and not (more and context.hosted)
end

-- A pipeline whose one item starts programs and then waits for one of them.
local function pipeline(context, more)
  return ([[
    local p = minigun.pipeline "programs"
    p:producer { 1 }
    p:each("start", %s, function(_, ctx)
      if %s then others() end
      io.open(os.getenv "PIDS", "a"):write(core.pid(), "\n"):close()
      command()
    end)
  ]]):format(contexts.literal(contexts.options(context, more)), tostring(has_others(context, more)))
end

local function least(context) return context.inline and 3 or 8 end

-- How the programs of one context may come to their end: what the program does besides, and what is done to it.
local ENDS <const> = {
  ["the death of the coordinator by SIGKILL"] = { run = "p:run()", signal = 9 },
  ["Ctrl-C"] = { run = "p:run()", signal = 2 },
  ["the run's kill"] = { run = [[
    local run = p:start()
    run:step(0.1)
    repeat run:step(0.05) until is_there()
    run:kill()
    print "over"
    io.read()]], over = true },
}

describe("R81 a program that a handler has started ends", function()
  for _, context in ipairs(contexts.all) do
    for what, ending in pairs(ENDS) do
      if not (context.inline and not context.threads and ending.over) then -- there a step lasts as long as the handler
        it(("with %s [%s]"):format(what, context.name), function()
          local mark = new_mark()
          local pid, finish, out = start(pipeline(context) .. ending.run, mark)
          local there = support.wait_until(function()
            return running(mark) >= least(context) or ending.over and support.read_file(out) ~= ""
          end, 20 * support.patience)
          if ending.signal then os.execute(("kill -%d %d"):format(ending.signal, pid)) end
          local gone = all_gone(mark)
          local ended, text = finish()
          assert.is_true(there or ending.over, text)
          assert.is_true(gone and ended, text)
        end)
      end
    end
  end

  for _, context in ipairs(contexts.forked) do
    it(("with its worker's death by SIGKILL [%s]"):format(context.name), function()
      local mark, pids = new_mark(), os.tmpname()
      local _, finish = start(pipeline(context) .. [[
        p:on_worker_exit(function()
          local left = true
          for _ = 1, 500 do
            left = is_there()
            if not left then break end
            minigun.sleep(0.02)
          end
          print(left and "programs are left" or "all gone")
        end)
        p:run { failures = "collect" }
      ]], mark, pids)
      assert.is_true(support.wait_until(function() return running(mark) >= 8 end, 20 * support.patience))
      os.execute("kill -9 " .. support.read_file(pids))
      local gone = all_gone(mark)
      local ended, text = finish()
      os.remove(pids)
      assert.is_true(gone and ended, text)
      assert.matches("^all gone\n", text)
    end)

    it(("with its worker's end in good order [%s]"):format(context.name), function()
      local mark = new_mark()
      local _, finish = start(("local p = minigun.pipeline 'ends'\np:producer { 1, 2 }\np:each(%s, function() " ..
        "others() end)\nprint(p:run().ok)\nio.read()"):format(contexts.literal(context.options)), mark)
      local gone = all_gone(mark)
      local _, text = finish()
      assert.is_true(gone)
      assert.equal("true\n", text)
    end)
  end

  for _, context in ipairs(contexts.all) do
    if not context.inline or context.threads then
      it(("with its item's time-out [%s]"):format(context.name), function()
        local mark = new_mark()
        local _, finish = start(pipeline(context, { timeout = 0.5 }) .. [[
          p:on_failure(function(failure)
            local left = true
            for _ = 1, 500 do
              left = is_there()
              if not left then break end
              minigun.sleep(0.02)
            end
            print(failure.kind, left and "programs are left" or "all gone")
          end)
          p:run()
        ]], mark)
        local ended, text = finish()
        assert.is_true(all_gone(mark) and ended)
        assert.equal("timeout\tall gone\n", text)
      end)
    end
  end

  it("later where Ctrl-Z stops it with its worker and the coordinator, and goes on with them", function()
    local mark = new_mark()
    local pid, finish = start([[
      local p = minigun.pipeline "stopped"
      p:producer { 1 }
      p:each("worker", { processes = 1 }, function() os.execute("sleep " .. mark .. "; true") end)
      p:each("thread", { threads = 1, from = "producer 1" }, function() minigun.command { "sleep", mark } end)
      p:run()
    ]], mark)
    local function has(n, state)
      return support.wait_until(function()
        local all, stopped = running(mark)
        return all == n and (state == "T" and stopped == n or state ~= "T" and stopped == 0)
      end, 20 * support.patience)
    end
    local there = has(3)
    local workers = support.children(pid)
    os.execute("kill -TSTP " .. pid)
    local stopped = has(3, "T")
    local states
    support.wait_until(function() -- of the keeper there is no need
      states = ""
      for _, child in ipairs { pid, table.unpack(workers) } do
        states = states .. (support.read_file("/proc/" .. child .. "/stat") or ""):match "%) (%a) .*"
      end
      return states:find "^TT"
    end)
    os.execute("kill -CONT " .. pid)
    local goes_on = has(3)
    os.execute("kill -INT " .. pid)
    local gone = all_gone(mark)
    local _, text = finish()
    assert.same({ true, true, true, true }, { there, stopped, goes_on, gone }, text)
    assert.matches("^TT", states)
  end)

  it("with an error of the handler that calls it, and the keeper with the run", function()
    local mark = new_mark()
    local _, finish = start([[
      local p = minigun.pipeline "errors"
      p:producer { 1 }
      p:each("fail", { inline = true }, function()
        debug.sethook(function()
          debug.sethook()
          error("from a hook", 0)
        end, "", 5000)
        minigun.command("sleep " .. mark .. " & while :; do echo; done")
      end)
      local result = p:run { failures = "collect" }
      print(result.failures[1].message, io.open("/proc/self/task/" .. core.pid() .. "/children"):read "a" == "")
    ]], mark)
    local ended, text = finish()
    assert.is_true(all_gone(mark) and ended)
    assert.equal("from a hook\ttrue\n", text)
  end)
end)

describe("R81 a file of io.popen", function()
  -- Each holds the program in another way when its thread is ended.
  local HOLDS <const> = {
    ["a variable that is closed"] = 'local pipe <close> = io.popen(text) minigun.wait(pipe)',
    ["a variable"] = 'local pipe = io.popen(text) minigun.wait(pipe)',
    ["a loop"] = 'for line in io.popen("echo; " .. text):lines() do minigun.sleep(60) end',
    ["a function's variable"] = 'local function f() local p <close> = io.popen(text) minigun.sleep(60) end f() f()',
    ["a writer"] = 'local pipe <close> = io.popen(text, "w") minigun.sleep(60)',
  }
  contexts.each_loop(function()
    for what, hold in pairs(HOLDS) do
      for _, options in ipairs { { threads = 2, timeout = 0.5 }, { processes = 1, threads = 2, timeout = 0.5 } } do
        it(("in %s does not stop %s past its item's time-out"):format(what,
          options.processes and "a worker" or "the coordinator"), function()
          local mark = new_mark()
          local p = minigun.pipeline "popen"
          p:producer { 1 }
          local f = assert(load("local minigun, text = ... return function() " .. hold .. " end"))(minigun,
            "sleep " .. mark .. "; echo done")
          p:each("wait", options, f)
          local result = p:run { failures = "collect" }
          assert.equal("timeout", result.failures[1].kind)
          assert.is_true(result.elapsed < 30)
          assert.is_true(all_gone(mark))
        end)
      end
    end
  end)

  for _, context in ipairs(contexts.forked) do
    it(("that was opened before the run may be closed by a hook `after`, beside %s"):format(context.name), function()
      for _, here in ipairs { { inline = true }, { threads = 2 } } do
        local path, said = os.tmpname(), nil
        local out = io.popen("sort -n >" .. path, "w")
        local p = minigun.pipeline "inherited"
        contexts.source(p, 9)
        p:map("work", contexts.options(context), function(n) return n end)
        here.after = function()
          out:close()
          said = support.read_file(path)
        end
        p:each("write", here, function(n) out:write(n, "\n") end)
        assert.is_true(p:run().ok)
        assert.equal("1\n2\n3\n4\n5\n6\n7\n8\n9\n", said)
        os.remove(path)
      end
    end)
  end

  it("that a stopped producer reads from does not hold up the run's end; one that it writes to gets all", function()
    local mark, path = new_mark(), os.tmpname()
    local p = minigun.pipeline "stopped"
    p:producer("lines", function(emit)
      local sort <close> = assert(io.popen("sleep 0.3; cat >" .. path, "w"))
      sort:write "kept"
      local lines = io.popen("echo one; exec sleep " .. mark):lines()
      local line = lines()
      while line do emit(line) end
    end)
    p:each("take", { processes = 1 }, function() end)
    local run = p:start()
    run:step(0.2)
    run:stop()
    assert.is_true(run:wait(30).ok)
    assert.is_true(all_gone(mark))
    assert.equal("kept", support.read_file(path))
    os.remove(path)
  end)
end)
