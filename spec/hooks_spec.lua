local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local support = require "spec.support"

local range, sorted, options = contexts.range, contexts.sorted, contexts.options

local function new(given)
  return minigun.pipeline("hooks", given)
end

local function pass(item, emit) emit(item) end

local function each(list, f)
  for _, context in ipairs(list) do f(context, " [" .. context.name .. "]") end
end

-- Makers of hooks that note what ran when: `trace.add` in the coordinator, `trace.tell` anywhere.
local function tracer()
  local trace = { notes = {} }
  function trace.add(name)
    return function(ctx)
      local pid = core.pid()
      trace.notes[#trace.notes + 1] = { at = core.now(), name = name, pid = pid, ctx = ctx }
    end
  end
  function trace.tell(name)
    return function(ctx) ctx:collect("trace", { at = core.now(), name = name, pid = core.pid() }) end
  end
  -- All notes in the order of time.
  function trace.sorted(result)
    local all = {}
    for _, list in ipairs { trace.notes, result.collected.trace or {} } do table.move(list, 1, #list, #all + 1, all) end
    table.sort(all, function(a, b) return a.at < b.at end)
    return all
  end
  function trace.names(result, pid)
    local names = {}
    for _, note in ipairs(trace.sorted(result)) do
      if not pid or note.pid == pid then names[#names + 1] = note.name end
    end
    return names
  end
  return trace
end

describe("hooks", function()
  it("R34 run in order for a pool of one worker", function()
    local t = tracer()
    local result = new():before_run(t.add "before_run"):after_run(t.add "after_run")
      :after_producer(t.add "after_producer"):before_fork(t.add "before_fork"):after_fork(t.tell "after_fork")
      :before_exit(t.tell "before_exit"):on_worker_exit(t.add "on_worker_exit")
      :producer(function(emit) emit(1) end)
      :processor("work", { processes = 1 }, function(_, _, ctx) t.tell "item"(ctx) end)
      :before("work", t.tell "before"):after("work", t.tell "after"):run()
    local names = t.names(result)
    local expected = { "before_run", "before_fork", "after_fork", "before", "item", "after", "before_exit",
      "on_worker_exit", "after_run" }
    for i = #names, 1, -1 do -- it ends when it likes, between the first and the last
      if names[i] == "after_producer" then
        assert.is_true(i > 2 and i < #names)
        table.remove(names, i)
      end
    end
    assert.same(expected, names)
    assert.equal(10, #t.sorted(result))
  end)

  it("R34 run in order in the coordinator", function()
    local t = tracer()
    local result = new():before_run(t.add "before_run"):after_run(t.add "after_run")
      :after_producer(t.add "after_producer"):before_fork(t.add "before_fork")
      :after_fork(t.tell "after_fork"):before_exit(t.tell "before_exit")
      :producer(function(emit, ctx)
        t.tell "producer"(ctx)
        emit(1)
      end)
      :processor("work", function(_, _, ctx) t.tell "item"(ctx) end)
      :before("work", t.tell "before"):after("work", t.tell "after"):run()
    local names = t.names(result)
    for i = #names, 1, -1 do
      if names[i] == "after_producer" then
        assert.is_true(i > 5 and i < #names)
        table.remove(names, i)
      end
    end
    assert.same({ "before_run", "before_fork", "after_fork", "before", "producer", "item", "after", "before_exit",
      "after_run" }, names)
  end)

  each(contexts.all, function(context, where)
    it("R65 run exactly as often as the order says" .. where, function()
      local items, here = 8, {}
      local function add(name)
        return function() here[name] = (here[name] or 0) + 1 end
      end
      local function count(name)
        return function(ctx) ctx:count(name) end
      end
      local p = new():before_run(add "before_run"):after_run(add "after_run"):after_producer(add "after_producer")
        :before_fork(add "before_fork"):on_worker_exit(add "on_worker_exit")
        :after_fork(count "after_fork"):before_exit(count "before_exit")
        :producer(range(1, items)):processor("work", options(context), pass)
        :before("work", count "before"):after("work", count "after")
      for _ = 1, 2 do
        here = {}
        local result = p:run()
        local workers = context.per_item and items or context.inline and 1 or context.n
        assert.same({ before_run = 1, after_run = 1, after_producer = 1, before_fork = workers,
          on_worker_exit = not context.inline and workers or nil }, here)
        assert.same({ before = workers, after = workers, after_fork = workers, before_exit = workers }, result.counters)
      end
    end)

    it("collected and counted values arrive from every hook and handler" .. where, function()
      local function both(name)
        return function(ctx)
          ctx:collect("from", name)
          ctx:count(name, 2)
        end
      end
      local result = new { failures = "collect" }:before_run(both "before_run"):after_producer(both "after_producer")
        :before_fork(both "before_fork"):after_fork(both "after_fork"):before_exit(both "before_exit")
        :on_failure(function(_, ctx) both "on_failure"(ctx) end)
        :producer(function(emit, ctx)
          both "producer"(ctx)
          emit(1)
        end)
        :processor("work", options(context), function(n, emit, ctx)
          both "handler"(ctx)
          emit(n)
        end)
        :before("work", both "before"):after("work", both "after")
        :batch { max_size = 1 }
        :accumulator("last", options(context, { max_size = 2 }), function(_, _, ctx) both "accumulator"(ctx) end)
        :producer("failing", function(_, ctx)
          both "failing"(ctx)
          error "fails"
        end):consumer(function() end):run()
      local expected = { "before_run", "after_producer", "on_failure", "producer", "handler", "before", "after",
        "accumulator", "failing", "before_fork", "after_fork", "before_exit" }
      for _, name in ipairs(expected) do
        assert.is_true((result.counters[name] or 0) >= 2, name .. " is missing")
      end
      local times = contexts.counts(result.collected.from)
      for name, n in pairs(result.counters) do assert.equal(n, 2 * times[name], name) end
    end)

    it("R35 a stage's own run after the pipeline's, several in order of definition" .. where, function()
      local function note(name)
        return function(ctx)
          local list = ctx.state
          if not list.names then list.names = {} end
          ctx:collect("order", { ctx.pid, core.now(), name })
        end
      end
      local here = {}
      local function add(name)
        return function() here[#here + 1] = name end
      end
      local result = new():producer { 1 }
        :processor("work", options(context, { before = { note "b1", note "b2" }, after_fork = note "own 1",
          before_fork = add "own 1" }), pass)
        :after_fork("work", note "own 2"):after_fork(note "wide 1"):after_fork(note "wide 2")
        :before("work", note "b3"):before_fork(add "wide 1"):before_fork("work", add "own 2"):before_fork(add "wide 2")
        :before_run(add "run 1"):before_run(add "run 2"):run()
      local by_pid = {}
      for _, entry in ipairs(result.collected.order) do
        by_pid[entry[1]] = by_pid[entry[1]] or {}
        table.insert(by_pid[entry[1]], entry[3])
      end
      local expected = { "wide 1", "wide 2", "own 1", "own 2", "b1", "b2", "b3" }
      local expected_here = { "run 1", "run 2" }
      for _ = 1, (context.per_item or context.inline) and 1 or context.n do
        for _, name in ipairs { "wide 1", "wide 2", "own 1", "own 2" } do
          expected_here[#expected_here + 1] = name
        end
      end
      for _, names in pairs(by_pid) do assert.same(expected, names) end
      assert.is_not_nil(next(by_pid))
      assert.same(expected_here, here)
    end)

    it("R39 one that raises fails the run with its name and line; after_run runs" .. where, function()
      local names = { "before_run", "after_producer", "before", "after", "before_fork", "after_fork", "before_exit" }
      for _, name in ipairs(names) do
        local after, line
        local p = new { failures = "collect" }:producer(range(1, 5)):processor("work", options(context), pass)
          :after_run(function(result)
            after = (after or 0) + 1
            assert(not result.ok and result.error)
          end)
        local function raising() error("boom in " .. name) end
        line = debug.getinfo(raising, "S").linedefined
        if name == "before" or name == "after" then p[name](p, "work", raising) else p[name](p, raising) end
        local ok, message = pcall(p.run, p)
        assert.is_false(ok)
        assert.is_string(message)
        assert.is_truthy(message:find(("hooks_spec.lua:%d: boom in %s"):format(line, name), 1, true), message)
        assert.is_truthy(message:find("hook " .. name, 1, true), message)
        assert.equal(1, after, name)
        assert.same({}, support.children())
      end
    end)
  end)

  each(contexts.all, function(context, where)
    it("R34 R36 a stage opens in after_fork what it needs, wherever it runs" .. where, function()
      local item_seen, closed = {}, 0
      local result = new():producer(range(1, 6)):processor("work", options(context, {
        before_fork = function() closed = closed + 1 end,
        after_fork = function(ctx) ctx.state.handle = "open for " .. ctx.stage end,
        before_exit = function(ctx) ctx:count(ctx.state.handle) end,
      }), function(_, emit, ctx) emit(ctx.state.handle) end):run()
      for i = 1, 6 do item_seen[i] = "open for work" end
      assert.same(item_seen, result.items)
      local workers = context.per_item and 6 or context.inline and 1 or context.n
      assert.same({ ["open for work"] = workers }, result.counters)
      assert.equal(workers, closed)
    end)
  end)

  it("R34 a hook of one stage of a group gets that stage's ctx", function()
    local p = new():producer { 1, 2 }:processes(1, function(b)
      for name, n in pairs { a = 10, b = 100 } do
        b:processor(name, { after_fork = function(ctx) ctx.state.n = n end }, function(item, emit, ctx)
          emit(item + ctx.state.n)
        end)
      end
    end)
    assert.same({ 111, 112 }, sorted(p:run().items))
  end)

  it("R34 pipeline-wide hooks about forks are for the children, where there are some", function()
    local here = {}
    local result = new():producer { 1, 2 }:processor("inline", pass):processor("pool", { processes = 2 }, pass)
      :before_fork(function(ctx) here[#here + 1] = ctx.stage end)
      :after_fork(function(ctx) ctx:collect("pids", ctx.pid) end):run()
    assert.same({ "pool", "pool" }, here)
    assert.equal(2, #result.collected.pids)
    for _, pid in ipairs(result.collected.pids) do assert.not_equal(core.pid(), pid) end
  end)

  each(contexts.forked, function(context, where)
    it("R36 before_fork runs in the coordinator, after_fork in the child" .. where, function()
      local forks = 0
      local result = new():producer { 1, 2 }:processor("work", options(context), pass)
        :before_fork(function(ctx)
          forks = forks + 1
          assert(ctx.pid == core.pid())
        end)
        :after_fork(function(ctx)
          forks = forks + 1000
          ctx:collect("child", { ctx.pid, core.pid(), forks % 1000 })
        end):run()
      assert.is_true(forks > 0 and forks < 1000)
      assert.equal(forks, #result.collected.child)
      local seen = {}
      for i, child in ipairs(result.collected.child) do
        assert.equal(child[1], child[2])
        assert.not_equal(core.pid(), child[1])
        seen[i] = child[3]
      end
      assert.same(range(1, forks), sorted(seen))
    end)

    it("what a hook collects is kept although the item after it fails" .. where, function()
      local result = new { failures = "collect" }:producer { 1 }:processor("work", options(context), function(_, _, ctx)
        ctx:collect("of the item", 1)
        error "fails"
      end):after_fork(function(ctx) ctx:collect("of the hook", 1) end)
        :before("work", function(ctx) ctx:collect("of the hook", 2) end):run()
      local n = context.per_item and 1 or context.n
      assert.equal(2 * n, #(result.collected["of the hook"] or {}))
      assert.is_nil(result.collected["of the item"])
    end)

    it("what a hook collects is kept although the worker dies at its first item" .. where, function()
      local result = new { failures = "collect" }:producer { 1 }:processor("work", options(context), function(_, _, ctx)
        ctx:collect("of the item", 1)
        os.exit(3)
      end):after_fork(function(ctx) ctx:collect("of the hook", 1) end):run()
      local forks = contexts.forks(result)
      assert.equal(forks, #(result.collected["of the hook"] or {}))
      assert.is_nil(result.collected["of the item"])
      assert.equal("crash", result.failures[1].kind)
    end)
  end)

  it("R37 hooks given as options are the same hooks", function()
    local function make(as_options)
      local trace = {}
      local function add(name) return function() trace[#trace + 1] = name end end
      local function tell(name) return function(ctx) ctx:collect(name, 1) end end
      local hooks = { before_fork = add "before_fork", after_fork = tell "after_fork", before = tell "before",
        after = tell "after", before_exit = tell "before_exit" }
      local given = { processes = 2 }
      for name, f in pairs(as_options and hooks or {}) do given[name] = f end
      local p = new():producer { 1, 2, 3 }:processor("work", given, pass)
      for name, f in pairs(as_options and {} or hooks) do p[name](p, "work", f) end
      return { trace, p:run().collected }
    end
    assert.same(make(false), make(true))
    assert.same({ "before_fork", "before_fork" }, make(true)[1])
    assert.same({ 1, 1 }, make(true)[2].before_exit)
  end)

  it("a stage's hooks run for its segment only", function()
    local here = {}
    local p = new():producer { 1 }:processor("a", { processes = 2 }, pass):processor("b", { processes = 1 }, pass)
      :before_fork("b", function(ctx) here[#here + 1] = ctx.stage end)
      :after_fork("a", function(ctx) ctx:collect("forked", ctx.stage) end)
    local result = p:run()
    assert.same({ "b" }, here)
    assert.same({ "a", "a" }, result.collected.forked)
  end)

  it("R38 what is closed before a fork and opened after it is never shared", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "a"))
    file:write "coordinator\n"
    new():producer(range(1, 6)):consumer({ process_per_batch = 2 }, function(n, _, ctx)
      ctx.state.file:write(n .. "\n")
    end):before_fork(function()
      if file then file:close() end
      file = nil
    end):before("consumer 1", function(ctx) ctx.state.file = assert(io.open(path, "a")) end)
      :after("consumer 1", function(ctx) ctx.state.file:close() end)
      :after_run(function() file = assert(io.open(path, "a")) end):run()
    file:write "coordinator\n"
    file:close()
    local lines = {}
    for line in io.lines(path) do lines[#lines + 1] = line end
    os.remove(path)
    assert.same({ "1", "2", "3", "4", "5", "6", "coordinator", "coordinator" }, sorted(lines))
  end)

  it("R34 after_run runs once, last, also when items have failed and nothing handles that", function()
    local calls = {}
    local p = new():producer { 1, 2 }:each({ processes = 1 }, function() error "bad" end)
      :after_run(function(result) calls[#calls + 1] = { result.ok, #result.failures } end)
    assert.has_error(function() p:run() end)
    assert.same({ { false, 2 } }, calls)
  end)

  it("R34 after_run runs when iterate is left early", function()
    local calls = 0
    local p = new():producer(range(1, 100)):map({ processes = 1 }, function(n) return n end)
      :after_run(function() calls = calls + 1 end)
    for n in p:iterate() do
      if n > 0 then break end
    end
    assert.equal(1, calls)
    for _ in p:iterate() do calls = calls + 0 end
    assert.equal(2, calls)
  end)

  it("R39 an after_run that raises fails the run; the others run", function()
    local ran = 0
    local p = new():producer { 1 }:after_run(function() error "late" end):after_run(function() ran = ran + 1 end)
    assert.error_matches(function() p:run() end, "late")
    assert.equal(1, ran)
  end)

  it("after_producer comes when the last of several producers has ended, also of one in a child", function()
    for _, given in ipairs { {}, { processes = 1 } } do
      local ended, at = 0, nil
      local result = new():producer("a", given, function(emit, ctx)
        core.sleep(0.02)
        emit(1)
        ctx:collect("end", core.now())
      end):producer("b", { 2 }):consumer(function() end):after_producer(function()
        ended, at = ended + 1, core.now()
      end):run()
      assert.equal(1, ended)
      assert.is_true(at >= result.collected["end"][1])
    end
  end)

  it("the option grace bounds what hooks may take after the last item, and costs no item", function()
    local start = core.now()
    local result = new():producer { 1, 2, 3 }:processor("work", { processes = 2 }, pass)
      :before_exit("work", function() minigun.sleep(60) end):run { grace = 0.2, failures = "collect" }
    assert.same({ 1, 2, 3 }, sorted(result.items))
    assert.equal("crash", result.failures[1].kind)
    assert.is_true(core.now() - start < 10)
  end)

  -- Each is what a hook does that would let others go on, if it were a handler.
  local waits = {
    sleep = function() minigun.sleep(0.002) end,
    wait = function()
      local pipe <close> = assert(io.popen "sleep 0.01; echo")
      assert(minigun.wait(pipe, "r", 10))
    end,
    command = function() assert(minigun.command { "true" }) end,
  }

  for name, wait in pairs(waits) do
    each(contexts.all, function(context, where)
      it("R34 R73 may wait by " .. name .. " wherever they are called" .. where, function()
        local heard, passed = 0, 0
        local function on_failure()
          wait()
          heard = heard + 1
        end
        local result = new { failures = "collect" }:producer("src", function(emit)
          for i = 1, 9 do
            emit(i % 3 == 0 and print or i) -- which cannot be sent, where it has to
            minigun.sleep(0.001)
          end
        end):processor("slow", { inline = true }, function(item, emit)
          emit(item)
          minigun.sleep(0.01) -- the pool goes on meanwhile, and its failures come in
        end):processor("work", options(context, { before_fork = wait }), function(item, emit)
          if item ~= 7 then error "refused" end
          emit(item)
        end):consumer("end", function() passed = passed + 1 end):on_failure(on_failure):on_worker_exit(wait):run()
        assert.is_nil(result.error)
        assert.same({ 8, 8, 1 }, { result.failed, heard, passed })
      end)
    end)

    it("R34 R73 may wait by " .. name .. " while a producer writes straight into a pool", function()
      local heard = 0
      local result = new { failures = "collect" }:producer("src", function(emit)
        for i = 1, 6 do emit(i % 2 == 0 and print or i) end
      end):map("work", { processes = 1 }, function(item) return item end):on_failure(function()
        wait()
        heard = heard + 1
      end):run()
      assert.is_nil(result.error)
      assert.same({ 1, 3, 5 }, sorted(result.items))
      assert.equal(3, heard)
    end)
  end
end)
