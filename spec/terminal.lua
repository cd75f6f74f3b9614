--- Programs at a pseudo-terminal: typing, waiting for what appears, and the screen that is left.
local programs = require "spec.programs.build"
local support = require "spec.support"

local terminal = {}

--- Whether there is one to be had; see spec/programs/build.lua.
---@return boolean
function terminal.available()
  return programs.pty() ~= nil
end

--- Runs words at a terminal and plays what is typed there (see programs/pty.c).
---@param words string a command
---@param typed string the script
---@param env table? further environment
---@return table result of support.run; `stderr` is what the program has written
---@return table times array of `{ text =, ms = }`: how long each text took to appear
function terminal.play(words, typed, env)
  local script = support.write_file(os.tmpname(), typed)
  local all = support.lua_env()
  for name, value in pairs(env or {}) do all[name] = value end
  local result = support.run(("exec %s %s %s"):format(programs.pty(), script, words), { env = all })
  os.remove(script)
  local times = {}
  for ms, text in result.stdout:gmatch "(%d+) ([^\n]*)\n" do times[#times + 1] = { text = text, ms = tonumber(ms) } end
  return result, times
end

--- The progress lines that were drawn, one after another.
---@param output string
---@return table array of strings
function terminal.drawn(output)
  local list = {}
  for text in output:gmatch "\r\27%[%?7l(.-)\27%[K\27%[%?7h\r" do list[#list + 1] = text end
  return list
end

--- The lines that are left on the screen: carriage return and "erase to the end of the line" carried out.
---@param output string
---@return string
function terminal.screen(output)
  local lines = {}
  for row in (output:gsub("\27%[%?7[lh]", "") .. "\n"):gmatch "([^\n]*)\n" do
    local line, at = {}, 1
    for control, char in row:gsub("\27%[[KJ]", "\0"):gmatch "([\r%z]?)([^\r%z]?)" do
      if control == "\r" then at = 1
      elseif control == "\0" then
        for i = #line, at, -1 do line[i] = nil end
      end
      if char ~= "" then line[at], at = char, at + 1 end
    end
    lines[#lines + 1] = table.concat(line)
  end
  return table.concat(lines, "\n")
end

return terminal
