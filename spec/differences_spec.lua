-- What differs by nature between contexts: each row of the table in docs/how-it-works.md is run.
local contexts = require "spec.contexts"
local core = require "minigun.core"
local minigun = require "minigun"
local support = require "spec.support"

local columns = { "inline", "threads", "processes", "process_per_batch" }
local sizes = { inline = true, threads = 2, processes = 2, process_per_batch = 2 }
local LONG <const> = 600 -- calls after which a stage is trusted

local function new(given) return minigun.pipeline("differences", given) end

-- Options of a stage in a context, and more.
local function at(context, more)
  local o = { [context] = sizes[context] }
  for key, value in pairs(more or {}) do o[key] = value end
  return o
end

local function distinct(list)
  local n = 0
  for _ in pairs(contexts.counts(list)) do n = n + 1 end
  return n
end

local function kind_of(result) return result.failures[1] and result.failures[1].kind end

-- What comes into a stage, or is emitted by it, made by f.
local function passes(context, f, emitted)
  local r = new { failures = "collect" }:producer("gen", function(emit) emit(emitted and 1 or f()) end)
    :processor("work", at(context), function(item, emit)
      if emitted then emit(f()) else emit(type(item.value)) end
    end):run()
  if kind_of(r) then return "`" .. kind_of(r) .. "`" end
  assert(emitted or r.items[1] ~= "nil")
  return "arrives"
end

-- A program of its own: its exit code and what it prints.
local function program(text, context, stdin)
  return support.run_lua(([[
    local minigun = require "minigun"
    local p = minigun.pipeline("own", { failures = "collect" }):producer { 1 }
      :processor("work", { %s = %s }, function(item, emit) %s end)
    local r = p:run()
    print(r.failures[1] and r.failures[1].kind or r.items[1])
  ]]):format(context, tostring(sizes[context]), text), { stdin = stdin })
end

-- By the first cell of a row: what is found in a context, to be compared with the beginning of that context's cell.
local rows = {}

rows["a variable of your program that a handler changes"] = function(context)
  local variable = 1
  new():producer { 1 }:consumer(at(context), function() variable = 2 end):run()
  return variable == 2 and "changed" or "as it was"
end

rows["`coroutine.yield()` in a handler"] = function(context)
  local r = new { failures = "collect" }:producer(function(emit) emit(1) end)
    :processor(at(context), function(item, emit)
      coroutine.yield()
      emit(item)
    end):run()
  return r.items[1] and "goes on" or "an `" .. kind_of(r) .. "`"
end

rows["a handler of a stage that is alone there fails after more than 8,192 small items"] = function(context)
  local r = new { failures = "collect" }:producer { 1 }:processor(at(context), function(_, emit)
      for i = 1, 20000 do emit(i) end
      error "too late"
    end):run()
  if #r.items == 0 then return not r.failures[1].partial and "none of them arrives" end
  return r.failures[1].partial and "many of them arrive, `partial`"
end

rows["`ctx.pid`"] = function(context)
  local r = new():producer { 1, 2, 3, 4, 5 }:processor(at(context), function(_, emit, ctx) emit(ctx.pid) end):run()
  if r.items[1] == core.pid() then return distinct(r.items) == 1 and "your program's" end
  return distinct(r.items) == 5 and "a new one for each item" or "a worker's"
end

rows["`ctx.worker`"] = function(context)
  local r = new():producer { 1, 2, 3 }:processor(at(context), function(_, emit, ctx)
    emit(ctx.worker or "nil")
  end):run()
  for _, n in ipairs(r.items) do assert(n == "nil" or n >= 1 and n <= 2) end
  return r.items[1] == "nil" and "nil" or "number of the"
end

rows["`ctx.state`"] = function(context)
  local r = new():producer(contexts.range(1, 8)):processor(at(context), function(_, emit, ctx)
    ctx.state.n = (ctx.state.n or 0) + 1
    minigun.sleep(0.005)
    emit { ctx.state.n, ctx.worker or 0 }
  end):run()
  local most, workers = 0, {}
  for i, pair in ipairs(r.items) do most, workers[i] = math.max(most, pair[1]), pair[2] end
  if most == 1 then return "a new one for each item" end
  if most == 8 and distinct(workers) == 1 and workers[1] == 0 then return "one table for the run" end
  return context == "threads" and "one for each thread" or "one for each worker"
end

rows["`before`, `after`, `before_fork`, `after_fork`, `before_exit` of a stage"] = function(context)
  local given, forks = {}, 0
  for _, name in ipairs { "before", "after", "after_fork", "before_exit" } do
    given[name] = function(ctx) ctx:count(name) end
  end
  function given.before_fork() forks = forks + 1 end
  local r = new():producer { 1, 2, 3 }:processor(at(context, given), function(item, emit) emit(item) end):run()
  for _, name in ipairs { "before", "after", "after_fork", "before_exit" } do assert.equal(forks, r.counters[name]) end
  return ({ "once", "once for each worker", "once for each item" })[forks]
end

rows["`on_worker_exit`"] = function(context)
  local n = 0
  new():on_worker_exit(function() n = n + 1 end):producer { 1, 2, 3 }:consumer(at(context), function() end):run()
  return ({ [0] = "never", [2] = "once for each worker", [3] = "once for each item" })[n]
end

-- A new process may be late, so it is waited for; in this one a handler that blocks shows that nothing else goes on.
local function is_alone(context) return context == "inline" or context == "threads" end

