--- Errors of user code as data: message, the user's part of the traceback, and what was raised.
--
-- 1. What was raised is not replaced on its way: a to-be-closed variable of the handler gets the object itself. So the
--    message handler, `note`, only keeps the traceback aside, and `take` puts both together when xpcall has returned.
-- 2. What `take` gives is known by its metatable, which no other object has; nothing is asked of the user's object but
--    its `__tostring`, protected.
-- 3. No function that a program may replace (debug.traceback, getmetatable) is looked up when an error is handled.
local failure = require "minigun.base.failure"
local stack = require "minigun.base.stack"

local errors = {}

local getmetatable <const>, running <const> = debug.getmetatable, coroutine.running
local tostring <const>, type <const>, pcall <const>, rawequal <const> = tostring, type, pcall, rawequal

local Error <const> = {}
-- What Lua raises where memory is short; no message handler hears of it. To `error` this text with no place before it
-- is the same to Lua (lua_error).
local NO_MEMORY <const> = "not enough memory"
-- What a nil that is raised comes out as: Lua 5.5 makes a text of it, after the message handler has seen nil.
local NIL <const> = select(2, pcall(error, nil))

-- --- errors ------------------------------------------------------------------------------------------------------

--- What was raised as text: a string as it is, an object's own text, or a table's fields.
---@param err any
---@return string
function errors.text(err)
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
function errors.note(err)
  if not rawequal(getmetatable(err), Error) then
    noted[running()] = { raised = rawequal(err, nil) and NIL or err, traceback = stack.traceback(2) }
  end
  return err
end

--- An error that a protected call has returned, as data. Called for every error of a call with `note`.
---@param err any
---@param thread thread? the coroutine in which it was raised; nil: the caller's
---@return table err
--- `message`, `traceback` (nil where none is known), `raised`; `kind`, where it is no error of a handler's;
--- `no_memory`: true where Lua itself has raised it
function errors.take(err, thread)
  if rawequal(getmetatable(err), Error) then return err end
  thread = thread or running()
  local note = noted[thread]
  noted[thread] = nil
  local known = note and rawequal(note.raised, err)
  return setmetatable({ message = errors.text(err), traceback = known and note.traceback or nil, raised = err,
    no_memory = not note and rawequal(err, NO_MEMORY) or nil }, Error)
end

local function answer(ok, ...)
  if ok then return true, ... end
  return false, errors.take((...))
end

--- Calls a function of the user's.
---@param f function
---@param ... any its arguments
---@return boolean ok and what it has returned, or what `take` gives
function errors.call(f, ...) return answer(xpcall(f, errors.note, ...)) end
stack.outermost(errors.call)

--- Raises once more what was taken, in another coroutine, where it is taken again as it is. Or a failure that is no
--- error of the handler's: `{ kind =, message = }`.
---@param err table
function errors.raise_again(err) error(setmetatable(err, Error), 0) end

--- The failure of an item whose time is over, as from `take`.
---@param seconds number its time-out
---@param what string what became of its handler
---@return table err
function errors.timed_out(seconds, what)
  return setmetatable(failure.of_timeout({}, seconds, what), Error)
end

-- --- dump and load hooks -----------------------------------------------------------------------------------------

local hooked -- what one has raised last

--- Notes what a hook has raised; the core is to call it, in the place of a message handler.
---@param err any
---@return string text
function errors.hook_raised(err)
  hooked = { raised = err, text = errors.text(err), traceback = stack.traceback(2) }
  return hooked.text
end

--- What a hook has raised, where the codec's message tells of it.
---@param message string
---@return any raised
---@return string? traceback
function errors.of_hook(message)
  local last = hooked
  hooked = nil
  if last and message:find(last.text, 1, true) then return last.raised, last.traceback end
end

--- An item that cannot be decoded, or a record of a source that is no item.
---@param message string the codec's, or the source's
---@param item any what stands for it; nil: nothing does
---@param malformed boolean? it is such a record
---@return table err as from `take`, with `unreadable` and `item`
function errors.unreadable(message, item, malformed)
  local raised, traceback = errors.of_hook(message)
  return setmetatable({ kind = malformed and "malformed" or "unserialisable", raised = raised, traceback = traceback,
    message = (malformed and "" or "cannot decode an item: ") .. message, unreadable = true, item = item }, Error)
end

--- What was taken, as fields of a failure.
---@param err table
---@param fields table
---@return table fields
function errors.fields(err, fields)
  fields.kind, fields.message, fields.traceback = err.kind or "error", err.message, err.traceback
  fields.error, fields.unreadable = err.raised, err.unreadable
  return fields
end

return errors
