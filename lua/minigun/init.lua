--- Minigun: multi-stage data pipelines over every core of a machine.
-- What a wrong Lua, or a core that is missing or old, would say by itself helps no user. (Lua 5.1 reads this file too.)
if _VERSION ~= "Lua 5.4" and _VERSION ~= "Lua 5.5" then
  error("minigun is for Lua 5.4 and 5.5, and this is " .. _VERSION .. ": run the program with lua5.4", 0)
end
local found, core = pcall(require, "minigun.core")
if not found then
  error("minigun: its part in C cannot be loaded: run 'make' in its source tree; or, where it is built, name its " ..
    "directory in LUA_CPATH ('make install' prints how)\n" .. tostring(core), 0)
end
setmetatable(core, { __index = function(_, name)
  error("minigun: its part in C has no '" .. tostring(name) .. "': it was built from older sources than these Lua " ..
    "files; run 'make' again, and 'make install' where it is installed", 0)
end })
local errors = require "minigun.base.traceback"
local failure = require "minigun.base.failure"
core.on_raise(errors.hook_raised)

-- All else is loaded at its first use: a program that makes no pipeline does not wait for it.
local function later(module)
  return function() return require(module) end
end

-- The same, of what has options.
local function with_options(module)
  return function()
    require "minigun.language.schemas" -- of the options of all
    return require(module)
  end
end

local context, current = later "minigun.handlers.ctx", later "minigun.handlers.current"
local range, several = later "minigun.sources.range", later "minigun.futures.several"
local command, lines = with_options "minigun.handlers.command", with_options "minigun.sources.lines"
local spool, supervisor = with_options "minigun.store.spool", with_options "minigun.supervisor.server"
local server, client = with_options "minigun.service.server", with_options "minigun.service.client"

local ready = false

-- What makes pipelines; with it what a run loads, or the first one would take 4 ms longer than the others.
local function pipelines()
  if not ready then
    ready = true
    require "minigun.control.to_end"
    local machine = require("minigun.plan.plan").machine -- rooms that may not touch the system are given what they need
    machine.cpus, machine.sow = require("minigun.system.machine").cpus, require("minigun.system.seeds").sow
  end
  return require "minigun.pipeline"
end

local function shorthand(method, ...) return require("minigun.language.one_liners")[method](pipelines().new, ...) end

-- Where this file was found by a relative path, the others are found beside it also when the program has changed its
-- directory.
local root = tostring((select(2, ...))):match "^(.*/)init%.lua$"
local directory = root and not root:find "^/" and core.link "/proc/self/cwd"
if directory then
  table.insert(package.searchers, function(name)
    local rest = name:match "^minigun%.(.+)"
    local path = root .. (rest or ""):gsub("%.", "/") .. ".lua"
    local file <close> = rest and io.open(directory .. "/" .. path, "rb")
    if file then return assert(load(file:read "a", "@" .. path)), path end
  end)
end

local minigun = {}

---@type string the version of the library
minigun.version = core.version

--- Makes a pipeline, empty or from a table.
---@param name string|minigun.Definition? shown in messages, "pipeline" by default; or the whole pipeline as a table
---@param options minigun.PipelineOptions?
--- of its runs (those given to `run` override them), and defaults for its stages: the nearest wins, of what a stage
--- says, the context that it names, the groups around it, its pipeline, and the pipelines around that
---@return minigun.Pipeline pipeline
minigun.pipeline = function(name, options) return pipelines().new(name, options) end

--- Calls f for every element of a list, over all cores; the results in the order of the list.
---@generic T, R
---@param list T[]
---@param f fun(element: T): R? nil leaves a hole
---@param options minigun.ListOptions? of a stage (`processes = 4`, `retries = 2`) and of a run (`memory = "64M"`)
---@return R[] results
---@return minigun.Failure[]? failures with `failures = "collect"`: each shows the element, the results have holes there
function minigun.map(list, f, options) return shorthand("map", list, f, options) end

--- Calls f for every element of a list, over all cores, for what it does.
---@generic T
---@param list T[]
---@param f fun(element: T)
---@param options minigun.ListOptions? as for `map`
---@return minigun.Failure[]? failures with `failures = "collect"`
function minigun.each(list, f, options) return shorthand("each", list, f, options) end

--- Folds a list into one value, over all cores.
---@generic T, R
---@param list T[]
---@param init R what comes out for an empty list; a function makes it
---@param f fun(value: R, element: T): R associative, or given with `combine`, see `p:reduce`
---@param options minigun.ListOptions? as for `map`, and `combine`
---@return R value
---@return minigun.Failure[]? failures with `failures = "collect"`
function minigun.reduce(list, init, f, options) return shorthand("reduce", list, init, f, options) end