rows["handlers at the same time"] = function(context)
  local path, seconds = os.tmpname(), is_alone(context) and 0.2 or 20
  local r = new():producer { 1, 2 }:processor(at(context), function(item, emit)
    local other, till = path .. 3 - item, core.now() + seconds
    local found
    local over = support.read_file(other) == "over"
    support.write_file(path .. item, "begun")
    repeat
      core.sleep(0.005) -- which does not wait: it blocks
      found = support.read_file(other)
    until found or core.now() > till
    support.write_file(path .. item, "over")
    emit(found ~= nil and not over)
  end):run()
  for _, name in ipairs { path, path .. 1, path .. 2 } do os.remove(name) end
  return (r.items[1] or r.items[2]) and "n" or "one"
end

rows["a function or a file in an item that comes"] = function(context)
  local file = io.tmpfile()
  local found = passes(context, function() return { value = file, f = print } end)
  file:close()
  return found
end

rows["a function or a file in an item that is emitted"] = function(context)
  return passes(context, function() return { f = print } end, true)
end

rows["an object with a metatable that is not registered"] = function(context)
  local object = setmetatable({}, {})
  return passes(context, function() return { value = object } end)
end

rows["a table in more than 128 others, in an item that comes"] = function(context)
  return passes(context, function()
    local item = {}
    for _ = 1, 130 do item = { item } end
    item.value = item
    return item
  end)
end

local Stubborn = {}
minigun.register("differences.Stubborn", Stubborn, function() return 1 end, function() return nil, "no" end)

rows["an object whose `dump` or `load` fails, in an item that comes"] = function(context)
  return passes(context, function() return { value = setmetatable({}, Stubborn) } end)
end

rows["the same in an item that is emitted"] = function(context)
  return passes(context, function() return { f = setmetatable({}, Stubborn) } end, true)
end

rows["`os.exit` in a handler"] = function(context)
  local r = program("os.exit(7)", context)
  if r.code == 7 then return "ends your program" end
  assert.equal("crash\n", r.stdout)
  return "a failure of kind `crash`"
end

rows["a handler that blocks in C past its `timeout`"] = function(context)
  local start, seconds = core.now(), is_alone(context) and 0.6 * support.patience or 20
  local r = new { failures = "collect" }:producer { 1 }:consumer(at(context, { timeout = 0.2 }), function()
    core.sleep(seconds)
  end):run()
  assert.equal("timeout", kind_of(r))
  return core.now() - start >= seconds and "`timeout`, when it returns" or "`timeout`, at once"
end

rows["a table of more than 4,096 entries that is emitted twice"] = function(context)
  local r = new { failures = "collect" }:producer { 1 }:processor("work", at(context), function(_, emit)
    local large = {}
    for i = 1, 5000 do large[i] = i end
    emit(large)
    emit(large)
  end):run()
  if kind_of(r) then return "an error at the second `emit`" end
  return #r.items == 2 and "arrives twice"
end

rows["a table that a handler changes after `emit`, for the first time after hundreds of calls"] = function(context)
  for try = 1, 4 do -- it may be a call that is looked at
    local n = context == "process_per_batch" and 3 or LONG + 7 * try
    local r = new():producer(contexts.range(1, n)):processor("work", at(context), function(i, emit)
      local item = { i = i }
      emit(item)
      if i == n then item.i = "changed" end
    end):run()
    for _, item in ipairs(r.items) do
      if item.i == "changed" then return "its receiver in the same process may see it" end
    end
  end
  return "no other stage sees it"
end

rows["the item of a failure, where nothing needs it (no `retries`, `dead_letter`, `on_failure`, " ..
  '`failures = "collect"`), after a stage\'s first calls'] = function(context)
  for try = 1, 4 do
    local n = context == "process_per_batch" and 3 or LONG + 7 * try
    local p = new():producer("gen", function(emit)
      for i = 1, n do emit { i = i } end
    end):consumer("work", at(context), function(item)
      if item.i == n then
        item.i = "changed"
        error "fails"
      end
    end)
    pcall(p.run, p)
    if p.last.failures[1].item.i == "changed" then return "as the handler left it" end
  end
  return "as it came"
end

rows["what a handler reads from standard input"] = function(context)
  local r = program("emit(io.read 'l' or 'nothing')", context, "line\n")
  return r.stdout == "line\n" and "your program's" or r.stdout == "nothing\n" and "nothing"
end

rows["`future:cancel { kill = true }` of an item in work"] = function(context)
  local began = 0
  local pool <close> = minigun.executor(function()
    began = began + 1
    if context ~= "inline" then minigun.sleep(60) end
    return 1
  end, at(context))
  local future = pool:submit(1)
  pool:step(0.05)
  if future:done() then return "never comes to it" end -- it was through before anybody else could run
  return future:cancel { kill = true } and future:failure().kind
end

-- The rows of the page's table: first cell -> the other cells.
local function documented()
  local text = support.read_file "docs/how-it-works.md"
  local part = text:match "\n## What differs by nature\n(.-)\n## "
  local found = {}
  for line in part:gmatch "[^\n]+" do
    local cells = {}
    for cell in line:gmatch "| ([^|]*) %f[|]" do cells[#cells + 1] = cell end
    if #cells == 5 and cells[1] ~= "what" and cells[1] ~= "---" then
      found[cells[1]] = { table.unpack(cells, 2) }
    end
  end
  return found
end

describe("R33 what differs by nature", function()
  local page = documented()

  it("is in the page's table, and nothing else is", function()
    local here, there = {}, {}
    for name in pairs(rows) do here[#here + 1] = name end
    for name in pairs(page) do there[#there + 1] = name end
    assert.same(contexts.sorted(here), contexts.sorted(there))
  end)

  for name, cells in pairs(page) do
    it(("is as the page says: %s"):format(name), function()
      for i, context in ipairs(columns) do
        local found = rows[name](context)
        assert.is_truthy(found, context)
        assert.equal(found, cells[i]:sub(1, #found), ("%s: found '%s'"):format(context, found))
      end
    end)
  end
end)
