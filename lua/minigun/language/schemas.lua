--- Options: what each kind of stage, context and run takes, as schemas (see base/schema.lua).
local context_types = require "minigun.language.context_types"
local kinds = require "minigun.base.kinds"
local schema = require "minigun.base.schema"
local types = require "minigun.base.types"

local options = { types = types, schemas = types.schemas }

-- A module that needs the options needs these too.
for _, name in ipairs { "is_callable", "got", "suggest", "hint", "value", "check", "fill", "describe" } do
  options[name] = schema[name]
end
for _, name in ipairs { "MAX_WORKERS", "MAX_THREADS", "MAX_PROCESSES", "MAX_STAGES" } do
  options[name] = types[name]
end

--- Least memory of a run, in bytes: one block of shared memory.
options.MIN_MEMORY = 65536


local to_field = { "to", types.names(true), default_text = "the next stage",
  doc = "stages that receive what this one emits; each receives every item; `{}` makes the stage terminal" }
local from_field = { "from", types.names(false), default_text = "the stage before",
  doc = "stages whose emissions this one receives" }

local route_field = { "route", types.route, default = "broadcast",
  doc = "which targets get an item: all targets; one target, each in its turn; or the targets whose names "
    .. "`function(item) -> name or names` returns" }
local await_field = { "await", types.await, default_text = "the stage before sends",
  doc = "true: only `emit:to` sends to the stage, and it ends when all other stages have ended; false: no stage "
    .. "sends to it" }

local context_fields = {}
for i, kind in ipairs(kinds) do
  context_fields[i] = { kind.name, context_types[kind.name], default_text = "the group's context", doc = kind.doc }
end

local ordered_field = { "ordered", types.boolean, default = false,
  doc = "what comes out is in the order of what has come in, whichever item is finished first; stands beside the " ..
    "option that says where it runs" }

local named_context = { { "context", types.name, default_text = "the group's context",
  doc = "run in the context of that name, see `pipeline:context`" } }

-- What groups, named contexts and pipelines take too, for the stages inside.
local default_fields = {
  { "retries", types.integer(0), default = 0, doc = "further attempts after an item's first failed one" },
  { "backoff", types.backoff, default = 0,
    doc = "seconds to wait before an attempt is repeated: always the same, or growing, see below" },
  { "timeout", types.timeout, default_text = "none", doc = "seconds that one item may take; false: no limit" },
  { "queue", types.queue, default_text = "by memory",
    doc = "most items that may wait for this stage; items that its workers process do not count. 0 or `math.huge`: "
      .. "only memory limits it" },
}
local item_fields = { ordered_field, table.unpack(default_fields) }
local around_fields = {} -- the same where stages are inside: what is not said there comes from further out
for i, field in ipairs(default_fields) do
  around_fields[i] = { field[1], field[2], default_text = "from around it",
    doc = field.doc .. "; for the stages inside" }
end

local gate_fields = {
  { "rate", types.rate, default_text = "no limit",
    doc = "no more than 100 items begin in any second: `rate = 100`, or `{ 100, per = 1 }`; all its workers together" },
  { "delay", types.seconds(true), default = 0, doc = "seconds that each item waits there before it may begin" },
}

local partition_fields = {
  { "partition", types.callable, default_text = "none",
    doc = "`function(item) -> key`: in a pool, items with equal keys go to the same worker, in their order" },
}

local dead_letter_field = { "dead_letter", types.dead_letter, default_text = "the run's",
  doc = "where an item goes that has failed for good, as `{ item =, failure = }`: to that stage, which says " ..
    "`await = true`, or into that spool; `run` does not raise for it then. false: nowhere" }

