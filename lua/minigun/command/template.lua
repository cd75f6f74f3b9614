--- The command that `minigun each` makes of a line, by the marks of GNU parallel: {} the line, {.} without extension,
-- {/} without directories, {//} the directory, {/.} without both, {#} the number of the job. What stands for a mark is
-- quoted for the shell.
local template = {}

local function base(text) return (text:match "([^/]*)/*$") end

local function without_extension(text)
  local head, name = text:match "^(.*/)([^/]*)$"
  if not head then head, name = "", text end
  return head .. (name:match "^(.+)%.[^.]*$" or name)
end

local function directory(text)
  local head = text:match "^(.*)/[^/]*$"
  return head == "" and "/" or head or "."
end

local MARKS <const> = {
  ["{}"] = function(text) return text end,
  ["{.}"] = without_extension,
  ["{/}"] = base,
  ["{//}"] = directory,
  ["{/.}"] = function(text) return without_extension(base(text)) end,
  ["{#}"] = function(_, number) return tostring(number) end,
}

--- A word for the shell.
---@param text string
---@return string
function template.quote(text)
  if text:find "^[%w_%-%./=,:@%%+]+$" then return text end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- The command with what stands for its marks; without a mark the line comes last.
---@param command string
---@param text string the line
---@param number integer of the job, from 1
---@return string
function template.fill(command, text, number)
  local marked = false
  local filled = command:gsub("{[./#]*}", function(mark)
    local f = MARKS[mark]
    if not f then return nil end
    marked = true
    return template.quote(f(text, number))
  end)
  return marked and filled or filled .. " " .. template.quote(text)
end

-- Words of the shell itself: what begins with one needs it.
local SHELL <const> = {}
for word in ([[alias bg bind break builtin case cd command compgen complete continue declare dirs disown do done elif
  else enable esac eval exec exit export fc fg fi for function getopts hash if in jobs let local logout popd pushd read
  readonly return select set shift shopt source suspend then time times trap type typeset ulimit umask unalias unset
  until wait while . : ! { }]]):gmatch "%S+" do SHELL[word] = true end

--- A command's words, where a shell would do nothing but split it at its blanks; else the text itself, for the shell:
--- to start a shell takes as long as many a command.
---@param command string
---@return string[]|string
function template.words(command)
  if not command:find "^[%w_%-%./,:@%%+= ]+$" then return command end
  local words = {}
  for word in command:gmatch "%S+" do words[#words + 1] = word end
  local first = words[1]
  if not first or SHELL[first] or first:find "=" then return command end
  return words
end

return template
