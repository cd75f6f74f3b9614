-- Writes docs/reference.md, for readers, and library/minigun.lua, for the Lua language server, from the doc comments of
-- the public modules and the schemas of the options.
--
-- Each entry of the reference has an example, which lies in docs/reference_examples.md under the entry's name.
--
-- usage: lua5.4 docs/generate.lua [--check]     --check writes nothing and fails where a file is not up to date
--
-- A doc comment is a run of lines that begin with `---`, before a function, before `owner.name = ...`, or one that says
-- `@class`. Beside the language server's own tags it may hold the call in backquotes after a colon, where parameters
-- can be left out in front: "Adds a producer: `p:producer([name,] [options,] source)`."
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
local failure = require "minigun.base.failure"
local options = require "minigun.language.schemas"
for _, room in ipairs { "supervisor", "service" } do
  for name, made in next, require("minigun." .. room .. ".options").schemas do options.schemas[name] = made end
end

-- The modules that users meet, in reading order; what else is in lua/minigun is for the project's own developers.
local MODULES <const> = {
  { "init", "The module `minigun`" },
  { "pipeline", "Pipelines" },
  { "language/groups", "Groups and contexts" },
  { "language/hooks", "Hooks" },
  { "language/edits", "Pipelines made from others" },
  { "language/inserts", "Stages put between others" },
  { "language/one_liners", "Pipelines as tables" },
  { "handlers/ctx", "What handlers receive: `emit` and `ctx`" },
  { "run/result", "Results" },
  { "base/failure", "Failures and ends of workers" },
  { "base/stats", "Statistics" },
  { "run/snapshot", "A run in numbers: `run:status()`, `result:summary()`" },
  { "control/background", "Background runs: what `p:start()` returns" },
  { "executor/pool", "Executors: what `minigun.executor` and `p:open()` return" },
  { "sources/reading", "Sources: `minigun.lines`, `records`, `csv`, `range`, `files`" },
  { "store/spool", "Spools: `minigun.spool`" },
  { "handlers/command", "Programs: `minigun.command`" },
  { "loop", "Event loops: `require \"minigun.loop\"`" },
  { "loops/face", "What `loop.new()` returns" },
  { "futures/future", "Futures" },
  { "futures/several", "Waiting for several futures" },
  { "service/server", "Services: `minigun.service`" },
  { "service/client", "Clients of services: `minigun.connect`" },
  { "supervisor/server", "Servers: `minigun.supervisor`" },
  { "supervisor/worker", "What a worker of a server receives: `w`" },
}

-- Whose functions are public: from the name in the source to class and the way a user writes it.
local OWNERS <const> = {
  minigun = { class = "minigun", prefix = "minigun." },
  Pipeline = { class = "minigun.Pipeline", prefix = "p:" },
  groups = { class = "minigun.Pipeline", prefix = "p:" },
  hooks = { class = "minigun.Pipeline", prefix = "p:" },
  inheritance = { class = "minigun.Pipeline", prefix = "p:" },
  inserts = { class = "minigun.Pipeline", prefix = "p:" },
  Ctx = { class = "minigun.Ctx", prefix = "ctx:" },
  Result = { class = "minigun.Result", prefix = "result:" },
  Run = { class = "minigun.Run", prefix = "run:" },
  Executor = { class = "minigun.Executor", prefix = "executor:" },
  Source = { class = "minigun.Source", prefix = "source:" },
  Spool = { class = "minigun.Spool", prefix = "spool:" },
  loop = { class = "minigun.loop", prefix = "loop." },
  Loop = { class = "minigun.Loop", prefix = "loop:" },
  Watch = { class = "minigun.Watch", prefix = "watch:" },
  Future = { class = "minigun.Future", prefix = "future:" },
  Service = { class = "minigun.Service", prefix = "service:" },
  Client = { class = "minigun.Client", prefix = "client:" },
  Supervisor = { class = "minigun.Supervisor", prefix = "server:" },
  Server = { class = "minigun.Server", prefix = "running:" },
  Worker = { class = "minigun.Worker", prefix = "w:" },
}