local batch_fields = {
  { "max_size", types.integer(1, 0xffffffff), default = 100, doc = "items in a full batch" },
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
  { "after_fork", types.callables, default_text = "none", doc = "first thing in each child of this stage, or once" },
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
  { "progress", types.progress, default = true,
    doc = "false: no progress line; \"plain\": a line every five seconds, for logs. A run of more than half a " ..
      "second has one where standard error is a terminal, " ..
      "and erases it at its end; the environment variable MINIGUN_PROGRESS=0 does the same as false" },
  { "observe", types.boolean, default_text = "MINIGUN_TOP",
    doc = "true: the run keeps its figures in a file that `minigun top` reads in another terminal, see " ..
      "docs/observe.md. Runs of `minigun run`, or with MINIGUN_TOP=1 in the environment, do so unless this is false" },
  { "report", types.name, default_text = "none",
    doc = "a file for the report of the run: one HTML page with its flow, charts over time, stages and failures. It " ..
      "needs no network, and is written at the end, whatever ends the run" },
  { "trace", types.name, default_text = "none",
    doc = "a file for a trace of the run in the format of Chrome's tracing, for Perfetto and speedscope" },
  { "metrics", types.name, default_text = "none",
    doc = "a file for the run's figures in the text format of Prometheus, replaced once in a second and at the end" },
  { "hud", types.hud, default_text = "MINIGUN_HUD",
    doc = "true: the live view in place of the progress line, which stays at the end until a key closes it; " ..
      "\"leave\": it goes with the run; false: none. MINIGUN_HUD=1 or MINIGUN_HUD=leave in the environment is for " ..
      "runs that do not say it, see docs/observe.md" },
  { "output", types.choice { "lines", "tag", "direct" }, default = "lines",
    doc = "how what workers print gets to a terminal that has a progress line: through the coordinator, line by " ..
      "line; with the stage and the worker's number before each; or directly, for programs that use the whole screen" },
  { "deadline", types.seconds(false), default_text = "no limit",
    doc = "seconds after which the run is ended, with an error that says so and warnings of what was inside" },
  { "halt", types.halt, default_text = "never",
    doc = "ends the run when too many items have failed: `{ failures = 10 }` more than that many, `{ failures = " ..
      "\"5%\" }` more than that share of the sources' finished items, after the first hundred; `when = \"now\"`, at " ..
      "once, or \"soon\", when what is inside is finished" },
  { "grace", types.seconds(false), default_text = "no limit",
    doc = "seconds that workers get for their hooks after the last item, and the run after SIGTERM, before all ends" },
  { "workers", types.worker_count, default_text = "as defined",
    doc = "workers of each context of processes, and most children of each `process_per_batch`, whatever they say" },
  { "seed", types.integer(), default_text = "none",
    doc = "`math.random` gives the handlers of each item the same numbers in every run, whichever worker takes it; " ..
      "equal items of a stage get equal numbers" },
  { "journal", types.journal, default_text = "none",
    doc = "a file that tells which of the producers' items are finished: a run of the same pipeline with the same " ..
      "journal goes on where one was killed" },
  { "job", types.job, default_text = "none",
    doc = "the name of the run's jobs in clusters, see docs/cluster.md: a run with the name of one that was killed " ..
      "goes on with what that has left there. Its journal is NAME.journal, unless `journal` says another file" },
}

local standing_fields = {
  { "backlog", types.integer(1), default = 10000,
    doc = "most items that may wait to be begun; with more `submit` waits, or says \"full\"" },
}

local inline_run = {
  { "inline", types.boolean, default_text = "false",
    doc = "true: the whole pipeline in the coordinator, whatever the stages say, to debug it" },
}
local submit_fields = {
  { "wait", types.boolean, default = true, doc = "false: `nil, \"full\"` where the backlog is full" },
  { "priority", types.number(-1e9, 1e9), default = 0,
    doc = "of what waits to be begun, items of a higher one are begun first" },
}

local for_pipeline <const> = "it is for the pipeline itself, minigun.pipeline(name, options); of a run there are " ..
  "'inline' and 'workers'"

local journal_fields = {
  { "path", types.path, default_text = "must be given", doc = "the file; it is made where there is none" },
  { "sync", types.sync, default = "end",
    doc = "when the run waits until the disk has what is written: never, at its end, every so many seconds, or for " ..
      "each record. Only a crash of the machine makes a difference, the death of the program does not" },
}

local run_dead_letter = { "dead_letter", types.dead_letter, default_text = "none",
  doc = "for all stages that do not say it themselves, but for the dead letters' own stage and those after it" }

local backoff_fields = {
  { "first", types.wait, default = 0.1, doc = "seconds before the second attempt" },
  { "factor", types.number(1), default = 2, doc = "how many times longer each further wait is" },
  { "max", types.wait, default = 10, doc = "the longest wait in seconds" },
  { "jitter", types.number(0, 1), default = 0.5,
    doc = "the part of each wait that is left to chance: with 0.5 it is between half of it and all of it" },
}

local halt_fields = {
  { "failures", types.failures, default_text = "must be given",
    doc = 'how many are borne: a number, or a share such as "5%"' },
  { "when", types.choice { "soon", "now" }, default = "soon", doc = "whether what is inside is finished before" },
}

local spool_fields = {
  { "read_only", types.boolean, default = false,
    doc = "the file must be there, and only `records` and `damage` work" },
  { "sync", types.boolean, default = false, doc = "each `write` waits until the record is on the disk" },
}

