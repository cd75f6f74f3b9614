-- Options as defaults for the stages inside: of a run, a pipeline, a group, a named context, a nested pipeline.
local contexts = require "spec.contexts"
local minigun = require "minigun"
local plan = require "minigun.plan.plan"
local refusals = require "spec.refusals"
local support = require "spec.support"

local function pass(item, emit) emit(item) end

-- Who may say an option, the nearest first.
local LEVELS <const> = { "stage", "named", "inner_group", "group", "inner", "nested", "outer_group", "run", "root" }

-- The options that each level of the subset says: those that `extra` has for it, and the option.
local function said(subset, option, level, extra)
  local given = extra or {}
  given[option] = subset[level]
  return given
end

-- A pipeline with a stage inside everything that can stand around one.
local function build(subset, option)
  local function of(level, extra) return said(subset, option, level, extra) end
  local p = minigun.pipeline("outer", of "root"):producer("gen", { 1 })
  p:inline(of "outer_group", function()
    p:pipeline("nested", of "nested", minigun.pipeline("inner", of "inner"):inline(of "group", function(q)
      q:context("named", of("named", { processes = 1 }))
      q:processes(of("inner_group", { n = 1 }), function()
        q:processor("work", of("stage", { context = "named" }), pass)
      end)
    end))
  end)
  return p
end

local function stage_of(p, name, run)
  local built = plan.build(p, run)
  return built.by_name[name], built
end

