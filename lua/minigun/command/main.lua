--- The command: finds the verb and gives it its words.
local parser = require "minigun.command.parser"
local program = require "minigun.command.program"
local stack = require "minigun.base.stack"
local status = require "minigun.command.status"
local verbs = require "minigun.command.verbs"

local ALIASES <const> = { ["--help"] = "help", ["-h"] = "help", ["--version"] = "version" }

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

local function refuse(word)
  local option = word:match "^%-%-[^=]*"
  for _, own in ipairs(verbs.get "run".options) do
    if option == own[1] then
      status.wrong_call(("option '%s' stands after run: minigun run %s FILE"):format(word, word))
    end
  end
  if word:find "[/.]" then
    status.complain(("there is no file '%s' to run; check the name"):format(word), status.USAGE)
  end
  local names = table.move({ "--help", "--version" }, 1, 2, #verbs.names + 1, { table.unpack(verbs.names) })
  status.wrong_call(("unknown command '%s'%s"):format(word, parser.hint(word, names)))
end

-- Lets a verb do its work, and ends the process. Where it runs pipelines, `minigun top` can look at these, unless the
-- program says otherwise, and Ctrl-C asks them to end in good order.
local function start(verb, given)
  if verb.stops then
    require("minigun.system.terminate").heed_interrupts()
    require("minigun.plan.defaults").observed = true
  end
  status.exit(program.protect(verb.run, given))
end

--- Does what the words of the command line ask for, and ends the process.
---@param ... string
local function main(...)
  local words = { ... }
  local first = words[1]
  if not first then status.wrong_call "a command is missing" end
  local verb = verbs.get(ALIASES[first] or first)
  if not verb then
    if first ~= "-" and not exists(first) then refuse(first) end
    start(verbs.get "run", { rest = words })
  end
  table.remove(words, 1)
  local given = verb.raw and words or parser.parse(verb, words)
  start(verb, given)
end

return stack.outermost(main)
