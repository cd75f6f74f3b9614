--- A user's file: read, loaded, run; what it raises becomes a text with the user's part of the traceback.
local stack = require "minigun.base.stack"
local status = require "minigun.command.status"

local program = {}

-- lua.c turns the signal of Ctrl-C into this error, with or without a place before it; the runner passes it on.
local function is_interrupt(message) return message:find "^[^\n]*interrupted!$" ~= nil end

--- The module of the library that the program has loaded, if it has; it need not use the library at all.
---@param name string
---@return table module or an empty table
function program.loaded(name) return package.loaded["minigun." .. name] or {} end

-- A mistake in a definition, or the failures of a run: the library says what and where, and its own frames would only
-- hide that.
local function raised_by_library()
  local raiser = debug.getinfo(4, "S")          -- 1: this function, 2: the handler, 3: error, 4: its caller
  local file = raiser and raiser.source:match "/minigun/(%a+/%a+)%.lua$"
  return file == "base/failure" or file == "control/execution"
end

-- Makes of whatever was raised a text with a traceback, unless it has one or needs none.
local function traceback(message)
  if type(message) == "string" then
    if is_interrupt(message) or message:find("stack traceback:", 1, true) or raised_by_library() then return message end
  else
    local meta = getmetatable(message)
    if type(meta) == "table" and meta.__tostring then return tostring(message) end
    message = ("the file raised a %s value"):format(type(message))
  end
  return message .. "\n" .. (stack.traceback(1) or debug.traceback(nil, 2)) -- the whole one: the fault is the library's
end

--- The value's field, nil where it has none; a table with a strict __index must not end the command here.
---@param value any
---@param name string
---@return any
function program.field(value, name)
  if type(value) ~= "table" then return nil end
  local ok, found = pcall(function() return value[name] end)
  if ok then return found end
  return nil
end

--- The name of the library's class of a value, or its type.
---@param value any
---@return string
function program.class_of(value)
  local meta = getmetatable(value)
  return type(meta) == "table" and rawget(meta, "__name") or type(value)
end

-- The text of a program, read once: it may come through a pipe, "-", /dev/stdin, <(...).
local function read(path)
  local file, message = io.stdin, nil
  if path ~= "-" then file, message = io.open(path, "rb") end
  local text
  if file then
    text, message = file:read "a"               -- a directory can be opened, but not read
    file:close()
  end
  if not text then
    status.complain(("cannot read the file to run: %s; check the name"):format(
      message:sub(1, #path) == path and message or path .. ": " .. message), status.USAGE)
  elseif not text:find "%S" then
    status.complain(("nothing to run: %s is empty"):format(path == "-" and "standard input" or path), status.USAGE)
  end
  return text
end

--- Loads a file; ends the command where it cannot be read or loaded.
---@param path string "-": standard input
---@return function chunk
function program.load(path)
  local text = read(path):gsub("^\xEF\xBB\xBF", ""):gsub("^#[^\n]*", "")
  local chunk, fault = load(text, path == "-" and "=stdin" or "@" .. path, "t")
  if not chunk then status.complain("cannot load the file to run: " .. fault, status.USAGE) end
  return chunk
end

--- Calls f; what it raises is complained of, with its traceback.
---@param f fun(...): integer? gives the exit status
---@return integer status
function program.protect(f, ...)
  local ok, code = xpcall(f, traceback, ...)
  if ok then return code or status.DONE end
  if is_interrupt(code) then
    io.stderr:write "minigun: interrupted\n"
    return status.INTERRUPTED
  end
  return status.complain(code, status.FAILED)
end

--- Loads a file and does with it what f says. The file's `arg` and `...` are its words, as under lua.
---@param words string[] the file, and its words
---@param f fun(chunk: function, words: string[]): integer gives the exit status
---@return integer status
function program.run(words, f)
  local path, interpreter = words[1], arg
  local chunk = program.load(path)
  local rest = table.move(words, 2, #words, 1, {})
  _G.arg = { [0] = path, [-1] = interpreter[0], table.unpack(rest) }
  return program.protect(f, chunk, rest)
end

--- Lets every run, or server, of the program obey: gives f the options that there are.
---@param verb string for messages
---@param forced table options
---@param f fun(forced: table)
function program.force(verb, forced, f)
  if next(forced) == nil then return end
  local ok, fault = pcall(f, forced)
  if not ok then
    status.wrong_call((tostring(fault):gsub("^[^\n]-: " .. verb .. ": ", verb .. ": "):match "[^\n]*"))
  end
end

return program
