--- Defaults: the options of a stage that it does not say itself.
--
-- From the inside out, the nearest wins:
-- 1. what the stage says;
-- 2. the context that it names, `p:context("db", { processes = 2, retries = 3 })`;
-- 3. the groups around it, the innermost first: `p:processes({ n = 2, retries = 3 }, f)`;
-- 4. the pipeline that it is in: `minigun.pipeline(name, { retries = 3 })`;
-- then the same of that pipeline where it is nested in another, and so on. Of the outermost one the run's options count
-- before its own. Each option is looked for by itself. A context is found in the same order, see nesting.context.
local nesting = require "minigun.language.names"

local defaults = {}

--- What the command asks of every run of its program, over what the program says: see command/run.lua.
defaults.forced = {}

--- Whether runs keep a page of figures that do not say so themselves: those of the command do.
defaults.observed = os.getenv "MINIGUN_TOP" == "1"

-- What a context that is named says.
local function of_named(where, context, option)
  local named = context and context.name and not context.kind and nesting.named(where, context.name)
  if named then return named.defaults[option] end
end

-- What is said about a node in the pipeline that it stands in, and by that pipeline itself.
local function said(node, option, of_run)
  local definition, where = node.definition, node.parent
  local value = definition.options[option]
  if value == nil then value = of_named(where, definition.context, option) end
  local group = definition.group
  while value == nil and group do
    value, group = group.options[option], group.outer
  end
  if value == nil and not where.parent then value = of_run[option] end
  if value == nil then value = where.pipeline.options[option] end
  if value == nil then value = of_named(where, where.pipeline.own_context, option) end
  return value
end

--- The value of an option for a stage.
---@param node table of the graph
---@param option string "retries", "backoff", "timeout", "queue"
---@param of_run table checked options of the run
---@return any value nil: it is not said anywhere
function defaults.option(node, option, of_run)
  repeat
    local value = said(node, option, of_run)
    if value ~= nil then return value end
    node = node.parent
  until not node.parent
end

return defaults
