--- Nesting: the stages of a pipeline and of the pipelines inside it as one tree, and the names that are found in it.
--
-- A node stands for a stage or for a nested pipeline, at one place: a pipeline that is nested twice has two nodes, and
-- so has each of its stages. Nodes are called by their qualified names, "outer.inner". A name that is used is
-- looked up in these steps:
-- 1. in the pipeline that it is used in, then in the one around that, and so on; in each as "name" or as "inner.name";
-- 2. in the same order, but anywhere inside: there must be exactly one stage whose qualified name ends with it.
-- A dot in front, ".outer.inner": only the outermost pipeline is looked at, and only step 1.
local failure = require "minigun.base.failure"
local options = require "minigun.language.schemas"

local nesting = {}

-- `list`: definitions; `parent`: the node of the pipeline that they are in.
local function grow(tree, list, parent)
  for _, definition in ipairs(list) do
    local name = parent.prefix .. definition.name
    local node = { name = name, definition = definition, parent = parent, kind = definition.kind,
      outputs = {}, inputs = {}, edge = {} }
    table.insert(parent.children, node)
    table.insert(tree.nodes, node)
    local taken = tree.by_name[name]
    if taken then table.insert(tree.twice, { node, taken }) else tree.by_name[name] = node end
    if definition.inner then
      node.pipeline, node.prefix, node.children, node.instances = definition.inner, name .. ".", {}, {}
      grow(tree, definition.inner.stages, node)
    end
  end
end

--- Makes the tree of a pipeline, or of a bare list of definitions.
---@param list table definitions
---@param pipeline table? whose they are
---@return table tree
--- `root`: a node without name; `nodes`: all others, in order of definition, a pipeline before what is in it;
--- `by_name`: qualified name -> node; `twice`: pairs of nodes of the same qualified name. A node has `name`,
--- `definition`, `kind`, `parent`, `outputs`, `inputs` and `edge` (see language/graph.lua); that of a pipeline also
--- `pipeline`,
--- `prefix`, `children`
function nesting.tree(list, pipeline)
  local root = { pipeline = pipeline, prefix = "", children = {}, instances = {}, outputs = {}, inputs = {}, edge = {} }
  local tree = { root = root, nodes = {}, by_name = {}, twice = {} }
  grow(tree, list, root)
  return tree
end

--- Whether a node is inside a pipeline, at any depth.
---@param node table
---@param pipeline table node
---@return boolean
function nesting.inside(node, pipeline)
  repeat node = node.parent until not node or node == pipeline
  return node ~= nil
end