-- Each entry: the schema; the class of its options; the functions that take them; and, where several schemas share a
-- table of the page, the word that stands for this schema in the column "for".
local SCHEMAS <const> = {
  { "root", "PipelineOptions", "of `minigun.pipeline(name, options)`: of its runs, and defaults for its stages",
    "pipeline" },
  { "run", "RunOptions", "of `p:run(options)`, over those of the pipeline", "run" },
  { "producer", "ProducerOptions", "of a producer", "producer" },
  { "processor", "ProcessorOptions", "of a processor, consumer, `map`, `flat_map`, `filter`, `each`", "processor" },
  { "accumulator", "AccumulatorOptions", "of an accumulator and of `batch`", "batch" },
  { "pipeline", "NestedOptions", "of a nested pipeline", "nested" },
  { "reduce", "ReduceOptions", "of `reduce`", "reduce" },
  { "context", "ContextOptions", "of a named context", "context" },
  { "threads", "ThreadOptions", "inside `threads`" },
  { "processes", "PoolOptions", "inside `processes`" },
  { "process_per_batch", "ForkOptions", "inside `process_per_batch`" },
  { "cluster", "ClusterOptions", "inside `cluster`" },
  { "cluster_group", "ClusterGroupOptions", "of `p:cluster(url, options, f)`", "cluster group" },
  { "process_group", "PoolGroupOptions", "of `p:processes(options, f)`", "group" },
  { "fork_group", "ForkGroupOptions", "of `p:process_per_batch(options, f)`", "fork group" },
  { "thread_group", "ThreadGroupOptions", "of `p:threads(options, f)`", "thread group" },
  { "inline_group", "GroupOptions", "of `p:inline(options, f)`", "inline group" },
  { "open", "StandingOptions", "of `minigun.executor` and of `p:open`, beside those of a run" },
  { "submit", "SubmitOptions", "of `executor:submit`" },
  { "halt", "HaltOptions", "inside `halt`" },
  { "backoff", "BackoffOptions", "inside `backoff`" },
  { "journal", "JournalOptions", "inside `journal`" },
  { "spool", "SpoolOptions", "of `minigun.spool`" },
  { "lines", "LinesOptions", "of `minigun.lines`" },
  { "records", "RecordsOptions", "of `minigun.records`" },
  { "csv", "CsvOptions", "of `minigun.csv`" },
  { "command", "CommandOptions", "of `minigun.command`" },
  { "log", "LogOptions", "of `minigun.logging`" },
  { "supervisor", "SupervisorOptions", "of `minigun.supervisor`" },
  { "service", "ServiceOptions", "of `minigun.service`" },
  { "connect", "ConnectOptions", "of `minigun.connect`" },
  { "request", "RequestOptions", "of `client:submit`" },
  { "back_off", "BackOffOptions", "inside `back_off`" },
}

-- ---- reading ------------------------------------------------------------------------------------------------------

-- "string? shown in messages" to type and text. A blank inside brackets, and one after ":", belongs to the type.
local function split_type(text)
  local depth = 0
  for at = 1, #text do
    local char = text:sub(at, at)
    if char:find "[%({<%[]" then depth = depth + 1 elseif char:find "[%)}>%]]" then depth = depth - 1 end
    if char == " " and depth == 0 and text:sub(at - 1, at - 1) ~= ":" then
      return text:sub(1, at - 1), text:sub(at + 1)
    end
  end
  return text, ""
end

-- The lines of a doc comment to an entry: { text, parameters, returns, fields, copied, class, private }.
local function parse(comment)
  local entry = { text = {}, parameters = {}, returns = {}, fields = {}, copied = {} }
  local open
  local function add(list, name, rest)
    open = { name = name }
    open.type, open.text = split_type(rest)
    table.insert(list, open)
  end
  for _, line in ipairs(comment) do
    local tag, rest = line:match "^@(%a+)%s*(.*)"
    if tag == "param" then
      add(entry.parameters, rest:match "^(%S+)%s*(.*)")
    elseif tag == "field" then
      add(entry.fields, rest:match "^(%S+)%s*(.*)")
    elseif tag == "return" then
      add(entry.returns, nil, rest)
    elseif tag == "type" then
      add(entry.fields, "", rest)
    elseif tag == "class" then
      entry.class, entry.parents = rest:match "^([%w.]+)%s*:?%s*(.*)"
    elseif tag == "private" then
      entry.private = true
    elseif tag then
      open = nil
      table.insert(entry.copied, "---" .. line)
    elseif open then
      open.text = open.text == "" and line or open.text .. " " .. line
    else
      table.insert(entry.text, line)
    end
  end
  return entry
