-- R73: what waits holds up nothing else. A source gives some items and then waits until these have come through (or for
-- ten seconds, where that is broken), so nothing here depends on how quick the machine is.

local minigun = require "minigun"
local contexts = require "spec.contexts"
local core = require "minigun.core"
local support = require "spec.support"

local options, sorted = contexts.options, contexts.sorted
local PATIENCE <const> = 10 -- seconds that a source waits for what it has given

-- What the source and the end of the pipeline share: the source waits until `n` items have arrived, or till `late`.
local function meeting(n)
  local self = { flag = os.tmpname(), arrived = 0 }
  os.remove(self.flag)
  function self.arrive()
    self.arrived = self.arrived + 1
    if self.arrived == n then support.write_file(self.flag, "") end
  end
  function self.is_over() return self.arrived >= n end
  function self.text(last) -- a shell's way to do the same
    return ("i=0; while [ $i -lt %d ]; do i=$((i+1)); echo $i; done; i=0; while ! [ -e %s ] && [ $i -lt %d ]; do " ..
      "i=$((i+1)); sleep 0.02; done; [ -e %s ] && echo %s || echo late"):format(n, self.flag, PATIENCE * 40, self.flag,
      last or "in time")
  end
  return self
end

local function with(n, f)
  local m = meeting(n)
  local ok, err = pcall(f, m)
  os.remove(m.flag)
  assert(ok, err)
end

-- Waits by steps of `wait`, then says whether it was in time.
local function until_over(m, wait)
  local deadline = core.now() + PATIENCE
  while not m.is_over() and core.now() < deadline do wait() end
  return m.is_over() and "in time" or "late"
end

