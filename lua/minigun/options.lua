--- Options: one schema per kind of thing that takes options. The schema validates, fills in and documents.
--
-- A schema is a list of fields `{ name, type, default = , default_text = , doc = }`; a type is
-- `{ text = "what is expected", lua = "type for editors", check = function(value, subject, name) -> ok, normalised }`.
local failure = require "minigun.failure"

local options = {}

--- The metatables of spools and pipelines, which spool.lua and pipeline.lua fill in: a name can be anybody's.
options.Spool, options.Pipeline = nil, nil
--- Most workers that one context may have.
options.MAX_WORKERS = 1024
--- Most threads that one worker may have, of all stages that run in it.
options.MAX_THREADS = 2048
--- Threads of a context that does not say how many.
options.THREADS = 16
--- Least memory of a run, in bytes: one block of shared memory.
options.MIN_MEMORY = 65536

local function is_callable(value)
  if type(value) == "function" then return true end
  local meta = getmetatable(value)
  return type(meta) == "table" and type(meta.__call) == "function"
end

--- Whether a value can be called: a function, or an object with `__call`.
---@param value any
---@return boolean
options.is_callable = is_callable

--- A value for messages about arguments: what it is, and which one where that is short.
---@param value any
---@return string text
function options.got(value)
  local kind = type(value)
  if kind == "string" then return "the string " .. failure.show(value) end
  if kind == "number" or kind == "boolean" or value == nil then return tostring(value) end
  if kind == "table" and getmetatable(value) == options.Pipeline then return "a pipeline" end
  return "a " .. kind
end

