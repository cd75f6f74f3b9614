--- Stages as definitions: what the user wrote, checked, in one table. Nothing here knows the pipeline or its graph.
local arrays = require "minigun.base.arrays"
local contexts = require "minigun.language.contexts"
local failure = require "minigun.base.failure"
local options = require "minigun.language.schemas"
local sources = require "minigun.sources.sources"
local stack = require "minigun.base.stack"

local stage = {}

-- What each method of the language defines. `optional`: the handler may be left out; `wrap` makes the handler of a
-- method whose function returns values; `handler` says in messages what is expected.
local labels = {
  producer = { kind = "producer", handler = "a function(emit, ctx), an array or an iterator" },
  processor = { kind = "processor", handler = "a function(item, emit, ctx)" },
  consumer = { kind = "consumer", handler = "a function(item, emit, ctx)" },
  accumulator = { kind = "accumulator", handler = "a function(batch, emit, ctx)", optional = true },
  batch = { kind = "accumulator", handler = "no handler", optional = true },
  map = { kind = "processor", handler = "a function(item) -> item" },
  flat_map = { kind = "processor", handler = "a function(item) -> array of items" },
  filter = { kind = "processor", handler = "a function(item) -> boolean" },
  each = { kind = "consumer", handler = "a function(item)" },
  stage = { kind = "processor", handler = "a function(input, emit, ctx)", loop = true },
  pipeline = { kind = "pipeline", handler = "a function(inner) that defines its stages, or a pipeline" },
  reduce = { kind = "reduce", handler = "a function(value, item) -> value" },
}

--- By the handler: what a chain may call instead of it (handlers/chain.lua).
---@class stage.direct
---@field handler function for which it stands
---@field f function `function(item) -> value` to be emitted; of a fold `function(value, item) -> value`
---@field nothing function raises, as `f` has returned nil
---@field folds boolean?
stage.direct = setmetatable({}, { __mode = "k" })

local wrappers = {}

function wrappers.map(f, subject, at)
  local function nothing()
    error(("%s: %s: the function returned nil, which cannot be emitted; to drop items use filter or flat_map, and " ..
      "each where nothing goes on"):format(at, subject), 0)
  end
  local function handler(item, emit)
    local result = f(item)
    if result == nil then nothing() end
    emit(result)
  end
  stage.direct[handler] = { handler = handler, f = f, nothing = nothing }
  return stack.stands_for(handler, at)
end

function wrappers.flat_map(f, subject, at)
  return stack.stands_for(function(item, emit)
    local results = f(item)
    if type(results) ~= "table" then
      error(("%s: %s: the function must return an array, got %s"):format(at, subject, options.got(results)), 0)
    end
    local n = arrays.length(results)
    for i = 1, n do
      local result = results[i]
      if result == nil then
        error(("%s: %s: the array has a hole at [%d] of %d"):format(at, subject, i, n), 0)
      end
      emit(result)
    end
  end, at)
end

function wrappers.filter(f, _, at)
  return stack.stands_for(function(item, emit)
    if f(item) then emit(item) end
  end, at)
end

function wrappers.each(f)
  return function(item) f(item) end
end

local ENOUGH <const> = 1000 -- instructions within which a constant is given; a source that never ends begins like one

-- What a function gives, if it gives it at once.
local function gives(f)
  local co = coroutine.create(f)
  debug.sethook(co, error, "", ENOUGH)
  local ok, item = coroutine.resume(co)
  if ok then return item end
end

-- io.lines itself gives iterators for ever; a function without parameters and without variables of its surroundings
-- gives the same for ever.
local function refuse_constant(subject, f, ...)
  if rawequal(f, io.lines) and select("#", ...) == 1 then
    failure.raise(("%s: the source is io.lines without a call; call it: io.lines(path), or minigun.lines(path)"):format(
      subject))
  end
  local info = type(f) == "function" and select("#", ...) == 1 and debug.getinfo(f, "Su")
  if not info or info.what == "C" or info.nparams > 0 or info.isvararg or info.nups > 0 then return end
  local item = gives(f)
  if item == nil then return end
  failure.raise(("%s: the source is an iterator, a function that is called for one item after the other until it " ..
    "gives nil, and this one gives %s for ever; %s"):format(subject, options.got(item), type(item) == "table"
    and "give the table itself, or a function(emit)" or "give a function(emit)"))
end

