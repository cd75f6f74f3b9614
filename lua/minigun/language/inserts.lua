--- Stages put between others of a pipeline. Methods of a pipeline (see pipeline.lua).
local failure = require "minigun.base.failure"
local nesting = require "minigun.language.names"
local options = require "minigun.language.schemas"
local rewiring = require "minigun.language.edges"

local inserts = {}

-- Names that stand for the neighbours of inserted stages; no stage of a user has them.
local IN <const>, OUT <const> = "\0in", "\0out"

-- Calls what defines stages, and takes them off the end of the list; nothing is left of them where it raises.
local function collect(holder, method, anchor, ...)
  local first, count, outer, hooks, done = ..., #holder.stages, holder.scope, #holder.hooks, false
  local group = holder.group
  local f = select("#", ...) == 1 and options.is_callable(first) and first
  if not f then options.value(options.types.name, first, method, "the name of the new stage") end
  local new = {}
  local _ <close> = setmetatable({}, { __close = function()
    holder.scope, holder.group, holder.editing = outer, group, nil
    table.move(holder.stages, count + 1, #holder.stages, 1, new)
    for i = #holder.stages, count + 1, -1 do
      if not done then holder.by_name[holder.stages[i].name] = nil end
      holder.stages[i] = nil
    end
    if not done then
      for i = #holder.hooks, hooks + 1, -1 do holder.hooks[i] = nil end
    end
  end })
  holder.scope, holder.group, holder.editing = outer or anchor.scope, group or anchor.group, true
  if f then f(holder) else holder:processor(...) end
  done = true
  return new
end

-- The edges with the new stages, linked as if they were written between the neighbours IN and OUT, or a real stage in
-- place of one. `neighbours`: the names of the stages that IN and OUT stand for. Returns the edges among these and the
-- new ones.
local function link(where, tree, new, edges, enter, leave, neighbours)
  local prefix = where.prefix
  where = tree.by_name[where.name] or tree.root
  local list = table.move(new, 1, #new, 2, { enter })
  list[#list + 1] = leave
  local inner = rewiring.edges_of(list)
  local function real(name) return neighbours[name] or { prefix .. name } end
  for _, definition in ipairs(new) do edges[prefix .. definition.name] = {} end
  for _, definition in ipairs(list) do
    for to in next, inner[definition.name] do
      for _, a in ipairs(real(definition.name)) do
        for _, b in ipairs(real(to)) do edges[a][b] = true end
      end
    end
  end
  for _, definition in ipairs(new) do
    local name = prefix .. definition.name
    for _, to in ipairs(definition.to or {}) do
      local node = nesting.find(tree, where, to)
      if node then edges[name][node.name] = true end
    end
    for _, from in ipairs(definition.from or {}) do
      local node = nesting.find(tree, where, from)
      if node then edges[node.name][name] = true end
    end
  end
  return inner
end

-- A neighbour is no nested pipeline for `link`: two of those are not linked by themselves.
local function neighbour(definition)
  return { name = definition.name, kind = definition.kind == "producer" and "producer" or "processor" }
end

local function place_stages(holder, new, place)
  table.move(holder.stages, place, #holder.stages, place + #new)
  table.move(new, 1, #new, place, holder.stages)
end

-- The node of the stage beside which others are put, the edges of its pipeline, and the tree that they belong to.
local function anchored(self, method, name)
  name = rewiring.find(self, method, name)
  rewiring.check_editable(self, method)
  return rewiring.writable(self, name), rewiring.edges_of(self.stages)
end

--- Puts stages after another: `p:insert_after(name, new_name, [options,] handler)`.
---@param name string the stage that sends to the new one; the new one sends where that stage sent, and takes over its
--- `route`
---@param new_name string
---@param options minigun.ProcessorOptions
---@param handler fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string
--- of a processor. Or, instead of the last three, a function that defines any stages: they are put there in order.
--- Without a context of their own they run in the group that the stage `name` was defined in. After a stage of a nested
--- pipeline they are stages of that pipeline, which the function then gets.
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, name: string, f: fun(p: minigun.Pipeline)): minigun.Pipeline
function inserts:insert_after(name, ...)
  local node, edges, tree = anchored(self, "insert_after", name)
  name = node.name
  local anchor, where, place = node.definition, node.parent, rewiring.place_of(node)
  local targets = rewiring.targets_of(tree, edges, name)
  local new = collect(where.pipeline, "insert_after", anchor, ...)
  edges[name] = {}
  local inner = link(where, tree, new, edges, neighbour(anchor), { name = OUT, kind = "processor" },
    { [OUT] = targets })
  if not inner[anchor.name][OUT] then
    for _, definition in ipairs(new) do
      if inner[definition.name][OUT] and definition.options.route == nil then
        definition.route, definition.options.route = anchor.route, anchor.options.route
      end
    end
    rewiring.set_option(self, name, "route", "broadcast")
  end
  place_stages(where.pipeline, new, place + 1)
  rewiring.impose(self, edges)
  return self
end

--- Puts stages before another: `p:insert_before(name, new_name, [options,] handler)`.
---@param name string the stage that receives from the new one; the stages that sent to it send to the new one
---@param new_name string
---@param options minigun.ProcessorOptions
---@param handler fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx)|string
--- of a processor; or a function that defines stages instead of the last three, as for `insert_after`
---@return minigun.Pipeline self
---@overload fun(self: minigun.Pipeline, name: string, f: fun(p: minigun.Pipeline)): minigun.Pipeline
function inserts:insert_before(name, ...)
  local node, edges, tree = anchored(self, "insert_before", name)
  name = node.name
  local anchor, where, place = node.definition, node.parent, rewiring.place_of(node)
  if anchor.kind == "producer" then
    failure.raise(("insert_before: stage '%s' is a producer, which receives no items; use insert_after"):format(name))
  end
  local senders = rewiring.senders_of(tree, edges, name)
  local new = collect(where.pipeline, "insert_before", anchor, ...)
  for _, sender in ipairs(senders) do edges[sender][name] = nil end
  local inner = link(where, tree, new, edges, { name = IN, kind = "processor" }, neighbour(anchor),
    { [IN] = senders })
  place_stages(where.pipeline, new, place)
  if not inner[IN][anchor.name] then
    local firsts = {}
    for _, definition in ipairs(new) do
      if inner[IN][definition.name] then firsts[#firsts + 1] = where.prefix .. definition.name end
    end
    for _, sender in ipairs(senders) do rewiring.rename_target(self, sender, name, firsts) end
  end
  rewiring.impose(self, edges)
  return self
end

return inserts
