--- `minigun repl`: Lua's own prompt with the library loaded: results are shown with their contents, names are completed
-- and lines are remembered where lua-readline is installed.
local status = require "minigun.command.status"
local template = require "minigun.command.template"

local repl = {
  name = "repl",
  summary = "a Lua prompt with minigun loaded",
  about = [[
    The prompt of lua, with `minigun` in a variable. What is typed is shown with its contents. Where
    lua-readline is installed, Tab completes names and the lines of earlier sessions come back.]],
  arguments = { { "FILE", "a Lua file to run first", args = "?" } },
  examples = { { "minigun repl", "> minigun.map({ 1, 2, 3 }, function(x) return x * x end)" } },
}

---@param given table
---@return integer status
function repl.run(given)
  local words = { arg[-1] or "lua5.4", "-i", "-e", 'require "minigun.command.prompt"' }
  if given.file then words[#words + 1] = given.file end
  for i, word in ipairs(words) do words[i] = template.quote(word) end
  local set = {}
  for name, value in pairs { LUA_PATH = package.path, LUA_CPATH = package.cpath } do
    set[#set + 1] = ("%s=%s"):format(name, template.quote(value))
  end
  local _, _, code = os.execute(table.concat(set, " ") .. " exec " .. table.concat(words, " "))
  return code == 0 and status.DONE or code
end

return repl
