--- Where stages run, as their options say it: contexts as values.
local failure = require "minigun.base.failure"
local kinds = require "minigun.base.kinds"

local contexts = {}

--- The options that say where a stage runs.
contexts.options = {}
for i, kind in ipairs(kinds) do contexts.options[i] = kind.name end

-- These, and the one that names a context.
local context_options = { table.unpack(contexts.options) }
context_options[#context_options + 1] = "context"

-- A context as it is, but for whether what comes out of it is in order.
local function in_order(context, ordered)
  return { kind = context.kind, n = context.n, worker = context.worker, ordered = ordered, host = context.host }
end

--- The context among a stage's options.
---@param checked table checked options
---@param subject string for messages
---@return table? context
--- `{ kind =, n =, ordered =, worker = }`, `{ name = }` for a named one, or nil where the options name none; threads
--- and workers together are threads in these workers, `host`
function contexts.of(checked, subject)
  local found, by
  for _, option in ipairs(context_options) do
    local context = checked[option]
    if context and by == "threads" and type(context) == "table" and context.kind ~= "inline" then
      found, by = { kind = "threads", n = found.n, host = context }, option
    elseif context then
      if found then
        failure.raise(("%s: options '%s' and '%s' both say where it runs; give one"):format(subject, by, option))
      end
      found, by = context, option
    end
  end
  if checked.ordered ~= nil then
    if by == "context" then
      failure.raise(("%s: give option 'ordered' to the context '%s', where it is defined"):format(subject, found))
    end
    found = found and in_order(found, checked.ordered)
    if found and found.host then -- what comes out of the workers is in order, so they are what is ordered
      found.host, found.ordered = in_order(found.host, checked.ordered), nil
    end
  end
  return by == "context" and { name = found } or found or nil
end

--- A context of threads where it stands: in the workers of the group around it, or in the coordinator.
---@param context table? any context
---@param scope table? the group's context; nil: none
---@return table? context
--- with `host`, the workers' context, where threads stand in one; false: in the coordinator in any case; nil: unless
--- their pipeline is nested in workers; other contexts as they are
function contexts.threads_in(context, scope)
  if not context or context.kind ~= "threads" or context.host or not scope then return context end
  local host = scope.kind == "threads" and scope.host or scope
  if host.kind == "threads" then return context end
  if host.kind == "inline" then return { kind = "threads", n = context.n, ordered = context.ordered, host = false } end
  if context.ordered then
    failure.raise("threads in a group of workers: option 'ordered' belongs to that group: " ..
      "p:processes({ n = 2, ordered = true }, ...)")
  end
  return { kind = "threads", n = context.n, host = host }
end

--- A context as text: "processes(4), ordered", "threads(20) in processes(2)".
---@param context table `{ kind =, n =, ordered =, host = }`; n nil means one per CPU
---@return string text
function contexts.text(context)
  local text = context.kind
  if text ~= "inline" and text ~= "cluster" then text = ("%s(%s)"):format(text, context.n or "cpus") end
  if context.ordered then text = text .. ", ordered" end
  return context.host and ("%s in %s"):format(text, contexts.text(context.host)) or text
end

--- Options over earlier ones; a context takes the place of the earlier one.
---@param checked table
---@param earlier table checked before
---@return table merged
function contexts.merge(checked, earlier)
  local merged = {}
  for name, value in next, earlier do merged[name] = value end
  for _, name in ipairs(context_options) do
    if checked[name] ~= nil then
      for _, other in ipairs(context_options) do merged[other] = nil end
      merged.ordered = nil
    end
  end
  for name, value in next, checked do merged[name] = value end
  return merged
end

--- Where a stage runs: in its own context, else in the one it had, else in that of the group. `merged`: what is given
--- over what the earlier one had.
---@param given table checked options
---@param merged table
---@param subject string for messages
---@param scope table? the context of the group around it
---@param earlier table? the definition whose place it takes
---@return table? context
function contexts.at(given, merged, subject, scope, earlier)
  local context = contexts.threads_in(contexts.of(given.ordered ~= nil and merged or given, subject),
    scope or earlier and earlier.scope)
  if given.ordered ~= nil and not context then
    if scope then
      failure.raise(("%s: option 'ordered' belongs to the group it stands in; give it to the group: " ..
        "p:processes({ n = 4, ordered = true }, ...)"):format(subject))
    end
    return { kind = "inline", ordered = given.ordered, lone = true } -- lone: nothing says where it runs
  end
  if context or not earlier then return context or scope end
  if scope then return scope end
  for _, name in ipairs(context_options) do
    if given[name] ~= nil then return earlier.scope end
  end
  return earlier.context
end

return contexts
