-- The plan is a value: nothing that executes it changes it. Here it is a proxy that raises where it is written to.
local contexts = require "spec.contexts"
local minigun = require "minigun"
local plan = require "minigun.plan.plan"

local frozen = setmetatable({}, { __mode = "k" }) -- from a table of a plan to its proxy

-- Not the user's own tables, and what is looked up once and kept: an iterator's memory of earlier runs, names.
local function is_own(key, value)
  return type(value) == "table" and getmetatable(value) == nil and key ~= "iterator" and key ~= "dead_letter"
end

local function freeze(value, way)
  if frozen[value] then return frozen[value] end
  local proxy = setmetatable({}, {
    __index = function(_, key)
      local each = value[key]
      return is_own(key, each) and freeze(each, way .. "." .. tostring(key)) or each
    end,
    __newindex = function(_, key) error(("%s.%s was written to"):format(way, tostring(key)), 2) end,
    __len = function() return #value end,
    __pairs = function(own)
      return function(_, key)
        local after = next(value, key)
        return after, after ~= nil and own[after] or nil
      end, own, nil
    end,
  })
  frozen[value] = proxy
  return proxy
end

describe("a plan", function()
  local build = plan.build
  before_each(function()
    plan.build = function(...) return freeze(build(...), "plan") end
  end)
  after_each(function() plan.build = build end)

  it("that is frozen says so, to the last table", function()
    local p = plan.build(minigun.pipeline "p":producer { 1 }:map("m", function(x) return x end))
    assert.has_error(function() p.stages[2].handler = nil end, "plan.stages.2.handler was written to")
    assert.has_error(function() table.insert(p.segments[1].stages, 1) end)
    local n = 0
    for _, stage in ipairs(p.stages) do n = n + #stage.inputs end
    assert.equal(1, n)
  end)

  for _, context in ipairs(contexts.all) do
    it("is not changed by a run [" .. context.name .. "]", function()
      local options, items = contexts.options, contexts.range(1, context.per_item and 6 or 12)
      local function pass(x, emit) emit(x) end
      local function check(p, given)
        local result = p:run(given)
        assert.is_nil(result.error)
        return result
      end
      check(minigun.pipeline "routes":producer("gen", { to = { "a", "b" }, route = "round_robin" }, items)
        :processor("a", options(context, { to = "c", retries = 1 }), function(x, emit, ctx)
          if ctx.attempt == 1 and x % 3 == 0 then error "once" end
          emit(x)
        end)
        :processor("b", options(context, { to = "c" }), function(x, emit) emit:to("c", x) end)
        :processor("c", options(context, { partition = function(x) return x % 2 end }), pass)
        :before("c", function(ctx) ctx:count("before") end):after("c", function(ctx) ctx:count("after") end),
        { seed = 1 })
      check(minigun.pipeline "batches":producer(items):batch(5)
        :processor("each", options(context), function(batch, emit)
          for _, x in ipairs(batch) do emit(x) end
        end):reduce("sum", 0, function(a, b) return a + b end, options(context)))
      check(minigun.pipeline "loops":producer("gen", options(context), items)
        :stage("loop", options(context), function(input, emit)
          for x in input do emit(x) end
        end):processor("silent", options(context), function(x) return x end))
      check(minigun.pipeline "letters":producer(items)
        :processor("bad", options(context, { dead_letter = "dead", to = {} }), function() error "always" end)
        :each("dead", { await = true }, function() end))
    end)
  end
end)
