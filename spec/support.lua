--- What specs share: child commands with a time limit, and a view of this process from outside (children,
-- descriptors, shared mappings).

local lfs = require "lfs"
local system = require "system"

local M = {}

--- How many times longer than usual the long tests are: $MINIGUN_LONG, or nil for the short form of the run.
M.long = tonumber(os.getenv "MINIGUN_LONG")

--- What the tests run under: "asan", "gcstress", "valgrind", or nil.
M.under = os.getenv "MINIGUN_UNDER"

--- How many times longer than usual things may take.
M.patience = ({ asan = 4, gcstress = 8, valgrind = 12 })[M.under] or 1

--- How much of something the run can afford.
-- @param short any, for the run that everybody waits for
-- @param long any, for one with MINIGUN_LONG set
-- @return short or long
function M.short_or_long(short, long)
  if M.long then
    return long
  end
  return short
end

--- The pid of this process.
-- @return integer
function M.pid()
  return math.tointeger(tonumber((lfs.symlinkattributes("/proc/self", "target"))))
end

--- Reads a whole file.
-- @param path string
-- @return string, or nil and a message
function M.read_file(path)
  local file, message = io.open(path, "rb")
  if not file then
    return nil, message
  end
  local text = file:read("a")
  file:close()
  return text
end

--- Writes a whole file, or raises.
-- @param path string
-- @param text string
-- @return path
function M.write_file(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
  return path
end

-- /proc/PID/stat after the name, which may hold blanks and brackets: state, parent.
local function parent_of(pid)
  local stat = M.read_file("/proc/" .. pid .. "/stat")
  return tonumber(stat and stat:match("^.*%) %S (%d+)") or nil)
end

--- The pids of the children of a process, zombies included.
-- @param pid integer, this process by default
-- @return array of integers, sorted
function M.children(pid)
  pid = pid or M.pid()
  local pids = {}
  local list = M.read_file(("/proc/%d/task/%d/children"):format(pid, pid))
  if list then
    for word in list:gmatch("%d+") do
      pids[#pids + 1] = math.tointeger(tonumber(word))
    end
    table.sort(pids)
    return pids
  end
  -- A kernel without that file, or no such process.
  for entry in lfs.dir("/proc") do
    if entry:match("^%d+$") and parent_of(entry) == pid then
      pids[#pids + 1] = math.tointeger(tonumber(entry))
    end
  end
  table.sort(pids)
  return pids
end

--- Whether a process exists and is not a zombie.
-- @param pid integer
-- @return boolean
function M.alive(pid)
  local stat = M.read_file("/proc/" .. pid .. "/stat")
  local state = stat and stat:match("^.*%) (%S)")
  return state ~= nil and state ~= "Z" and state ~= "X"
end

--- The open descriptors of this process.
-- @return table from number to what it is open on ("pipe:[1234]"), without the one used to look
function M.descriptors()
  local open = {}
  for entry in lfs.dir("/proc/self/fd") do
    local fd = tonumber(entry)
    local target = fd and lfs.symlinkattributes("/proc/self/fd/" .. entry, "target")
    if target then
      open[math.tointeger(fd)] = target
    end
  end
  -- The directory's own descriptor: closed by now, or by the collector later.
  for fd, target in pairs(open) do
    if target:match("^/proc/%d+/fd$") then
      open[fd] = nil
    end
  end
  return open
end

--- How many descriptors this process has open.
-- @return integer
function M.descriptor_count()
  local count = 0
  for _ in pairs(M.descriptors()) do
    count = count + 1
  end
  return count
end

--- How many shared anonymous mappings (and memfds) this process has.
-- @return integer
function M.shared_mappings()
  local count, maps = 0, M.read_file "/proc/self/maps"
  for _, name in ipairs { "/dev/zero", "/memfd:" } do
    local at = maps:find(name, 1, true)         -- mostly there is none, and this is asked twice in each test
    while at do
      -- The mode is the second word of its line, the name the sixth.
      if maps:sub(math.max(1, at - 100), at - 1):match "%x+%-%x+ %S+s %x+ %S+ %d+ +$" then count = count + 1 end
      at = maps:find(name, at + 1, true)
    end
  end
  return count
end

--- Sleeps.
-- @param seconds number
function M.sleep(seconds)
  system.sleep(seconds)
end

--- Seconds of a clock that only goes forward.
-- @return number
function M.now()
  return system.monotime()
end

--- Calls predicate until it returns a true value or the time is over; it is not more than a third of the time in it, as
-- it may start programs.
-- @param predicate function
-- @param seconds number, 5 by default
-- @return the predicate's value, or false
function M.wait_until(predicate, seconds)
  local deadline = system.monotime() + (seconds or 5)
  while true do
    local began = system.monotime()
    local value = predicate()
    if value then
      return value
    end
    local now = system.monotime()
    if now > deadline then
      return false
    end
    system.sleep(math.max(0.005, 2 * (now - began)))
  end
end

--- Quotes a word for the shell.
-- @param word string
-- @return string
function M.quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

--- The build directory that this run tests: "build", or another one under make asan.
-- @return string
function M.build_dir()
  return os.getenv("MINIGUN_BUILD") or "build"
end

-- The module of spec/programs/unruly.c; false without a C compiler, and while it is compiled.
local unruly

-- Runs a program; `env`: words NAME=value. Returns its status.
local function execute(words, env, seconds, inp, out, err)
  if unruly == nil then
    unruly = false
    unruly = require("spec.programs.build").unruly() or false
  end
  if unruly then return unruly.run(words, env, seconds, inp, out, err) end
  local list = {}
  for _, word in ipairs(env) do list[#list + 1] = M.quote(word) end
  for _, word in ipairs(words) do list[#list + 1] = M.quote(word) end
  local _, how, code = os.execute(("exec timeout -k 1 %s env %s <%s >%s 2>%s"):format(seconds,
    table.concat(list, " "), inp, out, err))
  return how == "signal" and 128 + code or code
end

--- Runs a command in a child and waits for it; at the end of the time it and all its children are killed.
-- @param command string, for sh; or array of strings, a program and its arguments, which spares the shell
-- @param options table: timeout (seconds, 30), stdin (string, empty), env (table of strings)
-- @return table: stdout, stderr (strings), code (exit status; 128 + signal where a signal has ended it), timed_out
function M.run(command, options)
  options = options or {}
  local out, err = os.tmpname(), os.tmpname()
  local inp = options.stdin and M.write_file(os.tmpname(), options.stdin)
  local env = {}
  for name, value in pairs(options.env or {}) do env[#env + 1] = name .. "=" .. value end
  if type(command) == "string" then command = { "sh", "-c", command } end
  local words = {}
  for i, word in ipairs(command) do words[i] = tostring(word) end
  local code = execute(words, env, options.timeout or 30, inp or "/dev/null", out, err)
  local result = {
    stdout = M.read_file(out), stderr = M.read_file(err), code = code, timed_out = code == 124 or code == 137,
  }
  for _, path in ipairs { out, err, inp } do
    os.remove(path)
  end
  return result
end

local installed = {}

--- Whether a program is installed.
-- @param program string, its name
-- @return boolean
function M.has(program)
  if installed[program] == nil then
    installed[program] = os.execute(("command -v %s >/dev/null 2>&1"):format(program)) == true
  end
  return installed[program]
end

--- Removes a file, or a directory with all that is in it, where there is one.
-- @param path string
function M.remove_tree(path)
  if lfs.symlinkattributes(path, "mode") == "directory" then
    for name in lfs.dir(path) do
      if name ~= "." and name ~= ".." then M.remove_tree(path .. "/" .. name) end
    end
  end
  os.remove(path)
end

--- The lines that a command prints.
-- @param command string, for sh
-- @return array of strings, sorted
function M.lines_of(command)
  local pipe, lines = assert(io.popen(command)), {}
  for line in pipe:lines() do
    lines[#lines + 1] = line
  end
  pipe:close()
  table.sort(lines)
  return lines
end

--- An environment as words for `env`.
-- @param env table of strings
-- @return string
function M.env_words(env)
  local words = {}
  for name, value in pairs(env) do words[#words + 1] = name .. "=" .. M.quote(value) end
  return table.concat(words, " ")
end

--- The environment with which a child of a spec finds the tree's own modules, as spec/run has compiled them or as they
-- are.
-- @return table of strings
function M.lua_env()
  local compiled = os.getenv "MINIGUN_COMPILED"
  return {
    LUA_PATH = (compiled and ("%s/?.lua;%s/?/init.lua;"):format(compiled, compiled) or "") ..
      "./lua/?.lua;./lua/?/init.lua;./?.lua;;",
    LUA_CPATH = ("./%s/?.so;;"):format(M.build_dir()),
  }
end

--- The command `minigun` for a child of a spec: that of the tree, over the modules that spec/run has compiled or over
-- the sources.
-- @return string, the script's path
function M.command_path()
  local compiled = os.getenv "MINIGUN_COMPILED"
  return compiled and compiled:gsub("lua$", "bin/minigun") or "./bin/minigun"
end

--- The same as words for sh.
function M.command() return "lua5.4 " .. M.command_path() end

--- What a nil that is raised becomes: Lua 5.5 makes a text of it.
M.raised_nil = select(2, pcall(error, nil))

--- Runs a piece of Lua in an interpreter of its own, with the tree's modules in reach.
-- @param source string, the program
-- @param options table: as for `run`, and args (array of strings), env (added to the tree's), limit (KiB of address
-- space)
-- @return table, as from `run`
function M.run_lua(source, options)
  options = options or {}
  local path = M.write_file(os.tmpname(), source)
  local words = { "lua5.4", path, table.unpack(options.args or {}) }
  local env = M.lua_env()
  for name, value in pairs(options.env or {}) do
    env[name] = value
  end
  if options.limit then
    words = { "sh", "-c", ("ulimit -v %d; exec \"$@\""):format(options.limit), "sh", table.unpack(words) }
  end
  local result = M.run(words, { timeout = options.timeout, stdin = options.stdin, env = env })
  os.remove(path)
  return result
end

--- The row of a stage in a run's status.
-- @param run table, from `p:start()`
-- @param name string
-- @return table
function M.stage_of(run, name)
  for _, row in ipairs(run:status().stages) do
    if row.name == name then return row end
  end
  error("no stage " .. name, 2)
end

--- A directory of its own for each test of a file: made before it, removed after it.
-- @param before_each function busted's
-- @param after_each function busted's
-- @return function () that gives its path
function M.directory_for_each(before_each, after_each)
  local directory
  before_each(function()
    directory = os.tmpname()
    os.remove(directory)
    assert(lfs.mkdir(directory))
  end)
  after_each(function() M.remove_tree(directory) end)
  return function() return directory end
end

--- Gives the running test more (or less) time than the default.
-- @param seconds number, from now; more where everything is slow
function M.deadline(seconds)
  require("spec.helper").deadline(seconds * M.patience)
end

return M
