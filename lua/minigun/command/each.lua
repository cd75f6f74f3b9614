--- `minigun each COMMAND`: a command for each line of the standard input, several at once.
local input = require "minigun.command.input"
local minigun = require "minigun"
local job_log = require "minigun.command.job_log"
local status = require "minigun.command.status"
local template = require "minigun.command.template"
local terminate = require "minigun.system.terminate"

local each = {
  name = "each",
  stops = true,
  summary = "a command for each line of the standard input, several at once",
  about = [[
    Runs COMMAND for each line: {} is the line, {.} without extension, {/} without directories, {//} the
    directory, {/.} without both, {#} the number of the job; without a mark the line comes last. What a command
    prints comes whole, when it has ended. A command that fails is named on standard error, and the exit status
    is 1 then. After ::: come lines in place of the standard input.]],
  options = {
    { "-j --jobs", "N", "N commands at once; one for each processor by default", convert = "count" },
    { "-k --keep-order", nil, "print in the order of the lines" },
    { "-0 --null", nil, "lines end with zero bytes (find -print0)", name = "null" },
    { "--retries", "N", "further attempts for a command that fails", convert = "natural" },
    { "--timeout", "SECONDS", "end a command that takes longer: it has failed", convert = "seconds" },
    { "--joblog", "F", "a line for each job in F: start, seconds, exit status, signal, command", name = "job_log" },
    { "--resume", nil, "leave out what the job log says has ended with 0, and go on with that log" },
    { "--halt", "WHEN", "never; soon,fail=N or now,fail=N: after N failed jobs begin no more, or end all; N% of the " ..
      "jobs so far" },
    { "--dry-run", nil, "print the commands, and run none" },
  },
  arguments = { { "COMMAND", "what to run; several words are joined with blanks", args = "+" } },
  examples = {
    { "ls *.png | minigun each -j 4 --timeout 10 --joblog log.tsv 'convert {} {.}.jpg'", "four at once, with a log" },
    { "minigun each 'gzip -k {}' ::: a.txt b.txt", "the lines on the command line" },
  },
}

-- Splits the words at ":::". Returns the command and the lines after it, nil: they are on the standard input.
local function split(words)
  for i, word in ipairs(words) do
    if word == ":::" then
      return table.concat(words, " ", 1, i - 1), table.move(words, i + 1, #words, 1, {})
    end
  end
  return table.concat(words, " "), nil
end

-- What `--halt` says: when, and a function of the failed jobs and all jobs that says whether that is so.
local function halt_of(text)
  if not text or text == "never" then return nil end
  local when, number, percent = text:match "^(%a+),fail=(%d+)(%%?)$"
  number = tonumber(number)
  if when ~= "now" and when ~= "soon" or not number or number < 1 then
    status.wrong_call(("each: option --halt needs never, soon,fail=N or now,fail=N, with a number or a percentage " ..
      "such as 10%% for N, got '%s'"):format(text))
  end
  return { when = when, reached = function(failed, all)
    return percent == "" and failed >= number or percent == "%" and all >= 3 and failed * 100 >= number * all
  end }
end

local function open_log(given)
  if not given.job_log then
    if given.resume then status.wrong_call "each: option --resume needs --joblog" end
    return nil, {}
  end
  local log, message = job_log.open(given.job_log, given.resume)
  local done = {}
  if log and given.resume then done, message = job_log.done(given.job_log) end
  if not (log and done) then status.complain(("each: cannot open the job log: %s"):format(message), status.FAILED) end
  return log, done
end

-- What an attempt of a job has come to: raised where the command has failed, as the job is a failure then.
local Failed <const> = { __name = "minigun.each" }

function Failed:__tostring()
  local result = self.result
  return ("%s: %s"):format(self.command, result.timed_out and "ended by its time-out" or
    result.signal and "ended by signal " .. result.signal or "exit status " .. tostring(result.code))
end

local function run_job(job, given)
  job.begun = minigun.now()
  local result, message = minigun.command(template.words(job.command), { timeout = given.timeout, limit = 1 << 30 })
  if not result then -- the shell says so with these numbers
    result = { ok = false, code = 127, out = "", err = ("minigun: %s\n"):format(message), seconds = 0 }
  end
  job.result = result
  if not result.ok then error(setmetatable(job, Failed)) end
end

local function print_output(job)
  if job.result.out ~= "" then status.print(job.result.out) end
  io.stderr:write(job.result.err)
  if not job.result.ok then io.stderr:write("minigun: each: ", tostring(job), "\n") end
end

-- Prints a job that has ended, at once or when its turn has come.
local function ended(run, job)
  run.all = run.all + 1
  local ok, message = true, nil
  if run.log then ok, message = run.log:write(job) end
  if not ok then run.halted, run.fault = true, run.fault or "cannot write the job log: " .. message end
  if not run.keep_order then return print_output(job) end
  run.ready[job.turn] = job
  while run.ready[run.turn] do
    print_output(run.ready[run.turn])
    run.ready[run.turn], run.turn = nil, run.turn + 1
  end
end

-- After a halt: what waits for its turn, and that there was one.
local function print_rest(run)
  local turns = {}
  for turn in pairs(run.ready) do turns[#turns + 1] = turn end
  table.sort(turns)
  for _, turn in ipairs(turns) do print_output(run.ready[turn]) end
  local why = run.fault or ("%d of %d jobs have failed"):format(run.failed, run.all)
  io.stderr:write("minigun: each: halted: ", why, "\n")
end

local function lines_of(list)
  local i = 0
  return function()
    i = i + 1
    return list[i]
  end
end

-- The jobs: a producer that numbers the lines and leaves out what is done.
local function jobs(command, lines, given, run)
  local source = lines and lines_of(lines) or input.source(given.null)
  return function(emit)
    local number, turn = 0, 0
    for line in source do
      if run.halted then return end
      number = number + 1
      local text = template.fill(command, line, number)
      local shown = job_log.shown(text)
      if (run.done[shown] or 0) > 0 then run.done[shown] = run.done[shown] - 1
      else
        turn = turn + 1
        emit { number = number, turn = turn, command = text }
      end
    end
  end
end

local function define(command, lines, given, run)
  local p = minigun.pipeline "each"
  p:producer("jobs", jobs(command, lines, given, run))
  p:processor("run", { threads = given.jobs or minigun.cpus(), retries = given.retries }, function(job)
    if run.halted or terminate.asked() then return end -- what has not begun does not begin
    run_job(job, given)
    ended(run, job)
  end)
  p:on_failure(function(failure)
    local job = failure.error
    run.failed = run.failed + 1
    if type(job) ~= "table" then return io.stderr:write("minigun: each: ", input.problem(failure.message), "\n") end
    ended(run, job)
    if not run.halt or not run.halt.reached(run.failed, run.all) then return end
    run.halted = true
    if run.halt.when == "now" then return "stop" end
  end)
  return p
end

---@param given table
---@return integer status
function each.run(given)
  local command, lines = split(given.command)
  if command == "" then status.wrong_call "each: the COMMAND is missing" end
  local log, done = open_log(given)
  local run = { all = 0, failed = 0, halt = halt_of(given.halt), log = log, done = done, keep_order = given.keep_order,
    ready = {}, turn = 1, fault = nil }
  if given.dry_run then
    jobs(command, lines, given, run)(function(job) print(job.command) end)
    return status.DONE
  end
  define(command, lines, given, run):run { progress = false }
  if run.halted then print_rest(run) end
  return (run.failed > 0 or run.fault) and status.FAILED or status.DONE
end

return each
