-- Runs a pipeline with a journal; spec/journal_spec.lua kills it.
-- arguments: shape, path of the journal, path of the effects, how many items each producer emits
-- Every effect is one line in the file of effects, written with one write: "name id", where `id` is the ordinal of the
-- source item in its producer's emissions. `shapes[name].effects` says how many different ones each item has.
local core = require "minigun.core"
local minigun = require "minigun"

local shapes = {}
local name, journal, path, n = arg[1], arg[2], arg[3], tonumber(arg[4])
local effects = path and assert(io.open(path, "a"))
if effects then effects:setvbuf "no" end

local function effect(what, id) assert(effects:write(("%s %d\n"):format(what, id))) end
local function work() core.sleep(0.0002) end
local function numbers(emit)
  for i = 1, n do emit(i) end
end
local function save(what)
  return function(id)
    work()
    effect(what, id)
  end
end
local function pass(id, emit)
  work()
  emit(id)
end
local function save_batch(batch)
  work()
  for _, id in ipairs(batch) do effect("a", id) end
end

-- Makes a shape: what it defines, and the names of its effects.
local function shape(title, names, define) shapes[title] = { names = names, define = define } end

shape("inline stages", { "a" }, function(p)
  p:producer("source", numbers):map("add", function(id) return { id } end)
    :consumer("save", function(item)
      work()
      effect("a", item[1])
    end)
end)
shape("pool after pool", { "a" }, function(p)
  p:producer("source", numbers):processor("pass", { processes = 2 }, pass)
    :consumer("save", { processes = 2 }, save "a")
end)
shape("a producer in a process", { "a" }, function(p)
  p:producer("source", { processes = 1 }, numbers):consumer("save", { processes = 2 }, save "a")
end)
shape("a dealing producer in a process", { "a" }, function(p)
  p:producer("source", { processes = 1, to = { "one", "two" }, route = "round_robin" }, function(emit)
    for i = 1, n do
      if i % 7 == 0 then emit(print) end -- which cannot be sent
      if i % 7 == 0 then emit:to("one", i) elseif i % 5 == 0 then emit:to("two", i) else emit(i) end
    end
  end)
  p:consumer("one", { processes = 2 }, save "a"):consumer("two", save "a")
end)
shape("a producer that sends to stages", { "a" }, function(p)
  p:producer("source", { to = "one" }, function(emit)
    for i = 1, n do
      if i % 5 == 0 then emit:to("two", i) elseif i % 3 == 0 then emit:to("three", i) else emit(i) end
    end
  end)
  p:consumer("one", { processes = 2, to = {} }, save "a")
  p:consumer("two", { await = true, to = {} }, save "a")
  p:consumer("three", { await = true, threads = 4, to = {} }, save "a")
end)
shape("batches for forks", { "a" }, function(p)
  p:producer("source", numbers):batch(37):consumer("save", { process_per_batch = { max = 2 } }, save_batch)
end)
shape("joined batches", { "a" }, function(p)
  p:producer("source", numbers):processor("pass", { processes = 2 }, pass):batch(23)
    :consumer("save", { processes = 1 }, save_batch)
end)
shape("batches by key and by time", { "a" }, function(p)
  p:producer("source", numbers):processor("pass", { processes = 2 }, pass)
    :accumulator("gather", { max_size = 9, max_wait = 0.005, by = function(id) return id % 5 end })
    :consumer("save", save_batch)
end)
shape("a broadcast", { "a", "b", "c" }, function(p)
  p:producer("source", numbers):processor("pass", { processes = 1, to = { "a", "b", "c" } }, pass)
    :consumer("a", { processes = 2, to = {} }, save "a"):consumer("b", { from = "pass", to = {} }, save "b")
    :consumer("c", { from = "pass", threads = 3, to = {} }, save "c")
end)
shape("a circle", { "a" }, function(p)
  p:producer("source", { to = "round" }, function(emit)
    for i = 1, n do emit { i, 3 } end
  end)
  p:processor("round", { processes = 2, to = "save" }, function(item, emit)
    work()
    if item[2] > 0 then emit:to("round", { item[1], item[2] - 1 }) else emit(item[1]) end
  end)
  p:consumer("save", { processes = 1 }, save "a")
end)
shape("an order kept", { "a" }, function(p)
  p:producer("source", numbers):processor("pass", { processes = { n = 3, ordered = true }, retries = 2 },
    function(id, emit, ctx)
      if id % 11 == 0 and ctx.attempt == 1 then error "once more" end
      pass(id, emit)
    end):consumer("save", save "a")
end)
shape("equal keys", { "a" }, function(p)
  local function key(id) return id % 7 end
  p:producer("source", numbers):consumer("save", { processes = 3, partition = key }, save "a")
end)
shape("threads", { "a" }, function(p)
  p:producer("source", numbers):processor("wait", { threads = { n = 8, ordered = true } }, function(id, emit)
    minigun.sleep(id % 3 * 0.0005)
    emit(id)
  end):consumer("save", { threads = 8, retries = 1, backoff = 0.002 }, function(id, _, ctx)
    minigun.sleep(0.0005)
    if id % 13 == 0 and ctx.attempt == 1 then error "once more" end
    effect("a", id)
  end)
end)
shape("threads in processes", { "a" }, function(p)
  p:producer("source", numbers):consumer("save", { processes = 2, threads = 4 }, function(id)
    minigun.sleep(0.0005)
    effect("a", id)
  end)
end)
shape("a nested pipeline", { "a" }, function(p)
  p:producer("source", numbers):pipeline("inner", { processes = 2 }, function(q)
    q:processor("one", pass):processor("two", { process_per_batch = 2 }, function(id, emit) emit(id) end)
  end):consumer("save", save "a")
end)
shape("a loop stage", { "a" }, function(p)
  p:producer("source", numbers):stage("save", { processes = 2 }, function(input)
    for id in input do save "a"(id) end
  end)
end)
shape("two producers", { "a", "b" }, function(p)
  p:producer("source", { to = "a" }, numbers):producer("other", { to = "b", processes = 1 }, numbers)
    :consumer("a", { processes = 2, to = {} }, save "a"):consumer("b", { from = "other", to = {} }, save "b")
end)
shape("dead letters and deaths", { "a" }, function(p)
  p:producer("source", numbers):processor("pass", { processes = 2, retries = 1, dead_letter = "dead" },
    function(id, emit, ctx)
      work()
      if id % 17 == 0 then error "never" end
      if id % 101 == 0 and ctx.attempt == 1 then os.exit(3) end
      emit(id)
    end):consumer("save", { processes = 1, to = {} }, save "a")
    :consumer("dead", { await = true, to = {} }, function(letter) effect("a", letter.item) end)
end)
shape("a value at the end", { "sum" }, function(p)
  p:producer("source", numbers):reduce("sum", 0, function(sum, id)
    work()
    return sum + id
  end, { processes = 2 }):consumer("save", function(sum)
    for id = 1, sum > 0 and n or 0 do effect("sum", sum == n * (n + 1) // 2 and id or 0) end -- 0: of no items
  end)
end)
shape("items of the result", { "a" }, function(p)
  p:producer("source", numbers):processor("pass", { processes = 2 }, pass)
  return function()
    for _, id in ipairs(p:run { journal = journal }.items) do effect("a", id) end
  end
end)
shape("a loop over the items", { "a" }, function(p)
  p:producer("source", numbers):processor("pass", { processes = 2 }, pass)
  return function()
    for id in p:iterate { journal = journal } do save "a"(id) end
  end
end)

if not name then return shapes end

local p = minigun.pipeline "journaled"
local run = shapes[name].define(p) or function()
  p:run { journal = journal, failures = "collect", max_restarts = 1000 }
end
run()
print(p.last.resumed)
