--- What the specs of nested pipelines share.
local contexts = require "spec.contexts"
local minigun = require "minigun"

local nested = {}

--- A pipeline called "outer".
function nested.new(given)
  return minigun.pipeline("outer", given)
end

--- A handler that adds a mark to each item that passes: items tell their way.
---@param name string
function nested.mark(name)
  return function(item, emit) emit(item .. name) end
end

--- Adds stages that mark, one for each word.
---@param inner table pipeline
---@param names string
function nested.chain(inner, names)
  for name in names:gmatch "%S+" do inner:processor(name, nested.mark(name)) end
  return inner
end

--- Fills a pipeline with two entries and two exits: a -> c, b -> d.
---@param inner table pipeline
function nested.lanes(inner)
  local mark = nested.mark
  return inner:processor("a", { to = "c" }, mark "a"):processor("b", { to = "d" }, mark "b")
    :processor("c", { to = {} }, mark "c"):processor("d", { from = "b" }, mark "d")
end

--- The edges between stages as text: "gen>x.a x.a>x.b".
---@param p table pipeline
---@return string
function nested.edges(p)
  local g, list = require("minigun.graph").build(p.stages, p), {}
  assert(#g.problems == 0, g.problems[1] and g.problems[1].message)
  for _, i in ipairs(g.order) do
    local targets = {}
    for k, target in ipairs(g.outputs[i]) do targets[k] = g.nodes[target].name end
    if #targets > 0 then list[#list + 1] = g.nodes[i].name .. ">" .. table.concat(targets, ",") end
  end
  return table.concat(list, " ")
end

--- The items of a run, sorted.
---@param p table pipeline
---@return table
function nested.items(p)
  return contexts.sorted(p:run().items)
end

--- Puts a block into a context.
---@param p table pipeline
---@param context table of spec/contexts.lua
---@param block function
function nested.within(p, context, block)
  if context.threads then return p:threads(context.n, block) end
  if context.inline then return p:inline(block) end
  if context.per_item then return p:process_per_batch(context.options.process_per_batch, block) end
  return p:processes(context.n, block)
end

return nested
