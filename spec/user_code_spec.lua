-- R78: wherever the library calls user code, what that does costs the item it concerns, and nothing else. The places
-- are a table, and so is what user code does there.
local contexts = require "spec.contexts"
local minigun = require "minigun"
local support = require "spec.support"

local N <const>, BAD <const> = 6, 3

-- A type whose hooks do what the test says, for the object of BAD.
local Type, hooks = { __name = "spec.user_code" }, {}
local function object(n) return setmetatable({ n = n }, Type) end
local function hook(name, n)
  if n == BAD and hooks[name] then return hooks[name]() end
  return n
end
local function number(item) return type(item) == "table" and rawget(item, "n") or item end

local function dump(o)
  local n, why = hook("dump", o.n)
  if why then return n, why end
  return { n }
end
local function load_hook(t)
  local n, why = hook("load", t[1])
  if why then return n, why end
  return object(n)
end

minigun.register("spec.user_code", Type, dump, load_hook) -- outside of these tests the hooks do nothing

-- --- what user code does ------------------------------------------------------------------------------------------

local ACTS <const> = {
  raises = { act = function() error "boom" end, text = "boom" },
  raises_a_table = { act = function() error { code = 404 } end, text = "{code = 404}", fields = { code = 404 } },
  refuses = { act = function() return nil, "not this one" end, text = "not this one", hooks = true },
  yields = { act = function() coroutine.yield "out" end, text = "yield", hooks = true },
  raises_what_Lua_does_without_memory = { act = function() error("not enough memory", 0) end,
    text = "not enough memory" },
  raises_interrupted = { act = function() error("interrupted!", 0) end, text = "interrupted!" },
}
local NAMES <const> = { "raises", "raises_a_table", "refuses", "yields",
  "raises_what_Lua_does_without_memory", "raises_interrupted" }

-- --- the places ----------------------------------------------------------------------------------------------------

local function source(p) return p:producer("source", contexts.range(1, N)) end
local function passes(item, emit) emit(item) end

-- Each: `build(p, options, act)` adds stages to p, which give the numbers that arrive as items, or in `collected.n`.
-- `hook`: "dump" or "load"; `stage` whose failure it is; `kind` of that; `contexts`: those where it can happen, or all;
-- `total`: one item, the sum, arrives; `item`: what the failure shows, where it is not BAD itself.
local function at(n, act)
  if n == BAD then act() end
end

local function keep(_, context) return not context.inline end
local function keep_pools(_, context) return not context.inline and not context.per_item end

