-- What workers print at a terminal that has a progress line: it comes through the coordinator, line by line.
local contexts = require "spec.contexts"
local support = require "spec.support"
local terminal = require "spec.terminal"

local function it_at_a_terminal(name, body)
  it(name, function()
    if not terminal.available() then return pending "there is no C compiler, or no pseudo-terminal" end
    support.deadline(90)
    return body()
  end)
end

-- Runs a program at a terminal; returns the lines that are left on the screen, and all that was written.
local function lines_of(source, words, script)
  local path = support.write_file(os.tmpname(),
    'local minigun, core = require "minigun", require "minigun.core"\n' .. source)
  local result = terminal.play(("sh -c 'exec lua5.4 %s %s'"):format(path, words or ""), script or "? (end)\n")
  os.remove(path)
  assert.is_true(result.code ~= 99, result.stderr)
  local lines = {}
  for line in terminal.screen(result.stderr):gmatch "[^\n]+" do lines[#lines + 1] = (line:gsub("\r", "")) end
  return lines, result.stderr
end

-- A pipeline whose handler prints; `body` has item, ctx.
local function printing(context, body, items, options)
  return ([[
    local p = minigun.pipeline "prints"
    p:producer("numbers", function(emit) for i = 1, %d do emit(i) end end)
    p:processor("print", %s, function(item, emit, ctx) %s end)
    local result = p:run(%s)
    print(result.ok, "(end)")
  ]]):format(items, contexts.literal(contexts.options(context)), body, options or "")
end

describe("what workers print at a terminal", function()
  for _, context in ipairs(contexts.forked) do
    it_at_a_terminal("is whole lines, all of them, in each worker's order, in " .. context.name, function()
      local lines, all = lines_of(printing(context, [[
        local long = ("x"):rep(item % 7 * 10)
        print(("<%d %d out %s>"):format(core.pid(), item, long))
        io.stderr:write("<", core.pid(), " ", item, " err ", long, ">\n")
        minigun.sleep(0.05)
      ]], 40))
      local seen, last, count = {}, {}, 0
      for _, line in ipairs(lines) do
        local pid, item, where, long = line:match "^<(%d+) (%d+) (%a+) (x*)>$"
        if pid then
          item = tonumber(item)
          assert.equal(item % 7 * 10, #long)
          local at = item * 2 + (where == "err" and 1 or 0)
          assert.is_nil(seen[at], line)
          if not context.hosted then assert.is_true((last[pid] or 0) < at, line) end
          seen[at], last[pid], count = true, at, count + 1
        else
          assert.matches("(end)", line, 1, true)
        end
      end
      assert.equal(80, count, all)
      assert.is_true(context.hosted or #terminal.drawn(all) > 0) -- six threads are through before there is a line
    end)
  end

  it_at_a_terminal("comes also when it is the last before kill -9, begun lines too", function()
    local lines = lines_of([[
      local p = minigun.pipeline "words"
      p:producer { 1, 2 }
      p:each({ processes = 1 }, function(item)
        if item == 2 then return core.sleep(0.8) end
        io.write "these are my last wo"
        io.stdout:flush()
        io.stderr:write "rds\nand mo"
        core.kill(core.pid(), 9)
      end)
      p:on_worker_exit(function(exit) print(exit.signal or "good") end)
      p:run { failures = "collect" }
      print "(end)"
    ]])
    assert.same({ "these are my last words", "and mo", "9", "good", "(end)" }, lines)
  end)

  it_at_a_terminal("comes of workers that a run kills", function()
    local lines = lines_of([[
      local p = minigun.pipeline "words"
      p:producer { 1 }
      p:each({ processes = 1 }, function()
        io.stderr:write "begun"
        core.sleep(0.7)
        io.stderr:write "\nsaid "
        core.sleep(60)
      end)
      local ok, err = pcall(p.run, p)
      print(ok, err, "(end)")
    ]], nil, "? begun\n. 0.3\n^C\n? (end)\n")
    local text = table.concat(lines, "|"):gsub("%^C", "")
    assert.matches("begun|", text, 1, true)
    assert.matches("said", text, 1, true)
    assert.matches("false\tinterrupted!", text, 1, true)
  end)

  it_at_a_terminal("is tagged with stage and worker where that is asked for", function()
    local lines = lines_of(printing({ options = { processes = 2 } }, "print(item, ctx.worker) core.sleep(0.2)", 6,
      '{ output = "tag" }'))
    local n = 0
    for _, line in ipairs(lines) do
      local worker, own = line:match "^%[print (%d)%] %d\t(%d)$"
      if worker then
        assert.equal(own, worker)
        n = n + 1
      end
    end
    assert.equal(6, n)
  end)

  it_at_a_terminal("goes straight to the terminal where that is asked for, and what is redirected stays so", function()
    local body = [[io.stderr:write(os.execute "test -t 1" and "tty" or "none", " ",
      os.execute "test -t 2" and "tty" or "none", "\n") core.sleep(0.7)]]
    local function both(options, words)
      return lines_of(printing({ options = { processes = 1 } }, body, 1, options)
        .. "io.stderr:write '(end)\\n'", words)[1]
    end
    assert.equal("none none", both "")
    assert.equal("tty tty", both '{ output = "direct" }')
    assert.equal("tty tty", both "{ progress = false }")
    assert.equal("none tty", both('{ output = "direct" }', ">/dev/null"))
    local path = os.tmpname()
    lines_of(printing({ options = { processes = 1 } }, "print 'to the file' core.sleep(0.7)", 1)
      .. "io.stderr:write '(end)\\n'", ">" .. path)
    assert.equal("to the file\ntrue\t(end)\n", support.read_file(path))
    os.remove(path)
  end)

  it_at_a_terminal("costs nothing any more when a worker has closed its outputs", function()
    if not package.searchpath("luv", package.cpath) then return pending "luv is not installed" end
    local lines = lines_of([[
      local uv = require "luv"
      local p = minigun.pipeline "closes"
      p:producer("numbers", { 1 })
      p:each("close", { processes = 1 }, function()
        uv.fs_close(1)
        uv.fs_close(2)
        minigun.sleep(2)
      end)
      local before = core.worked()
      p:run()
      print("seconds of the processor: " .. core.worked() - before)
    ]], nil, "? processor\n")
    local seconds
    for _, line in ipairs(lines) do seconds = seconds or tonumber(line:match "processor: (.*)$") end
    assert.is_true(seconds and seconds < 0.25, seconds or table.concat(lines, "\n"))
  end)

  it_at_a_terminal("is all there where much of it comes while the coordinator is busy", function()
    local _, all = lines_of([[
      local p = minigun.pipeline "much"
      p:producer { 1, 2, 3, 4 }
      p:map({ processes = 2 }, function(item)
        for i = 1, 2000 do print(item, i, ("y"):rep(60)) end
        return item
      end)
      p:each({ inline = true }, function() core.sleep(0.3) end)
      p:run()
      print "(end)"
    ]])
    local count, sum = 0, 0
    for item, i in all:gmatch "%f[%d](%d)\t(%d+)\ty+\r\n" do
      count, sum = count + 1, sum + tonumber(item) * 10000 + tonumber(i)
    end
    assert.same({ 8000, 10 * 2000 * 10000 + 4 * 2000 * 2001 // 2 }, { count, sum })
  end)
end)

describe("in tmux", function()
  it("the progress line does not flood a window that is made narrower and wider", function()
    if not terminal.available() or not support.has "tmux" then
      return pending "there is no tmux, or no pseudo-terminal"
    end
    support.deadline(90)
    local path = support.write_file(os.tmpname(), [[
      local minigun, core = require "minigun", require "minigun.core"
      print "before"
      local p = minigun.pipeline "漢字の名前"
      p:producer(function(emit) for i = 1, 60 do emit(i) end end)
      p:each("ひらがな", { processes = 1 }, function(i)
        if i % 20 == 0 then print("item", i) end
        core.sleep(0.05)
      end)
      p:run()
      print "after"
      core.sleep(60)
    ]])
    local name = "minigun" .. support.pid()
    local function tmux(words)
      local pipe <close> = io.popen(("tmux -L %s -f /dev/null %s 2>&1"):format(name, words))
      return pipe:read "a"
    end
    local function shown(how)
      support.sleep(0.03) -- each look is a program
      return (tmux("capture-pane -p " .. (how or "")):gsub("\n+$", ""))
    end
    local command = support.write_file(os.tmpname(), ("LC_ALL=C.UTF-8 exec env %s lua5.4 %s\n"):format(
      support.env_words(support.lua_env()), path))
    tmux(("new-session -d -x 60 -y 12 'sh %s'"):format(command))
    local function rows_of_the_line()
      return select(2, shown():gsub("漢字[^\n]*", ""))
    end
    assert.is_true(support.wait_until(function() return rows_of_the_line() > 0 end, 30))
    local at, narrowed = 60, 0
    for _, width in ipairs { 24, 9, 33, 14, 60 } do
      narrowed, at = narrowed + (width < at and 1 or 0), width
      tmux(("resize-window -x %d -y 12"):format(width))
      support.sleep(0.3)
      assert.is_true(rows_of_the_line() <= 1 + narrowed, shown())
    end
    local ended = support.wait_until(function() return shown():find "after" end, 40)
    local left = shown "-S -" -- also what has gone out at the top
    tmux "kill-server"
    os.remove(path)
    os.remove(command)
    assert.is_truthy(ended, left)
    -- Where the window is made narrower tmux may move the first row of what no longer fits into its history, out of
    -- the line's reach.
    local printed, remains = {}, 0
    for line in left:gmatch "[^\n]+" do
      if line:find "漢字" then remains = remains + 1 else printed[#printed + 1] = line:match "^(.-) *$" end
    end
    assert.same({ "before", "item    20", "item    40", "item    60", "after" }, printed)
    assert.is_true(remains <= narrowed, left)
  end)
end)
