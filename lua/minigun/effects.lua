--- Effects of a worker: what `ctx:collect` and `ctx:count` say, on its way to the coordinator; and the errors that name
-- the user's line where something cannot be sent.
local core = require "minigun.core"
local failure = require "minigun.failure"
local report = require "minigun.report"

local effects = {}

local refusal -- the last error that a value has raised which cannot be sent

-- Raises that a value cannot be sent, at the line of the user's call. Called by what that calls.
local function refuse(value, what)
  local _, message = pcall(core.encode, value)
  local caller = debug.getinfo(4, "Sl")
  local at = caller and caller.currentline > 0 and ("%s:%d: "):format(caller.short_src, caller.currentline) or ""
  refusal = at .. what .. message
  error(refusal, 0)
end

--- Raises, at the line of the caller's caller, where an item cannot be sent to another process.
---@param item any
function effects.check(item)
  local kind = type(item)
  if kind == "number" or kind == "string" or kind == "boolean" or pcall(core.encode, item) then return end
  refuse(item, "")
end

--- The record of an effect.
---@param kind string "collect" or "count"
---@param name string
---@param value any
---@return table
function effects.record(kind, name, value)
  return { kind == "collect" and report.COLLECT or report.COUNT, name, value }
end

--- Reports a failure; an item that cannot be sent goes as a text.
---@param send function (to, edge, record): raises where the record cannot be sent
---@param to any what `send` is a method of
---@param kind integer report.FAILED or report.LOST
---@param stage table
---@param fields table of the failure
function effects.report(send, to, kind, stage, fields)
  local told = { kind, stage.id, fields }
  if pcall(send, to, report.EDGE, told) then return end
  fields.item, fields.item_text = nil, failure.show(fields.item)
  send(to, report.EDGE, told)
end

--- Makes what takes effects and sends them.
---@param w userdata the worker
---@return function effect (kind, name, value)
function effects.sender(w)
  return function(kind, name, value)
    if kind == "count" then return w:send(report.EDGE, effects.record(kind, name, value)) end
    if not pcall(w.send, w, report.EDGE, effects.record(kind, name, value)) then refuse(value, "ctx:collect: ") end
  end
end

--- The same for effects that are kept until the handler has returned: its attempt must fail before that.
---@param effect function what keeps them
---@return function effect
function effects.checker(effect)
  return function(kind, name, value)
    if kind == "collect" and not pcall(core.encode, value) then refuse(value, "ctx:collect: ") end
    effect(kind, name, value)
  end
end

--- Whether an error is that of a value that could not be sent.
---@param raised any
---@return boolean
function effects.is_refusal(raised)
  return type(raised) == "string" and raised == refusal
end

return effects
