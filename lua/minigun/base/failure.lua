--- Failures: the record of an item that could not be processed, and the errors that name the user's own line.
--
-- Two different things meet here because both are texts that a user reads:
-- - a failure record is data (`failure.new`): collected in a result, shown by `tostring`, counted by
--   policy/tally.lua;
-- - a definition error is raised at once, with the line of the user's call in front (`failure.raise`).
local stack = require "minigun.base.stack"

local failure = {}

--- What can go wrong with an item; the values of a record's `kind`.
failure.kinds = {
  error = "the handler raised an error",
  crash = "the worker died while it processed the item",
  timeout = "the handler took longer than the stage's timeout",
  malformed = "a record of the source is not as it should be, or not there any more, so it is no item",
  unserialisable = "the item or what was emitted for it cannot be sent to another process",
  cancelled = "it was cancelled before it had begun",
  lost = "the server ended, or the connection to it broke, before its reply had come",
}

--- The place in the user's code that called into the library, and functions that stand for the user's: see stack.lua.
failure.where, failure.stands_for = stack.where, stack.stands_for

--- Raises a definition error at the user's line.
---@param message string what is wrong, in which stage, and what to do about it
---@param at string? "file:line" to blame; by default the line that called into the library
function failure.raise(message, at)
  at = at or stack.where()
  error(stack.final(at and (at .. ": " .. message) or message), 0)
end

-- Longest text of a value in a message, in bytes, and how many fields of a table are looked at.
local SHOWN_BYTES <const> = 60
local SHOWN_FIELDS <const> = 8

