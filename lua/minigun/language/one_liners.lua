--- Two more doors to the same list of stages: a pipeline written as one table, and one-liners over a list.
local arrays = require "minigun.base.arrays"
local failure = require "minigun.base.failure"
local kinds = require "minigun.base.kinds"
local reading = require "minigun.sources.reading"
local options = require "minigun.language.schemas"
local stack = require "minigun.base.stack"

---@class minigun.Definition: minigun.PipelineOptions
--- A whole pipeline as a table.
---@field [integer] minigun.Row
---@field name string?
---@field source any as the source of `p:producer`

---@class minigun.Row: minigun.ProcessorOptions
--- A stage: `{ "parse", map = parse, processes = 4 }`, with one of `map`, `filter`, `flat_map`, `each`, `reduce`,
--- `run`, `loop`, `source` and `pipeline`, or, of a batch, `max_size`, `max_wait` or `by`. A row without a context runs
--- with the row before it.
---@field [1] string? name
---@field map (fun(item: any): any)?
---@field filter (fun(item: any): any)?
---@field flat_map (fun(item: any): any[])?
---@field each (fun(item: any))?
---@field reduce (fun(value: any, item: any): any)?
---@field init any the initial value of `reduce`
---@field combine (fun(value: any, other: any): any)?
---@field run (fun(item: any, emit: minigun.Emit, ctx: minigun.Ctx))?
---@field loop (fun(input: minigun.Input, emit: minigun.Emit, ctx: minigun.Ctx))?
---@field source any
---@field pipeline (minigun.Pipeline|minigun.Definition|fun(inner: minigun.Pipeline))?
---@field max_size integer?
---@field max_wait number?
---@field by (fun(item: any): any)?

---@class minigun.ListOptions: minigun.ProcessorOptions, minigun.RunOptions
--- Options of `minigun.map`, `minigun.each` and `minigun.reduce`.
---@field combine (fun(value: any, other: any): any)? of `minigun.reduce`

local shorthand = {}

-- What a row of the table form does; the key holds the function. The order is that of the message below.
local actions <const> = { "map", "filter", "flat_map", "each", "reduce", "run", "loop", "source", "pipeline" }
local methods <const> = { map = "map", filter = "filter", flat_map = "flat_map", each = "each", reduce = "reduce",
  run = "processor", loop = "stage", source = "producer", pipeline = "pipeline" }

local batch_options <const> = { max_size = true, max_wait = true, by = true }

-- Sorts a row `{ "name", map = f, processes = 4 }` into the method that defines it, its function, and its options.
local function sort_row(row, number)
  local subject = ("row %d of the pipeline"):format(number)
  if type(row) ~= "table" then failure.raise(("%s: a table expected, got %s"):format(subject, options.got(row))) end
  local name, action, given, batches = row[1], nil, {}, false
  for key, value in next, row do
    if methods[key] then
      if action then
        failure.raise(("%s: '%s' and '%s' both say what it does; give one"):format(subject, action, key))
      end
      action = key
    elseif key ~= 1 then
      given[key] = value
      batches = batches or batch_options[key]
    end
  end
  if name ~= nil and type(name) ~= "string" then
    failure.raise(("%s: the name must be a string, got %s"):format(subject, options.got(name)))
  end
  if batches and (action == nil or action == "run") then return "accumulator", name, given, row[action or "run"] end
  if not action then
    failure.raise(("%s%s: say what it does, with one of %s; or make it a batch: max_size, max_wait or by"):format(
      subject, name and (" ('%s')"):format(name) or "", table.concat(actions, ", ")))
  end
  return methods[action], name, given, row[action]
end

