--- The log: one line for each message, from whichever process, to standard error, a file, or a function.
--
-- A line is written by one call, and where that can tear it (a pipe, a terminal) under a lock that all processes of the
-- program take; so lines of several workers do not mix. A function gets records, and always in the coordinator's
-- process: a worker sends them there by the pipe through which also comes what it prints (run/output.lua). So what it
-- has logged before its death arrives.
local core = require "minigun.core"
local failure = require "minigun.base.failure"
local json = require "minigun.base.json"
local terminal_line = require "minigun.base.terminal_line"

local log = {
  PATIENCE = 10, -- seconds that a reader has to take a line
}

local LEVELS <const> = { debug = 1, info = 2, warning = 3, error = 4 }
local MARK <const> = "\1log " -- begins a record on its way to the coordinator
local STDERR <const> = 2
local ETIMEDOUT <const> = 110

local least, to, as_json = LEVELS.info, STDERR, false -- `to`: a descriptor, or a function
local owner = core.process()
local lost, why = 0, "" -- lines that were not taken since one was, and why
local torn = false      -- the last one that was not, is there in part

--- Whether it is a level.
---@param level any
---@return boolean
function log.is_level(level) return LEVELS[level] ~= nil end

--- Whether messages of a level are written.
---@param level string
---@return boolean
function log.wants(level) return LEVELS[level] >= least end

--- Whether a function takes the records, so that those of workers have to come to this process.
---@return boolean
function log.collects() return type(to) == "function" end

-- As text: `[info] pipeline/stage, worker 2 (pid 7): text`, in a file with the time before it.
local function line_of(record)
  local where = (record.pipeline or "") .. (record.stage and "/" .. record.stage or "")
    .. (record.worker and (", worker %d"):format(record.worker) or "")
  local fields = record.fields and " " .. json.encode(record.fields) or ""
  local line = ("[%s] %s%s(pid %d): %s%s\n"):format(record.level, where, where ~= "" and " " or "", record.pid,
    record.text, fields)
  return to == STDERR and line or record.time .. " " .. line
end

local function text_of(record) return as_json and json.encode(record) .. "\n" or line_of(record) end

-- A reader that stands still, as one that was stopped, makes nothing else stand still: what it does not take in time
-- is lost, and how much that was is the first that it gets when it reads again. A line that its pipe can hold it gets
-- whole, or not at all.
local function write(record)
  local text = text_of(record)
  if lost > 0 then
    text = text_of { level = "warning", pid = record.pid, time = record.time,
      text = ("%s of the log lost: %s"):format(failure.count(lost, "line"), why) } .. text
  end
  if torn then text = "\n" .. text end
  if to == STDERR then text = terminal_line.before_text() .. text end
  local ok, message, errno, part = core.write_line(to, text, lost > 0 and 0 or log.PATIENCE)
  if ok then lost, torn = 0, false return end
  lost, torn = lost + 1, torn or part
  why = errno == ETIMEDOUT and ("nobody read it for %g s"):format(log.PATIENCE) or message
end

local ESCAPES <const> = { ["\n"] = "\\n", ["\\"] = "\\\\" }

-- Sends a record to the process whose worker this one is. Returns false where it is none.
local function send(record)
  local fd = core.log_fd()
  local ok, bytes = pcall(core.encode, record)
  if not fd or not ok then return false end
  core.write_line(fd, MARK .. bytes:gsub("[\n\\]", ESCAPES) .. "\n")
  return true
end

--- Writes a record where the log goes.
---@param record table `level`, `text`, `pid`; `pipeline`, `stage`, `worker`, `attempt`, `fields`, where there are such
function log.write(record)
  if not log.wants(record.level) then return end
  record.time = record.time or os.date "!%Y-%m-%dT%H:%M:%SZ"
  if not log.collects() then return write(record) end
  if core.process() ~= owner and send(record) then return end
  to(record)
end

--- Takes the records out of what a worker has written.
---@param lines string whole lines
---@return string lines without them
function log.take(lines)
  if not lines:find(MARK, 1, true) then return lines end
  return (lines:gsub("[^\n]*\n", function(line)
    local from = line:find(MARK, 1, true)
    if not from then return nil end
    local bytes = line:sub(from + #MARK, -2):gsub("\\(.)", { n = "\n", ["\\"] = "\\" })
    local record = core.decode(bytes)
    if type(record) == "table" and LEVELS[record.level] then log.write(record) end
    return line:sub(1, from - 1)
  end))
end

--- Says where the log goes from now on, and what is written; what is not given stays.
---@param given table checked: `level`; `to`: "stderr", a path, or a function; `json`
---@return true? ok nil: the file cannot be opened
---@return string? message
---@return integer? errno
function log.configure(given)
  local target = given.to
  if type(target) == "string" and target ~= "stderr" then
    local fd, message, errno = core.append_file(target)
    if not fd then return nil, message, errno end
    target = fd
  end
  if target then
    if type(to) == "number" and to ~= STDERR then core.shut(to) end
    to, owner = target == "stderr" and STDERR or target, core.process()
  end
  if given.level then least = LEVELS[given.level] end
  if given.json ~= nil then as_json = given.json end
  return true
end

-- MINIGUN_LOG="debug", "info json" ...
for word in (os.getenv "MINIGUN_LOG" or ""):gmatch "%a+" do
  if LEVELS[word] then least = LEVELS[word] elseif word == "json" then as_json = true end
end

return log
