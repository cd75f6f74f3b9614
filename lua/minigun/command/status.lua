--- Exit statuses of the command, and its ways out.
local status = { DONE = 0, FAILED = 1, USAGE = 2, REFUSED = 3, INTERRUPTED = 130 }

--- Ends the process; closing the state lets every pool and run end its children.
---@param code integer
function status.exit(code)
  io.stdout:flush()
  os.exit(code, true)
end

--- Says what is wrong, in one line, and ends the process.
---@param text string
---@param code integer
function status.complain(text, code)
  io.stdout:flush()
  io.stderr:write("minigun: ", text, "\n")
  status.exit(code)
end

--- Says what is wrong with the call.
---@param text string it begins with "VERB: " where the verb is known
function status.wrong_call(text)
  local verb = text:match "^(%l+): "
  local help = verb and verb ~= "help" and "help " .. verb or "help"
  status.complain(("%s; 'minigun %s' shows the usage"):format(text, help), status.USAGE)
end

return status