local log_fields = {
  { "level", types.choice { "debug", "info", "warning", "error" }, default = "info",
    doc = "the least important messages that are written; at `debug` each run tells of its begin and end, too" },
  { "to", types.log_target, default_text = '"stderr"',
    doc = "where they go: `\"stderr\"`, the path of a file, to which they are appended, or a function that gets " ..
      "each as a table; it is called in the process that has called `logging`, also for what workers log" },
  { "json", types.boolean, default = false, doc = "true: each line is a JSON object" },
}

local numbered_field = { "numbered", types.boolean, default = false,
  doc = "each item is a table `{ path =, number =, text = }`, so that a failure shows where it comes from" }
local records_fields = {
  { "separator", types.bytes_text(16), default_text = "none",
    doc = "what stands between two records, at most 16 bytes; the last one may do without" },
  { "fixed", types.integer(1, 1 << 30), default_text = "none", doc = "bytes of each record" },
  { "length", types.length, default_text = "none",
    doc = "each record has its length before it, in this format of `string.pack`: `\"I4\"` has four bytes, in " ..
      "this machine's order, `\"<I4\"` the lowest one first, `\">I4\"` the highest" },
}
local csv_fields = {
  { "header", types.header, default = true,
    doc = "true: the first record of each file has the names of the columns, and an item is a table with these " ..
      "keys; an array: these are the names; false: there are none, and an item is an array" },
  { "separator", types.bytes_text(1), default = ",", doc = "what stands between two fields, one byte" },
}
local command_fields = {
  { "timeout", types.seconds(false), default_text = "none",
    doc = "seconds after which the program gets SIGTERM, and one second later SIGKILL" },
  { "stdin", types.text, default_text = "none", doc = "what it reads from its standard input; without it `/dev/null`" },
  { "env", types.environment, default_text = "none",
    doc = "variables that its environment has besides, or has otherwise; false: it has none of that name" },
  { "cwd", types.path, default_text = "this process's", doc = "the directory in which it runs" },
  { "stdout", types.output, default_text = "`out`",
    doc = "the file that its standard output goes to, made or emptied; true: to where this process's goes" },
  { "stderr", types.output, default_text = "`err`", doc = "the same for its standard error output" },
  { "limit", types.bytes(0), default = 64 << 20,
    doc = "most bytes that are kept of each of its outputs; one that writes more is killed" },
}

-- What is for the stages inside and not for what stands around them, though that takes defaults.
local function refused(reason, ...)
  local names = {}
  for _, fields in ipairs { partition_fields, batch_fields, { dead_letter_field }, ... } do
    for _, field in ipairs(fields) do names[field[1]] = reason end
  end
  return { refused = names }
end
local to_stages <const> = "it is for stages; give it to those inside"
local beside <const> = { refused = {} }
for _, field in ipairs(default_fields) do
  beside.refused[field[1]] = ("it stands beside it: { processes = 2, %s = ... }"):format(field[1])
end

local no_input = "it receives no items"
local edge_fields = { to_field, from_field, route_field, await_field, dead_letter_field }
local worker_fields = {
  { "max_items", types.integer(1), default_text = "no limit",
    doc = "a worker ends after so many items, batches or further attempts, and a fresh one takes its place: for " ..
      "handlers whose memory grows. 1: a process for each item, as with `process_per_batch`" },
  { "max_age", types.seconds(false), default_text = "no limit",
    doc = "seconds after which a worker is replaced: one at a time, and the next one is ready before it ends" },
  { "max_memory", types.bytes(1 << 20), default_text = "no limit",
    doc = "resident memory with which a worker is replaced in the same way; it is looked at once a second" },
  { "idle_timeout", types.seconds(false), default_text = "no limit",
    doc = "a worker that has had nothing to do for so many seconds ends; one is forked when there is work again" },
  { "lazy", types.boolean, default = false, doc = "workers are forked when there is work for them, not at the begin" },
}
local limit_fields = {
  { "memory_limit", types.bytes(1 << 20), default_text = "no limit",
    doc = "most memory of its own that a worker may have: an allocation beyond it fails, and with it the item" },
  { "nice", types.integer(0, 19), default = 0,
    doc = "how much a worker steps back for other processes, beside what this one does" },
  { "affinity", types.boolean, default = false,
    doc = "worker i runs on the i-th of the processors that this process may use, unless there are more workers" },
}

