--- Makes pipelines from descriptions (generate.lua), runs them, and keeps account of what came out.
local acts = require "spec.property.acts"
local code = require "minigun.cluster.code"
local core = require "minigun.core"
local generate = require "spec.property.generate"
local execution = require "minigun.control.execution"
local host = require "minigun.cluster.host"
local minigun = require "minigun"
local model = require "spec.property.model"
local nests = require "spec.property.nests"
local plan = require "minigun.plan.plan"
local redis_url = require "minigun.base.redis_url"
local values = require "spec.property.values"

local build = {}

local TERM <const> = 15

-- Some raise, some refuse.
local function refuse(hook)
  if core.now() * 1e6 // 1 % 2 == 0 then error { hook } end
  return nil, hook .. " refuses"
end

minigun.register("spec.property", values.Hooked, function(object)
  if object.refuses == "dump" then return refuse "dump" end
  return { 1 }
end, function() return refuse "load" end)

local main_pid <const> = core.pid()

local function die(how, ctx)
  if ctx.pid == main_pid then error("would die: " .. how) end
  if how == "exit" then os.exit(3) end
  os.execute("kill -9 " .. ctx.pid)
  core.sleep(10)
end

-- `names`: those that stages have in the pipeline.
local function make_world(names, emit, ctx)
  return {
    emit = emit, attempt = ctx.attempt, fail = error, sleep = minigun.sleep,
    to = function(name, value) emit:to(names[name], value) end,
    collect = function(name, value) ctx:collect(name, value) end,
    count = function(name, n) ctx:count(name, n) end,
    die = function(how) die(how, ctx) end,
  }
end

