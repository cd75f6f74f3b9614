-- Pieces: what a source describes and a worker reads itself. Everything is as if the items had been sent.

local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local support = require "spec.support"

local SEED <const> = math.tointeger(os.getenv "SEED") or os.time()
io.stdout:write(("spec/pieces_spec.lua: SEED=%d\n"):format(SEED))

local function with_file(text, f)
  local path = support.write_file(os.tmpname(), text)
  local ok, err = pcall(f, path)
  os.remove(path)
  assert(ok, err)
end

-- Lines of many lengths, enough for several pieces.
local function random_lines(count, most)
  local list = {}
  for i = 1, count do
    local n = math.random(10) == 1 and 0 or math.random(most)
    list[i] = i .. ("-%02x\0\r"):format(i % 256):rep(n // 5)
  end
  return list
end

local lines, text
before_each(function()
  math.randomseed(SEED)
  lines = random_lines(support.short_or_long(2000, 4000), 400) -- 400 KiB, or twice as much
  text = table.concat(lines, "\n")
end)

local function number_of(line) return math.tointeger(tonumber(line:match "^%d+" )) end

-- Whether these items have arrived, and no others.
local function assert_all(expected, items)
  local wanted, seen = contexts.counts(expected), contexts.counts(items)
  for i, item in ipairs(expected) do
    if seen[item] ~= wanted[item] then
      error(("SEED=%d: item %d came %s times, not %d"):format(SEED, i, seen[item] or "no", wanted[item]))
    end
  end
  assert.equal(#expected, #items)
end

local function emitted(run)
  for _, stage in ipairs(run:status().stages) do
    if stage.name == "source" then return stage.items_out end
  end
end

local receivers = {}
for _, context in ipairs(contexts.all) do
  if not context.inline and not context.per_item then receivers[#receivers + 1] = context end
end

describe("pieces of a source", function()
  for _, context in ipairs(receivers) do
    it("give each item once, in order where that is asked for, and counted [" .. context.name .. "]", function()
      -- Threads take longer for each item, so fewer of them do, of as many bytes.
      local few = context.hosted and not support.long
      local width, step = few and 400 or 7, few and -100 or -7
      local last = few and 2000 or support.short_or_long(20000, 40000)
      if few then
        lines = random_lines(500, 1600)
        text = table.concat(lines, "\n")
      end
      with_file(text, function(path)
        local fixed, prefixed = {}, {}
        for i = 1, #text // width do fixed[i] = text:sub(width * (i - 1) + 1, width * i) end
        for i, line in ipairs(lines) do prefixed[i] = string.pack(">s2", line) end
        local other = support.write_file(os.tmpname(), table.concat(fixed))
        local third = support.write_file(os.tmpname(), table.concat(prefixed))
        local places = {}
        for i, line in ipairs(lines) do places[i] = path .. i .. line end
        local function place(item) return item.path .. item.number .. item.text end
        local function same(item) return item end
        local cases = {
          { minigun.lines(path), lines, same }, { minigun.lines(path, { numbered = true }), places, place },
          { minigun.records(path, { separator = "\n" }), lines, same },
          { minigun.records(other, { fixed = width }), fixed, same },
          { minigun.records(third, { length = ">I2" }), lines, same },
          { minigun.range(1, last), contexts.range(1, last), same },
          { minigun.range(-5, -100000, step), nil, same },
        }
        for number, case in ipairs(cases) do
          local expected = case[2]
          if not expected then
            expected = {}
            for i = -5, -100000, step do expected[#expected + 1] = i end
          end
          for _, ordered in ipairs { true, false } do
            local result = minigun.pipeline "all":producer("source", case[1])
              :map("stage", contexts.options(context, { ordered = ordered or nil }), case[3]):run()
            if ordered then
              for i, item in ipairs(expected) do
                if result.items[i] ~= item then error(("case %d, item %d, SEED=%d"):format(number, i, SEED)) end
              end
            end
            assert.equal(#expected, #result.items)
            if not ordered then assert_all(expected, result.items) end
            local stages = result.stats.stages
            assert.same({ #expected, #expected, #expected },
              { stages.source.items_out, stages.stage.items_in, stages.stage.items_out })
          end
        end
        os.remove(other)
        os.remove(third)
      end)
    end)

    it("survive deaths, errors, retries; failures show the line [" .. context.name .. "]", function()
      support.deadline(60 * support.patience)
      with_file(text, function(path)
        local kills, bad, once = {}, {}, {}
        for _ = 1, support.short_or_long(6, 40) do kills[math.random(#lines)] = true end
        for _ = 1, 40 do bad[math.random(#lines)] = true end
        for _ = 1, 200 do once[math.random(#lines)] = true end
        local result = minigun.pipeline("storm", { max_restarts = 100 }):producer("source", minigun.lines(path))
          :processor("stage", contexts.options(context, { retries = 2 }), function(line, emit, ctx)
            local i = number_of(line)
            emit(line)
            ctx:count "tries"
            if kills[i] and ctx.attempt == 1 then core.kill(core.pid(), 9) end
            if bad[i] then error "never" end
            if once[i] and ctx.attempt <= 1 + i % 2 then error "once more" end
          end):run { failures = "collect" }
        local expected, failed, shown = {}, {}, {}
        for i, line in ipairs(lines) do table.insert(bad[i] and failed or expected, line) end
        for i, failure in ipairs(result.failures) do
          shown[i] = failure.item
          assert.same({ "error", 3 }, { failure.kind, failure.attempts })
        end
        assert_all(expected, result.items)
        assert_all(failed, shown)
        assert.equal(#lines, result.stats.stages.stage.items_in)
        assert.equal(#expected, result.counters.tries)
      end)
    end)
  end

  it("go to several stages, in groups, and on from there", function()
    with_file(text, function(path)
      local p = minigun.pipeline "several"
      p:producer("source", { to = { "one", "two" } }, minigun.lines(path))
      p:map("one", { processes = 2, to = {} }, function(line) return line end)
      p:processes(2, function()
        p:filter("two", { from = "source" }, function(line) return number_of(line) % 2 == 0 end)
        p:map("three", function(line) return line end)
      end)
      p:map("last", { processes = 1, ordered = true }, function(line) return number_of(line) end)
      local result = p:run()
      assert_all(lines, result:of "one")
      local expected = {}
      for i = 2, #lines, 2 do expected[#expected + 1] = i end
      assert_all(expected, result:of "last")
    end)
  end)

  it("are given up at the time-out of one of their items, and only that", function()
    with_file(text, function(path)
      local result = minigun.pipeline "slow":producer("source", minigun.lines(path))
        :map("stage", { processes = 2, timeout = 0.3 * support.patience }, function(line)
          if number_of(line) == 1777 then minigun.sleep(60) end
          return line
        end):run { failures = "collect" }
      assert.equal(#lines - 1, #result.items)
      assert.same({ 1, "timeout", lines[1777] },
        { #result.failures, result.failures[1].kind, result.failures[1].item })
    end)
  end)

  it("are cut for workers that have nothing to do", function()
    with_file(text, function(path)
      local result = minigun.pipeline "slow":producer("source", minigun.lines(path))
        :map("stage", { processes = 2 }, function(line)
          if number_of(line) <= 60 then minigun.sleep(0.005) end
          return core.pid()
        end):run()
      local by = contexts.counts(result.items)
      local n = 0
      for _ in pairs(by) do n = n + 1 end
      assert.equal(2, n)
    end)
  end)

  it("end with the run where it is left early, or stopped", function()
    with_file(text, function(path)
      for line in minigun.pipeline "left":producer(minigun.lines(path)):map({ processes = 2 }, number_of):iterate() do
        if line > 10 then break end
      end
      local run = minigun.pipeline "stopped":producer(minigun.range(1, 10 ^ 12))
        :map({ processes = 2 }, function(i) return i end):start()
      while run:status().items < 1000 do run:step() end
      run:stop()
      assert.is_true(#run:wait().items >= 1000)
    end)
  end)

  it("do not run ahead of slow workers without end", function()
    local p = minigun.pipeline "ahead":producer("source", minigun.range(1, 10 ^ 12))
      :each("stage", { processes = 1 }, function() minigun.sleep(0.001) end)
    local run <close> = p:start()
    local began = minigun.now()
    while minigun.now() - began < 0.1 do run:step() end
    assert.is_true(emitted(run) < 3 << 20, emitted(run))
    run:kill()
  end)

  it("have long records beside them", function()
    local long = { ("x"):rep(3 << 20), "a", ("y"):rep(1 << 20), "", "", ("z"):rep(200000), "end" }
    with_file(table.concat(long, "\n") .. "\n", function(path)
      for _, context in ipairs(receivers) do
        local p = minigun.pipeline "long":producer(minigun.lines(path))
          :map(contexts.options(context, { ordered = true }), function(line) return line end)
        local items = p:run().items
        for i, line in ipairs(long) do assert.is_true(items[i] == line, i) end
        assert.equal(#long, #items)
      end
    end)
  end)
end)

describe("the file of a piece", function()
  -- Begins a run of these lines whose worker waits at the first, until the file has been dealt with.
  local function meanwhile(act, options)
    local result
    with_file(text .. "\n", function(path)
      local gate = os.tmpname()
      local p = minigun.pipeline "changed":producer("source", minigun.lines(path))
        :map("stage", options or { processes = 1 }, function(line)
          if number_of(line) == 1 then
            while support.read_file(gate) == "" do minigun.sleep(0.005) end
          end
          return line
        end)
      local run = p:start { failures = "collect" }
      support.wait_until(function()
        run:step()
        return emitted(run) == #lines
      end)
      act(path)
      support.write_file(gate, "go")
      result = run:wait()
      os.remove(gate)
      support.write_file(path, "") -- for its removal
    end)
    return result
  end

  it("may be removed, renamed or replaced after the producer has ended", function()
    for _, act in ipairs {
      os.remove,
      function(path)
        os.rename(path, path .. ".1")
        support.write_file(path, "other\n")
        os.remove(path .. ".1")
      end,
    } do
      local result = meanwhile(act)
      assert.equal(0, #result.failures)
      assert_all(lines, result.items)
    end
  end)

  it("may grow", function()
    local result = meanwhile(function(path)
      local file <close> = assert(io.open(path, "a"))
      file:write "more\n"
    end)
    assert_all(lines, result.items)
  end)

  it("has failures for the lines that are not there any more", function()
    local result = meanwhile(function(path) support.write_file(path, "") end)
    assert.equal(#lines, #result.items + result.failed)
    assert.is_true(result.failed > 500)
    local failure = result.failures[#result.failures]
    assert.same({ "malformed", "stage" }, { failure.kind, failure.stage })
    assert.is_truthy(failure.message:find("is not there any more: the file was changed while it was read", 1, true))
  end)
end)
