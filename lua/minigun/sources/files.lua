--- Reading from open files in a producer of the coordinator: where that would wait for a pipe, a terminal or a socket,
-- the rest of the run goes on until there is something. For that `io.lines`, `io.read` and the methods `lines` and
-- `read` of files have stand-ins during a producer's turn, and are what they were at its end. Regular files never
-- wait.
local core = require "minigun.core"
local current = require "minigun.handlers.current"

local files = {}

local methods <const> = getmetatable(io.stdout).__index
local PAUSE <const> = 0.005 -- seconds between two looks for the rest of a line
local old, own = {}, {} -- functions: the methods `lines` and `read`, io.lines, io.read

--- Waits until an open file has something to read, if the caller can wait without holding up others.
---@param file file*
---@param whole boolean a whole line is wanted
function files.wait(file, whole)
  while true do
    local waits, part = core.would_wait(file, whole)
    if not waits or not current.may_wait() then return end
    if part then current.sleep(PAUSE)
    elseif not current.wait(file) then return end -- the call that follows will say what is wrong
  end
end

local function waiting(f, ...)
  local file, whole, regular = core.file_of(f)
  if not file or regular then return f, ... end
  return function(state, control)
    files.wait(file, whole)
    return f(state, control)
  end, ...
end

local function is_line(format) return format == nil or type(format) == "string" and format:find "^%*?[lL]" ~= nil end

-- What a call of the caller's caller has returned; an error is raised at its line.
local function passed(ok, first, ...)
  if not ok then error(first, 2) end
  return first, ...
end

own[1] = function(file, ...)
  if io.type(file) ~= "file" then return passed(pcall(old[1], file, ...)) end
  return waiting(passed(pcall(old[1], file, ...)))
end

-- Formats with which reading from an open file does not raise.
local good <const> = { l = true, L = true, n = true, a = true,
  ["*l"] = true, ["*L"] = true, ["*n"] = true, ["*a"] = true }

own[2] = function(file, format, ...)
  if io.type(file) ~= "file" or format and not good[format] or ... ~= nil then
    return passed(pcall(old[2], file, format, ...))
  end
  files.wait(file, is_line(format))
  if not format then return old[2](file) end
  return old[2](file, format)
end

own[3] = function(path, ...)
  local _, regular = nil, nil
  if type(path) == "string" then _, regular = core.readable(path) end
  if path ~= nil and regular ~= false then return passed(pcall(old[3], path, ...)) end
  return waiting(passed(pcall(old[3], path, ...)))
end

own[4] = function(...)
  local file = io.input()
  if io.type(file) == "file" then files.wait(file, is_line(...)) end
  return passed(pcall(old[4], ...))
end

local entered = false

--- A producer's turn begins.
---@return boolean first true: the caller has to call `leave`; false: the run is inside of another one's producer
function files.enter()
  if entered then return false end
  entered = true
  local methods <const>, io <const>, old <const>, own <const> = methods, io, old, own -- luacheck: ignore 431
  old[1], old[2], old[3], old[4] = methods.lines, methods.read, io.lines, io.read
  methods.lines, methods.read, io.lines, io.read = own[1], own[2], own[3], own[4] -- luacheck: ignore 122
  return true
end

--- It is over. What the program has put there meanwhile stays.
function files.leave()
  local methods <const>, io <const>, old <const>, own <const> = methods, io, old, own -- luacheck: ignore 431
  if methods.lines == own[1] then methods.lines = old[1] end
  if methods.read == own[2] then methods.read = old[2] end
  if io.lines == own[3] then io.lines = old[3] end -- luacheck: ignore 122
  if io.read == own[4] then io.read = old[4] end -- luacheck: ignore 122
  entered = false
end

return files
