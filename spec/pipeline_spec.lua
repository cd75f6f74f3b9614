local pipeline = require "minigun.pipeline"
local refusals = require "spec.refusals"

local function noop() end

local function new(options)
  return pipeline.new("p", options)
end

-- Runs a handler without a pipeline: what it emits for the items given.
local function emissions(handler, ...)
  local out = {}
  for _, item in ipairs { ... } do
    handler(item, function(value) out[#out + 1] = value end)
  end
  return out
end

local function produced(p)
  local out = {}
  p.stages[1].handler(function(value) out[#out + 1] = value end)
  return out
end

describe("a pipeline", function()
  it("returns itself from every method that defines", function()
    local p = new()
    for _, call in ipairs {
      { "producer", noop }, { "processor", noop }, { "consumer", noop }, { "accumulator" }, { "batch", 2 },
      { "map", noop }, { "flat_map", noop }, { "filter", noop }, { "each", noop }, { "inline", noop },
      { "processes", 2, noop },
      { "process_per_batch", { max = 2 }, noop }, { "context", "c", { processes = 2 } }, { "before_run", noop },
      { "after_run", noop }, { "after_producer", noop }, { "on_failure", noop }, { "on_worker_exit", noop },
      { "before", "map 1", noop }, { "after", "map 1", noop }, { "before_fork", noop }, { "after_fork", "map 1", noop },
      { "before_exit", noop },
    } do
      assert.equal(p, p[call[1]](p, table.unpack(call, 2)), call[1])
    end
  end)

  it("names stages by kind and number where no name is given", function()
    local p = new():batch(10):map(noop):batch("batch 3", 5):map("other", noop):map(noop):batch(3):producer { 1 }
    local names = {}
    for i, definition in ipairs(p.stages) do names[i] = definition.name end
    assert.same({ "batch 1", "map 1", "batch 3", "other", "map 3", "batch 4", "producer 1" }, names)
  end)

  it("records the line of each definition", function()
    local p = new()
    p:map("a", noop) local line = debug.getinfo(1, "l").currentline
    p:processes(2, function(inner)
      inner:map("b", noop)
    end)
    assert.equal("spec/pipeline_spec.lua:" .. line, p.stages[1].at)
    assert.equal("spec/pipeline_spec.lua:" .. line + 2, p.stages[2].at)
  end)

  it("R20 takes batches in all forms", function()
    local p = new():batch():batch(7):batch("x", 8):batch("y", 9, { max_wait = 1 }):batch(10, { to = {} })
      :batch { max_size = 11 }
    local sizes = {}
    for i, definition in ipairs(p.stages) do
      sizes[i] = definition.batch.max_size
      assert.is_nil(definition.handler)
    end
    assert.same({ 100, 7, 8, 9, 10, 11 }, sizes)
    assert.equal("x", p.stages[3].name)
    assert.equal(1, p.stages[4].batch.max_wait)
    assert.same({}, p.stages[5].to)
  end)

  it("R22 takes accumulators with and without options and handler", function()
    local p = new():accumulator("a"):accumulator("b", noop):accumulator("c", { by = noop, max_size = 2 })
      :accumulator({ max_wait = 0.5 }, noop)
    assert.is_nil(p.stages[1].handler)
    assert.equal(noop, p.stages[2].handler)
    assert.same({ max_size = 2, by = noop }, p.stages[3].batch)
    assert.same({ max_size = 100, max_wait = 0.5 }, p.stages[4].batch)
    assert.equal(noop, p.stages[4].handler)
  end)

  describe("as a source", function()
    it("takes an array", function()
      assert.same({ 3, 1, false, 2 }, produced(new():producer("p", { 3, 1, false, 2 })))
      assert.same({}, produced(new():producer("p", {})))
      assert.same({ 5 }, produced(new():producer("p", { to = {} }, { 5 })))
      assert.equal("array", new():producer({ 1 }).stages[1].source)
    end)

    it("takes what a generic for takes", function()
      local i = 0
      local function count()
        i = i + 1
        if i <= 3 then return i end
      end
      assert.same({ 1, 2, 3 }, produced(new():producer("p", count)))
      assert.same({ "a", "b" }, produced(new():producer("p", ("a b"):gmatch "%a")))
      assert.same({ 1, 2 }, produced(new():producer("p", ipairs { "x", "y" })))
      assert.same({ "k" }, produced(new():producer("p", { to = {} }, pairs { k = 1 })))
      assert.same({ 7 }, produced(new():producer(coroutine.wrap(function() coroutine.yield(7) end))))
      local told = {}
      assert.same({ 10, 20 }, produced(new():producer(coroutine.wrap(function(...)
        told[1] = { ... }
        told[2] = { coroutine.yield(10) }
        told[3] = { coroutine.yield(20) }
      end), "state", "begin")))
      assert.same({ { "state", "begin" }, { "state", 10 }, { "state", 20 } }, told) -- as a for loop calls it
      assert.equal("iterator", new():producer(pairs {}).stages[1].source)
    end)

    it("closes what the iterator opened", function()
      local closed = 0
      local guard = setmetatable({}, { __close = function() closed = closed + 1 end })
      local f, state, control = ipairs { "x", "y" }
      local p = new():producer("p", f, state, control, guard)
      assert.same({ 1, 2 }, produced(p))
      assert.equal(1, closed)
      assert.has_error(function() p.stages[1].handler(function() error("in emit", 0) end) end, "in emit")
      assert.equal(2, closed)
    end)

    it("takes a function with parameters, or an object that can be called, as the handler", function()
      local function handler(emit) emit "x" end
      local p = new():producer("p", handler)
      assert.equal(handler, p.stages[1].handler)
      assert.is_nil(p.stages[1].source)
      local object = setmetatable({}, { __call = function(_, emit) emit "y" end })
      assert.same({ "y" }, produced(new():producer("p", object)))
    end)
  end)

  describe("with functions that return values", function()
    it("maps", function()
      local p = new():map("m", function(item) return item > 1 and item * 2, "second" end)
      assert.same({ false, 4 }, emissions(p.stages[1].handler, 1, 2))
      assert.equal("processor", p.stages[1].kind)
    end)

    it("R52 fails an item that is mapped to nil, at the user's line", function()
      local p = new():map("m", noop) local line = debug.getinfo(1, "l").currentline
      local ok, message = pcall(p.stages[1].handler, 1, noop)
      assert.is_false(ok)
      assert.equal(("spec/pipeline_spec.lua:%d: stage 'm': the function returned nil"):format(line),
        message:match("^[^,]+"))
    end)

    it("flattens one level", function()
      local p = new():flat_map(function(item) return item end)
      assert.same({ 1, { 2 }, false }, emissions(p.stages[1].handler, { 1, { 2 } }, {}, { false }))
      local ok, message = pcall(p.stages[1].handler, 5, noop)
      assert.is_false(ok)
      assert.is_truthy(message:find("stage 'flat_map 1': the function must return an array, got 5", 1, true))
    end)

    it("filters", function()
      local p = new():filter(function(item) return item ~= 2 and 0 or nil end)
      assert.same({ 1, 3 }, emissions(p.stages[1].handler, 1, 2, 3))
    end)

    it("calls for each item and emits nothing", function()
      local seen = {}
      local p = new():each(function(item, ...)
        seen[#seen + 1] = item
        assert.equal(0, select("#", ...))
        return "not emitted"
      end)
      assert.same({}, emissions(p.stages[1].handler, 1, 2))
      assert.same({ 1, 2 }, seen)
      assert.equal("consumer", p.stages[1].kind)
    end)
  end)

  it("R29 ends a group where it raises", function()
    local p = new()
    assert.has_error(function()
      p:processes(2, function() error("in the group", 0) end)
    end, "in the group")
    p:map("a", noop)
    assert.is_nil(p.stages[1].context)
  end)

  it("R13, R70 refuses wrong definitions at the user's line", function()
    local p = new():map("taken", noop):context("db", { processes = 2 })
    local inner = new()
    refusals.check {
      { function() p:map("taken", noop) end, "stage 'taken': the name is taken", "pipeline_spec.lua:" },
      { function() p:map("", noop) end, "name must not be empty" },
      { function() p:processor("a") end, "stage 'a': the handler must be a function(item, emit, ctx), got nil" },
      { function() p:processor("a", 4) end, "got 4" },
      { function() p:processor({ to = {} }) end, "stage 'processor 1': the handler must be" },
      { function() p:processor("a", noop, { to = {} }) end, "unexpected argument after the handler: a table" },
      { function() p:processor("a", { procesess = 2 }, noop) end, "stage 'a'", "did you mean 'processes'?" },
      { function() p:processor("a", { to = "a" }, noop) end, "stage 'a': option 'to' names the stage itself" },
      { function() p:processor("a", { from = { "b", "a" } }, noop) end, "option 'from' names the stage itself" },
      { function() p:processor("a", { inline = true, processes = 2 }, noop) end, "'inline' and 'processes' both say" },
      { function() p:processor("a", { context = "db", fork = 2 }, noop) end, "'fork' and 'context' both say" },
      { function() p:producer("a") end, "the handler must be a function(emit, ctx), an array or an iterator, got nil" },
      { function() p:producer("a", { to = "b" }) end, "got a table without array elements" },
      { function() p:producer("a", 5) end, "got 5" },
      { function() p:producer("a", nil, "x.log: No such file") end, "got nil: x.log: No such file" },
      { function() p:producer("a", { to = "b" }, nil, "x.log: No such file") end, "got nil: x.log: No such file" },
      { function() p:accumulator("a", 5) end, "a function(batch, emit, ctx), got 5" },
      { function() p:batch(0) end, "stage 'batch 1': the size must be an integer from 1 to 4294967295, got 0" },
      { function() p:batch("a", "10") end, "stage 'a': the size must be an integer from 1 to" },
      { function() p:batch("a", 10, 5) end, "got 5" },
      { function() p:batch(10, { max_size = 5 }) end, "the size is given twice" },
      { function() p:batch(10, { max_wiat = 5 }) end, "did you mean 'max_wait'?" },
      { function() p:processes(0, noop) end, "processes: the number of workers must be an integer", "got 0" },
      { function() p:processes(4) end, "processes: the group needs a function", "got nil" },
      { function() p:process_per_batch({ maximum = 4 }, noop) end, "unknown option 'maximum'" },
      { function() p:process_per_batch({ max = 4 }) end, "the group needs a function" },
      { function() p:inline(4) end, "the group needs a function" },
      { function() p:context("db", { processes = 2 }) end, "context 'db': the name is taken" },
      { function() p:context("x", {}) end, "context 'x': say what it is, with one of the options: inline" },
      { function() p:context("x", { inline = true, fork = 2 }) end, "'inline' and 'fork' both" },
      { function() p:context("x", { workers = 2 }) end, "context 'x': unknown option 'workers'" },
      { function() p:context(5) end, "the name must be a name" },
      { function() p:before_run("taken", noop) end, "hook before_run: the handler must be a function" },
      { function() p:before(noop) end, "hook before: the stage must be a name" },
      { function() p:before_fork("taken") end, "hook before_fork: the handler must be a function, got nil" },
      { function() p:after_fork(5, noop) end, "hook after_fork: the stage must be a name" },
      { function() pipeline.new("x", { memory = "lots" }) end, "pipeline 'x': option 'memory' must be bytes" },
      { function() pipeline.new(5) end, "the name must be a name" },
      { function() p:run { failures = "hide" } end, "run: option 'failures' must be" },
      { function() p:iterate { memroy = 1 } end, "did you mean 'memory'?" },
      { function() p:inline(function() p:run() end) end, "run is called inside a function" },
      { function() p.map(noop) end, "call map with a colon, on a pipeline: p:map(...)" },
      { function() p.run() end, "call run with a colon" },
      { function() p.before_run(noop) end, "call before_run with a colon" },
      { function() p:processor("a", inner) end, "got a pipeline (p:pipeline puts one inside another)" },
    }
    assert.equal(1, #p.stages, "what was refused is not defined")
  end)

  it("blames the user's line through the user's own functions, coroutines and pcall", function()
    local p = new()
    local line
    local function mine()
      line = debug.getinfo(1, "l").currentline + 1
      p:map("a", 5)
    end
    local _, message = coroutine.resume(coroutine.create(mine))
    assert.is_truthy(message:find("^spec/pipeline_spec.lua:" .. line .. ": stage 'a'"))
    local ok, direct = pcall(p.map, p, "a", 5) line = debug.getinfo(1, "l").currentline
    assert.is_false(ok)
    assert.is_truthy(direct:find("^spec/pipeline_spec.lua:" .. line .. ": stage 'a'"))
  end)

  it("R15 shows every stage with its context and edges, one line each, in topological order", function()
    local p = pipeline.new "word_count"
    p:context("db", { processes = 2 })
    p:consumer("log", { from = "split" }, noop)
    p:producer("lines", { "a" })
    p:processes(4, function()
      p:processor("split", noop)
      p:batch(1000, { max_wait = 0.5 })
      p:producer("more", { "b" })
    end)
    p:process_per_batch(function() p:accumulator("save", noop) end)
    p:each("done", { context = "db" }, noop)
    assert.equal(table.concat({
      "pipeline 'word_count', 7 stages",
      "  lines    producer               inline                   -> split",
      "  split    processor              processes(4)             -> log, batch 1",
      "  log      consumer               inline                   -> (result)",
      "  batch 1  batch of 1000 or 0.5s  inline                   -> save",
      "  more     producer               processes(1)             -> save",
      "  save     accumulator of 100     process_per_batch(cpus)  -> done",
      "  done     each                   db: processes(2)         -> (result)",
    }, "\n"), tostring(p))
    assert.equal(tostring(p), tostring(p))
  end)

  it("can be shown before it is complete, with what is missing", function()
    local text = tostring(new():map("a", { to = "b", context = "x" }, noop))
    assert.is_truthy(text:find("a  map  context 'x', not defined  -> (result)", 1, true))
    assert.is_truthy(text:find("! spec/pipeline_spec.lua:%d+: stage 'a': option 'to' names an unknown stage 'b'"))
    assert.is_truthy(text:find("! there is no producer", 1, true))
    assert.equal("pipeline 'p', 0 stages\n  ! there is no producer: it has no stages", tostring(new()))
  end)
end)
