-- The log: levels, where it goes, JSON lines, messages of workers, whole lines.
local contexts = require "spec.contexts"
local core = require "minigun.core"
local minigun = require "minigun"
local support = require "spec.support"

local path

local function program(source, env)
  return support.run_lua('local minigun, core = require "minigun", require "minigun.core"\n' .. source, { env = env })
end

describe("the log", function()
  before_each(function() path = os.tmpname() end)
  after_each(function()
    minigun.logging { to = "stderr", level = "info", json = false }
    os.remove(path)
  end)

  local function lines()
    local list = {}
    for line in io.lines(path) do list[#list + 1] = line end
    return list
  end

  it("writes messages from its level on", function()
    minigun.logging { to = path, level = "warning" }
    for _, level in ipairs { "debug", "info", "warning", "error" } do minigun.log(level, level .. "!") end
    local list = lines()
    assert.equal(2, #list)
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ %[warning%] %(pid " .. core.pid() .. "%): warning!$", list[1])
  end)

  it("takes its level from the environment", function()
    local source = "minigun.log('debug', 'seen') minigun.log('info', 'too')"
    assert.matches("^%[debug%] %(pid %d+%): seen\n%[info%] %(pid %d+%): too\n$",
      program(source, { MINIGUN_LOG = "debug" }).stderr)
    assert.matches("^%[info%][^\n]*\n$", program(source).stderr)
    assert.equal("", program(source, { MINIGUN_LOG = "error" }).stderr)
    assert.matches('^{"level":"info","pid":%d+,"text":"too","time":"[^"]+"}\n$',
      program(source, { MINIGUN_LOG = "info json" }).stderr)
  end)

  it("writes JSON lines that hold anything", function()
    minigun.logging { to = path, json = true }
    minigun.log("info", 'a "b"\n\\ \1 \xff é', { list = { 1, 2.5, true }, inf = math.huge, none = {} })
    local list = lines()
    assert.equal(1, #list)
    assert.is_truthy(list[1]:find([["text":"a \"b\"\n\\ \u0001 ]] .. "\u{FFFD} é\"", 1, true), list[1])
    assert.is_truthy(list[1]:find('"fields":{"inf":null,"list":[1,2.5,true],"none":{}}', 1, true), list[1])
  end)

  for _, context in ipairs(contexts.all) do
    it("gives a function what stages log, in this process [" .. context.name .. "]", function()
      local records = {}
      minigun.logging { to = function(record) records[#records + 1] = record end }
      local p = minigun.pipeline("logs", { failures = "collect" }):producer { 1, 2, 3, 4, 5, 6 }
      p:consumer("look", contexts.options(context, { retries = 1 }), function(n, _, ctx)
        ctx:log("info", "item\n" .. n, { n = n, bytes = "\n\\n\0" })
        if n == 3 then error "three" end
      end)
      p:run()
      local counts = {}
      for _, record in ipairs(records) do
        assert.same({ "info", "logs", "look", "\n\\n\0" }, { record.level, record.pipeline, record.stage,
          record.fields.bytes })
        assert.equal("item\n" .. record.fields.n, record.text)
        local key = ("%d/%d"):format(record.fields.n, record.attempt or 1)
        counts[key] = (counts[key] or 0) + 1
      end
      assert.same({ ["1/1"] = 1, ["2/1"] = 1, ["3/1"] = 1, ["3/2"] = 1, ["4/1"] = 1, ["5/1"] = 1, ["6/1"] = 1 }, counts)
    end)
  end

  it("gives it what a worker has logged before it was killed", function()
    local texts = {}
    minigun.logging { to = function(record) texts[#texts + 1] = record.text end }
    minigun.pipeline("dies", { failures = "collect" }):producer { 1 }
      :consumer("work", { processes = 1 }, function(_, _, ctx)
        ctx:log("info", "last words")
        core.kill(ctx.pid, 9)
      end):run()
    assert.same({ "last words" }, texts)
  end)

  it("keeps lines of many workers whole, in a file and in a pipe, however long they are", function()
    support.deadline(60)
    local source = [[
      if %q ~= "" then assert(minigun.logging { to = %q }) end
      local list = {}
      for i = 1, 48 do list[i] = i end
      minigun.pipeline("long"):producer(list):consumer("write", { processes = 4 }, function(n, _, ctx)
        ctx:log("info", ("<%%d "):format(n) .. (("%%d "):format(n)):rep(n %% 3 * 20000) .. ">")
      end):run()
    ]]
    local function check(text)
      local seen = {}
      for line in text:gmatch "[^\n]+" do
        local n, rest = line:match "^.*%[info%] long/write, worker %d %(pid %d+%): <(%d+) (.*)>$"
        assert.is_string(n, line:sub(1, 100))
        n = tonumber(n)
        assert.equal((("%d "):format(n)):rep(n % 3 * 20000), rest)
        assert.is_nil(seen[n])
        seen[n] = true
      end
      assert.equal(48, #seen)
    end
    program(source:format(path, path))
    check(support.read_file(path))
    check(program(source:format("", "")).stderr)
  end)

  it("does not wait for a reader that stands still, and tells it later how many lines are lost", function()
    local result = program [[
      require "minigun.system.log".PATIENCE = 0.2
      local read, write = core.pipe()
      core.print_into(write, 2)
      local began, n = core.now(), 2000
      for i = 1, n do minigun.log("info", "line " .. i .. (" "):rep(100)) end
      local took, text = core.now() - began, ""
      for _ = 1, 1000 do text = text .. (#text < 65536 and core.read_fd(read) or "") end
      minigun.log("info", "read again")
      text = text .. core.read_fd(read)
      local came = select(2, text:gsub("line %d+ ", ""))
      local lost = tonumber(text:match "%[warning%] %(pid %d+%): (%d+) lines of the log lost: nobody read it for 0.2")
      print(took < 5, came > 0, came + (lost or 0) == n, text:match "read again\n$" ~= nil)
    ]]
    assert.equal("true\ttrue\ttrue\ttrue\n", result.stdout, result.stderr)
  end)

  it("gives such a reader no part of a line that its pipe can hold, and begins a new line after a part of a longer one",
    function()
      local result = program [[
        require "minigun.system.log".PATIENCE = 0.2
        local read, write = core.pipe()
        core.print_into(write, 2)
        local function take()
          local text = ""
          while core.wait(read, "r", 0) do text = text .. core.read_fd(read) end
          return text
        end
        for _, length in ipairs { 5000, 30000, 60000, 200000 } do
          for i = 1, 30 do minigun.log("info", ("<%d %s>"):format(i, ("x"):rep(length))) end
          local text = take()
          minigun.log("info", "read again")
          text = text .. take()
          local whole, parts = 0, 0
          for line in text:gmatch "[^\n]+" do
            if line:find("<%d+ " .. ("x"):rep(length) .. ">$") then whole = whole + 1
            elseif line:find "<" then parts = parts + 1 end
          end
          print(length, whole > 0, parts, text:find "\n%[info%] %(pid %d+%): read again\n" ~= nil)
        end
      ]]
      assert.equal("5000\ttrue\t0\ttrue\n30000\ttrue\t0\ttrue\n60000\ttrue\t0\ttrue\n200000\tfalse\t1\ttrue\n",
        result.stdout, result.stderr)
    end)

  it("says why lines are lost that a file does not take", function()
    local result = program [[
      assert(minigun.logging { to = "/dev/full" })
      minigun.log("info", "lost")
      minigun.logging { to = "stderr" }
      minigun.log("info", "here")
    ]]
    assert.matches("1 line of the log lost: cannot write to the log: No space left on device\n", result.stderr, 1, true)
  end)

  it("tells of the begin, the end and the totals of a run at the level debug", function()
    minigun.logging { to = path, level = "debug", json = true }
    local result = minigun.pipeline("told"):producer("list", { 1, 2 })
      :each("work", { inline = true }, function() end):run()
    local list = lines()
    assert.equal(4, #list)
    assert.is_truthy(list[1]:find('"text":"begins"', 1, true) and list[1]:find(result.id, 1, true))
    assert.is_truthy(list[3]:find("stage 'work': 2 in, 0 out, 0 failed, 0 retried, busy ", 1, true), list[3])
    assert.is_truthy(list[4]:find('"ok":true', 1, true) and list[4]:find("done 'told': ", 1, true))
  end)

  it("refuses what it does not know at the caller's line, and says why a file cannot be had", function()
    local function raises(text, f, ...)
      local ok, message = pcall(f, ...)
      assert.is_false(ok)
      assert.matches("log_spec.lua:%d+: " .. text, message)
    end
    raises("minigun.log: the level is debug, info, warning or error, got \"loud\"", function()
      minigun.log("loud", 1)
    end)
    raises("minigun.log: the fields must be a table, got 7", function() minigun.log("info", 1, 7) end)
    raises("logging: .*level", function() minigun.logging { level = "loud" } end)
    raises("logging: .*to", function() minigun.logging { to = 7 } end)
    local ok, message, errno = minigun.logging { to = "/not/there/log" }
    assert.same({ nil, 2 }, { ok, errno })
    assert.matches("cannot open the log file: ", message)
  end)
end)