describe("defaults", function()
  for option, unit in pairs { retries = 1, timeout = 0.5, backoff = 0.25, queue = 1 } do
    it("R83 the nearest " .. option .. " wins, in every combination of what stands around a stage", function()
      for bits = 0, (1 << #LEVELS) - 1 do
        local subset, nearest = {}, nil
        for i, level in ipairs(LEVELS) do
          if bits >> (i - 1) & 1 == 1 then subset[level], nearest = i * unit, nearest or i * unit end
        end
        local stage = stage_of(build(subset, option), "nested.work", said(subset, option, "run"))
        local none = (option == "retries" or option == "backoff") and 0 or nil
        if stage[option] ~= (nearest or none) then
          assert.equal(nearest or none, stage[option], ("%s, levels %x"):format(option, bits))
        end
      end
    end)
  end

  it("R83 are for every kind of stage that has the option, and leave producers alone", function()
    local p = minigun.pipeline("p", { retries = 3, timeout = 4, backoff = 5, queue = 6 })
    p:producer("gen", { 1 }):processor("processor", pass):map("map", math.abs):consumer("consumer", pass)
    p:accumulator("accumulator", pass):stage("stage", pass):reduce("reduce", 0, math.max, { processes = 2 })
    local built = plan.build(p)
    local runs = {}
    for _, stage in ipairs(built.stages) do
      if stage.kind ~= "producer" and not stage.batch and not stage.reduces then
        assert.same({ 3, 4, 5 }, { stage.retries, stage.timeout, stage.backoff }, stage.name)
        runs[#runs + 1] = stage.name
      end
    end
    assert.same({ "processor", "map", "consumer", "accumulator", "stage", "reduce" }, runs)
    for _, name in ipairs(runs) do assert.equal(6, built.by_name[name].queue, name) end
    assert.same({ 0, nil }, { built.by_name.gen.retries, built.by_name.gen.queue })
  end)

  it("R83 can be taken back: no retries, no time-out, no limit of its own", function()
    for _, unlimited in ipairs { 0, math.huge } do
      local p = minigun.pipeline("p", { retries = 3, timeout = 4, queue = 6 }):producer { 1 }
      p:map("f", { retries = 0, timeout = false, queue = unlimited }, math.abs)
      local stage = stage_of(p, "f")
      assert.same({ 0, nil, nil }, { stage.retries, stage.timeout, stage.queue })
    end
  end)

  it("R83 hold for what is put in, replaced and nested later, and in copies", function()
    local base = minigun.pipeline("base", { retries = 2, queue = 7 }):producer("gen", { 1 })
    base:inline({ retries = 3 }, function() base:map("a", math.abs) end)
    base:pipeline("n", { timeout = 9 }, function(q) q:map("x", math.abs) end)
    local copy = base:extend("copy", { retries = 4, timeout = 8 })
    copy:insert_after("a", "b", pass):insert_before("a", function(q) q:inline({ retries = 5 }, function()
      q:map("c", math.abs)
    end) end)
    copy:insert_after("n.x", "y", { queue = 1 }, pass):replace("a", { timeout = 1 }, math.abs)
    local built = plan.build(copy)
    local function values(name)
      local stage = built.by_name[name]
      return { stage.retries, stage.timeout, stage.queue }
    end
    assert.same({ 3, 1, 7 }, values "a")
    assert.same({ 3, 8, 7 }, values "b") -- it stands in the group of its neighbour
    assert.same({ 5, 8, 7 }, values "c")
    assert.same({ 4, 9, 7 }, values "n.x")
    assert.same({ 4, 9, 1 }, values "n.y")
    built = plan.build(base)
    assert.same({ 3, nil, 7 }, values "a")
    assert.same({ 2, 9, 7 }, values "n.x")
    copy:replace("n", { timeout = 6 })
    built = plan.build(copy)
    assert.same({ 4, 6, 7 }, values "n.x")
  end)

  it("R83 stand in the table form beside the name, and in rows for those of a nested pipeline", function()
    local p = minigun.pipeline { name = "t", retries = 2, processes = 1, source = { 1, 2 },
      { "a", map = math.abs }, { "b", map = math.abs, retries = 1 },
      { "n", timeout = 3, pipeline = { retries = 4, { "x", map = math.abs } } } }
    local built = plan.build(p)
    assert.same({ 2, 1, 4, 3 }, { built.by_name.a.retries, built.by_name.b.retries, built.by_name["n.x"].retries,
      built.by_name["n.x"].timeout })
    assert.equal(built.by_name.a.segment, built.by_name["n.x"].segment)
    assert.same({ 1, 2 }, contexts.sorted(p:run().items))
  end)

  it("R83 a pipeline nested twice has those of each place", function()
    local inner = minigun.pipeline "inner":map("f", math.abs)
    local p = minigun.pipeline("p", { retries = 1 }):producer { 1 }
    p:pipeline("one", { retries = 2 }, inner):pipeline("two", { from = "one" }, inner)
    local built = plan.build(p)
    assert.same({ 2, 1 }, { built.by_name["one.f"].retries, built.by_name["two.f"].retries })
  end)

  it("R83 of the context: the nearest wins, and a pipeline's is one set of workers for all its stages", function()
    local function kinds(p, run)
      local list, built = {}, plan.build(p, run)
      for _, stage in ipairs(built.stages) do
        local segment = built.segments[stage.segment]
        list[stage.name] = ("%s %d"):format(segment.kind, segment.n)
      end
      return list, built
    end
    local function define(p)
      p:producer("gen", { inline = true }, { 1 })
      p:map("a", math.abs):map("own", { threads = 3 }, math.abs):map("b", math.abs)
      p:inline(function() p:map("c", math.abs) end)
      p:pipeline("n", { fork = 4 }, function(q) q:map("x", math.abs):map("y", { inline = true }, math.abs) end)
      return p:pipeline("m", { from = "c" }, minigun.pipeline("m", { processes = 5 }):map("x", math.abs))
    end
    local p = define(minigun.pipeline("p", { processes = 2 }))
    local list, built = kinds(p)
    assert.same({ gen = "inline 1", a = "processes 2", own = "processes 2", b = "processes 2", c = "inline 1",
      ["n.x"] = "process_per_batch 4", ["n.y"] = "inline 1", ["m.x"] = "processes 5" }, list)
    assert.equal(built.by_name.a.segment, built.by_name.b.segment)
    assert.same({ "processes 7", "processes 7" }, { kinds(define(minigun.pipeline("p", { context = "w" })
      :context("w", { processes = 7 }))).a, kinds(p:extend { processes = 7 }).b })
    assert.equal("inline 1", kinds(p:extend { inline = true }).b)
    assert.equal("process_per_batch 3", kinds(p:extend { fork = 3 }).b)
    assert.equal("processes 2", kinds(p).b, "the copy's options are not the base's")
  end)

  it("R70 are refused where they cannot hold, at the user's line", function()
    local p = minigun.pipeline "p":producer { 1 }
    local function noop() end
    refusals.check {
      { function() minigun.pipeline("x", { retrys = 1 }) end, "pipeline 'x': unknown option 'retrys'", "'retries'" },
      { function() minigun.pipeline("x", { retries = -1 }) end, "option 'retries' must be" },
      { function() minigun.pipeline("x", { processes = 2, fork = 2 }) end, "both say where it runs" },
      { function() minigun.pipeline("x", { partition = noop }) end, "unknown option 'partition'" },
      { function() p:processes({ n = 2, retries = "x" }, noop) end, "option 'retries' must be" },
      { function() p:processes({ n = 2, dead_letter = "x" }, noop) end, "'dead_letter' is not for a group" },
      { function() p:map({ processes = { n = 2, retries = 2 } }, noop) end, "it stands beside it" },
      { function() p:run { processes = 2 } end, "it is for the pipeline itself" },
      { function() p:extend { timeout = -1 } end, "option 'timeout' must be" },
      { function() minigun.pipeline("x", { context = "none" }):producer { 1 }:map(noop):run() end,
        "there is no context 'none'" },
    }
    local q = minigun.pipeline("q", { processes = 2 }):producer { 1 }:map("f", { ordered = true }, math.abs)
    local ok, message = pcall(plan.build, q)
    assert.is_false(ok)
    assert.matches("defaults_spec.lua:%d+: stage 'f': option 'ordered' belongs to the pipeline around it", message)
  end)

  for _, context in ipairs(contexts.kinds) do
    it(("R83 [%s] retries and back-off of a pipeline, a group and a run are tried"):format(context.name), function()
      local function attempts(make, run)
        local p = make(function(item, emit, ctx)
          if ctx.attempt < 3 then error "again" end
          emit { item, ctx.attempt }
        end)
        local result = p:run(run)
        assert.equal(6, #result.items)
        for _, item in ipairs(result.items) do assert.equal(3, item[2]) end
        return (result.stats.stages.work or result.stats.stages["sub.work"]).retried
      end
      local items = contexts.range(1, 6)
      assert.equal(12, attempts(function(f)
        return minigun.pipeline("p", contexts.options(context, { retries = 2, backoff = 0.001 }))
          :producer("gen", { inline = true }, items):processor("work", f)
      end))
      assert.equal(12, attempts(function(f)
        local p = minigun.pipeline "p":producer("gen", items)
        return p:pipeline("sub", { retries = 2 }, function(q) q:processor("work", context.options, f) end)
          :map("last", function(item) return item end)
      end, { failures = "collect" }))
      assert.equal(12, attempts(function(f)
        return minigun.pipeline("p", { retries = 1 }):producer("gen", items):processor("work", context.options, f)
      end, { retries = 2 }))
    end)
  end
end)

-- What a stage of each context does, with its pid.
local function of_all_contexts(run)
  local p = minigun.pipeline "all":producer("gen", { processes = 1 }, function(emit, ctx)
    ctx:collect("pid", ctx.pid)
    for i = 1, 20 do emit(i) end
  end)
  for i, context in ipairs(contexts.kinds) do
    p:processor("stage" .. i, context.options, function(item, emit, ctx)
      ctx:collect("pid", ctx.pid)
      emit(item + 1)
    end)
  end
  p:processes(2, function()
    p:batch(3)
    p:accumulator("batches", { max_size = 2, processes = 2 }, function(batch, emit, ctx)
      ctx:collect("pid", ctx.pid)
      for _, each in ipairs(batch) do emit(#each) end
    end)
  end)
  return p:reduce("sum", 0, function(a, b) return a + b end, { processes = 2 }):run(run)
end

describe("run { inline = true }", function()
  it("R83 keeps everything in the coordinator, whatever the stages say, with the same result", function()
    local result = of_all_contexts { inline = true }
    assert.same({ 20 }, result.items)
    local _, different = contexts.counts(result.collected.pid)
    assert.same({ 1, support.pid() }, { different, result.collected.pid[1] })
    assert.same({}, result.stats.workers)
    local usual = of_all_contexts()
    assert.same({ 20 }, usual.items)
    _, different = contexts.counts(usual.collected.pid)
    assert.is_true(different > 3)
  end)

  it("R83 keeps what ordered, partition, retries and the edges say", function()
    local p = minigun.pipeline "p":producer("gen", { processes = 1 }, contexts.range(1, 30))
    p:processes({ n = 4, ordered = true, retries = 1 }, function()
      p:processor("work", { partition = function(n) return n % 3 end }, function(n, emit, ctx)
        if n % 5 == 0 and ctx.attempt == 1 then error "once" end
        emit(n)
      end)
    end)
    local result = p:run { inline = true }
    assert.same(contexts.range(1, 30), result.items)
    assert.equal(6, result.stats.stages.work.retried)
  end)
end)

describe("run { workers = n }", function()
  it("R83 is the size of every context of processes, and of no producer and no threads", function()
    local p = minigun.pipeline("p", { processes = 3 }):producer("gen", { 1 })
    p:map("a", math.abs):map("b", { fork = 4 }, math.abs):map("c", { inline = true }, math.abs)
    p:map("d", { processes = 2, threads = 5 }, math.abs)
    local built = plan.build(p, { workers = 7 })
    local function size(name) return built.segments[built.by_name[name].segment].n end
    assert.same({ 1, 7, 7, 1, 7 }, { size "gen", size "a", size "b", size "c", size "d" })
    assert.equal(5, built.segments[built.by_name.d.segment].width)
    built = plan.build(p)
    assert.same({ 1, 3, 4, 1, 2 }, { size "gen", size "a", size "b", size "c", size "d" })
  end)
end)
