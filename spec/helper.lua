--- Loaded by busted before the specs. After each test it looks for what the test has left behind (a child process,
-- a descriptor, a shared mapping) and fails it; and it tells spec/run, which kills a run that hangs, how long
-- the current test may take.
--
-- The deadline of a test is $MINIGUN_TEST_DEADLINE seconds (60); `require("spec.support").deadline(s)` changes it for
-- the running test. What it leaves behind has $MINIGUN_TEST_GRACE seconds (1) to go.

local busted = require "busted"
local path = require "pl.path"
local support = require "spec.support"
local system = require "system"
local tally = require "spec.tally"

local M = {}
package.loaded["spec.helper"] = M

local heartbeat_path = os.getenv("MINIGUN_HEARTBEAT")
local default_deadline = tonumber(os.getenv("MINIGUN_TEST_DEADLINE")) or 60
-- Seconds in which a child may still end, a descriptor be closed.
local grace = tonumber(os.getenv("MINIGUN_TEST_GRACE")) or 1
local loading_deadline = math.max(default_deadline, 60)
local own_pid = support.pid()
local current = "loading the specs"

-- The specs' own files lie in spec/run's directory, in memory mostly, and are gone after the run.
if heartbeat_path then
  local directory, files = heartbeat_path:match "^(.*)/" .. "/files", 0
  function os.tmpname() -- luacheck: ignore 122
    files = files + 1
    return support.write_file(("%s/%d_%d"):format(directory, support.pid(), files), "")
  end
end

-- Written anew each time and closed at once, so that no forked worker holds anything of it.
local function heartbeat(name, seconds)
  if not heartbeat_path or support.pid() ~= own_pid then
    return
  end
  local deadline = math.ceil((system.gettime() + seconds) * 1e6)
  support.write_file(heartbeat_path, ("%d\t%d\t%d\t%d\t%d\t%s\n"):format(deadline, own_pid, tally.passed,
    tally.failed, tally.skipped, (name:gsub("%s+", " "))))
end

--- Sets the deadline of the running test.
-- @param seconds number, from now
function M.deadline(seconds)
  heartbeat(current, seconds)
end

local function full_name(element)
  local names = {}
  while element and element.descriptor ~= "suite" do
    table.insert(names, 1, tostring(element.name or element.descriptor))
    element = busted.parent(element)
  end
  return table.concat(names, " ")
end

-- Two rounds: an object with a finalizer is freed in the second.
local function collect()
  collectgarbage()
  collectgarbage()
end

--- What of this process is counted: its children, descriptors and shared mappings.
-- @return table
function M.snapshot()
  return {
    children = support.children(own_pid), descriptors = support.descriptors(), mappings = support.shared_mappings(),
  }
end

--- What is there now and was not before.
-- @param before table, from `snapshot`
-- @return array of strings, empty where nothing is left over
function M.left_over(before)
  local now = M.snapshot()
  local found = {}
  local known = {}
  for _, pid in ipairs(before.children) do
    known[pid] = true
  end
  for _, pid in ipairs(now.children) do
    if not known[pid] then
      found[#found + 1] = ("child process %d (%s)"):format(pid, support.alive(pid) and "alive" or "not reaped")
    end
  end
  for fd, target in pairs(now.descriptors) do
    if before.descriptors[fd] ~= target then
      found[#found + 1] = ("descriptor %d (%s)"):format(fd, target)
    end
  end
  if now.mappings > before.mappings then
    found[#found + 1] = ("shared mapping (%d more)"):format(now.mappings - before.mappings)
  end
  table.sort(found)
  return found
end

local before

if support.under == "gcstress" then require "minigun.core" end -- that build has a shared mapping of its own

busted.subscribe({ "test", "start" }, function(element)
  current = full_name(element)
  heartbeat(current, default_deadline)
  return nil, true
end)

busted.before_each(function()
  heartbeat("before the test that follows: " .. current, default_deadline)
  before = M.snapshot()
  if before.mappings > 0 then
    collect()                                   -- they are only counted: garbage must not make up for one that is kept
    before = M.snapshot()
  end
end)

busted.after_each(function()
  if support.pid() ~= own_pid then
    io.stderr:write(("\nspec/helper.lua: a forked child came back out of the test '%s'\n"):format(current))
    os.exit(70, false)
  end
  local found = M.left_over(before)
  local clean = #found == 0 or support.wait_until(function()
    collect()
    found = M.left_over(before)
    return #found == 0
  end, grace)
  heartbeat("after: " .. current, default_deadline)
  if not clean then
    error(("%s: left over: %s"):format(current, table.concat(found, ", ")), 0)
  end
end)

-- busted looks for every global that a spec uses in its contexts, one after the other: a tenth of the specs' processor
-- time. Those of Lua that no spec makes its own stand in the environment of the file itself.
local function shorten_way_to_globals(file)
  local main = (debug.getmetatable(file.run) or {}).__call or file.run
  local name, environment = debug.getupvalue(main, 1)
  if name ~= "_ENV" then return end
  for _, global in ipairs { "coroutine", "error", "getmetatable", "ipairs", "math", "next", "pairs", "pcall",
    "rawequal", "rawget", "rawset", "select", "setmetatable", "string", "table", "tonumber", "tostring", "type",
    "utf8" } do
    rawset(environment, global, _G[global])
  end
  rawset(environment, "assert", require "luassert")
end

-- For each test busted asks in which directory some files are, its own mostly.
local dirname, directories = path.dirname, {}
function path.dirname(name)
  directories[name] = directories[name] or dirname(name)
  return directories[name]
end

busted.subscribe({ "file", "start" }, function(file)
  shorten_way_to_globals(file)
  heartbeat("begin of " .. tostring(file.name), loading_deadline)
  return nil, true
end)

busted.subscribe({ "exit" }, function()
  heartbeat("end", default_deadline)
  return nil, true
end)

heartbeat(current, loading_deadline)

return M
