--- Commands, files, and processes that a mutant may do anything in.

local M = {}

--- @param word string
-- @return string, one word for the shell
function M.quote(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

--- Runs a command, which must succeed.
-- @param format string, for string.format
function M.run(format, ...)
  local command = format:format(...)
  assert(os.execute(command), "failed: " .. command)
end

--- @param command string
-- @return array of strings, the lines of its output
function M.lines(command)
  local pipe = assert(io.popen(command))
  local list = {}
  for line in pipe:lines() do list[#list + 1] = line end
  pipe:close()
  return list
end

--- @param path string
-- @return string, what is in the file, or nil
function M.read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "a"
  if file then file:close() end
  return text
end

--- @param path string
-- @param text string
function M.write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

local function namespaces()
  for _, words in ipairs { "", "--user --map-root-user " } do
    local command = "unshare " .. words .. "--pid --mount --fork --mount-proc --kill-child"
    if os.execute(command .. " true 2>/dev/null") then return command end
  end
  error("make mutants: needs namespaces of its own (unshare --pid --mount, as root or with --user), for a mutant "
    .. "may kill every process that it can reach", 0)
end

local unshare

--- A command that runs in namespaces of its own: no process outside can be reached, none is left when it has ended, and
-- its /tmp is its own, unless the tree itself lies in /tmp.
-- @param command string
-- @param seconds number, after which it is killed
-- @return string, a command
function M.contained(command, seconds)
  unshare = unshare or namespaces()
  local there = M.lines("pwd")[1]:find("^/tmp/")
  local script = ("%sulimit -v 16000000; timeout -k 2 %d sh -c %s; exit $?"):format(
    there and "" or "mount -t tmpfs -o size=1g,mode=1777 tmpfs /tmp && ", math.ceil(seconds), M.quote(command))
  return unshare .. " sh -c " .. M.quote(script)
end

--- Runs commands beside each other. After one has failed no further one is begun.
-- @param dir string, a directory for their output
-- @param commands array of strings
-- @param jobs integer, how many at once
-- @param on boolean: go on after failures too
-- @return array: for each command that has ended { code =, output = }, at its place
function M.beside(dir, commands, jobs, on)
  M.run("rm -rf %s && mkdir -p %s", M.quote(dir), M.quote(dir))
  for i, command in ipairs(commands) do
    M.write(("%s/%d.sh"):format(dir, i), ("( %s\n) > %s/%d.output 2>&1 < /dev/null\ncode=$?\necho $code > %s/%d.code\n"
      .. "[ $code -eq 0 ] || exit %d\n"):format(command, dir, i, dir, i, on and 0 or 255))
  end
  os.execute(("for i in $(seq %d); do echo %s/$i.sh; done | xargs -P %d -n 1 sh 2>/dev/null"):format(#commands, dir,
    jobs))
  local list = {}
  for i = 1, #commands do
    local code = tonumber(M.read(("%s/%d.code"):format(dir, i)) or "")
    if code then list[i] = { code = code, output = M.read(("%s/%d.output"):format(dir, i)) } end
  end
  return list
end

return M