local function show_string(value)
  local text = #value > SHOWN_BYTES and value:sub(1, SHOWN_BYTES) or value
  text = text:gsub('[%c"\\]', function(char)
    if char == "\n" then return "\\n" end
    if char == '"' or char == "\\" then return "\\" .. char end
    return ("\\%03d"):format(char:byte())
  end)
  return '"' .. text .. (#value > SHOWN_BYTES and '"...' or '"')
end

local function show_nested(value)
  if type(value) == "string" then return show_string(value) end
  if type(value) == "table" then return next(value) == nil and "{}" or "{...}" end
  if type(value) == "number" or type(value) == "boolean" then return tostring(value) end
  return "a " .. type(value)
end

-- Raw access throughout: a message about a broken item must not run the item's own metamethods.
local function show_table(value)
  local parts, length, seen = {}, rawlen(value), 0
  for i = 1, math.min(length, SHOWN_FIELDS) do parts[i] = show_nested(rawget(value, i)) end
  local fields, more = {}, length > SHOWN_FIELDS
  for key, field in next, value do
    if math.type(key) ~= "integer" or key < 1 or key > length then
      if #fields == SHOWN_FIELDS then
        more = true
        break
      end
      local is_name = type(key) == "string" and key:match("^[%a_][%w_]*$")
      fields[#fields + 1] = (is_name and key or "[" .. show_nested(key) .. "]") .. " = " .. show_nested(field)
    end
    seen = seen + 1
    if seen > length + SHOWN_FIELDS or seen > 1000 then break end
  end
  table.sort(fields)
  table.move(fields, 1, #fields, #parts + 1, parts)
  if more then parts[#parts + 1] = "..." end
  local text = table.concat(parts, ", ")
  if #text > SHOWN_BYTES then text = text:sub(1, SHOWN_BYTES) .. "..." end
  return "{" .. text .. "}"
end

--- A value as one short line, for messages. Never raises and never calls a metamethod.
---@param value any
---@return string text
function failure.show(value)
  if type(value) == "table" then return show_table(value) end
  if value == nil then return "nil" end
  return show_nested(value)
end

--- A count of things, for messages: "1 worker", "2 workers".
---@param n integer
---@param noun string that takes an s
---@return string text
function failure.count(n, noun) return ("%d %s%s"):format(n, noun, n == 1 and "" or "s") end

--- Raises at the user's line where a time is not a number of at least 0.
---@param seconds any
---@param what string the function that was given it
function failure.check_seconds(seconds, what)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    failure.raise(("%s: seconds, a number of at least 0, expected, got %s"):format(what, failure.show(seconds)))
  end
end

---@class minigun.Failure
--- An item that could not be processed; `tostring` gives its text.
---@field kind "error"|"crash"|"timeout"|"malformed"|"unserialisable"|"cancelled"|"lost"
---@field stage string? name
---@field item any
---@field number integer? which of the items that have come to the stage it was, from 1; not inside a group
---@field message string
--- with the handler's "file:line: " in front; of a crash and a time-out that of the stage's definition
---@field error any? what was raised, whatever it is, where it can be sent from its process
---@field traceback string? nil: no line of the handler's was at work, as where what it has returned is refused
---@field pid integer?
---@field worker integer? number of the worker
---@field workers integer? how many there are
---@field attempts integer
---@field signal integer? of a death
---@field code integer? of a death
---@field in_flight integer? items that the dead worker held
---@field went_to integer[]? numbers of the workers that have got the others; the message says so too, by and by
---@field partial boolean? some of what the item emitted had already been let through
---@field at_end boolean? it happened at the end of a loop stage's input: what that emitted there is lost
---@field batch boolean? of a `reduce`: `item` is an array of items, or of values, that have failed together
---@field dead_letter boolean? the item went to the dead letters
---@field asked_at string? of a future's: "file:line" that has asked for the result

---@class minigun.Exit
--- A child that has ended.
---@field pid integer
---@field stage string the stages that it ran: "parse+check"
---@field worker integer number of its slot
---@field code integer? nil, and no signal either: it is not known how, see docs/failures.md
---@field signal integer?
---@field expected boolean it ended in good order
local Failure = { __name = "minigun.failure" }
Failure.__index = Failure

local signal_names = {
  [1] = "SIGHUP", [2] = "SIGINT", [3] = "SIGQUIT", [4] = "SIGILL", [6] = "SIGABRT", [7] = "SIGBUS", [8] = "SIGFPE",
  [9] = "SIGKILL", [11] = "SIGSEGV", [13] = "SIGPIPE", [15] = "SIGTERM", [24] = "SIGXCPU", [25] = "SIGXFSZ",
}

local function default_message(record)
  local text
  if record.signal then
    local name = signal_names[record.signal]
    text = ("the worker was killed by signal %d%s"):format(record.signal, name and " (" .. name .. ")" or "")
  elseif record.code then
    text = ("the worker exited with code %d"):format(record.code)
  else
    return failure.kinds[record.kind]
  end
  return text
end

-- What became of all that the dead worker held.
local function flight(record)
  local n, takers = record.in_flight, record.went_to
  if n <= 1 then return (" with %s in flight"):format(failure.count(n, "item")) end
  return (" with %d items in flight; %s went %s"):format(n, n == 2 and "the other" or ("the %d others"):format(n - 1),
    not takers and "back to the queue"
      or ("to worker%s %s"):format(#takers == 1 and "" or "s", table.concat(takers, ", ")))
end

local deaths = setmetatable({}, { __mode = "k" }) -- from a record to its message without what is added to it

--- Notes in the record of a death that a worker has got items which the dead one held.
---@param record minigun.Failure
---@param worker integer
function failure.taken(record, worker)
  record.went_to = record.went_to or {}
  for _, other in ipairs(record.went_to) do
    if other == worker then return end
  end
  table.insert(record.went_to, worker)
  table.sort(record.went_to)
  record.message = deaths[record] .. flight(record)
end

--- Makes a failure record.
---@param fields table
--- those of the class above; `message` is made from `signal` or `code` where there is none; `at`: "file:line", put in
--- front of the message
---@return minigun.Failure record
function failure.new(fields)
  if not failure.kinds[fields.kind] then
    error("unknown failure kind: " .. tostring(fields.kind), 2)
  end
  local record = {}
  for key, value in pairs(fields) do record[key] = value end
  record.message, record.at = record.message or default_message(record), nil
  if fields.at then record.message = fields.at .. ": " .. record.message end
  if record.in_flight then
    deaths[record] = record.message
    record.message = record.message .. flight(record)
  end
  return setmetatable(record, Failure)
end

--- The fields of a failure that a worker's end is.
---@param last table how it ended: `pid`; `code`, nil: it is not known; `signal`, 0: none
---@param worker integer its number
---@return table fields to which what is known of the item is added
function failure.of_exit(last, worker)
  local code, signal = last.code, last.signal
  return { kind = "crash", pid = last.pid, worker = worker, signal = signal ~= 0 and signal or nil,
    code = signal == 0 and code or nil }
end

--- Makes fields those of an item whose time is over.
---@param fields table
---@param seconds number its time-out
---@param what string what became of its handler or worker
---@return table fields
function failure.of_timeout(fields, seconds, what)
  fields.kind, fields.message = "timeout", ("the item took longer than %g s; %s"):format(seconds, what)
  return fields
end

local function place(record)
  local parts = {}
  if record.kind == "unserialisable" then parts[1] = "which cannot be sent to another process" end
  if record.stage then parts[#parts + 1] = "in stage '" .. record.stage .. "'" end
  if record.worker then
    local of = record.workers and (" of %d"):format(record.workers) or ""
    local pid = record.pid and (" (pid %d)"):format(record.pid) or ""
    parts[#parts + 1] = ("worker %d%s%s"):format(record.worker, of, pid)
  elseif record.pid then
    parts[#parts + 1] = ("pid %d"):format(record.pid)
  end
  if record.at_end then parts[#parts + 1] = "at the end of its input: what its loop emitted there is lost" end
  if record.number then
    local text = record.item ~= nil and ", value " .. failure.show(record.item) or ""
    parts[#parts + 1] = ("item number %d%s"):format(record.number, text)
  elseif record.item ~= nil then
    parts[#parts + 1] = "item " .. failure.show(record.item)
  end
  if (record.attempts or 1) > 1 then parts[#parts + 1] = ("after %d attempts"):format(record.attempts) end
  if record.partial then parts[#parts + 1] = "part of its output was already delivered" end
  return table.concat(parts, ", ")
end

--- The failure as text: the handler's `file:line: message`, then where it happened, then the traceback.
---@return string text
function Failure:__tostring()
  local lines = { tostring(self.message) }
  local where = place(self)
  if where ~= "" then lines[#lines + 1] = where end
  lines[#lines + 1] = self.traceback
  if self.asked_at then lines[#lines + 1] = "the result was asked for at " .. self.asked_at end
  return table.concat(lines, "\n")
end

return failure
