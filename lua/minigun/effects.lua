--- Effects of a worker: what `ctx:collect` and `ctx:count` say, on its way to the coordinator.
local core = require "minigun.core"
local report = require "minigun.report"

local effects = {}

local refusal -- the last error that a collected value has raised

-- Raises that a value cannot be collected, at the line of the user's call of ctx:collect. Called by what that calls.
local function refuse(value)
  local _, message = pcall(core.encode, value)
  local caller = debug.getinfo(4, "Sl")
  refusal = ("%s:%d: ctx:collect: %s"):format(caller.short_src, caller.currentline, message)
  error(refusal, 0)
end

--- The record of an effect.
---@param kind string "collect" or "count"
---@param name string
---@param value any
---@return table
function effects.record(kind, name, value)
  return { kind == "collect" and report.COLLECT or report.COUNT, name, value }
end

--- Makes what takes effects and sends them.
---@param w userdata the worker
---@return function effect (kind, name, value)
function effects.sender(w)
  return function(kind, name, value)
    if kind == "count" then return w:send(report.EDGE, effects.record(kind, name, value)) end
    if not pcall(w.send, w, report.EDGE, effects.record(kind, name, value)) then refuse(value) end
  end
end

--- The same for effects that are kept until the handler has returned: its attempt must fail before that.
---@param effect function what keeps them
---@return function effect
function effects.checker(effect)
  return function(kind, name, value)
    if kind == "collect" and not pcall(core.encode, value) then refuse(value) end
    effect(kind, name, value)
  end
end

--- Whether an error is that of a value that could not be collected.
---@param raised any
---@return boolean
function effects.is_refusal(raised)
  return type(raised) == "string" and raised == refusal
end

return effects
