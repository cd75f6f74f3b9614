--- Replies of a worker: what `ctx:collect` and `ctx:count` say, on its way to the coordinator; and the errors that name
-- the user's line where something cannot be sent.
local core = require "minigun.core"
local errors = require "minigun.base.traceback"
local failure = require "minigun.base.failure"
local report = require "minigun.base.protocol"

local replies = {}

local refusal -- the last error that a value has raised which cannot be sent

local function located(at, what, message) return (at and at .. ": " or "") .. what .. message end

--- Raises that a value cannot be sent, at the line of the user's call.
---@param message string the codec's
---@param what string put before it
---@param at string? "file:line" of the stage, where no call of the user's has led here
function replies.refuse(message, what, at)
  refusal = located(failure.where() or at, what, message)
  error(refusal, 0)
end

local UNCALLED <const> = "; the source gives a function, which the caller should have called: io.lines(path), say, " ..
  "and not io.lines or a function that returns it"

--- Fields of a failure: a value cannot be sent.
---@param value any
---@param at string? "file:line"
---@param message string the codec's
---@param source string? of the producer that has emitted it, as in the plan
---@return table fields `uncalled`: an iterator has given a function, see Failures:only_functions
function replies.refused(value, at, message, source)
  local raised, traceback = errors.of_hook(message)
  local uncalled = source == "iterator" and type(value) == "function" or nil
  if uncalled then message = message .. UNCALLED end
  return { kind = "unserialisable", message = located(at, "", message), traceback = traceback, error = raised,
    attempt = 1, item = value, uncalled = uncalled }
end

--- Fields of a failure: an item of a batch that cannot be decoded, or a record of a source that is no item.
---@param refused table { item, message, malformed }
---@return table fields
function replies.left_out(refused)
  return errors.fields(errors.unreadable(refused[2], nil, refused[3]), { attempt = 1, item = refused[1] })
end

-- Raises where a value cannot be sent to another process.
local function check(value, what)
  local kind = type(value)
  if kind == "number" or kind == "string" or kind == "boolean" then return end
  local ok, message = pcall(core.encode, value)
  if not ok then replies.refuse(message, what) end
end

--- Raises, at the user's line, where an item cannot be sent to another process.
---@param item any
function replies.check(item) check(item, "") end

--- The record of an effect.
---@param kind string "collect" or "count"
---@param name string
---@param value any
---@param id integer? of the stage that it is of; nil: the segment's first, or a hook
---@return table
function replies.record(kind, name, value, id)
  return { kind == "collect" and report.COLLECT or report.COUNT, name, value, id }
end

--- Reports a failure; an item that cannot be sent goes as a text, an error that cannot be sent not at all.
---@param send function (to, edge, record): raises where the record cannot be sent
---@param to any what `send` is a method of
---@param kind integer report.FAILED or report.LOST
---@param stage table
---@param fields table of the failure
function replies.report(send, to, kind, stage, fields)
  local reply = { kind, stage.id, fields }
  if pcall(send, to, report.EDGE, reply) then return end
  if not pcall(core.encode, fields.error) then fields.error = nil end
  for _, refused in ipairs(fields.refused or {}) do
    if not pcall(core.encode, refused[1]) then refused[1] = failure.show(refused[1]) end
  end
  if pcall(send, to, report.EDGE, reply) then return end
  fields.item, fields.item_text = nil, failure.show(fields.item)
  if pcall(send, to, report.EDGE, reply) then return end
  fields.error = nil -- which nests too deeply for a report
  send(to, report.EDGE, reply)
end

--- Makes what takes effects and sends them.
---@param w userdata the worker
---@param first integer? id of the segment's first stage
---@return function effect (kind, name, value, id)
function replies.sender(w, first)
  return function(kind, name, value, id)
    local ok, message = pcall(w.send, w, report.EDGE, replies.record(kind, name, value, id ~= first and id or nil))
    if ok then return end
    if kind == "collect" then check(value, "ctx:collect: ") end
    error(message, 0)
  end
end

--- The same for effects that are kept until the handler has returned: its attempt must fail before that.
---@param effect function what keeps them
---@return function effect
function replies.checker(effect)
  return function(kind, name, value)
    if kind == "collect" then check(value, "ctx:collect: ") end
    effect(kind, name, value)
  end
end

--- Fields of the failure of an item whose handler has raised.
---@param caught table
---@param fields table
---@return table fields
function replies.failed(caught, fields)
  errors.fields(caught, fields)
  local raised = caught.raised
  if not caught.kind and type(raised) == "string" and raised == refusal then -- a value that could not be sent
    fields.kind = "unserialisable"
    local by_hook, traceback = errors.of_hook(raised)
    if traceback then fields.error, fields.traceback = by_hook, traceback end
  end
  refusal = nil -- an old one belongs to no item any more
  return fields
end

return replies
