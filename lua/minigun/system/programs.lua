--- Programs that were started by `io.popen`, in a coroutine or a source that is to be closed.
--
-- Closing such a file waits for its program, for as long as that runs, and so does its collection. Where a
-- coroutine is closed before its end (a time-out, the end of a run), the programs are ended first whose files are in
-- its variables. Where /proc is not to be had they are left alone.
local core = require "minigun.core"

local programs = {}

local DEEPEST <const> = 4       -- coroutines in coroutines
local SIGKILL <const> = 9

local function children_of(pid)
  local file <close> = io.open(("/proc/%d/task/%d/children"):format(pid, pid))
  local list = {}
  for child in (file and file:read "a" or ""):gmatch "%d+" do list[#list + 1] = math.tointeger(tonumber(child)) end
  return list
end

-- Kills a child with all that it has started.
local function kill(pid)
  local below = children_of(pid)
  core.kill(pid, SIGKILL)
  for _, child in ipairs(below) do kill(child) end
end

-- The children of this process that have this pipe as their standard output, or input.
local function ends_of(pipe, inputs)
  local found = {}
  for _, child in ipairs(children_of(core.pid())) do
    for fd = inputs and 0 or 1, 1 do
      if core.link(("/proc/%d/fd/%d"):format(child, fd)) == pipe then found[#found + 1] = child end
    end
  end
  return found
end

local look_at

-- What a coroutine's variables hold, and those of coroutines among them.
local function look_into(co, files, depth)
  local level = 0
  while depth <= DEEPEST and debug.getinfo(co, level, "l") do
    local i = 1
    local name, value = debug.getlocal(co, level, i)
    while name do
      look_at(value, files, depth)
      i = i + 1
      name, value = debug.getlocal(co, level, i)
    end
    level = level + 1
  end
end

function look_at(value, files, depth)
  local kind = type(value)
  if kind == "userdata" and io.type(value) == "file" then files[value] = true
  elseif kind == "thread" and coroutine.status(value) == "suspended" then look_into(value, files, depth + 1)
  elseif kind == "function" then -- that of file:lines(), or what stands in for it
    local i = 1
    local name, file = debug.getupvalue(value, i)
    while name do
      if io.type(file) == "file" then files[file] = true end
      i = i + 1
      name, file = debug.getupvalue(value, i)
    end
  end
end

-- Ends the programs at the other end of a file, where that is a pipe.
local function end_programs(file, inputs)
  local pipe = core.link(("/proc/self/fd/%d"):format(core.fileno(file)))
  if not pipe or not pipe:find "^pipe:" then return end
  for _, child in ipairs(ends_of(pipe, inputs)) do kill(child) end
end

--- Closes a file of `io.popen` before its program has come to its end: that is ended first. It would hear of the close
--- by SIGPIPE only where no process that was forked meanwhile has the pipe too.
---@param file file* that is read from
function programs.close_file(file)
  end_programs(file, false)
  file:close()
end

--- Closes a coroutine, as `coroutine.close` does, and ends the programs first that it would wait for.
---@param co thread
---@param gently boolean? true: those that read what it has written come to their own end
---@return boolean ok
---@return any err
function programs.close(co, gently)
  if coroutine.status(co) == "suspended" then
    local files = {}
    look_into(co, files, 1)
    for file in pairs(files) do end_programs(file, not gently) end
  end
  return coroutine.close(co)
end

return programs
