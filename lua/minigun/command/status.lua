--- Exit statuses of the command, and its ways out.
local EIO <const> = 5

local status = { DONE = 0, FAILED = 1, USAGE = 2, REFUSED = 3, INTERRUPTED = 130 }

-- Writes out what was printed. Nil, and why: standard output has not taken all of it, now or earlier.
local function flush()
  local core = package.loaded["minigun.core"]
  if not core then
    local ok, message = io.stdout:flush()
    return ok, "cannot write to the standard output: " .. tostring(message)
  end
  local ok, message, errno = core.flush()
  if errno == EIO then message = "cannot write all to the standard output: is the disk full, or was it closed?" end
  return ok, message
end

local function complain(text) io.stderr:write("minigun: ", text, "\n") end

--- Ends the process; closing the state lets every pool and run end its children. A standard output that is full is not
--- taken for a success.
---@param code integer
function status.exit(code)
  local ok, message = flush()
  if not ok then complain(message) end
  os.exit(not ok and code == status.DONE and status.FAILED or code, true)
end

--- Says what is wrong, in one line, and ends the process.
---@param text string
---@param code integer
function status.complain(text, code)
  flush()
  complain(text)
  os.exit(code, true)
end

--- Prints a text at once; ends the process where that cannot be done.
---@param text string
function status.print(text)
  local ok, message = io.stdout:write(text)
  if ok then ok, message = io.stdout:flush() end
  if not ok then status.complain("cannot write to the standard output: " .. message, status.FAILED) end
end

--- Says what is wrong with the call.
---@param text string it begins with "VERB: " where the verb is known
function status.wrong_call(text)
  local verb = text:match "^(%l+): "
  local help = verb and verb ~= "help" and "help " .. verb or "help"
  status.complain(("%s; 'minigun %s' shows the usage"):format(text, help), status.USAGE)
end

return status
