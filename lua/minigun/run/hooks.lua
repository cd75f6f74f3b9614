--- Hooks in the coordinator: how they are called, and what becomes of one that raises. Methods of a run (see run.lua).
--
-- A hook blocks the coordinator until it returns, also one that calls minigun.sleep, wait or command: it may be called
-- in the middle of a producer's emit, or while events of workers are taken, where nobody else can go on.
local errors = require "minigun.base.traceback"
local signals = require "minigun.system.signals"
local tasks = require "minigun.handlers.tasks"

local hooks = {}

-- A hook has returned: who ran before it runs again.
local function left(self, in_handler, task, co, outer, ...)
  self.in_handler = in_handler
  tasks.restore(task, co, outer)
  return ...
end

--- Calls one hook.
---@param f function
---@param ... any its arguments
---@return boolean ok and what it has returned, or the error as from `caught.take`
function hooks:call_hook(f, ...)
  local in_handler = self.in_handler
  self.in_handler = false
  local task, co, outer = tasks.forget(self)
  return left(self, in_handler, task, co, outer, errors.call(f, ...))
end

--- Calls coordinator hooks; one that raises fails the run.
---@param list table of hooks
---@param fields table? of the ctx; nil: `argument` is passed instead
---@param argument any
function hooks:hooks(list, fields, argument)
  if #list == 0 then return end
  if self.meter then self.meter:give_way() end
  if fields then argument = self:context(fields) end
  for _, hook in ipairs(list) do
    local ok, caught = self:call_hook(hook.f, argument)
    if not ok then self:hook_failed(hook.name, hook.at, caught) end
    signals.check()
  end
end

--- A hook has raised: ends the run.
---@param name string
---@param at string where it was defined
---@param caught table
function hooks:hook_failed(name, at, caught)
  signals.pass_on(caught.raised)
  self:fail(hooks.hook_text(name, at, caught))
end

--- What there is to say of a hook that has raised.
---@param name string
---@param at string where it was defined
---@param caught table `message`, `traceback`
---@return string text
function hooks.hook_text(name, at, caught)
  return ("%s\nin hook %s (defined at %s)%s"):format(caught.message, name, at,
    caught.traceback and "\n" .. caught.traceback or "")
end

return hooks