local PLACES <const> = {
  { name = "a handler", kind = "error", stage = "w", build = function(p, options, act)
    source(p):processor("w", options, function(n, emit)
      at(n, act)
      emit(n)
    end)
  end },
  { name = "a map's function", kind = "error", stage = "w", build = function(p, options, act)
    source(p):map("w", options, function(n)
      at(n, act)
      return n
    end)
  end },
  { name = "a metamethod of what a flat_map returns", kind = "error", stage = "w", build = function(p, options, act)
    source(p):flat_map("w", options, function(n)
      return setmetatable({}, { __len = function() return 1 end, __index = function()
        at(n, act)
        return n
      end })
    end)
  end },
  { name = "a to-be-closed variable of a handler", kind = "error", stage = "w", build = function(p, options, act)
    source(p):processor("w", options, function(n, emit)
      local _ <close> = setmetatable({}, { __close = function() at(n, act) end })
      emit(n)
    end)
  end },
  { name = "a loop stage", kind = "error", stage = "w", build = function(p, options, act)
    source(p):stage("w", options, function(input, emit)
      for n in input do
        at(n, act)
        emit(n)
      end
    end)
  end },
  { name = "a route", kind = "error", stage = "w", build = function(p, options, act)
    source(p):processor("w", contexts.options({ options = options }, { to = { "a", "b" }, route = function(n)
      at(n, act)
      return n % 2 == 0 and "a" or "b"
    end }), passes)
    p:processor("a", { to = {} }, passes):processor("b", { to = {} }, passes)
  end },
  { name = "a partition", kind = "error", stage = "w", build = function(p, options, act)
    source(p):processor("w", contexts.options({ options = options }, { partition = function(n)
      at(n, act)
      return n
    end }), passes)
  end },
  { name = "an accumulator's key", kind = "error", stage = "w", build = function(p, options, act)
    source(p):accumulator("w", contexts.options({ options = options }, { max_size = 2, by = function(n)
      at(n, act)
      return n
    end }), function(batch, emit) emit(batch[1]) end)
  end },
  { name = "a reduction's function", kind = "error", stage = "w", total = true, build = function(p, options, act)
    source(p):reduce("w", 0, function(a, n)
      at(n, act)
      return a + n
    end, contexts.options({ options = options }, { combine = function(a, b) return a + b end }))
  end },
  { name = "dump of what a producer emits", hook = "dump", kind = "unserialisable", stage = "source",
    filter = keep_pools, build = function(p, options)
      p:producer("source", function(emit) for i = 1, N do emit(object(i)) end end)
      p:map("w", options, number)
    end },
  { name = "dump of what a producer in a child emits", hook = "dump", kind = "unserialisable", stage = "source",
    filter = keep_pools, build = function(p, options)
      p:producer("source", { processes = 1 }, function(emit) for i = 1, N do emit(object(i)) end end)
      p:map("w", options, number)
    end },
  { name = "dump of what a worker emits", hook = "dump", kind = "unserialisable", stage = "w", filter = keep,
    build = function(p, options)
      source(p):map("w", options, object):map("last", { inline = true }, number)
    end },
  { name = "dump in a batch of the coordinator's", hook = "dump", kind = "unserialisable", stage = "batch",
    filter = keep_pools, build = function(p, options)
      source(p):map(object):accumulator("batch", { max_size = 4 }):flat_map("w", options, function(batch)
        local list = {}
        for i, each in ipairs(batch) do list[i] = each.n end
        return list
      end)
    end },
  { name = "dump of what is collected", hook = "dump", kind = "unserialisable", stage = "w", filter = keep,
    build = function(p, options)
      source(p):processor("w", options, function(n, emit, ctx)
        ctx:collect("o", object(n))
        emit(n)
      end)
    end },
  { name = "load of a worker's item", hook = "load", kind = "unserialisable", stage = "w", filter = keep_pools,
    build = function(p, options)
      p:producer("source", function(emit) for i = 1, N do emit(object(i)) end end)
      p:map("w", options, number)
    end },
  { name = "load after another pool", hook = "load", kind = "unserialisable", stage = "w",
    build = function(p, options)
      source(p):map("first", { processes = 1 }, object):map("w", options, number)
    end },
  { name = "load of a result", hook = "load", kind = "unserialisable", stage = "w", filter = keep,
    build = function(p, options)
      source(p):map("w", options, object)
    end },
  { name = "load of what is collected", hook = "load", kind = "unserialisable", stage = "w", filter = keep,
    collected = true, build = function(p, options)
      source(p):processor("w", options, function(n, _, ctx) ctx:collect("n", object(n)) end)
    end },
  { name = "load of what the second stage of a group collects", hook = "load", kind = "unserialisable", stage = "w2",
    filter = keep, collected = true, build = function(p, options)
      source(p):context("own", options):map("w", { context = "own" }, function(n) return n end)
      p:processor("w2", { context = "own" }, function(n, _, ctx) ctx:collect("n", object(n)) end)
    end },
  { name = "load in a batch", hook = "load", kind = "unserialisable", stage = "w", filter = keep_pools,
    build = function(p, options)
      p:producer("source", function(emit) for i = 1, N do emit(object(i)) end end):batch("batch", 4)
      p:flat_map("w", options, function(batch)
        local list = {}
        for i, each in ipairs(batch) do list[i] = each.n end
        return list
      end)
    end },
  { name = "load in a batch of one", hook = "load", kind = "unserialisable", stage = "w", filter = keep_pools,
    build = function(p, options)
      p:producer("source", function(emit) for i = 1, N do emit(object(i)) end end):batch("batch", 1)
      p:map("w", options, function(batch) return batch[1].n end)
    end },
  { name = "load in a batch that inline stages gather", hook = "load", kind = "unserialisable", stage = "batch",
    build = function(p, options)
      source(p):map("first", { processes = 1 }, object):batch("batch", 4)
      p:flat_map("w", contexts.options({ options = { inline = true } }), function(batch)
        local list = {}
        for i, each in ipairs(batch) do list[i] = each.n end
        return list
      end)
      p:map("last", options, number)
    end },
  { name = "load in a reduce", hook = "load", kind = "unserialisable", stage = "w", filter = keep_pools,
    total = true, build = function(p, options)
      p:producer("source", function(emit) for i = 1, N do emit(object(i)) end end)
      p:reduce("w", 0, function(a, o) return a + o.n end,
        contexts.options({ options = options }, { combine = function(a, b) return a + b end }))
    end },
}

