--- Hooks in the coordinator: how they are called, and what becomes of one that raises.
--
-- A hook blocks the coordinator until it returns, also one that calls minigun.sleep, wait or command: it may be called
-- in the middle of a producer's emit, or while events of workers are taken, where nothing else can go on.
local declared = require "minigun.base.declared"
local errors = require "minigun.base.traceback"
local signals = require "minigun.system.signals"

local hooks = {}

local Hooks = {}
Hooks.__index = Hooks

--- Makes what calls the hooks of a run.
---@return table hooks
function hooks.new()
  return declared({ state = false, reentry = false, screen = false, outcome = false }, Hooks)
end

--- Calls one hook.
---@param f function
---@param ... any its arguments
---@return boolean ok and what it has returned, or the error as from `errors.take`
function Hooks:call_one(f, ...)
  return self.reentry:forbid(errors.call, f, ...)
end

--- Calls hooks; one that raises fails the run.
---@param list table of hooks
---@param fields table? of the ctx; nil: `argument` is passed instead
---@param argument any
function Hooks:call(list, fields, argument)
  if #list == 0 then return end
  self.screen:give_way()
  if fields then argument = self.outcome:context(fields) end
  for _, hook in ipairs(list) do
    local ok, caught = self:call_one(hook.f, argument)
    if not ok then self:fail(hook.name, hook.at, caught) end
    signals.check()
  end
end

--- Calls hooks about forks for stages that run in this process instead: it is their worker.
---@param segment table of the plan
---@param stages table array of the plan's stages
---@param names table array of the hooks' names
---@param context_of function (stage id) -> ctx of that stage
function Hooks:call_about_forks(segment, stages, names, context_of)
  local only -- the one stage with a handler: a worker that runs but one gives its hooks that stage's ctx, too
  for _, id in ipairs(segment.stages) do
    local stage = stages[id]
    if stage.handler and stage.kind ~= "producer" and not stage.partition then only = only == nil and id end
  end
  for _, name in ipairs(names) do
    for _, hook in ipairs(segment.hooks[name]) do
      local id = hook.stage or only
      self:call({ hook }, nil, id and context_of(id) or self.outcome:context {})
    end
  end
end

--- A hook has raised: ends the run.
---@param name string
---@param at string where it was defined
---@param caught table
function Hooks:fail(name, at, caught)
  signals.pass_on(caught.raised)
  self.state:fail(hooks.text(name, at, caught))
end

--- What there is to say of a hook that has raised.
---@param name string
---@param at string where it was defined
---@param caught table `message`, `traceback`
---@return string text
function hooks.text(name, at, caught)
  return ("%s\nin hook %s (defined at %s)%s"):format(caught.message, name, at,
    caught.traceback and "\n" .. caught.traceback or "")
end

return hooks
