--- A program that is looked at and not run: its pipelines are defined, and where it would run the first of them it
-- ends. Mistakes in definitions do not end it: each is noted, with its place, and the next definition follows.
local minigun = require "minigun"
local background = require "minigun.control.background"
local execution = require "minigun.control.execution"
local methods = require "minigun.base.methods"
local program = require "minigun.command.program"
local to_end = require "minigun.control.to_end"

local dry_run = {}

local STOP <const> = setmetatable({}, { __tostring = function() return "the program is only looked at" end })

local Pipeline <const> = getmetatable(minigun.pipeline())
local RUNS <const> = { run = true, start = true, iterate = true, open = true }
local DEFINES_STAGES <const> = { producer = true, processor = true, consumer = true, accumulator = true, map = true,
  flat_map = true, filter = true, each = true, stage = true, reduce = true, batch = true }

local function nothing() end

-- Stands for a service: a source, whose methods would run it.
local STAND_IN <const> = setmetatable({}, { __call = nothing, __index = function()
  return function() error(STOP, 0) end
end })

local replaced = {} -- { table, name, what it was }

local function replace(owner, name, value)
  replaced[#replaced + 1] = { owner, name, owner[name] }
  owner[name] = value
end

-- A stage that could not be defined stands in the graph by its name, so that those that name it are not blamed too.
local function stand_in(definitions, p, method, name)
  if not DEFINES_STAGES[method] or type(name) ~= "string" or p.by_name[name] then return end
  pcall(definitions[method == "producer" and "producer" or "processor"], p, name, nothing)
end

-- The methods of all pipelines note what they raise, and the pipeline that they belong to.
local function make_tolerant(found)
  local definitions, depth = {}, 0
  for name, method in pairs(Pipeline) do
    if name:find "^%l" and not RUNS[name] and name ~= "extend" then
      definitions[name] = method
      replace(Pipeline, name, function(self, ...)
        if getmetatable(self) ~= Pipeline then return method(self, ...) end
        found:pipeline(self, depth)
        if name == "pipeline" then depth = depth + 1 end
        local results = table.pack(pcall(method, self, ...))
        if name == "pipeline" then depth = depth - 1 end
        if results[1] then return table.unpack(results, 2, results.n) end
        if results[2] == STOP then error(STOP, 0) end
        found:mistake(results[2])
        stand_in(definitions, self, name, (...))
        return self
      end)
    end
  end
end

-- A run that is wrong in itself is a run that was asked for, too.
local function end_at_runs(found)
  for name in pairs(RUNS) do
    local method = Pipeline[name]
    replace(Pipeline, name, function(self, ...)
      local _, fault = pcall(method, self, ...)
      if not rawequal(fault, STOP) then
        found:mistake(fault)
        found.run = self
      end
      error(STOP, 0)
    end)
  end
end

-- A method that there is not is a mistake, too.
local function make_names_tolerant(found)
  replace(Pipeline, "__index", function(self, name)
    local value = rawget(Pipeline, name)
    local ok, problem = true, nil
    if value == nil then ok, problem = pcall(methods.check, Pipeline, name) end
    if ok then return value end
    found:mistake(problem)
    return function() return self end
  end)
end

local Found <const> = {}
Found.__index = Found

-- Notes a pipeline, once; one that is seen first inside another's definition belongs to that.
function Found:pipeline(p, depth)
  if self.seen[p] then return end
  self.seen[p] = true
  if depth == 0 then table.insert(self.pipelines, p) end
end

-- Notes what was raised: a line for each mistake, all with the same place before them. What else follows is where the
-- program was.
function Found:mistake(message)
  message = tostring(message)
  local place = message:match "^[^\n]-:%d+: " or message:match "^[^\n]*"
  for line in message:gmatch "[^\n]+" do
    if line:sub(1, #place) ~= place then break end
    table.insert(self.mistakes, line)
  end
end

-- From now on pipelines are defined and run as ever.
local function finish()
  for i = #replaced, 1, -1 do
    local owner, name, value = table.unpack(replaced[i])
    owner[name] = value
  end
  replaced = {}
end

-- Notes the pipelines that are made, and that a server is; no socket is opened.
local function watch_doors(found)
  local new = minigun.pipeline
  replace(minigun, "pipeline", function(...)
    local ok, p = pcall(new, ...)
    if not ok then
      found:mistake(p)
      p = new(type((...)) == "string" and (...) or nil)
    end
    found:pipeline(p, 0)
    return p
  end)
  replace(minigun, "service", function() return STAND_IN end) -- its socket is not opened
  local make_server = minigun.supervisor
  replace(minigun, "supervisor", function(...)
    found.server = true
    local ok, fault = pcall(make_server, ...)
    if not ok then found:mistake(fault) end
    return { run = function() error(STOP, 0) end }
  end)
end

--- Loads a program and lets it define its pipelines.
---@param words string[] the file, and its words
---@return table found `pipelines`: those that are not nested, in order; `run`: the one that it would run; `options` of
--- that run; `mistakes`: texts, "file:line: what"; `server`: it makes a server; `broken`: it has raised something else;
--- `standing`: of an executor, see plan.build
function dry_run.load(words)
  local found = setmetatable({ pipelines = {}, seen = {}, mistakes = {} }, Found)
  local function stop(p, options, how)
    found.run, found.options, found.standing = p, options, type(how) == "table" and how.standing or nil
    error(STOP, 0)
  end
  for owner, names in pairs { [to_end] = { "run", "iterate" }, [background] = { "start" },
    [execution] = { "new" } } do -- that of an executor
    for _, name in ipairs(names) do replace(owner, name, stop) end
  end
  io.output(io.stderr) -- what the program prints is not what is asked for
  replace(_G, "print", function(...)
    local texts = table.pack(...)
    for i = 1, texts.n do texts[i] = tostring(texts[i]) end
    io.stderr:write(table.concat(texts, "\t"), "\n")
  end)
  make_tolerant(found)
  make_names_tolerant(found)
  end_at_runs(found)
  watch_doors(found)
  local chunk = program.load(words[1])
  local rest = table.move(words, 2, #words, 1, {})
  _G.arg = { [0] = words[1], table.unpack(rest) }
  local ok, value = pcall(chunk, table.unpack(rest))
  io.output(io.stdout)
  if ok then
    if program.class_of(value) == "minigun.pipeline" then found.run = value end
    local is_table_of_server = type(program.field(value, "worker")) == "function" and getmetatable(value) == nil
    if is_table_of_server and not found.server then minigun.supervisor(value) end
  elseif value ~= STOP then
    found:mistake(value)
    found.broken = true
  end
  finish()
  return found
end

return dry_run