end

-- What stands after a comment: owner, name and parameters of a public function, or the owner and name of a value.
local function subject_of(line)
  local owner, name, list = line:match "^function ([%w_]+)[.:](%a[%w_]*)%((.-)%)"
  if not owner then owner, name = line:match "^([%w_]+)%.(%a[%w_]*) = " end
  return OWNERS[owner], name, list
end

-- "p:map([name,] [options,] f)": how a call is written.
local function heading_of(entry)
  local parts = {}
  for _, parameter in ipairs(entry.parameters) do
    local optional = parameter.type:find "%?$" and not parameter.type:find "^fun%("
    local comma = #parts > 0 and ", " or ""
    parts[#parts + 1] = optional and ("%s[%s%s]"):format(#parts > 0 and " " or "", comma, parameter.name)
      or comma .. parameter.name
  end
  return ("%s%s(%s)"):format(entry.owner.prefix, entry.name, table.concat(parts))
end

-- Fills in an entry that stands before a public function or value.
local function complete(entry, owner, name, list)
  entry.owner, entry.name, entry.text = owner, name, table.concat(entry.text, " ")
  if entry.fields[1] then                       -- ---@type
    entry.fields[1].name = name
    return entry
  end
  if #entry.parameters == 0 then
    for parameter in (list or ""):gmatch "[%w_]+" do
      table.insert(entry.parameters, { name = parameter, type = "any", text = "" })
    end
  end
  local before, call, rest = entry.text:match "^([^`]-): `([%a_]+[:.][%a_]+%b())`(.*)"
  entry.heading = call or heading_of(entry)
  if call then entry.text = before .. rest end
  entry.skippable = {}
  for parameter in entry.heading:gmatch "%[([%w_]+),%]" do entry.skippable[parameter] = true end
  return entry
end

-- The public functions, values and classes of a file, in order.
local function entries_of(path)
  local found, comment, number = {}, {}, 0
  for line in io.lines(path) do
    number = number + 1
    local text = line:match "^%-%-%-%s?(.*)"
    if #comment > 0 and number > #comment + 1 and line:find "^%-%-[^-]" then
      error(("%s:%d: two dashes would end the doc comment here; write three"):format(path, number), 0)
    elseif text then
      table.insert(comment, text)
    elseif #comment > 0 then
      local entry = parse(comment)
      local owner, name, list = subject_of(line)
      if entry.class then
        entry.text = table.concat(entry.text, " ")
        table.insert(found, entry)
      elseif owner and not entry.private then
        table.insert(found, complete(entry, owner, name, list))
      end
      comment = {}
    end
  end
  return found
end

-- ---- the page -----------------------------------------------------------------------------------------------------

local function bullet(name, kind, text)
  return (("- %s(`%s`) %s"):format(name, kind, text):gsub("%s+$", ""))
end

-- The examples by the name of their entry: the text between two headings.
local function read_examples()
  local file <close> = assert(io.open "docs/reference_examples.md")
  local examples, name = {}, nil
  for line in file:lines() do
    name = line:match "^### (.+)" or name
    if name and not line:find "^### " then examples[name] = (examples[name] or "") .. line .. "\n" end
  end
  return examples
end

local examples = read_examples()

local function example_of(name)
  local text = examples[name]
  if not text then error(("docs/reference_examples.md has no example '%s'"):format(name), 0) end
  examples[name] = nil
  return "\n" .. text:match "^%s*(.-)%s*$"
end

local function render(entry)
  local lines = { ("### `%s`"):format(entry.class or entry.heading or entry.owner.prefix .. entry.name), "" }
  if entry.text ~= "" then lines[#lines + 1] = entry.text .. "\n" end
  if entry.parents and entry.parents ~= "" then
    lines[#lines + 1] = "It has all that these have: " .. entry.parents:gsub("[%w.]+", "`%0`") .. ".\n"
  end
  for _, parameter in ipairs(entry.parameters) do
    lines[#lines + 1] = bullet(("`%s` "):format(parameter.name), parameter.type, parameter.text)
  end
  for _, field in ipairs(entry.fields) do
    lines[#lines + 1] = bullet(("`%s` "):format(field.name), field.type, field.text)
  end
  for _, value in ipairs(entry.returns) do
    local name, text = value.text:match "^(%S*)%s*(.*)"
    lines[#lines + 1] = bullet("returns " .. (name ~= "" and ("`%s` "):format(name) or ""), value.type, text)
  end
  lines[#lines + 1] = example_of(entry.class or entry.owner.prefix .. entry.name)
  return table.concat(lines, "\n")
end

local function table_of(head, rows)
  local lines = { "| " .. table.concat(head, " | ") .. " |", "|" .. (" --- |"):rep(#head) }
  for _, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do cells[i] = cell:gsub("|", "\\|") end
    lines[#lines + 1] = "| " .. table.concat(cells, " | ") .. " |"
  end
  return table.concat(lines, "\n")
end

local function default_of(field)
  return field.default_text or (field.default ~= nil and ("`%s`"):format(failure.show(field.default))) or ""
end

-- The options: one table of all that pipelines, stages and contexts take, each option once, with what takes it; then
-- the tables of those that stand inside another option.
local function options_part(parts)
  local rows, by_key, inside = {}, {}, {}
  for _, schema in ipairs(SCHEMAS) do
    local names = {}
    for i, field in ipairs(options.schemas[schema[1]]) do
      names[i] = "`" .. field.name .. "`"
      local row = { names[i], schema[4] or "", field.type.text, default_of(field), field.doc }
      local key = table.concat({ field.name, row[3], row[4], row[5] }, "\0")
      if schema[4] and by_key[key] then
        by_key[key][2] = by_key[key][2] .. ", " .. schema[4]
      elseif schema[4] then
        by_key[key] = row
        rows[#rows + 1] = row
      end
    end
    local heading = ("### `minigun.%s`: %s"):format(schema[2], schema[3])
    if schema[4] then
      parts[#parts + 1] = heading .. ("\n\nIn the table: %s. "):format(schema[4]) .. table.concat(names, ", ") .. "."
    else
      inside[#inside + 1] = heading .. "\n\n" .. options.describe(options.schemas[schema[1]])
    end
  end
  parts[#parts + 1] = "### Each option\n\n" .. table_of({ "option", "for", "type", "default", "meaning" }, rows)
  table.move(inside, 1, #inside, #parts + 1, parts)
end

local function page(modules)
  local parts = { "# Reference", "Made by `make docs` from the comments in `lua/minigun`; change them, not this page.",
    "Types are written as the Lua language server has them: `string?` may be nil, `any[]` is an array. The tests " ..
    "run the examples; each begins with `local minigun = require \"minigun\"`, and a block of text is what it prints." }
  for i, entries in ipairs(modules) do
    table.insert(parts, "## " .. MODULES[i][2])
    for _, entry in ipairs(entries) do table.insert(parts, render(entry)) end
  end
  table.insert(parts, "## Options")
  options_part(parts)
  local unused = next(examples)
  if unused then error(("docs/reference_examples.md: no entry is called '%s'"):format(unused), 0) end
  for i, part in ipairs(parts) do parts[i] = part:gsub("%s+$", "") end
  return table.concat(parts, "\n\n") .. "\n"
end

-- ---- the types ----------------------------------------------------------------------------------------------------

local Library = {}
Library.__index = Library

function Library:line(text, ...)
  local line = select("#", ...) > 0 and text:format(...) or text
  table.insert(self, (line:gsub("%s+$", "")))
end

function Library:text(text)
  local line = "---"
  for word in text:gmatch "%S+" do
    if #line + #word > 118 then
      self:line(line)
      line = "---"
    end
    line = line .. " " .. word
  end
  if line ~= "---" then self:line(line) end
end

function Library:class(name, parents, fields, copied)
  self:line("---@class %s%s", name, parents ~= "" and ": " .. parents or "")
  for _, field in ipairs(fields) do self:line("---@field %s %s %s", field.name, field.type, field.text) end
  for _, line in ipairs(copied) do self:line(line) end
end

-- One overload for each way of leaving out parameters in front.
function Library:overloads(entry)
  local lists = { {} }
  for _, parameter in ipairs(entry.parameters) do
    local written = ("%s: %s"):format(parameter.name, parameter.type)
    for i = 1, #lists do
      if entry.skippable[parameter.name] then
        table.insert(lists, { skipped = true, table.unpack(lists[i]) })
      end
      table.insert(lists[i], written)
    end
  end
  for _, list in ipairs(lists) do
    if list.skipped then
      table.insert(list, 1, "self: " .. entry.owner.class)
      self:line("---@overload fun(%s): %s", table.concat(list, ", "), entry.returns[1].type)
    end
  end
end

-- Whether what a user calls is a module, not an object.
local function is_module(owner) return owner.prefix:find "%.$" ~= nil end

function Library:method(entry)
  local name, names = entry.owner.class:match "[^.]+$", {}
  self:text(entry.text)
  for _, line in ipairs(entry.copied) do
    if line:find "@generic" then self:line(line) end
  end
  for i, parameter in ipairs(entry.parameters) do
    names[i] = parameter.name
    self:line("---@param %s %s %s", parameter.name, parameter.type, parameter.text)
  end
  for _, value in ipairs(entry.returns) do self:line("---@return %s %s", value.type, value.text) end
  for _, line in ipairs(entry.copied) do
    if not line:find "@generic" then self:line(line) end
  end
  self:overloads(entry)
  self:line("function %s%s%s(%s) end", name, is_module(entry.owner) and "." or ":", entry.name,
    table.concat(names, ", "))
end

local function library(modules)
  local self = setmetatable({}, Library)
  self:line "---@meta minigun"
  self:line "-- Types for editors, made by `make docs`, never loaded. Name this file's directory in the setting"
  self:line "-- workspace.library of the Lua language server."
  local values, methods = {}, {}
  for _, entries in ipairs(modules) do
    for _, entry in ipairs(entries) do
      if entry.owner and entry.fields[1] then table.insert(values, entry.fields[1]) end
      if entry.heading then methods[entry.owner.class] = true end
    end
  end
  for _, schema in ipairs(SCHEMAS) do
    local fields = {}
    for i, field in ipairs(options.schemas[schema[1]]) do
      local kind = assert(field.type.lua, "the type of the option '" .. field.name .. "' has no field lua")
      fields[i] = { name = field.name .. "?", type = kind, text = field.doc }
    end
    self:line ""
    self:text("Options " .. schema[3] .. ".")
    self:class("minigun." .. schema[2], "", fields, {})
  end
  self:line ""
  self:class("minigun", "", values, {})
  self:line "local minigun = {}"
  for _, entries in ipairs(modules) do
    for _, entry in ipairs(entries) do
      if entry.class then
        self:line ""
        self:text(entry.text)
        self:class(entry.class, entry.parents, entry.fields, entry.copied)
        if methods[entry.class] then self:line("local %s = {}", entry.class:match "[^.]+$") end
      elseif entry.heading then
        self:line ""
        if is_module(entry.owner) and entry.owner.class ~= "minigun" and not methods[entry.owner] then
          methods[entry.owner] = true
          self:class(entry.owner.class, "", {}, {})
          self:line("local %s = {}", entry.owner.class:match "[^.]+$")
          self:line ""
        end
        self:method(entry)
      end
    end
  end
  self:line ""
  self:line "return minigun"
  return table.concat(self, "\n") .. "\n"
end

-- ---- writing ------------------------------------------------------------------------------------------------------

local modules = {}
for i, module in ipairs(MODULES) do
  modules[i] = entries_of(("lua/minigun/%s.lua"):format(module[1]))
end

local stale = false
for path, text in pairs { ["docs/reference.md"] = page(modules), ["library/minigun.lua"] = library(modules) } do
  local file = io.open(path)
  local present = file and file:read("a")
  if file then file:close() end
  if present ~= text and arg[1] == "--check" then
    stale = true
    io.stderr:write(path, " is not what the sources say; run `make docs` and commit it\n")
  elseif present ~= text then
    file = assert(io.open(path, "w"))
    assert(file:write(text))
    file:close()
  end
end
if stale then os.exit(1) end
