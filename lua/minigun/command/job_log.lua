--- The job log of `minigun each`: a line for each job, in the columns of GNU parallel's.
local minigun = require "minigun"

local job_log = {}
job_log.__index = job_log

local HEAD <const> = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"

--- A command as it stands in the log: on one line, without tabs.
---@param command string
---@return string
function job_log.shown(command) return (command:gsub("[\t\n]", " ")) end

--- The commands that a log says have ended with 0, each as often as it says so.
---@param path string
---@return table counts by command, as it is shown; nil where the log cannot be read
---@return string? message
function job_log.done(path)
  local file, message = io.open(path)
  if not file then return nil, message end
  local counts = {}
  for line in file:lines() do
    local exit, signal, command = line:match "^%d+\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\t(%-?%d+)\t(%d+)\t(.*)$"
    if exit == "0" and signal == "0" then counts[command] = (counts[command] or 0) + 1 end
  end
  file:close()
  return counts
end

-- Whether the last line of a file is there in part, as on a disk that was full.
local function is_torn(path)
  local file <close> = io.open(path)
  return file and file:seek("end", -1) and file:read(1) ~= "\n"
end

--- Opens a log.
---@param path string
---@param append boolean go on with the log that is there
---@return table? log or nil, a message
function job_log.open(path, append)
  local file, message = io.open(path, append and "a" or "w")
  if not file then return nil, message end
  if file:seek "end" == 0 then file:write(HEAD)
  elseif append and is_torn(path) then
    file:write "\t\t\n" -- no command that is shown has tabs: it is no job's line
    file:flush()
  end
  return setmetatable({ file = file, started = os.time(), start = minigun.now() }, job_log)
end

--- Notes a job that has ended.
---@param job table `number`, `command`, `result` as of minigun.command, `begun` seconds of minigun.now
---@return any ok nil: the file has not taken it
---@return string? message
function job_log:write(job)
  local result = job.result
  local ok, message = self.file:write(("%d\t:\t%.3f\t%.3f\t0\t%d\t%d\t%d\t%s\n"):format(job.number,
    self.started + job.begun - self.start, result.seconds, #result.out, result.code or -1, result.signal or 0,
    job_log.shown(job.command)))
  if ok then ok, message = self.file:flush() end -- what has ended is there, whatever comes
  return ok, message
end

return job_log
