--- The types of the options that say where a stage runs: one for each kind of context (base/kinds.lua), by its name.
--
-- A context given as an option is normalised to { kind = , n = } (n nil: one per CPU), or to false: no override, so
-- that a program may compute the option. `defaults`: what a group's table says beside, for the stages inside.
local failure = require "minigun.base.failure"
local kinds = require "minigun.base.kinds"
local schema = require "minigun.base.schema"
local types = require "minigun.base.types"

local context_types = {}

local worker_count <const> = types.worker_count

context_types.inline = {
  text = "true or false", lua = "boolean",
  check = function(value)
    if type(value) ~= "boolean" then return false end
    return true, value and { kind = "inline" }
  end,
}

-- What the table form says of single workers, and not of the stages inside.
local of_workers <const> = { max_items = true, max_age = true, max_memory = true, idle_timeout = true, lazy = true,
  memory_limit = true, nice = true, affinity = true }

-- `counts`: the name of the size in the table form; `n`: the size where true is given, nil: one per CPU; `of`: the
-- table's schema; `class`: its type for editors.
local function context_type(kind, counts, n, of, class)
  return { lua = class .. "|integer|boolean",
    text = ("%s, true for %s, or { %s = n, ordered = true }"):format(worker_count.text, n or "one per CPU", counts),
    check = function(value, subject, name)
      if type(value) == "boolean" then return true, value and { kind = kind, n = n } end
      if type(value) ~= "table" then
        local ok, size = worker_count.check(value)
        return ok, ok and { kind = kind, n = size }
      end
      local given = schema.check(types.schemas[of], value, ("%s: %s"):format(subject, name))
      local defaults, worker = {}, {}
      for key, each in next, given do
        if of_workers[key] then worker[key] = each
        elseif key ~= counts and key ~= "ordered" then defaults[key] = each end
      end
      return true, { kind = kind, n = given[counts] or n, ordered = given.ordered, worker = worker,
        defaults = defaults }
    end,
  }
end

--- Of groups, `p:processes({ n = 2, retries = 3 }, f)`: by the method's name.
context_types.groups = {}

--- The URL of a Redis server; what is wrong in it is said.
context_types.redis_url = {
  text = "a URL such as \"redis://host\"", lua = "string",
  check = function(value, subject, name)
    if type(value) ~= "string" then return false end
    local parts, problem = require("minigun.base.redis_url").parse(value)
    -- The URL itself is not shown: a password may stand in it.
    if not parts then failure.raise(("%s: %s: %s"):format(subject, name, problem)) end
    return true, value
  end,
}

--- Of a cluster: its URL, or a table with that.
context_types.cluster = {
  text = "a URL such as \"redis://host\", or { url =, lease =, tries =, limit =, ordered = }",
  lua = "string|minigun.ClusterOptions",
  check = function(value, subject, name)
    local of = types.schemas.cluster
    if type(value) == "string" then value = { url = value } end
    if type(value) ~= "table" then return false end
    local given = schema.check(of, value, ("%s: %s"):format(subject, name))
    if not given.url then return false end -- it must be given
    return true, context_types.cluster_context(given.url, given)
  end,
}

--- The context of a cluster.
---@param url string
---@param given table checked options: its own, and defaults for the stages inside
---@return table context
function context_types.cluster_context(url, given)
  local worker, defaults = schema.fill(types.schemas.cluster, { url = url }), {}
  worker.ordered = nil
  for name, value in next, given do
    if worker[name] ~= nil then worker[name] = value
    elseif name ~= "ordered" then defaults[name] = value end
  end
  return { kind = "cluster", n = 1, ordered = given.ordered, worker = worker, defaults = defaults }
end

for _, kind in ipairs(kinds) do
  local name, class = kind.name, "minigun." .. (kind.class or "")
  if kind.size then context_types[name] = context_type(name, kind.size, kind.n, name, class .. "Options") end
  if kind.also then context_types[name] = context_types[kind.also] end
  if kind.group then
    context_types.groups[name] = context_type(name, kind.size, kind.n, kind.group, class .. "GroupOptions")
  end
end

return context_types
