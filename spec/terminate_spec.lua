-- SIGTERM is a request, and so is the first Ctrl-C under the command line: the run ends in good order, in each context
-- and however it was begun, and then the program by the signal; a second one, or the end of its grace, ends it at once.
local programs = require "spec.programs.build"
local support = require "spec.support"

local unruly = programs.unruly()
local SIGINT <const>, SIGTERM <const> = 2, 15
local COMMAND <const> = support.command() .. " run"

-- Starts terminated.lua as the leader of a group, with the file of an earlier run or a new one that ends so. Where its
-- source reads standard input, that stays open. `command`: what it is run by.
local function start(door, context, handler, file, grace, command)
  local run = { path = os.tmpname(), file = file or "" }
  if not run.file:find "/" then run.file = os.tmpname() .. run.file end
  local words = {}
  for i, word in ipairs { door, context, handler, run.file } do words[i] = support.quote(word) end
  local input = door == "blocked" and ("mkfifo $f.in; exec 3<>$f.in; seq 1 7 >&3; exec <&3; "):gsub("$f", run.path)
  run.pid = unruly.launch(("%s%s %s exec %s spec/programs/terminated.lua %s >%s 2>&1"):format(input or "",
    support.env_words(programs.env()), grace and "GRACE=" .. grace or "", command or "lua5.4",
    table.concat(words, " "), run.path))
  return run
end

local function wait_for(run, text)
  local found = support.wait_until(function() return support.read_file(run.path):find(text, 1, true) end, 40)
  assert.is_truthy(found, "it never said " .. text .. ": " .. support.read_file(run.path))
end

