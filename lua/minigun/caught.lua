--- Errors of user code as data: message, the user's part of the traceback, and what was raised.
--
-- 1. What was raised is not replaced on its way: a to-be-closed variable of the handler gets the object itself. So the
--    message handler, `note`, only keeps the traceback aside, and `take` puts both together when xpcall has returned.
-- 2. What `take` gives is told by its metatable, which nobody else has; nothing is asked of the user's object but its
--    `__tostring`, protected.
-- 3. No function that a program may replace (debug.traceback, getmetatable) is looked up when an error is handled.
local core = require "minigun.core"
local failure = require "minigun.failure"

local caught = {}

local getinfo <const>, getmetatable <const>, running <const> = debug.getinfo, debug.getmetatable, coroutine.running
local tostring <const>, type <const>, pcall <const>, rawequal <const> = tostring, type, pcall, rawequal

local Caught <const> = {}
-- What Lua raises where memory is short; no message handler hears of it. To `error` this text with no place before it
-- is the same to Lua (lua_error).
local NO_MEMORY <const> = "not enough memory"
local MOST_LINES <const> = 22 -- of a traceback

-- --- tracebacks --------------------------------------------------------------------------------------------------

local is_library <const> = failure.is_library
local globals = setmetatable({}, { __mode = "k" }) -- from a function to its global name, or false

local function global_name(f)
  if globals[f] ~= nil then return globals[f] end
  local found = false
  for module, content in next, package.loaded do
    for name, value in next, type(content) == "table" and content or {} do
      if rawequal(value, f) and type(name) == "string" and type(module) == "string" then
        local full = module == "_G" and name or module .. "." .. name
        if not found or #full < #found or #full == #found and full < found then found = full end
      end
    end
  end
  globals[f] = found
  return found
end

-- How Lua's own tracebacks call a function. `below`: its caller, whose name for it means nothing where that is the
-- library's.
local function called(info, below)
  local global = global_name(info.func)
  if global then return "function '" .. global .. "'" end
  if info.namewhat ~= "" and not (below and is_library(below.source)) then
    return info.namewhat .. " '" .. info.name .. "'"
  end
  if info.what == "main" then return "main chunk" end
  return info.what ~= "C" and ("function <%s:%d>"):format(info.short_src, info.linedefined) or "?"
end

--- The user's part of the traceback: without the library's own way to the user's function, and without what that has
--- called of the library.
---@param level integer of the first frame, as seen from the caller
---@return string text
function caught.traceback(level)
  local lines, own, tail = { "stack traceback:" }, false, 1 -- own: a function of the user's is there; tail: its line
  level = level + 1
  local info = getinfo(level, "Slntf")
  while info do
    local below = getinfo(level + 1, "Slntf")
    if is_library(info.source) then
      if own then break end
    elseif #lines > MOST_LINES then
      lines[#lines + 1] = "\t..."
      tail = #lines
      break
    else
      local at = info.currentline > 0 and ("%s:%d"):format(info.short_src, info.currentline) or info.short_src
      lines[#lines + 1] = ("\t%s: in %s"):format(at, called(info, below))
      if info.istailcall then lines[#lines + 1] = "\t(...tail calls...)" end
      if info.what ~= "C" then own, tail = true, #lines end
    end
    info, level = below, level + 1
  end
  return table.concat(lines, "\n", 1, tail) -- behind that: protected calls of the library
end

-- --- errors ------------------------------------------------------------------------------------------------------

--- What was raised as text: a string as it is, an object's own text, or a table's fields.
---@param err any
---@return string
function caught.text(err)
  if type(err) == "string" then return err end
  local meta = getmetatable(err)
  if type(meta) == "table" and rawget(meta, "__tostring") ~= nil then
    local ok, text = pcall(tostring, err)
    if ok then return text end
  end
  if type(err) == "table" then return failure.show(err) end
  if type(err) == "number" then return tostring(err) end
  return ("(error object is a %s value)"):format(type(err))
end

local noted = setmetatable({}, { __mode = "k" }) -- from a coroutine to what was raised in it last, with its traceback

--- What xpcall gets as its message handler: keeps the traceback for `take`.
---@param err any
---@return any err
function caught.note(err)
  if not rawequal(getmetatable(err), Caught) then
    noted[running()] = { raised = err, traceback = caught.traceback(2) }
  end
  return err
end

--- An error that a protected call has returned, as data. Called for every error of a call with `note`.
---@param err any
---@param thread thread? the coroutine in which it was raised; nil: the caller's
---@return table caught
--- `message`, `traceback` (nil where nothing is known of it), `raised`; `kind`, where it is no error of a handler's;
--- `no_memory`: true where Lua itself has raised it
function caught.take(err, thread)
  if rawequal(getmetatable(err), Caught) then return err end
  thread = thread or running()
  local note = noted[thread]
  noted[thread] = nil
  local known = note and rawequal(note.raised, err)
  return setmetatable({ message = caught.text(err), traceback = known and note.traceback or nil, raised = err,
    no_memory = not note and rawequal(err, NO_MEMORY) or nil }, Caught)
end

local function answer(ok, ...)
  if ok then return true, ... end
  return false, caught.take((...))
end

--- Calls a function of the user's.
---@param f function
---@param ... any its arguments
---@return boolean ok and what it has returned, or what `take` gives
function caught.call(f, ...) return answer(xpcall(f, caught.note, ...)) end

--- Raises once more what was taken, in another coroutine, where it is taken again as it is. Or a failure that is no
--- error of the handler's: `{ kind =, message = }`.
---@param err table
function caught.raise_again(err) error(setmetatable(err, Caught), 0) end

-- --- dump and load hooks -----------------------------------------------------------------------------------------

local hooked -- what one has raised last

core.on_raise(function(err)
  hooked = { raised = err, text = caught.text(err), traceback = caught.traceback(2) }
  return hooked.text
end)

--- What a hook has raised, where the codec's message tells of it.
---@param message string
---@return any raised
---@return string? traceback
function caught.of_hook(message)
  local last = hooked
  hooked = nil
  if last and message:find(last.text, 1, true) then return last.raised, last.traceback end
end

--- An item that cannot be decoded.
---@param message string the codec's
---@return table err as from `take`, with `unreadable`
function caught.unreadable(message)
  local raised, traceback = caught.of_hook(message)
  return setmetatable({ kind = "unserialisable", message = "cannot decode an item: " .. message, raised = raised,
    traceback = traceback, unreadable = true }, Caught)
end

--- What was taken, as fields of a failure.
---@param err table
---@param fields table
---@return table fields
function caught.fields(err, fields)
  fields.kind, fields.message, fields.traceback = err.kind or "error", err.message, err.traceback
  fields.error, fields.unreadable = err.raised, err.unreadable
  return fields
end

return caught