-- Each gives the arguments of p:producer for a source of "1" to n, and then "in time".
local sources = {
  ["a function that sleeps"] = function(n, m)
    return function(emit)
      for i = 1, n do emit(tostring(i)) end
      emit(until_over(m, function() minigun.sleep(0.01) end))
    end
  end,
  ["a function that waits for a descriptor"] = function(n, m)
    return function(emit)
      local pipe <close> = assert(io.popen("while ! [ -e " .. m.flag .. " ]; do sleep 0.02; done"))
      for i = 1, n do emit(tostring(i)) end
      emit(minigun.wait(pipe, "r", PATIENCE) and "in time" or "late")
    end
  end,
  ["coroutine.wrap, which sleeps"] = function(n, m)
    return coroutine.wrap(function()
      for i = 1, n do coroutine.yield(tostring(i)) end
      coroutine.yield(until_over(m, function() minigun.sleep(0.01) end))
    end)
  end,
  ["a callable object that sleeps"] = function(n, m)
    return setmetatable({}, { __call = function(_, emit)
      for i = 1, n do emit(tostring(i)) end
      emit(until_over(m, function() minigun.sleep(0.01) end))
    end })
  end,
  ["lines of a pipe"] = function(_, m) return io.popen(m.text()):lines() end,
  ["a function that reads lines of a pipe"] = function(_, m)
    return function(emit)
      local pipe <close> = assert(io.popen(m.text()))
      for line in pipe:lines() do emit(line) end
    end
  end,
  ["a function that reads a pipe"] = function(_, m)
    return function(emit)
      local pipe <close> = assert(io.popen(m.text()))
      while true do
        local line = pipe:read()
        if not line then return end
        emit(line)
      end
    end
  end,
  ["minigun.lines of a pipe"] = function(_, m) return minigun.lines(assert(io.popen(m.text()))) end,
  ["minigun.lines of a FIFO"] = function(_, m)
    local path = os.tmpname()
    os.remove(path)
    assert(os.execute("mkfifo " .. path))
    assert(os.execute(("(%s) >%s 2>/dev/null &"):format(m.text(), path)))
    return function(emit)
      for line in minigun.lines(path) do emit(line) end
      os.remove(path)
    end
  end,
}
local function expected(n)
  local list = { "in time" }
  for i = 1, n do list[#list + 1] = tostring(i) end
  return sorted(list)
end

-- What stands between the source and the end, beside the plain stage of a context.
local shapes = {
  ["a stage"] = function(p, context)
    p:map("work", options(context), function(x) return x end)
  end,
  ["two stages"] = function(p, context)
    p:map("first", options(context), function(x) return x end)
    p:map("second", options(context), function(x) return x end)
  end,
  ["a route by turns"] = function(p, context)
    p:processor("deal", { route = "round_robin", to = { "a", "b" } }, function(x, emit) emit(x) end)
    p:map("a", options(context, { to = "end" }), function(x) return x end)
    p:map("b", options(context, { to = "end" }), function(x) return x end)
  end,
  ["a nested pipeline"] = function(p, context)
    p:pipeline("inner", function(inner)
      inner:map("work", options(context), function(x) return x end)
    end)
  end,
  ["batches with max_wait"] = function(p, context)
    p:accumulator("batch", { max_size = 100, max_wait = 0.02 })
    p:flat_map("work", options(context), function(batch) return batch end)
  end,
  ["batches of one"] = function(p, context)
    p:batch(1)
    p:flat_map("work", options(context), function(batch) return batch end)
  end,
}

-- A pipeline from the source to an inline stage that tells the source of each arrival.
local function through(source, n, m, shape, context)
  local p = minigun.pipeline "waiting"
  p:producer("source", source(n, m))
  shape(p, context)
  local seen = {}
  p:each("end", { inline = true }, function(x)
    seen[#seen + 1] = x
    m.arrive()
  end)
  return p, seen
end

describe("R73 an item comes through while its source waits", function()
  for name, source in pairs(sources) do
    for _, context in ipairs(contexts.kinds) do
      it(("for %s [%s]"):format(name, context.name), function()
        with(3, function(m)
          local p, seen = through(source, 3, m, shapes["a stage"], context)
          p:run()
          assert.same(expected(3), sorted(seen))
        end)
      end)
    end
  end

  for name, shape in pairs(shapes) do
    for _, context in ipairs(contexts.kinds) do
      it(("through %s [%s]"):format(name, context.name), function()
        for _, kind in ipairs { "a function that sleeps", "lines of a pipe" } do
          with(5, function(m)
            local p, seen = through(sources[kind], 5, m, shape, context)
            p:run()
            assert.same(expected(5), sorted(seen), kind)
          end)
        end
      end)
    end
  end

  for _, context in ipairs(contexts.kinds) do
    it("however many it has given before [" .. context.name .. "]", function()
      local n = context.per_item and 7 or 700
      for _, kind in ipairs { "a function that sleeps", "a function that reads lines of a pipe" } do
        with(n, function(m)
          local p, seen = through(sources[kind], n, m, shapes["a stage"], context)
          p:run()
          assert.same(expected(n), sorted(seen), kind)
        end)
      end
    end)

    it("with a journal, emit:to and partition [" .. context.name .. "]", function()
      local journal = os.tmpname()
      with(4, function(m)
        local p = minigun.pipeline "waiting"
        p:producer("source", { to = "work" }, function(emit)
          for i = 1, 3 do emit(i) end
          emit:to("beside", 4)
          emit(until_over(m, function() minigun.sleep(0.01) end))
        end)
        p:map("work", options(context, { to = "end", partition = not context.inline and tostring or nil }),
          function(x) return x end)
        p:map("beside", options(context, { await = true, to = "end" }), function(x) return x end)
        local seen = {}
        p:each("end", { inline = true }, function(x)
          seen[#seen + 1] = x
          m.arrive()
        end)
        p:run { journal = journal }
        assert.same({ 1, 2, 3, 4, "in time" }, sorted(seen))
      end)
      os.remove(journal)
    end)
  end

  it("when others sleep: two producers wait side by side", function()
    for _, context in ipairs(contexts.kinds) do
      local p, turns = minigun.pipeline "two", {}
      local other = { a = "b", b = "a" }
      for _, name in ipairs { "a", "b" } do
        p:producer(name, { to = "end" }, function(emit)
          for i = 1, 5 do
            emit(name .. i)
            turns[name] = i
            until_over({ is_over = function() return (turns[other[name]] or 0) >= i end },
              function() minigun.sleep(0.002) end)
            assert(turns[other[name]] and turns[other[name]] >= i, "the other one has had no turn")
          end
        end)
      end
      p:each("end", options(context), function() end)
      assert.is_true(p:run().ok)
    end
  end)

  it("when half of a line has come together with the line before it", function()
    for name, lines in pairs {
      ["file:read()"] = function(file) return function() return file:read() end end,
      ["file:read 'l'"] = function(file) return function() return file:read "l" end end,
      ["file:read '*L'"] = function(file) return function() return (file:read "*L":gsub("\n", "")) end end,
      ["file:lines()"] = function(file) return file:lines() end,
    } do
      local gap
      for _ = 1, 4 do                             -- a busy machine may hold up everything
        local file <close> = assert(io.popen "printf 'one\\nhal'; sleep 0.5; echo 'f a line'")
        local last = core.now()
        gap = 0
        local r = minigun.pipeline "half":producer("reads", { to = {} }, function(emit)
          local line = lines(file)
          emit(line())
          emit(line())
        end):producer("sleeps", { to = {} }, function()
          for _ = 1, 30 do
            minigun.sleep(0.02)
            gap, last = math.max(gap, core.now() - last), core.now()
          end
        end):run()
        assert.same({ "half a line", "one" }, sorted(r.items), name)
        if gap < 0.35 then break end
      end
      assert.is_true(gap < 0.35, ("%s: nothing went on for %.2f s"):format(name, gap))
    end
  end)

  it("while its source computes", function()
    for _, context in ipairs(contexts.kinds) do
      local arrived, least = 0, math.huge
      local p = minigun.pipeline "computing"
      p:producer("source", function(emit)
        for i = 1, 2000 do
          emit(i)
          contexts.work(0.001)
          least = math.min(least, i - arrived)
          if arrived > 0 and i >= 20 then return end
        end
      end)
      p:map("work", options(context), function(x) return x end)
      p:each("end", { inline = true }, function() arrived = arrived + 1 end)
      p:run()
      assert.is_true(least < 2000, context.name)
    end
  end)

  for _, context in ipairs(contexts.forked) do
    it("and time-outs, deaths and retries are seen [" .. context.name .. "]", function()
      with(3, function(m)
        local p = minigun.pipeline "seen"
        local failed = {}
        p:producer("source", function(emit)
          emit "hang"
          emit "die"
          emit "again"
          emit(until_over(m, function() minigun.sleep(0.01) end))
        end)
        p:map("work", options(context, { timeout = 0.1, retries = 1, backoff = 0.01 }), function(x, _, ctx)
          if x == "hang" then contexts.work(60) end
          if x == "die" then core.die_of(9) end
          if x == "again" and not ctx then error "once more" end
          return x
        end)
        p:on_failure(function(failure)
          failed[#failed + 1] = failure.kind
          m.arrive()
        end)
        p:each("end", { inline = true }, function(x) failed[#failed + 1] = x end)
        p:run()
        assert.same({ "crash", "error", "in time", "timeout" }, sorted(failed))
      end)
    end)
  end

  it("and while a handler of an inline stage sleeps workers and threads go on", function()
    for _, context in ipairs(contexts.kinds) do
      if not (context.inline and not context.threads) then
        local done = os.tmpname()
        os.remove(done)
        local p, emitted = minigun.pipeline "inline", false
        p:producer("source", function(emit)
          for i = 1, 6 do emit(i) end
          emitted = true
        end)
        p:map("work", options(context), function(x)
          if x == 6 then
            minigun.sleep(0.3)
            support.write_file(done, "")
          end
          return x
        end)
        local answer
        p:each("end", { inline = true }, function()
          if answer or not emitted then return end
          answer = until_over({ is_over = function() return support.read_file(done) ~= nil end },
            function() minigun.sleep(0.01) end)
        end)
        p:run()
        os.remove(done)
        assert.equal("in time", answer, context.name)
      end
    end
  end)
end)

describe("a source that stands still", function()
  it("is named in the warnings, with what to do", function()
    local p = minigun.pipeline "still"
    p:producer("feed", function(emit)
      for i = 1, 4 do
        emit(i)
        os.execute "sleep 0.06"
      end
    end):each({ processes = 2 }, function() end)
    local warnings = p:run().stats.warnings
    assert.equal(1, #warnings)
    for _, word in ipairs { "stage 'feed'", "stood still", "minigun.lines", "processes = 1" } do
      assert.is_truthy(warnings[1]:find(word, 1, true), warnings[1])
    end
  end)

  it("is not, where it sleeps, computes or reads what it can wait for", function()
    for _, wait in ipairs { function() minigun.sleep(0.06) end, function() contexts.work(0.06) end,
      function() for _ in io.popen("sleep 0.06"):lines() do error "no line" end end } do
      local p = minigun.pipeline "well"
      p:producer("feed", function(emit)
        for i = 1, 4 do
          emit(i)
          wait()
        end
      end):each({ processes = 2 }, function() end)
      assert.same({}, p:run().stats.warnings)
    end
  end)
end)

describe("what waiting costs", function()
  -- Voluntary switches of this thread: each wake-up is one.
  it("is little: a run that waits for its source hardly wakes up", function()
    local sleepy = {
      function(emit)
        emit(1)
        minigun.sleep(0.5)
        emit(2)
      end,
      function(emit)
        for line in io.popen("echo 1; sleep 0.5; echo 2"):lines() do emit(line) end
      end,
    }
    for _, source in ipairs(sleepy) do
      for _, context in ipairs(contexts.kinds) do
        local p = minigun.pipeline "cheap"
        p:producer("source", source):each("work", options(context), function() end)
        local cpu, waits = core.worked()
        p:run()
        local cpu_after, waits_after = core.worked()
        assert.is_true(cpu_after - cpu < 0.06 * contexts.patience,
          ("%s: %.3f s"):format(context.name, cpu_after - cpu))
        assert.is_true(waits_after - waits < 150, ("%s: woken %d times"):format(context.name, waits_after - waits))
      end
    end
  end)
end)
