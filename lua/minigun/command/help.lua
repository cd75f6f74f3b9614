--- `minigun help [VERB]`.
local parser = require "minigun.command.parser"
local status = require "minigun.command.status"
local verbs = require "minigun.command.verbs"

local help = {
  name = "help",
  summary = "print this text, or that of a verb",
  arguments = { { "VERB", "the verb; without one: all of them", args = "?" } },
}

--- The overview: all verbs. It needs no lua-argparse.
---@return string text
function help.overview()
  local lines = { "Usage: minigun run [OPTION...] FILE [ARG...]", "       minigun VERB [OPTION...] [ARG...]",
    "       minigun FILE [ARG...]       run, for a FILE whose first line is #!/usr/bin/env minigun", "" }
  for _, name in ipairs(verbs.names) do
    local verb = verbs.get(name)
    lines[#lines + 1] = ("  %s\n      %s"):format(parser.call(verb), verb.summary)
  end
  lines[#lines + 1] = [[

minigun help VERB says more of a verb, and shows its options. Exit status: 0 done, 1 failed items,
2 a wrong call, 3 mistakes that check has found, 130 interrupted.
]]
  return table.concat(lines, "\n")
end

---@param given table
---@return integer
function help.run(given)
  local name = given.verb
  if not name then
    io.stdout:write(help.overview())
    return status.DONE
  end
  local verb = verbs.get(name)
  if not verb then
    status.wrong_call(("help: there is no verb '%s'%s"):format(name, parser.hint(name, verbs.names)))
  end
  io.stdout:write(parser.of(verb):get_help(), "\n")
  return status.DONE
end

return help