--- Makes an executor of a function: workers that stay, which call it for items that are submitted one by one, each
--- with a future: `local pool <close> = minigun.executor(parse, { processes = 4 })`, `pool:submit(item):result()`. See
--- docs/executor.md; `p:open` does the same with a whole pipeline.
---@param f fun(item: any): any what it returns is the future's result, nil too
---@param options minigun.ExecutorOptions? of a stage (`processes = 4`, `retries = 2`), of a run, and `backlog`
---@return minigun.Executor executor
minigun.executor = function(f, options)
  return require("minigun.executor.opening").of_function(pipelines().new, f, options)
end

--- Opens a spool: a file of values that any number of processes append to, and that is read back later. Made with
--- mode 0600 where there is none; a symbolic link or anything but a regular file is refused.
---@param path string
---@param options minigun.SpoolOptions?
---@return minigun.Spool? spool nil: it cannot be opened
---@return string? message
---@return integer? errno
minigun.spool = function(path, options) return spool().new(path, options) end

--- Runs a program and waits for its end. A list is executed as it is, its first word found in PATH; a text goes to
--- `/bin/sh -c`. In a handler of a context `threads` the other threads go on meanwhile. The program is a process group
--- of its own, which ends with this call, whatever ends that: `timeout`, the item's time-out, an error, the worker's
--- death (kill -9 too), the end of the run, Ctrl-C, the death of the program that runs the pipeline. When its first
--- process has ended, what that has left running in its group is killed. Only a process that makes itself a group or
--- session of its own escapes.
--- `local list = assert(minigun.command({ "ls", "-a" }, { cwd = "/", timeout = 10 }))`
---@param program string[]|string
---@param options minigun.CommandOptions?
---@return minigun.Command? result also of a program that has failed; nil: it could not be started
---@return string? message
---@return integer? errno
minigun.command = function(program, options) return command().run(program, options) end

--- Makes a source of lines: of files, one after the other, or of what is open already. Lines come without their newline
--- (a carriage return before it stays), as from `io.lines`; the last one needs none. A pipe, socket or terminal that
--- has no line yet holds nothing up: neither other producers nor what has been emitted. It is also an iterator:
--- `for line in minigun.lines "access.log" do`. A line may have 1 GiB; a longer one, and whatever cannot be read, ends
--- the producer as its failure, with the file's name.
---
--- A path may be a pattern (`*`, `?`, `[a-z]`); what it matches is looked up by each run, and sorted. A file whose name
--- ends in `.gz`, `.xz`, `.bz2` or `.zst` is unpacked on the way, by the system's `gzip`, `xz`, `bzip2` or `zstd`.
--- Files are opened by each run anew, one after the other; a file is read to the end that it has then. A file, a
--- descriptor and standard input are read by this object alone from now on, as it reads ahead; they are not closed. In
--- a worker files and pipes are read as in the coordinator, but standard input is the coordinator's.
---@param source string|string[]|integer|file*
--- a path or pattern, several, an open file (also of `io.popen`), a descriptor, or "-" for standard input
---@param options minigun.LinesOptions?
---@return minigun.Source lines raises where a file is not there, or may not be read, or a pattern matches none
function minigun.lines(source, options) return lines().new(source, options) end

--- Makes a source of other records: `minigun.records("names", { separator = "\0" })`. One of the options says how they
--- are told apart: `separator`, `fixed` or `length`. What a file ends with must be a whole record; of `separator` the
--- last one may do without it. All else is as for `minigun.lines`.
---@param source string|string[]|integer|file* as for `minigun.lines`
---@param options minigun.RecordsOptions
---@return minigun.Source records
function minigun.records(source, options) return lines().records(source, options) end

--- Makes a source of the rows of CSV (RFC 4180): each item is a table of texts. A field in quotes may have commas,
--- newlines and, written twice, quotes in it. Empty lines are passed over, also a byte order mark at the begin. A row
--- that has not as many fields as there are names, or something after a field's last quote, is a failure of its own, of
--- kind `malformed`, which shows it; the others go on. All else is as for `minigun.lines`.
---@param source string|string[]|integer|file* as for `minigun.lines`
---@param options minigun.CsvOptions?
---@return minigun.Source rows
function minigun.csv(source, options) return lines().csv(source, options) end

--- Makes a source of integers, as `for i = first, last, step` has them; however many these are, it takes no memory.
---@param first integer
---@param last integer
---@param step integer? 1 by default
---@return minigun.Source numbers
minigun.range = function(first, last, step) return range().new(first, last, step) end

--- Makes a source of the paths that match patterns (`*`, `?`, `[a-z]`), sorted, without directories. Each run looks
--- them up anew. What matches nothing gives nothing.
---@param patterns string|string[]
---@return minigun.Source paths
minigun.files = function(patterns) return range().files(patterns) end

--- Lets time go by. In a handler of a context `threads`, and in a producer, everything else goes on meanwhile; in an
--- inline stage workers and threads do, but not the other inline stages; in a worker its process sleeps, and in a hook
--- the coordinator does. A coroutine that the handler has made itself counts as a worker, unless it is the producer's
--- source (`coroutine.wrap`).
---@param seconds number
minigun.sleep = function(seconds) return current().sleep(seconds) end

