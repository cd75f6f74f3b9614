-- Makes docs/command.md, and the man page docs/minigun.1, from what each verb of the command says about itself:
-- `lua5.4 docs/generate_command.lua [--check]`.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = ("./%s/?.so;"):format(os.getenv "MINIGUN_BUILD" or "build") .. package.cpath
local manual = require "minigun.command.manual"
local parser = require "minigun.command.parser"
local verbs = require "minigun.command.verbs"

local HEAD <const> = [[
# The command line

<!-- Made by `make docs` from lua/minigun/command/: change those. -->

`minigun VERB --help` shows the same at the terminal, `man minigun` as a page. Options need the module argparse (Debian:
`lua-argparse`); `minigun run FILE` and `minigun serve FILE` without options need nothing. Exit status: 0 done, 1 failed
items, an error in a run, or a standard output that takes no more, 2 a wrong call, 3 mistakes that `check` or `graph`
has found, 130 interrupted.

The first Ctrl-C lets `run`, `map`, `each`, `busted` and `worker` finish what has begun: producers stop, the items
that are inside are finished, `each` begins no further command, and then the command ends; a line on standard error
says so. A second one, 0.2 s later or more, ends at once. The other verbs, and a program that is in none of its
runs, end at the first.
Nothing of what was started stays.
]]

local PICTURES <const> = {
  graph = "![A pipeline as minigun graph draws it](graph.svg)",
  run = "![The report of a run: its flow, charts over time, stages, failures](report.png)",
}

local function section(verb)
  local lines = { "## `" .. parser.call(verb) .. "`", "", parser.about(verb), "" }
  if verb.options then
    lines[#lines + 1] = "| option | what it does |\n| --- | --- |"
    for _, option in ipairs(verb.options) do
      local names = option[1]:gsub(" ", "`, `") .. (option[2] and " " .. option[2] or "")
      lines[#lines + 1] = ("| `%s` | %s |"):format(names, (option[3]:gsub("|", "\\|")))
    end
    lines[#lines + 1] = ""
  end
  for _, example in ipairs(verb.examples or {}) do
    lines[#lines + 1] = ("- `%s`: %s"):format(example[1], example[2])
  end
  if PICTURES[verb.name] then lines[#lines + 1] = "\n" .. PICTURES[verb.name] end
  return (table.concat(lines, "\n"):gsub("\n+$", "")) .. "\n"
end

local parts = { HEAD }
for _, name in ipairs(verbs.names) do parts[#parts + 1] = section(verbs.get(name)) end

-- Writes a page, or says that it is not what it should be.
local function put(path, text)
  local file = io.open(path)
  local old = file and file:read "a"
  if file then file:close() end
  if old == text then return end
  if arg[1] == "--check" then
    print(path .. " is not what lua/minigun/command/ says: run make docs")
    os.exit(1)
  end
  local out = assert(io.open(path, "w"))
  out:write(text)
  out:close()
end

put("docs/command.md", table.concat(parts, "\n"))
put("docs/minigun.1", manual.page())
