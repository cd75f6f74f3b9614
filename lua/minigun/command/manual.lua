--- `minigun manual`: the man page, from what each verb says about itself.
local parser = require "minigun.command.parser"
local verbs = require "minigun.command.verbs"

local function roff(text) return (text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("^([.'])", "\\&%1")) end

local function bold(text) return "\\fB" .. text .. "\\fR" end
local function italic(text) return "\\fI" .. text .. "\\fR" end

local function option_head(option)
  local names = {}
  for name in option[1]:gmatch "%S+" do names[#names + 1] = bold(roff(name)) end
  return table.concat(names, ", ") .. (option[2] and " " .. italic(roff(option[2])) or "")
end

local function add_verb(lines, verb)
  local function add(text) lines[#lines + 1] = text end
  add(".SS " .. parser.call(verb, bold, italic))
  add(roff(parser.about(verb)))
  for _, option in ipairs(verb.options or {}) do
    add ".TP"
    add(option_head(option))
    add(roff(option[3]))
  end
  for _, example in ipairs(verb.examples or {}) do
    add ".PP"
    add(roff(example[2]:gsub("^%l", string.upper)) .. ":")
    add ".EX"
    add(roff("    " .. example[1]))
    add ".EE"
  end
end

local ENVIRONMENT <const> = {
  { "MINIGUN_HUD", "1: the live view of each run; leave: it goes with the run." },
  { "MINIGUN_TOP", "1: minigun top can look at each run." },
  { "MINIGUN_PROGRESS", "0: no line that shows how far a run is." },
  { "MINIGUN_LOG", "debug, info, warning, error: the least level of the log; json: lines are JSON objects." },
  { "MINIGUN_REDIS_PASSWORD", "The password of a cluster's Redis server. MINIGUN_REDIS_PASSWORD_FILE: its file." },
  { "MINIGUN_BUILD", "In a source tree: the directory of the build whose core is loaded, instead of build." },
}

local manual = {
  name = "manual",
  summary = "print the man page",
  examples = { { "minigun manual | man -l -", "to read it" } },
}

--- The man page, as text for man.
---@return string
function manual.page()
  local lines = {
    ".TH MINIGUN 1", ".SH NAME", "minigun \\- pipelines over every core of a machine", ".SH SYNOPSIS",
    "\\fBminigun\\fR \\fIVERB\\fR [\\fIOPTION\\fR...] [\\fIARG\\fR...]", ".br",
    "\\fBminigun\\fR \\fIFILE\\fR [\\fIARG\\fR...]", ".SH DESCRIPTION",
    "Runs Lua programs with pipelines of stages that work in many processes, and does some common jobs with them. " ..
      "\\fBminigun\\fR \\fIFILE\\fR is \\fBminigun run\\fR \\fIFILE\\fR.", ".SH VERBS",
  }
  for _, name in ipairs(verbs.names) do add_verb(lines, verbs.get(name)) end
  table.move({ ".SH EXIT STATUS",
    "0: done. 1: failed items, an error in the run, or a standard output that takes no more. 2: a wrong call, or a " ..
      "file that cannot be loaded. 3: mistakes that \\fBcheck\\fR or \\fBgraph\\fR has found. 130: interrupted. " ..
      "Those of \\fBserve\\fR are in docs/server.md.",
    ".SH ENVIRONMENT" }, 1, 3, #lines + 1, lines)
  for _, row in ipairs(ENVIRONMENT) do table.move({ ".TP", bold(row[1]), row[2] }, 1, 3, #lines + 1, lines) end
  return table.concat(lines, "\n") .. "\n"
end

---@return integer status
function manual.run()
  io.stdout:write(manual.page())
  return 0
end

return manual