--- Turns what a producer was given into a handler.
---@param subject string for messages: "stage 'lines'"
---@param ... any a handler, an array, or the one to four values of a generic for
---@return function? handler `handler(emit, ctx)`
---@return string? source
--- "array", "lines", "iterator" or "service"; nil for a handler. Nothing at all where none can be made of it
function stage.source(subject, ...)
  local first, state, control, closing = ...
  if options.types.Service and rawequal(debug.getmetatable(first), options.types.Service) then
    return sources.service(first, subject), "service"
  end
  if sources.is_described(first) then return sources.described(first) end
  if options.is_callable(first) then
    refuse_constant(subject, first, ...)
    if state ~= nil or control ~= nil or closing ~= nil or sources.is_iterator(first) then
      return sources.iterator(first, state, control, closing), "iterator"
    end
    return first
  end
  if type(first) == "table" and options.got(first) ~= "a pipeline" then
    local n = #first
    if n == 0 and next(first) ~= nil or math.type(n) ~= "integer" then
      failure.raise(("%s: the source must be %s, got a table without array elements"):format(
        subject, labels.producer.handler))
    end
    return sources.array(first, subject), "array"
  end
  if first == nil and type(state) == "string" then
    failure.raise(("%s: the source must be %s, got nil: %s"):format(subject, labels.producer.handler, state))
  end
  return nil
end

local function is_options(value)
  return type(value) == "table" and debug.getmetatable(value) == nil
end

--- Sorts out the arguments of a defining method: `(name?, options?, handler...)`.
---@param label string the method's name
---@param ... any its arguments
---@return table parsed `name`, `options` (nil where not given) and `rest`, the remaining arguments with their count `n`
function stage.arguments(label, ...)
  if label == "reduce" then return require("minigun.language.reduce").arguments(...) end
  local rest = table.pack(...)
  local parsed = { rest = rest }
  local function shift()
    local value = rest[1]
    table.move(rest, 2, rest.n + 1, 1)
    rest.n = rest.n - 1
    return value
  end
  if type(rest[1]) == "string" then parsed.name = shift() end
  -- A producer's only argument is its source, be it a table.
  if is_options(rest[1]) and (label ~= "producer" or rest.n > 1) then parsed.options = shift() end
  if parsed.options and rawget(parsed.options, 1) ~= nil then
    failure.raise(("%s: an array stands where the options should, which are given by name; the order is name, " ..
      "options, %s"):format(parsed.name and ("stage '%s'"):format(parsed.name) or label,
      label == "producer" and "source" or "handler"))
  end
  return parsed
end

local function refuse_handler(label, subject, value)
  local got = options.got(value)
  failure.raise(("%s: the handler must be %s, got %s%s"):format(subject, labels[label].handler, got,
    got == "a pipeline" and " (p:pipeline puts one inside another)" or ""))
end

-- The handler; or nil, nil and the name of the bound object's method that will be it.
local function make_handler(label, subject, at, rest)
  local may_be_method = label ~= "batch" and label ~= "pipeline"
  if may_be_method and type(rest[1]) == "string" and rest[2] == nil then return nil, nil, rest[1] end
  if label == "producer" then
    local handler, source = stage.source(subject, table.unpack(rest, 1, rest.n))
    if not handler then refuse_handler(label, subject, rest[1]) end
    return handler, source
  end
  for i = 2, rest.n do
    if rest[i] ~= nil then
      failure.raise(("%s: unexpected argument after the handler: %s; the order is name, options, handler"):format(
        subject, options.got(rest[i])))
    end
  end
  local f = rest[1]
  if f == nil and labels[label].optional then return nil end
  if label == "pipeline" and options.got(f) == "a pipeline" then return f end
  if not options.is_callable(f) or label == "batch" or label == "pipeline" then refuse_handler(label, subject, f) end
  local wrap = wrappers[label]
  return wrap and wrap(f, subject, at) or f
end