-- The schemas by the name of what they belong to: the stages' kinds (`pipeline`: nested), `context`, `threads`,
-- `processes`, `process_per_batch` (tables in place of a number), the groups that `p:processes` and the like take,
-- `run`, `root` (a pipeline itself: its defaults and what its runs take), `backoff`, `journal`, `spool`,
-- `command`, `log`.
for name, made in next, {
  producer = schema.new("producer", {
    { to_field, route_field, dead_letter_field }, context_fields, named_context, hook_fields,
  }, {
    refused = { from = no_input, await = no_input, retries = no_input, backoff = no_input, timeout = no_input,
      queue = no_input, ordered = no_input },
  }),
  processor = schema.new("processor",
    { edge_fields, context_fields, named_context, item_fields, partition_fields, gate_fields, hook_fields }),
  consumer = schema.new("consumer",
    { edge_fields, context_fields, named_context, item_fields, partition_fields, gate_fields, hook_fields }),
  accumulator = schema.new("accumulator",
    { batch_fields, edge_fields, context_fields, named_context, item_fields, hook_fields }),
  pipeline = schema.new("nested pipeline", { { to_field, from_field, route_field, await_field }, context_fields,
    named_context, { ordered_field }, around_fields, hook_fields }, refused(to_stages)),
  reduce = schema.new("reduce",
    { { combine_field }, edge_fields, context_fields, named_context, item_fields, hook_fields }),
  context = schema.new("context", { context_fields, { ordered_field }, around_fields }, refused(to_stages)),
  inline_group = schema.new("group", { around_fields }, refused(to_stages)),
  run = schema.new("run", { run_fields, { run_dead_letter }, around_fields, inline_run }, { refused = {
    ordered = "it belongs to a context: give it to the stage or group whose output is to be in order",
    processes = for_pipeline, threads = for_pipeline, process_per_batch = for_pipeline, fork = for_pipeline,
    context = for_pipeline } }),
  open = schema.new("executor", { standing_fields }),
  submit = schema.new("submit", { submit_fields }),
  root = schema.new("pipeline", { run_fields, { run_dead_letter }, around_fields, context_fields, named_context,
    { ordered_field } }),
  backoff = schema.new("backoff", { backoff_fields }),
  halt = schema.new("halt", { halt_fields }),
  spool = schema.new("spool", { spool_fields }),
  lines = schema.new("source of lines", { { numbered_field } }),
  records = schema.new("source of records", { records_fields, { numbered_field } }),
  csv = schema.new("source of rows", { csv_fields }),
  command = schema.new("command", { command_fields }),
  log = schema.new("logging", { log_fields }),
  journal = schema.new("journal", { journal_fields }),
} do
  options.schemas[name] = made
end

local cluster_fields = {
  { "lease", types.seconds(false), default = 30,
    doc = "seconds after which the items of a host that is silent go to another one" },
  { "tries", types.integer(1), default = 5, doc = "how often a chunk of items is given to a host at most" },
  { "limit", types.integer(1), default = 200, doc = "most chunks that may lie on the server, of 1,000 items or fewer" },
}
options.schemas.cluster = schema.new("cluster", { {
  { "url", context_types.redis_url, default_text = "it must be given",
    doc = "of the Redis server, see docs/cluster.md" },
}, cluster_fields, { ordered_field } }, beside)
options.schemas.cluster_group = schema.new("group", { cluster_fields, { ordered_field }, around_fields },
  refused(to_stages))

-- Those of the kinds of contexts and of their groups.
for _, kind in ipairs(kinds) do
  local size = kind.size and { { kind.size, types.worker_count, default = kind.n,
    default_text = not kind.n and "one per CPU" or nil, doc = kind.of }, ordered_field }
  local recycled = kind.name == "processes" and worker_fields or {}
  local limited = kind.class ~= "Thread" and limit_fields or {}
  if size then options.schemas[kind.name] = schema.new(kind.name, { size, recycled, limited }, beside) end
  if kind.group then
    options.schemas[kind.group] = schema.new("group", { size, recycled, limited, around_fields }, refused(to_stages))
  end
end

--- Whether a table can only have been meant as options: it says where something runs, and nothing else than options.
---@param value any
---@param of table schema
---@return boolean
function options.are_options(value, of)
  if type(value) ~= "table" or getmetatable(value) ~= nil then return false end
  local placed = false
  for name, each in next, value do
    local field = of.by_name[name]
    local ok, good = pcall(field and field.type.check or error, each, "", "")
    if not (field and ok and good) then return false end
    for _, context in ipairs(context_fields) do placed = placed or context[1] == name end
  end
  return placed
end

return options
