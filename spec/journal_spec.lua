-- Journals: a run that was killed is resumed. The coordinator is killed at random moments; the seed is printed, and
-- SEED=n runs the same sequence of kills again (not the same interleaving). MINIGUN_LONG=n: n times as many kills.
local contexts = require "spec.contexts"
local core = require "minigun.core"
local acks = require "minigun.policy.acks"
local lfs = require "lfs"
local minigun = require "minigun"
local support = require "spec.support"

local seed = tonumber(os.getenv "SEED") or os.time()
io.stdout:write(("spec/journal_spec.lua: SEED=%d\n"):format(seed))

local path, effects

before_each(function() path, effects = os.tmpname(), os.tmpname() end)
after_each(function()
  os.remove(path)
  os.remove(effects)
end)

-- What the journal has acknowledged: by producer, a set of ordinals; how many; and the kinds of its records, in order.
local function acknowledged()
  local done, count, kinds = {}, 0, {}
  for record in assert(minigun.spool(path, { read_only = true })):records() do
    kinds[#kinds + 1] = record[1]
    for producer, ranges in pairs(record[1] == "done" and record[2] or {}) do
      local own = done[producer] or {}
      done[producer] = own
      for i = 1, #ranges, 2 do
        for ordinal = ranges[i], ranges[i + 1] do
          assert(not own[ordinal], "acknowledged twice")
          own[ordinal], count = true, count + 1
        end
      end
    end
  end
  return done, count, kinds
end

-- The kinds of the journal's records.
local function acknowledged_records()
  return (select(3, acknowledged()))
end

-- Waits until no process of the killed run is left: its workers have the journal open as long as they live.
local function wait_for_workers()
  assert.is_true(support.wait_until(function()
    local file <close> = setmetatable({ core.spool_file(path, false) }, { __close = function(f) f[1]:close() end })
    return file[1]:hold() or false
  end, 2 * support.patience))
end

-- Effects from an offset of the file on: by name, from id to how often.
local function effects_from(offset)
  local file <close> = assert(io.open(effects))
  file:seek("set", offset)
  local seen = {}
  for line in file:lines() do
    local name, id = line:match "^(%w+) (%d+)$"
    assert(name, "a torn effect: " .. line)
    seen[name] = seen[name] or {}
    seen[name][tonumber(id)] = (seen[name][tonumber(id)] or 0) + 1
  end
  return seen, file:seek()
end

-- Starts the program; kills it after so many seconds (nil: never), when something is acknowledged (`in_the_middle`) or
-- at any time. Returns what it has printed at its end, or nil.
local function start(shape, n, seconds, in_the_middle)
  local pipe = assert(io.popen(("exec env %s sh -c 'echo $$; exec lua5.4 spec/programs/journaled.lua %s %s %s %d 2>&1'")
    :format(support.env_words(support.lua_env()), '"' .. shape .. '"', path, effects, n)))
  local pid = pipe:read "n"
  if seconds then
    if in_the_middle then
      support.wait_until(function() return #acknowledged_records() > 1 end, 0.3 * support.patience)
    end
    support.sleep(seconds)
    os.execute(("kill -9 %d 2>/dev/null"):format(pid))
  end
  local text = pipe:read "a"
  pipe:close()
  return text:match "^%s*(%d+)%s*$" or nil, text
end

local program = assert(loadfile("spec/programs/journaled.lua", "t", setmetatable({ arg = {} }, { __index = _G })))
local shapes, titles = program(), {}
for title in pairs(shapes) do titles[#titles + 1] = title end
table.sort(titles)
if not support.long then -- a sixth of them, another one each second
  titles = table.move(titles, seed % 6 * #titles // 6 + 1, (seed % 6 + 1) * #titles // 6, 1, {})
end

describe("the journal of a run that is killed at random moments", function()
  local n <const> = 300

  -- Each shape's producers emit ids that are their ordinals, but for one that also emits what cannot be sent.
  local function ordinal_of(shape, id)
    return shape == "a dealing producer in a process" and id + id // 7 or id
  end

  for number, title in ipairs(titles) do
    it("loses nothing, and delivers nothing again that was acknowledged: " .. title, function()
      support.deadline(60)
      local names = shapes[title].names
      math.randomseed(seed, number)
      local kills, most, offset, acked = 0, 2 * (support.long or 1), 0, {}
      local resumed, text
      repeat
        local seconds = kills % 2 == 0 and math.random() * 0.03 or 0.02 + math.random() * 0.15
        resumed, text = start(title, n, kills < most and seconds * support.patience or nil, kills % 2 == 0)
        wait_for_workers()
        local seen
        seen, offset = effects_from(offset)
        for name, ids in pairs(seen) do
          for id in pairs(ids) do
            local of = name == "b" and #names == 2 and "other" or "source"
            assert(not (acked[of] and acked[of][ordinal_of(title, id)]),
              ("%s %d was delivered again, but is acknowledged"):format(name, id))
          end
        end
        acked = acknowledged()
        kills = kills + 1
        assert(kills <= most or resumed, text)
      until resumed
      local seen = effects_from(0)
      for _, name in ipairs(names) do
        for id = 1, n do assert(seen[name] and seen[name][id], ("%s %d is lost"):format(name, id)) end
      end
      -- Everything is acknowledged, and once more there is nothing to do.
      local last_effects = support.read_file(effects)
      local again, said = start(title, n)
      assert(again, said)
      assert.is_true(tonumber(again) >= n)
      assert.equal(#last_effects, #support.read_file(effects))
    end)

    it("delivers exactly once where it is not killed: " .. title, function()
      support.deadline(60)
      local resumed, text = start(title, n)
      assert.equal("0", resumed, text)
      local seen = effects_from(0)
      for _, name in ipairs(shapes[title].names) do
        for id = 1, n do assert.equal(1, seen[name] and seen[name][id], name .. " " .. id) end
      end
      local _, _, kinds = acknowledged()
      assert.equal("minigun journal", kinds[1])
      assert.equal("end", kinds[#kinds])
    end)
  end
end)

-- A run of its own process, which has been killed when `killed` of its n items were done.
local function killed_run(n, killed)
  local done = support.run_lua(([[
    local core, minigun = require "minigun.core", require "minigun"
    local p = minigun.pipeline "p"
    p:producer("numbers", function(emit) for i = 1, %d do emit(i) end end)
    p:consumer("save", function(i)
      if i > %d then
        core.sleep(0.02) -- now what came before is written
        os.execute("kill -9 " .. %s)
      elseif i == %d then core.sleep(0.02) end
    end)
    p:run { journal = %q }
  ]]):format(n, killed, "core.pid()", killed, path))
  assert.equal(137, done.code)
end

-- The pipeline of `killed_run`; returns the result of a run, and what was delivered.
local function resume(source, define)
  local p, got = minigun.pipeline "p", {}
  p:producer("numbers", source)
  p:consumer("save", function(i) got[#got + 1] = i end)
  if define then define(p) end
  return p:run { journal = path }, got
end

local function run_raises(source, define)
  local ok, message = pcall(resume, source, define)
  assert.is_false(ok)
  return message
end

describe("a journal", function()
  it("is resumed by the next run, which says what it has skipped", function()
    killed_run(50, 20)
    local done = acknowledged().numbers
    for i = 1, 20 do assert.is_true(done[i]) end
    assert.is_nil(done[21])
    local result, got = resume(contexts.range(1, 50))
    assert.same(contexts.range(21, 50), got)
    assert.equal(20, result.resumed)
    assert.equal(20, result.stats.stages.numbers.resumed)
    assert.equal(30, result.stats.stages.numbers.items_out)
    assert.same({}, result.stats.warnings)
  end)

  it("of a run that has come to its end delivers what is new, and says when nothing is", function()
    local _, got = resume(contexts.range(1, 10))
    assert.equal(10, #got)
    local result
    result, got = resume(contexts.range(1, 10))
    assert.same({}, got)
    assert.equal(10, result.resumed)
    assert.matches("there was nothing new; delete the file to start over", result.stats.warnings[1])
    result, got = resume(contexts.range(1, 13))
    assert.same({ 11, 12, 13 }, got)
    assert.same({}, result.stats.warnings)
  end)

  it("knows nothing of runs without it", function()
    assert.is_nil(minigun.pipeline("p"):producer({ 1 }):consumer(function() end):run().resumed)
  end)

  it("of another pipeline is refused at the caller's line, before anything runs", function()
    resume(contexts.range(1, 10))
    local size, began = #support.read_file(path), false
    local message = run_raises({ 1 }, function(p)
      p:map("more", function(x) return x end):before_run(function() began = true end)
    end)
    assert.matches("^spec/journal_spec.lua:%d+: pipeline 'p': the journal '.*' belongs to another form of the " ..
      "pipeline: it does not know 'save %-> more'; give it another path, or delete the file to start over$", message)
    assert.is_false(began)
    local p = minigun.pipeline("q"):producer("numbers", { 1 }):consumer("save", function() end)
    assert.matches("belongs to pipeline 'p'", select(2, pcall(p.run, p, { journal = path })), 1, true)
    assert.equal(size, #support.read_file(path))
  end)

  it("of a producer that numbers its items otherwise is refused: in a process each target of a route counts", function()
    local function run(options)
      local p = minigun.pipeline("p"):producer("gen", options, { 1, 2 })
        :consumer("a", { from = "gen", to = {} }, function() end)
        :consumer("b", { from = "gen", to = {} }, function() end)
      return pcall(p.run, p, { journal = path })
    end
    assert(run { processes = 1, to = { "a", "b" }, route = "round_robin" })
    for _, options in ipairs { { processes = 1, to = { "a", "b" } },
      { to = { "a", "b" }, route = "round_robin" } } do
      local ok, message = run(options)
      assert.is_false(ok)
      assert.matches("belongs to another form of the pipeline: it .* 'dealt gen'", message)
    end
    assert(run { processes = 1, to = { "a", "b" }, route = function() return "a" end })
  end)

  it("is that of the same pipeline in other contexts", function()
    killed_run(50, 20)
    local p = minigun.pipeline "p"
    p:producer("numbers", { processes = 1 }, contexts.range(1, 50))
    p:consumer("save", { processes = 2 }, function(i, _, ctx) ctx:collect("got", i) end)
    local result = p:run { journal = { path = path, sync = "always" } }
    assert.same(contexts.range(21, 50), contexts.sorted(result.collected.got))
    assert.equal(20, result.resumed)
  end)

  it("is refused where the file is something else, and leaves that as it is", function()
    support.write_file(path, "my letters\n")
    assert.matches("is no journal, or its first record is damaged", run_raises { 1 }, 1, true)
    assert.equal("my letters\n", support.read_file(path))
    os.remove(path)
    local spool = minigun.spool(path)
    spool:write { item = 1 }
    spool:close()
    assert.matches("is a spool, but no journal", run_raises { 1 }, 1, true)
    os.remove(path)
    lfs.mkdir(path)
    assert.matches("option 'journal': cannot open the spool '.*'.*Is a directory", run_raises { 1 })
    os.remove(path)
    for _, bad in ipairs { "/dev/full", path .. "/none" } do
      local p = minigun.pipeline("p"):producer({ 1 }):consumer(function() end)
      assert.matches("^spec/journal_spec.lua:%d+: pipeline 'p': option 'journal': cannot open",
        select(2, pcall(function() p:run { journal = bad } end)))
    end
  end)

  it("is refused while another run has it", function()
    local p = minigun.pipeline("p"):producer("numbers", { 1, 2 }):consumer("save", function() end)
    local run <close> = p:start { journal = path }
    assert.matches("is that of a run that is not over", run_raises { 1, 2 }, 1, true)
    run:wait()
    assert.equal(2, (resume { 1, 2 }).resumed)
  end)

  it("is given free by its run also where another run's workers have inherited it", function()
    local first = minigun.pipeline("p"):producer("numbers", { 1 }):consumer("save", function() end)
    local other = minigun.pipeline("o"):producer({ 1, 2 }):consumer({ processes = 1 }, function() core.sleep(0.2) end)
    local run <close> = first:start { journal = path }
    local beside <close> = other:start()
    beside:step()
    run:wait()
    assert.equal(1, (resume { 1 }).resumed)
    beside:wait()
  end)

  it("that is damaged costs what is damaged: that is delivered again, and a warning says so", function()
    resume(contexts.range(1, 30))
    resume(contexts.range(1, 60))
    local text = support.read_file(path)
    local at = select(2, text:find("done", 1, true)) + 3 -- in the first acknowledgement
    support.write_file(path, text:sub(1, at) .. "\xff" .. text:sub(at + 2))
    local done, lost = acknowledged().numbers, {}
    for i = 1, 60 do lost[#lost + 1] = not done[i] and i or nil end
    assert.is_true(#lost >= 1)
    local result, got = resume(contexts.range(1, 60))
    assert.same(lost, got)
    assert.matches("1 damaged record %(%d+ bytes%) skipped; what they acknowledged is delivered again",
      result.stats.warnings[1])
    support.write_file(path, text:sub(1, -10)) -- its end is torn
    result, got = resume(contexts.range(1, 60))
    assert.same({}, got)
    assert.matches("damaged", result.stats.warnings[1])
  end)

  it("refuses a producer that emits something else than before, whatever the type of its items", function()
    local items = { 1, 2.5, "text", true, { a = { 1, 2 }, b = "x", [3] = false }, -0.0, { { {} } } }
    for i, other in ipairs { 2, 2, "Text", false, { a = { 1, 3 }, b = "x", [3] = false }, 0.0, { { { 1 } } } } do
      os.remove(path)
      resume(items)
      assert.same({}, select(2, resume(items)))
      local changed = table.move(items, 1, #items, 1, {})
      changed[i] = other
      assert.matches(("producer 'numbers': item %d is not the one that the journal"):format(i), run_raises(changed), 1,
        true)
    end
    assert.matches("producer 'numbers' has emitted 6 items, and the journal '.*' has acknowledged item 7 of it",
      run_raises(table.move(items, 1, 6, 1, {})))
    local p = minigun.pipeline "p"
    p:producer("numbers", { processes = 1 }, { 1, 2.5, "other" }):consumer("save", function() end)
    assert.matches("item 3 is not the one", select(2, pcall(p.run, p, { journal = path })), 1, true)
  end)

  it("finds an item that was put in or left out, however many there are", function()
    resume(contexts.range(1, 5000))
    local changed = contexts.range(1, 5000)
    table.remove(changed, 3000)
    changed[5000] = 0
    assert.matches("is not the one", run_raises(changed), 1, true)
  end)

  it("that cannot be written costs a warning, not the run", function()
    local done = support.run(([[
      trap '' XFSZ
      ulimit -f 1
      exec lua5.4 -e '
        local core, minigun = require "minigun.core", require "minigun"
        local p = minigun.pipeline(("p"):rep(300)):producer("n", function(emit) for i = 1, 60 do emit(i) end end)
        p:consumer("save", function(i, _, ctx) ctx:count("n") core.sleep(0.006) end)
        local result = p:run { journal = "%s" }
        print(result.counters.n, result.ok, result.stats.warnings[1])
      ']]):format(path), { env = support.lua_env() })
    assert.matches("^60\ttrue\tjournal '.*': cannot write to the spool '.*': File too large; what is not in it will " ..
      "be delivered again\n$", done.stdout)
    assert.equal("", done.stderr)
  end)

  it("does not acknowledge items of a result that the caller does not get", function()
    local function run(fails)
      local p = minigun.pipeline("p"):producer("numbers", { 1, 2, 3 })
        :map("check", function(i) return i ~= fails and i or error "no" end)
      return p:run { journal = path }
    end
    assert.is_false(pcall(run, 2))
    local known = acknowledged().numbers or {} -- that which failed, where a slow machine has handed it over alone
    assert.is_nil(known[1] or known[3])
    assert.same(known[2] and { 1, 3 } or { 1, 2, 3 }, run().items)
    assert.same({}, run().items)
  end)

  it("acknowledges what a loop over the items has been through, not what it has raised at or not reached", function()
    local function loop(last, raises)
      local p, got = minigun.pipeline "p", {}
      p:producer("numbers", contexts.range(1, 9)):map("same", function(i) return i end)
      pcall(function()
        for i in p:iterate { journal = path } do
          got[#got + 1] = i
          if i == last then
            if raises then error "no" end
            break
          end
        end
      end)
      return got
    end
    assert.same({ 1, 2, 3 }, loop(3))
    assert.same({ 4, 5 }, loop(5, true))
    assert.same({ 5, 6, 7, 8, 9 }, loop())
    assert.same({}, loop())
  end)

  it("of a run that was stopped goes on with what the producers had not emitted", function()
    local got = {}
    local function run(stop_at)
      local p = minigun.pipeline("p"):producer("numbers", contexts.range(1, 3000))
      local handle
      p:consumer("save", { queue = 1 }, function(i)
        got[#got + 1] = i
        if i == stop_at then handle:stop() end
      end)
      handle = p:start { journal = path }
      return handle:wait()
    end
    assert.is_true(run(10).stopped)
    assert.is_true(#got < 3000)
    local _, _, kinds = acknowledged()
    assert.is_not.equal("end", kinds[#kinds])
    run()
    assert.same(contexts.range(1, 3000), got)
  end)

  it("takes its options", function()
    for _, sync in ipairs { "none", "end", "always", 0.001 } do
      os.remove(path)
      local p = minigun.pipeline("p", { journal = { path = path, sync = sync } }):producer { 1, 2 }:consumer(print)
      p.stages[2].handler = function() end
      assert.is_true(p:run().ok)
      assert.equal(2, p:run().resumed)
    end
    local p = minigun.pipeline("p"):producer { 1 }:consumer(function() end)
    for value, message in pairs { [3] = "a path, or { path =, sync = }, got 3", [""] = "got",
      [{ path = path, sync = 0 }] = "sync.* must be", [{ path = path, snyc = 1 }] = "did you mean 'sync'" } do
      assert.matches(message, select(2, pcall(p.run, p, { journal = value })))
    end
  end)

  it("leaks nothing over thousands of runs", function()
    support.deadline(60)
    local runs = support.patience > 1 and 300 or support.short_or_long(200, 3000)
    local p = minigun.pipeline("p"):producer("numbers", contexts.range(1, 20)):batch(7):consumer("save", function() end)
    local pool = minigun.pipeline("p"):producer("numbers", contexts.range(1, 20)):batch(7)
      :consumer("save", { processes = 1 }, function() end)
    local function once(i)
      if i % 100 == 0 then os.remove(path) end
      (i % 50 == 0 and pool or p):run { journal = { path = path, sync = "none" } }
    end
    for i = 1, 100 do once(i) end
    collectgarbage()
    collectgarbage() -- what has a finalizer is freed in the second
    local memory, descriptors = collectgarbage "count", support.descriptor_count()
    for i = 1, runs do once(i) end
    collectgarbage()
    collectgarbage()
    assert.equal(descriptors, support.descriptor_count())
    assert.is_true(collectgarbage "count" < memory + 200, collectgarbage "count" - memory)
  end)
end)

local function pass_on(item, emit) emit(item) end

describe("what is in flight is not acknowledged:", function()
  -- Runs a pipeline until `ready()`, then a little longer, and kills the run.
  local function cut_short(p, ready)
    local run <close> = p:start { journal = path }
    local deadline = core.now() + 5 * support.patience
    repeat run:step(0.02) until ready(run) or core.now() > deadline
    assert.is_true(ready(run))
    run:step(0.05)
    run:kill()
    return acknowledged().numbers or {}
  end

  local function numbers_and_a_pause(emit)
    for i = 1, 10 do emit(i) end
    minigun.sleep(60)
  end

  local function nothing() end

  for name, define in pairs {
    ["tables"] = function(p) p:batch(100):consumer("save", nothing) end,
    ["tables for forks"] = function(p) p:batch(100):consumer("save", { process_per_batch = 1 }, nothing) end,
    ["tables for a pool"] = function(p) p:batch(100):consumer("save", { processes = 1 }, nothing) end,
    ["bytes"] = function(p)
      p:processor("pass", { processes = 1 }, pass_on):batch(100):consumer("save", { processes = 1 }, nothing)
    end,
    ["by key"] = function(p)
      p:accumulator("gather", { by = function(i) return i % 2 end }):consumer("save", nothing)
    end,
  } do
    it("an open batch, " .. name, function()
      local p = minigun.pipeline "p"
      p:producer("numbers", { threads = 1 }, numbers_and_a_pause)
      define(p)
      local gather = p.stages[#p.stages - 1].name
      assert.same({}, cut_short(p, function(run) return support.stage_of(run, gather).items_in == 10 end))
    end)
  end

  it("but a chunk of which all is in full batches is", function()
    local p = minigun.pipeline("p"):producer("numbers", { threads = 1 }, numbers_and_a_pause)
      :processor("pass", { processes = 1 }, pass_on):batch(4):consumer("save", { processes = 1 }, nothing)
    local done = cut_short(p, function(run) return support.stage_of(run, "save").items_in == 2 end)
    assert.is_true(done[1]) -- a worker's first chunk is one item
    assert.is_nil(done[9])
  end)

  it("what waits for its turn", function()
    for _, options in ipairs { { processes = { n = 2, ordered = true } }, { threads = { n = 10, ordered = true } } } do
      os.remove(path)
      local beside, got = os.tmpname(), 0
      local p = minigun.pipeline "p"
      p:producer("numbers", contexts.range(1, 10))
      p:processor("wait", options, function(i, emit)
        if i == 2 then minigun.sleep(60) end
        local file <close> = io.open(beside, "a")
        file:write "."
        emit(i)
      end):consumer("save", function() got = got + 1 end)
      local done = cut_short(p, function() return #support.read_file(beside) == 9 end)
      os.remove(beside)
      assert.equal(1, got)
      assert.same({ [1] = true }, done)
    end
  end)

  it("an item that waits for its next attempt, and one of which a part is still to come", function()
    local p, seen = minigun.pipeline "p", 0
    p:producer("numbers", contexts.range(1, 3))
    p:processor("twice", { processes = 1 }, function(i, emit)
      emit(i)
      emit(-i)
    end):consumer("save", { backoff = 60, retries = 1 }, function(i)
      seen = seen + 1
      if i == -2 then error "later" end
    end)
    local done = cut_short(p, function() return seen == 6 end)
    assert.is_true(done[1])
    assert.is_nil(done[2])
  end)

  it("an item whose worker has died with the whole slice in hand, and that waits for its next attempt", function()
    local p = minigun.pipeline "p"
    p:producer("numbers", contexts.range(1, 200))
    p:processes({ n = 1, retries = 1, backoff = 60 }, function()
      p:processor("die", function(i, emit, ctx)
        if i == 150 then core.kill(ctx.pid, 9) end
        emit(i)
      end)
      p:reduce("sum", 0, function(sum, i) return sum + i end)
    end)
    assert.same({}, cut_short(p, function(run)
      local stage = support.stage_of(run, "die")
      return stage.retried == 1 and stage.items_in == 200
    end))
  end)

  it("a range of source items is cut with its work, only where the items are these", function()
    local function entry(fields)
      local e = { count = 4, is_source = true, origin = { count = 4, source = {}, ranges = { 11, 14 } } }
      for key, value in pairs(fields) do e[key] = value end
      return e
    end
    local e = entry {}
    local function cut_of(own) return acks.cut(own.origin, own.is_source, own.count, 1) end
    local cut = cut_of(e)
    assert.same({ count = 1, source = {}, ranges = { 11, 11 } }, cut)
    assert.same({ count = 3, source = {}, ranges = { 12, 14 } }, e.origin)
    for _, other in ipairs {
      entry { is_source = false }, entry { count = 3 }, entry { origin = { count = 8, ranges = { 11, 14 } } },
      entry { origin = { count = 4, ranges = { 11, 12, 14, 15 } } }, entry { origin = { count = 4, parents = {} } },
    } do
      assert.equal(other.origin, cut_of(other))
    end
  end)
end)

describe("a system call of the journal that fails", function()
  for _, call in ipairs { "open_file", "file_facts", "own_file", "lock_file", "read_at", "write", "sync_file" } do
    it("is an error at the caller's line or a warning, and costs no item: " .. call, function()
      local done = support.run(([[exec lua5.4 -e '
        local core, minigun = require "minigun.core", require "minigun"
        local function run(fails)
          local p, n = minigun.pipeline("p"):producer("n", { 1, 2, 3, 4 }), 0
          p:consumer("save", function() n = n + 1 end)
          if fails then core.faults.call("%s", fails, 28) end
          local ok, result = pcall(p.run, p, { journal = "%s" })
          core.faults.call("%s", 1000, 28)
          if ok then print(n, result.resumed, table.concat(result.stats.warnings, "; ")) else print(result) end
          return n
        end
        print(run() + run())
        local all = 0
        for k = 1, 3 do
          all = all + run(k)
        end
        print("again", all)
        run()
      ']]):format(call, path, call), { env = { LUA_PATH = "./lua/?.lua;./lua/?/init.lua;;",
        LUA_CPATH = "./build-faults/?.so;;" } })
      assert.equal("", done.stderr)
      assert.matches("\n4\n.*\nagain\t0\n0\t4\t[^\n]*nothing new[^\n]*\n$", done.stdout)
      assert.matches("journal[^\n]*No space left on device", done.stdout)
    end)
  end
end)

describe("R78 R61 items whose hooks fail in one run and not in the other", function()
  local Type, failing = {}, nil
  minigun.register("journal_spec.fails", Type, function(o)
    if failing == "dump" and o.n % 3 == 0 then error { code = o.n } end
    return { o.n }
  end, function(t)
    if failing == "load" and t[1] % 3 == 0 then return nil, "not now" end
    return setmetatable({ n = t[1] }, Type)
  end)
  local function object(n) return setmetatable({ n = n }, Type) end
  local function emit_all(emit)
    for n = 1, 5 do emit(object(n)) end
  end
  local sources = {
    ["a producer"] = function(p, f, o) p:producer("src", emit_all):map("work", o, f) end,
    ["a producer in a child"] = function(p, f, o) p:producer("src", { processes = 1 }, emit_all):map("work", o, f) end,
    ["a batch"] = function(p, f, o)
      p:producer("src", emit_all):batch(3):flat_map("work", o, function(batch)
        local list = {}
        for i, each in ipairs(batch) do list[i] = f(each) end
        return list
      end)
    end,
  }
  for name, source in pairs(sources) do
    it("are told from others by what dump gives, and resumed: " .. name, function()
      for _, context in ipairs(contexts.kinds) do
        for _, hook in ipairs { "load", "dump" } do
          for first = 1, 2 do
            os.remove(path)
            local got, failed = {}, 0
            for run = 1, 2 do
              failing = run == first and hook or nil
              local p = minigun.pipeline("fails", { failures = "collect", journal = path })
              source(p, function(o) return o.n end, context.options)
              local r = p:run()
              failing = nil
              table.move(r.items, 1, #r.items, #got + 1, got)
              failed = failed + #r.failures
              assert.equal(run == 1 and 0 or 5, r.resumed, ("%s %s %d"):format(context.name, hook, first))
            end
            assert.equal(5, #got + failed) -- each once
            assert.equal(#got, select(2, contexts.counts(got)))
            if failed > 0 then assert.same({ 1, 2, 4, 5 }, contexts.sorted(got)) end
          end
        end
      end
    end)
  end
end)
