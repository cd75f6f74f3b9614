--- The verbs of the command, in the order of its help.
local verbs = {}

--- Their names.
verbs.names = { "run", "top", "check", "graph", "map", "each", "busted", "serve", "worker", "jobs", "abort", "bench",
  "repl", "version", "completion", "manual", "help" }

--- One of them; nil: there is none of this name.
---@param name string
---@return table? verb
function verbs.get(name)
  for _, known in ipairs(verbs.names) do
    if known == name then return require("minigun.command." .. name) end
  end
end

return verbs