local function expected(place)
  local list, sum = {}, 0
  for i = 1, N do
    if i ~= BAD then
      list[#list + 1] = i
      sum = sum + i
    end
  end
  return place.total and { sum } or list
end

local function run(place, context, name)
  local act = ACTS[name].act
  hooks = place.hook and { [place.hook] = act } or {}
  local p = minigun.pipeline "user_code"
  place.build(p, context.options, act)
  local result = p:run { failures = "collect" }
  hooks = {}
  return result
end

local function check(place, context, name)
  local result, act = run(place, context, name), ACTS[name]
  local got = {}
  for i, item in ipairs(place.collected and result.collected.n or result.items) do got[i] = number(item) end
  assert.same(expected(place), contexts.sorted(got))
  local said = {}
  for i, failure in ipairs(result.failures) do said[i] = tostring(failure) end
  assert.equal(1, #result.failures, table.concat(said, "\n"))
  local failure = result.failures[1]
  assert.same({ place.kind, place.stage }, { failure.kind, failure.stage })
  assert.matches(act.text, failure.message, 1, true)
  local shown = failure.item
  while type(shown) == "table" do shown = rawget(shown, "n") or shown[1] end
  if type(shown) == "string" then shown = tonumber(shown:match "^{n = (%d)}$") end -- what cannot be sent goes as text
  assert.equal(BAD, shown)
  if act.fields then assert.same(act.fields, failure.error) end
end

local function usable(place, context) return not place.filter or place.filter(place, context) end

describe("R78 R48 a hook that never returns costs its item, by the time-out of its stage:", function()
  local function spin() while true do end end -- luacheck: ignore 542
  for _, context in ipairs(contexts.kinds) do
    if not context.inline then
      for _, name in ipairs { "load", "dump" } do
        it(name .. " in " .. context.name, function()
          hooks = { [name] = spin }
          local options = contexts.options(context, { timeout = 0.1 * support.patience })
          local p = source(minigun.pipeline "stuck")
          if name == "load" then p:map("first", { processes = 1 }, object):map("w", options, number)
          else p:map("w", options, object) end
          local result = p:run { failures = "collect" }
          hooks = {}
          local got = {}
          for i, item in ipairs(result.items) do got[i] = number(item) end
          assert.same(expected {}, contexts.sorted(got))
          assert.equal(1, #result.failures)
          local failure = result.failures[1]
          assert.same({ "timeout", "w" }, { failure.kind, failure.stage })
          -- What it may have been stuck in is not called once more to show the item.
          assert.same(name == "load" and { BAD } or BAD, failure.item)
        end)
      end
    end
  end
end)

describe("R33 an item of a registered type at which a worker ends", function()
  local ENDS <const> = {
    crash = function() os.exit(3) end,
    timeout = function() while true do end end, -- luacheck: ignore 542
  }
  for _, context in ipairs(contexts.forked) do
    for kind, act in pairs(ENDS) do
      for _, where in ipairs { "handler", "hook" } do
        it(("by a %s in its %s, in %s"):format(kind, where, context.name), function()
          hooks = where == "hook" and { load = act } or {}
          local p = source(minigun.pipeline "ends"):map("object", { processes = 1 }, object)
          p:each("w", contexts.options(context, { timeout = 0.1 * support.patience, dead_letter = "letters" }),
            function(o)
              if where == "handler" then at(o.n, act) end
            end)
          p:map("letters", { await = true }, function(letter) return letter.item end)
          local result = p:run { failures = "collect" }
          hooks = {}
          assert.same({ kind, 1 }, { result.failures[1].kind, result.failed })
          local shown = where == "handler" and object(BAD) or { BAD } -- the hook is not called again
          for _, item in ipairs { result.failures[1].item, result.items[1] } do
            assert.same(shown, item)
            assert.equal(getmetatable(shown), getmetatable(item))
          end
        end)
      end
    end
  end
end)

describe("R78 user code that allocates until nothing is left", function()
  it("costs its item, in a handler and in hooks, in workers and in the coordinator", function()
    if support.under then return pending "a sanitizer needs memory of its own" end
    local path = support.write_file(os.tmpname(), [[
      local minigun = require "minigun"
      local T, bad = {}, {}
      local function exhaust()
        local list = {}
        for i = 1, math.huge do list[i] = i end
      end
      minigun.register("T", T, function(o)
        if bad.dump and o.n == 2 then exhaust() end
        return o.n
      end, function(n)
        if bad.load and n == 2 then exhaust() end
        return n
      end)
      local function try(name, p)
        collectgarbage()
        local result = p:run { failures = "collect" }
        local f = result.failures[1]
        local text = f and f.message:match "not enough memory"
        print(name, #result.items, #result.failures, f and f.kind, text)
      end
      local function object(n) return setmetatable({ n = n }, T) end
      for _, where in ipairs { { inline = true }, { processes = 1 }, { threads = 1 }, { fork = 1 } } do
        try("handler", minigun.pipeline "m":producer { 1, 2, 3 }:map(where, function(n)
          if n == 2 then exhaust() end
          return n
        end))
      end
      bad = { load = true }
      try("result", minigun.pipeline "m":producer { 1, 2, 3 }:map({ processes = 1 }, object))
      try("worker", minigun.pipeline "m":producer(function(e) for i = 1, 3 do e(object(i)) end end)
        :map({ processes = 1 }, function(n) return n end))
      bad = { dump = true }
      try("dump", minigun.pipeline "m":producer { 1, 2, 3 }:map({ processes = 1 }, object))
    ]])
    local done = support.run("ulimit -d 40000; lua5.4 " .. path, { env = support.lua_env(), timeout = 50 })
    os.remove(path)
    local lines = 0
    for line in done.stdout:gmatch "[^\n]+" do
      lines = lines + 1
      local kind = line:find "^handler" and "error" or "unserialisable"
      assert.matches("^%a+\t2\t1\t" .. kind .. "\tnot enough memory$", line)
    end
    assert.equal(7, lines, done.stderr)
  end)
end)

describe("R78 user code that fails costs its item and nothing else: in", function()
  local turn = 0
  for _, place in ipairs(PLACES) do
    local usable_contexts = {}
    for _, context in ipairs(contexts.kinds) do
      if usable(place, context) then table.insert(usable_contexts, context) end
    end
    for _, name in ipairs(NAMES) do
      if not ACTS[name].hooks or place.hook then
        turn = turn + 1
        it(("%s, which %s"):format(place.name, (name:gsub("_", " "))), function()
          local many = support.long or name == "raises"
          for i, context in ipairs(usable_contexts) do
            if many or i == turn % #usable_contexts + 1 then check(place, context, name) end
          end
        end)
      end
    end
  end
end)
