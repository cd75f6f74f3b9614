--- From what a verb says about itself to a parser of its words: lua-argparse, which need not be installed as long as no
-- options are given.
--
-- A verb's `options`: a list of { "-j --jobs", "N" or nil (a flag), "what it does", name = "jobs", convert = "count" or
-- another name in CONVERT, or a function, many = true (may be given several times), choices = {...} }. Its `arguments`:
-- a list of { "FILE", "what it is", args = "?" or "*" or "+" }. `rest = true`: what follows the first argument belongs
-- to the user's program, not to us; but for options right after it where `options_after` is true, or that it names.
local schema = require "minigun.base.schema"
local status = require "minigun.command.status"

local parser = {}

-- How words become values: what is asked for, and what is so.
local CONVERT <const> = {
  integer = { "a whole number", math.tointeger },
  count = { "a whole number above 0", function(n) return n > 0 and math.tointeger(n) end },
  natural = { "a whole number of at least 0", function(n) return n >= 0 and math.tointeger(n) end },
  seconds = { "a number of seconds above 0", function(n) return n > 0 and n end },
}

-- The long form, without dashes and with underscores.
local function target_of(option) return option.name or (option[1]:match "%-%-([%w%-]+)"):gsub("%-", "_") .. "" end

-- Why an option's value is refused, named by the option.
local function converted(option)
  local own, name = CONVERT[option.convert], option[1]:match "%-%-[%w%-]+"
  if not own then return option.convert end
  return function(text)
    local n = tonumber(text)
    local value = n and own[2](n)
    if not value then return nil, ("option %s needs %s, got '%s'"):format(name, own[1], text) end
    return value
  end
end

local function add_options(made, verb)
  for _, option in ipairs(verb.options or {}) do
    local target = target_of(option)
    if option[2] then
      local each = made:option(option[1], option[3]):argname(option[2]):target(target):count(option.many and "*" or "?")
      if option.convert then each:convert(converted(option)) end
      if option.choices then each:choices(option.choices) end
    else
      made:flag(option[1], option[3]):target(target)
    end
  end
end

local function add_arguments(made, verb)
  for _, argument in ipairs(verb.arguments or {}) do
    local each = made:argument(argument[1], argument[2]):args(argument.args or 1):target(argument[1]:lower())
    if argument.choices then each:choices(argument.choices) end
  end
  if verb.rest then made:argument("ARG", "words for it"):args "*":target "rest" end
end

-- lua-argparse; ends the command where it is not installed.
local function library(verb)
  local found, argparse = pcall(require, "argparse")
  if not found then
    status.complain(("%s: this needs the module argparse; install it (Debian: lua-argparse), or call 'minigun run " ..
      "FILE' without options"):format(verb and verb.name or "minigun"), status.FAILED)
  end
  return argparse
end

local function examples_of(verb)
  local lines = {}
  for i, example in ipairs(verb.examples or {}) do lines[i] = ("   %s\n      %s"):format(example[1], example[2]) end
  return lines[1] and "Examples:\n" .. table.concat(lines, "\n")
end

--- What a verb does, in a paragraph.
---@param verb table
---@return string
function parser.about(verb)
  local text = verb.about or verb.summary:gsub("^%l", string.upper) .. "."
  return (text:gsub("%s+", " "):gsub("^ ", ""))
end

local function as_it_is(text) return text end