-- The items that its last stage has had.
local function items_of(run)
  local items = {}
  for line in (support.read_file(run.file) or ""):gmatch "[^\n]+" do items[#items + 1] = tonumber(line) end
  return items
end

local function forget(run)
  for _, path in ipairs { run.path, run.path .. ".in", run.file, run.file .. ".file", run.file:match "^[^.]*" } do
    os.remove(path)
  end
end

-- Waits for its end; what it has said, its status as a shell has it, the items.
local function finish(run, keep)
  local code, signal = unruly.wait(run.pid)
  local text, items = support.read_file(run.path), items_of(run)
  if not keep then forget(run) end
  return text, code or 128 + signal, items
end

local GOOD <const> = "after_run: stopped true, ok true, failures 0, workers 0, took all true"

local function assert_once(items, what)
  local seen = {}
  for _, item in ipairs(items) do
    assert.is_nil(seen[item], what .. ": an item twice")
    seen[item] = true
  end
end

-- What Ctrl-C says under the command line.
local FINISHING <const> = "minigun: Ctrl-C: finishing what has begun; a second Ctrl-C ends it at once\n"
local AGAIN <const> = 0.25 -- seconds after which another signal is a second request

describe("R80 SIGTERM", function()
  local ROWS <const> = {
    { "run", "inline" }, { "run", "processes" }, { "run", "process_per_batch" }, { "run", "threads" },
    { "run", "hosted" }, { "start", "processes" }, { "start with fd", "hosted" }, { "iterate", "processes" },
    { "blocked", "processes" }, { "inside", "processes" }, { "inside", "inline" },
  }

  local function assert_good_order(row, target, signal, command)
    local run = start(row[1], row[2], "default", nil, nil, command)
    wait_for(run, "ready")
    unruly.kill(target == "group" and -run.pid or run.pid, signal)
    local text, code, items = finish(run)
    assert.is_true(code == 128 + signal, code .. text)
    assert.is_truthy(text:find(GOOD, 1, true), text)
    assert.is_nil(text:find "goes on", text)
    assert.is_true(#items > 0)
    assert_once(items, text)
    return text
  end

  for number, row in ipairs(ROWS) do
    for place, target in ipairs { "coordinator", "group" } do
      -- In the short form every row has one of them.
      if support.long or (number + place) % 2 == 0 then
        it(("to the %s, %s, %s: what is inside is finished, after_run runs, it ends by the signal"):format(target,
          row[1], row[2]), function()
          if not unruly then return pending "there is no C compiler" end
          assert_good_order(row, target, SIGTERM)
        end)
      end
      if support.long or (number + place) % 2 == 1 then
        it(("or Ctrl-C under the command line to the %s, %s, %s: the same, and a line says so"):format(target, row[1],
          row[2]), function()
          if not unruly then return pending "there is no C compiler" end
          local text = assert_good_order(row, target, SIGINT, COMMAND)
          assert.equal(1, select(2, text:gsub((FINISHING:gsub("%-", "%%-")), "")), text)
        end)
      end
    end
  end

  it("to a list function: its workers end, and then the program", function()
    if not unruly then return pending "there is no C compiler" end
    local run = start("map", "processes", "default")
    wait_for(run, "ready")
    unruly.kill(-run.pid, SIGTERM)
    local text, code = finish(run)
    assert.equal(128 + SIGTERM, code, text)
    assert.is_nil(text:find "goes on", text)
  end)

  -- Several runs that are slow side by side; each has begun, and knows its workers.
  local function slow_runs(kinds, grace, command)
    local runs = {}
    for i, context in ipairs(kinds) do
      runs[i] = start("run", context, "default", ".slow", grace, command)
      runs[i].context = context
    end
    for _, run in ipairs(runs) do wait_for(run, "begun") end
    support.sleep(0.1)
    for _, run in ipairs(runs) do run.workers = support.children(run.pid) end
    return runs
  end

  local function assert_alone(run)
    for _, worker in ipairs(run.workers) do assert.is_false(support.alive(worker), run.context) end
  end

  it("to a source that raises as what it waits for is interrupted: a warning says so, nothing has failed", function()
    local path = support.write_file(os.tmpname(), [[
      local minigun = require "minigun"
      local p = minigun.pipeline "p"
      p:producer("opens", function(emit)
        emit(1)
        print "opens"
        io.stdout:flush()
        assert(io.open(arg[0] .. ".in")) -- until there is a writer
      end)
      p:map("work", { processes = 1 }, function(item) return item end)
      p:after_run(function(r)
        print(r.stopped, r.failed, #r.items, r.stats.warnings[1])
        io.stdout:flush()
      end)
      p:run()
    ]])
    local result = support.run(([[
      mkfifo FILE.in
      lua5.4 FILE >FILE.out 2>&1 & pid=$!
      until grep -q opens FILE.out; do sleep 0.05; done
      sleep 0.3
      kill -TERM $pid
      wait $pid
      echo $?
      cat FILE.out
      rm FILE.in FILE.out
    ]]):gsub("FILE", path), { timeout = 30, env = support.lua_env() })
    os.remove(path)
    local said = "stage 'opens': the producer was interrupted by SIGTERM"
    assert.equal(("143\nopens\ntrue\t0\t1\t%s\n"):format(said), result.stdout, result.stderr)
  end)

  it("a second one ends it at once, whatever its context", function()
    if not unruly then return pending "there is no C compiler" end
    local runs = slow_runs { "processes", "process_per_batch", "hosted", "inline", "threads" }
    for _, run in ipairs(runs) do unruly.kill(-run.pid, SIGTERM) end
    support.sleep(0.1)
    for _, run in ipairs(runs) do unruly.kill(-run.pid, SIGTERM) end -- the same request: `timeout` signals all of it
    support.sleep(0.5)
    for _, run in ipairs(runs) do
      assert.is_true(support.alive(run.pid), "it ended with the first: " .. support.read_file(run.path))
      unruly.kill(run.pid, SIGTERM)
      local text, code = finish(run)
      assert.is_true(code == 128 + SIGTERM, code .. text)
      assert.is_nil(text:find "after_run", text)
      assert_alone(run)
    end
  end)

  it("a second Ctrl-C under the command line: the same, after its after_run", function()
    if not unruly then return pending "there is no C compiler" end
    local runs = slow_runs({ "processes", "process_per_batch", "hosted", "inline", "threads" }, nil, COMMAND)
    for _, run in ipairs(runs) do unruly.kill(-run.pid, SIGINT) end
    for _, run in ipairs(runs) do wait_for(run, FINISHING) end
    support.sleep(AGAIN)
    for _, run in ipairs(runs) do
      assert.is_true(support.alive(run.pid), "it ended with the first: " .. support.read_file(run.path))
      unruly.kill(-run.pid, SIGINT)
      local text, code = finish(run)
      assert.equal(128 + SIGINT, code, text)
      assert.matches("after_run: [^\n]*, ok false.*minigun: interrupted\n$", text)
      assert_alone(run)
    end
  end)

  it("or Ctrl-C, then the other one: it ends at once", function()
    if not unruly then return pending "there is no C compiler" end
    for first, second in pairs { [SIGINT] = SIGTERM, [SIGTERM] = SIGINT } do
      local run = slow_runs({ "processes" }, nil, COMMAND)[1]
      unruly.kill(run.pid, first)
      support.sleep(AGAIN)
      unruly.kill(run.pid, second)
      local text, code = finish(run)
      assert.equal(128 + second, code, text)
      assert_alone(run)
    end
  end)

  it("the end of its grace ends it, whatever its context", function()
    if not unruly then return pending "there is no C compiler" end
    local runs = slow_runs({ "processes", "process_per_batch", "hosted", "threads" }, 0.3)
    for _, run in ipairs(runs) do unruly.kill(run.pid, SIGTERM) end
    for _, run in ipairs(runs) do
      local text, code = finish(run)
      assert.equal(128 + SIGTERM, code, text)
      assert.is_truthy(text:find("after_run: stopped true, ok false", 1, true), text)
      assert.is_truthy(text:find("was ended before everything was finished", 1, true), text)
      assert_alone(run)
    end
  end)

  it("the end of its grace ends a coordinator that is busy, too", function()
    if not unruly then return pending "there is no C compiler" end
    local run = start("run", "inline", "default", ".slow", 0.2)
    wait_for(run, "begun")
    unruly.kill(run.pid, SIGTERM)
    local text, code = finish(run)
    assert.equal(128 + SIGTERM, code, text)
  end)

  for _, door in ipairs { "start", "start with fd" } do
    it("where the program has a handler of its own, that decides: " .. door, function()
      if not unruly then return pending "there is no C compiler" end
      local run = start(door, "processes", "own")
      wait_for(run, "ready")
      unruly.kill(-run.pid, SIGTERM)
      local text, code, items = finish(run)
      assert.is_truthy(text:find(GOOD, 1, true), text)
      assert.is_truthy(text:find("the program goes on", 1, true), text)
      assert.equal(0, code, text)
      assert_once(items, text)
    end)
  end

  it("where the program ignores it, so does the run", function()
    if not unruly then return pending "there is no C compiler" end
    for _, context in ipairs { "processes", "hosted" } do
      local run = start("run", context, "ignored")
      wait_for(run, "ready")
      unruly.kill(run.pid, SIGTERM)
      for _, worker in ipairs(support.children(run.pid)) do unruly.kill(worker, SIGTERM) end
      local text, code, items = finish(run)
      assert.equal(0, code, text)
      assert.is_truthy(text:find("after_run: stopped nil, ok true", 1, true)
        or text:find("after_run: stopped false, ok true", 1, true), text)
      assert.equal(40, #items)
    end
  end)

  it("to a worker alone: nothing, whatever it is doing", function()
    if not unruly then return pending "there is no C compiler" end
    for _, context in ipairs { "processes", "hosted" } do
      local run = start("run", context, "default", ".journal")
      wait_for(run, "ready")
      for _ = 1, 3 do
        for _, worker in ipairs(support.children(run.pid)) do unruly.kill(worker, SIGTERM) end
        support.sleep(0.03)
      end
      local text, code, items = finish(run)
      assert.equal(0, code, text)
      assert.equal(60, #items, text)
      assert_once(items, text)
    end
  end)

  it("with a journal: what was not finished comes in the next run, and nothing twice", function()
    if not unruly then return pending "there is no C compiler" end
    local runs = {}
    for _, context in ipairs { "processes", "process_per_batch", "inline" } do
      runs[context] = start("run", context, "default", ".journal")
    end
    for context, run in pairs(runs) do
      wait_for(run, "ready")
      unruly.kill(-run.pid, SIGTERM)
      local text, code, items = finish(run, true)
      assert.equal(128 + SIGTERM, code, text)
      assert.is_true(#items < 60, "it came to its end first")
      local again = start("run", context, "default", run.file)
      again.before, runs[context] = run, again
    end
    for context, run in pairs(runs) do
      local text, code = finish(run, true)
      assert.equal(0, code, text)
      local items = items_of(run)
      forget(run)
      forget(run.before)
      assert_once(items, context)
      assert.equal(60, #items)
    end
  end)
end)
