--- `minigun run FILE`: runs a program, then the pipeline, or server, that it returns.
local program = require "minigun.command.program"
local status = require "minigun.command.status"

local run = {
  name = "run",
  stops = true,
  summary = "run a file; if it returns a pipeline, run that and print its result",
  about = [[
    Runs FILE, a Lua program; "-" is the standard input. Inside it `arg` and `...` are its arguments, as under
    lua. If the program returns a pipeline that has not run yet, this command runs the pipeline and prints the
    result. The options hold for every run of the program, whatever the program says. `minigun FILE` is the same
    without options, for a file whose first line is #!/usr/bin/env minigun. Exit status: 0 done; 1 failed items
    (also failures that the last run has only collected, unless FILE returns true), or an error in the run; 2 a
    wrong call, or a FILE that cannot be loaded; 130 Ctrl-C has ended it.]],
  options = {
    { "--inline", nil, "the whole pipeline in this one process, to debug it" },
    { "--workers", "N", "N workers in each pool, at most N forks at once", convert = "count" },
    { "--hud", nil, "the live view of each run: what goes where, how fast, and what waits; q asks, and stops the " ..
      "run; at the run's end q closes the view" },
    { "--job", "NAME", "go on where a run of this name was killed, also in clusters; after FILE, too. What is done " ..
      "is in NAME.journal: delete that file to start over" },
    { "--progress", "HOW", "plain: a line every five seconds, for logs" },
    { "--seed", "N", "the same numbers from math.random for the same items", convert = "integer" },
    { "--report", "F", "a report of the last run: one HTML page" },
    { "--trace", "F", "a trace of it for Perfetto and speedscope" },
    { "--metrics", "F", "its figures as Prometheus text, once in a second" },
  },
  arguments = { { "FILE", "the program" } },
  rest = true,
  options_after = "--job",
  examples = {
    { "minigun run job.lua access.log", "runs job.lua, whose arg[1] is access.log" },
    { "minigun run etl.lua --job nightly", "the same words go on with it where it was killed" },
    { "minigun run --inline job.lua", "the same in one process, for a debugger" },
  },
}

-- What is to be said, and the exit status, where the program returns nothing that tells.
local function status_of_last_run()
  local execution, served = program.loaded "control.execution", program.loaded "supervisor.server".last
  local last = execution.last
  if served and (served ~= 0 or not last) then return served end
  if not last then
    if program.loaded "pipeline".made then
      io.stderr:write "minigun: the program has defined a pipeline and run none; end it with p:run(), or return p\n"
    end
    return status.DONE
  end
  if not execution.last_unhandled then return status.DONE end
  io.stderr:write(("minigun: %s; if that is as it should be, let the program return true\n"):format(
    tostring(last):match "[^\n]*"))
  return status.FAILED
end

-- What the program's own run of a job warns of, as that there was nothing left to do: where the program does not print
-- it, its user would not know why nothing happens.
local function tell_of_job()
  local last = program.loaded "control.execution".last
  if not last or not program.loaded "plan.defaults".forced.job then return end
  for _, text in ipairs(last.stats.warnings) do io.stderr:write("minigun: warning: ", text, "\n") end
end

-- Runs the program, then the pipeline, or server, that it returns. Returns the exit status.
local function run_program(chunk, words)
  local value = chunk(table.unpack(words))
  local field = program.field
  local method = field(value, "run")
  if method == nil and type(field(value, "worker")) == "function" and getmetatable(value) == nil then
    status.complain(("%s returns the table of a server: use minigun serve %s"):format(arg[0], arg[0]), status.USAGE)
  end
  -- A pipeline that the file has run already keeps its last result, and a server its status.
  if type(method) == "function" and field(value, "last") == nil then
    local is_server = program.class_of(value) == "minigun.supervisor"
    value = value:run()
    if not is_server then print(tostring(value)) end
  else
    tell_of_job()
    if type(method) == "function" then value = field(value, "last") end
  end
  if type(value) == "boolean" then return value and status.DONE or status.FAILED end
  if math.type(value) == "integer" and program.loaded "supervisor.server".last == value then return value end
  if type(value) == "table" and field(value, "ok") ~= nil then
    return field(value, "ok") and status.DONE or status.FAILED
  end
  return status_of_last_run()
end

local function force_runs(forced)
  local options, defaults = require "minigun.language.schemas", require "minigun.plan.defaults"
  for name, value in pairs(options.check(options.schemas.run, forced, "run")) do defaults.forced[name] = value end
end

---@param given table what the words say
---@return integer status
function run.run(given)
  program.force("run", { inline = given.inline, workers = given.workers, seed = given.seed, job = given.job,
    report = given.report, trace = given.trace, metrics = given.metrics, hud = given.hud,
    progress = given.progress }, force_runs)
  return program.run(given.rest, run_program)
end

return run
