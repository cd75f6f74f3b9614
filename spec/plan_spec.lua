local pipeline = require "minigun.pipeline"
local plan = require "minigun.plan.plan"
local refusals = require "spec.refusals"

local function noop() end

local function new(options)
  return pipeline.new("p", options):producer("gen", { 1, 2, 3 })
end

-- Segments as text: "inline:gen,save processes(2):a,b"
local function segments(result)
  local list = {}
  for sid, segment in ipairs(result.segments) do
    local names = {}
    for k, id in ipairs(segment.stages) do
      local stage = result.stages[id]
      assert.equal(sid, stage.segment)
      names[k] = stage.name .. (stage.gathers and "!" or "")
    end
    list[sid] = segment.context .. ":" .. table.concat(names, ",")
  end
  return table.concat(list, " ")
end

local function outputs(result)
  local list = {}
  for id, stage in ipairs(result.stages) do
    assert.equal(id, stage.id)
    assert.equal(#stage.outputs == 0, stage.terminal)
    local targets = {}
    for k, target in ipairs(stage.outputs) do
      assert.is_true(target > id, "stages are numbered in topological order")
      targets[k] = tostring(target)
    end
    list[id] = stage.name .. ">" .. table.concat(targets, ",")
  end
  return table.concat(list, " ")
end

local function names(hooks)
  local list = {}
  for i, hook in ipairs(hooks) do list[i] = hook.f() end
  return table.concat(list, " ")
end

local function hook(name)
  return function() return name end
end

describe("the plan", function()
  it("gives each stage what it needs to run", function()
    local handler = function() end
    local p = new():processor("parse", { retries = 2, backoff = 0.5, timeout = 3, queue = 10, inline = true }, handler)
    local result = plan.build(p)
    local stage = result.by_name.parse
    assert.equal("p", result.name)
    assert.equal(stage, result.stages[2])
    assert.is_truthy(stage.at:find("^spec/plan_spec.lua:%d+$"))
    stage.at = nil
    assert.same({
      id = 2, name = "parse", kind = "processor", label = "processor", handler = handler, emitting = "processor",
      retries = 2, backoff = 0.5, timeout = 3, queue = 10, keeps_item = true,
      segment = 1, inputs = { 1 }, outputs = {}, terminal = true,
      hooks = { before = {}, after = {}, before_fork = {}, after_fork = {}, before_exit = {} },
    }, stage)
    local gen = result.stages[1]
    assert.same({ "producer", "array", 0, 0, false }, { gen.kind, gen.source, gen.retries, gen.backoff, gen.terminal })
  end)

  it("R58 takes a run's options before the pipeline's, and those before the defaults", function()
    local p = new { memory = "1M", max_restarts = 3, failures = "stop" }
    assert.same({ memory = 1048576, max_restarts = 2, failures = "stop", progress = true,
      restart_window = 5, keep_failures = 1000, output = "lines" },
      plan.build(p, { max_restarts = 2 }).options)
    assert.equal(3, plan.build(p).options.max_restarts)
  end)

  it("R54 is fresh each time and leaves the pipeline alone", function()
    local p = new():batch(2):map("m", noop)
    local first, second = plan.build(p), plan.build(p)
    assert.are_not.equal(first.stages[2], second.stages[2])
    first.stages[2].batch.max_size = 99
    first.options.failures = "collect"
    table.insert(first.stages[1].outputs, 7)
    assert.equal(2, second.stages[2].batch.max_size)
    assert.same(second.options, plan.build(p).options)
    assert.equal(outputs(second), outputs(plan.build(p)))
  end)

  it("R57 follows what is decided at run time", function()
    local workers = tonumber("3")
    local p = new():map("m", { processes = workers, fork = false, inline = workers == 1 }, noop)
    assert.equal("inline:gen processes(3):m", segments(plan.build(p)))
  end)

  it("R30 puts a group's stages into one segment", function()
    local p = new():processes(4, function(b) b:map("a", noop):map("b", noop) end):each("c", noop)
    local result = plan.build(p)
    assert.equal("inline:gen,c processes(4):a,b", segments(result))
    assert.equal("gen>2 a>3 b>4 c>", outputs(result))
    assert.same({ "processes", 4 }, { result.segments[2].kind, result.segments[2].n })
    assert.same({ "inline", 1 }, { result.segments[1].kind, result.segments[1].n })
  end)

  it("keeps two groups of one size apart", function()
    local p = new():processes(2, function(b) b:map("a", noop) end):processes(2, function(b) b:map("b", noop) end)
    assert.equal("inline:gen processes(2):a processes(2):b", segments(plan.build(p)))
  end)

  it("R29 a stage's option overrides its block, and the innermost block wins", function()
    local p = new():processes(4, function(b)
      b:map("a", noop)
      b:map("b", { fork = 2 }, noop)
      b:process_per_batch({ max = 3 }, function() b:map("c", noop) end)
      b:inline(function() b:map("d", noop) end)
      b:processes(false, function() b:map("e", noop) end)
      b:map("f", { inline = true }, noop)
      b:map("g", { fork = { max = 5 } }, noop)
      b:map("h", { processes = false }, noop)
    end)
    assert.equal("inline:gen,d,f processes(4):a,e,h process_per_batch(2):b process_per_batch(3):c "
      .. "process_per_batch(5):g", segments(plan.build(p)))
  end)

  it("R29 a named context is one set of workers for all stages that name it", function()
    local p = new():map("a", { context = "db" }, noop):map("b", noop)
      :processes(3, function(b) b:map("c", { context = "db" }, noop):map("d", { context = "here" }, noop) end)
      :producer("more", { context = "db" }, { 1 })
      :context("db", { processes = 2 }):context("here", { inline = true })
    assert.equal("inline:gen,b,d db: processes(2):a,c db: processes(1):more", segments(plan.build(p)))
  end)

  it("R64 gives a producer in a group a child of its own", function()
    local p = pipeline.new "p"
    p:processes(4, function() p:producer("x", { 1 }):map("a", noop):producer("y", { 1 }) end)
    p:process_per_batch(3, function() p:producer("z", { 1 }):each("b", noop) end)
    assert.equal("processes(1):x processes(4):a processes(1):y processes(1):z process_per_batch(3):b",
      segments(plan.build(p)))
    for _, sid in ipairs { 1, 3, 4 } do assert.equal("processes", plan.build(p).segments[sid].kind) end
  end)

  it("R20 gathers batches in the coordinator, wherever they stand", function()
    local by = function() end
    local p = new():processes(4, function(b)
      b:map("a", noop):batch("b", 10, { max_wait = 2, by = by, queue = 5 }):map("c", noop)
    end)
    local result = plan.build(p)
    assert.equal("inline:gen,b processes(4):a,c", segments(result))
    local stage = result.by_name.b
    assert.same({ "accumulator", { max_size = 10, max_wait = 2, by = by, at = stage.at }, 5 },
      { stage.kind, stage.batch, stage.queue })
    assert.is_nil(stage.handler)
    assert.is_nil(stage.gathers)
  end)

  it("R23 splits an accumulator with a handler into gathering and handling", function()
    local handler = function() end
    local p = new():accumulator("save", { max_size = 3, retries = 2, timeout = 4, fork = 2, queue = 9 }, handler)
      :each("done", noop)
    local result = plan.build(p)
    assert.equal("gen>2 save>3 save>4 done>", outputs(result))
    assert.equal("inline:gen,save,done process_per_batch(2):save!", segments(result))
    local gather, worker = result.stages[2], result.stages[3]
    assert.equal(gather, result.by_name.save)
    assert.same({ "accumulator", 3, 0, 9 }, { gather.kind, gather.batch.max_size, gather.retries, gather.queue })
    assert.is_nil(gather.handler)
    assert.is_nil(gather.timeout)
    assert.same({ "processor", handler, 2, 2, 4 },
      { worker.kind, worker.handler, worker.gathers, worker.retries, worker.timeout })
    assert.is_nil(worker.batch)
    assert.is_nil(worker.queue)
    assert.same({ 2 }, worker.inputs)
    assert.same({ 3 }, result.stages[4].inputs)
  end)

  it("R24 keeps several inputs and outputs of a split accumulator", function()
    local p = pipeline.new("p"):producer("x", { 1 }):producer("y", { 1 })
      :accumulator("acc", { to = { "a", "b" } }, noop):each("a", noop):each("b", noop)
    local result = plan.build(p)
    assert.equal("x>3 y>3 acc>4 acc>5,6 a> b>", outputs(result))
    assert.same({ 1, 2 }, result.by_name.acc.inputs)
  end)

  it("R3, R4 numbers stages in topological order whatever the order of definition", function()
    local p = pipeline.new("p"):consumer("join", { from = { "b", "a" } }, noop):map("b", { from = "gen" }, noop)
      :map("a", { from = "gen", to = "join" }, noop):producer("gen", { 1 })
    assert.equal("gen>2,3 b>4 a>4 join>", outputs(plan.build(p)))
  end)

  it("sorts the hooks of the run by kind, in order of definition, with their lines", function()
    local p = new():before_run(hook "1"):after_run(hook "2"):before_run(hook "3"):after_producer(hook "4")
      :on_failure(hook "5"):on_worker_exit(hook "6")
    local hooks = plan.build(p).hooks
    assert.same({ "1 3", "2", "4", "5", "6" }, { names(hooks.before_run), names(hooks.after_run),
      names(hooks.after_producer), names(hooks.on_failure), names(hooks.on_worker_exit) })
    assert.equal("before_run", hooks.before_run[1].name)
    assert.is_truthy(hooks.before_run[1].at:find("^spec/plan_spec.lua:%d+$"))
  end)

  it("R35, R37 runs pipeline-wide hooks first, then the stage's, each in order of definition", function()
    local p = new():after_fork("a", hook "early")
      :map("a", { processes = 2, after_fork = { hook "option 1", hook "option 2" }, before = hook "b" }, noop)
      :after_fork("a", hook "late"):after_fork(hook "wide 1"):after_fork(hook "wide 2"):after("a", hook "c")
    local result = plan.build(p)
    local stage = result.by_name.a
    assert.equal("wide 1 wide 2 early option 1 option 2 late", names(stage.hooks.after_fork))
    assert.equal("wide 1 wide 2 early option 1 option 2 late", names(result.segments[2].hooks.after_fork))
    assert.equal("b", names(stage.hooks.before))
    assert.equal("c", names(stage.hooks.after))
    assert.equal("", names(result.segments[1].hooks.after_fork)) -- there are children, for which they are
    assert.equal("wide 1 wide 2", names(result.by_name.gen.hooks.after_fork))
    assert.equal("", names(result.by_name.gen.hooks.before))
  end)

  it("R34 gives a segment the hooks of all its stages, each once", function()
    local p = new():before_exit(hook "wide"):processes(2, function(b)
      b:map("a", { before_exit = hook "a" }, noop):map("b", { before_exit = hook "b" }, noop)
    end):before_exit("a", hook "a2")
    assert.equal("wide a b a2", names(plan.build(p).segments[2].hooks.before_exit))
  end)

  it("gives an accumulator's hooks to the stage that runs its handler", function()
    local p = new():accumulator("acc", { processes = 2, before = hook "x", before_fork = hook "y" }, noop)
    local result = plan.build(p)
    assert.equal("", names(result.stages[2].hooks.before))
    assert.equal("x", names(result.stages[3].hooks.before))
    assert.equal("y", names(result.segments[2].hooks.before_fork))
    assert.equal("", names(result.segments[1].hooks.before_fork))
  end)

  it("R13, R70 refuses what cannot run, at the line of the mistake", function()
    local p
    local function define(f)
      p = new()
      local line = debug.getinfo(f, "S").linedefined
      f()
      local ok, message = pcall(plan.build, p)
      assert.is_false(ok)
      local prefix = ("spec/plan_spec.lua:%d: "):format(line)
      assert.equal(prefix, message:sub(1, #prefix))
      return message:sub(#prefix + 1)
    end
    for _, case in ipairs {
      { function() p:map("parse", { to = "sav" }, noop):each("save", noop) end,
        "pipeline 'p': stage 'parse': option 'to' names an unknown stage 'sav' (did you mean 'save'?)" },
      { function() p:map("a", { to = "b" }, noop):map("b", { to = "a" }, noop) end, "cycle: a -> b -> a" },
      { function() p:map("a", { to = {} }, noop):map("b", noop) end, "stage 'b': no stage sends it anything" },
      { function() p:map("a", { to = "gen" }, noop) end, "a producer, which receives no items" },
      { function() p:map("a", { context = "bd" }, noop):context("db", { fork = 1 }) end,
        "stage 'a': there is no context 'bd' (did you mean 'db'?)" },
      { function() p:map("a", noop):before_fork("aa", noop) end, "hook before_fork: there is no stage 'aa'" },
      { function() p:map("parse", noop):after("prase", noop) end, "(did you mean 'parse'?)" },
    } do
      local message = define(case[1])
      assert.is_truthy(message:find(case[2], 1, true), message)
    end
  end)

  it("R13 refuses a pipeline without a producer at the line that runs it", function()
    local empty, no_producer = pipeline.new("x"), pipeline.new("y"):map("a", noop)
    refusals.check {
      { function() plan.build(empty) end, "pipeline 'x': there is no producer: it has no stages" },
      { function() plan.build(no_producer) end, "pipeline 'y': there is no producer" },
      { function() plan.build(new(), { grace = -1 }) end, "run: option 'grace' must be" },
    }
  end)

  describe("where no number of workers is given", function()
    local cpus = plan.machine.cpus
    before_each(function() plan.machine.cpus = function() return 6 end end)
    after_each(function() plan.machine.cpus = cpus end)

    it("takes one per CPU", function()
      local p = new()
      p:processes(function() p:map("a", noop) end)
      p:process_per_batch(function() p:map("b", noop) end)
      p:map("c", { processes = true }, noop):map("d", { fork = {} }, noop)
      p:processes(nil, function() p:map("e", noop) end)
      assert.equal("inline:gen processes(6):a process_per_batch(6):b processes(6):c process_per_batch(6):d "
        .. "processes(6):e", segments(plan.build(p)))
    end)
  end)
end)
