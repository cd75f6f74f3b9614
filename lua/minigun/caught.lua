--- Errors of handlers as data: message, the user's part of the traceback, and what was raised.
local caught = {}

-- A frame of the library in a traceback: its files lie beside this one. nil in stripped bytecode.
local library = debug.getinfo(1, "S").short_src:match "^(.*)caught%.lua$"

-- The user's part of a traceback: without the library's own way to the user's handler, and without what that has called
-- of the library.
local function user_traceback()
  local lines, in_library = {}, true
  for line in debug.traceback(nil, 3):gmatch "[^\n]+" do
    if library and line:find(library, 1, true) then
      if not in_library then break end
    else
      in_library = in_library and (#lines == 0 or line:find "^%s*%[C%]: in")
      lines[#lines + 1] = line
    end
  end
  while #lines > 1 and lines[#lines]:find "^%s*%[C%]: in" do lines[#lines] = nil end -- protected calls of the library
  return table.concat(lines, "\n")
end

local Again = {} -- marks an error that was caught already, and is raised once more

--- Raises once more what `caught.of` has made of an error, in another coroutine: its message and traceback stay. Or a
--- failure that is no error of the handler's: `{ kind =, message = }`.
---@param err table|any
function caught.raise_again(err)
  error(type(err) == "table" and setmetatable(err, Again) or err, 0)
end

--- A handler's error as data: what xpcall's message handler returns.
---@param err any
---@return table { message =, traceback =, raised = err }
function caught.of(err)
  if getmetatable(err) == Again then return setmetatable(err, nil) end
  local text = err
  if type(err) ~= "string" then
    local meta = getmetatable(err)
    text = meta and meta.__tostring and tostring(err) or ("(error object is a %s value)"):format(type(err))
  end
  return { message = text, traceback = user_traceback(), raised = err }
end

--- The same for errors that reach no message handler (out of memory) or are already caught.
---@param err any
---@return table
function caught.as_caught(err)
  if type(err) == "table" and (err.traceback or err.kind) then return err end
  return { message = tostring(err), raised = err }
end

return caught
