--- Programs that a handler starts: `minigun.command`.
--
-- A program is a process group of its own. It ends with the call that has started it, whichever way that ends: its
-- time-out, its item's, an error, its worker's death, the end of the run (src/core/command.h, src/core/keeper.h).
local core = require "minigun.core"
local current = require "minigun.handlers.current"
local failure = require "minigun.base.failure"
local schema = require "minigun.base.schema"
local types = require "minigun.base.types"

local command = {}

local GRACE <const> = 1         -- seconds between SIGTERM and SIGKILL
local BEAT <const> = 0.1        -- seconds to wait at most where there is a time-out, see src/core/clock.h
local LOOK <const> = 0.02       -- seconds between looks at a program, where the kernel does not tell of its end
local SHOWN <const> = 60        -- bytes of a command, and of what it says, in its result's text
local SIGTERM <const>, SIGKILL <const> = 15, 9

---@class minigun.Command
--- What has become of a program; `tostring` gives one line. It can be emitted.
---@field ok boolean it has exited with code 0, in time, and nothing of its output is missing
---@field code integer? its exit code; nil: a signal has ended it, or it is not known
---@field signal integer? the signal that has ended it
---@field unknown boolean? how is lost: before Linux 6.15, in a program that ignores SIGCHLD or waits for all children
---@field out string what it has written to its standard output; empty where that went elsewhere
---@field err string the same of its standard error output
---@field seconds number it took
---@field timed_out boolean? it was ended by its own `timeout`
---@field exceeded ("stdout"|"stderr")? it was killed because it wrote more than `limit` bytes there
---@field command string what was run, for messages
local Command = { __name = "minigun.command" }
Command.__index = Command
core.register("minigun.command", Command)

local function short(text)
  return #text > SHOWN and text:sub(1, SHOWN) .. "..." or text
end

local function how_it_ended(self)
  if self.timed_out then return "was ended by its time-out" end
  if self.exceeded then return ("was killed: more than the limit came from its %s"):format(self.exceeded) end
  if self.unknown then return "ended, and it is not known how" end
  return self.signal and "was ended by signal " .. self.signal or "exited with code " .. self.code
end

--- One line that says what was run and how it ended, with the first line of what it has complained of.
---@return string
function Command:__tostring()
  local said = not self.ok and self.err:match "[^\n]+"
  return ("%s: %s after %.3f s%s"):format(short(self.command), how_it_ended(self), self.seconds,
    said and ": " .. short(said) or "")
end

-- The words of a command, and the command as text.
local function words_of(program)
  if type(program) == "string" and not program:find "\0" then return { "/bin/sh", "-c", program }, program end
  local words = {}
  for i = 1, type(program) == "table" and rawlen(program) or 0 do
    local word = program[i]
    if type(word) == "number" then word = tostring(word) end
    if type(word) ~= "string" or word:find "\0" then
      failure.raise(("minigun.command: word %d is %s; a string without zero bytes, or a number, expected"):format(i,
        failure.show(word)))
    end
    words[i] = word
  end
  if not words[1] or words[1] == "" then
    failure.raise(("minigun.command: an array of words, the program first, or a text for the shell expected, got %s")
      :format(failure.show(program)))
  end
  return words, table.concat(words, " ")
end

-- The environment's changes as the core takes them.
local function changes_of(env)
  local more, gone = {}, {}
  for name, value in pairs(env or {}) do
    gone[#gone + 1] = name
    if value then more[#more + 1] = name .. "=" .. value end
  end
  return more, gone
end

-- Commands of this process that run, and runs that may start some more: while there are none there is no keeper.
local in_use = 0

--- Says that commands may follow one another: what watches over them stays.
function command.hold() in_use = in_use + 1 end

--- Undoes a `hold`.
function command.release()
  in_use = in_use - 1
  if in_use == 0 then core.keeper_rest() end
end

local held = setmetatable({}, { __close = function()
  command.release()
  core.watch_stops(false)
end })

local WHERE <const> = { stdin = true, stdout = true, stderr = true }

local function cannot_start(text, words, given, message, errno, step)
  local what = ("cannot start '%s'"):format(short(text))
  if step == "program" and words[2] then what = ("%s: its program '%s'"):format(what, words[1]) end
  if step == "cwd" then what = ("%s in '%s'"):format(what, given.cwd) end
  if WHERE[step] then what = ("%s: its %s%s"):format(what, step, given[step] and step ~= "stdin" and
    type(given[step]) == "string" and (" '%s'"):format(given[step]) or "") end
  return nil, what .. ": " .. message, errno
end

-- Lets it run until it is over. Returns whether its time was.
local function wait_for(program, timeout)
  local due, timed_out = timeout and core.clock() + timeout or math.huge, false
  local fd, tells = program:fd()
  while not program:step() do
    local now = core.clock()
    if now >= due then
      program:kill(timed_out and SIGKILL or SIGTERM)
      due, timed_out = timed_out and math.huge or now + GRACE, true
    end
    local seconds = due - now
    if not tells then seconds = math.min(seconds, LOOK) end
    if timeout then seconds = math.min(seconds, BEAT) end
    current.wait(fd, "r", seconds < math.huge and math.max(seconds, 0) or nil)
  end
  return timed_out
end

--- Runs a program, see `minigun.command`.
---@param program string[]|string
---@param given table? options
---@return table? result or nil, a message and the errno
function command.run(program, given)
  local words, text = words_of(program)
  local known = types.schemas.command
  local filled = schema.fill(known, schema.check(known, given, "minigun.command"))
  local more, gone = changes_of(filled.env)
  command.hold()
  core.watch_stops(true)
  local _ <close> = held
  local start = core.now()
  local running <close>, message, errno, step = core.command(words, {
    stdin = filled.stdin, cwd = filled.cwd, stdout = filled.stdout, stderr = filled.stderr, limit = filled.limit,
    more = more, gone = gone,
  })
  if not running then return cannot_start(text, words, filled, message, errno, step) end
  local timed_out = wait_for(running, filled.timeout)
  local code, signal, out, err, exceeded = running:result()
  return setmetatable({
    ok = code == 0 and not timed_out and not exceeded,
    code = code, signal = signal, unknown = not code and not signal or nil,
    out = out, err = err, seconds = core.now() - start, timed_out = timed_out or nil,
    exceeded = exceeded and (exceeded == 1 and "stdout" or "stderr") or nil, command = text,
  }, Command)
end

return command