-- The world of a function that gets its item alone and returns what is emitted.
local function plain(s)
  return function(item)
    local list = {}
    acts.handle(s, item, { emit = function(value) list[#list + 1] = value end, fail = error })
    return list
  end
end

local handlers = {}

build.files = {} -- that sources read: to be removed at the end

-- A source for items that are texts, or numbers one after the other: lines or rows of a file, or a range. What a
-- smaller description has left of them may be neither.
local function described(items)
  local all = {}
  for _, item in ipairs(items) do all[math.type(item) or type(item)] = true end
  local kind = next(all)
  if next(all, kind) ~= nil or kind ~= "string" and kind ~= "integer" then return items end
  if kind == "string" then
    local path = os.tmpname()
    build.files[#build.files + 1] = path
    local file <close> = assert(io.open(path, "w"))
    file:write(table.concat(items, "\n"), "\n")
    return minigun.lines(path)
  end
  for i, item in ipairs(items) do
    if item ~= items[1] + i - 1 then return items end
  end
  return minigun.range(items[1], items[#items])
end

function handlers.producer(s, _, names)
  if s.source == "described" then return described(s.items) end
  if s.source == "array" then return s.items end
  if s.source == "iterator" then
    local at = 0
    return function()
      at = at + 1
      return values.copy(s.items[at])
    end
  end
  local function rest(i) -- a source that sleeps after every so many items
    if s.rests and i % s.rests == 0 and i < 60 then minigun.sleep(0.002) end
  end
  if s.source == "coroutine" then
    return coroutine.wrap(function()
      for i, item in ipairs(s.items) do
        coroutine.yield(item)
        rest(i)
      end
    end)
  end
  return function(emit, ctx)
    local world = make_world(names, emit, ctx)
    for i, item in ipairs(s.items) do
      rest(i)
      if s.ends and i > s.ends.after then break end
      acts.handle(s, values.copy(item), world)
    end
    if not s.ends then return end
    if s.ends.how == "fail" then error "the producer fails" end
    die(s.ends.how, ctx)
  end
end

function handlers.map(s)
  local f = plain(s)
  return function(item) return f(item)[1] end
end

handlers.flat_map = plain

function handlers.filter(s)
  local f = plain(s)
  return function(item) return #f(item) > 0 end
end

function handlers.each(s)
  local f = plain(s)
  return function(item) f(item) end
end

function handlers.processor(s, d, names)
  return function(item, emit, ctx)
    local world = make_world(names, emit, ctx)
    if s.letters then
      for _, text in ipairs(model.letter_texts(d, item)) do emit(text) end
    elseif s.batch or s.takes_batches then
      acts.handle_batch(s, item, world)
    else
      acts.handle(s, item, world)
    end
  end
end

handlers.consumer, handlers.accumulator = handlers.processor, handlers.processor

function handlers.stage(s, d, names)
  local handle_item = handlers.processor(s, d, names)
  return function(input, emit, ctx)
    local seen = 0
    for item in input do
      handle_item(item, emit, ctx)
      seen = seen + 1
    end
    if d.faults == 0 and seen > 0 then ctx:count("after loops", seen) end
  end
end

function handlers.reduce(s)
  local f = plain(s)
  return function(sum, item)
    f(item)
    return sum + values.chance(s.salt, item, 1000)
  end
end

-- What says in options how large a context is.
local function size_of(context)
  if context.kind == "inline" then return true end
  if context.kind == "cluster" then return { url = generate.url, ordered = context.ordered } end
  local recycled = context.recycled
  if not context.ordered and not recycled then return context.n end
  local options = { [generate.workers[context.kind].size] = context.n, ordered = context.ordered }
  for name, value in pairs(recycled or {}) do
    options[name] = (name == "max_age" or name == "idle_timeout") and value * 0.002 or value
  end
  return options
end

-- Puts what says where a stage runs among options.
local function put_context(options, context)
  options.threads = context.threads
  options[context.kind] = size_of(context)
  return options
end

local function options_of(s, context, to)
  local options = { to = to, retries = s.retries, backoff = s.backoff, queue = s.queue, await = s.await,
    dead_letter = s.dead_letter, rate = s.rate and 20000, delay = s.delay and 0.001 }
  if s.route == "round_robin" then options.route = s.route
  elseif s.route then options.route = function(item) return acts.route(s, item) end end
  if s.partition then options.partition = function(item) return acts.key(s.partition, item) end end
  if s.batch then
    options.max_size, options.max_wait = s.batch.max_size, s.batch.max_wait
    if s.batch.by then options.by = function(item) return acts.key(s.batch.by, item) end end
  end
  if context and context.how == "own" then put_context(options, context)
  elseif context and context.how == "named" then options.context = context.name end
  return options
end

--- Makes the pipeline of a description.
---@param d table
---@return table pipeline
---@return table names of its stages by those in the description
function build.pipeline(d)
  local p = minigun.pipeline("property", { failures = "collect", keep_failures = 1 << 30, memory = d.memory,
    max_restarts = 1 << 30 })
  for i, context in ipairs(d.contexts) do
    if context.how == "named" then
      context.name = "context " .. i
      p:context(context.name, put_context({}, context))
    end
  end
  local names = nests.names(d)
  -- How targets are called at a stage of a nested pipeline (its number), or outside of all.
  local function targets(outputs, nest)
    local list = {}
    for i, name in ipairs(outputs) do
      local whole = names[name]:match "^(.*)%."
      local own = nest and whole == nests.name(nest)
      if nest and not own then return {} end -- an exit: the nested pipeline says it for all of them
      list[i] = own and name or whole or name
    end
    return list
  end
  local function define(q, s, nest)
    local handler = handlers[s.kind] and handlers[s.kind](s, d, names)
    local options = options_of(s, d.contexts[s.context], targets(s.outputs, nest))
    if s.fold then
      options.combine = function(x, y) return x + y end
      q:reduce(s.name, 0, handler, options)
    else
      q[s.kind](q, s.name, options, handler)
    end
  end
  local function define_all(q, at, stop, nest)
    while at <= stop do
      local first, number = at, d.stages[at].context
      local context, last, beyond = d.contexts[number], nil, nil
      if not nest then last, beyond = nests.at(d, at) end
      if last then
        local inner = d.stages[at].nest
        q:pipeline(nests.name(inner), { to = targets(beyond) }, function(r) define_all(r, first, last, inner) end)
        at = last + 1
      elseif context and context.how == "group" then
        while at <= stop and d.stages[at].context == number do at = at + 1 end
        local function define_group()
          for i = first, at - 1 do
            if context.threads and i % 2 == 0 then
              q:threads(context.threads, function() define(q, d.stages[i], nest) end)
            else
              define(q, d.stages[i], nest)
            end
          end
        end
        if context.kind == "inline" then q:inline(define_group)
        elseif context.kind == "cluster" then q:cluster(generate.url, { ordered = context.ordered }, define_group)
        else q[context.kind](q, size_of(context), define_group) end
      else
        define(q, d.stages[at], nest)
        at = at + 1
      end
    end
  end
  define_all(p, 1, #d.stages)
  return p, names
end

-- --- worker hosts --------------------------------------------------------------------------------------------------

-- In a process of its own: a worker host of a stage of the pipeline, whose functions came with the fork.
local function be_host(p, built, stage, url)
  local file = type(arg) == "table" and arg[0] or ""
  local own = host.new { address = assert(redis_url.parse(url)), stages = built.stages,
    addresses = built.addresses[stage.id], pipeline = p.name, stage = stage.name, retries = stage.retries,
    processes = 1, tell = function(text) io.stderr:write(text, "\n") end,
    code = code.sum(file, stage.name, require("minigun.redis").sha256) }
  own:define(minigun.pipeline "host", stage):run { failures = "collect", progress = false, max_restarts = 1 << 30 }
end

--- Starts a worker host for each stage of a pipeline that is in a cluster.
---@param p table
---@return table hosts to be closed
function build.hosts(p)
  local built, hosts = plan.build(p), {}
  for _, segment in ipairs(built.segments) do
    if segment.kind == "cluster" then
      local process, pid = core.fork(be_host, p, built, built.stages[segment.stages[1]], segment.worker.url)
      hosts[#hosts + 1] = { process = assert(process, pid), pid = pid }
    end
  end
  return setmetatable(hosts, { __close = function()
    for _, own in ipairs(hosts) do core.kill(own.pid, TERM) end
    for _, own in ipairs(hosts) do
      while not own.process:reap() do core.sleep(0.005) end
      own.process:close()
    end
  end })
end

-- --- running -----------------------------------------------------------------------------------------------------

local function status_text(r)
  local status, lines = r.status:snapshot "hangs", {}
  for i, stage in ipairs(status.stages) do
    lines[i] = ("  %s: %d pending, %d in, %d out"):format(stage.name, stage.pending, stage.items_in, stage.items_out)
  end
  return ("%d items, %d failures, %d workers\n%s"):format(#r.outcome.result.items, r.outcome.result.failed,
    r.status:workers(), table.concat(lines, "\n"))
end

--- The doors of a run: each runs a pipeline and returns its result, or nil and what it hangs in.
build.doors = {}

function build.doors.run(p, seconds)
  local self <close> = execution.new(p, {})
  local deadline = core.now() + seconds
  if execution.begin(self) and execution.go_on(self, deadline) then return nil, status_text(self.run) end
  return execution.outcome(self)
end

function build.doors.start(p, seconds)
  local run <close> = p:start()
  local deadline = core.now() + seconds
  while run:step(0.01) do
    if core.now() > deadline then return nil, status_text(run.run) end
  end
  return run:wait()
end

-- --- account -----------------------------------------------------------------------------------------------------

local function put(bag, text) bag[text] = (bag[text] or 0) + 1 end

-- A batch that came out whole: its items, after a look at the batch.
local function check_batch(s, batch, problems)
  if #batch == 0 or #batch > s.batch.max_size then
    problems[#problems + 1] = ("%s: a batch of %d items, at most %d expected"):format(s.name, #batch, s.batch.max_size)
  end
  for _, item in ipairs(batch) do
    if s.batch.by and acts.key(s.batch.by, item) ~= acts.key(s.batch.by, batch[1]) then
      problems[#problems + 1] = ("%s: a batch of several keys"):format(s.name)
      break
    end
  end
  return batch
end

--- The account of a result, to be compared with the model's.
---@param d table
---@param result table
---@return table account
---@return table problems array of texts: what is wrong by itself
function build.account(d, result)
  local account, problems, names = model.account(d), {}, nests.names(d)
  local terminal = 0
  for _, s in ipairs(d.stages) do
    local label = model.label(s)
    if #s.outputs == 0 then
      for _, item in ipairs(result:of(names[s.name])) do
        terminal = terminal + 1
        for _, one in ipairs(s.kind == "batch" and check_batch(s, item, problems) or { item }) do
          put(account.results[label], values.text(one))
        end
      end
    end
    for key in pairs(account.stats[label]) do
      account.stats[label][key] = account.stats[label][key] + result.stats.stages[names[s.name]][key]
    end
  end
  if terminal ~= #result.items then
    problems[#problems + 1] = ("result.items has %d items, the terminal stages %d"):format(#result.items, terminal)
  end
  for _, failure in ipairs(result.failures) do
    model.add_failure(account, d, d.by_name[failure.stage:match "[^.]+$"], failure.kind, failure.attempts, failure.item)
  end
  for name, list in pairs(result.collected) do
    account.collected[name] = {}
    for _, value in ipairs(list) do put(account.collected[name], values.text(value)) end
  end
  for name, n in pairs(result.counters) do account.counters[name] = n end
  for _, warning in ipairs(result.stats.warnings) do
    local expected = warning:find "in the middle of the loop" or warning:find "stood still" -- where all is slow
      or warning:find "emits a table again" -- after hundreds of items, see given.lua
    if not expected then problems[#problems + 1] = "warning: " .. warning end
  end
  return account, problems
end

return build
