--- What `minigun map` and `each` read: the standard input, by lines or by records that end with zero bytes.
local minigun = require "minigun"

local input = {}

--- Its lines.
---@param null boolean? they end with zero bytes
---@return table source
function input.source(null)
  if null then return minigun.records("-", { separator = "\0" }) end
  return minigun.lines "-"
end

--- Why it could not be read, in words for the user of a command.
---@param message string of the source's failure
---@return string
function input.problem(message)
  return (message:gsub("^minigun%.%l+: %-: ", "the standard input: "))
end

return input
