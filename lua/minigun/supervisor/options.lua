--- What a supervisor takes: the schema of its options, and the addresses in them.
local failure = require "minigun.base.failure"
local schema = require "minigun.base.schema"
local types = require "minigun.base.types"

local options = {}

-- "host:port", "[::1]:port", ":port", "unix:/path", "unix:@name", or a port as a number.
local function address(text)
  if math.type(text) == "integer" then text = ":" .. text end
  if type(text) ~= "string" or text:find "%z" then return nil end
  local path = text:match "^unix:(.+)$"
  if path then return { text = text, path = path } end
  local host, port = text:match "^%[([%x:.]+)%]:(%d+)$"
  if not host then host, port = text:match "^([^:%[%]]*):(%d+)$" end
  if not port or tonumber(port) > 65535 then return nil end
  if host == "" then host = "127.0.0.1" elseif host == "*" then host = "0.0.0.0" end
  return { text = text, host = host, port = port }
end

local addresses = {
  text = '"host:port", "[::1]:port", "unix:/path", a port, or an array of these',
  lua = "string|integer|(string|integer)[]",
  check = function(value)
    if type(value) ~= "table" then value = { value } end
    local list = {}
    for i = 1, rawlen(value) do
      list[i] = address(rawget(value, i))
      if not list[i] then return false end
    end
    return #list > 0 or next(value) == nil, list
  end,
}

local workers = {
  text = types.worker_count.text .. ', or "auto"', lua = 'integer|"auto"',
  check = function(value)
    if value == "auto" then return true, value end
    return types.worker_count.check(value)
  end,
}

local seconds, limit = types.seconds(false), types.integer(1)

-- A number of seconds, or no limit.
local timeout = {
  text = "a number of seconds above 0, or false", lua = "number|false",
  check = function(value)
    if value == false then return true, false end
    return seconds.check(value)
  end,
}

local back_off_fields = {
  { "first", types.wait, default = 0.05, doc = "seconds before the first restart" },
  { "factor", types.number(1), default = 2, doc = "how many times longer each further wait is" },
  { "max", types.wait, default = 30, doc = "the longest wait in seconds" },
  { "jitter", types.number(0, 1), default = 0.5,
    doc = "the part of each wait that is left to chance: with 0.5 it is between half of it and all of it" },
}

--- The schemas: of `minigun.supervisor(options)`, and of what stands inside `back_off`.
options.schemas = { back_off = schema.new("back_off", { back_off_fields }) }

local back_off = {
  text = "{ first =, factor =, max =, jitter = }", lua = "minigun.BackOffOptions",
  check = function(value, subject, name)
    if type(value) ~= "table" then return false end
    return true, schema.fill(options.schemas.back_off, schema.check(options.schemas.back_off, value,
      ("%s: %s"):format(subject, name)))
  end,
}

local what_fields = {
  { "name", types.name, default = "server", doc = "how it is called in messages" },
  { "listen", addresses, default_text = "inherited sockets",
    doc = "where it listens: opened once, before the forks. `*` as host is every IPv4 address, `[::]` every IPv6 " ..
      "one; `unix:@name` is a socket without a file. Sockets that the program has inherited (`LISTEN_FDS` of " ..
      "systemd) are used for the addresses that they have; other inherited sockets come after these" },
  { "backlog", types.integer(1, 65535), default = 1024, doc = "connections that may wait to be accepted, per socket" },
  { "workers", workers, default = "auto", doc = "worker processes; \"auto\": one per CPU" },
  { "loop", types.choice { "epoll", "select", "copas", "cqueues", "luv", "event" }, default_text = "none",
    doc = "the event loop of a worker, see `minigun.loop`; without one it may block in `w:accept()`" },
  { "worker", types.callable, default_text = "must be given", doc = "`function(w)`: what a worker does" },
}

local time_fields = {
  { "start_timeout", seconds, default = 30, doc = "seconds until a worker must be ready; then it is killed" },
  { "stop_timeout", seconds, default = 30,
    doc = "seconds that a worker has to finish what is in hand; then it is killed" },
  { "heartbeat_timeout", timeout, default = 60,
    doc = "seconds without a beat after which a worker that does not wait counts as stuck: its traceback goes to " ..
      "standard error, and it is killed and replaced. false: never" },
  { "back_off", back_off, default_text = "`{}`", doc = "how long a worker that has died waits for its successor, " ..
    "see below" },
  { "healthy_after", seconds, default = 10,
    doc = "seconds for which a worker must have been ready for its next restart to be at once again" },
  { "max_restarts", types.integer(0), default_text = "10, or 2 for each worker",
    doc = "deaths of workers in `restart_window` that the server bears; one more, and it gives up" },
  { "restart_window", seconds, default = 60, doc = "seconds over which deaths are counted" },
}

local recycle_fields = {
  { "max_requests", limit, default_text = "none", doc = "requests (`w:done()`) after which a worker is replaced" },
  { "max_age", seconds, default_text = "none", doc = "seconds after which a worker is replaced" },
  { "max_memory", types.bytes(1), default_text = "none",
    doc = "resident memory at which a worker is replaced, looked at once a second" },
  { "recycle_jitter", types.number(0, 1), default = 0.1,
    doc = "the part of these three that is left to chance, so that workers are not all replaced at once" },
}

local process_fields = {
  { "user", types.name, default_text = "as started",
    doc = "the user that workers become, after the sockets are open" },
  { "group", types.name, default_text = "the user's", doc = "the group that workers become" },
  { "pid_file", types.path, default_text = "none", doc = "a file that holds the number of the master while it serves" },
  { "log", types.callable, default_text = "standard error",
    doc = "`function(text)`: gets each message of the supervisor, without a newline" },
}

local hook_fields = {
  { "before_fork", types.callables, default_text = "none", doc = "in the master, before each fork: `f(number)`" },
  { "after_fork", types.callables, default_text = "none", doc = "in a worker, before anything else: `f(w)`" },
  { "on_ready", types.callables, default_text = "none",
    doc = "in the master, when a worker is ready: `f(worker)`, a `minigun.WorkerStatus`" },
  { "on_exit", types.callables, default_text = "none",
    doc = "in the master, when a worker has ended: `f(worker, cause)`; `cause` has `code` or `signal`, `expected`, " ..
      "`text`, `stderr` (its last lines)" },
  { "on_giving_up", types.callables, default_text = "none",
    doc = "in the master, when it gives up: `f(reason)`" },
  { "reopen", types.callables, default_text = "none",
    doc = "in the master and in each worker after SIGUSR1, to open log files anew; `f(w)` in a worker, `f()` in the " ..
      "master" },
}

options.schemas.supervisor = schema.new("supervisor",
  { what_fields, time_fields, recycle_fields, process_fields, hook_fields })

--- Checks what the user has given, and fills it in.
---@param given table
---@param cpus fun(): integer processors that may be used
---@return table filled
function options.check(given, cpus)
  if type(given) ~= "table" then
    failure.raise(("minigun.supervisor: a table of options expected, got %s"):format(schema.got(given)))
  end
  local name = type(given.name) == "string" and given.name or "server"
  local subject = ("supervisor '%s'"):format(name)
  local filled = schema.fill(options.schemas.supervisor, schema.check(options.schemas.supervisor, given, subject))
  if not filled.worker then failure.raise(subject .. ": option 'worker' is missing: worker = function(w) ... end") end
  if filled.workers == "auto" then filled.workers = cpus() end
  filled.back_off = filled.back_off or schema.fill(options.schemas.back_off)
  filled.max_restarts = filled.max_restarts or math.max(10, 2 * filled.workers)
  return filled
end

return options