-- Insertions, deletions, replacements and swaps of neighbours ("form" for "from") that turn a into b.
local function edit_distance(a, b)
  local before, row = nil, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local next_row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local best = math.min(row[j] + 1, next_row[j - 1] + 1, row[j - 1] + (same and 0 or 1))
      if before and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      next_row[j] = best
    end
    before, row = row, next_row
  end
  return row[#b]
end

--- The candidate that was most likely meant.
---@param name string what the user wrote
---@param candidates table array of valid names
---@return string? nearest nil where nothing is close enough to be worth suggesting
function options.suggest(name, candidates)
  local best, best_distance
  local lower = name:lower()
  for _, candidate in ipairs(candidates) do
    local other = candidate:lower()
    local distance = edit_distance(lower, other)
    local length = math.min(#lower, #other, 4)
    local begins = length >= 3 and lower:sub(1, length) == other:sub(1, length)
    local near = distance <= math.min(3, (math.max(#lower, #other) + 1) // 3)
    if (begins or near) and (not best or distance < best_distance) then
      best, best_distance = candidate, distance
    end
  end
  return best
end

--- "(did you mean 'x'?)", or the list of what is valid, to be put behind a message about an unknown name.
---@param name string what the user wrote
---@param candidates table array of valid names
---@return string text begins with a space; empty where there are no candidates
function options.hint(name, candidates)
  local nearest = options.suggest(name, candidates)
  if nearest then return (" (did you mean '%s'?)"):format(nearest) end
  if #candidates == 0 then return "" end
  return " (there are: " .. table.concat(candidates, ", ") .. ")"
end

--- The types of options. Each is a value or a constructor of one.
options.types = {}
local types = options.types

--- A whole number in a range; a float with an integer value counts.
---@param min integer
---@param max integer?
---@return table type
function types.integer(min, max)
  return { lua = "integer",
    text = max and ("an integer from %d to %d"):format(min, max) or ("an integer of at least %d"):format(min),
    check = function(value)
      local number = type(value) == "number" and math.tointeger(value)
      if not number or number < min or (max and number > max) then return false end
      return true, number
    end,
  }
end

--- A finite number of seconds.
---@param zero boolean whether 0 is allowed
---@return table type
function types.seconds(zero)
  return { lua = "number",
    text = zero and "a number of seconds, 0 or more" or "a number of seconds above 0",
    check = function(value)
      local good = type(value) == "number" and value < math.huge and (value > 0 or (zero and value == 0))
      return good, value
    end,
  }
end

types.callable = {
  text = "a function", lua = "fun(item: any): any",
  check = function(value) return is_callable(value), value end,
}

--- One function or an array of them; normalised to an array.
types.callables = {
  text = "a function or an array of functions", lua = "fun(ctx: minigun.Ctx)|(fun(ctx: minigun.Ctx))[]",
  check = function(value)
    if is_callable(value) then return true, { value } end
    if type(value) ~= "table" or (rawlen(value) == 0 and next(value) ~= nil) then return false end
    local list = {}
    for i = 1, rawlen(value) do
      list[i] = rawget(value, i)
      if not is_callable(list[i]) then return false end
    end
    return true, list
  end,
}

--- One stage's name or an array of them; normalised to an array without duplicates.
---@param empty boolean whether the array may be empty
---@return table type
function types.names(empty)
  return { lua = "string|string[]",
    text = "a stage's name or " .. (empty and "an array of names" or "an array of one name or more"),
    check = function(value)
      if type(value) == "string" then return true, { value } end
      if type(value) ~= "table" or (rawlen(value) == 0 and (not empty or next(value) ~= nil)) then return false end
      local names, seen = {}, {}
      for i = 1, rawlen(value) do
        local name = rawget(value, i)
        if type(name) ~= "string" then return false end
        if not seen[name] then names[#names + 1] = name end
        seen[name] = true
      end
      return true, names
    end,
  }
end

--- One of a few strings.
---@param choices table array of strings
---@return table type
function types.choice(choices)
  return {
    text = '"' .. table.concat(choices, '", "') .. '"', lua = '"' .. table.concat(choices, '"|"') .. '"',
    check = function(value)
      for _, choice in ipairs(choices) do
        if value == choice then return true, value end
      end
      return false
    end,
  }
end

types.name = {
  text = "a name (a string that is not empty)", lua = "string",
  check = function(value) return type(value) == "string" and value ~= "", value end,
}

local units = { [""] = 1, K = 2 ^ 10, M = 2 ^ 20, G = 2 ^ 30, T = 2 ^ 40 }

--- An amount of memory: bytes, or a string with a unit of 1024; normalised to bytes.
---@param min integer bytes
---@return table type
function types.bytes(min)
  return { lua = "integer|string",
    text = ('bytes, or a string such as "64M" (units K, M, G, T of 1024), at least %d'):format(min),
    check = function(value)
      local amount = value
      if type(value) == "string" then
        local digits, unit = value:match("^%s*(%d+%.?%d*)%s*([KMGTkmgt]?)[iI]?[bB]?%s*$")
        amount = digits and math.floor(tonumber(digits) * units[unit:upper()])
      end
      local bytes = type(amount) == "number" and math.tointeger(amount)
      return bytes and bytes >= min or false, bytes
    end,
  }
end

local worker_count = types.integer(1, options.MAX_WORKERS)

-- A context given as an option is normalised to { kind = , n = } (n nil: one per CPU), or to false: no override, so
-- that a program may compute the option.
types.inline = {
  text = "true or false", lua = "boolean",
  check = function(value)
    if type(value) ~= "boolean" then return false end
    return true, value and { kind = "inline" }
  end,
}

types.processes = {
  text = worker_count.text .. ", true for one per CPU, or { n = n, ordered = true }",
  lua = "minigun.PoolOptions|integer|boolean",
  check = function(value, subject, name)
    if type(value) == "boolean" then return true, value and { kind = "processes" } end
    if type(value) == "table" then
      local inner = options.check(options.schemas.processes, value, ("%s: %s"):format(subject, name))
      return true, { kind = "processes", n = inner.n, ordered = inner.ordered }
    end
    local ok, n = worker_count.check(value)
    return ok, ok and { kind = "processes", n = n }
  end,
}

types.threads = {
  text = ("%s, true for %d, or { n = n, ordered = true }"):format(worker_count.text, options.THREADS),
  lua = "minigun.ThreadOptions|integer|boolean",
  check = function(value, subject, name)
    if type(value) == "boolean" then return true, value and { kind = "threads", n = options.THREADS } end
    if type(value) == "table" then
      local schema = options.schemas.threads
      local inner = options.fill(schema, options.check(schema, value, ("%s: %s"):format(subject, name)))
      return true, { kind = "threads", n = inner.n, ordered = inner.ordered }
    end
    local ok, n = worker_count.check(value)
    return ok, ok and { kind = "threads", n = n }
  end,
}

types.process_per_batch = {
  text = worker_count.text .. ", true for one per CPU, or { max = n, ordered = true }",
  lua = "minigun.ForkOptions|integer|boolean",
  check = function(value, subject, name)
    if type(value) == "boolean" then return true, value and { kind = "process_per_batch" } end
    if type(value) == "table" then
      local inner = options.check(options.schemas.process_per_batch, value, ("%s: %s"):format(subject, name))
      return true, { kind = "process_per_batch", n = inner.max, ordered = inner.ordered }
    end
    local ok, n = worker_count.check(value)
    return ok, ok and { kind = "process_per_batch", n = n }
  end,
}

--- Checks one value against a type.
---@param kind table a type
---@param value any
---@param subject string what the value belongs to, for the message: "stage 'parse'"
---@param name string the option's or argument's name
---@return any normalised
function options.value(kind, value, subject, name)
  local ok, normalised = kind.check(value, subject, name)
  if not ok then
    failure.raise(("%s: %s must be %s, got %s"):format(subject, name, kind.text, options.got(value)))
  end
  return normalised
end

local function unknown_option(schema, name, subject)
  if type(name) ~= "string" then
    failure.raise(("%s: options are given by name, got a value at [%s]"):format(subject, failure.show(name)))
  end
  local reason = schema.refused[name]
  if reason then
    failure.raise(("%s: option '%s' is not for a %s: %s"):format(subject, name, schema.name, reason))
  end
  failure.raise(("%s: unknown option '%s'%s"):format(subject, name, options.hint(name, schema.names)))
end

--- Validates options. What was not given stays nil, so that options of several origins can be laid over one another.
---@param schema table
---@param given table? the user's options, left untouched
---@param subject string what the options belong to, for messages: "stage 'parse'"
---@return table checked the normalised values of the given options
function options.check(schema, given, subject)
  if given == nil then return {} end
  if type(given) ~= "table" then
    failure.raise(("%s: options must be a table, got %s"):format(subject, options.got(given)))
  end
  for name in next, given do
    if not schema.by_name[name] then unknown_option(schema, name, subject) end
  end
  local checked = {}
  for _, field in ipairs(schema) do
    local value = given[field.name]
    if value ~= nil then
      checked[field.name] = options.value(field.type, value, subject, "option '" .. field.name .. "'")
    end
  end
  return checked
end

--- Lays checked options over one another and fills in defaults for the rest.
---@param schema table
---@param ... table? results of `options.check`, the strongest first
---@return table filled
function options.fill(schema, ...)
  local filled = {}
  for _, field in ipairs(schema) do
    for i = 1, select("#", ...) do
      local layer = select(i, ...)
      if layer and filled[field.name] == nil then filled[field.name] = layer[field.name] end
    end
    if filled[field.name] == nil then filled[field.name] = field.default end
  end
  return filled
end

--- The options of a schema as a Markdown table.
---@param schema table
---@return string markdown
function options.describe(schema)
  local lines = { "| option | type | default | meaning |", "| --- | --- | --- | --- |" }
  for _, field in ipairs(schema) do
    local default = field.default_text or (field.default ~= nil and ("`%s`"):format(failure.show(field.default))) or ""
    local row = { "`" .. field.name .. "`", field.type.text, default, field.doc }
    for i, cell in ipairs(row) do row[i] = cell:gsub("|", "\\|") end
    lines[#lines + 1] = "| " .. table.concat(row, " | ") .. " |"
  end
  return table.concat(lines, "\n")
end

--- Makes a schema.
---@param name string the kind of thing that takes the options
---@param lists table array of arrays of fields `{ name, type, default =, default_text =, doc = }`
---@param extra { refused: table<string, string>? }?
--- `refused`: names that other kinds have, with the reason why this one has not
---@return table schema
function options.schema(name, lists, extra)
  local schema = { name = name, names = {}, by_name = {}, refused = extra and extra.refused or {} }
  for _, list in ipairs(lists) do
    for _, field in ipairs(list) do
      schema[#schema + 1] = {
        name = field[1], type = field[2], default = field.default, default_text = field.default_text, doc = field.doc,
      }
      schema.names[#schema.names + 1] = field[1]
      schema.by_name[field[1]] = schema[#schema]
    end
  end
  return schema
end

types.route = {
  text = '"broadcast", "round_robin" or a function',
  lua = '"broadcast"|"round_robin"|fun(item: any): string|string[]',
  check = function(value)
    return value == "broadcast" or value == "round_robin" or is_callable(value), value
  end,
}

types.await = {
  text = "true, false or a number of seconds above 0", lua = "boolean|number",
  check = function(value)
    return type(value) == "boolean" or (type(value) == "number" and value > 0 and value < math.huge), value
  end,
}

--- A number in a range.
---@param min number
---@param max number?
---@return table type
function types.number(min, max)
  return { lua = "number",
    text = max and ("a number from %g to %g"):format(min, max) or ("a number of at least %g"):format(min),
    check = function(value)
      return type(value) == "number" and value >= min and value <= (max or math.huge) and value < math.huge, value
    end,
  }
end

-- A number of seconds stays one; a table is filled in.
types.backoff = {
  text = "a number of seconds, 0 or more, or { first =, factor =, max =, jitter = }",
  lua = "number|minigun.BackoffOptions",
  check = function(value, subject, name)
    if type(value) ~= "table" then return types.seconds(true).check(value) end
    local schema = options.schemas.backoff
    return true, options.fill(schema, options.check(schema, value, ("%s: %s"):format(subject, name)))
  end,
}

types.dead_letter = {
  text = "a stage's name, a spool that is open for writing, or false", lua = "string|minigun.Spool|false",
  check = function(value)
    if value == false or (type(value) == "string" and value ~= "") then return true, value end
    local is_spool = type(value) == "table" and getmetatable(value) == options.Spool
    return is_spool and not value.options.read_only and not value.file:closed(), value
  end,
}

-- Normalised to a filled table.
types.journal = {
  text = "a path, or { path =, sync = }", lua = "string|minigun.JournalOptions",
  check = function(value, subject, name)
    local schema = options.schemas.journal
    local given = type(value) == "string" and { path = value } or value
    if type(given) ~= "table" or type(given.path) ~= "string" then return false end
    return true, options.fill(schema, options.check(schema, given, ("%s: %s"):format(subject, name)))
  end,
}

types.path = {
  text = "a path (a string that is not empty, without zero bytes)", lua = "string",
  check = function(value) return type(value) == "string" and value ~= "" and not value:find "\0", value end,
}

types.sync = {
  text = '"none", "end", "always" or a number of seconds above 0', lua = '"none"|"end"|"always"|number',
  check = function(value)
    return value == "none" or value == "end" or value == "always" or types.seconds(false).check(value), value
  end,
}

types.boolean = {
  text = "true or false", lua = "boolean",
  check = function(value) return type(value) == "boolean", value end,
}

local to_field = { "to", types.names(true), default_text = "the next stage",
  doc = "stages that receive what this one emits; each receives every item; `{}` makes the stage terminal" }
local from_field = { "from", types.names(false), default_text = "the stage before",
  doc = "stages whose emissions this one receives" }

local route_field = { "route", types.route, default = "broadcast",
  doc = "which targets an item goes to: all, each in turn, or those that `function(item) -> name or names` gives" }
local await_field = { "await", types.await, default_text = "the stage before sends",
  doc = "true: only `emit:to` reaches the stage, which ends with everything else; false: not even that" }

local context_fields = {
  { "inline", types.inline, default_text = "the block's context", doc = "run in the coordinator itself" },
  { "threads", types.threads, default_text = "the block's context",
    doc = "run in that many coroutines over an event loop, for handlers that wait; also together with `processes`, " ..
      "then in each worker" },
  { "processes", types.processes, default_text = "the block's context",
    doc = "run in that many workers, forked once per run (a producer: in one child of its own)" },
  { "process_per_batch", types.process_per_batch, default_text = "the block's context",
    doc = "run each item in a fresh child, at most `max` at once" },
  { "fork", types.process_per_batch, default_text = "the block's context", doc = "the same as `process_per_batch`" },
}

local ordered_field = { "ordered", types.boolean, default = false,
  doc = "what comes out is in the order of what has come in, whichever item is finished first; stands beside the " ..
    "option that says where it runs" }

local named_context = { { "context", types.name, default_text = "the block's context",
  doc = "run in the context of that name, see `pipeline:context`" } }

local item_fields = {
  ordered_field,
  { "retries", types.integer(0), default = 0, doc = "further attempts after an item's first failed one" },
  { "backoff", types.backoff, default = 0,
    doc = "seconds to wait before an attempt is repeated: always the same, or growing, see below" },
  { "timeout", types.seconds(false), default_text = "none", doc = "seconds that one item may take" },
  { "queue", types.integer(1), default_text = "by memory", doc = "most items that may wait for this stage" },
}

local partition_fields = {
  { "partition", types.callable, default_text = "none",
    doc = "`function(item) -> key`: in a pool, items with equal keys go to the same worker, in their order" },
}

local dead_letter_field = { "dead_letter", types.dead_letter, default_text = "the run's",
  doc = "where an item goes that has failed for good, as `{ item =, failure = }`: to that stage, which says " ..
    "`await = true`, or into that spool; `run` does not raise for it then. false: nowhere" }

local batch_fields = {
  { "max_size", types.integer(1), default = 100, doc = "items in a full batch" },
  { "max_wait", types.seconds(false), default_text = "none",
    doc = "seconds after a batch's first item at which it is passed on although it is not full" },
  { "by", types.callable, default_text = "none", doc = "`function(item) -> key`: one batch per key" },
}

local combine_type = { text = types.callable.text, check = types.callable.check, lua = "fun(a: any, b: any): any" }
local combine_field = { "combine", combine_type, default_text = "the function itself",
  doc = "`function(value, value) -> value`: combines what workers have made of their parts of the items; each part " ..
    "then begins with the initial value, not with its first item" }

local hook_fields = {
  { "before", types.callables, default_text = "none",
    doc = "where the stage runs, once per worker, before its items" },
  { "after", types.callables, default_text = "none", doc = "where the stage runs, once per worker, after its items" },
  { "before_fork", types.callables, default_text = "none",
    doc = "in the coordinator, before each fork for this stage" },
  { "after_fork", types.callables, default_text = "none", doc = "first thing in each child of this stage" },
  { "before_exit", types.callables, default_text = "none", doc = "last thing in each child that ends in good order" },
}

local run_fields = {
  { "memory", types.bytes(options.MIN_MEMORY), default_text = "by machine", doc = "limit of shared memory" },
  { "failures", types.choice { "raise", "collect", "stop" }, default = "raise",
    doc = "raise an error that names them at the end, only collect them in the result, or stop at the first" },
  { "keep_failures", types.integer(0), default = 1000,
    doc = "how many failures the result keeps, the first ones; all are counted, and `on_failure` and dead letters " ..
      "hear of each" },
  { "max_restarts", types.integer(0), default = 10, doc = "deaths of workers in `restart_window` that a run bears" },
  { "restart_window", types.seconds(false), default = 5, doc = "seconds over which deaths are counted" },
  { "progress", types.boolean, default = true,
    doc = "false: no progress line. A run of more than half a second has one where standard error is a terminal, " ..
      "and erases it at its end; the environment variable MINIGUN_PROGRESS=0 does the same as false" },
  { "grace", types.seconds(false), default_text = "no limit",
    doc = "seconds that workers get for their hooks after the last item, before they are killed" },
  { "journal", types.journal, default_text = "none",
    doc = "a file that tells which of the producers' items are finished: a run of the same pipeline with the same " ..
      "journal goes on where one was killed" },
}

local journal_fields = {
  { "path", types.path, default_text = "must be given", doc = "the file; it is made where there is none" },
  { "sync", types.sync, default = "end",
    doc = "when the run waits until the disk has what is written: never, at its end, every so many seconds, or for " ..
      "each record. Only a crash of the machine makes a difference, the death of the program does not" },
}

local run_dead_letter = { "dead_letter", types.dead_letter, default_text = "none",
  doc = "for all stages that do not say it themselves, but for the dead letters' own stage and those behind it" }

local backoff_fields = {
  { "first", types.seconds(true), default = 0.1, doc = "seconds before the second attempt" },
  { "factor", types.number(1), default = 2, doc = "how many times longer each further wait is" },
  { "max", types.seconds(true), default = 10, doc = "the longest wait in seconds" },
  { "jitter", types.number(0, 1), default = 0.5,
    doc = "the part of each wait that is left to chance: with 0.5 it is between half of it and all of it" },
}

local spool_fields = {
  { "read_only", types.boolean, default = false,
    doc = "the file must be there, and only `records` and `damage` work" },
  { "sync", types.boolean, default = false, doc = "each `write` waits until the record is on the disk" },
}

local of_its_stages = "it is for stages; give it to those inside"
local nested_refused = {}
for _, fields in ipairs { item_fields, partition_fields, batch_fields, { dead_letter_field } } do
  for _, field in ipairs(fields) do nested_refused[field[1]] = of_its_stages end
end

local no_input = "it receives no items"
local edge_fields = { to_field, from_field, route_field, await_field, dead_letter_field }

--- The schemas by the name of what they belong to: the stages' kinds (`pipeline`: nested), `context`, `threads`,
--- `processes`, `process_per_batch`, `run`, `backoff`, `journal`, `spool`.
--- A pipeline's own options are those of `run`, which override them.
options.schemas = {
  producer = options.schema("producer", {
    { to_field, route_field, dead_letter_field }, context_fields, named_context, hook_fields,
  }, {
    refused = { from = no_input, await = no_input, retries = no_input, backoff = no_input, timeout = no_input,
      queue = no_input, ordered = no_input },
  }),
  processor = options.schema("processor",
    { edge_fields, context_fields, named_context, item_fields, partition_fields, hook_fields }),
  consumer = options.schema("consumer",
    { edge_fields, context_fields, named_context, item_fields, partition_fields, hook_fields }),
  accumulator = options.schema("accumulator",
    { batch_fields, edge_fields, context_fields, named_context, item_fields, hook_fields }),
  pipeline = options.schema("nested pipeline",
    { { to_field, from_field, route_field, await_field, ordered_field }, context_fields, named_context, hook_fields },
    { refused = nested_refused }),
  reduce = options.schema("reduce",
    { { combine_field }, edge_fields, context_fields, named_context, item_fields, hook_fields }),
  context = options.schema("context", { context_fields, { ordered_field } }),
  process_per_batch = options.schema("process_per_batch",
    { { { "max", worker_count, default_text = "one per CPU", doc = "most children alive at once" }, ordered_field } }),
  threads = options.schema("threads",
    { { { "n", worker_count, default = options.THREADS, doc = "most items in work at once" }, ordered_field } }),
  processes = options.schema("processes",
    { { { "n", worker_count, default_text = "one per CPU", doc = "workers" }, ordered_field } }),
  run = options.schema("run", { run_fields, { run_dead_letter } }, { refused = {
    ordered = "it belongs to a context: give it to the stage or block whose output is to be in order" } }),
  backoff = options.schema("backoff", { backoff_fields }),
  spool = options.schema("spool", { spool_fields }),
  journal = options.schema("journal", { journal_fields }),
}

return options
