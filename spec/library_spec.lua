-- library/minigun.lua, the types for editors, knows every public name: it is compared with what the library really has.

local minigun = require "minigun"
local support = require "spec.support"

local TEXT <const> = support.read_file "library/minigun.lua"

-- The names of a class: its fields and methods, from the file.
local function known(class)
  local names, found = {}, false
  for block in (TEXT .. "\n\n"):gmatch "(.-)\n\n" do
    if block:find("%-%-%-@class " .. class:gsub("%.", "%%.") .. "%f[^%w_.]") then
      found = true
      for name in block:gmatch "\n%-%-%-@field (%w[%w_]*)" do names[name] = true end
    end
  end
  assert(found, "no class " .. class)
  for name in TEXT:gmatch("\nfunction " .. class:match "[^.]+$" .. "[.:]([%w_]+)%(") do names[name] = true end
  return names
end

-- Asserts that the class has every one of the names; those of the library's own use are left out.
local function assert_known(class, object, own)
  local names, missing = known(class), {}
  for name in pairs(object) do
    if type(name) == "string" and not name:find "^__" and not names[name] and not (own or {})[name] then
      missing[#missing + 1] = name
    end
  end
  table.sort(missing)
  assert.same({}, missing, class .. ": without a doc comment")
end

local function set(...)
  local names = {}
  for _, name in ipairs { ... } do names[name] = true end
  return names
end

describe("library/minigun.lua", function()
  it("is Lua, and gives a module", function()
    local library = assert(loadfile "library/minigun.lua")()
    for name, value in pairs(minigun) do
      assert.equal(type(value), name == "version" and "string" or type(library[name]), name)
    end
    assert_known("minigun", minigun)
  end)

  it("names only classes that it has, and closes every bracket of a type", function()
    local classes = {}
    for class in TEXT:gmatch "minigun%.%u%w*" do classes[class] = true end
    for class in pairs(classes) do known(class) end
    for line in TEXT:gmatch "[^\n]+" do
      local kind = line:match "^%-%-%-@%a+ (.*)"
      for open, close in pairs { ["%("] = "%)", ["{"] = "}", ["<"] = ">" } do
        kind = kind and kind:gsub('%->', "")
        assert.equal(select(2, (kind or ""):gsub(open, "")), select(2, (kind or ""):gsub(close, "")), line)
      end
    end
  end)

  it("knows the methods and fields of pipelines, runs, spools and results", function()
    local p = minigun.pipeline "library"
    assert_known("minigun.Pipeline", getmetatable(p))
    assert_known("minigun.Pipeline", minigun.pipeline "empty", set("by_name"))

    local result = minigun.pipeline("p"):producer({ 1 }):run()
    assert_known("minigun.Result", getmetatable(result))
    assert_known("minigun.Result", result, set("by_stage"))
    local run <close> = minigun.pipeline("p"):producer({ 1 }):each(print):start()
    assert_known("minigun.Run", getmetatable(run))
    local status = run:status()
    assert_known("minigun.Status", status)
    assert_known("minigun.StageStatus", status.stages[1], known "minigun.StageStats")
    assert_known("minigun.Edge", status.edges[1])
    local path = os.tmpname()
    local spool <close> = assert(minigun.spool(path))
    assert_known("minigun.Spool", getmetatable(spool))
    assert_known("minigun.Damage", spool:damage())
    os.remove(path)
  end)

  it("knows the fields of what handlers and hooks receive, and of statistics", function()
    local seen = {}
    local function note(name)
      return function(value) seen[name] = value end
    end
    local p = minigun.pipeline "library"
    p:producer { 1, 2, 3 }
    p:processor("work", { processes = 2, retries = 1 }, function(n, emit, ctx)
      for name in pairs(ctx) do
        if type(name) == "string" then ctx:collect("ctx", name) end
      end
      for name in pairs(getmetatable(ctx)) do ctx:collect("ctx", name) end
      if n == 2 then error "two" elseif n == 3 then os.exit(3) end
      emit(n)
    end)
    p:before_run(note "ctx"):on_worker_exit(note "exit")
    local result = p:run { failures = "collect" }
    local ctx = {}
    for _, name in ipairs(result.collected.ctx) do ctx[name] = true end
    assert_known("minigun.Ctx", ctx)
    assert_known("minigun.Ctx", seen.ctx)
    assert_known("minigun.Exit", seen.exit)
    assert.equal(2, #result.failures)
    for _, failure in ipairs(result.failures) do assert_known("minigun.Failure", failure) end
    assert_known("minigun.Stats", result.stats)
    assert_known("minigun.StageStats", result.stats.stages.work)
    for _, worker in ipairs(result.stats.workers) do assert_known("minigun.WorkerStats", worker) end
  end)

  it("knows every option, with a type", function()
    local classes = { run = "Run", producer = "Producer", processor = "Processor", consumer = "Processor",
      accumulator = "Accumulator", reduce = "Reduce", pipeline = "Nested", context = "Context", threads = "Thread",
      processes = "Pool", process_per_batch = "Fork", backoff = "Backoff", spool = "Spool",
      journal = "Journal", root = "Pipeline", process_group = "PoolGroup", fork_group = "ForkGroup",
      thread_group = "ThreadGroup", inline_group = "Group", command = "Command", log = "Log",
      open = "Standing", halt = "Halt", submit = "Submit", cluster = "Cluster", cluster_group = "ClusterGroup",
      lines = "Lines", records = "Records", csv = "Csv" }
    for kind, schema in pairs(require "minigun.language.schemas".schemas) do
      local class = assert(classes[kind], "docs/generate.lua and this spec do not know the options of: " .. kind)
      assert_known(("minigun.%sOptions"):format(class), schema.by_name)
    end
  end)
end)