--- Fills an empty pipeline from a table: `source`, and rows `{ "name", map = f, processes = 4 }` in order. A row
--- without a context of its own runs in that of the row before it, in the same workers.
---@param new function makes a pipeline
---@param p table the pipeline
---@param rows table
function shorthand.fill(new, p, rows)
  if rows.source ~= nil then p:producer("source", rows.source) end
  for number, row in ipairs(rows) do
    local method, name, given, f = sort_row(row, number)
    local list = table.pack(name)
    local function add(value) list.n, list[list.n + 1] = list.n + 1, value end
    if name == nil then list.n = 0 end
    if method == "reduce" then
      add(given.init)
      add(f)
      given.init = nil
    end
    add(given)
    if method == "pipeline" and type(f) == "table" and not getmetatable(f) then f = new(f) end
    if f and method ~= "reduce" then add(f) end
    if given.threads then p.scope = nil end -- rows stand side by side: its threads are not in the workers of the last
    p[method](p, table.unpack(list, 1, list.n))
    local definition = p.stages[#p.stages]
    if definition.kind ~= "producer" then
      p.scope = definition.context
      definition.scope = definition.context -- for what is inserted beside it
    end
  end
  p.scope = nil
end

--- The name and the run options of a pipeline in table form.
---@param rows table
---@return string? name
---@return table given run options
function shorthand.head(rows)
  local given = {}
  for key, value in next, rows do
    if key ~= "name" and key ~= "source" and math.type(key) ~= "integer" then given[key] = value end
  end
  return rows.name, given
end

--- Sorts the options of a one-liner into those of a stage, and those of a run.
---@param given table? where it says no context: in processes
---@param what string the function that was given them
---@return table stage
---@return table run
function shorthand.split(given, what)
  if given ~= nil and type(given) ~= "table" then
    failure.raise(("%s: options must be a table, got %s"):format(what, options.got(given)))
  end
  local stage, run = {}, {}
  for key, value in next, given or {} do
    local of_stage = options.schemas.processor.by_name[key] and key ~= "dead_letter"
    if options.schemas.run.by_name[key] and not of_stage then run[key] = value else stage[key] = value end
  end
  for _, key in ipairs { "to", "from", "await", "route" } do
    if stage[key] ~= nil then failure.raise(("%s: option '%s' is for stages of a pipeline"):format(what, key)) end
  end
  local placed = false
  for _, kind in ipairs(kinds) do placed = placed or stage[kind.name] ~= nil end
  if not placed then stage.processes = true end
  return stage, run
end

local function check(what, list, f)
  local order = what == "minigun.reduce" and "list, initial value, function, options" or "list, function, options"
  if not reading.is(list) and (type(list) ~= "table" or math.type(#list) ~= "integer") then
    failure.raise(("%s: a list expected, got %s; the order is %s"):format(what, options.got(list), order))
  end
  local n = reading.is(list) and 0 or arrays.length(list)
  if n == 0 and not reading.is(list) and next(list) ~= nil then
    failure.raise(("%s: a list expected, got a table without array elements"):format(what))
  end
  for i = 1, n do
    if list[i] == nil then failure.raise(("%s: the list has a hole at [%d] of %d"):format(what, i, n)) end
  end
  if not options.is_callable(f) then
    failure.raise(("%s: a function expected, got %s; the order is %s"):format(what, options.got(f), order))
  end
end

local split_options <const> = shorthand.split

-- The failures, where they are asked for; else nothing at all, so that the call is one value in a list of arguments.
local function failures_of(result, run)
  if run.failures == "collect" then return result.failures end
end

local function with_failures(value, ...)
  if select("#", ...) == 0 then return value end
  return value, ...
end

-- What failures of `map` show for the pair of a number and an element, or value, that travels.
local function show_element(pair, message)
  if type(pair) == "table" then pair = pair[2] end
  return pair, message and message:gsub("item%[2%]", "item", 1) or nil
end

--- Calls f for every element of a list, over all cores, and gives the results in the order of the list.
---@param new function makes a pipeline
---@param list table array
---@param f function `function(element) -> value`; nil leaves a hole
---@param given table? options of a stage (`processes = 4`, `retries = 2`) and of a run (`memory = "64M"`)
---@return table results
---@return minigun.Failure[]? failures with `failures = "collect"`
function shorthand.map(new, list, f, given)
  check("minigun.map", list, f)
  local stage, run = split_options(given, "minigun.map")
  local results, at = {}, failure.where()
  local p = new("map", run):producer("list", function(emit, ctx)
    local n = 0
    local add = stack.stands_for(function(item)
      n = n + 1
      emit { n, item }
    end, at)
    if reading.is(list) then return reading.handler(list)(add, ctx) end
    for i = 1, #list do add(list[i]) end
  end):processor("map", stage, stack.stands_for(function(pair, emit)
    local value = f(pair[2])
    if value ~= nil then emit { pair[1], value } end
  end, at)):consumer("results", { inline = true }, function(pair)
    results[pair[1]] = pair[2]
  end)
  for _, definition in ipairs(p.stages) do definition.shows = show_element end
  return with_failures(results, failures_of(p:run(), run))
end

--- Calls f for every element of a list, over all cores, for what it does.
---@param new function makes a pipeline
---@param list table array
---@param f function `function(element)`
---@param given table? as for `map`
---@return minigun.Failure[]? failures with `failures = "collect"`
function shorthand.each(new, list, f, given)
  check("minigun.each", list, f)
  local stage, run = split_options(given, "minigun.each")
  return failures_of(new("each", run):producer("list", list):each("each", stage, f):run(), run)
end

--- Folds a list into one value, over all cores.
---@param new function makes a pipeline
---@param list table array
---@param init any see `p:reduce`
---@param f function `function(value, element) -> value`, associative
---@param given table? as for `map`, and `combine`
---@return any value
---@return minigun.Failure[]? failures with `failures = "collect"`
function shorthand.reduce(new, list, init, f, given)
  check("minigun.reduce", list, f)
  if init == nil then failure.raise "minigun.reduce: an initial value expected, got nil" end
  local stage, run = split_options(given, "minigun.reduce")
  local result = new("reduce", run):producer("list", list):reduce("reduce", init, f, stage):run()
  return with_failures(result.items[1], failures_of(result, run))
end

return shorthand
