-- Writes docs/reference.md from the doc comments of the public modules and the schemas of the options.
--
-- usage: lua5.4 docs/generate.lua [--check]     --check writes nothing and fails where the page is not up to date
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
local options = require "minigun.options"

local PAGE = "docs/reference.md"

-- The modules that users meet, in reading order; what else is in lua/minigun is for the project's own developers.
local MODULES = {
  { "lua/minigun/init.lua", "The module `minigun`" },
  { "lua/minigun/pipeline.lua", "Pipelines" },
  { "lua/minigun/inheritance.lua", "Pipelines made from others" },
  { "lua/minigun/context.lua", "`ctx`, the handlers' last argument" },
  { "lua/minigun/result.lua", "Results" },
  { "lua/minigun/background.lua", "Background runs: what `p:start()` returns" },
  { "lua/minigun/stats.lua", "Statistics" },
  { "lua/minigun/spool.lua", "Spools: `minigun.spool`" },
}

local SCHEMAS = {
  { "run", "of `minigun.pipeline(name, options)` and `p:run(options)`" },
  { "producer", "of a producer" },
  { "processor", "of a processor, consumer, `map`, `flat_map`, `filter`, `each`" },
  { "accumulator", "of an accumulator and of `batch`" },
  { "context", "of a named context" },
  { "processes", "inside `processes`" },
  { "process_per_batch", "inside `process_per_batch`" },
  { "backoff", "inside `backoff`" },
  { "spool", "of `minigun.spool`" },
}

-- "string? shown in messages" to type and text; a type may be a table, a function or one word.
local function split_type(text)
  for _, pattern in ipairs { "^(%b{}%S*)%s*(.*)", "^(fun%b():?%s*%S*)%s*(.*)", "^(%S+)%s*(.*)" } do
    local kind, rest = text:match(pattern)
    if kind then
      return kind, rest
    end
  end
  return "any", text
end

-- The lines of a doc comment to { text, parameters, returns }; a plain line behind a tag goes on with the tag's text.
local function parse(comment)
  local entry = { text = {}, parameters = {}, returns = {} }
  local open
  for _, line in ipairs(comment) do
    local tag, rest = line:match("^@(%a+)%s*(.*)")
    if tag == "param" then
      local name, more = rest:match("^(%S+)%s*(.*)")
      local kind, text = split_type(more)
      open = { name = name, type = kind, text = text }
      table.insert(entry.parameters, open)
    elseif tag == "return" then
      local kind, text = split_type(rest)
      open = { type = kind, text = text }
      table.insert(entry.returns, open)
    elseif tag then
      open = nil
    elseif open then
      local sentence = open.text:match("[%w)`]$") and line:match("^%u")
      open.text = open.text == "" and line or open.text .. (sentence and ". " or " ") .. line
    else
      table.insert(entry.text, line)
    end
  end
  return entry
end

-- All functions of a file that are not local, with their comments, in order.
local function functions_of(path)
  local file = io.open(path)
  if not file then
    return {}
  end
  local found, comment = {}, {}
  for line in file:lines() do
    local text = line:match("^%-%-%-%s?(.*)")
    if text then
      table.insert(comment, text)
    else
      local signature = line:match("^function ([%w_]+[.:]%a[%w_]*%b())")
      if signature and #comment > 0 then
        local entry = parse(comment)
        entry.signature = signature
        table.insert(found, entry)
      end
      comment = {}
    end
  end
  file:close()
  return found
end

local function render(entry)
  local text = table.concat(entry.text, " ")
  -- "Adds a producer: `p:producer([name,] source)`." says how to call what is declared with `...`.
  local before, call = text:match("^([^`]-): `([%a_]+[:.][%a_]+%b())`")
  local heading = call or entry.signature
  if call then
    text = before .. text:sub(#before + #call + 5)
  end
  local lines = { ("### `%s`"):format(heading), "", text, "" }
  for _, parameter in ipairs(entry.parameters) do
    local name = parameter.name == "..." and "" or ("`%s` "):format(parameter.name)
    local kind = parameter.name == "..." and parameter.type == "any" and "" or ("(`%s`) "):format(parameter.type)
    table.insert(lines, ("- %s%s%s"):format(name, kind, parameter.text))
  end
  for _, value in ipairs(entry.returns) do
    table.insert(lines, ("- returns `%s` %s"):format(value.type, value.text))
  end
  for i, line in ipairs(lines) do
    lines[i] = line:gsub("%s+$", "")
  end
  return table.concat(lines, "\n")
end

local function page()
  local parts = { "# Reference", "Made by `make docs` from the comments in `lua/minigun`; change them, not this page." }
  for _, module in ipairs(MODULES) do
    local entries = functions_of(module[1])
    if #entries > 0 then
      table.insert(parts, "## " .. module[2])
      for _, entry in ipairs(entries) do
        table.insert(parts, render(entry))
      end
    end
  end
  table.insert(parts, "## Options")
  for _, schema in ipairs(SCHEMAS) do
    table.insert(parts, ("### Options %s"):format(schema[2]))
    table.insert(parts, options.describe(options.schemas[schema[1]]))
  end
  for i, part in ipairs(parts) do
    parts[i] = part:gsub("%s+$", "")
  end
  return table.concat(parts, "\n\n") .. "\n"
end

local text = page()
if arg[1] == "--check" then
  local file = io.open(PAGE)
  local present = file and file:read("a")
  if file then
    file:close()
  end
  if present ~= text then
    io.stderr:write(PAGE, " is not what the sources say; run `make docs` and commit it\n")
    os.exit(1)
  end
else
  local file = assert(io.open(PAGE, "w"))
  assert(file:write(text))
  file:close()
end
