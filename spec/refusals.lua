--- Assertions for definition errors: what is said, and at which line of the user's code.
local refusals = {}

--- The message of an error that f must raise at its own line, without the position.
---@param f function written on one line, the line that the error has to name
---@return string message
function refusals.message(f)
  local info = debug.getinfo(f, "S")
  assert(info.linedefined == info.lastlinedefined, "the function must be written on one line")
  local ok, message = pcall(f)
  if ok then error(("line %d: an error was expected"):format(info.linedefined), 2) end
  if type(message) ~= "string" then error("an error string was expected, got " .. tostring(message), 2) end
  local prefix = ("%s:%d: "):format(info.short_src, info.linedefined)
  if message:sub(1, #prefix) ~= prefix then
    error(("expected an error at %sgot: %s"):format(prefix, message), 2)
  end
  return message:sub(#prefix + 1)
end

--- Checks a table of `{ f, text, text... }`: f is refused at its line with a message that contains every text.
---@param cases table
function refusals.check(cases)
  assert(#cases > 0)
  for _, case in ipairs(cases) do
    local message = refusals.message(case[1])
    for i = 2, #case do
      if not message:find(case[i], 1, true) then
        local line = debug.getinfo(case[1], "S").linedefined
        error(("line %d: expected %q in the message: %s"):format(line, case[i], message), 2)
      end
    end
  end
end

return refusals
