--- Schemas: what options a thing takes. A schema validates, fills in and documents them.
--
-- A schema is a list of fields `{ name, type, default = , default_text = , doc = }`; a type is
-- `{ text = "what is expected", lua = "type for editors", check = function(value, subject, name) -> ok, normalised }`.
local failure = require "minigun.base.failure"

local schema = {}

--- The metatable of pipelines, which pipeline.lua fills in: a name can be any other metatable's, too.
schema.Pipeline = nil

local function is_callable(value)
  if type(value) == "function" then return true end
  local meta = debug.getmetatable(value)
  return type(meta) == "table" and type(rawget(meta, "__call")) == "function"
end

--- Whether a value can be called: a function, or an object with `__call`.
---@param value any
---@return boolean
schema.is_callable = is_callable

--- A value for messages about arguments: what it is, and which one where that is short.
---@param value any
---@return string text
function schema.got(value)
  local kind = type(value)
  if kind == "string" then return "the string " .. failure.show(value) end
  if kind == "number" or kind == "boolean" or value == nil then return tostring(value) end
  local meta = kind == "table" and debug.getmetatable(value)
  if meta and rawequal(meta, schema.Pipeline) then return "a pipeline" end -- no Pipeline: that module is not loaded
  return "a " .. kind
end

-- Insertions, deletions, replacements and swaps of neighbours ("form" for "from") that turn a into b.
local function edit_distance(a, b)
  local before, row = nil, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local next_row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local best = math.min(row[j] + 1, next_row[j - 1] + 1, row[j - 1] + (same and 0 or 1))
      if before and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      next_row[j] = best
    end
    before, row = row, next_row
  end
  return row[#b]
end

--- The candidate that was most likely meant.
---@param name string what the user wrote
---@param candidates table array of valid names
---@return string? nearest nil where nothing is close enough to be worth suggesting
function schema.suggest(name, candidates)
  local best, best_distance
  local lower = name:lower()
  for _, candidate in ipairs(candidates) do
    local other = candidate:lower()
    local distance = edit_distance(lower, other)
    local length = math.min(#lower, #other, 4)
    local begins = length >= 3 and lower:sub(1, length) == other:sub(1, length)
    local near = distance <= math.min(3, (math.max(#lower, #other) + 1) // 3)
    if (begins or near) and (not best or distance < best_distance) then
      best, best_distance = candidate, distance
    end
  end
  return best
end

--- "(did you mean 'x'?)", or the list of what is valid, to be put after a message about an unknown name.
---@param name string what the user wrote
---@param candidates table array of valid names
---@return string text begins with a space; empty where there are no candidates
function schema.hint(name, candidates)
  local nearest = schema.suggest(name, candidates)
  if nearest then return (" (did you mean '%s'?)"):format(nearest) end
  if #candidates == 0 then return "" end
  return " (there are: " .. table.concat(candidates, ", ") .. ")"
end

local function expected(kind, value, subject, name)
  return ("%s: %s must be %s, got %s"):format(subject, name, kind.text, schema.got(value))
end

--- Checks one value against a type.
---@param kind table a type
---@param value any
---@param subject string what the value belongs to, for the message: "stage 'parse'"
---@param name string the option's or argument's name
---@return any normalised
function schema.value(kind, value, subject, name)
  local ok, normalised = kind.check(value, subject, name)
  if not ok then failure.raise(expected(kind, value, subject, name)) end
  return normalised
end

local function unknown_option(of, name, subject)
  if type(name) ~= "string" then
    return ("%s: options are given by name, got a value at [%s]"):format(subject, failure.show(name))
  end
  local reason = of.refused[name]
  if reason then return ("%s: option '%s' is not for a %s: %s"):format(subject, name, of.name, reason) end
  return ("%s: unknown option '%s'%s"):format(subject, name, schema.hint(name, of.names))
end

-- Raises all mistakes of one call: a line for each, with its place.
local function raise_all(mistakes)
  table.sort(mistakes)
  local at = failure.where()
  failure.raise(table.concat(mistakes, at and ("\n%s: "):format(at) or "\n"), at)
end

--- Validates options. What was not given stays nil, so that options of several origins can be laid over one another.
-- All mistakes are raised together: a line for each.
---@param of table schema
---@param given table? the user's options, left untouched
---@param subject string what the options belong to, for messages: "stage 'parse'"
---@return table checked the normalised values of the given options
function schema.check(of, given, subject)
  if given == nil then return {} end
  if type(given) ~= "table" then
    failure.raise(("%s: options must be a table, got %s"):format(subject, schema.got(given)))
  end
  local checked, mistakes = {}, {}
  if next(given) == nil then return checked end
  for name in next, given do
    if not of.by_name[name] then mistakes[#mistakes + 1] = unknown_option(of, name, subject) end
  end
  for _, field in ipairs(of) do
    local value, name = given[field.name], "option '" .. field.name .. "'"
    if value ~= nil then
      local ok, normalised = field.type.check(value, subject, name)
      checked[field.name] = normalised
      if not ok then mistakes[#mistakes + 1] = expected(field.type, value, subject, name) end
    end
  end
  if mistakes[1] then raise_all(mistakes) end
  return checked
end

--- Lays checked options over one another and fills in defaults for the rest.
---@param of table schema
---@param ... table? results of `schema.check`, the strongest first
---@return table filled
function schema.fill(of, ...)
  local filled = {}
  for name, default in next, of.defaults do filled[name] = default end
  for i = select("#", ...), 1, -1 do
    for name, value in next, (select(i, ...)) or {} do
      if of.by_name[name] then filled[name] = value end
    end
  end
  return filled
end

--- The options of a schema as a Markdown table.
---@param of table schema
---@return string markdown
function schema.describe(of)
  local lines = { "| option | type | default | meaning |", "| --- | --- | --- | --- |" }
  for _, field in ipairs(of) do
    local default = field.default_text or (field.default ~= nil and ("`%s`"):format(failure.show(field.default))) or ""
    local row = { "`" .. field.name .. "`", field.type.text, default, field.doc }
    for i, cell in ipairs(row) do row[i] = cell:gsub("|", "\\|") end
    lines[#lines + 1] = "| " .. table.concat(row, " | ") .. " |"
  end
  return table.concat(lines, "\n")
end

--- Makes a schema.
---@param name string the kind of thing that takes the options
---@param lists table array of arrays of fields `{ name, type, default =, default_text =, doc = }`
---@param extra { refused: table<string, string>? }?
--- `refused`: names that other kinds have, with the reason why this one has not
---@return table schema
function schema.new(name, lists, extra)
  local made = { name = name, names = {}, by_name = {}, defaults = {}, refused = extra and extra.refused or {} }
  for _, list in ipairs(lists) do
    for _, field in ipairs(list) do
      field.name, field.type = field[1], field[2]
      made[#made + 1], made.names[#made.names + 1], made.by_name[field.name] = field, field.name, field
      made.defaults[field.name] = field.default
    end
  end
  return made
end

return schema