--- How a verb is called, in a line.
---@param verb table
---@param own (fun(text: string): string)? marks the command's words
---@param other (fun(text: string): string)? marks words that the user replaces, such as FILE
---@return string
function parser.call(verb, own, other)
  own, other = own or as_it_is, other or as_it_is
  local words = { own("minigun " .. verb.name) }
  if verb.options then words[#words + 1] = ("[%s...]"):format(other "OPTION") end
  for _, argument in ipairs(verb.arguments or {}) do
    local args = argument.args
    words[#words + 1] = (args == "?" and "[%s]" or args and "%s..." or "%s"):format(other(argument[1]))
  end
  if verb.rest then words[#words + 1] = ("[%s...]"):format(other "ARG") end
  return table.concat(words, " ")
end

-- A parser of one verb, or of all of them where it is a command of that.
local function fill(made, verb)
  made:description(parser.about(verb)):usage_max_width(100):help_max_width(100):help_description_margin(26)
  if examples_of(verb) then made:epilog(examples_of(verb)) end
  add_options(made, verb)
  add_arguments(made, verb)
  return made
end

--- The parser of one verb.
---@param verb table
---@return table parser of lua-argparse
function parser.of(verb)
  return fill(library(verb)("minigun " .. verb.name):add_help "-h --help", verb)
end

--- A parser of all verbs, for completion.
---@param verbs table their list
---@return table parser of lua-argparse
function parser.of_all(verbs)
  local all = library()("minigun"):require_command(false)
  for _, name in ipairs(verbs.names) do
    local verb = verbs.get(name)
    fill(all:command(name, verb.summary), verb)
  end
  return all
end

-- The names of a verb's options, each with the option.
local function names_of(verb)
  local names = {}
  for _, option in ipairs(verb.options or {}) do
    for name in option[1]:gmatch "%S+" do names[name] = option end
  end
  return names
end

-- How many words from the front are options and their values; what follows them, after a "--", is the user's.
-- `which`: true, or the one option that ours may be.
local function front(verb, words, from, which)
  local names, i = names_of(verb), from
  while words[i] and words[i]:find "^%-." do
    local name = words[i]:match "^[^=]*"
    if which ~= true and name ~= which then break end
    if name == "--" then return i, i + 1 end
    local option = names[name]
    i = i + (option and option[2] and not words[i]:find("=", 1, true) and 2 or 1)
  end
  return i, i
end

-- A verb whose words end with those of the user's program: ours, and the program's.
local function split(verb, words)
  local ends, first = front(verb, words, 1, true)
  local own = table.move(words, 1, math.min(ends - 1, #words), 1, {})
  if not words[first] then return own, {} end
  if not verb.options_after then return own, table.move(words, first, #words, 1, {}) end
  local more, rest = front(verb, words, first + 1, verb.options_after)
  table.move(words, first + 1, math.min(more - 1, #words), #own + 1, own)
  return own, table.move(words, rest, #words, 2, { words[first] })
end

-- What argparse complains of, in our words and in one line.
local function complaint(verb, message)
  message = message:gsub("\nDid you mean (.-)%?$", " (did you mean %1?)")
  message = message:gsub("^option '([^']*)' requires an argument$", "option %1 needs a value")
  message = message:gsub("^option '([^']*)' does not take arguments$", "option %1 takes no value")
  message = message:gsub("^missing argument '([^']*)'$", "the %1 is missing")
  return ("%s: %s"):format(verb.name, (message:gsub("\n", " ")))
end

local function asks_for_help(words)
  for _, word in ipairs(words) do
    if word == "-h" or word == "--help" then return true end
  end
  return false
end

--- What the words say.
---@param verb table
---@param words string[]
---@return table given by option and argument: `rest` holds the words of the user's program, the first of them its FILE
function parser.parse(verb, words)
  if not words[1] and not (verb.arguments and verb.arguments[1].args ~= "?") then return {} end
  local own, rest = words, nil
  if verb.rest then own, rest = split(verb, words) end
  if rest and rest[1] and #own == 0 then return { rest = rest } end
  if #own > 0 and asks_for_help(own) then
    io.stdout:write(parser.of(verb):get_help(), "\n")
    status.exit(status.DONE)
  end
  if rest and not rest[1] and #own == 0 then
    status.wrong_call(("%s: the %s is missing"):format(verb.name, verb.arguments[1][1]))
  end
  local all = own
  if rest then all = table.move(rest, 1, #rest, #own + 2, table.move(own, 1, #own, 1, { [#own + 1] = "--" })) end
  local ok, given = parser.of(verb):pparse(all)
  if not ok then status.wrong_call(complaint(verb, given)) end
  if rest then given.rest = rest end
  return given
end

--- "(did you mean 'run'?)"
---@param word string
---@param words string[]
---@return string hint or ""
function parser.hint(word, words)
  local nearest = schema.suggest(word, words)
  return nearest and (" (did you mean '%s'?)"):format(nearest) or ""
end

return parser