-- Every end of a qualified name that begins with a node's own name -> the nodes that may be called so.
local function ends_of(tree)
  if tree.ends then return tree.ends end
  tree.ends = {}
  for _, node in ipairs(tree.nodes) do
    local outer = node.parent
    while outer.parent do -- whose prefix is not empty
      local name = node.name:sub(#outer.prefix + 1)
      tree.ends[name] = tree.ends[name] or {}
      table.insert(tree.ends[name], node)
      outer = outer.parent
    end
  end
  return tree.ends
end

--- Looks up a name that is used inside a pipeline.
---@param tree table
---@param where table the node of that pipeline
---@param name any
---@return table? node
---@return table? choices array of qualified names, where the name is ambiguous
function nesting.find(tree, where, name)
  if type(name) ~= "string" then return nil end
  local at = where
  while at do
    local node = tree.by_name[at.prefix .. name]
    if node then return node end
    at = at.parent
  end
  if name:sub(1, 1) == "." then return tree.by_name[name:sub(2)] end
  local candidates = ends_of(tree)[name]
  at = candidates and where
  while at do
    local found = {}
    for _, node in ipairs(candidates) do
      if nesting.inside(node, at) then found[#found + 1] = node end
    end
    if #found == 1 then return found[1] end
    if #found > 1 then
      for i, node in ipairs(found) do found[i] = node.name end
      return nil, found
    end
    at = at.parent
  end
end

--- The name of a node as it is said inside a pipeline: as short as it can be without being ambiguous.
---@param tree table
---@param where table the node of that pipeline
---@param node table
---@return string name
function nesting.say(tree, where, node)
  local at = where
  while at do
    if node.name:sub(1, #at.prefix) == at.prefix then
      local name = node.name:sub(#at.prefix + 1)
      if nesting.find(tree, where, name) == node then return name end
    end
    at = at.parent
  end
  return "." .. node.name
end

--- The names of stages as they are said inside a pipeline: its own first, all others qualified.
---@param tree table
---@param where table the node of that pipeline
---@param wanted (fun(node: table): boolean)? which ones
---@return table names array
function nesting.names(tree, where, wanted)
  local own, others = {}, {}
  for _, node in ipairs(tree.nodes) do
    if not wanted or wanted(node) then
      if where.parent and nesting.inside(node, where) then own[#own + 1] = node.name:sub(#where.prefix + 1)
      else others[#others + 1] = node.name end
    end
  end
  return table.move(others, 1, #others, #own + 1, own)
end

--- What is wrong with a name that `find` has not found.
---@param tree table
---@param where table the node of the pipeline that it is used in
---@param name string
---@param choices table? as from `find`
---@return string text to be put after "... 'name'"; begins with a space or a comma
function nesting.hint(tree, where, name, choices)
  if not choices then return options.hint(name, nesting.names(tree, where)) end
  return (", which is ambiguous: say '%s'"):format(table.concat(choices, "' or '"))
end

local function contains(pipeline, other)
  if pipeline == other then return true end
  for _, definition in ipairs(pipeline.stages) do
    if definition.inner and contains(definition.inner, other) then return true end
  end
  return false
end

--- The pipeline that is to be nested: an existing one, or a new one that a function fills.
---@param new function makes a pipeline
---@param outer table pipeline
---@param name string of the stage that it will be
---@param given any what the user has given
---@return any inner the pipeline; what is neither a function nor a pipeline is returned as it is
---@return boolean own whether it is this stage's alone
function nesting.inner(new, outer, name, given)
  local ready = options.got(given) == "a pipeline"
  if not ready and not options.is_callable(given) then return given, false end
  local inner = ready and given or new(name)
  if not ready then given(inner) end
  if contains(inner, outer) then
    failure.raise(("stage '%s': pipeline '%s' would contain itself"):format(name, outer.name))
  end
  if ready then return given, false end
  if #inner.stages == 0 then
    failure.raise(("stage '%s': its function has defined no stages; define them on its argument, as in " ..
      "function(inner) inner:map(f) end"):format(name))
  end
  return inner, true
end

-- What belongs to a pipeline, such as a context, exists once for each place that the pipeline has in the tree.
local function instance(where, thing)
  local own = where.instances[thing]
  if not own then
    own = {}
    for key, value in next, thing do own[key] = value end
    where.instances[thing] = own
    if own.host then own.host = instance(where, own.host) end
  end
  return own
end

-- Threads in a pipeline whose stages stand in workers are threads in these.
local function threads_in(context, around)
  if context.kind ~= "threads" or context.host ~= nil then return context end
  local host = around and (around.kind == "threads" and around.host or around)
  if host and (host.kind == "processes" or host.kind == "process_per_batch") then context.host = host end
  return context
end

--- The context of a name that is used in a pipeline: its own, or that of the nearest one around it.
---@param where table the node of the pipeline
---@param name string
---@return table? context the same table for all that share workers; nil: it is not defined
function nesting.named(where, name)
  while where do
    local named = where.pipeline.contexts[name]
    if named then return instance(where, named) end
    where = where.parent
  end
end

-- The context that is asked for in a pipeline, by a stage or by the pipeline itself; `around`: what that stands in.
local function resolve(where, context, by, around)
  if context.kind then return threads_in(instance(where, context), around) end
  local named = nesting.named(where, context.name)
  if named then return named end
  return nil, context.name, by
end

-- What the stages of a pipeline stand in: its own context, or what it is nested in.
local function inside(where)
  local own = where.pipeline and where.pipeline.own_context
  local outer, name, by
  if where.parent then outer, name, by = nesting.context(where) end
  if own then return resolve(where, own, where.pipeline, outer) end
  return outer, name, by
end

--- The context that the pipeline around a stage gives it.
---@param node table
---@return table? context nil: inline
function nesting.around(node) return (inside(node.parent)) end

--- The context that a stage stands in: its own, or that of the nearest pipeline around it that has one.
---@param node table
---@return table? context the same table for all that share workers; nil: inline
---@return string? name of a context that is not defined anywhere around; there is then no context
---@return table? by the definition or the pipeline that names it
function nesting.context(node)
  local context, where = node.definition.context, node.parent
  if not context then return inside(where) end
  local around = context.kind == "threads" and context.host == nil and inside(where) or nil
  return resolve(where, context, node.definition, around)
end

--- The object whose methods are a stage's handlers: that of the nearest pipeline around it that has one.
---@param node table of a stage
---@return table|userdata|nil object
function nesting.object(node)
  local where = node.parent
  while where do
    if where.pipeline.object ~= nil then return where.pipeline.object end
    where = where.parent
  end
end

return nesting