--- Waits until a descriptor is ready, be it that of a socket, a pipe or a child process from `io.popen`. Like `sleep`
--- it lets other threads go on. What an open file has in its buffer already it does not see.
---@param object integer|userdata|table a descriptor, an open file, or an object with a method `getfd` or `pollfd`
---@param mode ("r"|"w")? "r", the default: there is something to read, or the end; "w": there is room to write
---@param timeout number? seconds; nil: no limit
---@return true? ready nil: the time is over first ("timeout"), or it cannot be waited for
---@return string? message
---@return integer? errno
minigun.wait = function(object, mode, timeout) return current().wait(object, mode, timeout) end

--- Makes a server of forked workers that share listening sockets: `local server = minigun.supervisor { listen = 8080,
--- worker = function(w) for connection in w:accept() do ... w:done() end end }`, then `os.exit(server:run())`. See
--- docs/server.md.
---@param options minigun.SupervisorOptions
---@return minigun.Supervisor server
minigun.supervisor = function(options) return supervisor().new(options) end

--- Writes a message to the log, from any process: one line, `[info] (pid 7): text`, which no other process's line
--- tears. In handlers `ctx:log` says besides where it comes from. See `minigun.logging`.
---@param level "debug"|"info"|"warning"|"error"
---@param text any
---@param fields table<string, any>? further values, shown as JSON
function minigun.log(level, text, fields)
  local record = context().message("minigun.log", level, text, fields)
  if not record then return end
  record.pid = core.pid()
  require("minigun.system.log").write(record)
end

--- Says what is logged and where it goes; what is not given stays as it is. Before the run: workers have it from their
--- fork. `MINIGUN_LOG=debug` in the environment gives the level, `MINIGUN_LOG="info json"` JSON too.
---@param options minigun.LogOptions
---@return true? ok nil: the file cannot be opened
---@return string? message
---@return integer? errno
function minigun.logging(options)
  local schemas = require "minigun.language.schemas"
  return require("minigun.system.log").configure(schemas.check(schemas.schemas.log, options, "logging"))
end

--- Goes through futures in the order in which they are settled, for a generic for: `minigun.as_completed(futures)`.
---@param futures minigun.Future[] of any pools and clients
---@param timeout number? seconds, after which the loop ends; nil: no limit
---@return fun(): minigun.Future?
minigun.as_completed = function(list, timeout) return several().as_completed(list, timeout) end

--- Waits until all of the futures are settled. A failure is not raised: `future:result()` does that.
---@param futures minigun.Future[]
---@param options minigun.WaitOptions?
---@return minigun.Future[] settled in the order in which they were
---@return minigun.Future[] others that are not
minigun.wait_all = function(list, options) return several().wait_all(list, options) end

--- Opens a service: processes that have nothing to do with this one attach to it by its path, through shared memory,
--- and ask. `service:serve(f)` answers with what f returns. See docs/service.md.
---@param path string of a Unix socket, best in a directory of mode 0700; "@name": one without a file
---@param options minigun.ServiceOptions?
---@return minigun.Service? service nil: it cannot listen there
---@return string? message
---@return integer? errno
minigun.service = function(path, options) return server().new(path, options) end

--- Connects to a service of another process.
---@param path string
---@param options minigun.ConnectOptions?
---@return minigun.Client? client nil: it is not there, or does not let this process in
---@return string? message
---@return integer? errno
minigun.connect = function(path, options) return client().new(path, options) end

--- Processors that this process may use: affinity and cgroup quota counted.
---@return integer
minigun.cpus = function() return require("minigun.system.machine").cpus() end

--- Seconds of the monotonic clock.
---@return number
minigun.now = core.now

--- Encodes a value as a string of bytes (MessagePack, see docs/wire-format.md); raises for what cannot be serialised.
---@param value any
---@return string bytes
minigun.encode = core.encode

--- Decodes such a string.
---@param bytes string
---@return any value nil: it is no such string
---@return string? message
minigun.decode = core.decode

--- Registers a type whose objects may travel between processes. Without `dump` and `load` the table's own contents are
--- sent, and the metatable is put back. Register in the coordinator, before the run.
---@param name string of 1 to 255 bytes, which stands for the type
---@param metatable table of the objects
---@param dump (fun(object: any): any)? gives a value that can be sent
---@param load (fun(value: any): any)? gives the object again
minigun.register = core.register

-- `minigun:pipeline(...)`, with a colon, is recognised here, once for all functions that are written in Lua.
for name, f in next, minigun do
  if type(f) == "function" and debug.getinfo(f, "S").what == "Lua" then
    minigun[name] = function(...)
      if rawequal((...), minigun) then
        failure.raise(("call minigun.%s with a dot, not a colon: minigun.%s(...)"):format(name, name))
      end
      return f(...)
    end
  end
end

return minigun
