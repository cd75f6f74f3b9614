--- `minigun map EXPRESSION`: each line of the standard input through a Lua expression, over all cores, in order.
local input = require "minigun.command.input"
local minigun = require "minigun"
local schema = require "minigun.base.schema"
local status = require "minigun.command.status"

local map = {
  name = "map",
  stops = true,
  summary = "each line of the standard input through a Lua expression, over all cores, in order",
  about = [[
    Prints what EXPRESSION gives for each line. In it `line` is the line; where it gives nil or false nothing is
    printed. It may also be statements, which call emit(value) as often as they like. A line for which it raises
    an error is named on standard error, and the exit status is 1 then; the other lines come all the same. Where no
    line gives anything, a line on standard error says so; not with -n.]],
  options = {
    { "-j --jobs", "N", "N worker processes; one for each processor by default", convert = "count" },
    { "-n --quiet", nil, "print nothing by itself: only what emit is given" },
    { "-b --begin", "CODE",
      "Lua that runs in each worker before its first line: require, global variables; EXPRESSION sees no local ones" },
    { "-u --unordered", nil, "print results as they come" },
    { "--json", nil, "each line is JSON, decoded in `value`, and each result is printed as JSON (needs cjson)" },
    { "-0 --null", nil, "what is read, and printed, ends with a zero byte instead of a newline", name = "null" },
    { "--retries", "N", "further attempts for a line that fails", convert = "natural" },
    { "--timeout", "SECONDS", "for each line", convert = "seconds" },
  },
  arguments = { { "EXPRESSION", "a Lua expression, or statements" } },
  examples = {
    { "seq 5 | minigun map 'tonumber(line)^2'", "1.0, 4.0, 9.0, 16.0, 25.0, a line each" },
    { "minigun map 'line:find \"error\" and line:upper()' < app.log", "the lines with \"error\" in them, in capitals" },
    { "minigun map --json 'value.name' < users.jsonl", "the field name of each" },
  },
}

-- The expression as a function of line, value and emit; it shares its globals with CODE.
local function compile(text, env)
  if not text:find "%S" then status.wrong_call "map: the EXPRESSION is missing" end
  local head = "local line, value, emit = ...; "
  local f, fault = load(head .. "return " .. text, "=expression", "t", env)
  if f then return f end
  local other
  f, other = load(head .. text, "=expression", "t", env)
  if f then return f end
  status.wrong_call("map: " .. (fault:find "near <eof>$" and fault or other)) -- the one that has read further
end

local function json()
  local found, cjson = pcall(require, "cjson")
  if not found then
    status.complain("map: --json needs the module cjson (Debian: lua-cjson)", status.FAILED)
  end
  return cjson
end

-- How a result is printed.
local function to_text(value)
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
    error(("the expression gives a %s; it can print strings, numbers and booleans, or anything with --json")
      :format(kind), 0)
  end
  return tostring(value)
end

local function handler_of(given, env)
  local f = compile(given.expression, env)
  local decode, encode
  if given.json then decode, encode = json().decode, json().encode end
  encode = encode or to_text
  local quiet = given.quiet
  return function(line, emit)
    local function print_value(value) emit(encode(value)) end
    local value = f(line, decode and decode(line), print_value)
    if value and not quiet then print_value(value) end
  end
end

local function begin(code, env)
  if not code then return function() end end
  local f, fault = load(code, "=begin", "t", env)
  if not f then status.wrong_call("map: " .. fault) end
  return f
end

-- What is said where no line has given anything: it may be a name that is misspelt, which is nil in Lua.
local function hint_of(expression, lines)
  local meant = ""
  for name in expression:gmatch "%f[%w_.:][%a_][%w_]*" do
    local near = not _G[name] and schema.suggest(name, { "line", "value", "emit" })
    if near and near ~= name then meant = (" (by '%s', did you mean '%s'?)"):format(name, near) break end
  end
  return ("minigun: map: nothing to print: EXPRESSION gives nil or false for %s%s\n"):format(
    lines == 1 and "the one line" or ("each of the %d lines"):format(lines), meant)
end

---@param given table
---@return integer status
function map.run(given)
  local env = setmetatable({}, { __index = _G })
  local after_fork = begin(given.begin, env)
  local close = given.null and "\0" or "\n"
  local p = minigun.pipeline "map"
  p:producer("input", input.source(given.null))
  p:context("workers", { processes = given.jobs or minigun.cpus(), ordered = not given.unordered,
    retries = given.retries, timeout = given.timeout })
  p:processor("expression", { context = "workers" }, handler_of(given, env))
  p:after_fork("expression", function() after_fork() end)
  p:batch({ max_size = 1000, max_wait = 0.02 })
  p:each("print", function(texts) status.print(table.concat(texts, close) .. close) end)
  local failed = 0
  p:on_failure(function(record)
    failed = failed + 1
    local what = record.stage == "input" and input.problem(record.message) or
      ("%s: %s"):format(tostring(record.item), record.message)
    io.stderr:write("minigun: map: ", what, "\n")
  end)
  local expression = p:run({ progress = false }).stats.stages.expression
  if failed > 0 then return status.FAILED end
  if expression.items_in > 0 and expression.items_out == 0 and not given.quiet then
    io.stderr:write(hint_of(given.expression, expression.items_in))
  end
  return status.DONE
end

return map