-- Names of what can be called on an object, its classes' too where those are tables.
local function methods_of(object)
  local names, depth = {}, 0
  while type(object) == "table" and depth < 100 do
    for name, value in next, object do
      if type(name) == "string" and not name:find "^__" and options.is_callable(value) then names[#names + 1] = name end
    end
    local meta = debug.getmetatable(object)
    object, depth = type(meta) == "table" and rawget(meta, "__index"), depth + 1
  end
  table.sort(names)
  return names
end

--- The handler of a definition that names a method.
---@param definition table
---@param object table|userdata|nil the bound object
---@return function handler as if it had been given as a function; raises at the definition's line where there is none
function stage.bound(definition, object)
  local subject, name = ("stage '%s'"):format(definition.name), definition.method
  if object == nil then
    failure.raise(("%s: the handler %s names a method, but no object is bound; call p:bind(object), or give %s%s")
      :format(subject, failure.show(name), labels[definition.label].handler,
      definition.label == "producer" and "; the lines of a file are minigun.lines(path)" or ""), definition.at)
  end
  local found_out, f = pcall(function() return object[name] end) -- a strict class raises for what it has not
  if not found_out then
    failure.raise(("%s: the bound object gives no method '%s': %s"):format(subject, name, tostring(f)), definition.at)
  end
  if not options.is_callable(f) then
    local found = f == nil and "no method '%s'%s" or "no method '%s', that field is " .. options.got(f) .. "%s"
    local class = type(object) == "table" and object or (debug.getmetatable(object) or {}).__index
    failure.raise(("%s: the bound object has "):format(subject) ..
      found:format(name, f == nil and options.hint(name, methods_of(class)) or ""), definition.at)
  end
  local function handler(a, b, c) return f(object, a, b, c) end
  local wrap = wrappers[definition.label]
  return wrap and wrap(handler, subject, definition.at) or handler
end

--- The hooks a stage can have, in the order in which they run.
stage.hook_names = { "before_fork", "after_fork", "before", "after", "before_exit" }

--- The hooks among a definition's options, as the pipeline keeps them.
---@param definition table
---@return table hooks array of `{ name =, f =, at =, stage = }`
function stage.hooks_of(definition)
  local list = {}
  for _, name in ipairs(stage.hook_names) do
    for _, f in ipairs(definition.hooks[name] or {}) do
      list[#list + 1] = { name = name, f = f, at = definition.at, stage = definition.name }
    end
  end
  return list
end

--- Makes a stage's definition, checked on its own.
---@param label string the defining method
---@param name string
---@param parsed table see `stage.arguments`
---@param place table
--- where the definition stands: `scope`, the context of the group, or nil; `group`, the defaults of the groups around,
--- `{ options =, outer = }`, or nil
---@param earlier table? the definition whose place it takes: gives the options that are not given, and the handler
---@return table definition
--- `label`, `kind`, `loop` (true: the handler has a loop of its own), `name`, `at` ("file:line"), `handler`, `source`,
--- or `method` (name of the bound object's), `to`, `from` (arrays, nil where not given), `route`, `await`, `partition`,
--- `dead_letter`, `context` (own or the group's; nil: that of its pipeline), `scope` (the group's), `group` (the
--- defaults of the groups around, see plan/defaults.lua), `batch` (accumulators), `init`, `combine` (of `reduce`),
--- `options` (as checked), `hooks`: name -> array of functions, those given as options; `inner` (of a nested pipeline:
--- it)
function stage.define(label, name, parsed, place, earlier)
  local scope = place.scope
  local subject = ("stage '%s'"):format(name)
  local kind = labels[label].kind
  local schema = options.schemas[kind]
  local given = options.check(schema, parsed.options, subject)
  local checked = earlier and contexts.merge(given, earlier.options) or given
  local filled = options.fill(schema, checked)
  local at = failure.where() or "?"
  local handler, source, method, init
  if earlier and parsed.rest.n == 0 then
    handler, source, method = earlier.handler or earlier.inner, earlier.source, earlier.method
    init = earlier.init
  else
    init = parsed.init
    handler, source, method = make_handler(label, subject, at, parsed.rest)
  end
  local inner
  if kind == "pipeline" then inner, handler = handler, nil end
  for _, option in ipairs { "to", "from" } do
    for _, other in ipairs(filled[option] or {}) do
      if other == name then failure.raise(("%s: option '%s' names the stage itself"):format(subject, option)) end
    end
  end
  local hooks = {}
  for _, hook in ipairs(stage.hook_names) do hooks[hook] = given[hook] end
  return {
    label = label, kind = kind, loop = labels[label].loop, name = name, at = at,
    handler = handler, source = source, method = method,
    to = filled.to, from = filled.from, route = filled.route, await = checked.await, partition = filled.partition,
    dead_letter = filled.dead_letter,
    context = contexts.at(given, checked, subject, scope, earlier), scope = scope or earlier and earlier.scope,
    group = place.group or earlier and earlier.group,
    options = checked,
    batch = kind == "accumulator" and { max_size = filled.max_size, max_wait = filled.max_wait, by = filled.by } or nil,
    iterator = source == "iterator" and (earlier and earlier.iterator or {}) or nil, init = init,
    combine = filled.combine, hooks = hooks, inner = inner,
  }
end

return stage
