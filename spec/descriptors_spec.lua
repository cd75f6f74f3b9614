-- Descriptors: none of the library's is a standard one, and a handler or program that closes what is not its own and
-- opens files of its own gets no byte of the library's in them. What programs share with workers: pipes, standard
-- output. Programs that fork themselves.
local programs = require "spec.programs.build"
local support = require "spec.support"

local unruly = programs.unruly()

local CONTEXTS <const> = {
  { "inline", "{ inline = true }" }, { "processes", "{ processes = 2 }" },
  { "process_per_batch", "{ process_per_batch = 2 }" }, { "threads", "{ threads = 2 }" },
  { "threads in workers", "{ processes = 2, threads = 2 }" },
}

describe("a program without standard descriptors", function()
  for _, row in ipairs(CONTEXTS) do
    it("finds none of the library's in their place: " .. row[1], function()
      local path, journal, spool = os.tmpname(), os.tmpname(), os.tmpname()
      os.remove(journal)
      os.remove(spool)
      local script = support.write_file(os.tmpname(), ([[
        local lfs, minigun = require "lfs", require "minigun"
        local found = {}
        local function look(where, first)
          for fd = first, 2 do
            local target = lfs.symlinkattributes("/proc/self/fd/" .. fd, "target")
            if target then found[#found + 1] = where .. " " .. fd .. " " .. target end
          end
        end
        local spool = assert(minigun.spool "%s")
        look("before", 0)
        local p = minigun.pipeline "bare"
        p:producer("numbers", function(emit) for i = 1, 20 do emit(i) end end)
        p:map("work", %s, function(n)
          print "to nobody"
          if n == 7 then error "for the spool" end
          look("work", 1) -- 0 is /dev/null in a worker
          return { n, found }
        end)
        local sum = 0
        p:each("take", function(item)
          look("take", 0)
          sum = sum + item[1]
          for _, text in ipairs(item[2]) do found[#found + 1] = text end
        end)
        p:after_run(function() look("after_run", 0) end)
        local run = p:start { journal = "%s", dead_letter = spool }
        run:fd()
        while run:step(0.01) do end
        run:wait()
        local letters = 0
        for _ in spool:records() do letters = letters + 1 end
        local out = io.open("%s", "w")
        out:write(sum, " ", letters, " ", table.concat(found, ", "))
        out:close()
      ]]):format(spool, row[2], journal, path))
      local result = support.run(("exec lua5.4 %s <&- >&- 2>&-"):format(script), { env = support.lua_env() })
      local text = support.read_file(path)
      for _, name in ipairs { path, journal, spool, script } do os.remove(name) end
      assert.equal(0, result.code)
      assert.equal("203 1 ", text)
    end)
  end
end)

-- Closes all but the standard descriptors, and opens files under their numbers.
local HEAD <const> = [[
  local minigun, unruly = require "minigun", require "unruly"
  local names, files = {}, {}
  for i = 1, 30 do names[i] = arg[1] .. "." .. i end
  local function usurp()
    unruly.close_from(3)
    for i, name in ipairs(names) do
      files[i] = assert(io.open(name, "w+"))
      files[i]:setvbuf "no"
      files[i]:write "mine"
    end
  end
  local function check()
    for _, name in ipairs(names) do
      local file = io.open(name)
      local text = file and file:read "a"
      if text and text ~= "mine" then print("in a file: " .. text) end
      if file then file:close() end
      os.remove(name)
    end
  end
]]

local function usurped(body)
  local script, prefix = support.write_file(os.tmpname(), HEAD .. body), os.tmpname()
  local result = support.run(("exec lua5.4 %s %s"):format(script, prefix), { env = programs.env(), timeout = 40 })
  os.remove(script)
  os.remove(prefix)
  return result
end

describe("R79 code that closes the library's descriptors and opens files of its own under their numbers", function()
  for _, row in ipairs { CONTEXTS[2], CONTEXTS[3], CONTEXTS[5] } do
    it("in a handler: no byte comes into them, and every item is accounted for: " .. row[1], function()
      if not unruly then return pending "there is no C compiler" end
      local result = usurped(([[
        local p, seen = minigun.pipeline "usurped", 0
        p:producer("numbers", function(emit) for i = 1, 300 do emit(i) end end)
        p:map("work", %s, function(n)
          if n == 50 then usurp() end
          return n
        end)
        p:each("take", function() seen = seen + 1 end)
        local result = p:run { failures = "collect" }
        print(seen + #result.failures)
        check()
      ]]):format(row[2]))
      assert.equal(0, result.code, result.stderr)
      assert.equal("300\n", result.stdout)
    end)
  end

  -- Others are woken for the items that have come: cqueues does that by a descriptor of its own.
  it("in a thread of a worker, while others wait for items that come late", function()
    if not unruly then return pending "there is no C compiler" end
    local result = usurped [[
      local p, seen = minigun.pipeline "usurped", 0
      p:producer("numbers", { threads = 1 }, function(emit)
        for i = 1, 60 do
          minigun.sleep(0.003)
          emit(i)
        end
      end)
      p:map("work", { processes = 1, threads = 3 }, function(n)
        if n == 10 then
          usurp()
          require "minigun.core".sleep(0.1) -- more items come meanwhile
          minigun.sleep(0.001)
        end
        return n
      end)
      p:each("take", function() seen = seen + 1 end)
      local result = p:run { failures = "collect" }
      print(seen + #result.failures)
      check()
    ]]
    assert.equal(0, result.code, result.stderr)
    assert.equal("60\n", result.stdout)
  end)

  for _, where in ipairs { "a stage of the coordinator", "its loop" } do
    it("in " .. where .. ": the run ends and says why, no byte comes into them, no child is left", function()
      if not unruly then return pending "there is no C compiler" end
      local inside = where ~= "its loop"
      local result = usurped(([[
        local p, n, workers = minigun.pipeline "usurped", 0, {}
        p:after_fork(function(ctx) ctx:collect("pids", ctx.pid) end)
        p:producer("numbers", function(emit) for i = 1, 100000 do emit(i) end end)
        p:map("work", { processes = 2 }, function(i) return i end)
        p:each("take", function()
          n = n + 1
          if n == 50 and %s then usurp() end
        end)
        local run = p:start()
        local ok, message = pcall(function()
          while run:step(0.01) do
            if n > 50 and not files[1] then usurp() end
          end
          return run:wait()
        end)
        print(ok, message)
        run:close()
        for i, file in ipairs(files) do
          local at, why = file:seek "cur"
          if at ~= 4 then print("moved", i, at, why, require "minigun.core".link("/proc/self/fd/" .. i + 2)) end
        end
        check()
        print(#require "spec.support".children() .. " children")
      ]]):format(tostring(inside)))
      assert.equal(0, result.code, result.stderr)
      assert.is_truthy(result.stdout:find("false\t.*descriptor"), result.stdout)
      assert.is_nil(result.stdout:find("in a file", 1, true), result.stdout)
      assert.is_nil(result.stdout:find("moved", 1, true), result.stdout)
      assert.matches("\n0 children\n$", result.stdout)
    end)
  end
end)

describe("what workers share with the program", function()
  it("a pipe that an inline stage closes in its last hook: the program after it sees the end", function()
    for _, options in ipairs { "{ processes = 2 }", "{ process_per_batch = 2 }", "{ processes = 1, threads = 2 }" } do
      local result = support.run_lua(([[
        local minigun = require "minigun"
        local out = io.popen("wc -l", "w")
        local p = minigun.pipeline "piped"
        p:producer("numbers", function(emit) for i = 1, 12 do emit(i) end end)
        p:map("work", %s, function(n) return n end)
        p:each("write", function(n) out:write(n, "\n") end)
        p:after("write", function() print("closed", out:close()) end)
        p:run()
      ]]):format(options), { timeout = 30 })
      assert.equal(0, result.code, result.stderr)
      assert.is_truthy(result.stdout:find("12", 1, true), result.stdout)
      assert.is_truthy(result.stdout:find("closed\ttrue", 1, true), result.stdout)
    end
  end)

  it("standard output: whole lines from many workers, written at once or in pieces", function()
    for _, options in ipairs { "{ processes = 4 }", "{ processes = 2, threads = 2 }" } do
      local result = support.run_lua(([[
        local minigun = require "minigun"
        local p = minigun.pipeline "lines"
        p:producer("numbers", function(emit) for i = 1, 3000 do emit(i) end end)
        p:each("write", %s, function(n)
          local text = ("x"):rep(n %% 97)
          if n %% 2 == 0 then
            io.write(n, " ", text, " ", n, "\n")
          else
            io.write(n, " ")
            io.write(text, " ")
            io.stdout:write(n)
            io.write "\n"
          end
        end)
        p:run()
      ]]):format(options))
      assert.equal(0, result.code, result.stderr)
      local lines = 0
      for line in result.stdout:gmatch "[^\n]*\n" do
        local first, text, last = line:match "^(%d+) (x*) (%d+)\n$"
        assert.is_true(first == last and first ~= nil and #text == tonumber(first) % 97, "torn: " .. line)
        lines = lines + 1
      end
      assert.equal(3000, lines)
    end
  end)
end)

describe("a process that forks itself", function()
  local WHERE <const> = { "inline", "processes", "process_per_batch", "threads", "hosted", "producer", "hook" }
  local confined = programs.confined()

  -- A handler that forks and returns in both, in the program itself and in a child that the program has forked.
  local SOURCE <const> = [[
    local minigun, unruly = require "minigun", require "unruly"
    local core = require "minigun.core"
    local where, outside = arg[1], tonumber(arg[2])
    for _ = 1, outside do
      local pid = unruly.fork()
      if pid ~= 0 then
        local code = unruly.wait(pid)
        os.exit(code or 99)
      end
    end
    local options = ({ processes = { processes = 2 }, process_per_batch = { process_per_batch = 2 },
      threads = { threads = 2 }, hosted = { processes = 2, threads = 2 }, producer = { processes = 2 },
      hook = { processes = 2 } })[where] or { inline = true }
    local own, forked = core.pid(), false
    local p, seen, n = minigun.pipeline "copies", {}, 0
    p:producer("numbers", function(emit)
      for i = 1, 40 do
        if i == 5 and where == "producer" then unruly.fork() end
        emit(i)
      end
    end)
    p:before("work", function() if where == "hook" then unruly.fork() end end)
    p:map("work", options, function(i)
      if i == 5 and where ~= "producer" and where ~= "hook" then unruly.fork() end
      return i
    end)
    p:each("take", function(i)
      assert(not seen[i], "twice")
      seen[i], n = true, n + 1
    end)
    local ok, result = pcall(p.run, p, { failures = "collect" })
    if core.pid() ~= own then -- a copy of the coordinator: it is told so, and nothing else
      io.stderr:write(ok and "a copy has run on\n" or tostring(result):find "another process" and "" or result .. "\n")
      unruly.leave(0)
    end
    print(ok, n, ok and result.failed or result)
  ]]

  for _, deny in ipairs { "", "deny=1:madvise", "deny=22:madvise:18" } do
    it("is not taken for its copy, nor the copy for it" .. (deny ~= "" and ": " .. deny or ""), function()
      if not unruly or not confined then return pending "there is no C compiler" end
      support.deadline(100)
      local script = support.write_file(os.tmpname(), SOURCE)
      for number, where in ipairs(WHERE) do
        for outside = 0, 2 do
          if support.long or (number + outside) % 3 == #deny % 3 then
            local result = support.run(("%s %s -- lua5.4 %s %s %d"):format(confined, deny, script, where, outside),
              { env = programs.env(), timeout = 30 })
            if result.code == 77 then return pending(result.stderr) end
            local what = ("%s, forked %d times: %s"):format(where, outside, result.stderr)
            assert.equal(0, result.code, what)
            assert.equal("true\t40\t0\n", result.stdout, what)
            assert.equal("", result.stderr, what)
          end
        end
      end
      os.remove(script)
    end)
  end
end)

describe("a worker whose loop waits by select", function()
  it("has no descriptor that select cannot take", function()
    for _, name in ipairs { "select", "copas" } do
      local result = support.run_lua(([[
        if not pcall(require, "socket") or %q == "copas" and not pcall(require, "copas") then return print "none" end
        local loop = require("minigun.supervisor.kinds").make_loop %q
        local limits = io.open("/proc/self/limits"):read "a"
        print(require("socket")._SETSIZE or 1024, limits:match "Max open files%%s+(%%d+)")
      ]]):format(name, name))
      local most, limit = result.stdout:match "(%d+)\t(%d+)"
      assert.is_true(result.stdout == "none\n" or tonumber(limit) <= tonumber(most), result.stdout .. result.stderr)
    end
  end)
end)
